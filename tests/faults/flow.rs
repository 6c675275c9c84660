//! E40 to E46: peers that do not take what is for them, and storms of connections.

use zmio::{Mark, Message, Options, PeerId, RelayEvent, RelayOptions, SendError, Slow};

use crate::host::Host;
use crate::support::octets::{frame, message};
use crate::support::raw::Raw;
use crate::support::{PATIENCE, node};

const MARK: u64 = 1 << 20;

fn narrow(host: &Host) -> (Raw, PeerId) {
    let raw = Raw::connect_narrow(&host.endpoint).handshake("DEALER", b"");
    let peer = host.connected(raw.address());
    (raw, peer)
}

fn numbered(number: u32) -> Vec<u8> {
    let mut body = vec![b'.'; 20_000];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// Sends to a peer until it is full, the good client being served between any two sends; returns how many it took.
fn fill(host: &Host, peer: PeerId) -> u32 {
    for number in 0..10_000 {
        let sent = host.node.with(move |engine| {
            let sent = engine.socket_mut().send(peer, Message::from(numbered(number)));
            engine.flush();
            sent
        });
        let queued = host.node.with(move |engine| engine.socket().peer(peer).expect("is there").queued_octets());
        assert!(queued <= MARK, "{queued} octets wait; the mark is {MARK}");
        match sent {
            Ok(()) => host.exchange(),
            Err(SendError::Full(_)) => return number,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never full");
}

fn options() -> Options {
    Options::new().send_mark(Mark { messages: None, octets: Some(MARK) })
}

/// E40.
#[test]
fn a_peer_that_never_reads_costs_its_mark_and_leaves_it_with_its_end() {
    let host = Host::new(options());
    let (raw, peer) = narrow(&host);
    let taken = fill(&host, peer);
    let address = raw.address();
    raw.reset();
    let end = host.end_of(address);
    assert!(end.connected && end.unsent > 0 && end.unsent < u64::from(taken), "{end:?}");
    host.assert_unharmed();
}

/// E41, E48: it gets each octet, in order, however little is written at a time.
#[test]
fn a_peer_that_reads_octet_by_octet_loses_nothing_and_holds_up_nobody() {
    let host = Host::new(options());
    let (mut raw, peer) = narrow(&host);
    let taken = fill(&host, peer);
    let expected: Vec<u8> = (0..taken).flat_map(|number| frame(0, &numbered(number))).collect();
    let mut read = Vec::new();
    for _ in 0..200 {
        read.extend(raw.read_at_most(1));
        host.exchange();
    }
    // The rest in pieces of every size up to a few hundred, or the test would take as long as its name says.
    let mut size = 0;
    while read.len() < expected.len() {
        size = size % 400 + 1;
        let piece = raw.read_at_most(size);
        assert!(!piece.is_empty(), "closed after {} octets", read.len());
        read.extend(piece);
    }
    assert!(read == expected, "other octets than were sent");
    drop(raw);
    host.assert_unharmed();
}

/// E42.
#[test]
fn one_slow_client_among_a_hundred_loses_only_its_own_copies() {
    const OTHERS: usize = 98;
    const MESSAGES: u32 = 150;
    let relay = node::relay(RelayOptions::new().mark_octets(MARK));
    let endpoint = relay.bind();
    let mut slow = Raw::connect_narrow(&endpoint).handshake("DEALER", b"");
    let mut talker = Raw::connect(&endpoint).handshake("DEALER", b"");
    let mut others: Vec<Raw> = (0..OTHERS).map(|_| Raw::connect(&endpoint).handshake("DEALER", b"")).collect();
    for _ in 0..OTHERS + 2 {
        relay.wait_for("Joined", |event| matches!(event, RelayEvent::Joined { .. }).then_some(()));
    }
    let body = |number: u32| [&number.to_be_bytes()[..], &[0; 40_000]].concat();
    for number in 0..MESSAGES {
        talker.write(&frame(0, &body(number)));
        for other in &mut others {
            assert_eq!(other.read_frame().body[..4], number.to_be_bytes());
        }
    }
    let totals = relay.with_app(|engine, _| engine.socket().totals());
    assert!(totals.dropped > 0 && totals.dropped < u64::from(MESSAGES), "{totals:?}");
    // What it does get is whole and in order, and it belongs again once it reads.
    let got = u64::from(MESSAGES) - totals.dropped;
    let mut last = None;
    for _ in 0..got {
        let frame = slow.read_frame();
        assert_eq!(frame.body.len(), 40_004);
        let number = Some(u32::from_be_bytes(frame.body[..4].try_into().expect("four octets")));
        assert!(number > last, "{number:?} after {last:?}");
        last = number;
    }
    talker.write(&frame(0, b"at the end"));
    assert_eq!(slow.read_frame().body, b"at the end");
}

/// As fast as it can be read, and in messages of all sizes.
#[test]
fn what_one_client_sends_at_once_all_others_get_whole_however_slowly_they_read() {
    const OCTETS: usize = 24 << 20;
    let slow = Slow::Wait { patience: PATIENCE };
    let relay = node::relay(RelayOptions::new().slow(slow).mark_octets(MARK));
    let endpoint = relay.bind();
    let mut talker = Raw::connect(&endpoint).handshake("DEALER", b"");
    let mut late = Raw::connect_narrow(&endpoint).handshake("DEALER", b"");
    let mut others = [(); 2].map(|()| Raw::connect(&endpoint).handshake("DEALER", b""));
    for _ in 0..4 {
        relay.wait_for("Joined", |event| matches!(event, RelayEvent::Joined { .. }).then_some(()));
    }
    let mut stream = Vec::new();
    for number in 0_u32.. {
        let size = [4, 900, 900, 900, 20_000, 9_000, 100_000][number as usize % 7];
        stream.extend(frame(0, &[&number.to_be_bytes()[..], &vec![0; size]].concat()));
        if stream.len() > OCTETS {
            break;
        }
    }
    let got_all = |raw: &mut Raw| {
        assert!(raw.read_until(|octets| octets.len() >= stream.len()), "closed");
        assert!(raw.received() == stream, "other octets than were sent");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| talker.write(&stream));
        scope.spawn(|| got_all(&mut late));
        others.iter_mut().for_each(|other| {
            scope.spawn(|| got_all(other));
        });
    });
    late.write(&frame(0, b"at the end"));
    assert!(talker.read_frame().body == b"at the end", "what it sent came back");
}

/// E45, through the handshake too. A hundred thousand of them are simulated.
#[test]
fn a_storm_of_a_thousand_connections_leaves_nothing_behind() {
    let host = Host::new(Options::new());
    for number in 0..1_000 {
        let mut raw = Raw::connect(&host.endpoint);
        if number % 4 == 1 {
            raw.write(b"GET / HTTP/1.1\r\n\r\n");
        }
        if number % 4 >= 2 {
            raw = raw.handshake("DEALER", if number % 4 == 2 { b"" } else { b"one name" });
        }
        let address = raw.address();
        raw.reset();
        if number % 4 == 3 {
            // Its name must be free for the next.
            assert!(host.end_of(address).connected);
        }
        if number % 50 == 0 {
            host.exchange();
        }
    }
    host.assert_unharmed();
}

/// E46.
#[test]
fn connections_that_are_reset_before_they_are_accepted_do_no_harm() {
    let host = Host::new(Options::new());
    let endpoint = host.endpoint.clone();
    // While the engine's thread does this it accepts nobody.
    host.node.with(move |_| {
        for number in 0..100 {
            let mut raw = Raw::connect(&endpoint);
            if number % 2 == 0 {
                raw.write(&message(&["before anybody listens"]));
            }
            raw.reset();
        }
    });
    host.assert_unharmed();
}

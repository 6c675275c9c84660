//! E20 to E32: peers that are through the handshake and send what they should not, or too much of what they may.

use std::thread::{self, JoinHandle};

use zmio::{Limits, Options};

use crate::host::{Host, handshake};
#[cfg(target_os = "linux")]
use crate::memory::is_alone;
use crate::support::octets::{COMMAND, LONG, MORE, command, frame, header, message, ping, pong};
use crate::support::raw::Raw;

fn limits(octets: u64) -> Options {
    let mut limits = Limits::default();
    limits.message_octets = octets;
    Options::new().limits(limits)
}

fn connect(host: &Host) -> Raw {
    Raw::connect(&host.endpoint).handshake("DEALER", b"")
}

/// Writes on a thread of its own, as far as the other side lets it.
fn writing(mut raw: Raw, octets: Vec<u8>) -> JoinHandle<Raw> {
    thread::spawn(move || {
        raw.write(&octets);
        raw
    })
}

/// E22 with the default limit of 64 MiB: refused by the announcement.
#[test]
fn a_message_above_the_limit_is_refused_when_it_is_announced() {
    let host = Host::new(Options::new());
    for octets in [(64 << 20) + 1, 1 << 30, 1 << 40, u64::MAX] {
        let mut raw = connect(&host);
        raw.write(&header(LONG, octets));
        let end = host.end_of(raw.address());
        end.assert(true, if octets == u64::MAX { "announces" } else { "limit" });
        raw.read_to_end();
    }
    host.assert_unharmed();
}

/// E22 where the limit admits it. Such a peer may stay: any octet is a sign of life. It costs what it has sent.
#[cfg(target_os = "linux")]
#[test]
fn announced_gigabytes_that_trickle_in_take_no_memory() {
    // 4 GiB of addresses for the whole process, and 32 announced.
    if !is_alone("traffic::announced_gigabytes_that_trickle_in_take_no_memory", "ulimit -v 4194304") {
        return;
    }
    let host = Host::new(limits(2 << 30));
    let mut raws: Vec<Raw> = (0..32).map(|_| connect(&host)).collect();
    for raw in &mut raws {
        raw.write(&header(LONG, 1 << 30));
    }
    for _ in 0..10 {
        for raw in &mut raws {
            raw.write(b"x");
        }
        host.exchange();
    }
    for raw in raws {
        let address = raw.address();
        drop(raw);
        host.end_of(address).assert(true, "closed by the peer");
    }
    host.assert_unharmed();
}

/// E23.
#[test]
fn a_message_without_end_is_cut_off_at_its_limit() {
    let host = Host::new(limits(1 << 20));
    let near_limit = [frame(MORE, &vec![0; (1 << 20) - 100]), frame(MORE, &[0; 200])].concat();
    let cases = [
        ("frames", frame(MORE, b"").repeat(50_000)),
        ("frames", frame(MORE, b"x").repeat(50_000)),
        ("limit", frame(MORE, &[0; 1024]).repeat(5_000)),
        ("limit", near_limit),
    ];
    for (cause, octets) in cases {
        let raw = connect(&host);
        let address = raw.address();
        let peer = host.connected(address);
        let writer = writing(raw, octets);
        host.end_of(address).assert(true, cause);
        writer.join().expect("no panic").read_to_end();
        assert_eq!(host.heard(peer), 0, "a part of a message was delivered");
    }
    host.assert_unharmed();
}

/// E24: legal, so that nobody is closed for it.
#[test]
fn a_flood_of_empty_messages_is_delivered_and_holds_up_nobody() {
    const COUNT: u64 = 200_000;
    let host = Host::new(Options::new());
    let raw = connect(&host);
    let peer = host.connected(raw.address());
    let writer = writing(raw, frame(0, b"").repeat(COUNT as usize));
    host.wait_until_heard(peer, COUNT);
    drop(writer.join().expect("no panic"));
    host.assert_unharmed();
}

/// E25.
#[test]
fn commands_that_break_the_rules_end_their_connection() {
    let host = Host::new(Options::new());
    let cases = [
        (frame(COMMAND | MORE, b"\x04PING\0\0"), "more frames"),
        ([frame(MORE, b"begun"), frame(COMMAND | MORE, b"\x04PING\0\0")].concat(), "more frames"),
        (header(COMMAND | LONG, 16 << 20), "limit"),
        ([frame(MORE, b"begun"), header(COMMAND | LONG, 16 << 20)].concat(), "limit"),
    ];
    for (octets, cause) in cases {
        let mut raw = connect(&host);
        let peer = host.connected(raw.address());
        raw.write(&octets);
        host.end_of(raw.address()).assert(true, cause);
        raw.read_to_end();
        assert_eq!(host.heard(peer), 0);
    }
    host.assert_unharmed();
}

/// E25.
#[test]
fn a_ping_inside_a_multipart_is_answered_and_the_message_stays_whole() {
    let host = Host::new(Options::new());
    let mut raw = connect(&host);
    raw.write(&frame(MORE, b"ask"));
    raw.write(&ping(0, b"in between"));
    let answer = raw.read_frame();
    assert!(answer.is_command(b"PONG") && answer.body.ends_with(b"in between"), "{answer:?}");
    raw.write(&frame(0, b"whole"));
    raw.read_frames_until(|frame| frame.body == b"whole");
    drop(raw);
    host.assert_unharmed();
}

/// E25: a million of them cost what it costs to read them.
#[test]
fn a_million_unknown_commands_between_two_frames_change_nothing() {
    let host = Host::new(Options::new());
    let raw = connect(&host);
    let peer = host.connected(raw.address());
    let flood = command(b"X", b"").repeat(1_000_000);
    let writer = writing(raw, [frame(MORE, b"one"), flood, frame(0, b"two")].concat());
    host.wait_until_heard(peer, 1);
    drop(writer.join().expect("no panic"));
    host.assert_unharmed();
}

/// E27.
#[test]
fn an_end_after_any_octet_of_a_multipart_delivers_it_whole_or_not_at_all() {
    let host = Host::new(Options::new());
    let octets = message(&["the", "", "message"]);
    for cut in 0..=octets.len() {
        for by_reset in [false, true] {
            let mut raw = connect(&host);
            let address = raw.address();
            let peer = host.connected(address);
            raw.write(&octets[..cut]);
            if by_reset {
                raw.reset()
            } else {
                drop(raw)
            }
            let cause = if by_reset { "reset by the peer" } else { "closed by the peer" };
            host.end_of(address).assert(true, cause);
            let whole = u64::from(cut == octets.len());
            // A reset may overtake what is on its way.
            let heard = host.heard(peer);
            assert!(heard == whole || by_reset && heard == 0, "{heard} messages after {cut} octets");
        }
    }
    host.assert_unharmed();
}

/// E28: what it sent whole is delivered, then it is gone, and it sees the end too.
#[test]
fn a_peer_that_ends_its_side_alone_is_gone_with_its_messages_delivered() {
    let host = Host::new(Options::new());
    for rest in [b"".as_slice(), &[MORE, 5, b'h'], &[LONG]] {
        let mut raw = connect(&host);
        let peer = host.connected(raw.address());
        raw.write(&[message(&["last", "words"]), rest.to_vec()].concat());
        raw.end_writes();
        host.end_of(raw.address()).assert(true, "closed by the peer");
        assert_eq!(host.heard(peer), 1);
        raw.read_to_end();
    }
    // In the handshake too.
    for cut in [0, 10, 64, 70] {
        let mut raw = Raw::connect(&host.endpoint);
        raw.write(&handshake(b"")[..cut]);
        raw.end_writes();
        host.end_of(raw.address()).assert(false, "closed by the peer");
        raw.read_to_end();
    }
    host.assert_unharmed();
}

/// E31: no more than a few PONGs wait; the other PINGs go unanswered, and the connection stays.
#[test]
fn a_flood_of_pings_whose_pongs_are_not_read_is_not_answered_in_full() {
    const COUNT: usize = 300_000;
    let host = Host::new(Options::new());
    let raw = Raw::connect_narrow(&host.endpoint).handshake("DEALER", b"");
    let flood = ping(0, &[b'c'; 16]).repeat(COUNT);
    let writer = writing(raw, [flood, message(&["heard"]), message(&["ask", "over"])].concat());
    let mut raw = writer.join().expect("no panic");
    let peer = host.connected(raw.address());
    host.wait_until_heard(peer, 1);
    let answers = raw.read_frames_until(|frame| frame.body == b"over");
    let pongs = answers.iter().filter(|frame| frame.is_command(b"PONG")).count();
    assert!(pongs > 0 && pongs < COUNT, "{pongs} of {COUNT}");
    drop(raw);
    host.assert_unharmed();
}

/// E32.
#[test]
fn a_flood_of_pongs_that_nobody_asked_for_changes_nothing() {
    let host = Host::new(Options::new());
    let raw = connect(&host);
    let peer = host.connected(raw.address());
    let writer = writing(raw, [pong(&[b'c'; 16]).repeat(300_000), message(&["heard"])].concat());
    host.wait_until_heard(peer, 1);
    drop(writer.join().expect("no panic"));
    host.assert_unharmed();
}

//! Receive marks, pauses, and what bounds how many peers there are.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::harness::{Rig, hello, wire};
use crate::conn::{Heartbeat, Limits, Mark};
use crate::socket::{Closed, Event, Options, Refused, Socket};
use crate::time::Instant;
use crate::wire::{SocketType, encode};

const FOUR: Mark = Mark { messages: Some(4), octets: None };

#[test]
fn a_peer_is_not_read_beyond_its_mark_and_is_read_again_at_half_of_it() {
    let mut rig = Rig::router(Options::new().receive_mark(FOUR));
    let peer = rig.client("a");
    rig.events();
    let octets = wire("x").repeat(6);
    let taken = rig.socket.handle_input(rig.now, peer, &octets);
    assert_eq!(taken, 4 * 3);
    assert_eq!(rig.told(), ["pause 0"]);
    assert_eq!(rig.socket.handle_input(rig.now, peer, &octets[taken..]), 0);
    assert_eq!(rig.told(), Vec::<String>::new(), "it is paused already");
    assert!(rig.socket.poll_event().is_some() && rig.socket.poll_event().is_some());
    assert_eq!(rig.told(), Vec::<String>::new());
    assert!(rig.socket.poll_event().is_some());
    assert_eq!(rig.told(), ["resume 0"]);
    assert_eq!(rig.socket.handle_input(rig.now, peer, &octets[taken..]), 2 * 3);
    assert_eq!(rig.events().len(), 3);
}

#[test]
fn one_that_floods_does_not_stop_another() {
    let mut rig = Rig::router(Options::new().receive_mark(FOUR));
    let [flooder, modest] = ["flooder", "modest"].map(|identity| rig.client(identity));
    let _ = rig.socket.handle_input(rig.now, flooder, &wire("x").repeat(1_000));
    rig.feed(modest, &wire("y"));
    assert_eq!(rig.socket.peer(flooder).unwrap().unreceived(), 4);
    assert_eq!(rig.socket.peer(modest).unwrap().unreceived(), 1);
}

#[test]
fn a_pause_of_ours_is_no_silence_of_the_peer() {
    let heartbeat = Heartbeat::every(Duration::from_secs(1));
    let mut rig = Rig::router(Options::new().receive_mark(FOUR).heartbeat(heartbeat));
    let peer = rig.client("a");
    let _ = rig.socket.handle_input(rig.now, peer, &wire("x").repeat(6));
    rig.pass(Duration::from_secs(60));
    assert!(rig.socket.peer(peer).unwrap().is_connected());
    let _ = core::iter::from_fn(|| rig.socket.poll_event()).count();
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.events(), ["0 gone: heartbeat lost: silence after a PING"]);
}

#[test]
fn a_fault_behind_what_is_not_taken_yet_comes_after_it() {
    let mut rig = Rig::router(Options::new().receive_mark(FOUR));
    let peer = rig.client("a");
    let octets = [wire("x").repeat(5), [0x80, 0].to_vec()].concat();
    let taken = rig.socket.handle_input(rig.now, peer, &octets);
    assert_eq!(rig.events().len(), 1 + 4);
    rig.feed(peer, &octets[taken..]);
    let events = rig.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0], "0 says [\"x\"]");
}

#[test]
fn one_handshake_too_many_evicts_the_oldest_and_nobody_else() {
    let mut rig = Rig::router(Options::new().max_handshakes(Some(2)));
    let first = rig.accept();
    let done = rig.client("done");
    rig.accept();
    rig.events();
    rig.accept();
    assert_eq!(rig.events(), ["0 rejected: too many unfinished handshakes"]);
    assert!(rig.socket.peer(first).is_none());
    assert!(rig.socket.peer(done).unwrap().is_connected());
}

#[test]
fn ended_handshakes_make_room_whichever_way_they_end() {
    let mut rig = Rig::router(Options::new().max_handshakes(Some(2)));
    rig.client("a");
    rig.events();
    for _ in 0..500 {
        let closed = rig.accept();
        rig.socket.handle_closed(rig.now, closed, Closed::Reset);
        let bad = rig.accept();
        rig.feed(bad, b"GET /");
        let duplicate = rig.accept();
        rig.feed(duplicate, &hello(SocketType::Dealer, b"a"));
        let asked = rig.accept();
        rig.socket.disconnect(rig.now, asked);
        let good = rig.client("good");
        rig.socket.handle_closed(rig.now, good, Closed::Eof);
        assert!(rig.events().iter().all(|event| !event.contains("unfinished")));
    }
    assert_eq!(rig.socket.peers().len(), 1);
}

#[test]
fn at_the_limit_of_peers_nothing_is_accepted_until_one_is_gone_and_its_end_is_read() {
    let mut rig = Rig::router(Options::new().max_peers(Some(2)));
    let first = rig.client("a");
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.client("b");
    assert_eq!(rig.told(), ["stop"]);
    assert_eq!(rig.socket.accept(rig.now, crate::socket::Address::Unnamed), Err(Refused::TooManyPeers));
    rig.socket.handle_closed(rig.now, first, Closed::Eof);
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.events();
    assert_eq!(rig.told(), ["start"]);
    rig.client("c");
}

#[test]
fn an_address_has_so_many_peers_and_others_are_let_in() {
    let mut rig = Rig::router(Options::new().max_per_address(Some(2)));
    let [one, other]: [SocketAddr; 2] = ["192.0.2.1:7", "192.0.2.2:7"].map(|text| text.parse().unwrap());
    let first = rig.accept_from(one).unwrap();
    rig.accept_from(one).unwrap();
    for _ in 0..100 {
        assert_eq!(rig.accept_from(one), Err(Refused::AddressFull));
    }
    assert_eq!(rig.events(), ["192.0.2.1:7 refused, 2 are allowed"], "told once");
    assert_eq!(rig.socket.refused_by_address(), 100);
    assert!(rig.accept_from(other).is_ok());
    for _ in 0..5 {
        rig.accept();
    }
    // Its place is free when its end is read.
    rig.socket.handle_closed(rig.now, first, Closed::Eof);
    assert_eq!(rig.accept_from(one), Err(Refused::AddressFull));
    assert_eq!(rig.events(), ["0 rejected: closed by the peer"]);
    assert!(rig.accept_from(one).is_ok());
    assert_eq!(rig.accept_from(one), Err(Refused::AddressFull));
    assert_eq!(rig.events(), ["192.0.2.1:7 refused, 2 are allowed"], "it had room in between");
}

#[test]
fn a_peer_that_we_dial_takes_no_place_of_its_address() {
    let mut rig = Rig::router(Options::new().max_per_address(Some(1)));
    let address: SocketAddr = "192.0.2.1:7".parse().unwrap();
    let server = rig.socket.connect(rig.now, "server");
    rig.turn();
    rig.socket.handle_dialed(rig.now, server, address);
    assert!(rig.accept_from(address).is_ok());
    assert!(rig.accept_from(address).is_err());
    rig.socket.disconnect(rig.now, server);
    rig.events();
    assert!(rig.accept_from(address).is_err(), "it gives back no place that it did not take");
}

/// A message of 1,000 octets, without its end.
fn begun(octets: usize) -> Vec<u8> {
    let mut whole = wire([0; 1_000 - 9]);
    whole.truncate(octets);
    whole
}

/// Messages of 1,000 octets, so that no limit for all is below 4,000 with the commands.
fn unfinished(limit: u64) -> Options {
    let mut limits = Limits::default();
    (limits.message_octets, limits.command_octets) = (1_000, 1_000);
    Options::new().limits(limits).unfinished_octets(Some(limit))
}

#[test]
fn of_too_much_that_is_unfinished_the_peer_that_holds_most_goes() {
    let mut rig = Rig::router(unfinished(4_000));
    let peers: Vec<_> = ["0", "1", "2", "3", "4", "5"].map(|identity| rig.client(identity)).into();
    rig.events();
    // The last but one holds most, and it is not what passes the limit.
    for (peer, octets) in peers.iter().zip([600, 700, 650, 800, 990]) {
        rig.feed(*peer, &begun(octets));
    }
    assert!(rig.socket.unfinished_octets() <= 4_000);
    assert_eq!(rig.events(), Vec::<String>::new());
    rig.feed(peers[5], &begun(600));
    let cause = "its unfinished message was the largest when all together passed the limit of 4000 octets";
    assert_eq!(rig.events(), [format!("4 gone: {cause}")]);
    assert_eq!(rig.told(), ["close 4"]);
    for peer in &peers[..3] {
        rig.socket.disconnect(rig.now, *peer);
    }
    for (peer, octets) in [(peers[3], 800), (peers[5], 600)] {
        rig.feed(peer, &wire([0; 1_000 - 9])[octets..]);
    }
    assert_eq!(rig.events().len(), 3 + 2);
    assert_eq!(rig.socket.unfinished_octets(), 0);
}

#[test]
fn one_peer_alone_always_finishes_its_message() {
    let mut rig = Rig::router(unfinished(0));
    let peer = rig.client("a");
    for octet in wire([0; 1_000 - 9]).chunks(1) {
        rig.feed(peer, octet);
    }
    assert_eq!(rig.events().len(), 2);
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    let mut rig = Rig::router(Options::new());
    for n in 0..2_000 {
        let peer = rig.client("");
        rig.feed(peer, &wire("x"));
        let mut ping = Vec::new();
        encode::ping(&mut ping, 100 + n % 50, b"");
        rig.feed(peer, &ping);
        rig.socket.handle_closed(rig.now, peer, Closed::Reset);
        rig.events();
        assert!(rig.client("").index() <= 1);
        let other = rig.socket.peers().next().unwrap();
        rig.socket.disconnect(rig.now, other);
        rig.events();
    }
    rig.pass(Duration::from_secs(3_600));
    assert_eq!(rig.socket.poll_timeout(), None);
    assert!(!rig.socket.has_events() && !rig.socket.has_actions());
}

#[test]
fn a_hundred_thousand_connections_leave_nothing_behind() {
    // Without a driver, and each at another point of its life: what is measured is what the socket itself keeps.
    let options = Options::new().max_handshakes(Some(50)).max_per_address(Some(10));
    let mut socket = Socket::router(options.heartbeat(Heartbeat::every(Duration::from_secs(5))), 1);
    let says = |identity: &[u8]| [hello(SocketType::Dealer, identity), wire("x"), begun(500)].concat();
    let (named, unnamed) = (says(b"name"), says(b""));
    let mut now = Instant::from_millis(1_000);
    let mut open = VecDeque::new();
    let (mut most, mut connected) = (0, 0);
    for number in 0..100_000_u32 {
        now = now + Duration::from_millis(10);
        // Most come from a host of their own, some from one that wants too much.
        let host = if number % 4 == 0 { [10, 0, 0, 0] } else { (number + (11 << 24)).to_be_bytes() };
        let Ok(peer) = socket.accept(now, SocketAddr::from((host, 7))) else { continue };
        most = most.max(peer.index());
        let octets = if number % 7 == 0 { &named } else { &unnamed };
        let cut = [0, 10, 64, 80, octets.len() - 500, octets.len()][number as usize / 3 % 6];
        let _ = socket.handle_input(now, peer, &octets[..cut]);
        open.push_back(peer);
        while socket.poll_action().is_some() {}
        if open.len() > 60 {
            let oldest = open.pop_front().unwrap();
            match number % 3 {
                0 => socket.handle_closed(now, oldest, Closed::Reset),
                1 => socket.handle_closed(now, oldest, Closed::Eof),
                _ => socket.disconnect(now, oldest),
            }
        }
        socket.handle_timeout(now);
        while let Some(event) = socket.poll_event() {
            connected += u32::from(matches!(event, Event::Connected { .. }));
        }
        let (_, swept) = socket.core.leftovers();
        assert!(swept.iter().all(|&stale| stale < 500), "{swept:?} after {number}");
    }
    let refused = socket.refused_by_address();
    assert!(connected > 10_000 && refused > 1_000, "{connected} were connected and {refused} refused");
    assert!(most < 200, "place {most} was given away while {} were open", open.len());
    open.into_iter().for_each(|peer| socket.handle_closed(now, peer, Closed::Eof));
    while socket.poll_event().is_some() {}
    while socket.poll_action().is_some() {}
    now = now + Duration::from_secs(3_600);
    socket.handle_timeout(now);
    assert_eq!(socket.poll_timeout(), None);
    let (kept, swept) = socket.core.leftovers();
    assert_eq!(kept.iter().sum::<usize>(), 0, "{kept:?}");
    assert!(swept[0] == 0 && swept[1] < 200, "{swept:?}");
    assert_eq!(socket.peer_by_identity(b"name"), None);
    assert_eq!(socket.pattern.known(), 0);
}

#[test]
fn runs_are_delivered_whole_if_so_wished() {
    let mut rig = Rig::router(Options::new().deliver_runs(true));
    let peer = rig.client("a");
    rig.events();
    rig.feed(peer, &wire("x").repeat(10));
    let Some(Event::Run { run, .. }) = rig.socket.poll_event() else { panic!("a run") };
    assert_eq!((run.messages(), run.octets().len()), (10, 30));
    assert_eq!(rig.socket.peer(peer).unwrap().unreceived_octets(), 0);
}

#[test]
fn messages_that_came_together_count_the_block_that_they_keep() {
    for (runs, small, large) in [(false, 11_000, 16_384), (true, 11_000, 15_000)] {
        let mut rig = Rig::router(Options::new().deliver_runs(runs));
        let peer = rig.client("a");
        rig.events();
        let unreceived = |rig: &Rig<_>| rig.socket.peer(peer).unwrap().unreceived_octets();
        rig.feed(peer, &wire([1; 98]).repeat(110));
        assert_eq!(unreceived(&rig), small + 64);
        while rig.socket.poll_event().is_some() {}
        rig.feed(peer, &wire([1; 98]).repeat(150));
        assert_eq!(unreceived(&rig), large + 64);
        while rig.socket.poll_event().is_some() {}
        assert_eq!(unreceived(&rig), 0);
    }
}

#[test]
fn what_waits_to_be_received_counts_its_octets_and_64_more_for_each_run_or_message() {
    for runs in [false, true] {
        let mut rig = Rig::router(Options::new().deliver_runs(runs));
        let peer = rig.client("a");
        rig.events();
        let unreceived = |rig: &Rig<_>| {
            let peer = rig.socket.peer(peer).unwrap();
            (peer.unreceived(), peer.unreceived_octets())
        };
        rig.feed(peer, &wire("x").repeat(3));
        assert_eq!(unreceived(&rig), (3, 9 + 64));
        let broken_off = wire([1; 100]);
        broken_off.chunks(60).for_each(|piece| rig.feed(peer, piece));
        assert_eq!(unreceived(&rig), (4, 9 + 64 + 102 + 64));
        let mut received = Vec::new();
        while let Some(event) = rig.socket.poll_event() {
            assert_eq!(matches!(event, Event::Run { .. }), runs);
            received.push(unreceived(&rig));
        }
        // A run that is given out message by message is held until its last one.
        let expected: &[(u64, u64)] = if runs { &[(1, 166), (0, 0)] } else { &[(3, 239), (2, 239), (1, 166), (0, 0)] };
        assert_eq!(received, expected);
    }
}

#[test]
fn while_no_messages_are_taken_they_stay_with_the_driver_and_then_come_in_order() {
    let mut rig = Rig::router(Options::new());
    let [a, b, c] = ["a", "b", "c"].map(|identity| rig.client(identity));
    rig.events();
    rig.socket.set_receiving(false);
    for (peer, text) in [(b, "b1"), (a, "a1"), (b, "b2")] {
        rig.offer(peer, &wire(text));
    }
    assert_eq!(rig.told(), ["pause 1", "pause 0"]);
    assert_eq!(rig.events(), [""; 0]);
    rig.socket.set_receiving(true);
    assert_eq!(rig.told(), ["resume 1", "resume 0"]);
    rig.offer(c, &wire("c1"));
    assert_eq!(rig.events(), [r#"1 says ["b1"]"#, r#"0 says ["a1"]"#, r#"2 says ["c1"]"#, r#"1 says ["b2"]"#]);
}

#[test]
fn while_no_messages_are_taken_commands_and_handshakes_go_on() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.events();
    rig.socket.set_receiving(false);
    // A PING in two pieces, and one more with a message behind it.
    let ping = [&[4, 9][..], b"\x04PING\0\x0ahi"].concat();
    rig.feed(peer, &ping[..5]);
    rig.feed(peer, &ping[5..]);
    let pong = [&[4, 7][..], b"\x04PONGhi"].concat();
    assert_eq!(rig.written(peer), pong);
    rig.offer(peer, &[&ping[..], &wire("x")].concat());
    assert_eq!(rig.written(peer), pong);
    assert_eq!(rig.told(), ["pause 0"]);
    rig.client("b");
    assert_eq!(rig.events(), ["1 connected"]);
    rig.socket.set_receiving(true);
    rig.turn();
    assert_eq!(rig.events(), [r#"0 says ["x"]"#]);
}

#[test]
fn a_peer_that_is_full_when_no_more_messages_are_taken_is_read_again_in_the_end() {
    let mut rig = Rig::router(Options::new().receive_mark(Mark { messages: Some(2), octets: None }));
    let [a, gone] = ["a", "gone"].map(|identity| rig.client(identity));
    rig.events();
    rig.offer(a, &wire("x").repeat(3));
    rig.socket.set_receiving(false);
    rig.offer(gone, &wire("y"));
    assert_eq!(rig.told(), ["pause 0", "pause 1"]);
    rig.socket.handle_closed(rig.now, gone, Closed::Eof);
    assert_eq!(rig.events().len(), 3);
    // There is room, and so it is heard what comes: again a message.
    assert_eq!(rig.told(), ["resume 0", "pause 0"]);
    rig.socket.set_receiving(true);
    assert_eq!(rig.told(), ["resume 0"]);
    assert_eq!(rig.events(), [r#"0 says ["x"]"#]);
}

#[test]
fn while_no_messages_are_taken_a_command_between_two_frames_is_heard() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.events();
    rig.feed(peer, &[1, 1, b'm']);
    rig.socket.set_receiving(false);
    let ping = [&[4, 9][..], b"\x04PING\0\x0ahi"].concat();
    rig.offer(peer, &ping[..5]);
    rig.offer(peer, &[&ping[5..], &wire("x")].concat());
    assert_eq!(rig.written(peer), [&[4, 7][..], b"\x04PONGhi"].concat());
    assert_eq!(rig.told(), ["pause 0"]);
    rig.socket.set_receiving(true);
    rig.turn();
    assert_eq!(rig.events(), [r#"0 says ["m", "x"]"#]);
}

#[test]
fn a_close_ends_the_time_in_which_no_messages_are_taken() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.events();
    rig.limit(peer, 0);
    rig.send(peer, "to be sent").unwrap();
    rig.socket.set_receiving(false);
    rig.offer(peer, &wire("x"));
    rig.socket.close(rig.now, None);
    assert!(rig.told().contains(&"resume 0".into()));
    rig.socket.set_receiving(false);
    rig.feed(peer, &wire("y"));
    rig.socket.handle_closed(rig.now, peer, Closed::Eof);
    assert!(rig.events().last().unwrap().starts_with("closed, 1 unsent"));
}

#[test]
fn peers_that_come_and_go_while_no_messages_are_taken_leave_nothing_behind() {
    let mut rig = Rig::router(Options::new());
    rig.socket.set_receiving(false);
    for _ in 0..1_000 {
        let peer = rig.client("a");
        rig.offer(peer, &wire("x"));
        rig.socket.handle_closed(rig.now, peer, Closed::Eof);
        rig.told();
        rig.events();
    }
    let (kept, _) = rig.socket.core.leftovers();
    assert!(kept.iter().all(|kept| *kept < 100), "{kept:?}");
}

#[test]
#[cfg(feature = "net")]
fn nobody_waits_for_room_at_a_peer_that_cannot_be_written_to_and_is_not_read() {
    let mark = Mark { messages: Some(2), octets: None };
    let mut rig = Rig::router(Options::new().send_mark(mark));
    let peer = rig.client("a");
    rig.limit(peer, 0);
    (0..2).for_each(|_| rig.send(peer, "x").unwrap());
    rig.told();
    rig.socket.set_receiving(false);
    rig.offer(peer, &wire("y"));
    assert_eq!(rig.socket.core.full.len(), 1);
    rig.socket.handle_write_failed(peer);
    assert_eq!(rig.socket.core.full.len(), 0);
    let counts = rig.socket.peer(peer).unwrap().counts();
    assert_eq!((counts.dropped, counts.queued), (0, 2));
}

#[test]
#[cfg(feature = "net")]
fn nothing_is_queued_for_a_peer_that_cannot_be_written_to() {
    let mark = Mark { messages: Some(2), octets: None };
    let mut rig = Rig::router(Options::new().send_mark(mark));
    let [dead, other] = ["dead", "other"].map(|identity| rig.client(identity));
    rig.limit(dead, 1);
    (0..2).for_each(|_| rig.send(dead, "small, and one entry").unwrap());
    rig.turn();
    assert_eq!(rig.socket.full_peers().collect::<Vec<_>>(), [dead]);
    rig.socket.handle_write_failed(dead);
    assert!(matches!(rig.send(dead, "y"), Err(crate::socket::SendError::NoSuchPeer(_))));
    // What it has sent is still received, and passed on.
    rig.feed(dead, &wire("its last words"));
    (0..5).for_each(|_| rig.socket.broadcast_except(None, &"z".into()));
    assert_eq!(rig.socket.full_peers().collect::<Vec<_>>(), [other]);
    assert_eq!(rig.written(other), wire("z").repeat(5));
    let counts = rig.socket.peer(dead).unwrap().counts();
    assert_eq!((counts.dropped, counts.queued), (5, 2));
    rig.events();
    rig.socket.handle_closed(rig.now, dead, Closed::Reset);
    assert_eq!(rig.events(), ["0 gone: reset by the peer"]);
}

#[test]
#[cfg(feature = "net")]
fn a_peer_that_cannot_be_written_to_holds_up_no_close() {
    let mut rig = Rig::router(Options::new());
    let peers = ["before", "after", "other"].map(|identity| rig.client(identity));
    peers.iter().for_each(|peer| rig.limit(*peer, 1));
    peers.iter().for_each(|peer| (0..3).for_each(|_| rig.send(*peer, &[0; 4_000]).unwrap()));
    rig.turn();
    rig.socket.handle_write_failed(peers[0]);
    rig.socket.close(rig.now, None);
    rig.socket.handle_write_failed(peers[1]);
    assert_eq!(rig.socket.peers().collect::<Vec<_>>(), [peers[2]]);
    rig.limit(peers[2], usize::MAX);
    assert_eq!(rig.events().last().unwrap(), "closed, 6 unsent");
}

#[test]
fn a_large_message_that_comes_as_a_run_has_memory_of_its_own() {
    let mut rig = Rig::router(Options::new().deliver_runs(true));
    let peer = rig.client("a");
    rig.events();
    // One run each: two messages together, and a large one.
    rig.feed(peer, &wire([0; 8_000]).repeat(2));
    rig.feed(peer, &wire([0; 16_384]));
    let runs = core::iter::from_fn(|| rig.socket.poll_event()).map(|event| match event {
        Event::Run { run, .. } => (run.octets().len(), run.octets().is_unique()),
        other => panic!("{other:?}"),
    });
    assert!(runs.eq([(2 * 8_009, false), (16_393, true)]));
}

//! DEALER: D1 to D6.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::harness::{Rig, hello, wire};
use crate::conn::{ENTRY_OCTETS, Mark};
use crate::message::Message;
use crate::socket::{Address, Closed, DialError, Event, Options, SendError};
use crate::wire::{SocketType, encode};

const TWO: Mark = Mark { messages: Some(2), octets: None };

#[test]
fn messages_go_to_the_peers_in_turn_and_each_whole_to_one() {
    let mut rig = Rig::dealer(Options::new());
    let peers = [(); 3].map(|()| rig.server());
    for n in 0..6u8 {
        rig.send(Message::multipart([[n], [n]])).unwrap();
    }
    for (place, peer) in (0..).zip(peers) {
        let expected = [[1, 1, place, 0, 1, place], [1, 1, place + 3, 0, 1, place + 3]].concat();
        assert_eq!(rig.written(peer), expected);
    }
}

#[test]
fn a_full_peer_is_passed_over_and_joins_again_with_room() {
    let mut rig = Rig::dealer(Options::new().send_mark(TWO));
    let [slow, fast] = [(); 2].map(|()| rig.server());
    rig.limit(slow, 0);
    for body in ["s", "f", "s", "f", "f", "f"] {
        rig.send(body).unwrap();
        rig.turn();
    }
    assert_eq!(rig.written(fast), wire("f").repeat(4));
    rig.limit(slow, usize::MAX);
    assert_eq!(rig.written(slow), wire("s").repeat(2));
    rig.send("f").unwrap();
    rig.send("s").unwrap();
    assert_eq!((rig.written(fast), rig.written(slow)), (wire("f"), wire("s")));
}

#[test]
fn messages_wait_in_order_for_the_first_peer_that_can_take_them() {
    let mut rig = Rig::dealer(Options::new());
    let [never, late] = [(); 2].map(|()| rig.socket.connect(rig.now, "server"));
    let bodies = ["1", "2", "3"];
    bodies.into_iter().for_each(|body| rig.send(body).unwrap());
    assert_eq!(rig.socket.waiting(), 3);
    rig.turn();
    rig.socket.handle_dialed(rig.now, late, Address::Unnamed);
    rig.turn();
    rig.written(late);
    rig.feed(late, &hello(SocketType::Router, b""));
    assert!(rig.written(late).ends_with(&bodies.map(wire).concat()));
    assert_eq!((rig.written(never), rig.socket.waiting()), (Vec::new(), 0));
}

#[test]
fn without_any_peer_or_at_the_mark_the_message_comes_back_and_one_writable_follows() {
    let mut rig = Rig::dealer(Options::new().send_mark(TWO));
    assert_eq!(rig.send("0"), Err(SendError::Full("0".into())));
    let peer = rig.socket.connect(rig.now, "server");
    assert_eq!(rig.events(), ["writable"], "there is a peer to wait for");
    rig.send("1").unwrap();
    rig.send("2").unwrap();
    assert_eq!(rig.send("3"), Err(SendError::Full("3".into())));
    assert_eq!(rig.events(), Vec::<String>::new());
    rig.dialed(peer);
    assert_eq!(rig.events(), ["writable", "0 connected"]);
    rig.send("3").unwrap();
    assert_eq!(rig.events(), Vec::<String>::new());
}

#[test]
fn a_flood_of_empty_messages_reaches_the_mark_in_octets_too() {
    let mut rig = Rig::dealer(Options::new().send_mark(Mark { messages: None, octets: Some(1_000) }));
    rig.socket.connect(rig.now, "server");
    let taken = (0..1_000).take_while(|_| rig.send("").is_ok()).count();
    assert_eq!(taken, (1_000 - 2 * ENTRY_OCTETS) / 2, "in one entry, with room for another one");
}

#[test]
fn what_was_not_begun_for_a_peer_that_tells_us_to_go_is_sent_to_another() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.limit(peer, 7);
    ["1", "2", "3", "4"].into_iter().for_each(|body| rig.send(body).unwrap());
    let _ = rig.written(peer);
    rig.feed(peer, b"\x04\x09\x05ERROR\x02no");
    assert!(rig.events().iter().any(|event| event.starts_with("0 gone: refused by the peer")));
    assert_eq!(rig.socket.waiting(), 1, "3 was begun: at most once");
    let other = rig.socket.connect(rig.now, "other");
    let _ = rig.told();
    rig.socket.handle_dialed(rig.now, other, Address::Unnamed);
    rig.feed(other, &hello(SocketType::Router, b""));
    assert!(rig.written(other).ends_with(&wire("4")));
}

#[test]
fn what_has_waited_and_is_gone_does_not_count_any_more() {
    let mut rig = Rig::dealer(Options::new().send_mark(Mark { messages: None, octets: Some(1_000) }));
    let peer = rig.socket.connect(rig.now, "server");
    rig.send("").unwrap();
    for _ in 0..3 {
        rig.dialed(peer);
        rig.socket.handle_closed(rig.now, peer, Closed::Eof);
        rig.pass(Duration::from_secs(1));
        let taken = (0..1_000).take_while(|_| rig.send("").is_ok()).count();
        assert_eq!(taken, (1_000 - 2 * ENTRY_OCTETS) / 2);
    }
}

#[test]
fn what_was_not_begun_goes_over_the_next_connection_before_what_came_later() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.limit(peer, 7);
    ["1", "2", "3", "4", "5"].into_iter().for_each(|body| rig.send(body).unwrap());
    assert_eq!(rig.written(peer), [&wire("1")[..], &wire("2"), &wire("3")[..1]].concat());
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    rig.send("6").unwrap();
    assert_eq!(rig.socket.waiting(), 3);
    rig.limit(peer, usize::MAX);
    rig.pass(Duration::from_secs(1));
    rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
    rig.feed(peer, &hello(SocketType::Router, b""));
    assert!(rig.written(peer).ends_with(&["4", "5", "6"].map(wire).concat()), "3 was begun: at most once");
}

#[test]
fn what_goes_over_the_next_connection_counts_as_queued_once() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.limit(peer, 0);
    rig.send("kept").unwrap();
    let queued = |rig: &Rig<_>| rig.socket.peer(peer).unwrap().counts().queued;
    assert_eq!(queued(&rig), 1);
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    assert_eq!((queued(&rig), rig.socket.waiting()), (0, 1));
    rig.pass(Duration::from_secs(1));
    rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
    rig.feed(peer, &hello(SocketType::Router, b""));
    assert_eq!((queued(&rig), rig.socket.waiting()), (1, 0));
}

#[test]
fn a_peer_that_had_connected_to_us_takes_its_queue_along() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.accept();
    rig.feed(peer, &hello(SocketType::Router, b""));
    rig.turn();
    rig.limit(peer, 0);
    rig.send("lost").unwrap();
    rig.socket.handle_closed(rig.now, peer, Closed::Eof);
    assert_eq!(rig.socket.waiting(), 0);
}

#[test]
fn it_dials_again_later_and_later_until_a_handshake_is_complete() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.socket.connect(rig.now, "server");
    assert_eq!(rig.told(), ["dial 0"]);
    let mut last = rig.now;
    let mut waits = Vec::new();
    for _ in 0..200 {
        rig.socket.handle_dial_failed(rig.now, peer, DialError::Refused);
        let at = rig.socket.poll_timeout().expect("it dials again");
        waits.push(at.saturating_duration_since(last));
        rig.now = at;
        last = at;
        rig.socket.handle_timeout(at);
        assert_eq!(rig.told(), ["dial 0"]);
    }
    assert!(waits[0] <= Duration::from_millis(100) && waits[1] <= Duration::from_millis(200), "{waits:?}");
    assert!(waits.iter().max().unwrap() > &Duration::from_secs(20), "full jitter, up to 30 s");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
    assert_eq!(rig.events(), ["0 retried: connection refused"], "the last one stands for all");
    rig.dialed(peer);
    rig.socket.handle_closed(rig.now, peer, Closed::Eof);
    assert!(rig.socket.poll_timeout().unwrap() <= rig.now + Duration::from_millis(100));
}

#[test]
fn it_gives_up_on_a_peer_that_answers_the_handshake_with_an_error() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.socket.connect(rig.now, "server");
    rig.turn();
    rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
    rig.feed(peer, &hello(SocketType::Router, b"")[..64]);
    rig.feed(peer, &error("banned"));
    let cause = "refused by the peer: \"banned\"";
    assert_eq!(rig.events(), [alloc::format!("0 rejected: {cause}"), alloc::format!("0 given up: {cause}")]);
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.told(), ["dial 0", "close 0"]);
    assert!(rig.socket.peer(peer).is_none());
    assert!(matches!(rig.send("x"), Err(SendError::Full(_))), "nobody is left");
}

/// As a ROUTER does that takes our own connection of before for another peer of our identity.
#[test]
fn it_dials_again_later_and_later_after_an_error_that_follows_the_handshake() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    let mut longest = Duration::ZERO;
    for round in 0..40 {
        rig.events();
        rig.feed(peer, &error("Identity is taken"));
        let wait = core::iter::from_fn(|| rig.socket.poll_event()).find_map(|event| match event {
            Event::Retrying { after, .. } => Some(after),
            _ => None,
        });
        let wait = wait.expect("it dials again");
        let bound = Duration::from_millis(100 << round.min(9)).min(Duration::from_secs(30));
        assert!(wait <= bound, "in round {round}");
        longest = longest.max(wait);
        rig.told();
        rig.send("not for somebody who refuses us").unwrap();
        rig.pass(Duration::from_secs(30));
        assert_eq!(rig.told(), ["dial 0"]);
        rig.dialed(peer);
    }
    assert!(longest > Duration::from_secs(15), "{longest:?}: the handshakes alone prove nothing");
    // Nothing is sent before the time for one more ERROR is over.
    rig.pass(Duration::from_millis(999));
    assert_eq!((rig.written(peer), rig.socket.waiting()), (Vec::new(), 40));
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.written(peer), wire("not for somebody who refuses us").repeat(40));
    rig.socket.handle_closed(rig.now, peer, Closed::Eof);
    assert!(rig.socket.poll_timeout().unwrap() <= rig.now + Duration::from_millis(100));
}

fn error(reason: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::error(&mut octets, reason);
    octets
}

#[test]
fn messages_that_wait_when_the_last_peer_goes_are_reported_as_unsent() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.accept();
    rig.send("1").unwrap();
    rig.send("2").unwrap();
    rig.socket.handle_closed(rig.now, peer, Closed::Eof);
    rig.socket.close(rig.now, None);
    assert_eq!(rig.events().last().unwrap(), "closed, 2 unsent");
}

#[test]
fn a_dialled_peer_is_let_in_again_while_what_it_sent_before_is_not_received() {
    let mut rig = Rig::dealer(Options::new().receive_mark(TWO));
    let peer = rig.server();
    rig.feed(peer, &[wire("1"), wire("2")].concat());
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    rig.pass(Duration::from_secs(1));
    rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
    rig.told();
    let hello = hello(SocketType::Router, b"");
    rig.feed(peer, &hello[..70]);
    assert_eq!(rig.told(), Vec::<String>::new(), "it is read until it is connected");
    rig.feed(peer, &hello[70..]);
    assert!(rig.socket.peer(peer).unwrap().is_connected());
    assert_eq!(rig.told(), ["pause 0"]);
    assert_eq!(rig.socket.handle_input(rig.now, peer, &wire("3")), 0, "its messages wait for room");
}

/// The connection that is refused is one of many kinds that fail.
#[test]
fn a_connection_that_fails_between_does_not_end_the_caution_after_an_error() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.feed(peer, &error("Identity is taken"));
    rig.send("kept").unwrap();
    rig.pass(Duration::from_secs(30));
    rig.socket.handle_dial_failed(rig.now, peer, DialError::Refused);
    for _ in 0..2 {
        rig.pass(Duration::from_secs(30));
        rig.dialed(peer);
        assert_eq!((rig.written(peer), rig.socket.waiting()), (Vec::new(), 1));
        rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    }
    rig.pass(Duration::from_secs(30));
    rig.dialed(peer);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.written(peer), wire("kept"));
    // It stood the trial.
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    rig.pass(Duration::from_secs(30));
    rig.dialed(peer);
    rig.send("at once").unwrap();
    assert_eq!(rig.written(peer), wire("at once"));
}

#[test]
fn who_was_refused_for_want_of_a_peer_hears_when_one_is_dialled_or_comes() {
    for comes in [false, true] {
        let mut rig = Rig::dealer(Options::new());
        rig.send("nobody").unwrap_err();
        match comes {
            true => rig.accept(),
            false => rig.socket.connect(rig.now, "server"),
        };
        assert_eq!(rig.events(), ["writable"]);
        rig.send("somebody").unwrap();
    }
    // Also with one that waits already, and at half of the mark.
    let mut rig = Rig::dealer(Options::new().send_mark(TWO));
    let gone = rig.accept();
    rig.send("1").unwrap();
    rig.socket.handle_closed(rig.now, gone, Closed::Eof);
    rig.send("2").unwrap_err();
    rig.events();
    rig.accept();
    assert_eq!(rig.events(), ["writable"]);
    rig.send("2").unwrap();
}

#[test]
#[cfg(feature = "net")]
fn a_peer_that_cannot_be_written_to_gets_nothing_that_waits_when_its_handshake_is_read() {
    let mut rig = Rig::dealer(Options::new());
    let dead = rig.accept();
    rig.send("for another").unwrap();
    rig.socket.handle_write_failed(dead);
    rig.feed(dead, &hello(SocketType::Router, b""));
    rig.socket.handle_closed(rig.now, dead, Closed::Reset);
    let other = rig.accept();
    rig.feed(other, &hello(SocketType::Router, b""));
    assert!(rig.written(other).ends_with(&wire("for another")));
}

#[test]
#[cfg(feature = "net")]
fn a_peer_that_cannot_be_written_to_gets_nothing_more() {
    let mut rig = Rig::dealer(Options::new());
    let [dead, other] = [0; 2].map(|_| rig.server());
    rig.socket.handle_write_failed(dead);
    (0..10).for_each(|_| rig.send("x").unwrap());
    assert_eq!(rig.written(other), wire("x").repeat(10));
}

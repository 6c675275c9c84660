//! ROUTER: R1 to R7.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::harness::{Rig, hello, wire};
use crate::conn::Mark;
use crate::message::Message;
use crate::socket::{Cause, Closed, Duplicates, Options, SendError};
use crate::wire::{SocketType, encode};

const TWO: Mark = Mark { messages: Some(2), octets: None };

#[test]
fn a_peer_has_its_own_identity_or_is_assigned_a_unique_one() {
    let mut rig = Rig::router(Options::new());
    let named = rig.client("player 7");
    let assigned: Vec<_> = (0..3).map(|_| rig.client("")).collect();
    assert_eq!(rig.socket.peer(named).unwrap().identity()[..], *b"player 7");
    assert_eq!(rig.socket.peer_by_identity(b"player 7"), Some(named));
    for peer in assigned {
        let identity = rig.socket.peer(peer).unwrap().identity().clone();
        assert_eq!((identity.len(), identity[0]), (5, 0));
        assert_eq!(rig.socket.peer_by_identity(&identity), Some(peer), "nobody else has it");
    }
}

#[test]
fn an_identity_that_was_assigned_is_not_assigned_again() {
    let mut rig = Rig::router(Options::new());
    let mut assigned = BTreeSet::new();
    for _ in 0..3_000 {
        let peer = rig.client("");
        let identity = rig.socket.peer(peer).expect("it is connected").identity().clone();
        assert!(assigned.insert(identity), "a reply to a peer that is gone must not reach a newcomer");
        rig.socket.handle_closed(rig.now, peer, Closed::Eof);
        rig.events();
    }
}

#[test]
fn a_newcomer_with_a_taken_identity_is_told_and_closed() {
    let mut rig = Rig::router(Options::new());
    let first = rig.client("a");
    rig.events();
    let second = rig.accept();
    rig.turn();
    rig.written(second);
    rig.feed(second, &hello(SocketType::Dealer, b"a"));
    let mut error = Vec::new();
    encode::error(&mut error, "Identity is taken");
    assert!(rig.written(second).ends_with(&error));
    assert_eq!(rig.events(), ["1 rejected: its identity is taken by another peer"]);
    assert_eq!(rig.socket.peer_by_identity(b"a"), Some(first));
    assert!(rig.socket.peer(first).unwrap().is_connected());
}

#[test]
fn a_handover_gives_the_identity_to_the_newcomer_and_closes_the_old_peer() {
    let mut rig = Rig::router(Options::new().duplicates(Duplicates::Handover));
    let first = rig.client("a");
    rig.limit(first, 0);
    rig.send(first, "lost").unwrap();
    rig.socket.broadcast_except(None, &Message::from("lost too"));
    let second = rig.client("a");
    assert_eq!(rig.socket.peer_by_identity(b"a"), Some(second));
    let events = rig.events();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("0 gone: its identity was taken over")), "{events:?}");
    assert!(matches!(rig.send(first, "late"), Err(SendError::NoSuchPeer(_))));
    rig.socket.handle_closed(rig.now, second, Closed::Eof);
    assert_eq!(rig.socket.peer_by_identity(b"a"), None);
}

#[test]
fn an_identity_is_free_again_as_soon_as_its_peer_is_gone() {
    let mut rig = Rig::router(Options::new());
    let first = rig.client("a");
    rig.feed(first, &wire("unread"));
    rig.socket.handle_closed(rig.now, first, Closed::Reset);
    let second = rig.client("a");
    assert_eq!(rig.socket.peer_by_identity(b"a"), Some(second));
    assert_eq!(
        rig.events(),
        ["0 connected", "1 connected", "0 says [\"unread\"]", "0 gone: reset by the peer"],
        "what it sent is delivered, then its end"
    );
}

#[test]
fn peers_take_turns() {
    let mut rig = Rig::router(Options::new());
    let flooder = rig.client("flooder");
    let modest = rig.client("modest");
    rig.events();
    rig.feed(flooder, &wire("f").repeat(4));
    rig.feed(modest, &wire("m").repeat(2));
    let expected = ["f", "m", "f", "m", "f", "f"];
    let said: Vec<String> = rig.events();
    assert_eq!(said.iter().map(|said| &said[9..10]).collect::<Vec<_>>(), expected, "{said:?}");
}

#[test]
fn a_send_never_blocks_and_gives_the_message_back() {
    let mut rig = Rig::router(Options::new().send_mark(TWO));
    let peer = rig.client("a");
    rig.events();
    rig.limit(peer, 0);
    rig.send(peer, "1").unwrap();
    rig.send(peer, "2").unwrap();
    assert_eq!(rig.send(peer, "3"), Err(SendError::Full("3".into())));
    rig.turn();
    assert_eq!(rig.events(), Vec::<String>::new());
    rig.limit(peer, usize::MAX);
    assert_eq!(rig.events(), ["0 writable"]);
    assert_eq!(rig.written(peer), [wire("1"), wire("2")].concat());
    rig.send(peer, "3").unwrap();
    assert_eq!(rig.written(peer), wire("3"));
    assert_eq!(rig.events(), Vec::<String>::new(), "one Writable per refusal");
}

#[test]
fn a_stale_id_never_reaches_the_peer_that_has_its_slot_now() {
    let mut rig = Rig::router(Options::new());
    let old = rig.client("old");
    rig.socket.handle_closed(rig.now, old, Closed::Eof);
    rig.events();
    let new = rig.client("new");
    assert_eq!(old.index(), new.index());
    assert_eq!(alloc::format!("{old} {new} {new:?}"), "0.1 0.2 PeerId(0.2)");
    assert_eq!(rig.send(old, "x"), Err(SendError::NoSuchPeer("x".into())));
    assert_eq!(rig.socket.handle_input(rig.now, old, &wire("x")), 3);
    rig.socket.handle_closed(rig.now, old, Closed::Reset);
    rig.socket.disconnect(rig.now, old);
    rig.socket.discard_queue(old);
    rig.socket.sent(rig.now, old, 100);
    rig.socket.broadcast_except(Some(old), &Message::from("for all"));
    assert_eq!(rig.written(new), wire("for all"));
    assert_eq!(rig.events(), ["0 connected"]);
    assert!(rig.socket.peer(new).unwrap().is_connected() && rig.socket.peer(old).is_none());
}

#[test]
fn a_peer_in_handshake_is_no_peer_to_send_to() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.accept();
    assert!(matches!(rig.send(peer, "early"), Err(SendError::NoSuchPeer(_))));
    rig.turn();
    rig.written(peer);
    rig.socket.broadcast_except(None, &Message::from("early"));
    assert_eq!(rig.written(peer), b"");
}

#[test]
fn a_direct_send_comes_after_what_was_broadcast_before_it() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.socket.broadcast_except(None, &Message::from("1"));
    rig.send(peer, "2").unwrap();
    rig.socket.broadcast_except(None, &Message::from("3"));
    assert_eq!(rig.written(peer), ["1", "2", "3"].map(wire).concat());
}

#[test]
fn what_was_staged_for_a_peer_that_is_disconnected_in_mid_turn_reaches_the_others() {
    let mut rig = Rig::router(Options::new());
    let [a, b, c] = ["a", "b", "c"].map(|identity| rig.client(identity));
    rig.socket.broadcast_except(Some(a), &Message::from("of a"));
    rig.socket.broadcast_except(Some(b), &Message::from("of b"));
    rig.socket.disconnect_because(rig.now, a, Cause::TooSlow);
    assert_eq!(rig.written(a), b"");
    assert_eq!(rig.written(b), wire("of a"));
    assert_eq!(rig.written(c), ["of a", "of b"].map(wire).concat());
    rig.socket.broadcast_except(Some(c), &Message::from("next turn"));
    assert_eq!(rig.written(b), wire("next turn"));
    assert_eq!(rig.written(c), b"");
}

#[test]
fn who_sent_in_one_turn_gets_what_others_send_in_the_next() {
    let mut rig = Rig::router(Options::new());
    let [a, b] = ["a", "b"].map(|identity| rig.client(identity));
    for _ in 0..2 {
        rig.socket.broadcast_except(Some(a), &Message::from("of a"));
        assert_eq!((rig.written(a), rig.written(b)), (Vec::new(), wire("of a")));
        rig.socket.broadcast_except(Some(b), &Message::from("of b"));
        assert_eq!((rig.written(a), rig.written(b)), (wire("of b"), Vec::new()));
    }
}

#[test]
fn a_lossy_send_drops_and_counts() {
    let mut rig = Rig::router(Options::new().send_mark(TWO));
    let peer = rig.client("a");
    rig.limit(peer, 0);
    assert_eq!([0; 4].map(|_| rig.socket.send_lossy(peer, "x")), [true, true, false, false]);
    assert_eq!(rig.socket.peer(peer).unwrap().counts().dropped, 2);
    rig.turn();
    rig.limit(peer, usize::MAX);
    assert_eq!(rig.events(), ["0 connected"], "nobody waits for room");
}

#[test]
fn the_end_of_a_peer_counts_each_message_as_sent_or_queued() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 5);
    ["1", "2", "3"].into_iter().for_each(|body| rig.send(peer, body).unwrap());
    rig.turn();
    rig.events();
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    let Some(crate::socket::Event::Disconnected(gone)) = rig.socket.poll_event() else { panic!("it is gone") };
    assert_eq!((gone.counts.sent, gone.counts.queued), (1, 2));
}

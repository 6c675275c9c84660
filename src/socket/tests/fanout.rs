//! Broadcast by turn, and what peers that lag hold back.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::harness::{Rig, wire};
use crate::conn::Mark;
use crate::message::Message;
use crate::socket::{Options, PeerId, Router};
use crate::wire::encode;

const UNLIMITED: Mark = Mark { messages: None, octets: None };

fn one_block() -> Message {
    Message::from(vec![7; 60 * 1024])
}

/// `count` clients whose transports take nothing more, each stuck in the middle of a message.
fn stuck_in_mid_message(rig: &mut Rig<Router>, count: usize) -> Vec<PeerId> {
    let peers: Vec<PeerId> = (0..count).map(|n| rig.client(&format!("stuck {n}"))).collect();
    peers.iter().for_each(|peer| rig.limit(*peer, 10));
    rig.socket.broadcast_except(None, &one_block());
    rig.turn();
    peers
}

#[test]
fn all_laggards_are_dealt_with_even_if_each_is_stuck_in_mid_message() {
    let options = Options::new().send_mark(UNLIMITED).broadcast_octets(Some(1 << 20));
    let mut rig = Rig::router(options);
    let stuck = stuck_in_mid_message(&mut rig, 5);
    for _ in 0..100 {
        rig.socket.broadcast_except(None, &one_block());
        rig.turn();
    }
    for peer in stuck {
        let queued = rig.socket.peer(peer).unwrap().queued_octets();
        assert!(queued <= 2 << 20, "{peer}: {queued}");
    }
}

#[test]
fn a_client_that_reads_loses_nothing_to_laggards() {
    let options = Options::new().send_mark(UNLIMITED).broadcast_octets(Some(1 << 20));
    let mut rig = Rig::router(options);
    stuck_in_mid_message(&mut rig, 2);
    let good = rig.client("good");
    for _ in 0..100 {
        rig.socket.broadcast_except(None, &one_block());
        rig.turn();
    }
    assert_eq!(rig.socket.peer(good).unwrap().counts().sent, 100);
    assert_eq!(rig.socket.peer(good).unwrap().counts().dropped, 0);
}

#[test]
fn a_client_that_lags_for_a_moment_loses_nothing_to_one_that_stands_still_in_what_is_more_than_all_may_hold_back() {
    for (stuck, octets) in [(1, 3 << 20), (40, 60 << 10)] {
        let mut rig = Rig::router(Options::new().send_mark(UNLIMITED).broadcast_octets(Some(1 << 20)));
        for n in 0..stuck {
            let peer = rig.client(&format!("stuck {n}"));
            rig.limit(peer, 10);
            rig.socket.broadcast_except(None, &Message::from(vec![7; octets]));
            rig.turn();
        }
        let good = rig.client("good");
        for turn in 0..20 {
            // What comes in one turn is written in the next.
            rig.limit(good, 0);
            rig.socket.broadcast_except(None, &format!("turn {turn}").as_str().into());
            rig.turn();
            rig.socket.broadcast_except(None, &"more".into());
            rig.turn();
            rig.limit(good, 1_000);
        }
        let counts = rig.socket.peer(good).unwrap().counts();
        assert_eq!((counts.sent, counts.dropped), (40, 0), "beside {stuck}");
    }
}

#[test]
fn who_lags_too_much_loses_broadcasts_and_no_message_that_was_sent_to_it() {
    let mut rig = Rig::router(Options::new().send_mark(UNLIMITED).broadcast_octets(Some(100_000)));
    let peer = rig.client("slow");
    rig.limit(peer, 0);
    for _ in 0..2 {
        rig.socket.broadcast_except(None, &one_block());
        rig.send(peer, "for it alone").unwrap();
    }
    rig.turn();
    rig.socket.broadcast_except(None, &"the last".into());
    rig.turn();
    rig.limit(peer, usize::MAX);
    assert_eq!(rig.written(peer), [wire("for it alone"), wire("for it alone"), wire("the last")].concat());
    assert_eq!(rig.socket.peer(peer).unwrap().counts().dropped, 2);
}

#[test]
fn of_those_that_hold_back_too_much_the_ones_that_lag_most_are_full() {
    let options = Options::new().send_mark(UNLIMITED).broadcast_octets(Some(100_000));
    let mut rig = Rig::router(options);
    let [a, b, c] = ["a", "b", "c"].map(|identity| rig.client(identity));
    [a, b, c].iter().for_each(|peer| rig.limit(*peer, 0));
    // In one turn, or some would be dropped.
    (0..4).for_each(|_| rig.socket.broadcast_except(None, &one_block()));
    rig.turn();
    let block = wire(vec![7; 60 * 1024]).len();
    let mut after = |peer, blocks: usize| {
        rig.limit(peer, blocks * block);
        rig.turn();
        rig.socket.full_peers().collect::<Vec<PeerId>>()
    };
    assert_eq!(after(c, 2), [a, b]);
    assert_eq!(after(c, 2), [a, b]);
    assert_eq!(after(a, 2), [b]);
    assert_eq!(after(b, 1), [b], "it has three to come, the other one two");
    assert_eq!(after(b, 1), [a, b]);
    assert_eq!(after(b, 1), [a]);
    assert_eq!(after(a, 2), [], "one holds back one, which is not too much");
}

#[test]
fn who_comes_to_lag_as_much_as_those_that_were_found_is_found_too() {
    let mut rig = Rig::router(Options::new().send_mark(UNLIMITED).broadcast_octets(Some(1)));
    let [a, b] = ["a", "b"].map(|identity| rig.client(identity));
    let full = |rig: &mut Rig<Router>| {
        // Both messages find room in one block.
        rig.socket.broadcast_except(None, &"x".into());
        rig.turn();
        rig.socket.full_peers().collect::<Vec<PeerId>>()
    };
    rig.limit(a, 0);
    assert_eq!(full(&mut rig), [a]);
    rig.limit(b, 0);
    assert_eq!(full(&mut rig), [a, b]);
}

#[test]
fn a_peer_whose_queue_was_discarded_is_written_again() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "lost").unwrap();
    rig.turn();
    rig.socket.discard_queue(peer);
    rig.limit(peer, 1_000);
    rig.send(peer, "kept").unwrap();
    assert_eq!(rig.written(peer), wire("kept"));
    assert_eq!(rig.socket.peer(peer).unwrap().counts().dropped, 1);
}

#[test]
fn to_discard_one_queue_leaves_the_others_to_be_written() {
    let mut rig = Rig::router(Options::new());
    let [a, b] = ["a", "b"].map(|identity| rig.client(identity));
    for peer in [a, b] {
        rig.send(peer, "x").unwrap();
    }
    rig.socket.discard_queue(a);
    assert_eq!((rig.written(a), rig.written(b)), (Vec::new(), wire("x")));
}

#[test]
fn who_waits_for_room_hears_of_it_when_the_queue_is_discarded() {
    let mut rig = Rig::router(Options::new().send_mark(Mark { messages: Some(1), octets: None }));
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "1").unwrap();
    rig.send(peer, "2").unwrap_err();
    rig.events();
    rig.socket.discard_queue(peer);
    assert_eq!(rig.events(), ["0 writable"]);
    assert!(!rig.socket.has_actions(), "nothing is left to be written");
}

#[test]
fn a_closing_socket_ends_when_its_last_queue_is_discarded() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "lost").unwrap();
    rig.turn();
    let mut ping = Vec::new();
    encode::ping(&mut ping, 0, b"");
    rig.feed(peer, &ping);
    rig.socket.close(rig.now, None);
    assert!(!rig.socket.is_closed());
    rig.socket.discard_queue(peer);
    assert!(rig.socket.is_closed());
}

#[test]
fn a_lossy_send_does_not_take_away_the_writable_of_another() {
    let mut rig = Rig::router(Options::new().send_mark(Mark { messages: Some(1), octets: None }));
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "1").unwrap();
    rig.send(peer, "2").unwrap_err();
    assert!(!rig.socket.send_lossy(peer, "3"));
    rig.turn();
    rig.limit(peer, 1_000);
    let events = rig.events();
    assert!(events.contains(&"0 writable".into()), "{events:?}");
}

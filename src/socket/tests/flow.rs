//! Receive marks, pauses, and what bounds how many peers there are.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::harness::{Rig, hello, wire};
use crate::conn::{Heartbeat, Mark};
use crate::socket::{Closed, Event, Options, Refused};
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
fn runs_are_delivered_whole_if_so_wished() {
    let mut rig = Rig::router(Options::new().deliver_runs(true));
    let peer = rig.client("a");
    rig.events();
    rig.feed(peer, &wire("x").repeat(10));
    let Some(Event::Run { run, .. }) = rig.socket.poll_event() else { panic!("a run") };
    assert_eq!((run.messages(), run.octets().len()), (10, 30));
    assert_eq!(rig.socket.peer(peer).unwrap().unreceived_octets(), 0);
}

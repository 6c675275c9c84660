//! How peers and sockets come to their end.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::harness::{Rig, hello, wire};
use crate::conn::Mark;
use crate::socket::{Address, Backoff, Cause, Closed, DialError, Options, Refused, SendError};
use crate::wire::{SocketType, encode};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_close_without_linger_is_over_at_once_and_counts_what_it_gives_up() {
    let mut rig = Rig::router(Options::new());
    let [a, b] = ["a", "b"].map(|identity| rig.client(identity));
    rig.limit(a, 4);
    ["1", "2", "3"].into_iter().for_each(|body| rig.send(a, body).unwrap());
    rig.turn();
    rig.send(b, "4").unwrap();
    rig.events();
    rig.socket.close(rig.now, Some(Duration::ZERO));
    assert!(rig.socket.is_closed());
    assert_eq!(
        rig.events(),
        ["0 gone: the socket was closed", "1 gone: the socket was closed", "closed, 3 unsent"],
        "1 went out, 2 in part"
    );
    assert_eq!(rig.told(), ["stop", "close 0", "close 1"]);
}

#[test]
fn a_close_with_linger_sends_what_is_queued_and_ends_as_soon_as_that_is_done() {
    let mut rig = Rig::router(Options::new());
    let [busy, idle] = ["busy", "idle"].map(|identity| rig.client(identity));
    let waiting = rig.accept();
    rig.limit(busy, 0);
    rig.send(busy, "last").unwrap();
    rig.socket.broadcast_except(Some(idle), &"and this".into());
    rig.events();
    rig.socket.close(rig.now, Some(10 * SECOND));
    assert_eq!(rig.events().len(), 2, "who has nothing to be sent is gone");
    assert!(rig.socket.peer(idle).is_none() && rig.socket.peer(waiting).is_none());
    assert!(!rig.socket.is_closed());
    rig.turn();
    rig.limit(busy, usize::MAX);
    assert_eq!(rig.written(busy), ["last", "and this"].map(wire).concat());
    assert_eq!(rig.events(), ["0 gone: the socket was closed", "closed, 0 unsent"]);
}

#[test]
fn the_linger_ends_a_peer_that_does_not_read() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "never").unwrap();
    rig.events();
    rig.socket.close(rig.now, Some(10 * SECOND));
    rig.pass(9 * SECOND);
    assert!(!rig.socket.is_closed());
    rig.pass(SECOND);
    assert_eq!(rig.events(), ["0 gone: the socket was closed", "closed, 1 unsent"]);
}

#[test]
fn a_peer_at_its_receive_mark_is_read_again_while_it_lingers_and_its_end_is_found() {
    let mark = Mark { messages: Some(2), octets: None };
    let mut rig = Rig::router(Options::new().receive_mark(mark));
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "never").unwrap();
    rig.offer(peer, &["1", "2", "3"].map(wire).concat());
    assert_eq!(rig.told(), ["pause 0"]);
    rig.socket.close(rig.now, None);
    assert_eq!(rig.told(), ["resume 0", "stop"]);
    // All is taken, and nothing more of it is kept.
    rig.feed(peer, &wire("4").repeat(1_000));
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    let events = rig.events();
    assert_eq!(events[1..3], ["0 says [\"1\"]", "0 says [\"2\"]"].map(String::from), "{events:?}");
    assert_eq!(events.last().unwrap(), "closed, 1 unsent");
}

#[test]
fn a_dealer_that_lingers_looks_again_when_what_it_took_back_went_to_another() {
    let mut rig = Rig::dealer(Options::new().send_mark(Mark { messages: Some(2), octets: None }));
    let peers = [0; 2].map(|_| rig.server());
    peers.iter().for_each(|peer| rig.limit(*peer, 0));
    (0..4).for_each(|_| rig.send("x").unwrap());
    rig.turn();
    rig.socket.close(rig.now, None);
    // The other one is full: it waits.
    rig.socket.handle_closed(rig.now, peers[0], Closed::Eof);
    rig.limit(peers[1], usize::MAX);
    assert_eq!(rig.written(peers[1]), wire("x").repeat(4));
    assert!(rig.socket.is_closed(), "nothing is left, and the first one is not dialled for that");
    assert_eq!(rig.events().last().unwrap(), "closed, 0 unsent");
}

#[test]
fn a_second_close_shortens_the_linger_and_never_prolongs_it() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "never").unwrap();
    rig.events();
    rig.socket.close(rig.now, None);
    rig.pass(100 * SECOND);
    assert!(!rig.socket.is_closed());
    rig.socket.close(rig.now, Some(10 * SECOND));
    rig.socket.close(rig.now, Some(20 * SECOND));
    rig.socket.close(rig.now, None);
    rig.pass(10 * SECOND);
    assert_eq!(rig.events(), ["0 gone: the socket was closed", "closed, 1 unsent"]);
}

#[test]
fn while_it_lingers_a_dealer_dials_again_for_what_waits() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.limit(peer, 0);
    rig.send("kept").unwrap();
    rig.events();
    rig.socket.close(rig.now, Some(60 * SECOND));
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    rig.pass(SECOND);
    assert!(rig.told().contains(&"dial 0".into()));
    rig.limit(peer, usize::MAX);
    rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
    rig.feed(peer, &hello(SocketType::Router, b""));
    assert!(rig.written(peer).ends_with(&wire("kept")));
    assert_eq!(rig.events().last().unwrap(), "closed, 0 unsent");
}

#[test]
fn while_it_lingers_a_dealer_dials_nobody_any_more_once_all_is_sent() {
    let mut rig = Rig::dealer(Options::new());
    let [_never, late] = [(); 2].map(|()| rig.socket.connect(rig.now, "server"));
    rig.send("last").unwrap();
    rig.socket.close(rig.now, None);
    assert!(!rig.socket.is_closed());
    rig.dialed(late);
    assert_eq!(rig.events().last().unwrap(), "closed, 0 unsent");
}

#[test]
fn messages_that_no_peer_took_within_the_linger_are_counted() {
    let mut rig = Rig::dealer(Options::new());
    rig.socket.connect(rig.now, "nobody");
    ["1", "2"].into_iter().for_each(|body| rig.send(body).unwrap());
    rig.socket.close(rig.now, Some(SECOND));
    rig.pass(SECOND);
    assert_eq!(rig.events(), ["closed, 2 unsent"]);
    assert_eq!(rig.told(), ["dial 0", "stop", "close 0"]);
}

#[test]
fn a_closing_socket_takes_nothing_in() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "last").unwrap();
    rig.events();
    rig.socket.close(rig.now, None);
    assert!(matches!(rig.send(peer, "late"), Err(SendError::Closing(_))));
    assert_eq!(rig.socket.accept(rig.now, Address::Unnamed), Err(Refused::Closing));
    rig.socket.broadcast_except(None, &"late".into());
    rig.feed(peer, &wire("late"));
    assert_eq!(rig.events(), Vec::<String>::new());
    rig.turn();
    rig.limit(peer, usize::MAX);
    assert_eq!(rig.written(peer), wire("last"));
    assert_eq!(rig.events(), ["0 gone: the socket was closed", "closed, 0 unsent"]);
}

#[test]
fn a_socket_without_peers_closes_at_once() {
    let mut rig = Rig::router(Options::new());
    rig.socket.close(rig.now, None);
    assert_eq!(rig.events(), ["closed, 0 unsent"]);
    assert_eq!(rig.events(), Vec::<String>::new());
}

#[test]
fn a_disconnect_ends_a_dialled_peer_in_whatever_state() {
    let mut rig = Rig::dealer(Options::new());
    let [dialing, waiting, in_handshake] = [(); 3].map(|()| rig.socket.connect(rig.now, "server"));
    let up = rig.server();
    rig.socket.handle_dial_failed(rig.now, waiting, DialError::Refused);
    rig.socket.handle_dialed(rig.now, in_handshake, Address::Unnamed);
    rig.turn();
    rig.events();
    rig.told();
    for peer in [dialing, waiting, in_handshake, up] {
        rig.socket.disconnect(rig.now, peer);
        rig.socket.disconnect(rig.now, peer);
    }
    assert_eq!(rig.told(), ["close 0", "close 2", "close 3"]);
    assert_eq!(
        rig.events(),
        ["2 rejected: disconnected by the application", "3 gone: disconnected by the application"]
    );
    rig.pass(60 * SECOND);
    assert_eq!((rig.told(), rig.socket.poll_timeout()), (Vec::new(), None));
    assert!([dialing, waiting, in_handshake, up].iter().all(|peer| rig.socket.peer(*peer).is_none()));
    rig.socket.handle_dialed(rig.now, dialing, Address::Unnamed);
    assert!(!rig.socket.has_actions());
}

#[test]
fn for_another_cause_a_dialled_peer_is_dialled_again() {
    let mut rig = Rig::dealer(Options::new());
    let peer = rig.server();
    rig.events();
    rig.socket.disconnect_because(rig.now, peer, Cause::TooSlow);
    assert_eq!(rig.events(), ["0 gone: it reads too slowly", "0 retried: it reads too slowly"]);
    rig.pass(SECOND);
    assert_eq!(rig.told().last().unwrap(), "dial 0");
    rig.dialed(peer);
    assert_eq!(rig.events(), ["0 connected"]);
}

#[test]
fn a_closed_socket_dials_nobody() {
    let mut rig = Rig::dealer(Options::new());
    rig.socket.close(rig.now, None);
    assert_eq!(rig.events(), ["closed, 0 unsent"]);
    rig.told();
    let peer = rig.socket.connect(rig.now, "server");
    assert!(rig.socket.peer(peer).is_none());
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.socket.handle_dial_failed(rig.now, peer, DialError::Refused);
    assert_eq!(rig.events(), Vec::<String>::new());
}

#[test]
fn it_has_actions_exactly_when_there_is_one_to_take() {
    let mut rig = Rig::dealer(Options::new());
    assert!(!rig.socket.has_actions());
    rig.socket.connect(rig.now, "server");
    assert!(rig.socket.has_actions(), "it is to be dialled");
    rig.turn();
    assert!(!rig.socket.has_actions());
    rig.accept();
    assert!(rig.socket.has_actions(), "a greeting is to be written");
    rig.turn();
    assert!(!rig.socket.has_actions());
}

#[test]
fn it_has_events_exactly_when_there_is_one_to_take() {
    let mut rig = Rig::router(Options::new());
    let peer = rig.client("a");
    rig.limit(peer, 0);
    rig.send(peer, "last").unwrap();
    let next = |rig: &mut Rig<_>| {
        let expected = rig.socket.has_events();
        assert_eq!(rig.socket.poll_event().is_some(), expected);
        expected
    };
    assert!(next(&mut rig) && !next(&mut rig), "connected");
    rig.socket.handle_accept_failed(rig.now, "for want of memory");
    assert!(next(&mut rig) && !next(&mut rig));
    rig.feed(peer, &wire("x").repeat(2));
    assert!(next(&mut rig) && next(&mut rig) && !next(&mut rig));
    rig.socket.close(rig.now, Some(SECOND));
    assert!(!next(&mut rig), "it lingers");
    rig.pass(SECOND);
    assert!(next(&mut rig) && next(&mut rig) && !next(&mut rig), "the peer and the socket");
}

#[test]
fn a_backoff_of_zero_does_not_spin_while_nobody_takes_events() {
    let mut rig = Rig::dealer(Options::new().backoff(Backoff { first: Duration::ZERO, cap: Duration::ZERO }));
    let peer = rig.socket.connect(rig.now, "server");
    for _ in 0..100 {
        rig.turn();
        rig.socket.handle_dialed(rig.now, peer, Address::Unnamed);
        rig.socket.handle_closed(rig.now, peer, Closed::Eof);
        rig.pass(Duration::from_millis(5));
    }
    assert_eq!(rig.events().len(), 64);
    rig.pass(Duration::from_millis(5));
    assert_eq!(rig.told().last().unwrap(), "dial 0", "it goes on once they are taken");
}

#[test]
fn a_closing_socket_waits_for_nobody_for_whom_only_commands_are_left() {
    let mut ping = Vec::new();
    encode::ping(&mut ping, 0, b"context");
    let mut rig = Rig::router(Options::new());
    let [silent, slow] = ["a", "b"].map(|identity| rig.client(identity));
    rig.limit(silent, 0);
    rig.limit(slow, 2);
    rig.send(slow, "last").unwrap();
    rig.turn();
    [silent, slow].iter().for_each(|peer| rig.feed(*peer, &ping));
    rig.events();
    rig.socket.close(rig.now, None);
    assert_eq!(rig.events(), ["0 gone: the socket was closed"]);
    // The rest of the message, and nothing of the PONG behind it: to write that would keep the driver from reading.
    rig.limit(slow, 4);
    assert_eq!(rig.events(), ["1 gone: the socket was closed", "closed, 0 unsent"]);
    assert_eq!((rig.written(silent), rig.written(slow)), (Vec::new(), wire("last")));
}

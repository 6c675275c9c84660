//! DEALER: D1 to D6.

use super::harness::{Rig, hello, wire};
use crate::conn::Mark;
use crate::socket::{Closed, Options};
use crate::wire::SocketType;

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
    let mut rig = Rig::dealer(Options::new().receive_mark(Mark { messages: Some(2), octets: None }));
    let peer = rig.server();
    rig.feed(peer, &[wire("1"), wire("2")].concat());
    rig.socket.handle_closed(rig.now, peer, Closed::Reset);
    rig.pass(core::time::Duration::from_secs(1));
    rig.socket.handle_dialed(rig.now, peer, crate::socket::Address::Unnamed);
    rig.feed(peer, &hello(SocketType::Router, b""));
    assert!(rig.socket.peer(peer).unwrap().is_connected());
    assert_eq!(rig.socket.handle_input(rig.now, peer, &wire("3")), 0, "its messages wait for room");
}

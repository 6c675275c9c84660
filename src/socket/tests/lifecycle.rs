//! How peers and sockets come to their end.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::harness::Rig;
use crate::socket::{Backoff, DialError, Options};

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
fn a_backoff_of_zero_does_not_spin_while_nobody_takes_events() {
    let mut rig = Rig::dealer(Options::new().backoff(Backoff { first: Duration::ZERO, cap: Duration::ZERO }));
    let peer = rig.socket.connect(rig.now, "server");
    for _ in 0..100 {
        rig.turn();
        rig.socket.handle_dialed(rig.now, peer, crate::socket::Address::Unnamed);
        rig.socket.handle_closed(rig.now, peer, crate::socket::Closed::Eof);
        rig.pass(Duration::from_millis(5));
    }
    assert_eq!(rig.events().len(), 64);
}

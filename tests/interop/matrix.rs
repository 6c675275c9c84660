//! Every pair of socket types that may talk (A6, as far as we have them) × who binds × with and without identity.
//!
//! In each cell messages of every shape go both ways, one at a time.

use zmio::socket::Pattern;
use zmio::{Identity, Options, SocketType};

use crate::support::libzmq::Libzmq;
use crate::support::node::{self, Node};
use crate::support::shapes::{self, Frames, assert_same};

/// Gives each combination a test of its own, so that a failure names it.
macro_rules! cells {
    ($talk:path: $($name:ident = $theirs:expr;)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "the macro is used for several modules")]
            use super::*;

            #[test]
            fn we_bind_both_named() {
                $talk(Cell { theirs: $theirs, we_bind: true, named: true });
            }

            #[test]
            fn we_bind_both_anonymous() {
                $talk(Cell { theirs: $theirs, we_bind: true, named: false });
            }

            #[test]
            fn they_bind_both_named() {
                $talk(Cell { theirs: $theirs, we_bind: false, named: true });
            }

            #[test]
            fn they_bind_both_anonymous() {
                $talk(Cell { theirs: $theirs, we_bind: false, named: false });
            }
        }
    )*};
}

cells! { talk_to_our_router:
    dealer_to_our_router = zmq::DEALER;
    req_to_our_router = zmq::REQ;
    router_to_our_router = zmq::ROUTER;
}

cells! { talk_to_our_dealer:
    router_to_our_dealer = zmq::ROUTER;
    rep_to_our_dealer = zmq::REP;
    dealer_to_our_dealer = zmq::DEALER;
}

struct Cell {
    theirs: zmq::SocketType,
    we_bind: bool,
    named: bool,
}

impl Cell {
    fn options(&self) -> Options {
        let options = Options::new();
        if self.named { options.identity(Identity::new("ours").expect("a legal identity")) } else { options }
    }

    fn libzmq(&self) -> Libzmq {
        let theirs = Libzmq::new(self.theirs);
        if self.named { theirs.named(b"theirs") } else { theirs }
    }

    fn link<P: Pattern + 'static>(&self, ours: &Node<P>, theirs: &Libzmq) {
        if self.we_bind {
            theirs.connect(&ours.bind());
        } else {
            ours.connect(&theirs.bind());
        }
    }

    fn type_of_theirs(&self) -> SocketType {
        match self.theirs {
            zmq::DEALER => SocketType::Dealer,
            zmq::REQ => SocketType::Req,
            zmq::REP => SocketType::Rep,
            zmq::ROUTER => SocketType::Router,
            other => panic!("{other:?} is in no cell"),
        }
    }

    /// How our application sees what theirs sends and receives: REQ and REP put an empty delimiter before it.
    fn as_ours(&self, frames: &Frames) -> Frames {
        match self.theirs {
            zmq::REQ | zmq::REP => prefixed(b"", frames),
            _ => frames.clone(),
        }
    }

    /// What libzmq's ROUTER must call us; it makes up five octets for a peer without a name.
    fn assert_names_us(&self, identity: &[u8]) {
        if self.named {
            assert_eq!(identity, b"ours");
        } else {
            assert_eq!((identity.len(), identity[0]), (5, 0), "{identity:?}");
        }
    }
}

fn talk_to_our_router(cell: Cell) {
    let (ours, theirs) = (node::router(cell.options()), cell.libzmq());
    cell.link(&ours, &theirs);
    let (peer, info) = ours.connected();
    assert_eq!(info.socket_type, Some(cell.type_of_theirs()));
    assert_eq!((info.version.major, info.version.minor), (3, 1));
    if cell.named {
        assert_eq!(&info.identity[..], b"theirs");
    } else {
        assert_eq!((info.identity.len(), info.identity[0]), (5, 0), "R1");
    }

    for (number, frames) in messages().iter().enumerate() {
        let at = format!("message {number}");
        let as_ours = cell.as_ours(frames);
        if cell.theirs == zmq::ROUTER {
            // It cannot send before it knows us, so we begin.
            ours.send(peer, &as_ours);
            let received = theirs.recv();
            cell.assert_names_us(&received[0]);
            assert_same(&received[1..], frames, &at);
            theirs.send(&received);
            let (sender, answer) = ours.message();
            assert_eq!(sender, peer);
            assert_same(&answer, &as_ours, &at);
        } else {
            theirs.send(frames);
            let (sender, received) = ours.message();
            assert_eq!(sender, peer);
            assert_same(&received, &as_ours, &at);
            ours.send(peer, &received);
            assert_same(&theirs.recv(), frames, &at);
        }
    }
}

fn talk_to_our_dealer(cell: Cell) {
    let (ours, theirs) = (node::dealer(cell.options()), cell.libzmq());
    cell.link(&ours, &theirs);
    let (peer, info) = ours.connected();
    assert_eq!(info.socket_type, Some(cell.type_of_theirs()));

    for (number, frames) in messages().iter().enumerate() {
        let at = format!("message {number}");
        let as_ours = cell.as_ours(frames);
        ours.send(&as_ours);
        let received = theirs.recv();
        if cell.theirs == zmq::ROUTER {
            cell.assert_names_us(&received[0]);
            assert_same(&received[1..], frames, &at);
        } else {
            assert_same(&received, frames, &at);
        }
        theirs.send(&received);
        let (sender, answer) = ours.message();
        assert_eq!(sender, peer);
        assert_same(&answer, &as_ours, &at);
    }
}

fn messages() -> Vec<Frames> {
    let mut messages = shapes::small();
    messages.extend(shapes::large());
    messages
}

fn prefixed(first: &[u8], frames: &Frames) -> Frames {
    let mut all = vec![first.to_vec()];
    all.extend(frames.iter().cloned());
    all
}

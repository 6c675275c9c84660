//! libzmq peers with nothing in common with us: told so, reported, and no harm to the others.

use zmio::socket::{Pattern, Router};
use zmio::{Cause, Options};

use crate::support::libzmq::Libzmq;
use crate::support::node::{self, Node};

/// Of `test_security_null` and RFC 37: the mechanisms must be equal.
#[test]
fn a_libzmq_client_that_wants_plain_is_refused_by_name() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let plain = Libzmq::dealer().without_reconnect();
    plain.raw().set_plain_username(Some("admin")).expect("a user");
    plain.raw().set_plain_password(Some("password")).expect("a password");
    plain.connect(&endpoint);
    assert_rejected(&ours, "mechanism is PLAIN, ours is NULL");
    assert_serves(&ours, &endpoint);
}

#[test]
fn a_libzmq_server_that_wants_plain_is_refused_by_name() {
    let theirs = Libzmq::router();
    theirs.raw().set_plain_server(true).expect("a server");
    let ours = node::dealer(Options::new());
    ours.connect(&theirs.bind());
    assert_rejected(&ours, "mechanism is PLAIN, ours is NULL");
}

#[test]
fn libzmq_sockets_of_other_types_are_refused_by_our_router() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    for (kind, name) in [
        (zmq::PUB, "PUB"),
        (zmq::SUB, "SUB"),
        (zmq::XPUB, "XPUB"),
        (zmq::XSUB, "XSUB"),
        (zmq::PUSH, "PUSH"),
        (zmq::PULL, "PULL"),
        (zmq::PAIR, "PAIR"),
        (zmq::REP, "REP"),
    ] {
        let stranger = Libzmq::new(kind).without_reconnect();
        stranger.connect(&endpoint);
        assert_rejected(&ours, &format!("a {name} cannot talk to a ROUTER"));
        drop(stranger);
    }
    assert_serves(&ours, &endpoint);
}

#[test]
fn libzmq_sockets_of_other_types_are_refused_by_our_dealer() {
    for kind in [zmq::PUB, zmq::SUB, zmq::PUSH, zmq::PULL, zmq::PAIR, zmq::REQ] {
        let ours = node::dealer(Options::new());
        let endpoint = ours.bind();
        let stranger = Libzmq::new(kind).without_reconnect();
        stranger.connect(&endpoint);
        assert_rejected(&ours, "cannot talk to a DEALER");
    }
}

/// libzmq compares too, and when it is the first to see the difference it leaves without a word: it may be gone before
/// it has told us its mechanism. What we say when we see it is asked of octets made by hand, in `bad_input`.
#[track_caller]
fn assert_rejected<P: Pattern + 'static>(ours: &Node<P>, cause: &str) {
    match ours.rejected() {
        Cause::Transport(_) => {}
        other => {
            let words = other.to_string();
            assert!(words.contains(cause), "the cause says «{words}», not «{cause}»");
        }
    }
}

#[track_caller]
fn assert_serves(ours: &Node<Router>, endpoint: &str) {
    let good = Libzmq::dealer();
    good.connect(endpoint);
    good.send(&["good"]);
    let (peer, frames) = ours.message();
    ours.send(peer, &frames);
    assert_eq!(good.recv(), [b"good"]);
}

//! Back-pressure between libzmq and us, in both directions, and the end of a socket that still has something to say.

use std::time::Duration;

use zmio::socket::Router;
use zmio::{Event, Mark, Message, Options, PeerId, SendError};

use crate::support::libzmq::Libzmq;
use crate::support::node::{self, Node};
use crate::support::shapes::{self, MIB};

/// Sends as many numbered messages as the peer's queue takes at once, from this number on; the next number is returned.
/// One that is then sent lossily must be lost.
fn fill(ours: &Node<Router>, peer: PeerId, from: u32) -> u32 {
    ours.with(move |engine| {
        let socket = engine.socket_mut();
        for number in from.. {
            let message = Message::from([&number.to_be_bytes()[..], &shapes::body(64 << 10)].concat());
            match socket.send(peer, message.clone()) {
                Ok(()) => assert!(number < 100_000, "never full"),
                Err(error) => {
                    assert_eq!(error, SendError::Full(message), "another message came back");
                    assert!(!socket.send_lossy(peer, Message::from("lossy")), "dropped, and says so");
                    return number;
                }
            }
        }
        unreachable!("never full")
    })
}

/// Of `test_router_mandatory_hwm` and `test_hwm`: a full peer says so, keeps what it has, and has room again.
#[test]
fn a_full_peer_is_full_alone_and_loses_nothing() {
    let mark = Mark { messages: Some(20), octets: None };
    let ours = node::router(Options::new().send_mark(mark));
    let endpoint = ours.bind();
    let slow = Libzmq::dealer();
    slow.raw().set_rcvhwm(1).expect("a receive mark");
    slow.connect(&endpoint);
    let (full, _) = ours.connected();
    let quick = Libzmq::dealer();
    quick.connect(&endpoint);
    let (other, _) = ours.connected();

    // Until neither libzmq nor the kernel takes any more.
    let mut sent = fill(&ours, full, 0);
    assert_eq!(sent, 20, "the mark");
    for _ in 0..50 {
        sent = fill(&ours, full, sent);
    }
    for number in 0..50_u8 {
        ours.send(other, &[[number]]);
        assert_eq!(quick.recv(), [[number]]);
    }

    for number in 0..sent {
        assert_eq!(&slow.recv()[0][..4], number.to_be_bytes());
    }
    ours.wait_for("Writable", |event| match event {
        Event::Writable { peer } => (*peer == Some(full)).then_some(()),
        _ => None,
    });
    ours.send(full, &["room again"]);
    assert_eq!(slow.recv(), [b"room again"], "and none of the lossy ones");
}

/// Our receive mark reaches libzmq through TCP: it stops sending, and nothing is lost.
#[test]
fn an_application_that_does_not_receive_holds_libzmq_back() {
    let mark = Mark { messages: Some(10), octets: Some(MIB as u64) };
    let ours = node::router(Options::new().receive_mark(mark));
    let theirs = Libzmq::dealer();
    theirs.raw().set_sndhwm(10).expect("a send mark");
    theirs.raw().set_sndtimeo(300).expect("a timeout");
    theirs.connect(&ours.bind());
    ours.connected();
    let sent = ours.while_held(|| {
        let mut sent = 0_u32;
        loop {
            let body = [&sent.to_be_bytes()[..], &shapes::body(256 << 10)].concat();
            match theirs.try_send(&[body]) {
                Ok(()) => sent += 1,
                Err(zmq::Error::EAGAIN) => return sent,
                Err(other) => panic!("{other}"),
            }
            assert!(sent < 10_000, "never held back");
        }
    });
    for number in 0..sent {
        assert_eq!(&ours.message().1[0][..4], number.to_be_bytes());
    }
    theirs.send(&["room again"]);
    assert_eq!(ours.message().1, [b"room again"]);
}

/// Closing with linger: what was sent goes out first (`test_linger` of other languages).
#[test]
fn what_was_sent_before_a_close_still_arrives() {
    let theirs = Libzmq::router().unlimited();
    let ours = node::dealer(Options::new());
    ours.connect(&theirs.bind());
    ours.connected();
    for number in 0..200_u8 {
        ours.send(&[&[number][..], &shapes::body(10_000)]);
    }
    ours.with(|engine| engine.close(Some(Duration::from_secs(10))));
    let unsent = ours.wait_for("Closed", |event| match event {
        Event::Closed { unsent } => Some(*unsent),
        _ => None,
    });
    assert_eq!(unsent, 0);
    for number in 0..200_u8 {
        assert_eq!(theirs.recv()[1], [number]);
    }
}

//! Where our sockets listen and whom they find there: with libzmq to try it.

use std::net::TcpStream;

use zmio::Options;

use crate::support::libzmq::Libzmq;
use crate::support::node::{self, Node};

/// Of `test_last_endpoint`: the port that was chosen is told, and is where we are.
#[test]
fn a_wildcard_port_is_told_and_reached() {
    let ours = node::router(Options::new());
    let endpoints = [ours.bind_to("tcp://127.0.0.1:*"), ours.bind_to("tcp://127.0.0.1:0")];
    assert_ne!(endpoints[0], endpoints[1]);
    let listed = ours.with(|engine| engine.local_endpoints().map(|e| e.to_string()).collect::<Vec<_>>());
    for endpoint in &endpoints {
        assert!(!endpoint.ends_with(":0") && !endpoint.ends_with('*'), "{endpoint}");
        assert!(listed.contains(endpoint), "{listed:?}");
        let theirs = Libzmq::dealer();
        theirs.connect(endpoint);
        theirs.send(&["found"]);
        assert_eq!(ours.message().1, [b"found"]);
    }
}

#[test]
fn a_wildcard_host_is_reached_over_ipv4() {
    let ours = node::router(Options::new());
    let bound = ours.bind_to("tcp://*:*");
    let (_, port) = bound.rsplit_once(':').expect("a port");
    let theirs = Libzmq::dealer();
    theirs.connect(&format!("tcp://127.0.0.1:{port}"));
    theirs.send(&["found"]);
    assert_eq!(ours.message().1, [b"found"]);
}

#[test]
fn localhost_is_found_by_name_from_either_side() {
    let ours = node::router(Options::new());
    let bound = ours.bind_to("tcp://localhost:*");
    let (_, port) = bound.rsplit_once(':').expect("a port");
    let theirs = Libzmq::dealer();
    theirs.connect(&format!("tcp://localhost:{port}"));
    theirs.send(&["found"]);
    assert_eq!(ours.message().1, [b"found"]);

    let theirs = Libzmq::router();
    let bound = theirs.bind();
    let (_, port) = bound.rsplit_once(':').expect("a port");
    let ours = node::dealer(Options::new());
    ours.connect(&format!("tcp://localhost:{port}"));
    ours.send(&["found"]);
    assert_eq!(theirs.recv()[1], b"found");
}

/// Of `test_unbind_wildcard`: by the endpoint that was told; those who are there stay.
#[test]
fn unbind_ends_listening_and_leaves_the_connections() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let theirs = Libzmq::dealer();
    theirs.connect(&endpoint);
    let (peer, _) = ours.connected();

    let unbind = |ours: &Node<_>, endpoint: &str| {
        let endpoint = endpoint.parse().expect("an endpoint");
        ours.with(move |engine| engine.unbind(&endpoint).is_ok())
    };
    assert!(unbind(&ours, &endpoint));
    assert!(!unbind(&ours, &endpoint), "twice");
    let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
    assert!(TcpStream::connect(address).is_err(), "still listening");
    theirs.send(&["still"]);
    assert_eq!(ours.message(), (peer, vec![b"still".to_vec()]));
    ours.send(peer, &["here"]);
    assert_eq!(theirs.recv(), [b"here"]);

    assert_eq!(ours.bind_to(&endpoint), endpoint, "free to be bound again");
    let newcomer = Libzmq::dealer();
    newcomer.connect(&endpoint);
    newcomer.send(&["new"]);
    assert_eq!(ours.message().1, [b"new"]);
}

/// One ROUTER that listens in two places and dials two others.
#[test]
fn a_socket_may_bind_and_connect_as_often_as_it_likes() {
    let ours = node::router(Options::new());
    let mut theirs = Vec::new();
    for _ in 0..2 {
        let dealer = Libzmq::dealer();
        dealer.connect(&ours.bind());
        theirs.push(dealer);
        let dealer = Libzmq::dealer();
        ours.connect(&dealer.bind());
        theirs.push(dealer);
    }
    for (number, dealer) in theirs.iter().enumerate() {
        dealer.send(&[[number as u8]]);
    }
    for _ in &theirs {
        let (peer, frames) = ours.message();
        ours.send(peer, &frames);
    }
    for (number, dealer) in theirs.iter().enumerate() {
        assert_eq!(dealer.recv(), [[number as u8]]);
    }
}

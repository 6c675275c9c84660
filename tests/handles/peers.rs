//! Peers that come and go, and endpoints that open and close.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use zmio::net::{BindError, HandleEvent, HandleOptions, OpenError, RecvError};
use zmio::socket::Cause;
use zmio::{Dealer, Event, Options, Router, SendError};

use crate::support::PATIENCE;
use crate::support::raw::Raw;
use crate::{at, call, connected, dealer, dealer_with, disconnected, event, eventually, id, number, numbered, router};

#[test]
fn a_handle_outlives_all_its_peers_and_serves_those_that_come_later() {
    let router = router();
    for n in 0..3 {
        let dealer = dealer(&router);
        dealer.send(numbered(n)).expect("it is open");
        let (from, message) = router.recv_timeout(PATIENCE).expect("it comes");
        router.send(&from, message).expect("it is there");
        assert_eq!(number(&dealer.recv_timeout(PATIENCE).expect("an answer")), n);
        drop(dealer);
        assert_eq!(disconnected(&router), from);
        assert!(router.peers().expect("it is open").is_empty());
        assert_eq!(router.recv_timeout(Duration::ZERO), Err(RecvError::Timeout));
        assert!(matches!(router.send(&from, "too late"), Err(SendError::NoSuchPeer(_))));
    }
}

#[test]
fn peers_are_listed_with_what_they_sent_and_got() {
    let router = router();
    let dealer = dealer_with(&router, Options::new().identity(id("counted")));
    (0..5).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
    (0..5).for_each(|_| drop(router.recv_timeout(PATIENCE).expect("each comes")));
    (0..3).for_each(|n| router.send("counted", numbered(n)).expect("it is there"));
    (0..3).for_each(|_| drop(dealer.recv_timeout(PATIENCE).expect("each comes")));
    let peers = router.peers().expect("it is open");
    let [peer] = &peers[..] else { panic!("one peer: {peers:?}") };
    assert_eq!((&peer.identity, peer.counts.received, peer.counts.sent), (&id("counted"), 5, 3));
}

#[test]
fn the_stats_are_of_all_peers_those_that_are_gone_included() {
    let router = router();
    for n in 1..=3 {
        let dealer = dealer(&router);
        dealer.send(numbered(n)).expect("it is open");
        let (from, message) = router.recv_timeout(PATIENCE).expect("it comes");
        router.send(&from, message).expect("it is there");
        dealer.recv_timeout(PATIENCE).expect("an answer");
        drop(dealer);
        disconnected(&router);
        let stats = router.stats().expect("it is open");
        assert_eq!((stats.received, stats.sent, stats.queued), (n.into(), n.into(), 0));
    }
}

/// The octets of a message that keep whoever drops them until the test lets go.
struct Sticky {
    octets: Vec<u8>,
    dropping: Sender<()>,
    release: Receiver<()>,
}

impl AsRef<[u8]> for Sticky {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Sticky {
    fn drop(&mut self) {
        let _ = self.dropping.send(());
        let _ = self.release.recv_timeout(PATIENCE * 2);
    }
}

#[test]
fn a_name_to_listen_at_is_looked_up_without_the_thread_that_serves_the_others() {
    let router = router();
    let _raw = Raw::connect(&at(&router)).handshake("DEALER", b"reader");
    let to = connected(&router);
    let ((dropping, dropped), (letting_go, release)) = (channel(), channel());
    let octets = vec![0; 64 * 1024];
    router.send(&to, Bytes::from_owner(Sticky { octets, dropping, release })).expect("it is there");
    // The I/O thread has written the message, and does nothing more until we say so.
    dropped.recv_timeout(PATIENCE).expect("it is written");
    let listener = router.clone();
    // RFC 2606 reserves the top-level domain for this.
    let refused = call(move || listener.listen("tcp://nobody.invalid:5557")).returns();
    assert!(matches!(refused, Err(OpenError::Bind(BindError::System { .. }))), "{refused:?}");
    letting_go.send(()).expect("it waits");
    router.listen("tcp://localhost:0").expect("a name of this machine");
}

#[test]
fn a_disconnect_tells_its_cause() {
    let router = router();
    let _raw = Raw::connect(&at(&router)).handshake("DEALER", b"unwanted");
    let peer = event(&router, |event| match event {
        HandleEvent::Socket(Event::Connected { peer, .. }) => Some(*peer),
        _ => None,
    });
    router.disconnect(peer).expect("it is open");
    assert!(matches!(router.send("unwanted", "x"), Err(SendError::NoSuchPeer(_))));
    let cause = event(&router, |event| match event {
        HandleEvent::Socket(Event::Disconnected(gone)) => Some(gone.cause.clone()),
        _ => None,
    });
    assert_eq!(cause, Cause::Requested);
}

#[test]
fn after_an_unbind_nobody_new_comes_in_and_those_inside_stay() {
    let router = router();
    let endpoint = router.local_endpoints().expect("it is open").remove(0);
    let inside = dealer(&router);
    inside.send("first").expect("it is open");
    let (from, _) = router.recv_timeout(PATIENCE).expect("it comes");
    router.unbind(&endpoint).expect("it listens there");
    assert!(router.local_endpoints().expect("it is open").is_empty());
    assert!(matches!(router.unbind(&endpoint), Err(OpenError::Unbind(_))));
    let address = endpoint.to_string();
    let address = address.strip_prefix("tcp://").expect("TCP");
    std::net::TcpStream::connect(address).expect_err("nobody listens");
    router.send(&from, "still here").expect("it stays");
    assert_eq!(inside.recv_timeout(PATIENCE), Ok("still here".into()));
}

#[test]
fn endpoints_that_make_no_sense_are_refused() {
    let router = router();
    assert!(matches!(router.listen("127.0.0.1:5557"), Err(OpenError::Endpoint(_))));
    assert!(matches!(router.listen(&at(&router)), Err(OpenError::Bind(_))));
    assert!(matches!(router.dial("tcp://*:5557"), Err(OpenError::Connect(_))));
    assert!(matches!(Router::bind("nonsense"), Err(OpenError::Endpoint(_))));
    assert!(matches!(Dealer::connect("nonsense"), Err(OpenError::Endpoint(_))));
}

#[test]
fn a_dealer_sends_to_its_peers_in_turn() {
    let routers = [(); 3].map(|()| router());
    let dealer = Dealer::open(HandleOptions::new()).expect("a thread");
    for router in &routers {
        dealer.dial(&at(router)).expect("an endpoint");
    }
    eventually("all are connected", || (dealer.peers().expect("it is open").len() == 3).then_some(()));
    (0..300).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
    for router in &routers {
        let (_, first) = router.recv_timeout(PATIENCE).expect("each gets its share");
        for n in 1..100 {
            let (_, message) = router.recv_timeout(PATIENCE).expect("each gets its share");
            assert_eq!(number(&message), number(&first) + 3 * n);
        }
    }
}

#[test]
fn a_dealer_goes_on_sending_over_restarts_of_its_server() {
    const MESSAGES: u32 = 3_000;
    let mut server = router();
    let endpoint = at(&server);
    let dealer = Dealer::connect(&endpoint).expect("an endpoint");
    let sender = dealer.clone();
    let (go, pace) = std::sync::mpsc::sync_channel(0);
    let sending = call(move || {
        for n in 0..MESSAGES {
            if n % 1_000 == 0 {
                pace.recv().expect("the test goes on");
            }
            sender.send(numbered(n)).expect("it is open");
        }
    });
    let mut last = None;
    for restart in 0..3 {
        go.send(()).expect("it sends");
        // At most once, and in order. What was written to a connection that broke may be lost.
        while last != Some(restart * 1_000 + 999) {
            let (_, message) = server.recv_timeout(PATIENCE).expect("the last of each thousand comes");
            let n = number(&message);
            assert!(last < Some(n), "{n} after {last:?}");
            last = Some(n);
        }
        assert_eq!(server.close(None), Ok(0));
        server = Router::bind(&endpoint).expect("the port is free again");
    }
    sending.returns();
}

#[test]
fn a_router_that_dials_knows_its_peer_again_after_a_restart() {
    let endpoint = {
        let dealer = Dealer::bind("tcp://127.0.0.1:0").expect("a free port");
        dealer.local_endpoints().expect("it is open").remove(0).to_string()
    };
    let router = Router::open(HandleOptions::new()).expect("a thread");
    router.dial(&endpoint).expect("an endpoint");
    for n in 0..3 {
        let dealer =
            Dealer::open(HandleOptions::new().socket(Options::new().identity(id("server")))).expect("a thread");
        dealer.listen(&endpoint).expect("the port is free again");
        assert_eq!(connected(&router), id("server"));
        router.send("server", numbered(n)).expect("it is there");
        assert_eq!(number(&dealer.recv_timeout(PATIENCE).expect("it comes")), n);
        drop(dealer);
        assert_eq!(disconnected(&router), id("server"));
        assert!(matches!(router.send("server", "x"), Err(SendError::NoSuchPeer(_))));
    }
}

//! Identities between libzmq and us: honoured, assigned, refused, handed over, used again (A5, R1, R2).

use std::collections::HashSet;
use std::time::Duration;

use zmio::socket::Duplicates;
use zmio::{Identity, Options};

use crate::support::libzmq::Libzmq;
use crate::support::node;

fn named(identity: &[u8]) -> Options {
    Options::new().identity(Identity::new(identity.to_vec()).expect("a legal identity"))
}

/// Identities on the edges of what is legal.
fn legal() -> [Vec<u8>; 5] {
    [b"x".to_vec(), b"ordinary".to_vec(), vec![1, 0, 0, 0], vec![0xff; 16], vec![b'i'; 255]]
}

#[test]
fn our_router_honours_the_routing_id_of_a_libzmq_dealer() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    for identity in legal() {
        let theirs = Libzmq::dealer().named(&identity);
        theirs.connect(&endpoint);
        let (peer, info) = ours.connected();
        assert_eq!(&info.identity[..], &identity[..]);
        let known = ours.with(move |engine| engine.socket().peer_by_identity(&identity));
        assert_eq!(known, Some(peer));
        ours.send(peer, &["for you"]);
        assert_eq!(theirs.recv(), [b"for you"]);
    }
}

#[test]
fn libzmq_router_honours_the_identity_of_our_dealer_and_of_our_router() {
    let theirs = Libzmq::router();
    let endpoint = theirs.bind();
    for identity in legal() {
        let dealer = node::dealer(named(&identity));
        dealer.connect(&endpoint);
        dealer.send(&["from a dealer"]);
        assert_eq!(theirs.recv(), [&identity[..], b"from a dealer"]);
        theirs.send(&[&identity[..], b"back"]);
        assert_eq!(dealer.message().1, [b"back"]);
    }
    for mut identity in legal() {
        // Not that of a dealer which libzmq may still be burying.
        identity[0] = b'r';
        let router = node::router(named(&identity));
        let peer = router.connect(&endpoint);
        assert_eq!(router.connected().0, peer);
        router.send(peer, &["from a router"]);
        assert_eq!(theirs.recv(), [&identity[..], b"from a router"]);
        theirs.send(&[&identity[..], b"back"]);
        assert_eq!(router.message(), (peer, vec![b"back".to_vec()]));
    }
}

#[test]
fn anonymous_dealers_are_told_apart() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let mut identities = HashSet::new();
    let mut dealers = Vec::new();
    for number in 0..10_u8 {
        let theirs = Libzmq::dealer();
        theirs.connect(&endpoint);
        let (peer, info) = ours.connected();
        assert_eq!((info.identity.len(), info.identity[0]), (5, 0));
        assert!(identities.insert(info.identity.to_vec()), "used twice");
        dealers.push((number, peer, theirs));
    }
    for (number, peer, _) in &dealers {
        ours.send(*peer, &[[*number]]);
    }
    for (number, _, theirs) in &dealers {
        assert_eq!(theirs.recv(), [[*number]]);
    }
}

#[test]
fn a_routing_id_that_begins_with_zero_is_refused_by_a_router_and_ignored_by_a_dealer() {
    // libzmq lets its users set one; at a ROUTER that space is ours to assign from (A5).
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let refused = Libzmq::dealer().named(&[0, 1, 2, 3, 4]);
    refused.connect(&endpoint);
    let cause = ours.rejected().to_string();
    assert!(cause.contains("identity"), "{cause}");

    let good = Libzmq::dealer();
    good.connect(&endpoint);
    good.send(&["served"]);
    assert_eq!(ours.message().1, [b"served"]);

    let ours = node::dealer(Options::new());
    let theirs = Libzmq::dealer().named(&[0, 1, 2, 3, 4]);
    theirs.connect(&ours.bind());
    theirs.send(&["welcome"]);
    assert_eq!(ours.message().1, [b"welcome"]);
}

#[test]
fn a_second_dealer_of_the_same_name_is_rejected_and_the_first_keeps_it() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let first = Libzmq::dealer().named(b"twin");
    first.connect(&endpoint);
    let (peer, _) = ours.connected();

    let second = Libzmq::dealer().named(b"twin");
    second.connect(&endpoint);
    let cause = ours.rejected().to_string();
    assert!(cause.contains("identity"), "{cause}");

    first.send(&["still here"]);
    assert_eq!(ours.message(), (peer, vec![b"still here".to_vec()]));
    ours.send(peer, &["indeed"]);
    assert_eq!(first.recv(), [b"indeed"]);
    ours.expect_no_loss(Duration::ZERO);
}

#[test]
fn with_handover_the_newcomer_takes_the_name() {
    let ours = node::router(Options::new().duplicates(Duplicates::Handover));
    let endpoint = ours.bind();
    // It would re-dial when we close it, and take the name back.
    let first = Libzmq::dealer().named(b"twin").without_reconnect();
    first.connect(&endpoint);
    let (old, _) = ours.connected();
    first.send(&["from the first"]);
    assert_eq!(ours.message().0, old);

    let second = Libzmq::dealer().named(b"twin");
    second.connect(&endpoint);
    let (new, info) = ours.connected();
    assert_eq!(&info.identity[..], b"twin");
    assert_ne!(new, old);
    ours.disconnected(old);

    let known = ours.with(|engine| engine.socket().peer_by_identity(b"twin"));
    assert_eq!(known, Some(new));
    ours.send(new, &["to the second"]);
    assert_eq!(second.recv(), [b"to the second"]);
}

/// libzmq's `test_issue_566`: its ROUTER once lost track of dealers that come and go.
#[test]
fn a_hundred_short_lived_dealers_with_names_are_each_served() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    for number in 0..100 {
        let name = format!("dealer {number}");
        let theirs = Libzmq::dealer().named(name.as_bytes());
        theirs.connect(&endpoint);
        let (peer, info) = ours.connected();
        assert_eq!(&info.identity[..], name.as_bytes());
        ours.send(peer, &["hello"]);
        assert_eq!(theirs.recv(), [b"hello"]);
        theirs.send(&["hello", &name]);
        assert_eq!(ours.message(), (peer, vec![b"hello".to_vec(), name.into_bytes()]));
        drop(theirs);
        ours.disconnected(peer);
    }
    let left = ours.with(|engine| engine.socket().peers().count());
    assert_eq!(left, 0, "peers that nobody closed");
}

#[test]
fn a_name_is_free_again_once_its_dealer_has_left() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let mut before = None;
    for _ in 0..20 {
        let theirs = Libzmq::dealer().named(b"regular");
        theirs.connect(&endpoint);
        let (peer, info) = ours.connected();
        assert_eq!(&info.identity[..], b"regular");
        assert_ne!(Some(peer), before, "a stale PeerId must not reach a new peer");
        theirs.send(&["back again"]);
        assert_eq!(ours.message(), (peer, vec![b"back again".to_vec()]));
        ours.send(peer, &["as ever"]);
        assert_eq!(theirs.recv(), [b"as ever"]);
        drop(theirs);
        ours.disconnected(peer);
        before = Some(peer);
    }
}

#[test]
fn with_handover_a_name_may_return_before_its_old_connection_is_gone() {
    let ours = node::router(Options::new().duplicates(Duplicates::Handover));
    let endpoint = ours.bind();
    for number in 0..20_u8 {
        let theirs = Libzmq::dealer().named(b"hasty");
        theirs.connect(&endpoint);
        theirs.send(&[[number]]);
        let (peer, frames) = ours.message();
        assert_eq!(frames, [[number]]);
        ours.send(peer, &[[number]]);
        assert_eq!(theirs.recv(), [[number]]);
    }
}

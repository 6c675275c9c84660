//! Behaviours that libzmq's own tests hold it to, asked of us with libzmq on the other side.

use std::collections::HashMap;

use zmio::{Identity, Message, Options, PeerId, SendError};

use crate::support::libzmq::Libzmq;
use crate::support::node;
use crate::support::shapes;

/// Of `test_spec_router`: none of five dealers is forgotten, and each is heard in its own order.
#[test]
fn our_router_hears_five_dealers_that_all_talk() {
    const EACH: u32 = 400;
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let dealers: Vec<Libzmq> = (0..5).map(|_| Libzmq::dealer().unlimited()).collect();
    for dealer in &dealers {
        dealer.connect(&endpoint);
    }
    for number in 0..EACH {
        for (index, dealer) in dealers.iter().enumerate() {
            dealer.send(&[&index.to_be_bytes()[..], &number.to_be_bytes()[..]]);
        }
    }
    let mut heard: HashMap<(PeerId, Vec<u8>), Vec<u32>> = HashMap::new();
    for _ in 0..5 * EACH {
        let (peer, frames) = ours.message();
        let number = u32::from_be_bytes(frames[1][..].try_into().expect("four octets"));
        heard.entry((peer, frames[0].clone())).or_default().push(number);
    }
    let expected: Vec<u32> = (0..EACH).collect();
    assert_eq!(heard.len(), 5, "a peer for each dealer and a dealer for each peer");
    assert!(heard.values().all(|numbers| *numbers == expected), "lost, or out of order");
}

/// Of `test_spec_router` and R3: what waits is taken from each peer in turn.
#[test]
fn our_router_takes_turns_between_those_that_wait() {
    const EACH: usize = 50;
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let dealers: Vec<Libzmq> = (0..5).map(|_| Libzmq::dealer()).collect();
    for dealer in &dealers {
        dealer.connect(&endpoint);
        ours.connected();
    }
    ours.while_held(|| {
        for dealer in &dealers {
            for _ in 0..EACH {
                dealer.send(&["turn"]);
            }
        }
        // All of it is in our queues.
        ours.until("five full queues", |engine| {
            let socket = engine.socket();
            let waiting = |peer| socket.peer(peer).map_or(0, |peer| peer.unreceived());
            socket.peers().filter(|peer| waiting(*peer) == EACH as u64).count() == 5
        });
    });
    let senders: Vec<PeerId> = (0..5 * EACH).map(|_| ours.message().0).collect();
    for (turn, peers) in senders.chunks(5).enumerate() {
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        peers.dedup();
        assert_eq!(peers.len(), 5, "turn {turn}: {senders:?}");
    }
}

/// Of `test_spec_dealer`: messages go to the peers in rotation, whole.
#[test]
fn our_dealer_sends_to_five_in_rotation() {
    let ours = node::dealer(Options::new());
    let theirs: Vec<Libzmq> = (0..5).map(|_| Libzmq::router()).collect();
    for router in &theirs {
        ours.connect(&router.bind());
    }
    for _ in &theirs {
        ours.connected();
    }
    for number in 0..100_u8 {
        ours.send(&[&[number][..], b"", &shapes::body(300)]);
    }
    let mut all = Vec::new();
    for router in &theirs {
        let numbers: Vec<u8> = (0..20).map(|_| router.recv()).map(|frames| frames[1][0]).collect();
        let steps = numbers.windows(2).all(|pair| pair[1] - pair[0] == 5);
        assert!(steps, "not every fifth: {numbers:?}");
        all.extend(numbers);
    }
    all.sort_unstable();
    let expected: Vec<u8> = (0..100).collect();
    assert_eq!(all, expected);
}

/// Of `test_spec_dealer`: what comes from five is all received.
#[test]
fn our_dealer_hears_five_routers() {
    let name = Identity::new("ours").expect("a legal identity");
    let ours = node::dealer(Options::new().identity(name));
    let theirs: Vec<Libzmq> = (0..5).map(|_| Libzmq::router()).collect();
    for router in &theirs {
        ours.connect(&router.bind());
    }
    // Each of them knows us once it has heard from us.
    for _ in &theirs {
        ours.connected();
    }
    for _ in &theirs {
        ours.send(&["hello"]);
    }
    for (index, router) in theirs.iter().enumerate() {
        assert_eq!(router.recv(), [&b"ours"[..], b"hello"]);
        for _ in 0..20 {
            router.send(&[&b"ours"[..], &[index as u8]]);
        }
    }
    let mut counts = [0; 5];
    for _ in 0..100 {
        counts[usize::from(ours.message().1[0][0])] += 1;
    }
    assert_eq!(counts, [20; 5]);
}

/// Of `test_immediate`: with one peer dead, those that live get everything (D1, D3).
#[test]
fn our_dealer_passes_over_an_endpoint_where_nobody_is() {
    let dead = {
        let reserved = Libzmq::router();
        reserved.bind()
    };
    let theirs = Libzmq::router();
    let ours = node::dealer(Options::new());
    ours.connect(&dead);
    ours.connect(&theirs.bind());
    ours.connected();
    for number in 0..100_u8 {
        ours.send(&[[number]]);
    }
    for number in 0..100_u8 {
        assert_eq!(theirs.recv()[1], [number]);
    }
}

/// Of `test_router_mandatory`: the message comes back, and nobody else is disturbed.
#[test]
fn a_send_to_a_peer_that_left_is_no_such_peer() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let leaver = Libzmq::dealer().named(b"leaver");
    leaver.connect(&endpoint);
    let (gone, _) = ours.connected();
    let stayer = Libzmq::dealer().named(b"stayer");
    stayer.connect(&endpoint);
    let (here, _) = ours.connected();
    drop(leaver);
    ours.disconnected(gone);

    let message = Message::multipart(["come", "back"]);
    let sent = ours.with({
        let message = message.clone();
        move |engine| engine.socket_mut().send(gone, message)
    });
    assert_eq!(sent, Err(SendError::NoSuchPeer(message)));
    let known = ours.with(|engine| engine.socket().peer_by_identity(b"leaver"));
    assert_eq!(known, None);
    ours.send(here, &["for you"]);
    assert_eq!(stayer.recv(), [b"for you"]);
}

/// Of `test_many_sockets` and `test_shutdown_stress`: many come and go at once, and the next is served.
#[test]
fn fifty_dealers_that_come_and_go_at_once_leave_nothing_behind() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    for _ in 0..2 {
        let dealers: Vec<Libzmq> = (0..50).map(|_| Libzmq::dealer()).collect();
        for dealer in &dealers {
            dealer.connect(&endpoint);
            dealer.send(&["here"]);
        }
        for _ in &dealers {
            let (peer, _) = ours.message();
            ours.send(peer, &["welcome"]);
        }
        for dealer in &dealers {
            assert_eq!(dealer.recv(), [b"welcome"]);
        }
        drop(dealers);
        ours.until("fifty ends", |engine| engine.socket().peers().count() == 0);
    }
}

//! One side restarts in mid-traffic; the other is back by itself (D4, D6).

use std::time::{Duration, Instant};

use zmio::{Event, Identity, Options};

use crate::support::libzmq::Libzmq;
use crate::support::shapes::{self, assert_same};
use crate::support::{PATIENCE, node};

/// Long enough for a few messages, short beside everything else.
const SHORT: Duration = Duration::from_millis(20);

fn number_in(frame: &[u8]) -> u32 {
    let octets = frame.try_into().expect("four octets");
    u32::from_be_bytes(octets)
}

#[test]
fn our_dealer_is_back_by_itself_when_libzmq_restarts() {
    let mut theirs = Libzmq::router();
    let endpoint = theirs.bind();
    let name = Identity::new("ours").expect("a legal identity");
    let ours = node::dealer(Options::new().identity(name));
    let peer = ours.connect(&endpoint);
    ours.connected();

    let mut next = 0_u32;
    let mut seen = Vec::new();
    for _ in 0..3 {
        // Traffic in both directions, and some of it under way when the peer is gone.
        for _ in 0..200 {
            ours.send(&[next.to_be_bytes()]);
            next += 1;
        }
        for _ in 0..100 {
            let received = theirs.recv();
            seen.push(number_in(&received[1]));
            theirs.send(&received);
        }
        drop(theirs);
        ours.disconnected(peer);

        // What is sent now waits for the new one, and none of it may be lost.
        let safe_from = next;
        for _ in 0..100 {
            ours.send(&[next.to_be_bytes()]);
            next += 1;
        }
        theirs = Libzmq::router();
        theirs.bind_to(&endpoint);
        ours.connected();
        while seen.last() != Some(&(next - 1)) {
            seen.push(number_in(&theirs.recv()[1]));
        }
        let kept = seen.iter().filter(|n| **n >= safe_from).count();
        assert_eq!(kept, 100, "lost what was sent while nobody was there");
        assert!(seen.is_sorted_by(|a, b| a < b), "twice, or out of order");
        theirs.send(&[&b"ours"[..], b"welcome back"]);
        ours.wait_for("the welcome", |event| match event {
            Event::Message { message, .. } => (message.frame(0)? == b"welcome back").then_some(()),
            _ => None,
        });
    }
}

/// D4: what lies in our queue survives; the message that was cut off is lost, not sent again.
#[test]
fn what_our_dealer_had_not_begun_to_send_survives_a_cut_in_the_middle_of_a_message() {
    let narrow = || {
        let theirs = Libzmq::router();
        theirs.raw().set_rcvhwm(1).expect("a receive mark");
        theirs
    };
    let mut theirs = narrow();
    let endpoint = theirs.bind();
    let ours = node::dealer(Options::new());
    let peer = ours.connect(&endpoint);
    ours.connected();
    let body = shapes::body(1 << 20);
    for round in 0..3_u32 {
        // 15 MiB: the kernel's buffers are full, and so a message stands half written.
        let numbers = round * 15..(round + 1) * 15;
        for number in numbers.clone() {
            ours.send(&[&number.to_be_bytes()[..], &body]);
        }
        let first = theirs.recv();
        assert_eq!(number_in(&first[1]), numbers.start);
        drop(theirs);
        ours.disconnected(peer);

        theirs = narrow();
        theirs.bind_to(&endpoint);
        let mut seen = vec![numbers.start];
        while seen.last() != Some(&(numbers.end - 1)) {
            let frames = theirs.recv();
            assert_same(&frames[2..], std::slice::from_ref(&body), "whole");
            seen.push(number_in(&frames[1]));
        }
        // Between the first and those that survived lies what the cut destroyed, and nowhere else.
        let survived = &seen[1..];
        assert!(survived.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap, or twice: {seen:?}");
        assert!(survived[0] > seen[0], "twice: {seen:?}");
        ours.connected();
    }
}

#[test]
fn libzmq_dealers_are_back_when_our_router_restarts() {
    let mut ours = node::router(Options::new());
    let endpoint = ours.bind();
    let names = ["one", "two", "three"];
    let clients = names.map(|name| Libzmq::dealer().named(name.as_bytes()));
    for client in &clients {
        client.connect(&endpoint);
    }
    for round in 0..3_u32 {
        for _ in &clients {
            let (peer, _) = ours.connected();
            ours.send(peer, &["welcome", &round.to_string()]);
        }
        for client in &clients {
            until_received(client, &["welcome", &round.to_string()]);
        }
        // In mid-traffic: what they send now is on its way, or waits in libzmq, or is lost.
        for number in 0..100_u32 {
            for client in &clients {
                client.send(&[number.to_be_bytes()]);
            }
        }
        ours.message();
        drop(ours);
        ours = node::router(Options::new());
        ours.bind_to(&endpoint);
    }
}

fn until_received(client: &Libzmq, wanted: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if client.recv_within(SHORT).is_some_and(|frames| frames == wanted_frames(wanted)) {
            return;
        }
    }
    panic!("the client never received {wanted:?}");
}

fn wanted_frames(wanted: &[&str]) -> Vec<Vec<u8>> {
    wanted.iter().map(|frame| frame.as_bytes().to_vec()).collect()
}

#[test]
fn libzmq_req_finds_our_restarted_router() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let client = Libzmq::new(zmq::REQ);
    client.connect(&endpoint);
    client.send(&["before"]);
    let (peer, request) = ours.message();
    ours.send(peer, &request);
    assert_eq!(client.recv(), [b"before"]);
    drop(ours);

    // It waits in libzmq until we are back.
    let ours = node::router(Options::new());
    ours.bind_to(&endpoint);
    client.send(&["after"]);
    let (peer, request) = ours.message();
    ours.send(peer, &request);
    assert_eq!(client.recv(), [b"after"]);
}

#[test]
fn our_restarted_dealer_is_the_same_to_libzmq_router() {
    let theirs = Libzmq::router();
    // Its own default, which rejects the newcomer, is a race against the end of the old connection.
    theirs.raw().set_router_handover(true).expect("handover");
    let endpoint = theirs.bind();
    for round in 0..5_u8 {
        let name = Identity::new("phoenix").expect("a legal identity");
        let ours = node::dealer(Options::new().identity(name));
        ours.connect(&endpoint);
        ours.send(&[[round]]);
        assert_eq!(theirs.recv(), [&b"phoenix"[..], &[round]]);
        theirs.send(&[&b"phoenix"[..], &[round]]);
        assert_eq!(ours.message().1, [[round]]);
    }
}

#[test]
fn our_dealer_finds_a_libzmq_that_binds_later() {
    let endpoint = {
        let reserved = Libzmq::router();
        reserved.bind()
    };
    let ours = node::dealer(Options::new());
    let peer = ours.connect(&endpoint);
    ours.wait_for("Retrying", |event| match event {
        Event::Retrying { peer: at, .. } if *at == peer => Some(()),
        _ => None,
    });
    let numbers: Vec<u32> = (0..500).collect();
    for number in &numbers {
        ours.send(&[number.to_be_bytes()]);
    }
    let theirs = Libzmq::router();
    theirs.bind_to(&endpoint);
    let received: Vec<u32> = numbers.iter().map(|_| number_in(&theirs.recv()[1])).collect();
    assert_eq!(received, numbers, "nothing is lost without a peer (D3)");
}

#[test]
fn libzmq_finds_our_router_that_binds_later() {
    let endpoint = {
        let reserved = node::router(Options::new());
        reserved.bind()
    };
    let clients = [Libzmq::dealer(), Libzmq::dealer()];
    for client in &clients {
        client.connect(&endpoint);
        client.send(&["early"]);
    }
    let ours = node::router(Options::new());
    ours.bind_to(&endpoint);
    for _ in &clients {
        assert_eq!(ours.message().1, [b"early"]);
    }
}

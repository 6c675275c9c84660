//! The relay with libzmq clients in Bonsai's framing, `["", payload]` (B3, fact 6).

use std::time::Duration;

use zmio::relay::RelayEvent;
use zmio::socket::Router;
use zmio::{Cause, Relay, RelayOptions, Slow};

use crate::support::libzmq::Libzmq;
use crate::support::node::{self, Node};
use crate::support::{PATIENCE, shapes};

type RelayNode = Node<Router, Relay>;

/// Waits until the relay knows `count` more clients: what is sent from now on reaches them.
fn joined(relay: &RelayNode, count: usize) {
    for _ in 0..count {
        relay.wait_for("Joined", |event| match event {
            RelayEvent::Joined { peer, .. } => Some(*peer),
            _ => None,
        });
    }
}

fn left(relay: &RelayNode) {
    relay.wait_for("Left", |event| match event {
        RelayEvent::Left { .. } => Some(()),
        _ => None,
    });
}

fn client(endpoint: &str) -> Libzmq {
    let client = Libzmq::dealer().unlimited();
    client.connect(endpoint);
    client
}

fn payload(sender: u32, number: u32) -> Vec<u8> {
    [sender.to_be_bytes(), number.to_be_bytes()].concat()
}

fn sender_and_number(frames: &[Vec<u8>]) -> (u32, u32) {
    assert_eq!((frames.len(), &frames[0][..]), (2, &b""[..]), "Bonsai's framing: {frames:?}");
    let word = |at: usize| u32::from_be_bytes(frames[1][at..at + 4].try_into().expect("four octets"));
    (word(0), word(4))
}

fn say(client: &Libzmq, sender: u32, number: u32) {
    client.send(&[&b""[..], &payload(sender, number)]);
}

/// Each of `count` clients sends `each` messages; each must get all of the others' in order, and none of its own.
fn everyone_hears_everyone_else(relay: &RelayNode, count: u32, each: u32) {
    let endpoint = relay.bind();
    let clients: Vec<Libzmq> = (0..count).map(|_| client(&endpoint)).collect();
    joined(relay, clients.len());
    std::thread::scope(|scope| {
        for (me, client) in (0..count).zip(clients) {
            scope.spawn(move || {
                let mut next = vec![0; count as usize];
                let mut heard = 0;
                for number in 0..each {
                    say(&client, me, number);
                    // Read now and then, so that both directions are busy.
                    let read = number % 16 == 0;
                    while let Some(frames) = read.then(|| client.recv_within(Duration::ZERO)).flatten() {
                        hear(&frames, me, &mut next);
                        heard += 1;
                    }
                }
                while heard < (count - 1) * each {
                    hear(&client.recv(), me, &mut next);
                    heard += 1;
                }
                let extra = client.recv_within(Duration::from_millis(100));
                assert_eq!(extra, None, "something twice, or from itself");
            });
        }
    });
}

fn hear(frames: &[Vec<u8>], me: u32, next: &mut [u32]) {
    let (sender, number) = sender_and_number(frames);
    assert_ne!(sender, me, "the sender got its own message");
    let expected = &mut next[sender as usize];
    assert_eq!(number, *expected, "from {sender}: lost, twice, or out of order");
    *expected += 1;
}

#[test]
fn every_other_client_gets_each_message_once_in_order_and_the_sender_none() {
    let relay = node::relay(RelayOptions::new());
    everyone_hears_everyone_else(&relay, 5, 2_000);
    let totals = relay.with_app(|engine, _| engine.socket().totals());
    assert_eq!((totals.received, totals.sent, totals.dropped), (10_000, 40_000, 0));
}

/// With marks so small that senders are stopped all the time, `Wait` still loses nothing.
#[test]
fn with_slow_wait_and_small_marks_nothing_is_lost() {
    let slow = Slow::Wait { patience: PATIENCE };
    let relay = node::relay(RelayOptions::new().slow(slow).mark_octets(4096));
    everyone_hears_everyone_else(&relay, 5, 2_000);
}

#[test]
fn messages_of_every_shape_pass_as_they_came() {
    let relay = node::relay(RelayOptions::new());
    let endpoint = relay.bind();
    let (sender, receivers) = (client(&endpoint), [client(&endpoint), client(&endpoint)]);
    joined(&relay, 3);
    for frames in shapes::small().iter().chain(&shapes::large()) {
        sender.send(frames);
        for receiver in &receivers {
            shapes::assert_same(&receiver.recv(), frames, "through the relay");
        }
    }
}

#[test]
fn a_client_that_never_sends_hears_everything() {
    let relay = node::relay(RelayOptions::new());
    let endpoint = relay.bind();
    let (talker, listener) = (client(&endpoint), client(&endpoint));
    joined(&relay, 2);
    for number in 0..1_000 {
        say(&talker, 1, number);
    }
    for number in 0..1_000 {
        assert_eq!(sender_and_number(&listener.recv()), (1, number));
    }
    assert_eq!(talker.recv_within(Duration::from_millis(100)), None);
}

#[test]
fn what_a_client_sent_before_it_left_still_goes_out() {
    let relay = node::relay(RelayOptions::new());
    let endpoint = relay.bind();
    let stayer = client(&endpoint);
    joined(&relay, 1);
    for leaver in 0..10 {
        let client = client(&endpoint).lingering();
        for number in 0..100 {
            say(&client, leaver, number);
        }
        drop(client);
        for number in 0..100 {
            assert_eq!(sender_and_number(&stayer.recv()), (leaver, number));
        }
        left(&relay);
    }
}

#[test]
fn a_client_that_reconnects_hears_what_comes_later() {
    let relay = node::relay(RelayOptions::new());
    let endpoint = relay.bind();
    let (talker, witness) = (client(&endpoint), client(&endpoint));
    joined(&relay, 2);
    for round in 0..5 {
        let returning = Libzmq::dealer().named(b"returning");
        returning.connect(&endpoint);
        joined(&relay, 1);
        say(&talker, 1, round);
        assert_eq!(sender_and_number(&returning.recv()), (1, round));
        say(&returning, 2, round);
        assert_eq!(sender_and_number(&talker.recv()), (2, round));
        drop(returning);
        left(&relay);
        // It does not hear what is said while it is away, and that is no error.
        say(&talker, 3, round);
        for expected in [(1, round), (2, round), (3, round)] {
            assert_eq!(sender_and_number(&witness.recv()), expected);
        }
    }
}

/// The default policy: the full client loses its own copies, and nobody else notices.
#[test]
fn a_client_that_does_not_read_harms_nobody_else() {
    let relay = node::relay(RelayOptions::new().mark_octets(1 << 20));
    let endpoint = relay.bind();
    let stuck = Libzmq::dealer();
    stuck.raw().set_rcvhwm(1).expect("a receive mark");
    stuck.connect(&endpoint);
    let (talker, listener) = (client(&endpoint), client(&endpoint));
    joined(&relay, 3);
    let body = shapes::body(32 << 10);
    for number in 0..1_000_u32 {
        talker.send(&[&b""[..], &number.to_be_bytes(), &body]);
        let frames = listener.recv();
        assert_eq!(frames[1], number.to_be_bytes());
    }
    let totals = relay.with_app(|engine, _| engine.socket().totals());
    assert!(totals.dropped > 0, "30 MiB did not fill it: this test shows nothing");
    // And what it did get is whole, in order.
    let mut last = None;
    while let Some(frames) = stuck.recv_within(Duration::from_millis(200)) {
        assert_eq!((frames.len(), frames[2].len()), (3, body.len()));
        let number = u32::from_be_bytes(frames[1][..].try_into().expect("four octets"));
        assert!(Some(number) > last, "twice, or out of order");
        last = Some(number);
    }
}

/// Sends until the policy of the relay has dealt with a client that does not read.
fn until_the_stuck_one_is_out(options: RelayOptions) {
    let relay = node::relay(options.mark_octets(1 << 20));
    let endpoint = relay.bind();
    let stuck = Libzmq::dealer().without_reconnect();
    stuck.raw().set_rcvhwm(1).expect("a receive mark");
    stuck.connect(&endpoint);
    joined(&relay, 1);
    let (talker, listener) = (client(&endpoint), client(&endpoint));
    joined(&relay, 2);

    let body = shapes::body(32 << 10);
    let mut number = 0_u32;
    let cause = loop {
        talker.send(&[&b""[..], &number.to_be_bytes(), &body]);
        assert_eq!(listener.recv()[1], number.to_be_bytes(), "the others lose nothing");
        number += 1;
        assert!(number < 10_000, "never out");
        let out = relay.wait_within(Duration::ZERO, |event| match event {
            RelayEvent::Left(gone) => Some(gone.cause.clone()),
            _ => None,
        });
        if let Some(cause) = out {
            break cause;
        }
    };
    assert_eq!(cause, Cause::TooSlow);
    say(&listener, 1, 1);
    assert_eq!(sender_and_number(&talker.recv()), (1, 1));
}

#[test]
fn with_slow_disconnect_a_client_that_does_not_read_is_out() {
    until_the_stuck_one_is_out(RelayOptions::new().slow(Slow::Disconnect));
}

#[test]
fn with_slow_wait_a_client_that_never_reads_is_out_after_the_patience() {
    let patience = Duration::from_millis(300);
    until_the_stuck_one_is_out(RelayOptions::new().slow(Slow::Wait { patience }));
}

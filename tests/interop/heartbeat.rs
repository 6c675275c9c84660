//! Heartbeats in both directions (A7): never a false alarm, always a true one.

use std::time::{Duration, Instant};

use zmio::{Event, Heartbeat, Options};

use crate::support::libzmq::Libzmq;
use crate::support::octets::{self, COMMAND, Frame, MORE};
use crate::support::raw::Raw;
use crate::support::shapes::{self, assert_same};
use crate::support::tap::Tap;
use crate::support::{PATIENCE, node};

const INTERVAL: Duration = Duration::from_millis(50);
/// Four times what a busy machine delays a PONG by, and a fifth of the quiet second.
const TIMEOUT: Duration = Duration::from_millis(200);
const TTL: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_secs(1);

fn pinging() -> Options {
    Options::new().heartbeat(Heartbeat::every(INTERVAL).timeout(TIMEOUT))
}

fn pings(frames: &[Frame]) -> usize {
    frames.iter().filter(|f| f.is_command(b"PING")).count()
}

fn pongs(frames: &[Frame]) -> usize {
    frames.iter().filter(|f| f.is_command(b"PONG")).count()
}

#[test]
fn libzmq_that_pings_our_router_keeps_its_connection_over_a_quiet_second() {
    let ours = node::router(Options::new());
    let tap = Tap::before(&ours.bind());
    let theirs = Libzmq::dealer().heartbeat(INTERVAL, TIMEOUT, TTL);
    theirs.connect(&tap.endpoint());
    let (peer, _) = ours.connected();
    ours.expect_no_loss(QUIET);
    // It would have closed after 200 ms without our PONGs, and we after 300 ms without its PINGs.
    assert!(pings(&tap.frames()) >= 5, "libzmq did not ping");
    theirs.send(&["still"]);
    assert_eq!(ours.message(), (peer, vec![b"still".to_vec()]));
    ours.send(peer, &["here"]);
    assert_eq!(theirs.recv(), [b"here"]);
}

#[test]
fn libzmq_that_pings_our_dealer_keeps_its_connection_over_a_quiet_second() {
    let theirs = Libzmq::router().heartbeat(INTERVAL, TIMEOUT, TTL);
    let tap = Tap::before(&theirs.bind());
    let ours = node::dealer(Options::new());
    ours.connect(&tap.endpoint());
    ours.connected();
    ours.expect_no_loss(QUIET);
    assert!(pongs(&tap.frames()) >= 5, "we did not answer");
    ours.send(&["still"]);
    let received = theirs.recv();
    assert_eq!(received[1], b"still");
    theirs.send(&[&received[0], &b"here"[..]]);
    assert_eq!(ours.message().1, [b"here"]);
}

#[test]
fn our_dealer_that_pings_keeps_its_connection_over_a_quiet_second() {
    let theirs = Libzmq::router();
    let tap = Tap::before(&theirs.bind());
    let ours = node::dealer(pinging());
    ours.connect(&tap.endpoint());
    ours.connected();
    ours.expect_no_loss(QUIET);
    assert!(pings(&tap.frames()) >= 5, "we did not ping");
    ours.send(&["still"]);
    assert_eq!(theirs.recv()[1], b"still");
}

#[test]
fn our_router_that_pings_keeps_its_connections_over_a_quiet_second() {
    let ours = node::router(pinging());
    let endpoint = ours.bind();
    let tap = Tap::before(&endpoint);
    let tapped = Libzmq::dealer();
    tapped.connect(&tap.endpoint());
    // A REQ may not be disturbed by what is no reply.
    let req = Libzmq::new(zmq::REQ);
    req.connect(&endpoint);
    // Both ping at once.
    let pinging_back = Libzmq::dealer().heartbeat(INTERVAL, TIMEOUT, TTL);
    pinging_back.connect(&endpoint);
    for _ in 0..3 {
        ours.connected();
    }
    ours.expect_no_loss(QUIET);
    assert!(pongs(&tap.frames()) >= 5, "we did not ping");
    for theirs in [&tapped, &req, &pinging_back] {
        theirs.send(&["still"]);
        let (peer, received) = ours.message();
        ours.send(peer, &received);
        assert_eq!(theirs.recv(), [b"still"]);
    }
}

/// Fact 2: libzmq writes a PING whenever its timer fires, between two frames of one message too.
#[test]
fn pings_of_libzmq_between_the_frames_of_a_message_do_not_disturb_it() {
    let ours = node::router(Options::new());
    let tap = Tap::before(&ours.bind());
    let often = Duration::from_millis(1);
    let theirs = Libzmq::dealer().unlimited().heartbeat(often, PATIENCE, PATIENCE);
    theirs.connect(&tap.endpoint());
    let (peer, _) = ours.connected();
    let sent: Vec<_> = (0..2000).map(|n| shapes::body(10_000 + n)).collect();
    // The kernel may take a whole message at once on some days: go on until it was seen.
    for _ in 0..20 {
        theirs.send(&sent);
        let (sender, received) = ours.message();
        assert_eq!(sender, peer);
        assert_same(&received, &sent, "a message with PINGs in it");
        if pings_inside_messages(&tap.frames()) > 0 {
            return;
        }
    }
    panic!("libzmq never pinged inside a message: this test shows nothing");
}

fn pings_inside_messages(frames: &[Frame]) -> usize {
    let mut inside = false;
    let mut count = 0;
    for frame in frames {
        if frame.flags & COMMAND == 0 {
            inside = frame.flags & MORE != 0;
        } else if inside {
            count += 1;
        }
    }
    count
}

#[test]
fn our_router_notices_a_peer_that_went_silent() {
    let ours = node::router(pinging());
    let endpoint = ours.bind();
    let mut silent = Raw::connect(&endpoint).handshake("DEALER", b"silent");
    let (peer, _) = ours.connected();
    let good = Libzmq::dealer();
    good.connect(&endpoint);
    let (other, _) = ours.connected();

    let started = Instant::now();
    let cause = ours.disconnected(peer).to_string();
    assert!(started.elapsed() < Duration::from_secs(5), "too late");
    assert!(cause.contains("heartbeat"), "{cause}");
    let last_words = silent.read_to_end();
    assert!(pings(&octets::frames(&last_words).0) >= 1, "not even asked");

    ours.send(other, &["unaffected"]);
    assert_eq!(good.recv(), [b"unaffected"]);
    ours.expect_no_loss(Duration::ZERO);
}

#[test]
fn our_dealer_notices_that_its_libzmq_vanished_and_dials_again() {
    let theirs = Libzmq::router();
    let tap = Tap::before(&theirs.bind());
    let ours = node::dealer(pinging());
    let peer = ours.connect(&tap.endpoint());
    ours.connected();
    tap.stall();
    let cause = ours.disconnected(peer).to_string();
    assert!(cause.contains("heartbeat"), "{cause}");
    ours.wait_for("Retrying", |event| match event {
        Event::Retrying { peer: again, .. } if *again == peer => Some(()),
        _ => None,
    });
}

#[test]
fn a_libzmq_that_asked_for_a_ttl_and_vanished_is_closed_though_we_do_not_ping() {
    let ours = node::router(Options::new());
    let tap = Tap::before(&ours.bind());
    let theirs = Libzmq::dealer().heartbeat(INTERVAL, PATIENCE, TTL);
    theirs.connect(&tap.endpoint());
    let (peer, _) = ours.connected();
    // The TTL is known once a PING has come.
    ours.expect_no_loss(2 * TTL);
    assert!(pings(&tap.frames()) >= 1, "libzmq did not ping");
    tap.stall();
    let cause = ours.disconnected(peer).to_string();
    assert!(cause.contains("TTL"), "{cause}");
}

#[test]
fn contexts_come_back_in_order() {
    let ours = node::router(Options::new());
    let mut raw = Raw::connect(&ours.bind()).handshake("DEALER", b"");
    let contexts: Vec<Vec<u8>> = (0..=16).map(|n| vec![n; usize::from(n)]).collect();
    // Several at once, but no flood: of that many PONGs may be left out.
    for contexts in contexts.chunks(6) {
        let asked: Vec<u8> = contexts.iter().flat_map(|c| octets::ping(0, c)).collect();
        raw.write(&asked);
        for context in contexts {
            let expected = octets::command_body(b"PONG", context);
            assert_eq!(raw.read_frame().body, expected);
        }
    }
}

/// Any octet is a sign of life, so a message that takes long is not a peer that is dead.
#[test]
fn a_message_that_trickles_in_does_not_time_out() {
    let ours = node::router(pinging());
    let mut raw = Raw::connect(&ours.bind()).handshake("DEALER", b"");
    let (peer, _) = ours.connected();
    let slow = octets::message(&["twenty octets and so"]);
    for octet in slow.chunks(1) {
        raw.write(octet);
        // A quarter of the timeout; 22 of them are more than a second.
        ours.expect_no_loss(TIMEOUT / 4);
    }
    assert_eq!(ours.message(), (peer, vec![b"twenty octets and so".to_vec()]));
}

//! Silence, and what is nearly silence, in virtual time (A1.8, A7).

use std::time::Duration;

use zmio::{Heartbeat, Options, Socket};

use crate::support::octets::{self, frame, greeting, ping};
use crate::victim::{self, Victim, good_handshake};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_handshake_that_does_not_end_is_cut_off_wherever_it_stands() {
    let input = good_handshake();
    for octets in 0..input.len() {
        let mut victim = victim::router();
        let peer = victim.accept();
        victim.feed(peer, &input[..octets], usize::MAX);
        victim.pass(Duration::from_secs(29));
        assert_eq!(victim.end(peer), None, "after {octets} octets: too early");
        victim.pass(2 * SECOND);
        let (connected, words) = victim.end(peer).expect("an end");
        assert!(!connected && words.contains("handshake"), "after {octets} octets: {words}");
    }
}

/// One deadline for all of it, not one per read.
#[test]
fn a_handshake_that_trickles_is_cut_off_too() {
    let mut victim = victim::router();
    let peer = victim.accept();
    for octet in good_handshake().chunks(1) {
        victim.feed(peer, octet, 1);
        victim.pass(SECOND);
    }
    let (connected, words) = victim.end(peer).expect("an end");
    assert!(!connected && words.contains("handshake"), "{words}");
    victim.assert_serves("a trickle");
}

/// E16: those that never finish are capped, and the oldest makes room for the newest.
#[test]
fn unfinished_handshakes_are_capped_and_the_oldest_go_first() {
    let options = victim::options().max_handshakes(Some(10));
    let mut victim = Victim::new(Socket::router(options, 1));
    let good = victim.assert_serves("nothing");
    let half_open: Vec<_> = (0..1_000).map(|_| victim.accept()).collect();
    for (number, peer) in half_open.iter().enumerate() {
        let end = victim.end(*peer);
        assert_eq!(end.is_some(), number < 990, "number {number}: {end:?}");
    }
    let (connected, words) = victim.end(half_open[0]).expect("an end");
    assert!(!connected && words.contains("handshakes"), "{words}");
    // The newest is not at fault for the others.
    victim.feed(half_open[999], &good_handshake(), usize::MAX);
    assert!(victim.is_connected(half_open[999]));
    assert_eq!(victim.end(good), None);
    victim.assert_serves("half-open handshakes");
}

#[test]
fn a_finished_handshake_has_no_deadline() {
    let mut victim = victim::router();
    let peer = victim.assert_serves("nothing");
    victim.pass(Duration::from_secs(3600));
    assert_eq!(victim.end(peer), None);
}

/// The TTL is in tenths of a second, and must not overflow on the way to milliseconds.
#[test]
fn a_ttl_of_any_size_is_kept_to_the_tenth() {
    for tenths in [1_u16, 10, 655, 656, 32_768, 65_535] {
        let mut victim = victim::router();
        let peer = victim.accept();
        victim.feed(peer, &good_handshake(), usize::MAX);
        victim.feed(peer, &ping(tenths, b""), usize::MAX);
        let ttl = Duration::from_millis(u64::from(tenths) * 100);
        victim.pass(ttl - Duration::from_millis(1));
        assert_eq!(victim.end(peer), None, "TTL {tenths}: too early");
        victim.pass(Duration::from_millis(102));
        let (connected, words) = victim.end(peer).unwrap_or_else(|| panic!("TTL {tenths}: not closed"));
        assert!(connected && words.contains("TTL"), "{words}");
        victim.assert_serves("a TTL");
    }
}

#[test]
fn a_ttl_of_zero_asks_for_nothing_and_takes_back_one_before() {
    let mut victim = victim::router();
    let peer = victim.accept();
    victim.feed(peer, &good_handshake(), usize::MAX);
    victim.feed(peer, &ping(5, b""), usize::MAX);
    victim.feed(peer, &ping(0, b""), usize::MAX);
    victim.pass(Duration::from_secs(600));
    assert_eq!(victim.end(peer), None);
}

#[test]
fn any_octet_is_life() {
    let heartbeat = Heartbeat::every(SECOND).timeout(2 * SECOND);
    let options = victim::options().heartbeat(heartbeat);
    let mut victim = Victim::new(Socket::router(options, 1));
    let peer = victim.accept();
    victim.feed(peer, &good_handshake(), usize::MAX);
    // A message of a minute, and never an answer to a PING.
    for octet in frame(0, &[b'x'; 58]).chunks(1) {
        victim.feed(peer, octet, 1);
        victim.written(peer);
        victim.pass(SECOND);
    }
    assert_eq!(victim.end(peer), None);
    assert_eq!(victim.messages(peer).len(), 1);
    victim.pass(5 * SECOND);
    let (_, words) = victim.end(peer).expect("an end");
    assert!(words.contains("heartbeat"), "{words}");
}

#[test]
fn only_peers_that_can_answer_are_pinged() {
    let pinged = |minor, first: &[u8]| {
        let options = Options::new().heartbeat(Heartbeat::every(SECOND));
        let mut victim = Victim::new(Socket::router(options, 1));
        let peer = victim.accept();
        let greeting = octets::greeting_with(3, minor, b"NULL");
        victim.feed(peer, &[&greeting, &octets::ready("DEALER", b""), first].concat(), usize::MAX);
        victim.written(peer);
        victim.pass(SECOND + SECOND / 2);
        let (frames, _) = octets::frames(&victim.written(peer));
        frames.iter().filter(|f| f.is_command(b"PING")).count()
    };
    assert_eq!(pinged(1, &[]), 1, "3.1");
    assert_eq!(pinged(0, &[]), 0, "3.0");
    assert_eq!(pinged(0, &ping(0, b"")), 1, "3.0 that pinged us");
}

#[test]
fn a_clock_that_goes_back_is_harmless() {
    let mut victim = victim::router();
    victim.pass(60 * SECOND);
    let peer = victim.accept();
    victim.now = zmio::Instant::ZERO;
    victim.feed(peer, &greeting(), usize::MAX);
    victim.feed(peer, &good_handshake()[64..], usize::MAX);
    assert!(victim.is_connected(peer));
    victim.assert_serves("a clock that went back");
}

/// E35: a machine that slept, or a loop that was held up. What arrived meanwhile is a sign of life.
#[test]
fn a_clock_that_leaps_ahead_ends_what_is_overdue_and_nobody_who_spoke() {
    let heartbeat = Heartbeat::every(SECOND).timeout(2 * SECOND);
    let mut victim = Victim::new(Socket::router(victim::options().heartbeat(heartbeat), 1));
    let talks = victim.accept();
    victim.feed(talks, &good_handshake(), usize::MAX);
    let silent = victim.accept();
    victim.feed(silent, &good_handshake(), usize::MAX);
    let half_open = victim.accept();
    victim.feed(half_open, &greeting(), usize::MAX);
    victim.written(talks);
    victim.written(silent);
    victim.pass(SECOND + SECOND / 2);
    victim.now = victim.now + 3600 * SECOND;
    // In the order of a driver: input first, then the timers.
    victim.feed(talks, &octets::message(&["still here"]), usize::MAX);
    victim.pass(Duration::ZERO);
    assert_eq!(victim.end(talks), None);
    for (peer, was_connected, cause) in [(silent, true, "heartbeat"), (half_open, false, "handshake")] {
        let (connected, words) = victim.end(peer).expect("an end");
        assert!(connected == was_connected && words.contains(cause), "{words}");
    }
    victim.assert_serves("a clock that leapt ahead");
}

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::message::Message;
use crate::wire::{FrameKind, Greeting, MechanismName};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::after_epoch(Duration::from_secs(seconds))
}

fn router(change: impl FnOnce(&mut Config)) -> Connection {
    let mut config = Config::new(SocketType::Router);
    change(&mut config);
    Connection::new(config.into(), at(0))
}

fn greeting(version: Version) -> Vec<u8> {
    Greeting { version, mechanism: MechanismName::NULL, as_server: false }.encode().to_vec()
}

fn ready(socket_type: SocketType, identity: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::ready(&mut octets, socket_type, Some(identity));
    octets
}

fn hello(identity: &[u8]) -> Vec<u8> {
    [greeting(Version::V3_1), ready(SocketType::Dealer, identity)].concat()
}

fn ping(ttl: u16, context: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::ping(&mut octets, ttl, context);
    octets
}

fn pong(context: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::pong(&mut octets, context);
    octets
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, FrameKind::Last, body);
    octets
}

/// Hands in octets; the messages that they amount to.
fn feed(conn: &mut Connection, now: Instant, octets: &[u8]) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let step = conn.handle_input(now, rest, Credit::UNLIMITED)?;
        rest = &rest[step.taken..];
        match step.event {
            Some(Event::Run(run)) => messages.extend(run.to_run().iter()),
            Some(Event::Message(message)) => messages.push(message),
            Some(Event::Ready(_)) | None => {}
        }
    }
    Ok(messages)
}

fn written(conn: &mut Connection) -> Vec<u8> {
    let mut slices = [&[][..]; 64];
    let filled = conn.gather(&mut slices);
    let octets = slices[..filled].concat();
    conn.sent(octets.len());
    octets
}

fn connected(change: impl FnOnce(&mut Config)) -> Connection {
    let mut conn = router(change);
    feed(&mut conn, at(0), &hello(b"peer")).unwrap();
    assert!(conn.is_ready());
    written(&mut conn);
    conn
}

fn with_heartbeat(heartbeat: Heartbeat) -> Connection {
    connected(|config| config.heartbeat = Some(heartbeat))
}

#[test]
fn one_call_takes_all_up_to_the_next_event() {
    let mut conn = router(|_| {});
    let octets = [hello(b""), ping(0, b"1"), ping(0, b"2")].concat();
    let step = conn.handle_input(at(0), &octets, Credit::UNLIMITED).unwrap();
    assert_eq!(step.taken, hello(b"").len());
    assert!(matches!(step.event, Some(Event::Ready(_))));
    for rest in [&octets[hello(b"").len()..], b""] {
        let step = conn.handle_input(at(0), rest, Credit::UNLIMITED).unwrap();
        assert_eq!(step.taken, rest.len());
        assert!(step.event.is_none());
    }
}

#[test]
fn the_greeting_goes_out_whole_and_unprompted_and_ready_only_after_the_peers() {
    let mut conn = router(|_| {});
    assert_eq!(written(&mut conn), greeting(Version::V3_1)); // A1.2
    feed(&mut conn, at(0), &greeting(Version::V3_0)[..63]).unwrap();
    assert_eq!(written(&mut conn), b"");
    feed(&mut conn, at(0), &[0]).unwrap();
    assert_eq!(written(&mut conn), ready(SocketType::Router, b""));
}

#[test]
fn ready_and_the_first_message_may_come_in_one_segment_or_octet_by_octet() {
    let octets = [hello(b"peer"), message(b"hi")].concat();
    for size in [1, 7, 64, 65, octets.len()] {
        let mut conn = router(|_| {});
        let messages: Vec<Message> =
            octets.chunks(size).flat_map(|piece| feed(&mut conn, at(0), piece).unwrap()).collect();
        assert_eq!(messages, [Message::from("hi")], "pieces of {size}");
    }
}

#[test]
fn nothing_is_sent_before_the_peers_ready() {
    let mut conn = router(|_| {});
    assert!(matches!(conn.send("early"), Err(SendError::NotReady(_))));
    feed(&mut conn, at(0), &greeting(Version::V3_1)).unwrap();
    assert!(matches!(conn.send("early"), Err(SendError::NotReady(_))));
}

#[test]
fn the_handshake_has_one_deadline_however_often_octets_come() {
    let mut conn = router(|_| {});
    for (second, octet) in hello(b"peer").into_iter().take(29).enumerate() {
        feed(&mut conn, at(second as u64), &[octet]).unwrap();
    }
    assert_eq!(conn.poll_timeout(), Some(at(30)));
    conn.pause(at(29));
    assert_eq!(conn.handle_timeout(at(30)), Err(Timeout::Handshake.into()));
}

#[test]
fn an_established_connection_without_heartbeats_has_no_deadline() {
    assert_eq!(connected(|_| {}).poll_timeout(), None);
}

#[test]
fn what_has_no_place_in_a_handshake_ends_it_with_a_cause_that_names_it() {
    let unexpected = |octets: Vec<u8>| feed(&mut router(|_| {}), at(0), &octets).unwrap_err();
    let after_greeting = |octets: Vec<u8>| unexpected([greeting(Version::V3_1), octets].concat());
    assert_eq!(after_greeting(message(b"early")), Violation::MessageBeforeReady.into());
    assert_eq!(after_greeting(ping(0, b"")), Violation::NotReady((*b"PING").into()).into());
    let mut error = Vec::new();
    encode::error(&mut error, "go away");
    assert_eq!(after_greeting(error), Error::Refused((*b"go away").into()));
    let pair = after_greeting(ready(SocketType::Pair, b""));
    assert_eq!(pair, Mismatch::SocketType { ours: SocketType::Router, theirs: SocketType::Pair }.into());
    assert!(matches!(unexpected(b"GET / HTTP/1.1\r\n".to_vec()), Error::Malformed(Malformed::NotZmtp { .. })));
    assert!(matches!(unexpected(vec![0xff; 64]), Error::Malformed(_) | Error::Mismatch(_)));
}

#[test]
fn a_peer_of_another_type_is_told_so_before_the_close() {
    let mut conn = router(|_| {});
    written(&mut conn);
    feed(&mut conn, at(0), &greeting(Version::V3_1)).unwrap();
    written(&mut conn);
    feed(&mut conn, at(0), &ready(SocketType::Pair, b"")).unwrap_err();
    let mut error = Vec::new();
    encode::error(&mut error, "Invalid socket type");
    assert_eq!(conn.into_last_words(), error);
}

#[test]
fn of_an_unknown_socket_type_no_more_is_kept_than_is_shown() {
    let mut conn = router(|_| {});
    let mut octets = greeting(Version::V3_1);
    let body = [&b"\x05READY\x0bSocket-Type\0\0\x03\xe8"[..], &[b'x'; 1_000]].concat();
    encode::frame(&mut octets, FrameKind::Command, &body);
    let error = feed(&mut conn, at(0), &octets).unwrap_err();
    assert_eq!(error, Mismatch::UnknownSocketType([b'x'; 64].into()).into());
}

#[test]
fn identities_that_no_peer_may_have_are_refused_by_a_router_alone() {
    for identity in [vec![0, 1], vec![b'x'; 256]] {
        let octets = hello(&identity);
        let error = feed(&mut router(|_| {}), at(0), &octets).unwrap_err();
        assert!(matches!(error, Error::Violation(Violation::Identity(_))));
        let mut dealer = Connection::new(Config::new(SocketType::Dealer).into(), at(0));
        feed(&mut dealer, at(0), &octets).unwrap(); // A5
        assert!(dealer.is_ready());
    }
}

#[test]
fn the_first_error_sticks() {
    let mut conn = connected(|config| config.heartbeat = Some(Heartbeat::every(SECOND)));
    let error = feed(&mut conn, at(1), &ready(SocketType::Dealer, b"")).unwrap_err();
    assert_eq!(error, Violation::SecondReady.into());
    assert_eq!(feed(&mut conn, at(2), &message(b"late")), Err(error.clone()));
    assert_eq!(conn.handle_timeout(at(100)), Err(error));
    assert_eq!(conn.poll_timeout(), None);
    assert!(matches!(conn.send("late"), Err(SendError::NotReady(_))));
}

#[test]
fn unknown_commands_are_ignored_and_malformed_ones_are_not() {
    let mut conn = connected(|_| {});
    let unknown = [4, 3, 2, b'H', b'I'];
    assert_eq!(feed(&mut conn, at(0), &[&unknown[..], &message(b"x")].concat()).unwrap().len(), 1);
    assert!(matches!(feed(&mut conn, at(0), &[4, 1, 9]), Err(Error::Malformed(_))));
}

#[test]
fn a_ping_is_answered_with_its_context_even_inside_a_multipart_message() {
    let mut conn = connected(|_| {});
    let mut more = Vec::new();
    encode::frame(&mut more, FrameKind::More, b"a");
    let octets = [more, ping(0, b"one"), message(b"b"), ping(0, b"two")].concat();
    assert_eq!(feed(&mut conn, at(0), &octets).unwrap(), [Message::multipart(["a", "b"])]);
    assert_eq!(written(&mut conn), [pong(b"one"), pong(b"two")].concat());
}

#[test]
fn a_flood_of_pings_makes_no_flood_of_pongs() {
    let mut conn = connected(|_| {});
    feed(&mut conn, at(0), &ping(0, b"x").repeat(10_000)).unwrap();
    assert_eq!(written(&mut conn), pong(b"x").repeat(usize::from(MAX_PONGS)));
    feed(&mut conn, at(0), &ping(0, b"y")).unwrap();
    assert_eq!(written(&mut conn), pong(b"y"), "once they are sent it answers again");
}

#[test]
fn silence_after_a_ping_ends_the_connection_and_any_octet_prevents_it() {
    let mut conn = with_heartbeat(Heartbeat::every(5 * SECOND).timeout(2 * SECOND));
    conn.handle_timeout(at(5)).unwrap();
    assert_eq!(written(&mut conn), ping(0, b""));
    feed(&mut conn, at(6), &message(b"busy")[..1]).unwrap();
    conn.handle_timeout(at(7)).unwrap();
    conn.handle_timeout(at(10)).unwrap();
    assert_eq!(written(&mut conn), ping(0, b""));
    assert_eq!(conn.poll_timeout(), Some(at(12)));
    assert_eq!(conn.handle_timeout(at(12)), Err(Timeout::Heartbeat.into()));
}

#[test]
fn at_most_one_ping_is_unanswered() {
    let mut conn = with_heartbeat(Heartbeat::every(SECOND).timeout(10 * SECOND).ttl(Duration::from_millis(1_550)));
    (1..5).for_each(|second| conn.handle_timeout(at(second)).unwrap());
    assert_eq!(written(&mut conn), ping(16, b""), "tenths of a second, rounded up");
    feed(&mut conn, at(5), &pong(b"")).unwrap();
    conn.handle_timeout(at(6)).unwrap();
    assert_eq!(written(&mut conn), ping(16, b""));
}

#[test]
fn a_peer_that_is_told_a_ttl_hears_from_us_while_its_pong_is_behind_a_long_message() {
    let mut conn = with_heartbeat(Heartbeat::every(SECOND).timeout(30 * SECOND).ttl(3 * SECOND));
    let long = message(&[1; 100]);
    for (second, octet) in (1..9).zip(&long) {
        conn.handle_timeout(at(second)).unwrap();
        assert_eq!(written(&mut conn), ping(30, b""), "after {second} s");
        feed(&mut conn, at(second), &[*octet]).unwrap();
    }
    // Nor is it to pay for it that we do not read.
    conn.pause(at(8));
    for second in 9..20 {
        conn.handle_timeout(at(second)).unwrap();
        assert_eq!(written(&mut conn), ping(30, b""), "after {second} s");
    }
}

#[test]
fn the_time_for_the_answer_begins_when_the_ping_is_written() {
    let some_slices = |conn: &mut Connection, octets: usize| {
        let mut slices = [&[][..]; 4];
        assert!(conn.gather(&mut slices) > 0);
        conn.sent(octets);
    };
    let begun = || {
        let mut conn = with_heartbeat(Heartbeat::every(5 * SECOND).timeout(2 * SECOND));
        conn.send(vec![1; 10_000]).unwrap();
        some_slices(&mut conn, 1_000);
        conn.handle_timeout(at(5)).unwrap();
        conn
    };
    // The peer reads on: for as long as it takes, and then it has all the time.
    let mut conn = begun();
    for second in [7, 9, 11] {
        some_slices(&mut conn, 1_000);
        conn.handle_timeout(at(second)).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(second + 2)).min(conn.timers.at(Timer::Ping)));
    }
    assert!(written(&mut conn).ends_with(&ping(0, b"")));
    conn.handle_timeout(at(13)).unwrap();
    // What is written behind the PING says nothing any more.
    conn.send("more").unwrap();
    assert!(!written(&mut conn).is_empty());
    assert_eq!(conn.handle_timeout(at(15)), Err(Timeout::Heartbeat.into()));
    // It does not.
    assert_eq!(begun().handle_timeout(at(7)), Err(Timeout::Heartbeat.into()));
}

/// The timeout is the interval too, unless it is set: one PING runs out when the next is due.
#[test]
fn a_ping_goes_out_at_each_interval_to_a_peer_that_speaks_and_never_answers() {
    let mut conn = with_heartbeat(Heartbeat::every(SECOND));
    for second in 1..6 {
        conn.handle_timeout(at(second)).expect("it was heard");
        assert_eq!(written(&mut conn), ping(0, b""), "after {second} s");
        feed(&mut conn, at(second), &message(b"no PONG")).expect("a message");
    }
}

#[test]
fn a_peer_that_sends_and_never_reads_does_not_make_pings_pile_up() {
    let mut conn = with_heartbeat(Heartbeat::every(SECOND));
    for second in 1..1_000 {
        feed(&mut conn, at(second), &message(b"busy")).unwrap();
        conn.handle_timeout(at(second)).unwrap();
    }
    assert_eq!(written(&mut conn), ping(0, b""));
}

#[test]
fn deadlines_stand_still_while_we_do_not_read() {
    let mut conn = connected(|_| {});
    feed(&mut conn, at(0), &ping(80, b"")).unwrap();
    feed(&mut conn, at(4), &message(b"life")).unwrap();
    conn.pause(at(5));
    (5..105).for_each(|second| conn.handle_timeout(at(second)).unwrap());
    conn.resume(at(105));
    (105..112).for_each(|second| conn.handle_timeout(at(second)).unwrap());
    assert_eq!(conn.handle_timeout(at(112)), Err(Timeout::Ttl.into()), "8 s of silence, not counting the pause");

    let mut conn = with_heartbeat(Heartbeat::every(5 * SECOND));
    conn.handle_timeout(at(5)).unwrap();
    conn.pause(at(6));
    conn.resume(at(106));
    conn.handle_timeout(at(109)).unwrap();
    assert_eq!(conn.handle_timeout(at(110)), Err(Timeout::Heartbeat.into()), "5 s after the PING, less the pause");
}

#[test]
fn the_ttl_of_the_peers_last_ping_counts() {
    let mut conn = connected(|_| {});
    feed(&mut conn, at(0), &ping(u16::MAX, b"")).unwrap();
    assert_eq!(conn.poll_timeout(), Some(Instant::from_millis(6_553_500)));
    feed(&mut conn, at(1), &ping(10, b"")).unwrap();
    assert_eq!(conn.poll_timeout(), Some(at(2)));
    feed(&mut conn, at(2), &message(b"life")).unwrap();
    conn.handle_timeout(at(2)).unwrap();
    assert_eq!(conn.poll_timeout(), Some(at(3)));
    feed(&mut conn, at(2), &ping(0, b"")).unwrap();
    assert_eq!(conn.poll_timeout(), None, "zero: none");
    feed(&mut conn, at(3), &ping(10, b"")).unwrap();
    assert_eq!(conn.handle_timeout(at(4)), Err(Timeout::Ttl.into()));
}

#[test]
fn peers_of_3_0_are_pinged_when_they_have_pinged_us_or_all_are_to_be() {
    let connect = |whom| {
        let mut conn = router(|config| config.heartbeat = Some(Heartbeat::every(SECOND).whom(whom)));
        let octets = [greeting(Version::V3_0), ready(SocketType::Dealer, b"")].concat();
        feed(&mut conn, at(0), &octets).unwrap();
        conn
    };
    let mut capable = connect(PingWhom::Capable);
    assert_eq!(capable.poll_timeout(), None);
    feed(&mut capable, at(1), &ping(0, b"")).unwrap();
    assert_eq!(capable.poll_timeout(), Some(at(2)));
    assert_eq!(connect(PingWhom::All).poll_timeout(), Some(at(1)));
}

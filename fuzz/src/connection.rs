//! One connection under arbitrary calls: input, time, sends, writes, pauses. What it writes is well formed, its
//! deadlines lie ahead, and its first error sticks.

use std::time::Duration;

use zmio::conn::{Config, Connection, Credit, Error};
use zmio::wire::{FrameHeader, GREETING_OCTETS, Greeting, MechanismName, Version, encode};
use zmio::{Heartbeat, Instant, Limits, Mark, Message, SocketType};

use super::tape::Tape;

/// A choice of configuration, then calls with their arguments.
pub fn connection(input: &[u8]) {
    let mut tape = Tape::new(input);
    let how = tape.octet();
    let mut config = Config::new(if how & 1 == 0 { SocketType::Router } else { SocketType::Dealer });
    config.limits = Limits::small();
    config.send_mark = Mark { messages: Some(4), octets: Some(2_000) };
    config.heartbeat = (how & 2 == 0).then(|| Heartbeat::every(Duration::from_millis(700)));
    let mut now = Instant::ZERO;
    let mut connection = Connection::new(config.into(), now);
    let (mut written, mut error) = (Vec::new(), None);
    if how & 4 == 0 {
        let mut handshake =
            Vec::from(Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false }.encode());
        encode::ready(&mut handshake, SocketType::Dealer, Some(b""));
        feed(&mut connection, now, &handshake, Credit::UNLIMITED, &mut error);
        assert!(connection.is_ready());
    }
    while !tape.is_empty() {
        match tape.octet() % 8 {
            0 | 1 => feed(&mut connection, now, tape.piece(), Credit::UNLIMITED, &mut error),
            2 => {
                let credit = Credit { messages: 1, octets: usize::from(tape.octet()) };
                feed(&mut connection, now, tape.piece(), credit, &mut error);
            }
            3 => {
                let message = Message::multipart([vec![], vec![7; 3 * usize::from(tape.octet())]]);
                let ready = connection.is_ready();
                assert!(connection.send(message).is_ok() <= ready, "a message before READY");
            }
            4 => write(&mut connection, 1 + usize::from(tape.octet()), &mut written),
            5 => {
                now = now + Duration::from_millis(20) * u32::from(tape.octet());
                let outcome = connection.handle_timeout(now);
                stick(&mut error, outcome.err());
                assert!(connection.poll_timeout().is_none_or(|due| due > now), "a deadline is in the past");
            }
            6 => connection.pause(now),
            _ => connection.resume(now),
        }
    }
    write(&mut connection, usize::MAX, &mut written);
    check(&written);
}

fn feed(connection: &mut Connection, now: Instant, mut octets: &[u8], credit: Credit, error: &mut Option<Error>) {
    while !octets.is_empty() {
        match connection.handle_input(now, octets, credit) {
            Ok(step) => {
                assert!(step.taken > 0 || step.event.is_some(), "it goes on");
                octets = &octets[step.taken..];
                assert!(error.is_none(), "it goes on after an error");
            }
            Err(met) => return stick(error, Some(met)),
        }
    }
}

fn stick(first: &mut Option<Error>, met: Option<Error>) {
    assert!(first.is_none() || *first == met, "{first:?}, then {met:?}");
    *first = met;
}

/// Writes so much at most.
fn write(connection: &mut Connection, most: usize, written: &mut Vec<u8>) {
    let mut left = most;
    while left > 0 {
        let mut slices = [&[][..]; 3];
        let filled = connection.gather(&mut slices);
        let mut octets = slices[..filled].concat();
        if octets.is_empty() {
            return;
        }
        octets.truncate(left);
        left -= octets.len();
        connection.sent(octets.len());
        written.extend(octets);
    }
}

/// A greeting, then whole frames.
fn check(written: &[u8]) {
    assert!(matches!(Greeting::parse(written), Ok(Some(_))));
    let mut rest = &written[GREETING_OCTETS..];
    while !rest.is_empty() {
        let (header, length) = FrameHeader::parse(rest).expect("our own frame").expect("a whole header");
        rest = &rest[length + header.size as usize..];
    }
}

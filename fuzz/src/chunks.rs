//! A connection under any octets: however they are cut, the same messages come out, the same end is met, and the same
//! is answered.

use zmio::conn::{Config, Connection, Credit, Error, Event};
use zmio::wire::{Greeting, MechanismName, Version, encode};
use zmio::{Instant, Limits, Message, SocketType};

use super::tape::Tape;

/// A choice of socket type, handshake and credit, the lengths of the pieces, then the stream.
pub fn chunks(input: &[u8]) {
    let mut tape = Tape::new(input);
    let how = tape.octet();
    let cuts = tape.piece();
    let socket_type = if how & 1 == 0 { SocketType::Router } else { SocketType::Dealer };
    let mut stream = Vec::new();
    if how & 2 == 0 {
        // Past the handshake at once: a fuzzer would be long in finding it.
        let greeting = Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false };
        stream.extend(greeting.encode());
        encode::ready(&mut stream, SocketType::Dealer, Some(b""));
    }
    stream.extend(tape.rest());
    let stingy = Credit { messages: 1 + u32::from(how >> 4), octets: usize::from(how) };

    let whole = receive(socket_type, [&stream[..]], Credit::UNLIMITED);
    assert_eq!(receive(socket_type, pieces(&stream, cuts), Credit::UNLIMITED), whole);
    assert_eq!(receive(socket_type, pieces(&stream, cuts), stingy), whole);
    assert_eq!(receive(socket_type, stream.chunks(1), stingy), whole);
}

fn pieces<'a>(mut stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &cut in cuts {
        let (piece, rest) = stream.split_at(usize::from(cut).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

/// What a connection makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    ready: bool,
    messages: Vec<Message>,
    error: Option<Error>,
    answer: Vec<u8>,
}

fn receive<'a>(socket_type: SocketType, pieces: impl IntoIterator<Item = &'a [u8]>, credit: Credit) -> Outcome {
    let mut config = Config::new(socket_type);
    config.limits = Limits::small();
    let mut connection = Connection::new(config.into(), Instant::ZERO);
    let mut outcome = Outcome::default();
    for mut rest in pieces {
        while !rest.is_empty() && outcome.error.is_none() {
            match connection.handle_input(Instant::ZERO, rest, credit) {
                Ok(step) => {
                    assert!(step.taken > 0 || step.event.is_some(), "it goes on");
                    rest = &rest[step.taken..];
                    match step.event {
                        Some(Event::Ready(_)) => assert!(!std::mem::replace(&mut outcome.ready, true)),
                        Some(Event::Run(run)) => outcome.messages.extend(run.to_run().iter()),
                        Some(Event::Message(message)) => outcome.messages.push(message),
                        None => {}
                    }
                }
                Err(error) => outcome.error = Some(error),
            }
        }
    }
    outcome.answer = connection.into_last_words().to_vec();
    outcome
}

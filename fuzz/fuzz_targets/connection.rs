//! A ROUTER's connection under any octets: however they are cut, the same messages come out and the same end is met.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zmio::conn::{Config, Connection, Credit, Error, Event};
use zmio::wire::{Greeting, MechanismName, Version, encode};
use zmio::{Instant, Limits, Message, SocketType};

fuzz_target!(|input: (bool, Vec<u8>, &[u8])| {
    let (greeted, cuts, octets) = input;
    let mut stream = Vec::new();
    if greeted {
        // Past the handshake at once: a fuzzer would be long in finding it.
        let greeting = Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false };
        stream.extend(greeting.encode());
        encode::ready(&mut stream, SocketType::Dealer, Some(b""));
    }
    stream.extend(octets);

    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (piece, next) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = next;
    }
    pieces.push(rest);
    assert_eq!(receive(&pieces), receive(&[&stream]));
});

/// What a connection makes of the pieces of a stream.
fn receive(pieces: &[&[u8]]) -> (bool, Vec<Message>, Option<Error>) {
    let mut config = Config::new(SocketType::Router);
    config.limits = Limits::small();
    let mut connection = Connection::new(config.into(), Instant::ZERO);
    let (mut ready, mut messages) = (false, Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match connection.handle_input(Instant::ZERO, rest, Credit::UNLIMITED) {
                Ok(step) => {
                    rest = &rest[step.taken..];
                    match step.event {
                        Some(Event::Ready(_)) => ready = true,
                        Some(Event::Run(run)) => messages.extend(run.to_run().iter()),
                        Some(Event::Message(message)) => messages.push(message),
                        None => {}
                    }
                }
                Err(error) => return (ready, messages, Some(error)),
            }
        }
        write(&mut connection);
    }
    (ready, messages, None)
}

/// Writes all that the connection has to say.
fn write(connection: &mut Connection) {
    let mut slices = [&[][..]; 4];
    loop {
        let filled = connection.gather(&mut slices);
        let octets = slices[..filled].iter().map(|slice| slice.len()).sum();
        if octets == 0 {
            return;
        }
        slices = [&[][..]; 4];
        connection.sent(octets);
    }
}

//! What no client should send.

use crate::dice::Dice;
use crate::hub::MESSAGE;
use crate::octets::{COMMAND, MORE, command, greeting, header, property, push_frame, push_message, ready};

/// What comes after the octets of somebody who never gets through the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing, until the relay has had enough.
    Silence,
    Fin,
    Reset,
}

/// A handshake that must not succeed. `taken` is the identity of somebody who is connected.
pub(crate) fn handshake(dice: &mut Dice, taken: &[u8]) -> (Vec<u8>, Then) {
    let good = greeting(3, b"NULL");
    let after_greeting = |rest: &[u8]| [&good, rest].concat();
    let mut frame = Vec::new();
    push_message(&mut frame, b"too early");
    let octets = match dice.between(0, 9) {
        0 => (0..200).map(|_| dice.roll() as u8).collect(),
        1 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        2 => good[..dice.between(1, 63)].to_vec(),
        3 => greeting(2, b"NULL"),
        4 => greeting(3, b"PLAIN"),
        5 => after_greeting(&frame),
        6 => after_greeting(&command(b"READY", &property(b"Socket-Type", b"DEALER")[..10])),
        7 => after_greeting(&header(COMMAND, 1 << 40)),
        8 => after_greeting(&ready(b"PUB", b"")),
        _ => after_greeting(&ready(b"DEALER", taken)),
    };
    let then = [Then::Silence, Then::Fin, Then::Reset][dice.between(0, 2)];
    (octets, then)
}

/// What ends the connection of somebody who is connected; whether the relay notices only by the end of the stream.
pub(crate) fn traffic(dice: &mut Dice) -> (Vec<u8>, bool) {
    let mut half = Vec::new();
    push_frame(&mut half, MORE, b"");
    match dice.between(0, 8) {
        // Reserved bits.
        0 => (vec![0x08, 1, b'x'], false),
        1 => (vec![0xff; 30], false),
        // Oversize.
        2 => (header(0, MESSAGE + 1), false),
        3 => (header(MORE, u64::MAX), false),
        // A message that never ends: more frames than are allowed.
        4 => (half.repeat(9_000), false),
        // Commands.
        5 => (vec![COMMAND | MORE, 6, 5, b'H', b'E', b'L', b'L', b'O'], false),
        6 => (command(b"PING", b"\x00"), false),
        // A message cut off between two frames, and inside of one.
        7 => (half, true),
        _ => {
            half.extend_from_slice(&header(0, 100_000));
            half.resize(half.len() + dice.between(0, 50_000), b'?');
            (half, true)
        }
    }
}

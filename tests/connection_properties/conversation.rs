//! What a peer may say, in order and out of it.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Frames, octets};

/// Something that an honest peer may send after its READY.
#[derive(Clone, Debug)]
enum Said {
    /// Frames, each with: in the long form though it is short, and followed by a PING inside the message.
    Message(Vec<(Vec<u8>, bool, bool)>),
    Ping(u16, Vec<u8>),
    Pong(Vec<u8>),
    Unknown(Vec<u8>),
    Subscribe(Vec<u8>),
}

impl Said {
    fn message(&self) -> Option<Frames> {
        match self {
            Self::Message(frames) => Some(frames.iter().map(|(body, ..)| body.clone()).collect()),
            _ => None,
        }
    }

    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Message(frames) => {
                let mut octets = Vec::new();
                for (at, (body, long, ping)) in frames.iter().enumerate() {
                    let more = if at + 1 < frames.len() { octets::MORE } else { 0 };
                    if *long {
                        octets.extend(octets::header(more | octets::LONG, body.len() as u64));
                        octets.extend(body);
                    } else {
                        octets.extend(octets::frame(more, body));
                    }
                    if *ping {
                        octets.extend(octets::ping(0, b"between"));
                    }
                }
                octets
            }
            Self::Ping(ttl, context) => octets::ping(*ttl, context),
            Self::Pong(context) => octets::pong(context),
            Self::Unknown(body) => octets::command(b"NEWS", body),
            Self::Subscribe(body) => octets::command(b"SUBSCRIBE", body),
        }
    }
}

pub(crate) fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        (prop_oneof![250..260_usize, Just(17_000_usize)], any::<u8>()).prop_map(|(size, octet)| vec![octet; size]),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        6 => vec((body(), any::<bool>(), prop::bool::weighted(0.2)), 1..4).prop_map(Said::Message),
        1 => (any::<u16>(), vec(any::<u8>(), 0..=16)).prop_map(|(ttl, context)| Said::Ping(ttl, context)),
        1 => vec(any::<u8>(), 0..=16).prop_map(Said::Pong),
        1 => body().prop_map(Said::Unknown),
        1 => vec(any::<u8>(), 0..40).prop_map(Said::Subscribe),
    ]
}

/// How a conversation may go wrong at its end.
pub(crate) fn fault() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(octets::frame(8, b"reserved")),
        1 => Just(octets::frame(octets::COMMAND | octets::MORE, b"\x04PING\x00\x00")),
        1 => Just(octets::header(octets::LONG, 1 << 63)),
        1 => Just(octets::header(octets::LONG, 1 << 40)),
        1 => Just(octets::ready("DEALER", b"")),
        1 => Just(octets::command(b"PING", b"\x00")),
        1 => Just(octets::error(b"go away")),
        1 => Just(octets::command(b"", b"")),
        1 => vec(any::<u8>(), 1..60),
    ]
}

/// A whole conversation, from the greeting on, and the messages in it that come before anything goes wrong.
pub(crate) fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Frames>)> {
    (vec(said(), 0..12), fault(), 0..2_u8).prop_map(|(said, fault, minor)| {
        let mut octets = octets::greeting_with(3, minor, b"NULL");
        octets.extend(octets::ready("DEALER", b"me"));
        octets.extend(said.iter().flat_map(Said::octets));
        octets.extend(fault);
        (octets, said.iter().filter_map(Said::message).collect())
    })
}

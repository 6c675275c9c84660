//! What is queued, and written, as one.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::message::{Message, first_message};

/// What an entry counts besides its octets: about what it takes in memory.
pub(crate) const ENTRY_OCTETS: usize = 64;

/// Messages up to this size are copied next to each other when several wait, since a slice of a vectored write
/// costs more than such a copy.
const PACK_OCTETS: usize = 512;

/// An entry of packed messages takes no more once it is so large.
pub(super) const PACKED_OCTETS: usize = 16 * 1024;

/// One message, or some that are handled as one.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) body: Body,
    pub(super) octets: usize,
    pub(super) messages: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    Message(Message),
    /// Small messages, copied next to each other.
    Packed(Vec<u8>),
    /// Whole messages in a block of the broadcast log, and the number of that block.
    Block(Bytes, u64),
}

impl From<Message> for Entry {
    fn from(message: Message) -> Entry {
        Entry { octets: message.wire_len(), messages: 1, body: Body::Message(message) }
    }
}

impl Entry {
    /// `messages` whole messages that lie in a block of the broadcast log.
    pub(super) fn block(octets: Bytes, messages: u32, block: u64) -> Entry {
        Entry { octets: octets.len(), messages, body: Body::Block(octets, block) }
    }

    /// Copies a message behind those in here, if all of them are small.
    pub(crate) fn pack(&mut self, message: &Message) -> bool {
        let octets = message.wire_len();
        if octets > PACK_OCTETS || self.octets + octets > PACKED_OCTETS {
            return false;
        }
        if let Body::Message(first) = &self.body {
            if self.octets > PACK_OCTETS {
                return false;
            }
            let mut packed = Vec::with_capacity(4 * PACK_OCTETS);
            first.wire().pieces().iter().for_each(|piece| packed.extend_from_slice(piece));
            self.body = Body::Packed(packed);
        }
        let Body::Packed(packed) = &mut self.body else {
            return false;
        };
        message.wire().pieces().iter().for_each(|piece| packed.extend_from_slice(piece));
        self.octets += octets;
        self.messages += 1;
        true
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.body, Body::Message(_))
    }

    #[cfg(feature = "net")]
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    #[cfg(feature = "net")]
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn charge(&self) -> u64 {
        (self.octets + ENTRY_OCTETS) as u64
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (one, many) = match &self.body {
            Body::Message(message) => (None, message.wire().pieces()),
            Body::Packed(octets) => (Some(&octets[..]), &[][..]),
            Body::Block(octets, _) => (Some(&octets[..]), &[][..]),
        };
        one.into_iter().chain(many.iter().map(|piece| &piece[..]))
    }

    /// The whole messages that begin at `from` or later.
    pub(crate) fn messages_from(self, from: usize) -> Vec<Message> {
        let mut rest = match self.body {
            Body::Message(message) => return if from == 0 { Vec::from([message]) } else { Vec::new() },
            Body::Packed(octets) => Bytes::from(octets),
            Body::Block(octets, _) => octets,
        };
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some((octets, frames)) = first_message(&rest) {
            let message = rest.split_to(octets);
            if at >= from {
                messages.push(Message::from_wire(message, frames));
            }
            at += octets;
        }
        messages
    }
}

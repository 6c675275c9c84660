//! What is queued, and written, as one.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::message::{Message, Outgoing, Run, first_message};

/// What an entry counts besides its octets: about what it takes in memory.
pub(crate) const ENTRY_OCTETS: usize = 64;

/// Messages up to this size are copied next to each other when several wait. Such a copy costs less than a slice of a
/// vectored write, and less than to hand the memory of each message to whoever writes it and frees it.
const PACK_OCTETS: usize = 2 * 1024;

/// An entry of packed messages takes no more once it is so large.
pub(super) const PACKED_OCTETS: usize = 16 * 1024;

/// The least memory for packed messages: in three steps of four it is the largest.
const LEAST_OCTETS: usize = PACKED_OCTETS / 64;

/// The memory of so many packed entries is kept to be used again: 1 MiB.
const KEPT_PACKS: usize = 64;

/// The memory of packed entries that were sent, to be used again. One thread that frees what another one has allocated
/// costs both, and page faults when the allocator gives the memory back to the system.
#[derive(Debug, Default)]
pub(crate) struct Packs(Vec<Vec<u8>>);

impl Packs {
    /// Keeps the memory of an entry that was sent.
    pub(super) fn keep(&mut self, entry: Entry) {
        if let Body::Packed(mut packed) = entry.body {
            if packed.capacity() == PACKED_OCTETS && self.0.len() < KEPT_PACKS {
                packed.clear();
                self.0.push(packed);
            }
        }
    }

    /// Makes room behind what is packed. Memory grows fourfold, and the largest is used again: so a queue takes at most four
    /// times what it counts, whatever it is given.
    #[inline]
    fn make_room(&mut self, packed: &mut Vec<u8>, octets: usize) {
        if packed.capacity() - packed.len() < octets {
            self.enlarge(packed, packed.len() + octets);
        }
    }

    fn enlarge(&mut self, packed: &mut Vec<u8>, needed: usize) {
        let mut size = LEAST_OCTETS;
        while size < needed {
            size *= 4;
        }
        let used = if size == PACKED_OCTETS { self.0.pop() } else { None };
        let mut larger = used.unwrap_or_else(|| Vec::with_capacity(size));
        larger.extend_from_slice(packed);
        *packed = larger;
    }

    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.0.iter().map(Vec::capacity).sum()
    }

    /// Takes what another one has kept, as far as there is a place for it.
    #[cfg(feature = "net")]
    pub(crate) fn take(&mut self, other: &mut Packs) {
        let places = KEPT_PACKS - self.0.len();
        self.0.extend(other.0.drain(other.0.len().saturating_sub(places)..));
    }
}

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

    /// Are messages of so many octets copied next to each other?
    pub(crate) fn packs(octets: usize) -> bool {
        octets <= PACK_OCTETS
    }

    /// These messages, in their order.
    pub(crate) fn of_all(messages: impl Iterator<Item = Message>, packs: &mut Packs) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for message in messages {
            let octets = message.wire_len();
            let entry = Entry::add(entries.last_mut(), &mut message.into(), octets, packs);
            entries.extend(entry);
        }
        entries
    }

    /// Adds a message of `octets` on the wire to those that end with the entry `last`: behind what is in there, if all of it
    /// is small, or else in an entry of its own, which is returned. Behind one that is packed full it has room for as much
    /// at once, since more is likely to come.
    pub(crate) fn add(
        last: Option<&mut Entry>,
        message: &mut Outgoing<'_>,
        octets: usize,
        packs: &mut Packs,
    ) -> Option<Entry> {
        if let Some(last) = last {
            if last.pack(message, octets, packs) {
                return None;
            }
            if Entry::packs(octets) && matches!(last.body, Body::Packed(_)) {
                let mut packed = Vec::new();
                packs.make_room(&mut packed, PACKED_OCTETS);
                message.append(&mut packed);
                return Some(Entry { body: Body::Packed(packed), octets, messages: 1 });
            }
        }
        Some(Entry::from(message.take()))
    }

    /// Copies a message behind those in here, if all of them are small.
    #[inline]
    fn pack(&mut self, message: &Outgoing<'_>, octets: usize, packs: &mut Packs) -> bool {
        if !Entry::packs(octets) || self.octets + octets > PACKED_OCTETS {
            return false;
        }
        if let Body::Message(first) = &self.body {
            if !Entry::packs(self.octets) {
                return false;
            }
            let mut packed = Vec::new();
            packs.make_room(&mut packed, self.octets + octets);
            first.append(&mut packed);
            self.body = Body::Packed(packed);
        }
        let Body::Packed(packed) = &mut self.body else {
            return false;
        };
        packs.make_room(packed, octets);
        message.append(packed);
        self.octets += octets;
        self.messages += 1;
        true
    }

    /// Takes off the first `messages`, which have so many octets; not all of them.
    pub(super) fn split(&mut self, messages: u32, octets: usize, packs: &mut Packs) -> Option<Entry> {
        let Body::Packed(packed) = &mut self.body else {
            return None;
        };
        let mut first = Vec::new();
        packs.make_room(&mut first, octets);
        first.extend_from_slice(packed.get(..octets)?);
        drop_first(packed, octets);
        self.octets -= octets;
        self.messages -= messages;
        Some(Entry { body: Body::Packed(first), octets, messages })
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

    /// Its messages.
    pub(crate) fn into_messages(self) -> Vec<Message> {
        let octets = match self.body {
            Body::Message(message) => return Vec::from([message]),
            Body::Packed(octets) => Bytes::from(octets),
            Body::Block(octets, _) => octets,
        };
        Run::from_wire(octets, self.messages).iter().collect()
    }

    /// What comes behind the message that the octet before `sent` belongs to, if anything.
    pub(super) fn behind(mut self, sent: usize) -> Option<Entry> {
        let mut at = 0;
        while at < sent {
            let rest = self.pieces().next().and_then(|octets| octets.get(at..));
            match &self.body {
                Body::Message(_) => return None,
                Body::Packed(_) | Body::Block(..) => at += rest.and_then(first_message)?.0,
            }
            self.messages -= 1;
        }
        match &mut self.body {
            Body::Packed(octets) => drop_first(octets, at),
            Body::Block(octets, _) => octets.advance(at),
            Body::Message(_) => {}
        }
        self.octets -= at;
        (self.messages > 0).then_some(self)
    }
}

/// Drops the first octets, and memory that would be more than four times what is left.
fn drop_first(packed: &mut Vec<u8>, octets: usize) {
    packed.drain(..octets.min(packed.len()));
    packed.shrink_to(4 * packed.len());
}

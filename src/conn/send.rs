//! What waits to be sent to one peer, or at a DEALER to whichever takes it first.
//!
//! The queue is a list of entries in call order. An entry always ends at a message boundary. Commands go between two
//! entries, never inside one.

mod entry;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

pub(crate) use entry::{ENTRY_OCTETS, Entry, Packs};

use entry::Body;

use crate::conn::Mark;
use crate::conn::heartbeat::Output;
use crate::message::{Outgoing, first_message};

/// Room for so many entries is kept when the queue runs empty: enough for a steady flow without an allocation, and
/// little for a peer that is idle.
const KEPT_ENTRIES: usize = 4;

#[derive(Debug)]
pub struct SendQueue {
    mark: Mark,
    entries: VecDeque<Entry>,
    /// The octets of the first entry that are written already.
    front_sent: usize,
    control: Vec<u8>,
    control_sent: usize,
    messages: u64,
    charged: u64,
    /// The messages that were written whole, ever.
    messages_sent: u64,
    /// The octets that were written, ever.
    octets_sent: u64,
}

impl SendQueue {
    pub(crate) fn new(mark: Mark) -> SendQueue {
        SendQueue {
            mark,
            entries: VecDeque::new(),
            front_sent: 0,
            control: Vec::new(),
            control_sent: 0,
            messages: 0,
            charged: 0,
            messages_sent: 0,
            octets_sent: 0,
        }
    }

    /// Appends a message, unless that would pass the mark; then it is left where it is.
    pub(crate) fn push(&mut self, message: &mut Outgoing<'_>, packs: &mut Packs) -> bool {
        let octets = message.wire_len();
        let room = self.mark.admits(self.messages, self.charged, 1, (octets + ENTRY_OCTETS) as u64);
        if room {
            self.place(message, octets, packs);
        }
        room
    }

    fn place(&mut self, message: &mut Outgoing<'_>, octets: usize, packs: &mut Packs) {
        let partly_sent = self.entries.len() == 1 && self.front_sent > 0;
        // Packed messages may be added to while they are sent; a message that stands alone would move.
        let last = self.entries.back_mut().filter(|last| !(partly_sent && last.is_message()));
        match Entry::add(last, message, octets, packs) {
            Some(entry) => self.append(entry),
            None => {
                self.messages += 1;
                self.charged += octets as u64;
            }
        }
    }

    /// Appends an entry, whatever the mark says.
    pub(crate) fn push_reserved(&mut self, entry: Entry, packs: &mut Packs) {
        match entry.body {
            Body::Message(message) => self.place(&mut message.into(), entry.octets, packs),
            Body::Packed(_) | Body::Block(..) => self.append(entry),
        }
    }

    /// Puts entries before all others, whatever the mark says. Nothing of those may be written yet.
    pub(crate) fn put_back(&mut self, entries: impl DoubleEndedIterator<Item = Entry>) {
        for entry in entries.rev() {
            self.messages += u64::from(entry.messages);
            self.charged += entry.charge();
            self.entries.push_front(entry);
        }
    }

    /// Moves messages to the end of `other`, from the first on, until there is no room for one. Nothing may be written yet.
    pub(crate) fn move_to(&mut self, other: &mut SendQueue, packs: &mut Packs) {
        while let Some(front) = self.entries.front_mut() {
            let (messages, octets) = other.room_for(front);
            if messages == front.messages {
                self.take_front().into_iter().for_each(|entry| other.push_reserved(entry, packs));
                continue;
            }
            if messages > 0 {
                if let Some(entry) = front.split(messages, octets, packs) {
                    self.messages -= u64::from(messages);
                    self.charged -= octets as u64;
                    other.append(entry);
                }
            }
            break;
        }
    }

    /// How many messages of an entry there is room for, and their octets.
    fn room_for(&self, entry: &Entry) -> (u32, usize) {
        let fits = |messages: u32, octets: usize| {
            let octets = (octets + ENTRY_OCTETS) as u64;
            match messages {
                // An empty queue takes any one.
                1 => self.mark.admits(self.messages, self.charged, 1, octets),
                _ => self.mark.admits(self.messages + 1, self.charged, u64::from(messages) - 1, octets),
            }
        };
        if fits(entry.messages, entry.octets) {
            return (entry.messages, entry.octets);
        }
        let (mut messages, mut at) = (0, 0);
        if let Body::Packed(packed) = &entry.body {
            while let Some((octets, _)) = packed.get(at..).and_then(first_message) {
                if !fits(messages + 1, at + octets) {
                    break;
                }
                messages += 1;
                at += octets;
            }
        }
        (messages, at)
    }

    /// Appends `messages` whole messages that lie in a block of the broadcast log. The mark is the caller's to ask
    /// first: a turn's broadcasts pass it together or not at all.
    pub(crate) fn push_block(&mut self, octets: Bytes, messages: u32, block: u64) {
        self.append(Entry::block(octets, messages, block));
    }

    fn append(&mut self, entry: Entry) {
        self.messages += u64::from(entry.messages);
        self.charged += entry.charge();
        self.entries.push_back(entry);
    }

    /// Commands to be sent are written to the end of this, whole.
    pub(crate) fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    pub(crate) fn has_control(&self) -> bool {
        self.control.len() > self.control_sent
    }

    /// A command is written in part.
    pub(crate) fn is_control_begun(&self) -> bool {
        self.control_sent > 0
    }

    /// The slices to be written next, in order; how many there are.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [&'a [u8]]) -> usize {
        let mut filled = 0;
        let mut push = |slice: &'a [u8]| match slices.get_mut(filled) {
            _ if slice.is_empty() => true,
            Some(place) => {
                *place = slice;
                filled += 1;
                true
            }
            None => false,
        };
        let begun = usize::from(self.front_sent > 0);
        let mut skip = self.front_sent;
        let front = self.entries.iter().take(begun).flat_map(Entry::pieces).filter_map(move |piece| {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            (!rest.is_empty()).then_some(rest)
        });
        let control = self.control.get(self.control_sent..).unwrap_or_default();
        let others = self.entries.iter().skip(begun).flat_map(Entry::pieces);
        let _ = front.chain([control]).chain(others).all(&mut push);
        filled
    }

    /// So many of the octets last gathered were written. The memory of what is sent goes to `packs`.
    pub(crate) fn sent(&mut self, octets: usize, packs: &mut Packs) {
        let mut left = octets;
        while left > 0 {
            if self.front_sent == 0 && self.has_control() {
                let n = left.min(self.control.len() - self.control_sent);
                self.control_sent += n;
                left -= n;
                if !self.has_control() {
                    // Not kept: an idle peer holds no buffer.
                    self.control = Vec::new();
                    self.control_sent = 0;
                }
                continue;
            }
            let Some(front) = self.entries.front() else {
                break;
            };
            let n = left.min(front.octets - self.front_sent);
            self.front_sent += n;
            left -= n;
            if self.front_sent == front.octets {
                self.front_sent = 0;
                self.messages_sent += u64::from(front.messages);
                self.take_front().into_iter().for_each(|entry| packs.keep(entry));
            }
        }
        self.octets_sent += (octets - left) as u64;
    }

    /// Takes the first entry off. Nothing, or all of it, may be written.
    pub(crate) fn take_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.messages -= u64::from(entry.messages);
        self.charged -= entry.charge();
        if self.entries.is_empty() && self.entries.capacity() > KEPT_ENTRIES {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// Nothing at all is left to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.has_control()
    }

    /// Is the mark reached, not counting the octets of what is written first? That is one message, or 64 KiB of some: however
    /// large it is, it says nothing about how well the peer reads.
    pub(crate) fn is_full(&self) -> bool {
        let front = self.entries.front().map_or(0, Entry::charge);
        self.mark.is_reached(self.messages, self.charged - front)
    }

    /// Half of it is free again.
    pub(crate) fn has_room(&self) -> bool {
        self.messages == 0 || !self.mark.half().is_reached(self.messages, self.charged)
    }

    /// The connection is at its end: what was written whole of the entry that was begun counts as sent. Nothing is
    /// written after this.
    pub(crate) fn settle(&mut self) {
        let Some(front) = self.entries.front() else {
            return;
        };
        let octets = match &front.body {
            Body::Message(_) => return,
            Body::Packed(octets) => &octets[..],
            Body::Block(octets, _) => &octets[..],
        };
        let (mut at, mut written) = (0, 0);
        while let Some((octets, _)) = first_message(octets.get(at..).unwrap_or_default()) {
            at += octets;
            if at > self.front_sent {
                break;
            }
            written += 1;
        }
        self.messages -= written;
        self.messages_sent += written;
    }

    /// The messages that are not written whole; those of an entry count until all of it is.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn messages_sent(&self) -> u64 {
        self.messages_sent
    }

    pub(crate) fn output(&self) -> Output {
        let (is_begun, has_control) = (self.front_sent > 0, self.has_control());
        Output { written: self.octets_sent, is_begun, has_control }
    }

    /// What it holds, as the mark counts.
    pub(crate) fn charged(&self) -> u64 {
        self.charged
    }

    /// The oldest block of the broadcast log that [`discard_broadcasts`](SendQueue::discard_broadcasts) would let go of.
    pub(crate) fn oldest_block(&self) -> Option<u64> {
        self.entries.iter().skip(usize::from(self.front_sent > 0)).find_map(|entry| match entry.body {
            Body::Block(_, block) => Some(block),
            _ => None,
        })
    }

    /// The block of the broadcast log that is being written, and how much memory it takes at least, in octets.
    pub(crate) fn begun_block(&self) -> Option<(u64, usize)> {
        match self.entries.front()?.body {
            Body::Block(ref octets, block) if self.front_sent > 0 => Some((block, octets.len())),
            _ => None,
        }
    }

    /// Gives up the entries that are wholly unsent; the number of messages in them.
    pub(crate) fn discard_unsent(&mut self) -> u64 {
        self.discard(|_| true)
    }

    /// Gives up the broadcasts that are wholly unsent; the number of messages in them.
    pub(crate) fn discard_broadcasts(&mut self) -> u64 {
        self.discard(|entry| matches!(entry.body, Body::Block(..)))
    }

    fn discard(&mut self, given_up: impl Fn(&Entry) -> bool) -> u64 {
        let mut begun = self.front_sent > 0;
        let before = self.messages;
        let SendQueue { entries, messages, charged, .. } = self;
        entries.retain(|entry| {
            let keep = core::mem::take(&mut begun) || !given_up(entry);
            if !keep {
                *messages -= u64::from(entry.messages);
                *charged -= entry.charge();
            }
            keep
        });
        self.entries.shrink_to(KEPT_ENTRIES);
        before - self.messages
    }

    /// The messages of which nothing was written, in order. The one that was begun is lost with the connection (D4).
    pub(crate) fn into_unsent(mut self) -> impl DoubleEndedIterator<Item = Entry> {
        if self.front_sent > 0 {
            let rest = self.entries.pop_front().and_then(|front| front.behind(self.front_sent));
            rest.into_iter().for_each(|rest| self.entries.push_front(rest));
        }
        self.entries.into_iter()
    }

    /// The commands that can still be written before the close: none if a message was begun, since they must not
    /// come inside of it.
    pub(crate) fn take_last_words(&mut self) -> Bytes {
        if self.front_sent > 0 {
            return Bytes::new();
        }
        let from = core::mem::take(&mut self.control_sent).min(self.control.len());
        Bytes::from(core::mem::take(&mut self.control)).slice(from..)
    }
}

#[cfg(test)]
mod tests;

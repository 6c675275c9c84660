//! Broadcast by turn: what many peers sent in one turn of the loop goes to each other peer as one or two slices.
//!
//! In a turn, broadcasts are copied one behind the other into a shared log, and it is noted whose each piece is. At the
//! end of the turn each peer is given the whole of it in one entry of its queue, less the pieces that are its own.
//! So a turn costs one copy in memory at most and O(peers + pieces), not their product. Large messages, and what fills a
//! driver's read, are not copied: they stand between what is.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::conn::SendQueue;
use crate::message::Run;
use crate::socket::PeerId;
use crate::socket::reads::{READ_RUN_OCTETS, Reads};
use crate::socket::runs::{emptied, fits};

/// An entry of a queue is at most this large, unless it is one message: a PONG must wait for the end of an entry.
pub(crate) const PART_OCTETS: usize = 64 * 1024;

/// A message of this size is not copied into the log but stands in it as it is.
const SHARE_OCTETS: usize = 16 * 1024;

/// So many of the oldest blocks are looked at for one to be used again.
const LENT_AMONG: usize = 8;

/// So much may be kept of what nobody reads any more before it is looked for.
const SWEEP_OCTETS: u64 = 3 << 20;

#[derive(Debug, Default)]
pub(crate) struct Fanout {
    /// The free end of the newest block, with what was staged since the last part.
    stage: BytesMut,
    staged_messages: u32,
    parts: Vec<Part>,
    pieces: Vec<Piece>,
    messages: u64,
    blocks: Blocks,
    reads: Reads,
}

/// Whole messages of this turn, next to each other.
#[derive(Debug)]
struct Part {
    octets: Bytes,
    messages: u32,
    block: u64,
}

/// Which piece of a part is not for whom.
#[derive(Debug)]
struct Piece {
    owner: PeerId,
    part: usize,
    start: usize,
    end: usize,
    /// How many messages of the part lie before it, and in it.
    before: u32,
    messages: u32,
    /// The next piece of the same owner.
    next: Option<u32>,
}

/// A peer's own pieces of this turn: a list through [`Fanout::pieces`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    first: Option<u32>,
    last: Option<u32>,
    messages: u64,
}

impl Fanout {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Adds whole messages that are for everybody but `owner`, whose list is `own`.
    pub(crate) fn stage(&mut self, run: &Run, owner: Option<PeerId>, own: Option<&mut Own>) {
        let octets = run.octets();
        let is_read = octets.len() >= READ_RUN_OCTETS && self.reads.stage(octets);
        // Only if nobody else can hold on to it: what is held is counted.
        let alone = octets.len() >= SHARE_OCTETS && run.messages() == 1 && octets.is_unique();
        let place = if is_read || alone {
            self.place_as_it_is(run, is_read)
        } else {
            // A block has the size of a part, unless it is for one message alone: so no part grows beyond that.
            if self.stage.capacity() - self.stage.len() < octets.len() {
                self.cut();
                self.stage = self.blocks.open(octets.len());
                return self.stage(run, owner, own);
            }
            let place = (self.parts.len(), self.stage.len(), self.staged_messages);
            self.stage.extend_from_slice(octets);
            self.staged_messages += run.messages();
            place
        };
        self.messages += u64::from(run.messages());
        if let (Some(owner), Some(own)) = (owner, own) {
            self.note(owner, own, place, octets.len(), run.messages());
        }
    }

    /// Adds what is not copied; says to which part, and behind how many of its octets and messages.
    fn place_as_it_is(&mut self, run: &Run, is_read: bool) -> (usize, usize, u32) {
        self.cut();
        let octets = run.octets();
        let part = self.parts.len();
        let last = if is_read { self.parts.last_mut() } else { None };
        let joined = last.and_then(|last| Some((self.reads.join(&last.octets, octets)?, last)));
        if let Some((joined, last)) = joined.filter(|(joined, _)| joined.len() <= PART_OCTETS) {
            let place = (part - 1, last.octets.len(), last.messages);
            last.octets = joined;
            last.messages += run.messages();
            return place;
        }
        let block = if is_read { self.blocks.number() } else { self.blocks.share(octets.clone()) };
        self.parts.push(Part { octets: octets.clone(), messages: run.messages(), block });
        (part, 0, 0)
    }

    fn note(
        &mut self,
        owner: PeerId,
        own: &mut Own,
        (part, start, before): (usize, usize, u32),
        octets: usize,
        messages: u32,
    ) {
        own.messages += u64::from(messages);
        let index = self.pieces.len();
        if let Some(last) = own.last.and_then(|last| self.pieces.get_mut(last as usize)) {
            if last.part == part && last.end == start {
                last.end += octets;
                last.messages += messages;
                return;
            }
            last.next = Some(index as u32);
        }
        own.first.get_or_insert(index as u32);
        own.last = Some(index as u32);
        self.pieces.push(Piece { owner, part, start, end: start + octets, before, messages, next: None });
    }

    /// What was staged since the last part becomes one.
    fn cut(&mut self) {
        if !self.stage.is_empty() {
            let octets = self.stage.split().freeze();
            let messages = core::mem::take(&mut self.staged_messages);
            let block = self.blocks.hold(&octets);
            self.parts.push(Part { octets, messages, block });
        }
    }

    /// The end of the turn: nothing more is added to what [`deliver`](Fanout::deliver) gives to each peer.
    pub(crate) fn seal(&mut self) {
        self.cut();
    }

    /// Queues all of this turn for one peer, less its own pieces.
    pub(crate) fn deliver(&self, queue: &mut SendQueue, own: &Own) {
        let mut mine = own.first;
        for (index, part) in self.parts.iter().enumerate() {
            let (mut start, mut before) = (0, 0);
            while let Some(piece) = mine.and_then(|mine| self.pieces.get(mine as usize)).filter(|p| p.part == index) {
                part.push(queue, start, piece.start, piece.before - before);
                (start, before) = (piece.end, piece.before + piece.messages);
                mine = piece.next;
            }
            part.push(queue, start, part.octets.len(), part.messages - before);
        }
    }

    /// How many messages of this turn are for a peer.
    pub(crate) fn messages_for(&self, own: &Own) -> u64 {
        self.messages - own.messages
    }

    /// Forgets the turn, and says who has pieces in it, so that their lists can be forgotten too.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = PeerId> + '_ {
        self.parts.clear();
        self.messages = 0;
        self.blocks.this_turn = 0;
        self.reads.end_turn();
        self.pieces.drain(..).map(|piece| piece.owner)
    }

    /// Memory for a message that is to be shared: of one that all have read.
    pub(crate) fn lend(&mut self, octets: usize) -> Option<Vec<u8>> {
        self.blocks.lend(octets)
    }

    /// The reads of which runs are staged without a copy.
    pub(crate) fn reads_mut(&mut self) -> &mut Reads {
        &mut self.reads
    }

    /// The octets of the largest message, or part, that somebody may still have to read.
    pub(crate) fn largest_block(&self) -> u64 {
        self.blocks.held.iter().map(|block| block.octets).max().unwrap_or(0)
    }

    /// Do some peers still have to read more than so many octets of the turns before?
    pub(crate) fn holds_more_than(&mut self, octets: u64) -> bool {
        let read = self.reads.held();
        read > octets || self.blocks.hold_more_than(octets - read)
    }
}

impl Part {
    fn push(&self, queue: &mut SendQueue, start: usize, end: usize, messages: u32) {
        if start < end {
            queue.push_block(self.octets.slice(start..end), messages, self.block);
        }
    }
}

/// The memory of the log. A block lives until its last reader has passed, by its reference count; what is kept here is
/// for knowing how much that is, and for using a block again. So it keeps some blocks for longer than their readers:
/// no more than as much again, and [`SWEEP_OCTETS`].
#[derive(Debug, Default)]
struct Blocks {
    held: VecDeque<Block>,
    /// Of those in `held`.
    octets: u64,
    /// Of those that came with this turn.
    this_turn: u64,
    /// What `octets` was after the last sweep.
    swept: u64,
    /// The newest number of a block; they count from 1.
    newest: u64,
    /// The number of the block that is being filled, and whether a part of it is held.
    open: u64,
    open_held: bool,
}

#[derive(Debug)]
struct Block {
    /// Any part of it keeps the whole alive.
    handle: Bytes,
    octets: u64,
}

impl Blocks {
    /// A new block to be filled, with room for so many octets, or an old one that nobody reads any more.
    fn open(&mut self, octets: usize) -> BytesMut {
        self.newest += 1;
        self.open = self.newest;
        self.open_held = false;
        let octets = octets.max(PART_OCTETS);
        while let Some(block) = self.pop_read() {
            // Only one of the same size: a larger one would count as one of that size from now on.
            if block.octets != octets as u64 {
                continue;
            }
            if let Ok(mut memory) = block.handle.try_into_mut() {
                memory.clear();
                if memory.try_reclaim(octets) {
                    return memory;
                }
            }
        }
        BytesMut::with_capacity(octets)
    }

    /// The memory of an old block that was for a message of this size, and that nobody reads any more. The oldest may be of
    /// another size, and stay for long: that of the block that is being filled, for instance.
    fn lend(&mut self, octets: usize) -> Option<Vec<u8>> {
        let is_free = |block: &Block| fits(block.octets as usize, octets) && block.handle.is_unique();
        let place = self.held.iter().take(LENT_AMONG).position(is_free)?;
        let block = self.held.remove(place)?;
        self.octets -= block.octets;
        emptied(block.handle, octets)
    }

    /// The oldest block, if nobody reads it any more.
    fn pop_read(&mut self) -> Option<Block> {
        if !self.held.front()?.handle.is_unique() {
            return None;
        }
        let block = self.held.pop_front()?;
        self.octets -= block.octets;
        Some(block)
    }

    /// A part of the open block is in use; the number of that block. It gets a new one behind others that came since it was
    /// opened: who has read all but this part lags less than those who have not read those.
    fn hold(&mut self, part: &Bytes) -> u64 {
        if self.open < self.newest {
            self.newest += 1;
            self.open = self.newest;
        }
        if !self.open_held {
            self.open_held = true;
            self.push(part.clone(), part.len().max(PART_OCTETS) as u64);
        }
        self.open
    }

    /// A message that stands in the log as it is: a block of its own. The free end of the open one stays usable.
    fn share(&mut self, octets: Bytes) -> u64 {
        let len = octets.len() as u64;
        self.push(octets, len);
        self.number()
    }

    /// A new number, for what stands in the log from here on.
    fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    fn push(&mut self, handle: Bytes, octets: u64) {
        if self.octets > 2 * self.swept + SWEEP_OCTETS {
            self.sweep();
        }
        self.held.push_back(Block { handle, octets });
        self.octets += octets;
        self.this_turn += octets;
    }

    /// Drops those that nobody reads any more. This looks at every block, so it is done when there are many.
    fn sweep(&mut self) {
        self.held.retain(|block| !block.handle.is_unique());
        self.octets = self.held.iter().map(|block| block.octets).sum();
        self.swept = self.octets;
    }

    fn hold_more_than(&mut self, octets: u64) -> bool {
        // The blocks of this turn are in use, so they are all in the sum.
        if self.octets - self.this_turn > octets {
            self.sweep();
        }
        self.octets - self.this_turn > octets
    }
}

#[cfg(test)]
mod tests;

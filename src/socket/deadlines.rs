//! The deadlines of many peers.
//!
//! Each peer has at most one entry that counts; setting an earlier one leaves the other behind, to be skipped when its
//! time comes. A later one is not set at all: the peer is looked at too early, and sets it then. So traffic, which
//! moves deadlines back all the time, costs nothing here.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use crate::socket::PeerId;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, PeerId)>>,
}

impl Deadlines {
    pub(crate) fn push(&mut self, at: Instant, peer: PeerId) {
        self.heap.push(Reverse((at, peer)));
    }

    /// The earliest; it may be one that no longer counts.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, PeerId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops those that no longer count.
    pub(crate) fn retain(&mut self, mut counts: impl FnMut(Instant, PeerId) -> bool) {
        self.heap.retain(|Reverse((at, peer))| counts(*at, *peer));
    }
}

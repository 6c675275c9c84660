//! Reads that are broadcast as they lie in memory, without a copy.
//!
//! A driver reads into memory of one size. What a read has filled becomes part of the broadcast log, and the driver goes on with
//! other memory: with a read that everybody has passed, or with a new one while they are few.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

/// A run that is smaller is copied into the log: it would be a slice of its own in every write.
pub(crate) const READ_RUN_OCTETS: usize = 8 * 1024;

/// So many may be in use, and kept.
const MAX_READS: usize = 4;

#[derive(Debug, Default)]
pub struct Reads {
    reads: Vec<Read>,
}

struct Read {
    memory: Bytes,
    /// A turn has ended since it came.
    counts: bool,
}

impl Reads {
    /// What was read into `memory`, which becomes other memory of the same size. Not if too much is in use: any part of a read
    /// keeps the whole, also one that was begun to be sent and that no limit can take back. So no more than a quarter of `allowed` is
    /// ever used for this.
    pub(crate) fn keep(&mut self, memory: &mut BytesMut, allowed: Option<u64>) -> Option<Bytes> {
        let most = allowed.map_or(u64::MAX, |octets| octets / 4);
        let next = match self.reads.iter().position(|read| read.memory.is_unique()) {
            Some(free) => self.reads.remove(free).memory.try_into_mut().ok()?,
            None => {
                let size = memory.len();
                let grows = self.reads.len() < MAX_READS && ((self.reads.len() + 1) * size) as u64 <= most;
                if !grows {
                    return None;
                }
                BytesMut::zeroed(size)
            }
        };
        let memory = core::mem::replace(memory, next).freeze();
        self.reads.push(Read { memory: memory.clone(), counts: false });
        Some(memory)
    }

    /// Do these octets lie in one of them?
    pub(crate) fn contain(&self, octets: &Bytes) -> bool {
        self.reads.iter().any(|read| read.place(octets).is_some())
    }

    /// Both as one, if `next` lies in the same read right behind `one`.
    pub(crate) fn join(&self, one: &Bytes, next: &Bytes) -> Option<Bytes> {
        self.reads.iter().find_map(|read| {
            let (one, next) = (read.place(one)?, read.place(next)?);
            (one.end == next.start).then(|| read.memory.slice(one.start..next.end))
        })
    }

    /// All that came until now has been delivered.
    pub(crate) fn end_turn(&mut self) {
        self.reads.iter_mut().for_each(|read| read.counts = true);
    }

    /// How many octets of the turns before are kept, by somebody who has not passed them.
    pub(crate) fn held(&self) -> u64 {
        let held = self.reads.iter().filter(|read| read.counts && !read.memory.is_unique());
        held.map(|read| read.memory.len() as u64).sum()
    }
}

impl Read {
    /// Where these octets lie in it.
    fn place(&self, octets: &[u8]) -> Option<Range<usize>> {
        let start = (octets.as_ptr() as usize).checked_sub(self.memory.as_ptr() as usize)?;
        let end = start.checked_add(octets.len())?;
        (end <= self.memory.len()).then_some(start..end)
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("octets", &self.memory.len()).field("free", &self.memory.is_unique()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    /// Memory that a driver has filled with this octet.
    fn read(octet: u8) -> BytesMut {
        BytesMut::from(&alloc::vec![octet; SIZE][..])
    }

    #[test]
    fn memory_is_read_into_again_when_nobody_keeps_a_part_of_it() {
        let mut reads = Reads::default();
        let mut memory = read(1);
        let place = memory.as_ptr();
        let part = reads.keep(&mut memory, None).unwrap().slice(SIZE - 1..);
        assert_eq!((part.as_ptr(), part[0]), (place.wrapping_add(SIZE - 1), 1));
        assert_eq!((memory.len(), memory[0]), (SIZE, 0));
        drop(reads.keep(&mut memory, None));
        assert_ne!(memory.as_ptr(), place, "a part of it is kept");
        drop(part);
        drop(reads.keep(&mut memory, None));
        assert_eq!((memory.as_ptr(), memory.len()), (place, SIZE));
        assert_eq!(reads.reads.len(), 2);
    }

    #[test]
    fn no_more_is_used_than_a_quarter_of_what_may_be_held_back() {
        let quarters = [(0, Some(4 * SIZE as u64 - 1)), (1, Some(4 * SIZE as u64)), (2, Some(11 << 20))];
        for (most, allowed) in [&quarters[..], &[(MAX_READS, Some(1 << 40)), (MAX_READS, None)]].concat() {
            let mut reads = Reads::default();
            let mut memory = read(1);
            let mut kept: Vec<Bytes> = core::iter::from_fn(|| reads.keep(&mut memory, allowed)).collect();
            assert_eq!(kept.len(), most, "{allowed:?}");
            let place = memory.as_ptr();
            assert_eq!(reads.keep(&mut memory, allowed), None);
            assert_eq!(memory.as_ptr(), place, "it is the driver's still");
            // As soon as one is let go it works again.
            if kept.pop().is_some() {
                assert!(reads.keep(&mut memory, allowed).is_some());
            }
        }
    }

    #[test]
    fn only_what_lies_in_a_row_in_one_read_is_joined() {
        let mut reads = Reads::default();
        let mut memory = read(1);
        let one = reads.keep(&mut memory, None).unwrap();
        let other = reads.keep(&mut memory, None).unwrap();
        let part = |from: usize| one.slice(from..from + 10);
        let joined = reads.join(&part(5), &part(15)).unwrap();
        assert_eq!((joined.as_ptr(), joined.len()), (part(5).as_ptr(), 20));
        for (first, second) in [(part(5), part(16)), (part(5), part(14)), (part(15), part(5)), (part(5), part(5))] {
            assert_eq!(reads.join(&first, &second), None);
        }
        assert_eq!(reads.join(&part(SIZE - 10), &other.slice(..10)), None);
        let elsewhere = Bytes::from(alloc::vec![1; 20]);
        assert_eq!(reads.join(&elsewhere.slice(..10), &elsewhere.slice(10..)), None);
        assert!(reads.contain(&part(0)) && reads.contain(&part(SIZE - 10)) && !reads.contain(&elsewhere));
    }

    #[test]
    fn all_of_a_read_is_held_while_a_part_of_it_is_and_after_the_turn_in_which_it_came() {
        let mut reads = Reads::default();
        let part = reads.keep(&mut read(1), None).unwrap().slice(..1);
        assert_eq!(reads.held(), 0);
        reads.end_turn();
        assert_eq!(reads.held(), SIZE as u64);
        drop(part);
        assert_eq!(reads.held(), 0);
    }
}

//! Reads that are broadcast as they lie in memory, without a copy.
//!
//! A driver reads into memory of one size. What a read has filled becomes part of the broadcast log, and the driver goes on with
//! other memory: with a read that everybody has passed, or with a new one while they are few. While somebody stays in each of
//! them, what comes is copied.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

/// A run that is smaller is copied into the log: it would be a slice of its own in every write.
pub(crate) const READ_RUN_OCTETS: usize = 8 * 1024;

/// So many may be in use, and kept. Two do while all keep up, and the others are for those who are late.
const MAX_READS: usize = 4;

#[derive(Debug, Default)]
pub struct Reads {
    reads: Vec<Read>,
}

struct Read {
    memory: Bytes,
    /// A part of it was staged.
    staged: bool,
    /// The turn in which that was is over.
    counts: bool,
}

impl Reads {
    /// The `octets` that were read into `memory`, and more behind them. Then `memory` is another of the same size.
    ///
    /// Any part of a read keeps the whole, also a part that was begun to be sent and that no limit can take back. So it is not done
    /// for less than half of the memory, and never for more than a quarter of `allowed` altogether.
    pub(crate) fn keep(&mut self, memory: &mut BytesMut, octets: usize, allowed: Option<u64>) -> Option<Bytes> {
        let size = memory.len();
        if octets < size / 2 {
            return None;
        }
        // The newest that is free: the fewer are used in turn, the more of them stays in the processor's cache.
        let next = match self.reads.iter().rposition(|read| read.memory.is_unique()) {
            Some(free) => self.reads.remove(free).memory.try_into_mut().ok()?,
            None => {
                let together = ((self.reads.len() + 1) * size) as u64;
                if self.reads.len() == MAX_READS || allowed.is_some_and(|allowed| together > allowed / 4) {
                    return None;
                }
                BytesMut::zeroed(size)
            }
        };
        let memory = core::mem::replace(memory, next).freeze();
        self.reads.push(Read { memory: memory.clone(), staged: false, counts: false });
        Some(memory)
    }

    /// Whether these octets, which are to be staged, lie in one of them.
    pub(crate) fn stage(&mut self, octets: &Bytes) -> bool {
        let read = self.reads.iter_mut().find(|read| read.place(octets).is_some());
        read.is_some_and(|read| {
            read.staged = true;
            true
        })
    }

    /// Both as one, if `next` lies in the same read right behind `one`.
    pub(crate) fn join(&self, one: &Bytes, next: &Bytes) -> Option<Bytes> {
        self.reads.iter().find_map(|read| {
            let (one, next) = (read.place(one)?, read.place(next)?);
            (one.end == next.start).then(|| read.memory.slice(one.start..next.end))
        })
    }

    /// All that was staged is delivered.
    pub(crate) fn end_turn(&mut self) {
        self.reads.iter_mut().for_each(|read| read.counts = read.staged);
    }

    /// How many octets are kept of which a part was broadcast in the turns before.
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

    fn keep(reads: &mut Reads, memory: &mut BytesMut) -> Option<Bytes> {
        reads.keep(memory, SIZE, None)
    }

    #[test]
    fn memory_is_read_into_again_when_nobody_keeps_a_part_of_it() {
        let mut reads = Reads::default();
        let mut memory = read(1);
        let place = memory.as_ptr();
        let part = keep(&mut reads, &mut memory).unwrap().slice(SIZE - 1..);
        assert_eq!((part.as_ptr(), part[0]), (place.wrapping_add(SIZE - 1), 1));
        assert_eq!((memory.len(), memory[0]), (SIZE, 0));
        for _ in 0..10 {
            drop(keep(&mut reads, &mut memory));
            assert_ne!(memory.as_ptr(), place, "a part of it is kept");
        }
        drop(part);
        let others = [keep(&mut reads, &mut memory), keep(&mut reads, &mut memory)];
        assert_eq!((memory.as_ptr(), memory.len()), (place, SIZE));
        drop(others);
        assert_eq!(reads.reads.len(), 2, "no more than are needed");
    }

    #[test]
    fn memory_that_is_less_than_half_full_stays_the_drivers() {
        let mut reads = Reads::default();
        let mut memory = read(1);
        let place = memory.as_ptr();
        assert_eq!(reads.keep(&mut memory, SIZE / 2 - 1, None), None);
        assert_eq!(memory.as_ptr(), place);
        assert!(reads.keep(&mut memory, SIZE / 2, None).is_some());
    }

    #[test]
    fn no_more_is_used_than_a_quarter_of_what_may_be_held_back() {
        let quarters = [(0, Some(4 * SIZE as u64 - 1)), (1, Some(4 * SIZE as u64)), (2, Some(11 << 20))];
        for (most, allowed) in [&quarters[..], &[(MAX_READS, Some(1 << 40)), (MAX_READS, None)]].concat() {
            let mut reads = Reads::default();
            let mut memory = read(1);
            let mut kept: Vec<Bytes> = core::iter::from_fn(|| reads.keep(&mut memory, SIZE, allowed)).collect();
            assert_eq!(kept.len(), most, "{allowed:?}");
            let place = memory.as_ptr();
            assert_eq!(reads.keep(&mut memory, SIZE, allowed), None);
            assert_eq!(memory.as_ptr(), place, "it is the driver's still");
            // As soon as one is let go it works again.
            if kept.pop().is_some() {
                assert!(reads.keep(&mut memory, SIZE, allowed).is_some());
            }
        }
    }

    #[test]
    fn only_what_lies_in_a_row_in_one_read_is_joined() {
        let mut reads = Reads::default();
        let mut memory = read(1);
        let one = keep(&mut reads, &mut memory).unwrap();
        let other = keep(&mut reads, &mut memory).unwrap();
        let part = |from: usize| one.slice(from..from + 10);
        let joined = reads.join(&part(5), &part(15)).unwrap();
        assert_eq!((joined.as_ptr(), joined.len()), (part(5).as_ptr(), 20));
        for (first, second) in [(part(5), part(16)), (part(5), part(14)), (part(15), part(5)), (part(5), part(5))] {
            assert_eq!(reads.join(&first, &second), None);
        }
        assert_eq!(reads.join(&part(SIZE - 10), &other.slice(..10)), None);
        let elsewhere = Bytes::from(alloc::vec![1; 20]);
        assert_eq!(reads.join(&elsewhere.slice(..10), &elsewhere.slice(10..)), None);
        assert!(reads.stage(&part(0)) && reads.stage(&part(SIZE - 10)) && !reads.stage(&elsewhere));
    }

    #[test]
    fn all_of_a_read_is_held_while_a_part_of_it_is_and_after_the_turn_in_which_that_was_staged() {
        let mut reads = Reads::default();
        let part = keep(&mut reads, &mut read(1)).unwrap().slice(..1);
        reads.end_turn();
        assert_eq!(reads.held(), 0, "the application has it");
        assert!(reads.stage(&part));
        assert_eq!(reads.held(), 0);
        reads.end_turn();
        assert_eq!(reads.held(), SIZE as u64);
        drop(part);
        assert_eq!(reads.held(), 0);
    }
}

//! Memory for runs on their way to the application.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::conn::RUN_OCTETS;
use crate::message::Run;

/// All that a driver reads in one turn should find room in one block.
const BLOCK_OCTETS: usize = 1 << 20;

/// A run of this size has memory of its own, so that a broadcast can pass it on as it is.
const OWN_OCTETS: usize = 16 * 1024;

/// A run that is at least so large gets a block of [`RUN_OCTETS`], which counts whole.
const BLOCK_RUN_OCTETS: usize = RUN_OCTETS / 4 * 3;

/// At most so many of these blocks are kept to be used again: as many as hold what a driver reads in one turn.
const KEPT_BLOCKS: usize = BLOCK_OCTETS / RUN_OCTETS;

/// Blocks that are used again as soon as nobody holds a run in them. So an application that lets go in each turn of what
/// came in it costs no allocation; the system's allocator gives the memory of a turn back and gets it anew, at the cost of
/// a page fault for every 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// One large block, for runs that are forwarded.
    free: BytesMut,
    /// One block for each run, for messages that may be kept: none keeps more than its run. The one that was used
    /// longest ago is in front.
    blocks: VecDeque<BytesMut>,
}

impl Runs {
    /// A copy of whole messages that came in one piece. It keeps the block it lies in, so it is not for keeping.
    pub(crate) fn hold(&mut self, octets: &[u8], messages: u32) -> Run {
        if octets.len() >= OWN_OCTETS && messages == 1 {
            return Run::from_wire(Bytes::copy_from_slice(octets), messages);
        }
        let starts_anew = self.free.capacity() < BLOCK_OCTETS && self.free.try_reclaim(BLOCK_OCTETS);
        if !starts_anew && self.free.capacity() < octets.len() {
            self.free = BytesMut::with_capacity(octets.len().max(BLOCK_OCTETS));
        }
        self.free.extend_from_slice(octets);
        Run::from_wire(self.free.split().freeze(), messages)
    }

    /// A copy that may be kept, and how much memory it keeps.
    pub(crate) fn keep(&mut self, octets: &[u8], messages: u32) -> (Run, usize) {
        if !(BLOCK_RUN_OCTETS..=RUN_OCTETS).contains(&octets.len()) {
            return (Run::from_wire(Bytes::copy_from_slice(octets), messages), octets.len());
        }
        let is_free = self.blocks.front_mut().is_some_and(|oldest| oldest.try_reclaim(RUN_OCTETS));
        // If the oldest is still held, it is its holder's from here on; but only when there are others enough.
        let oldest = if is_free || self.blocks.len() == KEPT_BLOCKS { self.blocks.pop_front() } else { None };
        let mut block = oldest.filter(|_| is_free).unwrap_or_else(|| BytesMut::with_capacity(RUN_OCTETS));
        block.extend_from_slice(octets);
        let run = Run::from_wire(block.split().freeze(), messages);
        self.blocks.push_back(block);
        (run, RUN_OCTETS)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn memory_is_used_again_when_the_runs_in_it_are_gone() {
        let mut runs = Runs::default();
        let place = runs.hold(b"\x00\x01a", 1).octets().as_ptr();
        for _ in 0..10 {
            let turn = [runs.hold(&[0; 9_000], 4_500), runs.hold(b"\x00\x01b", 1)];
            assert_eq!(turn[0].octets().as_ptr(), place);
            assert_eq!(turn[1].octets().as_ptr(), place.wrapping_add(9_000));
        }
    }

    #[test]
    fn blocks_are_used_again_when_their_runs_are_gone() {
        let mut runs = Runs::default();
        let turn = |runs: &mut Runs| [1, 2, 3].map(|octet| runs.keep(&[octet; 15_000], 7_500).0);
        let places = turn(&mut runs).map(|run| run.octets().as_ptr());
        for _ in 0..10 {
            assert_eq!(turn(&mut runs).map(|run| run.octets().as_ptr()), places);
        }
        assert_eq!(runs.blocks.len(), 3);
    }

    #[test]
    fn a_block_that_is_held_is_left_to_its_holder() {
        let mut runs = Runs::default();
        let (held, counted) = runs.keep(&[7; 15_000], 7_500);
        assert_eq!(counted, RUN_OCTETS);
        for octet in 0..200 {
            assert_eq!(&runs.keep(&[octet; 15_000], 7_500).0.octets()[..], &[octet; 15_000]);
            assert!(runs.blocks.len() <= KEPT_BLOCKS);
        }
        assert_eq!(&held.octets()[..], &[7; 15_000]);
        // Nobody else can come to it any more.
        let all: Vec<Run> = (0..2 * KEPT_BLOCKS).map(|_| runs.keep(&[1; 15_000], 7_500).0).collect();
        assert_eq!((runs.blocks.len(), all.len()), (KEPT_BLOCKS, 2 * KEPT_BLOCKS));
        assert!(held.octets().is_unique());
    }

    #[test]
    fn a_run_that_would_leave_much_of_a_block_empty_has_just_what_it_needs() {
        let mut runs = Runs::default();
        for octets in [1, BLOCK_RUN_OCTETS - 1, RUN_OCTETS + 1] {
            let (run, counted) = runs.keep(&alloc::vec![0; octets], 1);
            assert!(run.octets().is_unique() && counted == octets && runs.blocks.is_empty());
        }
        assert_eq!(runs.keep(&[0; BLOCK_RUN_OCTETS], 1).1, RUN_OCTETS);
    }

    #[test]
    fn a_run_that_is_kept_stays_as_it_is() {
        let mut runs = Runs::default();
        let kept = runs.hold(b"\x00\x01a", 1);
        for _ in 0..3 * BLOCK_OCTETS / 9_000 {
            assert_eq!(&runs.hold(&[0; 9_000], 4_500).octets()[..], &[0; 9_000]);
        }
        assert_eq!(&kept.octets()[..], b"\x00\x01a");
    }

    #[test]
    fn a_large_message_has_memory_of_its_own() {
        let mut runs = Runs::default();
        assert!(runs.hold(&[0; OWN_OCTETS], 1).octets().is_unique());
        let _kept = runs.hold(b"\x00\x01a", 1);
        assert!(!runs.hold(&[0; OWN_OCTETS], 2).octets().is_unique());
    }
}

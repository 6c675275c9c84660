//! Memory for runs on their way to the application.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::conn::RUN_OCTETS;
use crate::message::Run;

/// All that a driver reads in one turn should find room in one block.
const BLOCK_OCTETS: usize = 1 << 20;

/// A run that is at least so large, and may be kept, gets a block of [`RUN_OCTETS`], which counts whole.
const NEARLY_FULL_OCTETS: usize = RUN_OCTETS / 4 * 3;

/// At most so many of these blocks are there to be used again: enough for a turn of nearly full ones.
const KEPT_BLOCKS: usize = 80;

/// So much memory of large messages may be kept to be used again, and of so many messages.
const SPARE_OCTETS: usize = 4 << 20;
const SPARE_MESSAGES: usize = 64;

/// Blocks that are used again as soon as nobody holds a run in them. So an application that lets go in each turn of what
/// came in it costs no allocation; the system's allocator gives the memory of a turn back and gets it anew, at the cost of
/// a page fault for every 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// One large block, for runs that are forwarded.
    free: BytesMut,
    /// One block for each run that may be kept, so that who keeps a message keeps no other run. The one that was used
    /// longest ago is in front.
    blocks: VecDeque<BytesMut>,
    spare: Spare,
}

/// The memory of large messages, to be used again for those of the same size when nobody holds them any more. It is in the
/// order in which they came.
#[derive(Debug, Default)]
struct Spare {
    messages: VecDeque<Bytes>,
    octets: usize,
}

impl Spare {
    fn note(&mut self, octets: &Bytes) {
        if !(RUN_OCTETS..=SPARE_OCTETS / 2).contains(&octets.len()) {
            return;
        }
        self.octets += octets.len();
        self.messages.push_back(octets.clone());
        while self.octets > SPARE_OCTETS || self.messages.len() > SPARE_MESSAGES {
            self.octets -= self.messages.pop_front().map_or(0, |oldest| oldest.len());
        }
    }

    fn lend(&mut self, octets: usize) -> Option<Vec<u8>> {
        let place = self.messages.iter().position(|message| fits(message.len(), octets) && message.is_unique())?;
        let message = self.messages.remove(place)?;
        self.octets -= message.len();
        emptied(message, octets)
    }
}

/// Does memory of so many octets do for a message of `needed`? It is counted by the octets of the message.
pub(crate) fn fits(octets: usize, needed: usize) -> bool {
    (needed..=needed + needed / 8).contains(&octets)
}

/// The memory of octets that nobody else holds. It may be larger than they are, and then do for `needed` no more.
pub(crate) fn emptied(octets: Bytes, needed: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::from(octets);
    memory.clear();
    fits(memory.capacity(), needed).then_some(memory)
}

impl Runs {
    /// Memory for a large message, if some is to be used again.
    pub(crate) fn lend(&mut self, octets: usize) -> Option<Vec<u8>> {
        self.spare.lend(octets)
    }

    /// A large message is on its way to the application: its memory is to be used again when it is gone.
    pub(crate) fn note(&mut self, octets: &Bytes) {
        self.spare.note(octets);
    }

    /// A copy of whole messages that came in one piece, and how much it counts. It keeps the block it lies in, so it is
    /// not for keeping.
    pub(crate) fn hold(&mut self, octets: &[u8], messages: u32) -> (Run, usize) {
        let starts_anew = self.free.capacity() < BLOCK_OCTETS && self.free.try_reclaim(BLOCK_OCTETS);
        if !starts_anew && self.free.capacity() < octets.len() {
            self.free = BytesMut::with_capacity(octets.len().max(BLOCK_OCTETS));
        }
        self.free.extend_from_slice(octets);
        (Run::from_wire(self.free.split().freeze(), messages), octets.len())
    }

    /// A copy that may be kept, and how much it counts: the memory that it keeps.
    pub(crate) fn keep(&mut self, octets: &[u8], messages: u32) -> (Run, usize) {
        if !(NEARLY_FULL_OCTETS..=RUN_OCTETS).contains(&octets.len()) {
            return own(octets, messages);
        }
        if !self.is_free(0) {
            // Where a later one is free, somebody keeps the oldest: it is theirs from here on.
            if self.blocks.len() == KEPT_BLOCKS || self.is_free(1) {
                self.blocks.pop_front();
            }
            if !self.is_free(0) {
                self.blocks.push_front(BytesMut::with_capacity(RUN_OCTETS));
            }
        }
        let mut block = self.blocks.pop_front().unwrap_or_default();
        block.extend_from_slice(octets);
        let run = Run::from_wire(block.split().freeze(), messages);
        self.blocks.push_back(block);
        (run, RUN_OCTETS)
    }

    fn is_free(&mut self, place: usize) -> bool {
        self.blocks.get_mut(place).is_some_and(|block| block.try_reclaim(RUN_OCTETS))
    }
}

/// A copy in memory of its own.
fn own(octets: &[u8], messages: u32) -> (Run, usize) {
    (Run::from_wire(Bytes::copy_from_slice(octets), messages), octets.len())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn memory_is_used_again_when_the_runs_in_it_are_gone() {
        let mut runs = Runs::default();
        let place = runs.hold(b"\x00\x01a", 1).0.octets().as_ptr();
        for _ in 0..10 {
            let turn = [runs.hold(&[0; 9_000], 4_500), runs.hold(b"\x00\x01b", 1)];
            assert_eq!(turn[0].0.octets().as_ptr(), place);
            assert_eq!(turn[1].0.octets().as_ptr(), place.wrapping_add(9_000));
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
    fn a_block_is_used_again_when_the_last_part_of_it_is_gone() {
        let mut runs = Runs::default();
        // As full as can be, and then with room.
        let mut octets = [0, 200].repeat(100);
        octets.resize(RUN_OCTETS, 0);
        let (mut run, _) = runs.keep(&octets, 8_000);
        let place = run.octets().as_ptr();
        let body = run.pop().frame_bytes(0).unwrap();
        drop(run);
        assert_ne!(runs.keep(&[0; 15_000], 7_500).0.octets().as_ptr(), place);
        assert_eq!(body.len(), 200);
        drop(body);
        let places = [(); 2].map(|()| runs.keep(&[0; 15_000], 7_500).0.octets().as_ptr());
        assert!(places.contains(&place), "{place:?} is none of {places:?}");
    }

    #[test]
    fn a_block_that_somebody_keeps_is_theirs_and_few_others_take_its_place() {
        let mut runs = Runs::default();
        let (kept, counted) = runs.keep(&[7; 15_000], 7_500);
        assert_eq!(counted, RUN_OCTETS);
        assert!(!kept.octets().is_unique());
        for octet in 0..200 {
            assert_eq!(&runs.keep(&[octet; 15_000], 7_500).0.octets()[..], &[octet; 15_000]);
            assert!(runs.blocks.len() <= 2, "{} blocks", runs.blocks.len());
        }
        assert_eq!(&kept.octets()[..], &[7; 15_000]);
        // Nobody else can come to it any more.
        assert!(kept.octets().is_unique());
    }

    #[test]
    fn not_more_blocks_than_a_turn_takes_are_kept_to_be_used_again() {
        let mut runs = Runs::default();
        let all: Vec<Run> = (0..2 * KEPT_BLOCKS).map(|_| runs.keep(&[1; 15_000], 7_500).0).collect();
        assert_eq!(runs.blocks.len(), KEPT_BLOCKS);
        assert_eq!(all.iter().filter(|run| run.octets().is_unique()).count(), KEPT_BLOCKS);
    }

    #[test]
    fn a_run_that_would_leave_much_of_a_block_empty_has_just_what_it_needs() {
        let mut runs = Runs::default();
        for octets in [1, NEARLY_FULL_OCTETS - 1, RUN_OCTETS + 1] {
            let (run, counted) = runs.keep(&alloc::vec![0; octets], 1);
            assert!(run.octets().is_unique() && counted == octets && runs.blocks.is_empty());
        }
        assert_eq!(runs.keep(&[0; NEARLY_FULL_OCTETS], 1).1, RUN_OCTETS);
    }

    #[test]
    fn a_run_that_is_kept_stays_as_it_is() {
        let mut runs = Runs::default();
        let kept = runs.hold(b"\x00\x01a", 1);
        for _ in 0..3 * BLOCK_OCTETS / 9_000 {
            assert_eq!(&runs.hold(&[0; 9_000], 4_500).0.octets()[..], &[0; 9_000]);
        }
        assert_eq!(&kept.0.octets()[..], b"\x00\x01a");
    }

    #[test]
    fn the_memory_of_a_large_message_is_lent_when_nobody_holds_it() {
        let mut runs = Runs::default();
        let message = Bytes::from(alloc::vec![7; 100_000]);
        let place = message.as_ptr();
        runs.note(&message);
        assert_eq!(runs.lend(100_000), None, "somebody holds it");
        let rest = message.slice(10..);
        drop(message);
        assert_eq!(runs.lend(100_000), None, "somebody holds a part of it");
        drop(rest);
        assert_eq!((runs.lend(100_001), runs.lend(80_000)), (None, None), "it does not fit");
        let lent = runs.lend(95_000).unwrap();
        assert_eq!((lent.as_ptr(), lent.len()), (place, 0));
        assert_eq!(runs.lend(95_000), None, "it is lent");
    }

    #[test]
    fn memory_that_is_lent_again_and_again_is_never_much_larger_than_what_it_is_lent_for() {
        let mut runs = Runs::default();
        let mut octets = 1 << 20;
        let mut lent = 0;
        while octets >= RUN_OCTETS {
            let memory = runs.lend(octets);
            lent += usize::from(memory.is_some());
            let mut memory = memory.unwrap_or_else(|| Vec::with_capacity(octets));
            assert!(memory.capacity() <= octets + octets / 8, "{} for {octets}", memory.capacity());
            memory.resize(octets, 0);
            runs.note(&Bytes::from(memory));
            octets = octets / 25 * 24;
        }
        assert!(lent > 10, "{lent}");
    }

    #[test]
    fn what_is_kept_of_large_messages_is_bounded() {
        let mut runs = Runs::default();
        for octets in [SPARE_OCTETS / 4, RUN_OCTETS, SPARE_OCTETS / 2 + 1, RUN_OCTETS - 1] {
            (0..2 * SPARE_MESSAGES).for_each(|_| runs.note(&Bytes::from(alloc::vec![0; octets])));
            let kept: usize = runs.spare.messages.iter().map(Bytes::len).sum();
            assert_eq!(runs.spare.octets, kept);
            assert!(kept <= SPARE_OCTETS && runs.spare.messages.len() <= SPARE_MESSAGES, "{kept}");
        }
        assert!(runs.spare.messages.iter().all(|message| message.len() == RUN_OCTETS));
    }
}

//! Memory for runs on their way to the application.

use bytes::{Bytes, BytesMut};

use crate::message::Run;

/// All that a driver reads in one turn should find room in one block.
const BLOCK_OCTETS: usize = 1 << 20;

/// A run of this size has memory of its own, so that a broadcast can pass it on as it is.
const OWN_OCTETS: usize = 16 * 1024;

/// One block that is used again as soon as nobody holds a run in it. So an application that takes runs and lets them go in
/// each turn, as a relay does, costs no allocation; the system's allocator gives the memory of a turn back and gets it anew,
/// at the cost of a page fault for every 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    free: BytesMut,
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
}

#[cfg(test)]
mod tests {
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

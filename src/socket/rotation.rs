//! Round robin over the peers that can take a message.

use alloc::collections::VecDeque;

use crate::socket::PeerId;

#[derive(Debug, Default)]
pub(crate) struct Rotation {
    ring: VecDeque<PeerId>,
}

impl Rotation {
    /// Joins at the end, if it is not there yet.
    pub(crate) fn join(&mut self, peer: PeerId) {
        if !self.ring.contains(&peer) {
            self.ring.push_back(peer);
        }
    }

    pub(crate) fn leave(&mut self, peer: PeerId) {
        self.ring.retain(|other| *other != peer);
    }

    /// Whose turn it is.
    pub(crate) fn front(&self) -> Option<PeerId> {
        self.ring.front().copied()
    }

    /// Who has every turn.
    pub(crate) fn only(&self) -> Option<PeerId> {
        self.front().filter(|_| self.ring.len() == 1)
    }

    /// It has had its turn.
    pub(crate) fn advance(&mut self) {
        if self.ring.len() > 1 {
            self.ring.rotate_left(1);
        }
    }
}

//! What users see of a peer.

use crate::conn::{Identity, SendQueue};
use crate::socket::peers::Slot;
use crate::socket::{Address, Counts};

/// What is known of a peer; made by [`Socket::peer`](super::Socket::peer).
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    slot: &'a Slot,
}

impl<'a> Peer<'a> {
    pub(super) fn new(slot: &'a Slot) -> Peer<'a> {
        Peer { slot }
    }

    /// Its identity: at a ROUTER never empty once it was connected, elsewhere always empty.
    pub fn identity(&self) -> &'a Identity {
        &self.slot.identity
    }

    /// Where it is, or was.
    pub fn address(&self) -> Address {
        self.slot.address
    }

    /// Is its handshake complete, and its connection there?
    pub fn is_connected(&self) -> bool {
        self.slot.connected.is_some()
    }

    /// Is it connected, and can be written to as far as is known?
    #[cfg(feature = "net")]
    pub(crate) fn takes_messages(&self) -> bool {
        self.slot.connected.is_some() && self.slot.cut.is_none()
    }

    /// What went to it and came from it.
    pub fn counts(&self) -> Counts {
        self.slot.counts()
    }

    /// The octets that wait to be sent to it, as its [`Mark`](crate::Mark) counts them.
    pub fn queued_octets(&self) -> u64 {
        self.slot.queue().map_or(0, SendQueue::charged)
    }

    /// The messages that came from it and were not received yet.
    pub fn unreceived(&self) -> u64 {
        self.slot.inbox.messages()
    }

    /// The memory that the message under way takes which came from it in part, in octets.
    pub fn unfinished_octets(&self) -> u64 {
        self.slot.unfinished as u64
    }

    /// The octets that wait to be received from it, as its [`Mark`](crate::Mark) counts them.
    pub fn unreceived_octets(&self) -> u64 {
        self.slot.inbox.octets()
    }
}

//! What goes into the send queues of peers, and what is noted when it has left them.

use super::Core;
#[cfg(feature = "net")]
use crate::conn::Entry;
use crate::conn::{Packs, SendQueue};
use crate::message::Outgoing;
use crate::socket::fanout::Fanout;
use crate::socket::peers::Slot;
use crate::socket::{PeerId, SendError};

impl Core {
    /// Queues a message for a connected peer, on behalf of the user.
    pub(crate) fn send(&mut self, peer: PeerId, mut message: Outgoing<'_>) -> Result<(), SendError> {
        let error = match self.closing {
            Some(_) => SendError::Closing,
            None => match self.push(peer, &mut message) {
                Some(true) => return Ok(()),
                Some(false) => SendError::Full,
                None => SendError::NoSuchPeer,
            },
        };
        Err(error(message.take()))
    }

    /// Queues a message for a connected peer, if it has room; else the pattern hears when it has some again. `None` if there is
    /// no such peer.
    pub(crate) fn push(&mut self, peer: PeerId, message: &mut Outgoing<'_>) -> Option<bool> {
        let (queue, packs, blocked) = self.queue(peer)?;
        let queued = queue.push(message, packs);
        if queued {
            self.queued(peer);
        } else {
            *blocked = true;
        }
        Some(queued)
    }

    /// Moves what waits to the queue of a connected peer, as far as that has room; else the pattern hears when it has some
    /// again.
    pub(crate) fn fill(&mut self, peer: PeerId, waiting: &mut SendQueue) {
        if let Some((queue, packs, blocked)) = self.queue(peer) {
            waiting.move_to(queue, packs);
            *blocked |= !waiting.is_empty();
            self.queued(peer);
        }
    }

    /// Queues what there is room for by the caller's own reckoning, if the peer can be sent to.
    #[cfg(feature = "net")]
    pub(crate) fn push_reserved(&mut self, peer: PeerId, entry: Entry) -> bool {
        let Some((queue, packs, _)) = self.queue(peer) else {
            return false;
        };
        queue.push_reserved(entry, packs);
        self.queued(peer);
        true
    }

    /// The queue of a connected peer that can be written to, memory for it, and whether somebody waits for room in it.
    fn queue(&mut self, peer: PeerId) -> Option<(&mut SendQueue, &mut Packs, &mut bool)> {
        let slot = self.peers.get_mut(peer).filter(|slot| slot.connected.is_some() && slot.cut.is_none())?;
        Some((slot.conn.as_mut()?.queue_mut(), &mut self.packs, &mut slot.blocked))
    }

    /// Queues the broadcasts of a turn for a connected peer, or drops and counts them if it is full.
    pub(crate) fn fan_out(&mut self, peer: PeerId, fanout: &Fanout) {
        let Some(slot) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(conn) = &mut slot.conn else {
            return;
        };
        let queue = conn.queue_mut();
        if slot.cut.is_some() || queue.is_full() {
            slot.counts.dropped += fanout.messages_for(&slot.own);
            return;
        }
        fanout.deliver(queue, &slot.own);
        if !queue.is_empty() {
            self.queued(peer);
        }
    }

    /// Something was queued for this peer: it is to be written, and may have filled the queue.
    fn queued(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get_mut(peer) {
            if !slot.transmitting {
                slot.transmitting = true;
                self.transmits.push_back(peer);
            }
        }
        self.note_fullness(peer);
    }

    /// Something has left the send queue of a peer. Is there room now that somebody waits for?
    pub(crate) fn freed(&mut self, peer: PeerId) -> bool {
        self.progress += 1;
        self.note_fullness(peer);
        let Some(slot) = self.peers.get_mut(peer) else {
            return false;
        };
        let room = slot.queue().is_some_and(SendQueue::has_room);
        room && core::mem::take(&mut slot.blocked)
    }

    /// If nothing at all is left to be written to a peer, the driver is to be told of what comes next. Says whether that is so.
    pub(crate) fn note_drained(&mut self, peer: PeerId) -> bool {
        let Some(slot) = self.peers.get_mut(peer) else {
            return false;
        };
        let drained = slot.queue().is_some_and(SendQueue::is_empty);
        slot.transmitting &= !drained;
        drained
    }

    /// What the driver was to write is gone, and it does not know yet.
    pub(crate) fn withdraw_transmit(&mut self, peer: PeerId) {
        self.transmits.retain(|waiting| *waiting != peer);
    }

    /// Keeps the set of peers at their mark, after a change to a send queue.
    pub(crate) fn note_fullness(&mut self, peer: PeerId) {
        let is_full = |slot: &Slot| slot.cut.is_none() && slot.queue().is_some_and(SendQueue::is_full);
        if self.peers.get(peer).is_some_and(is_full) {
            self.full.insert(peer);
        } else if !self.full.is_empty() {
            self.full.remove(&peer);
        }
    }
}

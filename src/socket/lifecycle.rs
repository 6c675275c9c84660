//! How peers end, and how the socket does.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use crate::conn::SendQueue;
use crate::socket::core::Closing;
use crate::socket::link::LinkState;
use crate::socket::{Action, Cause, Disconnected, Event, Pattern, PeerId, Rejected, Socket};
use crate::time::Instant;
use crate::wire::encode;

impl<P: Pattern> Socket<P> {
    /// Closes a peer's connection for a cause of ours or a fault of the peer's.
    pub(super) fn end(&mut self, now: Instant, peer: PeerId, cause: Cause) {
        self.hang_up(now, peer, cause, None);
    }

    /// As `end`, and tells the peer why with an ERROR.
    pub(super) fn refuse(&mut self, now: Instant, peer: PeerId, cause: Cause, reason: &str) {
        self.hang_up(now, peer, cause, Some(reason));
    }

    fn hang_up(&mut self, now: Instant, peer: PeerId, cause: Cause, reason: Option<&str>) {
        let Some(slot) = self.core.peers.get_mut(peer) else {
            return;
        };
        if let Some(conn) = slot.conn.take() {
            let in_order = matches!(cause, Cause::Closing) && slot.connected.is_some();
            let mut queue = conn.into_queue();
            if let Some(reason) = reason {
                encode::error(queue.control(), reason);
            }
            // In good order nothing need be said any more, and a driver that has nothing to write reads at once what would reset
            // the connection, and with it what the peer has not received yet.
            let is_silent = in_order && !queue.is_control_begun();
            let last = if is_silent { Bytes::new() } else { queue.take_last_words() };
            self.core.act(Action::Close { peer, last, in_order });
            self.gone(now, peer, queue, cause);
        } else if let Some(link) = &slot.link {
            if link.state == LinkState::Dialing {
                self.core.act(Action::Close { peer, last: Bytes::new(), in_order: false });
            }
            self.down(now, peer, &cause);
        }
    }

    /// The connection of a peer is no more; `queue` is what was to be sent.
    pub(super) fn gone(&mut self, now: Instant, peer: PeerId, queue: SendQueue, cause: Cause) {
        let discarded = matches!(cause, Cause::Requested | Cause::Closing);
        self.core.count_unfinished(peer);
        self.core.full.remove(&peer);
        self.core.progress += 1;
        let Some(slot) = self.core.peers.get_mut(peer) else {
            return;
        };
        let given_up = slot.cut.take();
        let counts = slot.counts.with(Some(&queue), given_up);
        slot.counts = counts;
        (slot.transmitting, slot.paused, slot.resuming, slot.blocked) = (false, false, false, false);
        (slot.held, slot.unwritable) = (false, false);
        let (identity, address) = (slot.identity.clone(), slot.address);
        let free = slot.link.is_some() && !discarded;
        let notice = if slot.connected.is_some() {
            self.core.peers.set_connected(peer, false);
            let lost = self.pattern.closed(&mut self.core, peer, queue, free);
            if let Some(closing) = &mut self.core.closing {
                closing.unsent += lost + given_up.unwrap_or(0);
                // A DEALER takes back what it has not sent, for the others.
                closing.settled &= self.pattern.waiting() == 0;
            }
            Event::Disconnected(Box::new(Disconnected { peer, identity, address, cause: cause.clone(), counts }))
        } else {
            self.core.handshake_over(peer);
            Event::Rejected(Box::new(Rejected { peer, address, cause: cause.clone() }))
        };
        self.core.notify(peer, notice);
        self.down(now, peer, &cause);
    }

    /// A peer is not connected any more, or could not be reached: it is dialled again, or this is its end.
    pub(super) fn down(&mut self, now: Instant, peer: PeerId, cause: &Cause) {
        self.core.redial_later(now, peer, cause);
        let Some(slot) = self.core.peers.get_mut(peer) else {
            return;
        };
        if slot.link.is_none() {
            slot.ended = true;
            self.core.living -= 1;
            if slot.inbox.is_empty() {
                self.core.forget(peer);
            }
        }
        if self.core.closing.is_some() {
            self.finish(now, peer);
        }
    }

    /// Closes the socket: nothing is accepted or received any more; what is queued is sent, for no longer than
    /// `linger` (`None`: as long as it takes), and for that peers that are gone are still dialled again. The end is
    /// [`Event::Closed`] with the number of messages that were not sent. Another call may shorten the linger.
    pub fn close(&mut self, now: Instant, linger: Option<Duration>) {
        self.core.tick(now);
        let deadline = linger.map(|linger| now + linger);
        if let Some(closing) = &mut self.core.closing {
            closing.deadline = closing.deadline.into_iter().chain(deadline).min();
            return self.check_linger(now);
        }
        self.pattern.end_turn(&mut self.core);
        self.core.closing = Some(Closing { deadline, unsent: 0, settled: false, done: false, told: false });
        // What comes from here on is discarded.
        self.core.release();
        for peer in self.core.peers.ids() {
            self.core.regulate(peer);
        }
        self.core.regulate_accepting();
        if linger == Some(Duration::ZERO) {
            return self.stop_lingering(now);
        }
        for peer in self.core.peers.ids() {
            self.finish(now, peer);
        }
        self.conclude();
    }

    /// Is it closed, with the last event taken or waiting to be?
    pub fn is_closed(&self) -> bool {
        self.core.closing.as_ref().is_some_and(|closing| closing.done)
    }

    /// While closing: when the linger is over, unless it has no end.
    #[cfg(feature = "net")]
    pub(crate) fn linger_end(&self) -> Option<Instant> {
        self.core.closing.as_ref().and_then(|closing| closing.deadline)
    }

    /// While closing: ends a peer that has nothing more to be sent, and all of those as soon as no message waits for
    /// whichever peer takes it.
    pub(super) fn finish(&mut self, now: Instant, peer: PeerId) {
        if self.pattern.waiting() == 0 {
            self.finish_drained(now, peer);
            let settled = self.core.closing.as_mut().map(|closing| core::mem::replace(&mut closing.settled, true));
            if settled == Some(false) {
                for peer in self.core.peers.ids() {
                    self.finish_drained(now, peer);
                }
            }
        }
        self.conclude();
    }

    fn finish_drained(&mut self, now: Instant, peer: PeerId) {
        let Some(slot) = self.core.peers.get(peer).filter(|slot| !slot.ended) else {
            return;
        };
        // Commands alone hold up nobody: whoever does not read our PONGs could keep us for ever.
        let busy = |conn: &crate::conn::Connection| conn.is_ready() && conn.queue().messages() > 0;
        if slot.cut.is_some() || !slot.conn.as_ref().is_some_and(busy) {
            self.end(now, peer, Cause::Closing);
        }
    }

    pub(super) fn check_linger(&mut self, now: Instant) {
        let over = |closing: &Closing| !closing.done && closing.deadline.is_some_and(|deadline| deadline <= now);
        if self.core.closing.as_ref().is_some_and(over) {
            self.stop_lingering(now);
        }
    }

    /// What is not sent now never is.
    fn stop_lingering(&mut self, now: Instant) {
        let lost = self.pattern.discard_waiting();
        if let Some(closing) = &mut self.core.closing {
            closing.unsent += lost;
            closing.settled = true;
        }
        for peer in self.core.peers.ids() {
            self.end(now, peer, Cause::Closing);
        }
        self.conclude();
    }

    fn conclude(&mut self) {
        if let Some(closing) = self.core.closing.as_mut().filter(|closing| !closing.done && self.core.living == 0) {
            closing.done = true;
            // Nobody is left that could take it.
            closing.unsent += self.pattern.discard_waiting();
        }
    }
}

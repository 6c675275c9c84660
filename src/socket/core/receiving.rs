//! What came from peers and goes to the application, in turn, and who is not read meanwhile.

use super::{Core, STALE};
use crate::conn::Mark;
use crate::socket::{Action, Event, PeerId};

impl Core {
    /// Something is in a peer's inbox: it gets its place in the fair queue.
    pub(crate) fn has_input(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get_mut(peer) {
            if !slot.fair {
                slot.fair = true;
                self.fair.push_back(peer);
            }
        }
    }

    pub(crate) fn notify(&mut self, peer: PeerId, notice: Event) {
        if let Some(slot) = self.peers.get_mut(peer) {
            slot.inbox.push_notice(notice);
            self.has_input(peer);
        }
    }

    /// Messages came in, or went to the application: pauses the peer at its receive mark, resumes it at half of it.
    pub(crate) fn regulate(&mut self, peer: PeerId) {
        let mark = self.receive_mark();
        let now = self.now;
        let Some(slot) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(conn) = &mut slot.conn else {
            return;
        };
        if !slot.paused && slot.connected.is_some() && (slot.held || slot.inbox.is_full(&mark)) {
            slot.paused = true;
            // Resumed and full again before the connection was told: for it, the pause goes on.
            slot.resuming = false;
            conn.pause(now);
            self.act(Action::PauseRead { peer });
        } else if slot.paused && !slot.held && !slot.inbox.is_full(&mark.half()) {
            slot.paused = false;
            slot.resuming = true;
            self.resumed.push(peer);
            self.act(Action::ResumeRead { peer });
        }
    }

    /// The mark of each peer's inbox. When the socket closes there is none: all that comes is discarded, and what is behind it
    /// is to be seen, such as the end of the connection.
    pub(crate) fn receive_mark(&self) -> Mark {
        if self.closing.is_some() { Mark { messages: None, octets: None } } else { self.options.receive_mark }
    }

    /// A message of a peer comes while none is taken.
    pub(crate) fn hold_back(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get_mut(peer).filter(|slot| !slot.held) {
            slot.held = true;
            self.held.push(peer);
        }
        if self.held.len() > 2 * self.peers.len() + STALE {
            let peers = &self.peers;
            self.held.retain(|peer| peers.get(*peer).is_some_and(|slot| slot.held));
        }
    }

    /// Messages are taken again.
    pub(crate) fn release(&mut self) {
        self.holding = false;
        for peer in core::mem::take(&mut self.held) {
            if let Some(slot) = self.peers.get_mut(peer) {
                slot.held = false;
                self.regulate(peer);
            }
        }
    }

    /// The next event in the order in which peers have their turn; with `runs`, messages come as runs.
    pub(crate) fn next_event(&mut self, runs: bool) -> Option<Event> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        while let Some(peer) = self.fair.pop_front() {
            let Some(slot) = self.peers.get_mut(peer) else {
                continue;
            };
            let event = slot.inbox.pop(peer, runs);
            if !slot.inbox.is_empty() {
                self.fair.push_back(peer);
            } else {
                slot.fair = false;
                if slot.ended {
                    self.forget(peer);
                }
            }
            self.regulate(peer);
            if event.is_some() {
                return event;
            }
        }
        let closing = self.closing.as_mut().filter(|closing| closing.done && !closing.told)?;
        closing.told = true;
        Some(Event::Closed { unsent: closing.unsent })
    }

    /// The next event, if there is one that is no message and has none of its peer before it. Looks at each peer that has
    /// something to be received.
    #[cfg(feature = "net")]
    pub(crate) fn next_notice(&mut self) -> Option<Event> {
        if self.notices.is_empty() {
            let peers = &self.peers;
            let starts = |peer: &PeerId| peers.get(*peer).is_some_and(|slot| slot.inbox.starts_with_notice());
            let place = self.fair.iter().position(starts)?;
            let peer = self.fair.remove(place)?;
            self.fair.push_front(peer);
        }
        self.next_event(self.options.deliver_runs)
    }

    pub(crate) fn has_events(&self) -> bool {
        let to_tell = self.closing.as_ref().is_some_and(|closing| closing.done && !closing.told);
        !self.notices.is_empty() || !self.fair.is_empty() || to_tell
    }
}

//! DEALER (RFC 28): sends to its peers in turn, receives from them in turn.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::routing::{Admission, Routing};
use super::{Event, Options, Pattern, PeerId, SendError, Socket};
use crate::conn::{self, ENTRY_OCTETS, Identity, Mark, SendQueue};
use crate::message::Message;
use crate::socket::core::Core;
use crate::socket::rotation::Rotation;
use crate::wire::SocketType;

/// The pattern of a DEALER: see [`Socket::dealer`].
#[derive(Debug)]
pub struct Dealer {
    /// The connected peers that are not full.
    rotation: Rotation,
    waiting: Waiting,
    mark: Mark,
    /// A message was given back for want of room.
    refused: bool,
}

impl Pattern for Dealer {}

impl Socket<Dealer> {
    /// A DEALER. `seed` feeds the jitter of its re-dialling; any number will do, if not every process uses the same.
    pub fn dealer(options: Options, seed: u64) -> Socket<Dealer> {
        let mark = options.send_mark;
        let pattern = Dealer { rotation: Rotation::default(), waiting: Waiting::default(), mark, refused: false };
        Socket::with(pattern, options, seed)
    }

    /// Sends a message to the next peer that is connected and not full; whole, to one (D1). If there is none, it waits
    /// in the socket for the first that can take it (D3). Never blocks, and never discards.
    ///
    /// # Errors
    ///
    /// [`Full`](SendError::Full) with the message, when no peer can take it and the socket's own queue is at
    /// [`Options::send_mark`], or when there is no peer at all, neither connected nor being dialled. One
    /// [`Event::Writable`] comes when there is room again.
    ///
    /// # What may be lost
    ///
    /// A message that was written, wholly or in part, to a connection that then breaks: the peer may have received it
    /// or not, so it is not sent again (D4). What was not begun is sent over another connection.
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        let core = &mut self.core;
        if core.closing.is_some() {
            return Err(SendError::Closing(message));
        }
        let message = match self.pattern.offer(core, message) {
            Ok(()) => return Ok(()),
            Err(message) => message,
        };
        let waiting = &self.pattern.waiting;
        if core.living == 0 || !self.pattern.mark.admits(waiting.len(), waiting.octets, 1, charge(&message)) {
            self.pattern.refused = true;
            return Err(SendError::Full(message));
        }
        self.pattern.waiting.push_back(message);
        Ok(())
    }

    /// As `send`, for what there is room for by the caller's own reckoning.
    #[cfg(feature = "net")]
    pub(crate) fn send_reserved(&mut self, entry: conn::Entry) {
        let Dealer { rotation, waiting, .. } = &self.pattern;
        // With one peer to take it, there are no turns to take.
        let entry = match rotation.only().filter(|_| waiting.messages.is_empty()) {
            Some(peer) => match self.core.push_entry(peer, entry) {
                Ok(()) => return,
                Err(entry) => entry,
            },
            None => entry,
        };
        for message in entry.messages_from(0) {
            if let Err(message) = self.pattern.offer(&mut self.core, message) {
                self.pattern.waiting.push_back(message);
            }
        }
    }

    /// Is some peer connected, on its way to be, or being dialled?
    #[cfg(feature = "net")]
    pub(crate) fn is_reachable(&self) -> bool {
        self.core.living > 0
    }

    /// The messages and octets that are not sent: waiting in the socket, and in the queues of all peers.
    #[cfg(feature = "net")]
    pub(crate) fn unsent(&self) -> (u64, u64) {
        let waiting = (self.pattern.waiting.len(), self.pattern.waiting.octets);
        self.peers()
            .filter_map(|peer| self.peer(peer))
            .fold(waiting, |(messages, octets), peer| (messages + peer.counts().queued, octets + peer.queued_octets()))
    }

    /// The messages that wait for a peer to take them.
    pub fn waiting(&self) -> usize {
        self.pattern.waiting.messages.len()
    }
}

impl Dealer {
    /// To the next peer that can take it, unless others wait already.
    fn offer(&mut self, core: &mut Core, message: Message) -> Result<(), Message> {
        if self.waiting.messages.is_empty() { self.pass(core, message) } else { Err(message) }
    }

    fn pass(&mut self, core: &mut Core, mut message: Message) -> Result<(), Message> {
        while let Some(peer) = self.rotation.front() {
            match core.push(peer, message) {
                Ok(()) => {
                    self.rotation.advance();
                    return Ok(());
                }
                Err(error) => {
                    self.rotation.leave(peer);
                    message = error.into_message();
                }
            }
        }
        Err(message)
    }

    /// Passes on what waits, as far as peers take it.
    fn drain(&mut self, core: &mut Core) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = self.pass(core, message) {
                self.waiting.push_front(message);
                break;
            }
        }
        let room = !self.mark.half().is_reached(self.waiting.len(), self.waiting.octets);
        if room && core::mem::take(&mut self.refused) {
            core.notices.push_back(Event::Writable { peer: None });
        }
    }
}

/// Messages that no connected peer could take, in order.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    octets: u64,
}

impl Waiting {
    fn push_back(&mut self, message: Message) {
        self.octets += charge(&message);
        self.messages.push_back(message);
    }

    fn push_front(&mut self, message: Message) {
        self.octets += charge(&message);
        self.messages.push_front(message);
    }

    fn pop_front(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.octets -= charge(&message);
        Some(message)
    }

    fn len(&self) -> u64 {
        self.messages.len() as u64
    }
}

/// What a message counts among those that wait: as in the queue of a peer.
fn charge(message: &Message) -> u64 {
    (message.wire_len() + ENTRY_OCTETS) as u64
}

impl Routing for Dealer {
    const SOCKET_TYPE: SocketType = SocketType::Dealer;

    fn admit(&mut self, _: &mut Core, _: PeerId, _: &conn::PeerInfo) -> Admission {
        Admission::As(Identity::default())
    }

    fn opened(&mut self, core: &mut Core, peer: PeerId) {
        self.rotation.join(peer);
        self.drain(core);
    }

    /// A peer that we dial leaves behind what was not begun, for whoever takes it first (D4), even if it is dialled no
    /// more. One that had connected to us takes it along (D5).
    fn closed(&mut self, core: &mut Core, peer: PeerId, unsent: SendQueue, free: bool) -> u64 {
        self.rotation.leave(peer);
        let all = unsent.messages();
        if !free {
            return all;
        }
        let kept: Vec<Message> = unsent.into_unsent().collect();
        let lost = all - kept.len() as u64;
        for message in kept.into_iter().rev() {
            self.waiting.push_front(message);
        }
        self.drain(core);
        lost
    }

    fn room(&mut self, core: &mut Core, peer: PeerId) {
        self.rotation.join(peer);
        self.drain(core);
    }

    fn end_turn(&mut self, _: &mut Core) {}

    /// Others get it when the end is found (D4).
    fn cut_off(&mut self, _: &mut Core, _: PeerId) {}

    fn lend(&mut self, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn is_mid_turn(&self) -> bool {
        false
    }

    fn waiting(&self) -> u64 {
        self.waiting.len()
    }

    fn discard_waiting(&mut self) -> u64 {
        core::mem::take(&mut self.waiting).len()
    }
}

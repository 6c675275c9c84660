//! DEALER (RFC 28): sends to its peers in turn, receives from them in turn.

use alloc::vec::Vec;

use super::routing::{Admission, Routing};
use super::{Event, Options, Pattern, PeerId, SendError, Socket};
use crate::conn::{self, Entry, Identity, SendQueue};
use crate::message::{Message, Outgoing};
use crate::socket::core::Core;
use crate::socket::reads::Reads;
use crate::socket::rotation::Rotation;
use crate::wire::SocketType;

/// The pattern of a DEALER: see [`Socket::dealer`].
#[derive(Debug)]
pub struct Dealer {
    /// The connected peers that are not full.
    rotation: Rotation,
    /// Messages that no connected peer could take, in order.
    waiting: SendQueue,
    /// A message was given back for want of room.
    refused: bool,
}

impl Pattern for Dealer {}

impl Socket<Dealer> {
    /// A DEALER. `seed` feeds the jitter of its re-dialling; any number will do, if not every process uses the same.
    pub fn dealer(options: Options, seed: u64) -> Socket<Dealer> {
        let waiting = SendQueue::new(options.send_mark);
        let pattern = Dealer { rotation: Rotation::default(), waiting, refused: false };
        Socket::with(pattern, options, seed)
    }

    /// Sends a message to the next peer that is connected and not full; whole, to one (RFC 28). If there is none, it waits
    /// in the socket for the first that can take it. Never blocks, and never discards.
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
    /// or not, so it is not sent again. What was not begun for a peer that we dial is sent over another connection. What
    /// was queued for one that had connected to us is lost with it, and so is what is queued for a peer that is told to go
    /// ([`disconnect`](Socket::disconnect)); [`Event::Disconnected`] says how many messages that are.
    pub fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        let mut message = message.into();
        let Socket { core, pattern, .. } = self;
        if core.closing.is_some() {
            return Err(SendError::Closing(message.take()));
        }
        // Not before those that wait already.
        if pattern.waiting.is_empty() && pattern.pass(core, &mut message) {
            return Ok(());
        }
        if core.living > 0 && pattern.waiting.push(&mut message, &mut core.packs) {
            return Ok(());
        }
        pattern.refused = true;
        Err(SendError::Full(message.take()))
    }

    /// As `send`, for what there is room for by the caller's own reckoning.
    #[cfg(feature = "net")]
    pub(crate) fn send_reserved(&mut self, entry: Entry) {
        self.pattern.waiting.push_reserved(entry, &mut self.core.packs);
        self.pattern.drain(&mut self.core);
    }

    /// Is some peer connected, on its way to be, or being dialled?
    #[cfg(feature = "net")]
    pub(crate) fn is_reachable(&self) -> bool {
        self.core.living > 0
    }

    /// The messages and octets that are not sent: waiting in the socket, and in the queues of all peers.
    #[cfg(feature = "net")]
    pub(crate) fn unsent(&self) -> (u64, u64) {
        let waiting = (self.pattern.waiting.messages(), self.pattern.waiting.charged());
        self.peers()
            .filter_map(|peer| self.peer(peer))
            .fold(waiting, |(messages, octets), peer| (messages + peer.counts().queued, octets + peer.queued_octets()))
    }

    /// The messages that wait for a peer to take them.
    pub fn waiting(&self) -> usize {
        self.pattern.waiting.messages() as usize
    }
}

impl Dealer {
    /// To the next peer that can take it; says whether there is one.
    fn pass(&mut self, core: &mut Core, message: &mut Outgoing<'_>) -> bool {
        while let Some(peer) = self.rotation.front() {
            if core.push(peer, message) == Some(true) {
                self.rotation.advance();
                return true;
            }
            self.rotation.leave(peer);
        }
        false
    }

    /// Passes on what waits, as far as peers take it.
    fn drain(&mut self, core: &mut Core) {
        while !self.waiting.is_empty() {
            // With one peer to take it, there are no turns to take.
            if let Some(peer) = self.rotation.only() {
                core.fill(peer, &mut self.waiting);
                if !self.waiting.is_empty() {
                    self.rotation.leave(peer);
                }
                break;
            }
            let Some(entry) = self.rotation.front().and_then(|_| self.waiting.take_front()) else {
                break;
            };
            let mut messages = entry.into_messages().into_iter().map(Outgoing::from);
            if let Some(refused) = messages.find_map(|mut message| (!self.pass(core, &mut message)).then_some(message))
            {
                let left = core::iter::once(refused).chain(messages).map(Message::from);
                self.waiting.put_back(Entry::of_all(left, &mut core.packs).into_iter());
            }
        }
        if core.living > 0 && self.waiting.has_room() && core::mem::take(&mut self.refused) {
            core.notices.push_back(Event::Writable { peer: None });
        }
    }

    /// This peer takes messages, unless it turns out that it cannot be written to.
    fn join(&mut self, core: &mut Core, peer: PeerId) {
        if core.peers.get(peer).is_some_and(|slot| !slot.unwritable) {
            self.rotation.join(peer);
            self.drain(core);
        }
    }
}

impl Routing for Dealer {
    const SOCKET_TYPE: SocketType = SocketType::Dealer;

    fn admit(&mut self, _: &mut Core, _: PeerId, _: &conn::PeerInfo) -> Admission {
        Admission::As(Identity::default())
    }

    fn expected(&mut self, core: &mut Core) {
        // For want of a peer a message is refused that there would be room for.
        if !self.waiting.is_full() && core::mem::take(&mut self.refused) {
            core.notices.push_back(Event::Writable { peer: None });
        }
    }

    fn opened(&mut self, core: &mut Core, peer: PeerId) {
        self.join(core, peer);
    }

    /// A peer that we dial leaves behind what was not begun, for whoever takes it first (D4), even if it is dialled no
    /// more. One that had connected to us takes it along (D5).
    fn closed(&mut self, core: &mut Core, peer: PeerId, unsent: SendQueue, free: bool) -> u64 {
        self.rotation.leave(peer);
        let all = unsent.messages();
        if !free {
            return all;
        }
        let before = self.waiting.messages();
        self.waiting.put_back(unsent.into_unsent());
        let kept = self.waiting.messages() - before;
        self.drain(core);
        all - kept
    }

    fn room(&mut self, core: &mut Core, peer: PeerId) {
        self.join(core, peer);
    }

    fn end_turn(&mut self, _: &mut Core) {}

    /// It gets nothing more. Others get what it has when the end is found (D4).
    fn cut_off(&mut self, _: &mut Core, peer: PeerId) {
        self.rotation.leave(peer);
    }

    fn lend(&mut self, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn reads_mut(&mut self) -> Option<&mut Reads> {
        None
    }

    fn is_mid_turn(&self) -> bool {
        false
    }

    fn waiting(&self) -> u64 {
        self.waiting.messages()
    }

    fn discard_waiting(&mut self) -> u64 {
        self.waiting.discard_unsent()
    }
}

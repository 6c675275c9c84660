//! What a socket tells its user and its driver, and why peers go.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::conn::{self, Identity, SendQueue};
use crate::message::{Message, Run};
use crate::socket::PeerId;
use crate::wire::{Properties, SocketType, Version};

/// What happened, for the application. Per peer the order is: Connected, its messages, Disconnected; a peer that is
/// dialled may go through that several times.
///
/// Peers take turns, so there is no order between two of them. A client that comes back under its old identity may be
/// Connected before the Disconnected of its old connection is taken: hold on to the [`PeerId`], not to the identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake with a peer is complete: messages can be sent to it, and may come from it.
    Connected {
        /// The peer.
        peer: PeerId,
        /// What it said about itself.
        info: Box<PeerInfo>,
    },
    /// A message came. Peers take turns (RFC 28).
    Message {
        /// Who sent it.
        peer: PeerId,
        /// The message.
        message: Message,
    },
    /// Messages came; only with [`Options::deliver_runs`](super::Options::deliver_runs).
    Run {
        /// Who sent them.
        peer: PeerId,
        /// The messages.
        run: Run,
    },
    /// A peer is gone; all that it sent whole was delivered before.
    Disconnected(Box<Disconnected>),
    /// A connection ended before its handshake was complete.
    Rejected(Box<Rejected>),
    /// A peer that is to be dialled will be dialled again.
    Retrying {
        /// The peer.
        peer: PeerId,
        /// When, counted from now.
        after: core::time::Duration,
        /// Why it is necessary.
        cause: Box<Cause>,
    },
    /// A peer that was dialled will not be dialled again; its [`PeerId`] is at its end.
    GaveUp {
        /// The peer.
        peer: PeerId,
        /// Why: it answered the handshake with an ERROR.
        cause: Box<Cause>,
    },
    /// There is room again after a message came back as [`Full`](super::SendError::Full).
    Writable {
        /// For which peer; `None` at a DEALER, which chooses the peer itself.
        peer: Option<PeerId>,
    },
    /// The driver cannot accept connections for now, for want of file descriptors for instance. It tries again.
    AcceptFailed {
        /// What the operating system said, or what the driver lacks.
        reason: Box<str>,
    },
    /// A connection was refused, since its address has as many as it may have
    /// ([`Options::max_per_address`](super::Options::max_per_address)). Comes once for an address until one of its places is free
    /// again, however many are refused.
    AddressFull {
        /// Where the refused one came from.
        address: Address,
        /// How many it may have.
        allowed: usize,
    },
    /// The socket is closed, by [`Socket::close`](super::Socket::close). Nothing comes after it.
    Closed {
        /// How many messages were queued and not sent.
        unsent: u64,
    },
}

/// What the driver has to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Dial the target; answer with [`handle_dialed`](super::Socket::handle_dialed) or
    /// [`handle_dial_failed`](super::Socket::handle_dial_failed).
    Dial {
        /// For which peer.
        peer: PeerId,
        /// As it was given to [`connect`](super::Socket::connect).
        target: Arc<str>,
    },
    /// There is something to write for this peer: write what [`gather`](super::Socket::gather) shows until it shows nothing. If
    /// the transport takes no more, go on when it does; there is no second action for what comes in the meantime, unless all
    /// that there was has been discarded.
    Transmit {
        /// The peer.
        peer: PeerId,
    },
    /// Read this peer no more: it has reached its receive mark, or no messages are taken
    /// ([`set_receiving`](super::Socket::set_receiving)).
    PauseRead {
        /// The peer.
        peer: PeerId,
    },
    /// Read this peer again, what was kept back of its input first.
    ResumeRead {
        /// The peer.
        peer: PeerId,
    },
    /// Accept no connections for now.
    StopAccept,
    /// Accept connections again.
    StartAccept,
    /// The socket is done with this peer's transport, or with dialling it. Write `last` if it is not empty, shut the
    /// write side down, read on so that what was written is not destroyed by a reset, and close: see `in_order`.
    Close {
        /// The peer. Calls for it are ignored from now on, until it is dialled again.
        peer: PeerId,
        /// Last words for the peer, such as an ERROR.
        last: Bytes,
        /// The socket is being closed, and messages that count as sent may be on their way still: read all that the peer
        /// sends until it ends its side, for as long as the linger lasts. Otherwise a little is enough: whoever breaks
        /// the protocol need not be heard out.
        in_order: bool,
    },
}

/// What is known of a connected peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its identity: at a ROUTER the one that it brought or was assigned, elsewhere empty.
    pub identity: Identity,
    /// Where it is.
    pub address: Address,
    /// Its socket type, if it said.
    pub socket_type: Option<SocketType>,
    /// The ZMTP version that it announced.
    pub version: Version,
    /// All that it said in the handshake.
    pub properties: Properties,
}

/// A peer is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnected {
    /// The peer. Unless it is dialled again, its id is at its end.
    pub peer: PeerId,
    /// Its identity.
    pub identity: Identity,
    /// Where it was.
    pub address: Address,
    /// Why.
    pub cause: Cause,
    /// What went to it and came from it. What is `queued` then never will; a DEALER that dials again sends it to whoever
    /// takes it.
    pub counts: Counts,
}

/// What went to a peer and came from it, in messages, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Came from it.
    pub received: u64,
    /// Were written to its transport whole. While it is connected the newest 64 KiB may not be counted yet.
    pub sent: u64,
    /// Broadcast and lossy messages that it did not get, since its queue was full or it could not be written to any more.
    pub dropped: u64,
    /// Wait to be sent, or did until it could not be written to any more.
    pub queued: u64,
}

impl Counts {
    /// With what the queue of the present connection adds, and what was given up of it.
    pub(crate) fn with(self, queue: Option<&SendQueue>, given_up: Option<u64>) -> Counts {
        let (sent, queued) = queue.map_or((0, 0), |queue| (queue.messages_sent(), queue.messages()));
        Counts { sent: self.sent + sent, queued: queued + given_up.unwrap_or(0), ..self }
    }
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.received += other.received;
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.queued += other.queued;
    }
}

/// A connection ended before its handshake was complete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// The peer. Unless it is dialled again, its id is at its end.
    pub peer: PeerId,
    /// Where it was.
    pub address: Address,
    /// Why.
    pub cause: Cause,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// The driver has no address for it, or it is not connected yet.
    #[default]
    Unnamed,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unnamed => f.write_str("unnamed"),
        }
    }
}

/// Why a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The peer's octets, or its silence.
    #[error(transparent)]
    Protocol(#[from] conn::Error),
    /// The transport ended.
    #[error(transparent)]
    Transport(#[from] Closed),
    /// The peer could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Its identity is another peer's ([`Duplicates::RejectNew`](super::Duplicates::RejectNew)).
    #[error("its identity is taken by another peer")]
    DuplicateIdentity,
    /// A newcomer has taken its identity over ([`Duplicates::Handover`](super::Duplicates::Handover)).
    #[error("its identity was taken over by peer {to}")]
    HandedOver {
        /// The newcomer.
        to: PeerId,
    },
    /// Too many connections had not finished their handshake, and it was the oldest
    /// ([`Options::max_handshakes`](super::Options::max_handshakes)).
    #[error("too many unfinished handshakes")]
    Evicted,
    /// All peers together held more of messages under way than they may, and this one held most
    /// ([`Options::unfinished_octets`](super::Options::unfinished_octets)).
    #[error("its unfinished message was the largest when all together passed the limit of {limit} octets")]
    TooMuchUnfinished {
        /// The limit for all of them.
        limit: u64,
    },
    /// It read too slowly, by the policy of a relay or of the application.
    #[error("it reads too slowly")]
    TooSlow,
    /// The application asked for it.
    #[error("disconnected by the application")]
    Requested,
    /// The socket was closed.
    #[error("the socket was closed")]
    Closing,
}

/// How a transport ended, as the driver saw it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// In order: the peer sends no more.
    #[error("closed by the peer")]
    Eof,
    /// By a reset.
    #[error("reset by the peer")]
    Reset,
    /// Otherwise; what the operating system said.
    #[error("transport failed: {0}")]
    Failed(Box<str>),
}

/// Why dialling failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The name has no address; what the resolver said.
    #[error("the name cannot be resolved: {0}")]
    Unresolved(Box<str>),
    /// Otherwise; what the operating system said.
    #[error("dialling failed: {0}")]
    Failed(Box<str>),
}

/// Why a connection was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The socket is being closed.
    #[error("the socket is being closed")]
    Closing,
    /// [`Options::max_peers`](super::Options::max_peers) is reached.
    #[error("there are too many peers")]
    TooManyPeers,
    /// [`Options::max_per_address`](super::Options::max_per_address) is reached for its address.
    #[error("there are too many peers of this address")]
    AddressFull,
}

/// Why a message was not taken. It is given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The high-water mark would be passed. At a [`Socket`](super::Socket) or an engine one [`Event::Writable`] says when to try
    /// again. Of a blocking handle there is no such event: it has a `send_timeout`, which waits for room.
    #[error("the send queue is full")]
    Full(Message),
    /// The peer is not connected, or never was, or it cannot be written to any more and its end is not found yet.
    #[error("no such peer")]
    NoSuchPeer(Message),
    /// The socket is being closed.
    #[error("the socket is being closed")]
    Closing(Message),
}

impl SendError {
    /// The message that was not taken.
    pub fn into_message(self) -> Message {
        match self {
            SendError::Full(message) | SendError::NoSuchPeer(message) | SendError::Closing(message) => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_small() {
        // It is moved a few times on its way; rare variants are boxed.
        assert!(size_of::<Event>() <= 64, "{}", size_of::<Event>());
        assert!(size_of::<Action>() <= 48, "{}", size_of::<Action>());
    }
}

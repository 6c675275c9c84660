//! Broadcast-except-sender: what one client sends, every other one gets.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use crate::conn::Mark;
use crate::socket::{Address, Cause, Counts, Disconnected, Event, Options, PeerId, PeerInfo, Rejected, Router, Socket};
use crate::time::Instant;

/// What one call of [`Relay::drive`] passes on before it lets the driver write. It bounds by how much a client may
/// pass its mark, and keeps a turn in the processor's cache.
const TURN_OCTETS: usize = 1 << 20;

/// How much of each client is taken into the socket between two calls of [`Relay::drive`]: any read of a driver.
const RECEIVE_OCTETS: u64 = 1280 << 10;

/// A relay goes on when nobody takes its events; the oldest are then forgotten.
const MAX_EVENTS: usize = 1_024;

/// Passes the messages of each client on to all others, never back to the one that sent them.
///
/// The frames go out as they came in, an empty delimiter included, so clients that use one (NetMQ in Bonsai) and clients
/// that do not both find what their fellows sent. A client gets what is sent after it has joined. The order of one
/// sender's messages is kept.
///
/// A relay holds no socket: it drives a [`Socket<Router>`] that is handed to it, made with
/// [`RelayOptions::apply`]. So it runs wherever the socket runs, on an `Engine` (feature `net`) for instance:
///
/// 1. hand input to the socket,
/// 2. call [`drive`](Relay::drive),
/// 3. take [`poll_event`](Relay::poll_event) until there is nothing more,
/// 4. do what the socket's [`poll_action`](Socket::poll_action) says,
/// 5. wait for input, for a transport that can be written again, for the socket's timeout, or for
///    [`poll_timeout`](Relay::poll_timeout).
///
/// # Slow clients
///
/// Each client has a queue of its own, bounded in octets. What happens to one whose queue is full is [`Slow`]'s to say;
/// no other client notices, unless it is told to wait.
#[derive(Debug)]
pub struct Relay {
    options: RelayOptions,
    events: VecDeque<RelayEvent>,
    /// Since when clients are full without a break.
    full_since: BTreeMap<PeerId, Instant>,
    due: Option<Instant>,
    /// How far the socket had come with writing when it was decided to wait.
    progress: u64,
}

/// What to do with a client whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// It alone does not get what comes meanwhile, which is counted. The default.
    #[default]
    Drop,
    /// Nothing is lost: no client is read until it has room. If it has none for as long as the patience, it is
    /// disconnected.
    Wait {
        /// How long one client may hold up all others.
        patience: Duration,
    },
    /// It is disconnected at once.
    Disconnect,
}

/// The options of a [`Relay`].
#[derive(Clone, Debug)]
pub struct RelayOptions {
    slow: Slow,
    mark_octets: u64,
}

/// What happened at a relay.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayEvent {
    /// A client has joined: it gets what is sent from now on.
    Joined {
        /// The client.
        peer: PeerId,
        /// What is known of it.
        info: Box<PeerInfo>,
    },
    /// A client has left, or was disconnected; the cause and its counts are in it.
    Left(Box<Disconnected>),
    /// A connection ended before its handshake was complete.
    Rejected(Box<Rejected>),
    /// Connections cannot be accepted for now.
    AcceptFailed {
        /// What the operating system said.
        reason: Box<str>,
    },
    /// Connections of an address are refused, since it has as many as it may have
    /// ([`Options::max_per_address`]). Comes once until one of its places is free again.
    AddressFull {
        /// Where the refused one came from.
        address: Address,
        /// How many it may have.
        allowed: usize,
    },
    /// The socket is closed.
    Closed {
        /// How many messages were queued and not sent.
        unsent: u64,
    },
}

impl Default for RelayOptions {
    fn default() -> RelayOptions {
        RelayOptions::new()
    }
}

impl RelayOptions {
    /// [`Slow::Drop`], and a mark of 16 MiB.
    pub fn new() -> RelayOptions {
        RelayOptions { slow: Slow::default(), mark_octets: 16 << 20 }
    }

    /// What to do with a client whose queue is full. Default [`Slow::Drop`].
    #[must_use]
    pub fn slow(mut self, slow: Slow) -> RelayOptions {
        self.slow = slow;
        self
    }

    /// The high-water mark of each client's queue, in octets. Default 16 MiB. It is looked at between turns, so a
    /// queue may pass it by one turn: 1 MiB, or one message if that is larger. What a client is in the middle of, one message
    /// or at most 64 KiB, does not count: who reads a large message is not slow.
    #[must_use]
    pub fn mark_octets(mut self, octets: u64) -> RelayOptions {
        self.mark_octets = octets;
        self
    }

    /// Makes the options of the ROUTER that a relay drives out of the user's: with the relay's marks, in octets
    /// alone, and runs instead of messages.
    #[must_use]
    pub fn apply(&self, options: Options) -> Options {
        options
            .deliver_runs(true)
            .send_mark(Mark { messages: None, octets: Some(self.mark_octets) })
            .receive_mark(Mark { messages: None, octets: Some(RECEIVE_OCTETS) })
    }
}

impl Relay {
    /// A relay without clients.
    pub fn new(options: RelayOptions) -> Relay {
        Relay { options, events: VecDeque::new(), full_since: BTreeMap::new(), due: None, progress: 0 }
    }

    /// Passes on what has come in. To be called in every turn of the loop, before the socket's actions are done, and at
    /// [`poll_timeout`](Relay::poll_timeout): after input, and after writes too, since those make the room for which
    /// [`Slow::Wait`] waits.
    pub fn drive(&mut self, now: Instant, socket: &mut Socket<Router>) {
        self.due = None;
        let waits = self.must_wait(now, socket);
        // Thousands may be sending.
        socket.set_receiving(!waits);
        if waits {
            return;
        }
        let mut octets = 0;
        while octets < TURN_OCTETS {
            let Some(event) = socket.poll_event() else {
                return;
            };
            let event = match event {
                Event::Run { peer, run } => {
                    octets += run.octets().len();
                    socket.broadcast_run_except(Some(peer), &run);
                    continue;
                }
                // Of a socket that was not made by `RelayOptions::apply`.
                Event::Message { peer, message } => {
                    octets += message.wire_len();
                    socket.broadcast_except(Some(peer), &message);
                    continue;
                }
                Event::Connected { peer, info } => RelayEvent::Joined { peer, info },
                Event::Disconnected(gone) => RelayEvent::Left(gone),
                Event::Rejected(rejected) => RelayEvent::Rejected(rejected),
                Event::AcceptFailed { reason } => RelayEvent::AcceptFailed { reason },
                Event::AddressFull { address, allowed } => RelayEvent::AddressFull { address, allowed },
                Event::Closed { unsent } => RelayEvent::Closed { unsent },
                // A relay sends to nobody in particular and dials nobody.
                _ => continue,
            };
            if self.events.len() == MAX_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        // There may be more, after the driver has written this.
        self.due = Some(now);
    }

    /// Applies the policy to clients that are full after the last turn was written. Must the others wait for one?
    fn must_wait(&mut self, now: Instant, socket: &mut Socket<Router>) -> bool {
        let patience = match self.options.slow {
            Slow::Drop => return false,
            Slow::Wait { patience } => patience,
            Slow::Disconnect => Duration::ZERO,
        };
        let mut still_full = BTreeMap::new();
        // Once those that lag most are gone, others may be the next that broadcasts would not reach.
        let mut again = true;
        while core::mem::take(&mut again) {
            // Those that lagged most may not be the ones that do now.
            still_full.clear();
            for peer in socket.full_peers() {
                let since = self.full_since.get(&peer).copied().unwrap_or(now);
                if since + patience <= now {
                    socket.disconnect_because(now, peer, Cause::TooSlow);
                    again = true;
                } else {
                    still_full.insert(peer, since);
                }
            }
        }
        self.full_since = still_full;
        self.progress = socket.progress();
        self.due = self.full_since.values().min().map(|since| *since + patience);
        self.due.is_some()
    }

    /// When [`drive`](Relay::drive) is to be called again even if nothing comes in; at once, if that is past. To be asked
    /// after the actions are done: writing may have made the room that the relay waits for.
    #[must_use]
    pub fn poll_timeout(&self, socket: &Socket<Router>) -> Option<Instant> {
        let waits = !self.full_since.is_empty();
        if waits && socket.progress() != self.progress { Some(Instant::ZERO) } else { self.due }
    }

    /// What happened. Events may be left alone: the last 1,024 are kept.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// The clients that are connected, with their counts.
    pub fn clients<'a>(&self, socket: &'a Socket<Router>) -> impl Iterator<Item = (PeerId, Counts)> + use<'a> {
        socket.peers().filter_map(move |peer| Some((peer, socket.peer(peer)?.counts())))
    }
}

#[cfg(test)]
mod tests;

//! Accepting: in batches, and not at all while there is no room.

use std::io::ErrorKind;
use std::string::ToString;
use std::time::Duration;

use mio::net::TcpStream;

use super::{Carrier, Engine};
use crate::net::sources::{NO_TOKEN, Source};
use crate::net::stream::Stream;
use crate::net::tcp;
use crate::socket::{Closed, Pattern, PeerId, Refused};
use crate::time::Instant;

/// Connections that one listener accepts in one turn. A storm of dials then leaves time for those that are there.
const ACCEPTS_PER_TURN: usize = 64;

/// How long to wait after the system, or our token range, ran out. The backlog keeps the connections meanwhile.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Whether connections are accepted now, by all listeners of the engine.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    /// The socket wants no more peers.
    pub(super) stopped: bool,
    /// Out of descriptors, memory or tokens: the next try.
    pub(super) retry_at: Option<Instant>,
    /// The shortage was reported. It is over when all who waited are accepted; a single success may be the last again.
    short: bool,
    /// The engine is closing, for good.
    pub(super) closed: bool,
}

impl Acceptance {
    /// A stream is gone, and what it held may be what was short.
    pub(super) fn room_was_made(&mut self, now: Instant) {
        if let Some(retry_at) = &mut self.retry_at {
            *retry_at = now;
        }
    }
}

impl<P: Pattern> Engine<P> {
    /// Accepts what waits at a listener. Returns whether to come back without an event.
    pub(super) fn accept(&mut self, key: usize) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.acceptance.stopped || self.acceptance.retry_at.is_some() {
                return false;
            }
            // Both asked first: what is accepted can only be closed again.
            if !self.socket.is_accepting() {
                return true;
            }
            if !self.sources.has_room() {
                self.accept_later(NO_TOKEN);
                return false;
            }
            let Some(Source::Listener(listener)) = self.sources.get_mut(key) else {
                return false;
            };
            match listener.io.accept() {
                Ok((io, address)) => {
                    let address = tcp::canonical(address);
                    // Refused connections close as they are dropped.
                    match self.socket.accept(self.now, address) {
                        Ok(peer) => self.admit(peer, io),
                        Err(Refused::AddressFull) => {}
                        // It may have said that it wants no more: that is heard with the next flush.
                        Err(_) => return true,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listener.ready = false;
                    self.acceptance.short = false;
                    return false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if tcp::concerns_one_connection(&error) => {}
                Err(error) => {
                    self.accept_later(&error.to_string());
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, peer: PeerId, io: TcpStream) {
        tcp::prepare(&io, &self.options);
        match self.sources.insert(Source::Stream(Stream::open(io, peer))) {
            Ok(key) => self.set_carrier(peer, Carrier::Stream(key)),
            Err(error) => {
                let closed = Closed::Failed(error.to_string().into());
                self.socket.handle_closed(self.now, peer, closed);
            }
        }
    }

    /// Leaves the backlog alone for a while. The user hears of it once per shortage, not once per try.
    fn accept_later(&mut self, reason: &str) {
        self.acceptance.retry_at = Some(self.now + RETRY_AFTER);
        if !self.acceptance.short {
            self.acceptance.short = true;
            self.socket.handle_accept_failed(self.now, reason);
        }
    }

    /// Tries again once the pause is over.
    pub(super) fn retry_accept(&mut self) {
        if self.acceptance.retry_at.is_some_and(|at| at <= self.now) {
            self.acceptance.retry_at = None;
            self.queue_listeners();
        }
    }

    /// Stops or starts at the socket's wish.
    pub(super) fn set_stopped(&mut self, stopped: bool) {
        self.acceptance.stopped = stopped;
        if !stopped {
            self.queue_listeners();
        }
    }

    /// Visits the listeners that had an edge while nothing was accepted: it does not come again.
    fn queue_listeners(&mut self) {
        let listeners = self.sources.listeners_mut();
        for (key, listener) in listeners.filter(|(_, listener)| listener.ready && !listener.queued) {
            listener.queued = true;
            self.reads.push_back(key);
        }
    }
}

//! One TCP stream: its readiness, what is known of it, and its last steps.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::vec;

use bytes::{Buf, Bytes};
use mio::event::Event;
use mio::net::TcpStream;

use super::tcp;
use crate::socket::{Closed, PeerId};
use crate::time::Instant;

/// How much a closing stream takes from a peer that has not noticed yet. Closing with something unread resets
/// the connection, and the reset may overtake our ERROR; a peer that sends on and on is reset after all. Not when the
/// socket closes: then the reset would destroy messages that count as sent.
const DRAIN_OCTETS: usize = 64 * 1024;

/// Under epoll a read that does not fill its buffer has emptied the stream, a write that does not take all has filled it, and
/// whatever changes later is a new edge (epoll(7), questions and answers, 9). Elsewhere only `WouldBlock` says so: mio on
/// Windows arms a socket again by it.
const SHORT_IS_BLOCKED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Slices that one write carries. Systems take 1024; beyond some dozens the call's own cost is negligible.
pub(super) const SLICES: usize = 64;

/// How much is read from a peer at once to begin with, and at least.
pub(super) const MIN_READ: usize = 16 * 1024;

/// A source that carries octets.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) transport: Transport,
    pub(super) phase: Phase,
    /// It stands in the run queue.
    pub(super) queued: bool,
    /// It stands in the queue of those that can be written to.
    pub(super) write_queued: bool,
    /// When the phase has taken too long.
    pub(super) deadline: Option<Instant>,
}

/// The system's stream and its edge-triggered state: `readable` and `writable` are set by events and cleared by what
/// a read or a write returns, never the other way round.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) io: TcpStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// An event said that the peer's side has ended. No edge will say so again, so that only a read that
    /// finds the end may end the reading.
    read_closed: bool,
}

/// The life of a stream.
///
/// ```text
/// connect --> Dialing --> Open --> Closing --> dropped
///                |  accept --^  |                 ^
///                `--- failed ---+--- ended -------'
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    Dialing(Dialing),
    Open(Open),
    Closing(Closing),
}

/// Waiting for a connection.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) peer: PeerId,
    pub(super) address: SocketAddr,
    /// The addresses to try after this one.
    pub(super) next: vec::IntoIter<SocketAddr>,
}

/// Connected, and the socket's.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) peer: PeerId,
    /// The socket wants no input.
    pub(super) paused: bool,
    /// What was read and the socket did not take.
    pub(super) rest: Bytes,
    /// How much to read at once: it doubles while the peer fills it, and falls to what the socket takes.
    pub(super) appetite: usize,
    /// The socket has something to write.
    pub(super) wants_write: bool,
    /// It was dialled, and has not completed its handshake as far as we have seen.
    pub(super) unproven: bool,
    /// Why writing ended while reading goes on, since what the peer sent before may still be there.
    pub(super) write_failed: Option<Closed>,
}

/// The socket is done with it.
#[derive(Debug)]
pub(super) struct Closing {
    since: Instant,
    last: Bytes,
    /// `last` is written and our side shut down.
    shut: bool,
    /// Octets that may still be drained; no matter how many if `None`.
    drain: Option<usize>,
}

/// What came of a read.
#[derive(Debug)]
pub(super) enum Received {
    Octets(usize),
    /// Nothing now; an event will tell.
    Nothing,
    Ended(Closed),
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Written {
    Octets(usize),
    /// No room now; an event will tell.
    Blocked,
    Failed(Closed),
}

/// What comes of a step of a closing stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linger {
    /// It waits for room to write, or for the end of the peer's side. So many octets were drained in this step.
    On(usize),
    /// It waits for nothing: drop it.
    Over,
}

impl Stream {
    /// A stream that has yet to connect.
    pub(super) fn dialing(io: TcpStream, dialing: Dialing) -> Self {
        Self::new(io, Phase::Dialing(dialing))
    }

    /// A stream that was accepted.
    pub(super) fn open(io: TcpStream, peer: PeerId) -> Self {
        let mut stream = Self::new(io, Phase::Open(Open::new(peer, false)));
        // As a rule there is room, and if not, `WouldBlock` says so.
        stream.transport.writable = true;
        stream
    }

    fn new(io: TcpStream, phase: Phase) -> Self {
        let transport = Transport { io, readable: false, writable: false, read_closed: false };
        Self { transport, phase, queued: false, write_queued: false, deadline: None }
    }

    /// The transport and the peer's side of it, if that is to be read.
    pub(super) fn reading(&mut self) -> Option<(&mut Transport, &mut Open)> {
        match &mut self.phase {
            Phase::Open(open) if !open.paused => Some((&mut self.transport, open)),
            _ => None,
        }
    }

    /// The transport of a stream that is closing, and how far that is.
    pub(super) fn closing(&mut self) -> Option<(&mut Transport, &mut Closing)> {
        match &mut self.phase {
            Phase::Closing(closing) => Some((&mut self.transport, closing)),
            _ => None,
        }
    }

    /// Returns whether a visit would find something to do without an event.
    pub(super) fn has_input(&self) -> bool {
        match &self.phase {
            Phase::Dialing(_) => false,
            Phase::Open(open) => !open.paused && (self.transport.readable || !open.rest.is_empty()),
            // Who closes in order hears the peer out from the start: it may send before it reads.
            Phase::Closing(closing) => (closing.shut || closing.is_in_order()) && self.transport.readable,
        }
    }

    /// Returns whether there is something to write and room for it, as far as is known.
    pub(super) fn has_output(&self) -> bool {
        let wanted = match &self.phase {
            Phase::Dialing(_) => false,
            Phase::Open(open) => open.wants_write,
            Phase::Closing(closing) => !closing.shut,
        };
        wanted && self.transport.writable
    }
}

impl Transport {
    /// Notes what an event says. It may say too much: that costs a call and no more.
    pub(super) fn note(&mut self, event: &Event) {
        let failed = event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || failed;
        self.read_closed |= event.is_read_closed() || failed;
        self.writable |= event.is_writable() || event.is_write_closed() || failed;
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match self.io.read(buffer) {
                Ok(0) => Received::Ended(Closed::Eof),
                Ok(octets) => {
                    if SHORT_IS_BLOCKED && octets < buffer.len() && !self.read_closed {
                        self.readable = false;
                    }
                    Received::Octets(octets)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    Received::Nothing
                }
                Err(error) => Received::Ended(tcp::closed_by(&error)),
            };
        }
    }

    /// Writes once. There must be something in `slices`, and at most [`SLICES`] are written.
    pub(super) fn write(&mut self, slices: &[&[u8]]) -> Written {
        loop {
            let written = match slices {
                // A small message to each of many peers is one slice each, and `send` costs less than `writev`.
                [slice] => self.io.write(slice),
                _ => self.write_vectored(slices),
            };
            return match written {
                Ok(0) => Written::Failed(Closed::Failed("the system wrote nothing".into())),
                Ok(octets) => {
                    let offered: usize = slices.iter().take(SLICES).map(|slice| slice.len()).sum();
                    if SHORT_IS_BLOCKED && octets < offered {
                        self.writable = false;
                    }
                    Written::Octets(octets)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    Written::Blocked
                }
                Err(error) => Written::Failed(tcp::closed_by(&error)),
            };
        }
    }

    fn write_vectored(&mut self, slices: &[&[u8]]) -> io::Result<usize> {
        let mut vectors = [IoSlice::new(&[]); SLICES];
        for (vector, slice) in vectors.iter_mut().zip(slices) {
            *vector = IoSlice::new(slice);
        }
        tcp::write_vectored(&self.io, vectors.get(..slices.len()).unwrap_or(&vectors))
    }
}

impl Open {
    pub(super) fn new(peer: PeerId, unproven: bool) -> Self {
        Self {
            peer,
            paused: false,
            rest: Bytes::new(),
            appetite: MIN_READ,
            wants_write: false,
            unproven,
            write_failed: None,
        }
    }
}

impl Closing {
    /// Prepares to write `last` and then to wait for the peer's end, whatever comes before it if we end `in_order`.
    pub(super) fn new(since: Instant, last: Bytes, in_order: bool) -> Self {
        Self { since, last, shut: false, drain: (!in_order).then_some(DRAIN_OCTETS) }
    }

    /// Returns when it began to close.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Returns whether our side is shut down.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Returns whether the peer is heard out.
    pub(super) fn is_in_order(&self) -> bool {
        self.drain.is_none()
    }

    /// Writes what is left and shuts our side down, as far as that goes without waiting.
    pub(super) fn write(&mut self, transport: &mut Transport) -> Linger {
        while !self.shut {
            if self.last.is_empty() {
                if transport.io.shutdown(Shutdown::Write).is_err() {
                    return Linger::Over;
                }
                self.shut = true;
            } else if !transport.writable {
                return Linger::On(0);
            } else {
                match transport.write(&[&self.last]) {
                    Written::Octets(octets) => self.last.advance(octets.min(self.last.len())),
                    Written::Blocked => return Linger::On(0),
                    Written::Failed(_) => return Linger::Over,
                }
            }
        }
        Linger::On(0)
    }

    /// Reads once: a peer may send faster than we drain.
    pub(super) fn read(&mut self, transport: &mut Transport, buffer: &mut [u8]) -> Linger {
        let most = self.drain.unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most) else {
            return Linger::Over;
        };
        match (transport.read(buffer), &mut self.drain) {
            (Received::Nothing, _) => Linger::On(0),
            (Received::Octets(octets), None) => Linger::On(octets),
            (Received::Octets(octets), Some(drain)) if octets < *drain => {
                *drain -= octets;
                Linger::On(octets)
            }
            (Received::Octets(_) | Received::Ended(_), _) => Linger::Over,
        }
    }
}

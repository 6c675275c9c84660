//! The engine: a socket, the sources that it has in a poll, and what is left to do for each.

mod accept;
mod dial;
mod error;
mod input;
mod output;
#[cfg(test)]
mod tests;

use std::boxed::Box;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::string::ToString;
use std::time::Duration;
use std::vec::Vec;

use bytes::BytesMut;
use mio::Registry;

use self::accept::Acceptance;
pub use self::error::{BindError, ConnectError, UnbindError};
use super::endpoint::Endpoint;
use super::resolve::Resolver;
use super::sources::{Listener, NO_TOKEN, Source, Sources};
use super::stream::Phase;
use super::tcp::{self, Sites, TcpOptions};
use crate::socket::{Event, Pattern, PeerId, Socket};
use crate::time::Instant;

/// What one read takes at most. What a relay reads at once it also writes at once, to each receiver: with one sender
/// among many clients a quarter of this carries a third less. The memory is touched only as far as reads fill it.
const SCRATCH_OCTETS: usize = 1024 * 1024;

/// How many connections may linger that we have ended. With one more the oldest is cut: whoever makes us end one
/// connection after the other must not take all descriptors with those that are over.
const MAX_CLOSING: usize = 1_024;

/// A [`Socket`] on TCP, inside your own `mio::Poll`.
///
/// # How to drive it
///
/// The engine never blocks and has no thread of its own, except while a name is looked up. It lives from four calls, in
/// this order, in a loop:
///
/// 1. `mio::Poll::poll` with [`timeout`](Self::timeout);
/// 2. [`process`](Self::process) with the events that came, once per poll, even if there are none: time may have
///    passed. It takes those whose token is in its range and leaves the others to you or to another engine;
/// 3. [`poll_event`](Self::poll_event) until there is none, and whatever you wish to send, through
///    [`socket_mut`](Self::socket_mut);
/// 4. [`flush`](Self::flush). Nothing is written, dialled or closed before. All that was sent since the last flush goes
///    out together, which is where the speed comes from.
///
/// A forgotten flush loses nothing: the timeout is zero until the next `process` makes up for it. An event left in the socket
/// stays there; at the receive mark of a peer the engine stops reading that peer.
///
/// # Guarantees
///
/// - Work per turn is bounded: each peer is read once, or twice to finish a large message, all of them
///   together up to [`TcpOptions::turn_octets`], and each is written about 1 MiB. What is left over makes the timeout zero.
/// - A peer that floods, or that does not read, delays no other.
/// - What a peer sent before its connection ended is delivered before its end is.
/// - A connection that we end lingers for a second or two at most, so that our last words arrive, and no more than 1,024 do
///   at a time: the oldest is cut for the next. When the engine itself is closed, all may whose handshake was complete, and
///   for longer: see [`close`](Self::close).
/// - No time is spent on idle peers, and they hold no buffer.
///
/// # Example
///
/// A ROUTER and a DEALER in one poll:
///
/// ```
/// use std::time::{Duration, Instant};
/// use zmio::net::TcpOptions;
/// use zmio::{Engine, Event, Message, Options, Socket};
///
/// let mut poll = mio::Poll::new()?;
/// let mut events = mio::Events::with_capacity(64);
/// let server = Socket::router(Options::new(), 1);
/// let mut server = Engine::new(poll.registry(), 0..1000, server, TcpOptions::new())?;
/// let client = Socket::dealer(Options::new(), 2);
/// let mut client = Engine::new(poll.registry(), 1000..1010, client, TcpOptions::new())?;
///
/// let endpoint = server.bind(&"tcp://127.0.0.1:0".parse()?)?;
/// client.connect(&endpoint)?;
/// client.socket_mut().send(Message::from("hello")).map_err(|_| "full")?;
///
/// let end = Instant::now() + Duration::from_secs(10);
/// let answer = 'turns: loop {
///     assert!(Instant::now() < end, "no answer");
///     let timeouts = [server.timeout(), client.timeout(), Some(Duration::from_secs(1))];
///     poll.poll(&mut events, timeouts.into_iter().flatten().min())?;
///
///     server.process(&events);
///     while let Some(event) = server.poll_event() {
///         if let Event::Message { peer, message } = event {
///             server.socket_mut().send(peer, message).map_err(|_| "gone")?;
///         }
///     }
///     server.flush();
///
///     client.process(&events);
///     while let Some(event) = client.poll_event() {
///         if let Event::Message { message, .. } = event {
///             break 'turns message;
///         }
///     }
///     client.flush();
/// };
/// assert_eq!(answer, Message::from("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `P` is [`socket::Router`](crate::socket::Router) or [`socket::Dealer`](crate::socket::Dealer), and not the handle of that
/// name: `engine: Engine<zmio::socket::Router>`.
pub struct Engine<P: Pattern> {
    socket: Socket<P>,
    // Dropped before `sources`, which have the other end of the pipe that its threads write to.
    resolver: Resolver,
    sources: Sources,
    /// What each peer has of us, by the peer's index.
    links: Vec<Option<Link>>,
    /// Keys of sources with unfinished input, each visited once per turn.
    reads: VecDeque<usize>,
    /// Keys of streams with something to write and room for it.
    writes: VecDeque<usize>,
    /// Deadlines of streams with their keys. Only dials and closes have one.
    deadlines: BTreeSet<(Instant, usize)>,
    /// Keys of streams that are closing, by the time at which they began to; not of those that close with the socket.
    closing: BTreeSet<(Instant, usize)>,
    acceptance: Acceptance,
    /// What is read into.
    scratch: BytesMut,
    /// What each peer may be read in this turn.
    share: usize,
    options: TcpOptions,
    epoch: std::time::Instant,
    /// The time of this turn.
    now: Instant,
    /// The last flush made events where there were none: the application does not know of them.
    news: bool,
}

/// What we have of a peer.
#[derive(Debug)]
struct Link {
    peer: PeerId,
    carrier: Option<Carrier>,
    /// The address at which it was reached last, until it has completed a handshake there. In a box, since most have none.
    doubtful: Option<Box<SocketAddr>>,
}

#[derive(Clone, Copy, Debug)]
enum Carrier {
    /// A name that is looked up.
    Lookup,
    /// The key of its stream.
    Stream(usize),
}

impl<P: Pattern> Engine<P> {
    /// Puts `socket` into the poll that `registry` is of.
    ///
    /// The engine uses tokens from `tokens` and no others: one for each listener and each connection, one more as soon as
    /// it dials a name. When they are used up it accepts no more until one is free again. So there should be as many as
    /// [`Options::max_peers`](crate::Options::max_peers), 1,024 for connections that linger, and a few.
    ///
    /// # Errors
    ///
    /// Fails when the system cannot duplicate the registry's handle.
    pub fn new(registry: &Registry, tokens: Range<usize>, socket: Socket<P>, options: TcpOptions) -> io::Result<Self> {
        Ok(Self {
            socket,
            resolver: Resolver::default(),
            sources: Sources::new(registry.try_clone()?, tokens),
            links: Vec::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            deadlines: BTreeSet::new(),
            closing: BTreeSet::new(),
            acceptance: Acceptance::default(),
            scratch: BytesMut::zeroed(SCRATCH_OCTETS),
            share: SCRATCH_OCTETS,
            options,
            epoch: std::time::Instant::now(),
            now: Instant::ZERO,
            news: false,
        })
    }

    /// Listens at `endpoint`, one of any number, and returns the endpoint that it really got: with port 0 the port that
    /// the system chose, for a name its address.
    ///
    /// `*` listens on IPv6 and IPv4 alike, or on IPv4 alone where the system has no IPv6; IPv4 peers are then reported with
    /// their IPv4 address. An IPv6 address, `[::]` included, listens on IPv6 only. A name stands for its first address that
    /// this machine has, IPv4 before IPv6; looking it up blocks.
    ///
    /// # Errors
    ///
    /// Fails with the system's reason, after [`close`](Self::close), and when all tokens are in use.
    pub fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, BindError> {
        self.check_bindable(endpoint)?;
        let sites = tcp::sites(endpoint);
        self.bind_at(endpoint, &sites.map_err(|source| BindError::System { endpoint: endpoint.clone(), source })?)
    }

    /// As [`bind`](Self::bind), with a name that has been looked up.
    pub(super) fn bind_at(&mut self, endpoint: &Endpoint, sites: &Sites) -> Result<Endpoint, BindError> {
        self.check_bindable(endpoint)?;
        let listening = tcp::listen(sites);
        let (io, endpoint) = listening.map_err(|source| BindError::System { endpoint: endpoint.clone(), source })?;
        let listener = Listener { io, endpoint: endpoint.clone(), ready: false, queued: false };
        let registered = self.sources.insert(Source::Listener(listener));
        registered.map_err(|source| BindError::System { endpoint: endpoint.clone(), source })?;
        Ok(endpoint)
    }

    fn check_bindable(&self, endpoint: &Endpoint) -> Result<(), BindError> {
        if self.acceptance.closed {
            return Err(BindError::Closed);
        }
        if !self.sources.has_room() {
            return Err(BindError::System { endpoint: endpoint.clone(), source: io::Error::other(NO_TOKEN) });
        }
        Ok(())
    }

    /// Stops listening at an endpoint that [`bind`](Self::bind) returned. Connections that were accepted there stay; those
    /// that wait to be accepted are refused by the system.
    ///
    /// # Errors
    ///
    /// Fails when there is no such listener.
    pub fn unbind(&mut self, endpoint: &Endpoint) -> Result<(), UnbindError> {
        let mut listeners = self.sources.listeners();
        let found = listeners.find(|(_, listener)| listener.endpoint == *endpoint);
        let Some((key, _)) = found else {
            return Err(UnbindError { endpoint: endpoint.clone() });
        };
        drop(listeners);
        self.sources.remove(key);
        Ok(())
    }

    /// Returns the endpoints that are listened at, as [`bind`](Self::bind) returned them.
    pub fn local_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let listeners = self.sources.listeners();
        listeners.map(|(_, listener)| &listener.endpoint)
    }

    /// Dials `endpoint`, and again whenever the connection fails or ends, after the pause that the socket's options say, until
    /// the peer answers a handshake with an ERROR ([`Event::GaveUp`](crate::Event::GaveUp)).
    ///
    /// Returns at once; [`Event::Connected`] tells of the connection and [`Event::Retrying`] of each attempt that failed. A
    /// name is looked up by a short-lived thread, anew for each attempt, and its addresses are tried in the order of
    /// the system; but if one was reached and the handshake with it came to nothing, the next attempt begins behind that one.
    ///
    /// # Errors
    ///
    /// Fails for `*` and port 0, after [`close`](Self::close), and when all tokens are in use.
    pub fn connect(&mut self, endpoint: &Endpoint) -> Result<PeerId, ConnectError> {
        endpoint.check_dialable()?;
        if self.acceptance.closed {
            return Err(ConnectError::Closed);
        }
        if !self.sources.has_room() {
            return Err(ConnectError::NoToken);
        }
        let now = self.now();
        Ok(self.socket_mut().connect(now, &endpoint.to_string()))
    }

    /// Ends the connection of a peer, and what is dialled anew for it. A stale id does nothing.
    pub fn disconnect(&mut self, peer: PeerId) {
        let now = self.now();
        self.socket_mut().disconnect(now, peer);
    }

    /// Takes one event of the socket.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.socket.poll_event()
    }

    /// Returns how long to wait for events at most: zero when there is work left, `None` when only an event can
    /// bring some.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let work = !self.reads.is_empty() || !self.writes.is_empty() || self.socket.has_actions();
        if work || (self.news && self.socket.has_events()) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.socket.poll_timeout(),
            self.deadlines.first().map(|&(at, _)| at),
            self.resolver.poll_timeout(),
            self.acceptance.retry_at,
        ];
        let first = deadlines.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(self.now()))
    }

    /// Returns the time now, on the clock that this engine gives its socket: the time since the engine was made.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::after_epoch(self.epoch.elapsed())
    }

    /// Returns how many connections the engine has in the system, each with a descriptor and a token: those of peers, those
    /// that are being dialled, and those that we have ended and that linger.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sources.streams()
    }

    /// Returns the socket.
    #[must_use]
    pub fn socket(&self) -> &Socket<P> {
        &self.socket
    }

    /// Returns the socket to send with. What is sent goes out with the next [`flush`](Self::flush).
    #[must_use]
    pub fn socket_mut(&mut self) -> &mut Socket<P> {
        &mut self.socket
    }

    /// Stops listening, and closes the socket: what is queued is still sent, for as long as `linger` allows, `None`
    /// being for ever. [`Event::Closed`] says how many messages were not. Another call may shorten the linger.
    ///
    /// Go on driving the engine until [`is_closed`](Self::is_closed). What was sent may be on its way still, and would be
    /// destroyed with a connection that is cut while something is unread. So each connection is read until the peer ends
    /// its side too, which it does, as a rule, as soon as it has read all. A peer that does not, or that sends on and on,
    /// is cut when the linger is over: one second after all was written to it at the earliest, some 30 seconds at the latest.
    pub fn close(&mut self, linger: Option<Duration>) {
        self.acceptance.closed = true;
        let listeners: Vec<usize> = self.sources.listeners().map(|(key, _)| key).collect();
        for key in listeners {
            self.sources.remove(key);
        }
        self.look_at_clock();
        self.socket.close(self.now, linger);
        self.shorten_lingers();
    }

    /// Returns whether the socket is closed and the last connection gone. Events may still wait, [`Event::Closed`] as the last:
    /// take them after your loop too.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.socket.is_closed() && !self.socket.has_actions() && self.sources.streams() == 0
    }

    /// Reads the clock for what follows: once per turn, not once per packet.
    fn look_at_clock(&mut self) {
        self.now = self.now();
    }

    fn carrier(&self, peer: PeerId) -> Option<Carrier> {
        let link = self.links.get(peer.index())?.as_ref()?;
        link.carrier.filter(|_| link.peer == peer)
    }

    fn set_carrier(&mut self, peer: PeerId, carrier: Carrier) {
        let index = peer.index();
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        match self.links.get_mut(index) {
            Some(Some(link)) if link.peer == peer => link.carrier = Some(carrier),
            Some(link) => *link = Some(Link { peer, carrier: Some(carrier), doubtful: None }),
            None => {}
        }
    }

    /// Forgets what carries `peer`, and says what it was. A newer peer at the same index keeps its own.
    fn take_carrier(&mut self, peer: PeerId) -> Option<Carrier> {
        self.link_mut(peer)?.carrier.take()
    }

    fn link_mut(&mut self, peer: PeerId) -> Option<&mut Link> {
        self.links.get_mut(peer.index())?.as_mut().filter(|link| link.peer == peer)
    }

    /// Sets or clears the deadline of a stream.
    fn set_deadline(&mut self, key: usize, at: Option<Instant>) {
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        if let Some(old) = stream.deadline {
            self.deadlines.remove(&(old, key));
        }
        stream.deadline = at;
        if let Some(at) = at {
            self.deadlines.insert((at, key));
        }
    }

    /// Drops a stream and closes its transport.
    fn drop_stream(&mut self, key: usize) {
        self.set_deadline(key, None);
        if let Some(Phase::Closing(closing)) = self.sources.stream_mut(key).map(|stream| &stream.phase) {
            self.closing.remove(&(closing.since(), key));
        }
        self.sources.remove(key);
        self.acceptance.room_was_made(self.now);
    }

    /// Lets the next turn visit a source.
    fn queue_read(&mut self, key: usize) {
        let queued = match self.sources.get_mut(key) {
            Some(Source::Stream(stream)) => &mut stream.queued,
            Some(Source::Listener(listener)) => &mut listener.queued,
            Some(Source::Inbox(_)) | None => return,
        };
        if !*queued {
            *queued = true;
            self.reads.push_back(key);
        }
    }
}

impl<P: Pattern> fmt::Debug for Engine<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("local_endpoints", &self.local_endpoints().collect::<Vec<_>>())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

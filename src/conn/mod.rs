//! One connection as a state machine: octets in, events and octets out.
//!
//! [`Connection`] speaks ZMTP 3.1 (RFC 37) over one byte stream, and knows neither where the octets come from nor what
//! time it is. Most users want a [`Socket`](crate::socket::Socket), which has many connections and a routing pattern.

mod config;
mod decoder;
mod error;
mod handshake;
mod heartbeat;
mod identity;
mod send;
mod timer;

use alloc::sync::Arc;

use bytes::Bytes;

pub use config::{Config, Heartbeat, Limits, Mark, PingWhom};
pub use decoder::Credit;
pub(crate) use decoder::RUN_OCTETS;
pub use error::{Error, Mismatch, Timeout, Violation};
pub use identity::{Identity, IdentityError};
#[cfg(any(feature = "net", test))]
pub(crate) use send::ENTRY_OCTETS;
pub(crate) use send::{Entry, Packs, SendQueue};

use crate::message::{Message, Outgoing};
use crate::time::Instant;
use crate::wire::{Command, Malformed, Properties, SocketType, Version, encode};
use decoder::{Decoder, Expect, Item, Lend};
use handshake::{AwaitGreeting, Greeted, Securing};
use heartbeat::Liveness;
use timer::{Timer, Timers};

/// More PONGs than this do not wait to be sent; a PING that comes then goes unanswered. Honest peers have one PING
/// under way, a flood must cost no more than reading it (A7).
const MAX_PONGS: u8 = 16;

/// One connection: a state machine without I/O.
///
/// ```text
/// Greeting --> Securing --> Traffic
///     `-----------`------------`------> Failed: can only be closed
/// ```
///
/// # How to drive it
///
/// - [`handle_input`](Connection::handle_input) takes octets that came from the peer, and returns what they amount to,
///   borrowed where it can be: call it with the rest until nothing is left. An event is never queued inside, so a
///   caller that takes no more input holds nothing here but an unfinished message.
/// - [`handle_timeout`](Connection::handle_timeout) is to be called when the time of
///   [`poll_timeout`](Connection::poll_timeout) has come. Ask again after every other call.
/// - [`gather`](Connection::gather) shows what to write, [`sent`](Connection::sent) says how much of it was written.
///   Both may be called as late and as seldom as the transport allows.
/// - The first error sticks: every later call returns it again. What is left to be said to the peer then, an ERROR or
///   nothing, is in [`into_last_words`](Connection::into_last_words); write it and close.
///
/// Time never goes back between calls. Two connections, joined:
///
/// ```
/// use zmio::conn::{Config, Connection, Credit, Event};
/// use zmio::{Instant, Message, SocketType};
///
/// let now = Instant::ZERO;
/// let mut dealer = Connection::new(Config::new(SocketType::Dealer).into(), now);
/// let mut router = Connection::new(Config::new(SocketType::Router).into(), now);
/// let mut received = Vec::new();
///
/// fn carry(now: Instant, from: &mut Connection, to: &mut Connection, received: &mut Vec<Message>) {
///     let mut slices = [&[][..]; 8];
///     let filled = from.gather(&mut slices);
///     let octets = slices[..filled].concat();
///     from.sent(octets.len());
///     let mut rest = &octets[..];
///     while !rest.is_empty() {
///         let step = to.handle_input(now, rest, Credit::UNLIMITED).expect("a peer that keeps the rules");
///         rest = &rest[step.taken..];
///         match step.event {
///             Some(Event::Run(run)) => received.extend(run.to_run().iter()),
///             Some(Event::Message(message)) => received.push(message),
///             Some(Event::Ready(_)) | None => {}
///         }
///     }
/// }
///
/// for _ in 0..2 {
///     carry(now, &mut dealer, &mut router, &mut received);
///     carry(now, &mut router, &mut dealer, &mut received);
/// }
/// assert!(dealer.is_ready() && router.is_ready());
///
/// dealer.send("hello").expect("ready, and its queue is empty");
/// carry(now, &mut dealer, &mut router, &mut received);
/// assert_eq!(received, [Message::from("hello")]);
/// ```
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    state: State,
    decoder: Decoder,
    send: SendQueue,
    liveness: Liveness,
    timers: Timers,
    /// PONGs that wait to be sent.
    pongs: u8,
    /// A PING of ours waits to be sent.
    ping: bool,
}

#[derive(Debug)]
enum State {
    Greeting(AwaitGreeting),
    Securing(Securing),
    Traffic,
    Failed(Error),
    /// A step has consumed the state and not ended yet. Never seen between calls.
    Stepping,
}

/// What a peer said about itself in the handshake.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The identity that it announced to a ROUTER, empty if it leaves that to the ROUTER. At another socket: empty.
    pub identity: Identity,
    /// Its socket type, if it announced one.
    pub socket_type: Option<SocketType>,
    /// The version in its greeting.
    pub version: Version,
    /// All that it said, unknown properties included.
    pub properties: Properties,
}

/// What [`Connection::handle_input`] did.
#[derive(Debug)]
#[must_use]
pub struct Step<'a> {
    /// How many octets were taken. The rest is to be offered again.
    pub taken: usize,
    /// What they amount to, if anything.
    pub event: Option<Event<'a>>,
}

/// What came from the peer.
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake is complete. Comes once, and before any message.
    Ready(PeerInfo),
    /// Whole messages that lay next to each other in the input.
    Run(BorrowedRun<'a>),
    /// A message that came in several pieces.
    Message(Message),
}

/// Consecutive whole messages within the input.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedRun<'a> {
    octets: &'a [u8],
    messages: u32,
}

impl BorrowedRun<'_> {
    /// The number of messages in it, at least one.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// The octets of its frames, headers included.
    pub fn octets(&self) -> &[u8] {
        self.octets
    }

    /// Is it one message that is as large as a run may be, or larger?
    pub(crate) fn is_large(&self) -> bool {
        self.messages == 1 && self.octets.len() >= RUN_OCTETS
    }

    /// A copy that can be kept, in a block of exactly its size.
    pub fn to_run(&self) -> crate::message::Run {
        crate::message::Run::from_wire(Bytes::copy_from_slice(self.octets), self.messages)
    }
}

/// A message that cannot be sent now; it is given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The high-water mark would be passed.
    #[error("the send queue is full")]
    Full(Message),
    /// The handshake is not complete, or the connection failed. A message before the peer's READY would make libzmq
    /// close the connection.
    #[error("the connection is not ready")]
    NotReady(Message),
}

impl Connection {
    /// A connection whose transport is up. Our greeting can be gathered at once; the handshake deadline runs.
    pub fn new(config: Arc<Config>, now: Instant) -> Connection {
        let mut send = SendQueue::new(config.send_mark);
        let state = State::Greeting(handshake::greet(send.control()));
        let mut timers = Timers::default();
        timers.set(Timer::Handshake, now + config.handshake_timeout);
        let (decoder, liveness) = (Decoder::default(), Liveness::new(now));
        Connection { config, state, decoder, send, liveness, timers, pongs: 0, ping: false }
    }

    /// Takes octets that came from the peer, up to the next event, and says how many. Call it again with the rest
    /// until all are taken. `credit` bounds what is taken as one run of messages.
    ///
    /// Messages that were complete before a fault come out before the error does.
    pub fn handle_input<'a>(&mut self, now: Instant, input: &'a [u8], credit: Credit) -> Result<Step<'a>, Error> {
        let mut taken = 0;
        loop {
            let step = self.take_input(now, input.get(taken..).unwrap_or_default(), credit, &mut |_| None)?;
            taken += step.taken;
            if step.taken == 0 || step.event.is_some() {
                return Ok(Step { taken, ..step });
            }
        }
    }

    /// One step of `handle_input`, which takes some of the input if there is any, with memory for a large message that does
    /// not come whole.
    pub(crate) fn take_input<'a>(
        &mut self,
        now: Instant,
        input: &'a [u8],
        credit: Credit,
        lend: &mut Lend<'_>,
    ) -> Result<Step<'a>, Error> {
        if !input.is_empty() {
            self.liveness.heard(now);
        }
        let (taken, event) = self.advance(now, input, credit, lend).map_err(|error| self.fail(error))?;
        Ok(Step { taken, event })
    }

    /// One step: a piece of the greeting, or one item of the decoder.
    fn advance<'a>(
        &mut self,
        now: Instant,
        input: &'a [u8],
        credit: Credit,
        lend: &mut Lend<'_>,
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let expect = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Greeting(_) => return Ok((self.take_greeting(input)?, None)),
            State::Securing(_) => Expect::Handshake,
            State::Traffic | State::Stepping => Expect::Traffic,
        };
        let (taken, item) = self.decoder.decode(input, expect, &self.config.limits, credit, lend)?;
        let event = match item {
            None => None,
            Some(Item::Run { octets, messages }) => Some(Event::Run(BorrowedRun { octets, messages })),
            Some(Item::Message(message)) => Some(Event::Message(message)),
            Some(Item::Command(body)) => self.take_command(now, &body)?.map(Event::Ready),
        };
        Ok((taken, event))
    }

    fn take_greeting(&mut self, input: &[u8]) -> Result<usize, Error> {
        let State::Greeting(state) = core::mem::replace(&mut self.state, State::Stepping) else {
            return Ok(0);
        };
        let (taken, greeted) = state.take(input, &self.config, self.send.control())?;
        self.state = match greeted {
            Greeted::More(state) => State::Greeting(state),
            Greeted::Done(state) => State::Securing(state),
        };
        Ok(taken)
    }

    fn take_command(&mut self, now: Instant, body: &[u8]) -> Result<Option<PeerInfo>, Error> {
        if matches!(self.state, State::Traffic) {
            self.take_traffic_command(now, body)?;
            return Ok(None);
        }
        let State::Securing(state) = core::mem::replace(&mut self.state, State::Stepping) else {
            return Ok(None);
        };
        let info = state.take(body, &self.config)?;
        self.state = State::Traffic;
        self.timers.stop(Timer::Handshake);
        self.liveness.start(now, info.version, self.config.heartbeat.as_ref(), &mut self.timers);
        Ok(Some(info))
    }

    fn take_traffic_command(&mut self, now: Instant, body: &[u8]) -> Result<(), Error> {
        match Command::parse(body).map_err(Malformed::from)? {
            Command::Ping { ttl, context } => {
                self.liveness.pinged_by_peer(now, ttl, self.config.heartbeat.as_ref(), &mut self.timers);
                self.forget_sent_control();
                if self.pongs < MAX_PONGS {
                    self.pongs += 1;
                    encode::pong(self.send.control(), context);
                }
            }
            Command::Pong { .. } => self.liveness.ponged(&mut self.timers),
            Command::Ready(_) => return Err(Violation::SecondReady.into()),
            Command::Error(reason) => return Err(Error::Refused(reason.into())),
            // Well-formed and not for us: other patterns' commands, and those of versions to come.
            _ => {}
        }
        Ok(())
    }

    /// Does what is due. Returns the error if the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        for timer in Timer::ALL {
            if !self.timers.is_due(timer, now) || !self.liveness.runs(timer) {
                continue;
            }
            let outcome = match timer {
                Timer::Handshake => Err(Timeout::Handshake.into()),
                Timer::Silence => self.config.heartbeat.as_ref().map_or(Ok(()), |heartbeat| {
                    self.liveness.check_silence(now, heartbeat, self.send.output(), &mut self.timers)
                }),
                Timer::Ttl => self.liveness.check_ttl(now, &mut self.timers),
                Timer::Ping => {
                    self.ping(now);
                    Ok(())
                }
            };
            outcome.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn ping(&mut self, now: Instant) {
        let config = Arc::clone(&self.config);
        let Some(heartbeat) = &config.heartbeat else {
            return self.timers.stop(Timer::Ping);
        };
        self.forget_sent_control();
        // One that still waits is as good as another: a peer that sends and never reads must not make us pile them up.
        if self.liveness.ping(now, heartbeat, self.send.output(), &mut self.timers) && !self.ping {
            self.ping = true;
            encode::ping(self.send.control(), heartbeat.ttl, &[]);
        }
    }

    fn forget_sent_control(&mut self) {
        if !self.send.has_control() {
            (self.pongs, self.ping) = (0, false);
        }
    }

    /// Is a time over in which something was to come from the peer?
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.timers.is_due(Timer::Handshake, now) || self.liveness.is_over(now, &self.timers)
    }

    /// When [`handle_timeout`](Connection::handle_timeout) is to be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        Timer::ALL
            .into_iter()
            .filter(|timer| self.liveness.runs(*timer))
            .filter_map(|timer| self.timers.at(timer))
            .min()
    }

    /// Queues a message. It never blocks; a message that cannot be taken comes back.
    pub fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        let mut message = message.into();
        if !self.is_ready() {
            return Err(SendError::NotReady(message.take()));
        }
        let queued = self.send.push(&mut message, &mut Packs::default());
        if queued { Ok(()) } else { Err(SendError::Full(message.take())) }
    }

    /// Shows what is to be written next, in order, and returns the number of slices filled in; 0 if there is nothing.
    #[must_use]
    pub fn gather<'a>(&'a self, slices: &mut [&'a [u8]]) -> usize {
        self.send.gather(slices)
    }

    /// So many of the octets that were gathered last are written. Nothing else may be done with the connection between
    /// the two calls, since a PONG or a message that is queued in between may come before what was gathered.
    pub fn sent(&mut self, octets: usize) {
        self.send.sent(octets, &mut Packs::default());
    }

    /// The caller stops reading: the deadlines for octets to come stand still until [`resume`](Connection::resume).
    pub fn pause(&mut self, now: Instant) {
        self.liveness.pause(now);
    }

    /// The caller reads again.
    pub fn resume(&mut self, now: Instant) {
        self.liveness.resume(now, &mut self.timers);
    }

    /// Is the handshake complete, and nothing wrong since?
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Traffic)
    }

    /// The first error sticks, and is told to the peer where the handshake has an ERROR for it.
    fn fail(&mut self, error: Error) -> Error {
        if matches!(self.state, State::Failed(_)) {
            return error;
        }
        if let Some(reason) = error.reason_for_peer() {
            encode::error(self.send.control(), reason);
        }
        self.timers = Timers::default();
        self.state = State::Failed(error.clone());
        error
    }

    /// The memory of what came and is no whole message or command yet, in octets: up to twice as much as will come.
    pub(crate) fn unfinished_octets(&self) -> usize {
        self.decoder.held()
    }

    /// Does `input` go on with a message, and not with a command?
    pub(crate) fn is_message_next(&self, input: &[u8]) -> bool {
        self.decoder.is_message_next(input)
    }

    /// How many octets are missing of a frame that has begun, if with them there is a large message.
    #[cfg(feature = "net")]
    pub(crate) fn missing_of_large(&self) -> usize {
        self.decoder.missing_of_large()
    }

    pub(crate) fn queue(&self) -> &SendQueue {
        &self.send
    }

    pub(crate) fn queue_mut(&mut self) -> &mut SendQueue {
        &mut self.send
    }

    /// What is queued, when the connection itself has come to its end.
    pub(crate) fn into_queue(mut self) -> SendQueue {
        self.send.settle();
        self.send
    }

    /// The octets that are still worth writing before the transport is closed: commands such as an ERROR. Empty if a
    /// message was begun, since a command must not come inside it.
    pub fn into_last_words(self) -> Bytes {
        self.into_queue().take_last_words()
    }
}

#[cfg(test)]
mod tests;

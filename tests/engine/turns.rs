//! One poll, and in it engines of ours and raw peers: all that a test needs, on one thread.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use zmio::net::TcpOptions;
use zmio::socket::{Dealer, Pattern, Router};
use zmio::{Endpoint, Engine, Event, Options, PeerId, Socket};

use crate::octets::{self, Frame};

/// How long anything may take that is expected to happen. A pass never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tokens of each engine, except where a test says otherwise.
const TOKENS: usize = 1000;

/// Where the tokens of raw peers begin, far from those of engines.
const RAW: usize = 1 << 30;

/// A poll and all that is in it. Each turn drives everything once.
pub(crate) struct Loop {
    poll: Poll,
    events: Events,
    tokens: usize,
    pub(crate) routers: Vec<Node<Router>>,
    pub(crate) dealers: Vec<Node<Dealer>>,
    pub(crate) raws: Vec<Raw>,
}

/// An engine and the events that it gave.
pub(crate) struct Node<P: Pattern> {
    pub(crate) engine: Engine<P>,
    pub(crate) events: Vec<Event>,
    receives: bool,
}

/// A peer made of octets alone.
pub(crate) struct Raw {
    io: TcpStream,
    pub(crate) received: Vec<u8>,
    outgoing: VecDeque<u8>,
    /// The other side takes no more for now.
    pub(crate) blocked: bool,
    /// Whether anything is read at all.
    pub(crate) reads: bool,
    pub(crate) end: Option<End>,
}

/// How a raw peer saw its connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Eof,
    Reset,
}

impl Loop {
    pub(crate) fn new() -> Self {
        Self {
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(256),
            tokens: 0,
            routers: Vec::new(),
            dealers: Vec::new(),
            raws: Vec::new(),
        }
    }

    /// Adds a ROUTER. The first added is `routers[0]`, and so on.
    pub(crate) fn router(&mut self, options: Options) -> &mut Node<Router> {
        self.router_with(options, TOKENS, TcpOptions::new())
    }

    pub(crate) fn router_with(&mut self, options: Options, tokens: usize, tcp: TcpOptions) -> &mut Node<Router> {
        let socket = Socket::router(options, self.tokens as u64);
        let node = self.node(socket, tokens, tcp);
        self.routers.push(node);
        self.routers.last_mut().expect("just pushed")
    }

    /// Adds a DEALER. The first added is `dealers[0]`, and so on.
    pub(crate) fn dealer(&mut self, options: Options) -> &mut Node<Dealer> {
        let socket = Socket::dealer(options, self.tokens as u64);
        let node = self.node(socket, TOKENS, TcpOptions::new());
        self.dealers.push(node);
        self.dealers.last_mut().expect("just pushed")
    }

    fn node<P: Pattern>(&mut self, socket: Socket<P>, tokens: usize, tcp: TcpOptions) -> Node<P> {
        let range = self.tokens..self.tokens + tokens;
        self.tokens = range.end;
        let engine = Engine::new(self.poll.registry(), range, socket, tcp).expect("an engine");
        Node { engine, events: Vec::new(), receives: true }
    }

    /// Adds a raw peer that connects to `endpoint`. The first added is `raws[0]`, and so on.
    pub(crate) fn raw(&mut self, endpoint: &Endpoint) -> &mut Raw {
        let address = SocketAddr::from(([127, 0, 0, 1], endpoint.port()));
        let io = TcpStream::connect(endpoint.address().unwrap_or(address)).expect("a stream");
        let mut raw =
            Raw { io, received: Vec::new(), outgoing: VecDeque::new(), blocked: true, reads: true, end: None };
        let token = Token(RAW + self.raws.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut raw.io, token, both).expect("registered");
        self.raws.push(raw);
        self.raws.last_mut().expect("just pushed")
    }

    /// Drives everything until `done` says so; panics with `what` if that takes too long.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}; {}", self.seen());
            self.turn(PATIENCE);
        }
    }

    /// Drives everything until nothing happens any more: there are no events and no work is left.
    #[track_caller]
    pub(crate) fn until_quiet(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.turn(Duration::from_millis(20)) {
            assert!(Instant::now() < deadline, "there is no end of it; {}", self.seen());
        }
    }

    /// Drives everything once, and returns whether there was anything to do.
    pub(crate) fn turn(&mut self, patience: Duration) -> bool {
        let routers = self.routers.iter().map(|node| node.engine.timeout());
        let dealers = self.dealers.iter().map(|node| node.engine.timeout());
        let timeout = routers.chain(dealers).flatten().min();
        match self.poll.poll(&mut self.events, Some(patience.min(timeout.unwrap_or(patience)))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("poll: {error}"),
            _ => {}
        }
        for node in &mut self.routers {
            node.turn(&self.events);
        }
        for node in &mut self.dealers {
            node.turn(&self.events);
        }
        for raw in &mut self.raws {
            raw.pump();
        }
        !self.events.is_empty() || timeout == Some(Duration::ZERO)
    }

    fn seen(&self) -> String {
        let routers: Vec<_> = self.routers.iter().map(Node::last_events).collect();
        let dealers: Vec<_> = self.dealers.iter().map(Node::last_events).collect();
        format!("the last events: routers {routers:?}, dealers {dealers:?}")
    }
}

impl<P: Pattern> Node<P> {
    #[track_caller]
    pub(crate) fn bind(&mut self, endpoint: &str) -> Endpoint {
        let endpoint = endpoint.parse().expect("an endpoint");
        self.engine.bind(&endpoint).expect("bound")
    }

    #[track_caller]
    pub(crate) fn connect(&mut self, endpoint: &Endpoint) -> PeerId {
        self.engine.connect(endpoint).expect("an endpoint to connect to")
    }

    /// The peers of all `Connected` so far.
    pub(crate) fn connected(&self) -> Vec<PeerId> {
        self.pick(|event| match event {
            Event::Connected { peer, .. } => Some(*peer),
            _ => None,
        })
    }

    /// The last frames of all messages so far, with their senders.
    pub(crate) fn messages(&self) -> Vec<(PeerId, Vec<u8>)> {
        self.pick(|event| match event {
            Event::Message { peer, message } => Some((*peer, message.frames().last()?.to_vec())),
            _ => None,
        })
    }

    /// How many messages came so far.
    pub(crate) fn message_count(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Message { .. })).count()
    }

    /// What `pick` takes of all events so far.
    pub(crate) fn pick<T>(&self, pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.events.iter().filter_map(pick).collect()
    }

    /// Takes no events from now on.
    pub(crate) fn stop_receiving(&mut self) {
        self.receives = false;
    }

    /// Takes events again, those that wait first.
    pub(crate) fn start_receiving(&mut self) {
        self.receives = true;
        self.receive();
        self.engine.flush();
    }

    fn receive(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
    }

    fn turn(&mut self, events: &Events) {
        self.engine.process(events);
        if self.receives {
            self.receive();
        }
        self.engine.flush();
    }

    fn last_events(&self) -> &[Event] {
        let from = self.events.len().saturating_sub(4);
        &self.events[from..]
    }
}

impl Raw {
    /// Queues octets to be written as fast as the other side takes them.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.outgoing.extend(octets);
        self.pump();
    }

    /// Queues a greeting and READY.
    pub(crate) fn greet(&mut self, socket_type: &str) {
        self.send(&octets::greeting());
        self.send(&octets::ready(socket_type, b""));
    }

    /// Ends our side; what was queued must be written by now.
    pub(crate) fn shutdown(&self) {
        assert!(self.outgoing.is_empty(), "not written yet");
        self.io.shutdown(Shutdown::Write).expect("shut down");
    }

    pub(crate) fn has_written_all(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// The whole frames after the greeting.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        octets::frames(self.received.get(64..).unwrap_or_default()).0
    }

    pub(crate) fn pump(&mut self) {
        self.blocked = false;
        while !self.outgoing.is_empty() && !self.blocked {
            match self.io.write(self.outgoing.as_slices().0) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => self.blocked = true,
                    ErrorKind::Interrupted => {}
                    _ => self.outgoing.clear(),
                },
            }
        }
        let mut buffer = [0; 65536];
        while self.reads && self.end.is_none() {
            match self.io.read(&mut buffer) {
                Ok(0) => self.end = Some(End::Eof),
                Ok(octets) => self.received.extend_from_slice(&buffer[..octets]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return,
                    ErrorKind::Interrupted => {}
                    _ => self.end = Some(End::Reset),
                },
            }
        }
    }
}

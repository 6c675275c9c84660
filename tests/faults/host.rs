//! The engine under attack, and the good client that must not notice.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zmio::socket::{Address, Router};
use zmio::{Cause, Engine, Event, Message, Options, PeerId};

use crate::support::PATIENCE;
use crate::support::libzmq::Libzmq;
use crate::support::node::{self, App, Node};
use crate::support::octets;

/// Answers what asks and counts what else comes.
#[derive(Default)]
pub(crate) struct Clerk {
    heard: BTreeMap<PeerId, u64>,
}

impl App<Router> for Clerk {
    type Event = Event;

    fn turn(&mut self, _: &mut Engine<Router>) {}

    fn poll_event(&mut self, engine: &mut Engine<Router>) -> Option<Event> {
        loop {
            let (peer, message) = match engine.poll_event()? {
                Event::Message { peer, message } => (peer, message),
                other => return Some(other),
            };
            let mut frames = message.frames();
            if frames.next() == Some(b"ask") {
                let question = frames.next().unwrap_or_default();
                // Who left, or does not read, gets no answer.
                let _ = engine.socket_mut().send(peer, Message::multipart([&b"answer"[..], question]));
            } else {
                *self.heard.entry(peer).or_default() += 1;
            }
        }
    }

    fn timeout(&self, engine: &Engine<Router>) -> Option<Duration> {
        engine.timeout()
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct End {
    /// Was its handshake complete?
    pub(crate) connected: bool,
    pub(crate) cause: Cause,
    /// What was still to be sent to it.
    pub(crate) unsent: u64,
}

impl End {
    #[track_caller]
    pub(crate) fn assert(&self, connected: bool, cause: &str) {
        let words = self.cause.to_string();
        assert!(words.contains(cause), "the cause says «{words}», not «{cause}»");
        assert_eq!(self.connected, connected, "{words}");
    }
}

/// A ROUTER on an engine, and a good client of it.
pub(crate) struct Host {
    pub(crate) node: Node<Router, Clerk>,
    pub(crate) endpoint: String,
    good: Libzmq,
    asked: Cell<u32>,
}

impl Host {
    pub(crate) fn new(options: Options) -> Self {
        let node = node::router_with(options, Clerk::default());
        let endpoint = node.bind();
        // If it is cut off it does not come back, and its next question fails the test.
        let good = Libzmq::dealer().without_reconnect();
        good.connect(&endpoint);
        let host = Host { node, endpoint, good, asked: Cell::new(0) };
        host.exchange();
        host
    }

    /// The good client asks and is answered.
    #[track_caller]
    pub(crate) fn exchange(&self) {
        self.asked.set(self.asked.get() + 1);
        self.exchange_with(&self.good);
    }

    #[track_caller]
    fn exchange_with(&self, client: &Libzmq) {
        let question = self.asked.get().to_be_bytes();
        client.send(&[&b"ask"[..], &question]);
        assert_eq!(client.recv(), [&b"answer"[..], &question]);
    }

    /// How the connection from `address` ends; the good client is served until then.
    #[track_caller]
    pub(crate) fn end_of(&self, address: SocketAddr) -> End {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.exchange();
            let end = self.node.wait_within(Duration::from_millis(10), |event| match event {
                Event::Rejected(end) if end.address == Address::Ip(address) => {
                    Some(End { connected: false, cause: end.cause.clone(), unsent: 0 })
                }
                Event::Disconnected(end) if end.address == Address::Ip(address) => {
                    Some(End { connected: true, cause: end.cause.clone(), unsent: end.counts.queued })
                }
                _ => None,
            });
            if let Some(end) = end {
                return end;
            }
            assert!(Instant::now() < deadline, "waited in vain for the end of {address}");
        }
    }

    /// Which of two was rejected, for want of a name of its own.
    #[track_caller]
    pub(crate) fn rejected_of(&self, addresses: [SocketAddr; 2]) -> SocketAddr {
        self.node.wait_for("a rejection for the name", |event| match event {
            Event::Rejected(end) if end.cause == Cause::DuplicateIdentity => {
                addresses.into_iter().find(|address| end.address == Address::Ip(*address))
            }
            _ => None,
        })
    }

    /// Waits for the handshake of the peer at `address`.
    #[track_caller]
    pub(crate) fn connected(&self, address: SocketAddr) -> PeerId {
        self.node.wait_for("Connected", |event| match event {
            Event::Connected { peer, info } if info.address == Address::Ip(address) => Some(*peer),
            _ => None,
        })
    }

    /// How many messages came from a peer, besides questions.
    pub(crate) fn heard(&self, peer: PeerId) -> u64 {
        self.node.with_app(move |_, clerk| clerk.heard.get(&peer).copied().unwrap_or(0))
    }

    /// The good client is served until so many messages came from a peer.
    #[track_caller]
    pub(crate) fn wait_until_heard(&self, peer: PeerId, messages: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.heard(peer) < messages {
            self.exchange();
            assert!(Instant::now() < deadline, "only {} of {messages} messages came", self.heard(peer));
        }
        assert_eq!(self.heard(peer), messages);
    }

    /// The good client and a newcomer are served, and nobody else has anything any more: no connection, and so no
    /// descriptor, no place in the socket, and nothing under way.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        self.exchange();
        let newcomer = Libzmq::dealer();
        newcomer.connect(&self.endpoint);
        self.exchange_with(&newcomer);
        drop(newcomer);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Each makes a turn, and events that are taken in one make room that is seen in the next.
            self.exchange();
            let left = self.node.with(|engine| {
                let socket = engine.socket();
                (engine.connections(), socket.places(), socket.peers().len(), socket.unfinished_octets())
            });
            if left == (1, 1, 1, 0) {
                return;
            }
            assert!(Instant::now() < deadline, "{left:?} connections, places, peers and octets are left");
        }
    }
}

/// What a DEALER says first.
pub(crate) fn handshake(identity: &[u8]) -> Vec<u8> {
    [octets::greeting(), octets::ready("DEALER", identity)].concat()
}

//! A relay on its engine, as both commands run it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::time::Duration;

use mio::{Events, Registry};
use zmio::net::TcpOptions;
use zmio::socket::Router;
use zmio::{Engine, Options, Relay, RelayEvent, RelayOptions, Socket};

/// The relay, the ROUTER that it drives and the TCP connections below.
pub(crate) struct Hub {
    pub(crate) relay: Relay,
    pub(crate) engine: Engine<Router>,
}

impl Hub {
    /// Puts a relay into the caller's poll.
    pub(crate) fn new(
        registry: &Registry,
        tokens: Range<usize>,
        relay: RelayOptions,
        options: Options,
    ) -> io::Result<Self> {
        let socket = Socket::router(relay.apply(options), seed());
        Ok(Self { relay: Relay::new(relay), engine: Engine::new(registry, tokens, socket, TcpOptions::new())? })
    }

    /// One turn: reads what is ready, relays it, and writes.
    pub(crate) fn turn(&mut self, events: &Events) {
        self.engine.process(events);
        self.drive();
        self.engine.flush();
    }

    /// Takes what has come, and relays it.
    pub(crate) fn drive(&mut self) {
        self.relay.drive(self.engine.now(), self.engine.socket_mut());
    }

    /// How long the caller may sleep.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let patience =
            self.relay.poll_timeout(self.engine.socket()).map(|at| at.saturating_duration_since(self.engine.now()));
        sooner(self.engine.timeout(), patience)
    }

    /// What happened, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<RelayEvent> {
        self.relay.poll_event()
    }
}

/// The sooner of two deadlines that may both be absent.
pub(crate) fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// A seed for identities and back-off. The standard library keys its hash maps from the system's randomness.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one("zmio")
}

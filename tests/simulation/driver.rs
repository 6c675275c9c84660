//! Puts a real socket on the simulated network, as an engine would put it on TCP.
//!
//! It keeps to the letter of the contract and to nothing more: it drains outputs late and piecemeal, goes
//! on after a pause only when told, and writes only after a `Transmit`. So a wake-up that the socket
//! forgets is a hang here.

mod input;
mod output;

use std::collections::BTreeMap;

use std::time::Duration;

use zmio::socket::{Backoff, Pattern};
use zmio::{Heartbeat, Instant, Options, PeerId, Socket};

use crate::link::{Climate, Side};
use crate::net::{DialId, HostId, LinkId, Net};
use crate::rng::Rng;
use crate::tap::Tap;

/// The application on top of a socket.
pub(crate) trait App<P: Pattern> {
    /// Called once a turn, after its input. Answers when it wants a turn at the latest.
    fn act(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<P>) -> Option<u64>;

    /// Asked once a turn, after its output: when it wants a turn at the latest.
    fn due(&self, _socket: &Socket<P>) -> Option<u64> {
        None
    }
}

pub(crate) struct Node<P: Pattern, A: App<P>> {
    pub(crate) driver: Driver<P>,
    pub(crate) app: A,
}

impl<P: Pattern, A: App<P>> Node<P, A> {
    pub(crate) fn turn(&mut self, net: &mut Net) {
        self.driver.input(net);
        let backlog = self.driver.unreceived();
        self.driver.backlog += backlog;
        let next = self.app.act(net, self.driver.host, &mut self.driver.socket);
        self.driver.round += 1;
        self.driver.output(net);
        for next in next.into_iter().chain(self.app.due(&self.driver.socket)) {
            net.wake(self.driver.host, next.max(net.now));
        }
    }
}

struct Transport {
    link: LinkId,
    side: Side,
    /// What the socket did not take yet.
    rest: Vec<u8>,
    /// Not to be read until the socket says so.
    paused: bool,
    /// Between a `Transmit` and the moment when there is nothing left to gather.
    writing: bool,
    tap: usize,
}

/// A transport that the socket is done with.
struct Closing {
    link: LinkId,
    side: Side,
    last: Vec<u8>,
    until: u64,
}

pub(crate) struct Driver<P: Pattern> {
    pub(crate) host: HostId,
    pub(crate) socket: Socket<P>,
    /// Every connection there ever was, in order.
    pub(crate) taps: Vec<Tap>,
    /// Counts the turns: what happened in one round may be taken in any order.
    pub(crate) round: u64,
    /// Of a hundred chances to be late, how many are used.
    pub(crate) laziness: u64,
    /// In the last turn there was at least one call of `poll_action`, which is what ends a turn of broadcasts.
    pub(crate) ended_turn: bool,
    /// The octets that lay ready for the application in each turn since the last that was ended, summed up.
    pub(crate) backlog: u64,
    /// Never late, and reads all that there is.
    pub(crate) exact: bool,
    /// In microseconds, as the options of the socket have it.
    pub(crate) handshake: u64,
    pub(crate) ping_every: Option<u64>,
    /// When the socket asked for a dial.
    pub(crate) dialled_at: Vec<u64>,
    transports: BTreeMap<PeerId, Transport>,
    dials: BTreeMap<PeerId, DialId>,
    aborted: Vec<DialId>,
    closing: Vec<Closing>,
    stale: Vec<PeerId>,
    /// Each peer that ever had a connection, until the socket forgets it.
    known: Vec<PeerId>,
    accepting: bool,
    /// What is queued may be discarded, so that there may be a second `Transmit`.
    pub(crate) discards: bool,
    /// Another turn is due soon, since something was left for later.
    stirred: bool,
    /// After the last turn nothing was left for later.
    pub(crate) rests: bool,
}

impl<P: Pattern> Driver<P> {
    pub(crate) fn new(net: &mut Net, host: HostId, socket: Socket<P>) -> Self {
        net.wake(host, 0);
        Self {
            host,
            socket,
            taps: Vec::new(),
            round: 0,
            laziness: net.rng.pick(&[0, 10, 40]),
            ended_turn: false,
            backlog: 0,
            exact: false,
            handshake: 30_000_000,
            ping_every: None,
            dialled_at: Vec::new(),
            transports: BTreeMap::new(),
            dials: BTreeMap::new(),
            aborted: Vec::new(),
            closing: Vec::new(),
            stale: Vec::new(),
            known: Vec::new(),
            accepting: true,
            discards: false,
            stirred: false,
            rests: false,
        }
    }

    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting
    }

    pub(crate) fn connections(&self) -> usize {
        self.transports.len()
    }

    /// Octets that the application has not taken, of peers that are gone too.
    fn unreceived(&mut self) -> u64 {
        let mut octets = 0;
        self.known.retain(|peer| {
            let peer = self.socket.peer(*peer);
            octets += peer.map_or(0, |peer| peer.unreceived_octets());
            peer.is_some()
        });
        octets
    }

    /// Takes chance out of it.
    pub(crate) fn make_exact(&mut self) {
        (self.exact, self.laziness) = (true, 0);
    }

    /// Asserts, after a turn that left nothing for later, that the socket may be left alone until its deadline.
    fn assert_awake(&self, net: &Net) {
        assert!(!self.socket.has_actions(), "actions were given out to the last, and there are more");
        let due = self.socket.poll_timeout().map(micros);
        let due_by = |at: u64| due.is_some_and(|due| due <= at);
        for (peer, transport) in &self.transports {
            let tap = &self.taps[transport.tap];
            if !transport.writing {
                let left = self.socket.gather(*peer, &mut [&[]]);
                assert_eq!(left, 0, "{peer:?} has output, and nobody was told to write it");
            }
            let waits = self.socket.peer(*peer).is_some_and(|peer| peer.unreceived() > 0);
            let reason = waits || !self.socket.is_receiving();
            assert!(!transport.paused || reason, "{peer:?} is not read, and nothing of it waits to be received");
            match (tap.ready, self.ping_every) {
                (None, _) => assert!(due_by(tap.since + self.handshake), "no deadline for the handshake of {peer:?}"),
                (Some(_), Some(interval)) if tap.pings > 0 => {
                    assert!(due_by(net.now + interval), "no time for the next PING to {peer:?}: {due:?}");
                }
                _ => {}
            }
        }
    }

    /// Asserts that nothing deliverable is left behind: no wake-up was lost.
    pub(crate) fn assert_idle(&self, net: &Net) {
        assert!(self.dials.is_empty(), "a dial is still under way");
        for (peer, transport) in &self.transports {
            let mut slices: [&[u8]; 1] = [&[]];
            let left = self.socket.gather(*peer, &mut slices);
            // Heartbeats never end: what came or fell due just now may be left for the turn that is due at once.
            if self.rests && net.is_writable(transport.link, transport.side) {
                assert!(self.taps[transport.tap].output_is_whole(), "{peer:?} was left in the middle of a message");
                assert_eq!(left, 0, "{peer:?} has output that nobody was told to write");
            }
            let rest = if self.rests { transport.rest.len() } else { 0 };
            let unread = net.overdue(transport.link, transport.side) + rest;
            let paused = transport.paused;
            assert_eq!(unread, 0, "{peer:?} has input that nobody reads (paused: {paused})");
        }
    }
}

/// Options that bound how long something may take, and what a driver is to know of them.
pub(crate) struct Deadlines {
    handshake: u64,
    ping_every: Option<u64>,
}

impl Deadlines {
    /// What may be too short for rough weather, and never is for fair.
    pub(crate) fn random(rng: &mut Rng, options: Options, climate: Climate) -> (Options, Self) {
        let handshake = rng.pick(&[30_000_000, 30_000_000, 5_000_000]);
        let first = Duration::from_millis(rng.pick(&[0, 1, 100, 100, 1000]));
        let cap = Duration::from_millis(rng.pick(&[0, 50, 5_000, 30_000]));
        let mut options = options
            .handshake_timeout(Duration::from_micros(handshake))
            .backoff(Backoff { first, cap })
            .max_handshakes(rng.pick(&[Some(1), Some(3), Some(1_024), None]));
        let mut ping_every = None;
        // Where little goes through, a PING takes its time.
        if climate.narrow >= 600 && rng.percent(20) {
            let interval = rng.pick(&[900_000, 3_000_000, 3_000_000]);
            let heartbeat = Heartbeat::every(Duration::from_micros(interval)).timeout(Duration::from_secs(3));
            let ttl = Duration::from_secs(rng.pick(&[0, 6]));
            options = options.heartbeat(heartbeat.ttl(ttl));
            ping_every = Some(interval);
        }
        (options, Self { handshake, ping_every })
    }

    pub(crate) fn tell<P: Pattern>(&self, driver: &mut Driver<P>) {
        (driver.handshake, driver.ping_every) = (self.handshake, self.ping_every);
    }
}

/// A deadline in whole microseconds, never before it.
pub(crate) fn micros(at: Instant) -> u64 {
    at.since_epoch().as_nanos().div_ceil(1000) as u64
}

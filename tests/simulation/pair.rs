//! Two sockets with one link after another between them, and nothing left to chance: what happens, and when, is exact.

use zmio::conn::{Error, Timeout};
use zmio::socket::{Dealer, Pattern, Router};
use zmio::{Cause, Event, Message, Options, PeerId, Socket};

use crate::driver::{App, Driver, Node};
use crate::link::{Climate, Fault, Side};
use crate::net::{HostId, Net};
use crate::payload::Id;
use crate::tap::{Over, Tap};

pub(crate) const MILLI: u64 = 1000;
pub(crate) const SECOND: u64 = 1000 * MILLI;
pub(crate) const HANDSHAKE: u64 = 30 * SECOND;

const TARGET: &str = "sim://pair";
const MOST_TURNS: u64 = 20_000;

/// A pattern whose sockets say something to each peer that they meet.
pub(crate) trait Speaks: Pattern + Sized {
    fn socket(options: Options, seed: u64) -> Socket<Self>;

    /// Says whether the socket took the message.
    fn say(socket: &mut Socket<Self>, peer: Option<PeerId>, message: Message) -> bool;
}

impl Speaks for Dealer {
    fn socket(options: Options, seed: u64) -> Socket<Self> {
        Socket::dealer(options, seed)
    }

    fn say(socket: &mut Socket<Self>, _: Option<PeerId>, message: Message) -> bool {
        socket.send(message).is_ok()
    }
}

impl Speaks for Router {
    fn socket(options: Options, seed: u64) -> Socket<Self> {
        Socket::router(options, seed)
    }

    fn say(socket: &mut Socket<Self>, peer: Option<PeerId>, message: Message) -> bool {
        peer.is_some_and(|peer| socket.send(peer, message).is_ok())
    }
}

/// How a connection ended, as the application was told.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at: u64,
    pub(crate) peer: PeerId,
    pub(crate) cause: Cause,
    pub(crate) was_connected: bool,
}

/// An application that says one thing to each peer that it meets, and writes down what happens.
#[derive(Default)]
pub(crate) struct Log {
    who: u32,
    /// How much it says to each.
    pub(crate) talk: u32,
    /// How much it says before it meets anybody, and when it says one thing more.
    pub(crate) early: u32,
    pub(crate) says_at: Option<u64>,
    /// Takes no events before this time, but for the first so many.
    pub(crate) asleep: Option<(usize, u64)>,
    /// When to close the socket, and for how long to linger.
    pub(crate) close: Option<(u64, Option<u64>)>,
    pub(crate) connected: Vec<PeerId>,
    pub(crate) connects: u32,
    pub(crate) ends: Vec<End>,
    pub(crate) got: Vec<Id>,
    pub(crate) said: u32,
    /// When a dial or a connection failed, and how long the next dial is to wait, in microseconds.
    pub(crate) retries: Vec<(u64, u64)>,
    /// When the last event came, and how many messages were not sent.
    pub(crate) closed: Option<(u64, u64)>,
    taken: usize,
}

impl<P: Speaks> App<P> for Log {
    fn act(&mut self, net: &mut Net, _: HostId, socket: &mut Socket<P>) -> Option<u64> {
        for _ in 0..std::mem::take(&mut self.early) {
            self.say(socket, None);
        }
        if self.says_at.is_some_and(|at| at <= net.now) {
            self.says_at = None;
            self.say(socket, self.connected.first().copied());
        }
        if let Some((at, linger)) = self.close.filter(|&(at, _)| at <= net.now) {
            self.close = None;
            assert!(at == net.now, "woken too late");
            socket.close(net.instant(), linger.map(std::time::Duration::from_micros));
        }
        let sleep = self.asleep;
        let asleep = |taken| sleep.filter(|&(most, until)| taken >= most && net.now < until).map(|(_, at)| at);
        let mut wake = None;
        loop {
            if let Some(until) = asleep(self.taken) {
                wake = Some(until);
                break;
            }
            let Some(event) = socket.poll_event() else {
                break;
            };
            self.taken += 1;
            match event {
                Event::Connected { peer, .. } => {
                    assert!(!self.connected.contains(&peer), "{peer:?} connected twice");
                    self.connected.push(peer);
                    (0..self.talk).for_each(|_| self.say(socket, Some(peer)));
                    self.connects += 1;
                }
                Event::Message { peer, message } => {
                    assert!(self.connected.contains(&peer), "a message outside of a connection");
                    self.got.push(Id::of(&message.frames().collect::<Vec<_>>()));
                }
                Event::Disconnected(gone) => {
                    let place = self.connected.iter().position(|&peer| peer == gone.peer);
                    self.connected.remove(place.expect("it left without having come"));
                    self.ends.push(End { at: net.now, peer: gone.peer, cause: gone.cause, was_connected: true });
                }
                Event::Rejected(gone) => {
                    assert!(!self.connected.contains(&gone.peer), "rejected while connected");
                    self.ends.push(End { at: net.now, peer: gone.peer, cause: gone.cause, was_connected: false });
                }
                Event::Retrying { after, .. } => self.retries.push((net.now, after.as_micros() as u64)),
                Event::Closed { unsent } => {
                    assert_eq!(self.closed.replace((net.now, unsent)), None, "closed twice");
                }
                other => panic!("{other:?}"),
            }
        }
        self.close.map(|(at, _)| at).into_iter().chain(self.says_at).chain(wake).min()
    }
}

impl Log {
    fn say<P: Speaks>(&mut self, socket: &mut Socket<P>, peer: Option<PeerId>) {
        let id = Id { who: self.who, seq: self.said };
        self.said += u32::from(P::say(socket, peer, Message::multipart(id.frames())));
    }
}

pub(crate) type Half<P> = Node<P, Log>;

pub(crate) struct PairWorld<P: Speaks, Q: Speaks> {
    pub(crate) net: Net,
    pub(crate) dialler: Half<P>,
    pub(crate) listener: Half<Q>,
    turns: u64,
}

impl<P: Speaks, Q: Speaks> PairWorld<P, Q> {
    /// The first links have these faults; the others have none.
    pub(crate) fn new(dialler: Options, listener: Options, faults: &[(Side, u64, Fault)]) -> Self {
        let mut net = Net::new(1, Climate::EXACT);
        net.faults = faults.iter().copied().collect();
        let mut socket = P::socket(dialler, 1);
        socket.connect(net.instant(), TARGET);
        let mut dialler =
            Node { driver: Driver::new(&mut net, 0, socket), app: Log { who: 1, talk: 1, ..Log::default() } };
        let driver = Driver::new(&mut net, 1, Q::socket(listener, 2));
        let mut listener = Node { driver, app: Log { who: 2, talk: 1, ..Log::default() } };
        net.listen(TARGET, 1);
        dialler.driver.make_exact();
        listener.driver.make_exact();
        Self { net, dialler, listener, turns: 0 }
    }

    pub(crate) fn stop_listening(&mut self) {
        self.net.stop_listening(TARGET);
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(host) = self.net.next_turn(until) {
            self.turns += 1;
            assert!(self.turns < MOST_TURNS, "the two keep each other busy for ever");
            match host {
                0 => self.dialler.turn(&mut self.net),
                _ => self.listener.turn(&mut self.net),
            }
        }
        self.net.now = until;
    }

    pub(crate) fn run_for(&mut self, micros: u64) {
        self.run_until(self.net.now + micros);
    }

    /// Goes on until nothing is under way: PINGs never cease.
    pub(crate) fn let_arrive(&mut self) {
        let links = [&self.dialler.driver.taps, &self.listener.driver.taps].map(|taps| taps.last().map(|tap| tap.link));
        for link in links.into_iter().flatten() {
            while [Side::Dialler, Side::Listener].iter().any(|&side| self.net.unread(link, side) > 0) {
                self.run_for(MILLI / 10);
            }
        }
    }

    /// Both are connected, have heard each other, and rest.
    pub(crate) fn check_settled(&self) {
        self.dialler.check_settled(&self.net, &self.listener.app);
        self.listener.check_settled(&self.net, &self.dialler.app);
    }
}

impl<P: Speaks> Half<P> {
    fn check_settled(&self, net: &Net, other: &Log) {
        let (driver, log) = (&self.driver, &self.app);
        driver.assert_idle(net);
        assert_eq!(log.connected.len(), 1, "not connected, or twice");
        assert_eq!(driver.connections(), 1, "a transport is left over");
        assert!(!driver.socket.has_events() && !driver.socket.has_actions(), "something is left to do");
        let last = log.got.last().map(|id| id.seq + 1);
        assert_eq!(last, Some(other.said), "what was said last never came");
        assert!(log.got.windows(2).all(|pair| pair[0] < pair[1]), "messages came twice, or out of order");
        assert_eq!(driver.taps.len(), log.ends.len() + 1, "connections and ends do not match");
    }

    /// Each connection ended as its peer's octets and the clock demand, at that very microsecond.
    pub(crate) fn check_ends(&self, now: u64, timing: Timing) {
        let mut ends = self.app.ends.clone();
        for tap in &self.driver.taps {
            let place = ends.iter().position(|end| end.peer == tap.peer);
            let end = tap.over.map(|_| ends.remove(place.expect("a connection ended, and nobody was told")));
            timing.check(tap, end.as_ref(), now);
        }
        assert!(ends.is_empty(), "ends of no connection: {ends:?}");
    }
}

/// What a socket was told about deadlines, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) handshake: u64,
    /// Interval and timeout.
    pub(crate) heartbeat: Option<(u64, u64)>,
    /// What the peer asks for in its PINGs.
    pub(crate) ttl: Option<u64>,
}

impl Timing {
    pub(crate) const NONE: Self = Self { handshake: HANDSHAKE, heartbeat: None, ttl: None };

    /// For a connection that is never paused.
    fn check(&self, tap: &Tap, end: Option<&End>, now: u64) {
        let over_at = tap.over_at.unwrap_or(now);
        if let Some(end) = end {
            assert_eq!(end.at, over_at, "the application heard of it at another time");
            assert_eq!(end.was_connected, tap.ready.is_some(), "connected without READY, or the other way round");
        }
        let due = self.due(tap, over_at);
        match (tap.over, end.map(|end| &end.cause)) {
            // The end of the transport may show in the very turn in which the deadline fires.
            (Some(_), Some(Cause::Protocol(Error::Timeout(timeout)))) => {
                assert_eq!(due, Some((over_at, *timeout)), "a deadline that nobody set: {:?}", tap.peer);
            }
            (Some(Over::Closed(_)), other) => panic!("closed because of {other:?}"),
            (Some(Over::Lost(..)), Some(Cause::Transport(_))) | (None, None) => {
                assert!(due.is_none_or(|(at, _)| at >= over_at), "a deadline passed: {due:?}, now {over_at}");
            }
            (over, cause) => panic!("{over:?}, but {cause:?}"),
        }
    }

    /// The first deadline that no octet has moved, of those up to `until`.
    fn due(&self, tap: &Tap, until: u64) -> Option<(u64, Timeout)> {
        let Some(ready) = tap.ready_at else {
            return Some((tap.since + self.handshake, Timeout::Handshake));
        };
        let heard = |from: u64, to: u64| tap.heard_at.iter().any(|&at| from < at && at <= to);
        let mut due = Vec::new();
        if let Some((interval, timeout)) = self.heartbeat {
            let first = tap.pinged_at.first().copied();
            assert!(
                until < ready + interval || first == Some(ready + interval),
                "the first PING went out at {first:?}"
            );
            let unanswered = tap.pinged_at.iter().find(|&&at| !heard(at, at + timeout));
            due.extend(unanswered.map(|at| (at + timeout, Timeout::Heartbeat)));
            let rare = tap.pinged_at.windows(2).find(|pair| pair[1] - pair[0] > interval.max(timeout) + interval);
            assert_eq!(rare, None, "a PING was left out");
        }
        if let (Some(ttl), Some(&last)) = (self.ttl, tap.heard_at.last()) {
            // It is asked for with the first PING, which is the first to be heard an interval later.
            let asked = tap.heard_at.iter().any(|&at| at > ready + ttl / 4);
            due.extend(asked.then_some((last + ttl, Timeout::Ttl)));
        }
        due.into_iter().min_by_key(|&(at, _)| at)
    }
}

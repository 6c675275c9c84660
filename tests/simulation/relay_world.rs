//! A whole relay with its clients, in one process and no socket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zmio::socket::{Counts, Dealer, Duplicates, Router};
use zmio::{Cause, Mark, Options, PeerId, Relay, RelayEvent, RelayOptions, Slow, Socket};

use crate::dealer::{DealerApp, DealerNode};
use crate::driver::{App, Deadlines, Driver, Node, micros};
use crate::link::Climate;
use crate::net::{HostId, Net};
use crate::payload::LARGE;
use crate::raw::{Plan, Raw};
use crate::rng::Rng;

pub(crate) const TARGET: &str = "sim://relay";
const SECOND: u64 = 1_000_000;

/// More turns than this in one run are a loop.
const MOST_TURNS: u64 = 300_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Drop,
    Wait,
    Disconnect,
}

/// How long the slowest client is waited for, in microseconds.
const PATIENCE: u64 = 5 * SECOND;

/// A driver may be late by this much.
const LATENESS: u64 = 100_000;

impl Policy {
    fn slow(self) -> Slow {
        match self {
            Self::Drop => Slow::Drop,
            Self::Wait => Slow::Wait { patience: Duration::from_micros(PATIENCE) },
            Self::Disconnect => Slow::Disconnect,
        }
    }
}

pub(crate) struct RelayApp {
    pub(crate) relay: Relay,
    pub(crate) joined: BTreeSet<PeerId>,
    pub(crate) left: BTreeMap<PeerId, Counts>,
    /// Why clients left, in order.
    pub(crate) causes: Vec<Cause>,
    policy: Policy,
    /// Our own count of how long clients are full, which ones were out for it, and the times of both.
    full_since: BTreeMap<PeerId, u64>,
    pub(crate) too_slow: Vec<(u64, u64)>,
}

impl RelayApp {
    /// Holds the patience of the relay against our own count, just before it looks itself.
    fn count(&mut self, now: u64, socket: &mut Socket<Router>) {
        let before = std::mem::take(&mut self.full_since);
        for peer in socket.full_peers() {
            let since = before.get(&peer).copied().unwrap_or(now);
            assert!(now <= since + PATIENCE + LATENESS, "{peer:?} is full since {since}, and nobody does anything");
            self.full_since.insert(peer, since);
        }
    }

    fn out(&mut self, now: u64, peer: PeerId) {
        if self.policy == Policy::Wait {
            let since = self.full_since.get(&peer).copied().expect("it was not full");
            assert!(since + PATIENCE <= now, "{peer:?} was full since {since} only");
            self.too_slow.push((since, now));
        }
    }
}

impl App<Router> for RelayApp {
    fn act(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Router>) -> Option<u64> {
        if self.policy == Policy::Wait {
            self.count(net.now, socket);
        }
        let count = socket.peers().len();
        let before: Vec<PeerId> = if self.full_since.is_empty() { Vec::new() } else { socket.peers().collect() };
        self.relay.drive(net.instant(), socket);
        // The relay itself disconnects for one reason alone.
        let is_out = |peer: &PeerId| socket.peer(*peer).is_none_or(|peer| !peer.is_connected());
        let out: Vec<PeerId> = before.into_iter().filter(is_out).collect();
        assert!(self.policy != Policy::Wait || socket.peers().len() + out.len() == count, "out, and was not full");
        out.into_iter().for_each(|peer| self.out(net.now, peer));
        while let Some(event) = self.relay.poll_event() {
            match event {
                RelayEvent::Joined { peer, .. } => {
                    net.trace(host, "joined", peer.index() as u64, 0);
                    assert!(!self.left.contains_key(&peer), "{peer:?} came back from the dead");
                    assert!(self.joined.insert(peer), "{peer:?} joined twice");
                }
                RelayEvent::Left(gone) => {
                    net.trace(host, "left", gone.peer.index() as u64, gone.counts.sent);
                    assert!(self.joined.remove(&gone.peer), "{:?} left without having joined", gone.peer);
                    self.left.insert(gone.peer, gone.counts);
                    self.causes.push(gone.cause);
                }
                _ => {}
            }
        }
        None
    }

    fn due(&self, socket: &Socket<Router>) -> Option<u64> {
        self.relay.poll_timeout(socket).map(micros)
    }
}

pub(crate) enum Client {
    Raw(Box<Raw>),
    Dealer(Box<DealerNode>),
}

impl Client {
    fn turn(&mut self, net: &mut Net) {
        match self {
            Self::Raw(raw) => raw.turn(net),
            Self::Dealer(node) => node.turn(net),
        }
    }

    fn leave(&mut self, net: &mut Net) {
        match self {
            Self::Raw(raw) => raw.leave(net),
            Self::Dealer(node) => {
                node.driver.socket.close(net.instant(), Some(Duration::ZERO));
                net.wake(node.driver.host, 0);
            }
        }
    }
}

pub(crate) struct RelayWorld {
    pub(crate) net: Net,
    pub(crate) policy: Policy,
    mark: u64,
    queues: BTreeMap<PeerId, u64>,
    /// The most octets that a turn has brought so far.
    largest_turn: u64,
    pub(crate) relay: Node<Router, RelayApp>,
    pub(crate) clients: Vec<Client>,
    turns: u64,
}

impl RelayWorld {
    /// A relay that keeps at most `mark` octets for a client, and no client yet.
    pub(crate) fn new(seed: u64, climate: Climate, policy: Policy, mark: u64, options: Options, receive: Mark) -> Self {
        let mut net = Net::new(seed, climate);
        let relay_options = RelayOptions::new().slow(policy.slow()).mark_octets(mark);
        let socket = Socket::router(relay_options.apply(options).receive_mark(receive), seed);
        let app = RelayApp {
            relay: Relay::new(relay_options),
            joined: BTreeSet::new(),
            left: BTreeMap::new(),
            causes: Vec::new(),
            policy,
            full_since: BTreeMap::new(),
            too_slow: Vec::new(),
        };
        let driver = Driver::new(&mut net, 0, socket);
        net.listen(TARGET, 0);
        Self {
            net,
            policy,
            mark,
            queues: BTreeMap::new(),
            largest_turn: 0,
            relay: Node { driver, app },
            clients: Vec::new(),
            turns: 0,
        }
    }

    /// Everything about it follows from the seed.
    pub(crate) fn random(seed: u64, policy: Policy) -> Self {
        let mut rng = Rng::new(seed);
        let crowd = rng.pick(&[3, 5, 8, 20]);
        let clients = rng.within((2, crowd));
        // What many say to many through the eye of a needle takes too long.
        let narrow: &[u64] = if clients > 5 { &[600, 20_000] } else { &[4, 60, 600, 20_000] };
        let climate = Climate {
            cuts: rng.pick(&[0, 0, 20, 60]),
            refusals: rng.pick(&[0, 0, 20]),
            stalls: rng.pick(&[0, 5, 50]),
            stall: rng.pick(&[10_000, 2 * SECOND]),
            narrow: rng.pick(narrow),
            holes: rng.pick(&[0, 0, 30]),
            exact: false,
        };
        let mark = rng.pick(&[1, 500, 5_000, 1_000_000]);
        let receive = Mark { messages: rng.pick(&[Some(1), Some(10), None]), octets: rng.pick(&[Some(500), None]) };
        let most = rng.within((1, clients)) as usize;
        let duplicates = if rng.percent(30) { Duplicates::Handover } else { Duplicates::RejectNew };
        let options = Options::new().max_peers(rng.percent(15).then_some(most)).duplicates(duplicates);
        let broadcast = rng.pick(&[Some(1), Some(5_000), None, None]);
        let options = options.broadcast_octets(broadcast);
        let (options, deadlines) = Deadlines::random(&mut rng, options, climate);
        let large = clients <= 5 && climate.narrow >= 600 && rng.percent(40);
        let mut world = Self::new(seed, climate, policy, mark, options, receive);
        deadlines.tell(&mut world.relay.driver);
        world.relay.driver.discards = broadcast.is_some();
        for _ in 0..clients {
            if rng.percent(30) {
                world.add_dealer(&mut rng, large);
                continue;
            }
            let mut plan = Plan { large, ..Plan::random(TARGET, &mut rng) };
            if clients > 8 {
                plan.messages = plan.messages.min(3);
            }
            if rng.percent(10) {
                plan.identity = vec![b'A' + rng.below(4) as u8];
            }
            world.add_raw(plan);
        }
        world
    }

    pub(crate) fn add_raw(&mut self, plan: Plan) {
        let host = self.clients.len() + 1;
        self.clients.push(Client::Raw(Box::new(Raw::new(&mut self.net, host, plan))));
    }

    fn add_dealer(&mut self, rng: &mut Rng, large: bool) {
        let mark = |rng: &mut Rng| Mark {
            messages: rng.pick(&[Some(1), Some(5), None]),
            octets: rng.pick(&[Some(300), None]),
        };
        let options = Options::new().send_mark(mark(rng)).receive_mark(mark(rng)).deliver_runs(rng.percent(30));
        let (options, deadlines) = Deadlines::random(rng, options, self.net.climate);
        let messages = rng.pick(&[0, 3, 12]);
        let gap = rng.pick(&[(0, 0), (10, 50_000)]);
        let node = self.add_dealer_with(options, rng.next(), messages, gap);
        deadlines.tell(&mut node.driver);
        node.app.who |= if large { LARGE } else { 0 };
    }

    pub(crate) fn add_dealer_with(
        &mut self,
        options: Options,
        seed: u64,
        messages: u32,
        gap: (u64, u64),
    ) -> &mut DealerNode {
        let host = self.clients.len() + 1;
        let mut socket: Socket<Dealer> = Socket::dealer(options, seed);
        socket.connect(self.net.instant(), TARGET);
        let app = DealerApp::new(&mut self.net, (host as u32) << 16, messages, gap);
        let driver = Driver::new(&mut self.net, host, socket);
        self.clients.push(Client::Dealer(Box::new(Node { driver, app })));
        match self.clients.last_mut() {
            Some(Client::Dealer(node)) => node,
            _ => unreachable!("it was pushed just now"),
        }
    }

    pub(crate) fn run_for(&mut self, micros: u64) {
        let until = self.net.now + micros;
        while let Some(host) = self.net.next_turn(until) {
            self.turns += 1;
            assert!(self.turns < MOST_TURNS, "the hosts keep each other busy for ever, {host} at last");
            match host {
                0 => {
                    self.relay.turn(&mut self.net);
                    self.check_queues();
                    self.check_wakefulness();
                }
                client => self.clients[client - 1].turn(&mut self.net),
            }
        }
        self.net.now = until;
    }

    /// A queue at its mark takes nothing, and one that is not takes what one turn brings.
    fn check_queues(&mut self) {
        let driver = &mut self.relay.driver;
        if !driver.ended_turn {
            return;
        }
        // Each piece counts a little more than it has. What is written first is of one turn, and does not count.
        let turn = std::mem::take(&mut driver.backlog) + 1024;
        self.largest_turn = self.largest_turn.max(turn);
        let most = self.mark + turn + self.largest_turn;
        let before = std::mem::take(&mut self.queues);
        for peer in driver.socket.peers() {
            let queued = driver.socket.peer(peer).map_or(0, |peer| peer.queued_octets());
            let most = before.get(&peer).copied().unwrap_or(0).max(most);
            assert!(queued <= most, "{queued} octets wait for {peer:?}, more than {most}");
            self.queues.insert(peer, queued);
        }
    }

    /// A relay does not rest while messages wait for it, unless a client is full.
    fn check_wakefulness(&mut self) {
        let Node { driver, app } = &mut self.relay;
        let woken = app.relay.poll_timeout(&driver.socket).is_some_and(|due| due <= self.net.instant());
        if driver.rests && driver.ended_turn && driver.socket.has_events() && !woken {
            let full: Vec<PeerId> = driver.socket.full_peers().collect();
            let waits = full.iter().any(|&peer| driver.socket.peer(peer).is_some_and(|peer| peer.is_connected()));
            assert!(waits, "the relay waits for nobody");
        }
    }

    /// Rough weather, then fair, until all is quiet; the oracle; then all leave.
    pub(crate) fn live(&mut self) {
        self.run_for(4 * SECOND);
        self.net.climate = Climate { narrow: self.net.climate.narrow, ..Climate::FAIR };
        self.run_for(90 * SECOND);
        crate::relay_oracle::check(self);
        self.leave();
        crate::relay_oracle::check_empty(self);
    }

    /// All leave.
    pub(crate) fn leave(&mut self) {
        for client in &mut self.clients {
            client.leave(&mut self.net);
        }
        self.run_for(90 * SECOND);
    }
}

//! Routers that answer, and dealers that ask: every question is answered where nothing is cut.

use std::collections::{BTreeMap, BTreeSet};

use zmio::socket::{Dealer, Duplicates, Router};
use zmio::{Identity, Mark, Options, Socket};

use crate::dealer::{DealerApp, DealerNode};
use crate::driver::{Deadlines, Driver, Node};
use crate::link::Climate;
use crate::net::Net;
use crate::payload::{Id, LARGE};
use crate::rng::Rng;
use crate::router::{EchoApp, RouterNode};

const SECOND: u64 = 1_000_000;
const MOST_TURNS: u64 = 300_000;

pub(crate) struct EchoWorld {
    pub(crate) net: Net,
    pub(crate) routers: Vec<RouterNode>,
    pub(crate) dealers: Vec<DealerNode>,
    turns: u64,
}

pub(crate) fn target(router: usize) -> String {
    format!("sim://router{router}")
}

impl EchoWorld {
    pub(crate) fn new(seed: u64, climate: Climate) -> Self {
        Self { net: Net::new(seed, climate), routers: Vec::new(), dealers: Vec::new(), turns: 0 }
    }

    /// Everything about it follows from the seed.
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let climate = Climate {
            cuts: rng.pick(&[0, 0, 30, 70]),
            refusals: rng.pick(&[0, 30]),
            stalls: rng.pick(&[0, 20]),
            stall: rng.pick(&[10_000, SECOND]),
            narrow: rng.pick(&[4, 60, 20_000]),
            holes: rng.pick(&[0, 0, 30]),
            exact: false,
        };
        let mut world = Self::new(seed, climate);
        let routers = rng.within((1, 3)) as usize;
        for _ in 0..routers {
            let handover = rng.percent(50);
            let duplicates = if handover { Duplicates::Handover } else { Duplicates::RejectNew };
            let options = Options::new().send_mark(mark(&mut rng)).receive_mark(mark(&mut rng)).duplicates(duplicates);
            let options = options.deliver_runs(rng.percent(30));
            let (options, deadlines) = Deadlines::random(&mut rng, options, climate);
            world.add_router(options, rng.next());
            deadlines.tell(&mut world.routers.last_mut().expect("one was added").driver);
        }
        for at in 0..rng.within((1, 5)) {
            let options = Options::new().send_mark(mark(&mut rng)).receive_mark(mark(&mut rng));
            let options = options.deliver_runs(rng.percent(30));
            let (mut options, deadlines) = Deadlines::random(&mut rng, options, climate);
            if rng.percent(50) {
                options = options.identity(Identity::new(vec![b'A' + at as u8]).expect("a legal identity"));
            }
            let targets: Vec<usize> = (0..routers).filter(|&router| router == 0 || rng.percent(60)).collect();
            let messages = rng.pick(&[1, 5, 15]);
            world.add_dealer(options, rng.next(), &targets, messages, rng.pick(&[(0, 0), (10, 60_000)]));
            let dealer = world.dealers.last_mut().expect("one was added");
            deadlines.tell(&mut dealer.driver);
            dealer.app.who |= if climate.narrow >= 600 && rng.percent(40) { LARGE } else { 0 };
        }
        world
    }

    pub(crate) fn add_router(&mut self, options: Options, seed: u64) {
        let host = self.routers.len();
        let socket: Socket<Router> = Socket::router(options, seed);
        let app = EchoApp::new(&mut self.net);
        let driver = Driver::new(&mut self.net, host, socket);
        self.net.listen(&target(host), host);
        self.routers.push(Node { driver, app });
    }

    /// To be called after all routers are there.
    pub(crate) fn add_dealer(
        &mut self,
        options: Options,
        seed: u64,
        targets: &[usize],
        messages: u32,
        gap: (u64, u64),
    ) {
        let host = self.routers.len() + self.dealers.len();
        let mut socket: Socket<Dealer> = Socket::dealer(options, seed);
        for &router in targets {
            socket.connect(self.net.instant(), &target(router));
        }
        let app = DealerApp::new(&mut self.net, host as u32, messages, gap);
        let driver = Driver::new(&mut self.net, host, socket);
        self.dealers.push(Node { driver, app });
    }

    pub(crate) fn run_for(&mut self, micros: u64) {
        let until = self.net.now + micros;
        while let Some(host) = self.net.next_turn(until) {
            self.turns += 1;
            assert!(self.turns < MOST_TURNS, "the hosts keep each other busy for ever");
            match host.checked_sub(self.routers.len()) {
                None => self.routers[host].turn(&mut self.net),
                Some(dealer) => self.dealers[dealer].turn(&mut self.net),
            }
        }
        self.net.now = until;
    }

    /// Rough weather, then fair, until all is quiet; then the oracle.
    pub(crate) fn live(&mut self) {
        self.run_for(4 * SECOND);
        self.net.climate = Climate { narrow: self.net.climate.narrow, ..Climate::FAIR };
        self.run_for(120 * SECOND);
        self.check();
    }

    pub(crate) fn check(&self) {
        let mut taken: BTreeSet<Id> = BTreeSet::new();
        for router in &self.routers {
            router.driver.assert_idle(&self.net);
            assert!(router.app.is_done(), "an answer waits for room that is there");
            for tap in router.members() {
                for &(id, _) in &tap.taken {
                    assert!(taken.insert(id), "{id:?} came twice");
                }
            }
            let app = &router.app;
            assert_eq!(app.answered + app.too_late, app.got.len() as u64, "an answer vanished");
            check_order(router);
        }
        for dealer in &self.dealers {
            self.check_dealer(dealer, &taken);
        }
    }

    fn check_dealer(&self, dealer: &DealerNode, taken: &BTreeSet<Id>) {
        let (app, driver) = (&dealer.app, &dealer.driver);
        driver.assert_idle(&self.net);
        dealer.assert_all_received();
        let unsent = driver.socket.waiting() as u64;
        let known = dealer.begun() + unsent;
        let lost = u64::from(app.accepted).checked_sub(known).expect("a message was begun twice");
        assert_eq!(lost, 0, "messages vanished");
        let mine: Vec<Id> = taken.iter().copied().filter(|id| id.who == app.who).collect();
        assert!(mine.len() as u64 <= dealer.begun());
        let mut answers = app.got.clone();
        answers.sort();
        answers.dedup();
        assert_eq!(answers.len(), app.got.len(), "an answer came twice");
        for id in &answers {
            assert_eq!(id.who, app.who, "an answer for somebody else");
        }
        if app.connected.is_empty() {
            assert!(app.gave_up > 0 || driver.socket.is_closed(), "a dealer whose routers are there is not connected");
            return;
        }
        assert!(app.is_done(), "a dealer was never told that it can send again");
        assert_eq!(unsent, 0, "a connected dealer kept messages back");
        if driver.taps.iter().all(|tap| tap.over.is_none()) {
            assert_eq!(answers.len(), app.messages as usize, "a question was never answered");
        }
    }
}

/// Per connection, the application gets the messages that came, in their order.
fn check_order(router: &RouterNode) {
    let mut by_peer: BTreeMap<_, Vec<Id>> = BTreeMap::new();
    for &(peer, id) in &router.app.got {
        by_peer.entry(peer).or_default().push(id);
    }
    for tap in router.members() {
        let came: Vec<Id> = tap.taken.iter().map(|&(id, _)| id).collect();
        assert_eq!(by_peer.remove(&tap.peer).unwrap_or_default(), came, "{:?} changed", tap.peer);
    }
    assert!(by_peer.is_empty(), "messages of nobody");
}

fn mark(rng: &mut Rng) -> Mark {
    Mark { messages: rng.pick(&[Some(1), Some(4), None]), octets: rng.pick(&[Some(400), None]) }
}

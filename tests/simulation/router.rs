//! An application on a `Socket<Router>` that answers every message, some late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zmio::socket::Router;
use zmio::{Cause, Event, Message, PeerId, SendError, Socket};

use crate::driver::{App, Node};
use crate::net::{HostId, Net};
use crate::payload::Id;
use crate::tap::Tap;

pub(crate) struct EchoApp {
    pub(crate) connected: BTreeMap<PeerId, Vec<u8>>,
    /// All that ever were.
    pub(crate) known: BTreeSet<PeerId>,
    /// Every message that came, in order, and from whom.
    pub(crate) got: Vec<(PeerId, Id)>,
    /// Answers that the socket accepted, and those for peers that were gone.
    pub(crate) answered: u64,
    pub(crate) too_late: u64,
    /// Why peers left or were not let in, in order.
    pub(crate) causes: Vec<Cause>,
    pub(crate) rejected: u64,
    /// Takes no events between these times.
    pub(crate) sleep: (u64, u64),
    /// How long an answer takes, in microseconds.
    pub(crate) delay: (u64, u64),
    /// Of a hundred turns, how many leave events unread.
    pub(crate) laziness: u64,
    due: VecDeque<(u64, PeerId, Id)>,
    /// Those that were connected in the last turn.
    members: Vec<PeerId>,
    /// Answers that wait for room.
    full: BTreeMap<PeerId, VecDeque<Id>>,
}

impl EchoApp {
    pub(crate) fn new(net: &mut Net) -> Self {
        Self {
            connected: BTreeMap::new(),
            known: BTreeSet::new(),
            got: Vec::new(),
            answered: 0,
            too_late: 0,
            causes: Vec::new(),
            rejected: 0,
            sleep: (0, 0),
            delay: net.rng.pick(&[(0, 0), (0, 3000), (10_000, 600_000)]),
            laziness: net.rng.pick(&[0, 0, 50]),
            due: VecDeque::new(),
            members: Vec::new(),
            full: BTreeMap::new(),
        }
    }

    /// Nothing waits to be answered.
    pub(crate) fn is_done(&self) -> bool {
        self.due.is_empty() && self.full.values().all(VecDeque::is_empty)
    }

    fn receive(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Router>) -> Option<u64> {
        let (from, to) = self.sleep;
        if from <= net.now && net.now < to {
            return Some(to);
        }
        let mut most = if net.rng.percent(self.laziness) { net.rng.below(3) } else { u64::MAX };
        while most > 0 {
            most -= 1;
            let event = socket.poll_event()?;
            match event {
                Event::Connected { peer, info } => {
                    net.trace(host, "connected", peer.index() as u64, info.identity.len() as u64);
                    let again = self.connected.insert(peer, info.identity.to_vec());
                    assert_eq!(again, None, "{peer:?} connected twice");
                    assert!(self.known.insert(peer), "{peer:?} came back from the dead");
                }
                Event::Disconnected(gone) => {
                    net.trace(host, "disconnected", gone.peer.index() as u64, 0);
                    let identity = self.connected.remove(&gone.peer);
                    assert_eq!(identity.as_deref(), Some(&gone.identity[..]), "{:?} left as another", gone.peer);
                    self.causes.push(gone.cause);
                    self.too_late += self.full.remove(&gone.peer).map_or(0, |waiting| waiting.len() as u64);
                }
                Event::Message { peer, message } => {
                    self.take(net, host, peer, &message);
                }
                Event::Run { peer, run } => run.iter().for_each(|message| self.take(net, host, peer, &message)),
                Event::Writable { peer } => {
                    let peer = peer.expect("a router has a queue per peer");
                    for id in self.full.remove(&peer).into_iter().flatten() {
                        self.answer(peer, id, socket);
                    }
                }
                Event::Rejected(rejected) => {
                    self.rejected += 1;
                    self.causes.push(rejected.cause);
                }
                _ => {}
            }
        }
        socket.has_events().then(|| net.now + net.rng.within((100, 20_000)))
    }

    fn take(&mut self, net: &mut Net, host: HostId, peer: PeerId, message: &Message) {
        assert!(self.connected.contains_key(&peer), "a message outside of a connection");
        let frames: Vec<&[u8]> = message.frames().collect();
        let id = Id::of(&frames);
        net.trace(host, "got", u64::from(id.who), u64::from(id.seq));
        self.got.push((peer, id));
        let at = net.now + net.rng.within(self.delay);
        // Answers to one peer stay in order.
        let at = self.due.iter().filter(|due| due.1 == peer).map(|due| due.0).max().unwrap_or(0).max(at);
        self.due.push_back((at, peer, id));
    }

    fn answer(&mut self, peer: PeerId, id: Id, socket: &mut Socket<Router>) {
        if let Some(waiting) = self.full.get_mut(&peer) {
            return waiting.push_back(id);
        }
        let connected = socket.peer(peer).is_some_and(|peer| peer.is_connected());
        match socket.send(peer, Message::multipart(id.frames())) {
            Ok(()) => {
                assert!(connected, "a message for a peer that is gone was accepted");
                self.answered += 1;
            }
            Err(SendError::Full(_)) => drop(self.full.insert(peer, VecDeque::from([id]))),
            Err(SendError::NoSuchPeer(_)) => {
                assert!(!connected, "a peer that is there was not found");
                self.too_late += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

impl App<Router> for EchoApp {
    fn act(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Router>) -> Option<u64> {
        if !socket.peers().eq(self.members.iter().copied()) {
            self.members = socket.peers().collect();
            let identities: BTreeSet<&[u8]> =
                socket.peers().filter_map(|peer| socket.peer(peer)).map(|peer| &peer.identity()[..]).collect();
            assert_eq!(identities.len(), socket.peers().count(), "two peers have one identity");
        }
        let more = self.receive(net, host, socket);
        let now = net.now;
        let (ripe, rest): (VecDeque<_>, _) = self.due.drain(..).partition(|&(at, ..)| at <= now);
        self.due = rest;
        for (_, peer, id) in ripe {
            self.answer(peer, id, socket);
        }
        self.due.iter().map(|due| due.0).chain(more).min()
    }
}

pub(crate) type RouterNode = Node<Router, EchoApp>;

impl RouterNode {
    /// The connections whose peer was accepted: what another says before it learns that it is refused counts for
    /// nothing.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Tap> {
        self.driver.taps.iter().filter(|tap| self.app.known.contains(&tap.peer))
    }
}

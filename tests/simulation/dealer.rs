//! An application on a `Socket<Dealer>`: sends numbered messages, keeps what it receives.

use std::collections::BTreeSet;
use std::time::Duration;

use zmio::socket::Dealer;
use zmio::{Cause, Event, Message, PeerId, SendError, Socket};

use crate::driver::{App, Node};
use crate::net::{HostId, Net};
use crate::payload::Id;

pub(crate) struct DealerApp {
    pub(crate) who: u32,
    /// How many messages to send in all, and the microseconds between two.
    pub(crate) messages: u32,
    pub(crate) gap: (u64, u64),
    /// Messages that the socket accepted.
    pub(crate) accepted: u32,
    pub(crate) got: Vec<Id>,
    /// The connected peers, by the events.
    pub(crate) connected: BTreeSet<PeerId>,
    pub(crate) connects: u64,
    /// Why peers left, in order.
    pub(crate) causes: Vec<Cause>,
    pub(crate) gave_up: u64,
    /// When to close the socket, and how long that may take.
    pub(crate) close: Option<(u64, Option<Duration>)>,
    /// What `Event::Closed` said.
    pub(crate) unsent: Option<u64>,
    /// Of a hundred turns, how many leave events unread.
    pub(crate) laziness: u64,
    next_send: u64,
    refused: bool,
}

impl DealerApp {
    pub(crate) fn new(net: &mut Net, who: u32, messages: u32, gap: (u64, u64)) -> Self {
        Self {
            who,
            messages,
            gap,
            accepted: 0,
            got: Vec::new(),
            connected: BTreeSet::new(),
            connects: 0,
            causes: Vec::new(),
            gave_up: 0,
            close: None,
            unsent: None,
            laziness: net.rng.pick(&[0, 0, 50]),
            next_send: net.now + net.rng.within(gap),
            refused: false,
        }
    }

    /// All is sent that should be, as far as the socket has a say in it.
    pub(crate) fn is_done(&self) -> bool {
        self.accepted == self.messages
    }

    fn receive(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Dealer>) -> Option<u64> {
        let mut most = if net.rng.percent(self.laziness) { net.rng.below(3) } else { u64::MAX };
        while most > 0 {
            most -= 1;
            let event = socket.poll_event()?;
            match event {
                Event::Connected { peer, .. } => {
                    net.trace(host, "connected", peer.index() as u64, 0);
                    self.connects += 1;
                    assert!(self.connected.insert(peer), "{peer:?} connected twice");
                }
                Event::Disconnected(gone) => {
                    net.trace(host, "disconnected", gone.peer.index() as u64, 0);
                    assert!(self.connected.remove(&gone.peer), "{:?} left without having come", gone.peer);
                    self.causes.push(gone.cause);
                }
                Event::Message { peer, message } => {
                    self.take(net, host, peer, &message);
                }
                Event::Run { peer, run } => run.iter().for_each(|message| self.take(net, host, peer, &message)),
                Event::Writable { peer } => {
                    assert_eq!(peer, None, "a dealer has one queue");
                    self.refused = false;
                }
                Event::GaveUp { .. } => self.gave_up += 1,
                Event::Closed { unsent } => {
                    assert_eq!(self.unsent.replace(unsent), None, "closed twice");
                }
                _ => {}
            }
        }
        socket.has_events().then(|| net.now + net.rng.within((100, 20_000)))
    }

    fn take(&mut self, net: &mut Net, host: HostId, peer: PeerId, message: &Message) {
        assert!(self.connected.contains(&peer), "a message outside of a connection");
        let frames: Vec<&[u8]> = message.frames().collect();
        let id = Id::of(&frames);
        net.trace(host, "got", u64::from(id.who), u64::from(id.seq));
        self.got.push(id);
    }

    fn send(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Dealer>) -> Option<u64> {
        while !self.is_done() && !self.refused {
            if self.next_send > net.now {
                return Some(self.next_send);
            }
            let id = Id { who: self.who, seq: self.accepted };
            let message = Message::multipart(id.frames());
            match socket.send(message.clone()) {
                Ok(()) => {
                    net.trace(host, "sent", u64::from(id.who), u64::from(id.seq));
                    self.accepted += 1;
                    self.next_send = net.now + net.rng.within(self.gap);
                }
                Err(SendError::Full(back)) => {
                    assert_eq!(back, message, "another message came back");
                    // From here on only a `Writable` helps.
                    self.refused = true;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        None
    }
}

impl App<Dealer> for DealerApp {
    fn act(&mut self, net: &mut Net, host: HostId, socket: &mut Socket<Dealer>) -> Option<u64> {
        let more = self.receive(net, host, socket);
        let next = match self.close {
            Some((at, linger)) if at <= net.now => {
                socket.close(net.instant(), linger);
                // What comes of it.
                socket.has_events().then_some(net.now)
            }
            close => self.send(net, host, socket).into_iter().chain(close.map(|(at, _)| at)).min(),
        };
        more.into_iter().chain(next).min()
    }
}

pub(crate) type DealerNode = Node<Dealer, DealerApp>;

impl DealerNode {
    /// Messages of which at least one octet went out, over all connections. Each counts once at most: a message
    /// that was begun on one connection must never be seen on another.
    pub(crate) fn begun(&self) -> u64 {
        self.driver.taps.iter().map(|tap| tap.begun()).sum()
    }

    /// Asserts that what the application received is what came in, in order.
    pub(crate) fn assert_all_received(&self) {
        let mut came: Vec<Id> = self.driver.taps.iter().flat_map(|tap| &tap.taken).map(|&(id, _)| id).collect();
        let mut got = self.app.got.clone();
        came.sort();
        got.sort();
        assert_eq!(got, came, "the application did not get what its socket took");
    }
}

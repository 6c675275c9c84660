//! Most of the clients: TCP connections whose every octet is ours. They alone can send garbage, and they alone can tell
//! exactly what they were delivered when they leave: they end their side and read to the end of the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, SockRef, Socket, Type};

use crate::crew::{Common, Crew, Member, Rates};
use crate::dice::Dice;
use crate::garbage::{self, Then};
use crate::hub::HANDSHAKE;
use crate::octets::{Item, Reader, command, greeting, push_message, ready};
use crate::report::{Ending, count};
use crate::tally::{LEAST, payload};

/// One client is read so often before the others have their turn.
const READS: usize = 8;

/// Newcomers in one tick.
const JOINS: usize = 10;

pub(crate) struct Raws {
    common: Common,
    dice: Dice,
    rates: Rates,
    address: SocketAddr,
    /// How many there should be.
    wanted: usize,
    poll: Poll,
    events: Events,
    peers: Slab<Peer>,
    /// One who never goes away: strangers come with its identity.
    settler: Option<usize>,
    /// There were so many.
    floods: usize,
    scratch: Vec<u8>,
}

struct Peer {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// To be written, and how much of it is.
    out: Vec<u8>,
    at: usize,
    reader: Reader,
    role: Role,
}

enum Role {
    Client(Box<Client>),
    /// Not to be let in.
    Stranger {
        then: Then,
        until: Instant,
    },
}

struct Client {
    member: Member,
    /// READY has come.
    live: bool,
    stalled: Option<Instant>,
    leaving: Option<Leaving>,
}

/// Nothing more is queued for writing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// When all is written, this side ends.
    Fin,
    /// It is done; only the other side's end is missing.
    Ended,
    /// The relay is to end it.
    Provoked,
}

impl Raws {
    pub(crate) fn new(common: Common, seed: u64, address: SocketAddr, wanted: usize, rates: Rates) -> Self {
        Self {
            common,
            dice: Dice::new(seed),
            rates,
            address,
            wanted,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            peers: Slab::new(),
            settler: None,
            floods: 0,
            scratch: vec![0; 64 << 10],
        }
    }

    /// A connection; half of them have little room for what comes, so that a stall is soon felt. With less room than two
    /// segments of loopback TCP would wait for a timer after each one.
    fn dial(&mut self, out: Vec<u8>, role: Role) -> usize {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).expect("a socket");
        if self.dice.between(0, 1) == 0 {
            socket.set_recv_buffer_size(self.dice.between(128 << 10, 512 << 10)).expect("a buffer");
        }
        socket.set_tcp_nodelay(true).expect("no delay");
        socket.set_nonblocking(true).expect("nonblocking");
        // What comes of it is known when it can be written.
        let _ = socket.connect(&self.address.into());
        let mut stream = TcpStream::from_std(socket.into());
        let entry = self.peers.vacant_entry();
        let (key, interests) = (entry.key(), Interest::READABLE | Interest::WRITABLE);
        self.poll.registry().register(&mut stream, Token(key), interests).expect("room in the poll");
        entry.insert(Peer { stream, readable: false, writable: false, out, at: 0, reader: Reader::default(), role });
        key
    }

    fn join(&mut self) -> usize {
        count(&self.common.deeds.joins);
        let member = self.common.member();
        let identity = member.number.to_string();
        let out = [greeting(3, b"NULL"), ready(b"DEALER", identity.as_bytes())].concat();
        self.dial(out, Role::Client(Box::new(Client { member, live: false, stalled: None, leaving: None })))
    }

    /// Those who are connected and not about to leave.
    fn active(&self) -> Vec<usize> {
        let is_active = |peer: &Peer| peer.client().is_some_and(|client| client.live && client.leaving.is_none());
        self.peers.iter().filter(|(_, peer)| is_active(peer)).map(|(key, _)| key).collect()
    }

    /// Of these, whoever may be chosen to go.
    fn fickle(&self) -> Vec<usize> {
        self.active().into_iter().filter(|key| Some(*key) != self.settler).collect()
    }

    fn say(&mut self, key: usize, octets: usize) {
        let peer = &mut self.peers[key];
        let Role::Client(client) = &mut peer.role else { return };
        push_message(&mut peer.out, &payload(client.member.number, client.member.written, octets));
        client.member.written += 1;
    }

    fn flood(&mut self, key: usize) {
        count(&self.common.deeds.floods);
        let (messages, most) = self.dice.flood(self.floods % 3 == 0);
        self.floods += 1;
        for _ in 0..messages {
            let octets = self.dice.between(LEAST, most);
            self.say(key, octets);
        }
    }

    fn stall(&mut self, active: &[usize], least_millis: usize) {
        let until = Instant::now() + self.dice.millis(least_millis, 10_000);
        if let Some(client) = self.dice.pick(active).and_then(|key| self.peers[key].client_mut()) {
            count(&self.common.deeds.stalls);
            client.stalled = Some(until);
        }
    }

    fn crash(&mut self, key: usize) {
        count(&self.common.deeds.crashes);
        // Some are in the middle of a message.
        if self.dice.between(0, 1) == 0 {
            let (half, _) = garbage::traffic(&mut self.dice);
            let _ = self.peers[key].stream.write(&half[..half.len() / 2]);
        }
        self.reset(key, Ending::Cut);
    }

    fn misbehave(&mut self, fickle: &[usize]) {
        count(&self.common.deeds.garbage);
        let key = match (self.dice.between(0, 3), self.dice.pick(fickle)) {
            (0, _) => {
                // All at once: handshake, messages, garbage.
                let key = self.join();
                for _ in 0..self.dice.between(0, 5) {
                    let octets = self.dice.size();
                    self.say(key, octets);
                }
                key
            }
            (1, Some(key)) => key,
            _ => {
                let Some(taken) = self.settler.and_then(|key| self.peers[key].client()) else { return };
                let taken = taken.member.number.to_string();
                let (octets, then) = garbage::handshake(&mut self.dice, taken.as_bytes());
                let until = Instant::now()
                    + match then {
                        Then::Reset => self.dice.millis(0, 500),
                        // The relay has to end it before.
                        Then::Silence | Then::Fin => 2 * HANDSHAKE,
                    };
                self.dial(octets, Role::Stranger { then, until });
                return;
            }
        };
        let (octets, by_end) = garbage::traffic(&mut self.dice);
        let end_too = by_end || self.dice.between(0, 1) == 0;
        let peer = &mut self.peers[key];
        peer.out.extend_from_slice(&octets);
        if let Role::Client(client) = &mut peer.role {
            client.leaving = Some(if end_too { Leaving::Fin } else { Leaving::Provoked });
        }
    }

    fn remove(&mut self, key: usize) -> Peer {
        let mut peer = self.peers.remove(key);
        self.poll.registry().deregister(&mut peer.stream).expect("it is registered");
        peer
    }

    fn reset(&mut self, key: usize, ending: Ending) {
        let mut peer = self.remove(key);
        SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).expect("a linger");
        if let Role::Client(client) = &mut peer.role {
            self.common.state(&mut client.member, ending);
        }
    }

    /// The relay has closed, or reset, the connection.
    fn over(&mut self, key: usize, in_order: bool) {
        let mut peer = self.remove(key);
        if let Role::Client(client) = &mut peer.role {
            let orderly = in_order && client.leaving.is_some() && peer.at == peer.out.len();
            let ending = if orderly { Ending::Orderly } else { Ending::ThrownOut };
            self.common.state(&mut client.member, ending);
        }
    }

    /// Reads and writes what can be.
    fn visit(&mut self, key: usize) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.write().is_err() {
            // The reason is read below, behind what came before it.
            peer.readable = true;
        }
        for _ in 0..READS {
            if !peer.readable || peer.is_stalled() {
                break;
            }
            match peer.stream.read(&mut self.scratch) {
                Ok(0) => return self.over(key, true),
                Ok(octets) => peer.take(&self.scratch[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => peer.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(key, false),
            }
        }
        // PONGs.
        let _ = peer.write();
    }

    fn strangers(&self, is_due: impl Fn(&Then, &Instant) -> bool) -> Vec<usize> {
        let is_due = |peer: &Peer| matches!(&peer.role, Role::Stranger { then, until } if is_due(then, until));
        self.peers.iter().filter(|(_, peer)| is_due(peer)).map(|(key, _)| key).collect()
    }
}

impl Crew for Raws {
    fn act(&mut self) {
        let now = Instant::now();
        for key in self.strangers(|_, until| *until <= now) {
            self.reset(key, Ending::Cut);
        }
        let there = self.peers.iter().filter(|(_, peer)| peer.client().is_some_and(|c| c.leaving.is_none())).count();
        for _ in 0..self.wanted.saturating_sub(there).min(JOINS) {
            self.join();
        }

        let active = self.active();
        self.settler = self.settler.or(active.first().copied());
        for _ in 0..self.dice.times(self.rates.messages) {
            let Some(key) = self.dice.pick(&active) else { break };
            let octets = self.dice.size();
            self.say(key, octets);
        }
        for _ in 0..self.dice.times(self.rates.floods) {
            // Some do not listen: they are those whose queues get full.
            (0..5).for_each(|_| self.stall(&active, 3_000));
            if let Some(key) = self.dice.pick(&active) {
                self.flood(key);
            }
        }
        for _ in 0..self.dice.times(self.rates.stalls) {
            self.stall(&active, 100);
        }
        for _ in 0..self.dice.times(self.rates.leaves) {
            let fickle = self.fickle();
            if let Some(client) = self.dice.pick(&fickle).and_then(|key| self.peers[key].client_mut()) {
                count(&self.common.deeds.leaves);
                client.leaving = Some(Leaving::Fin);
            }
        }
        for _ in 0..self.dice.times(self.rates.garbage) {
            let fickle = self.fickle();
            self.misbehave(&fickle);
        }
        for _ in 0..self.dice.times(self.rates.crashes) {
            let fickle = self.fickle();
            if let Some(key) = self.dice.pick(&fickle) {
                self.crash(key);
            }
        }
        let keys: Vec<_> = self.peers.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.visit(key));
    }

    fn serve(&mut self, until: Instant) {
        loop {
            let unread = |peer: &Peer| peer.readable && !peer.is_stalled();
            let busy: Vec<_> = self.peers.iter().filter(|(_, peer)| unread(peer)).map(|(key, _)| key).collect();
            let left = until.saturating_duration_since(Instant::now());
            let wait = if busy.is_empty() { left } else { Duration::ZERO };
            match self.poll.poll(&mut self.events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("a poll that works"),
            }
            let mut ready = busy;
            for event in &self.events {
                let Some(peer) = self.peers.get_mut(event.token().0) else { continue };
                peer.readable |= event.is_readable() || event.is_error() || event.is_read_closed();
                peer.writable |= event.is_writable();
                ready.push(event.token().0);
            }
            ready.into_iter().for_each(|key| self.visit(key));
            if left.is_zero() {
                return;
            }
        }
    }

    fn calm_down(&mut self) -> bool {
        for key in self.strangers(|_, _| true) {
            self.reset(key, Ending::Cut);
        }
        let keys: Vec<_> = self.peers.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(client) = self.peers[key].client_mut() {
                client.stalled = None;
            }
            self.visit(key);
        }
        let is_calm = |peer: &Peer| {
            peer.at == peer.out.len() && peer.client().is_some_and(|client| client.live && client.leaving.is_none())
        };
        self.peers.iter().all(|(_, peer)| is_calm(peer))
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.peers.iter_mut().filter_map(|(_, peer)| peer.client_mut()).map(|client| &mut client.member)
    }

    fn dismiss(&mut self) {
        self.peers.iter_mut().filter_map(|(_, peer)| peer.client_mut()).for_each(|client| {
            count(&self.common.deeds.leaves);
            client.leaving.get_or_insert(Leaving::Fin);
        });
    }
}

impl Peer {
    fn client(&self) -> Option<&Client> {
        match &self.role {
            Role::Client(client) => Some(client),
            Role::Stranger { .. } => None,
        }
    }

    fn client_mut(&mut self) -> Option<&mut Client> {
        match &mut self.role {
            Role::Client(client) => Some(client),
            Role::Stranger { .. } => None,
        }
    }

    fn is_stalled(&self) -> bool {
        self.client().and_then(|client| client.stalled).is_some_and(|until| until > Instant::now())
    }

    fn write(&mut self) -> std::io::Result<()> {
        while self.writable && self.at < self.out.len() {
            match self.stream.write(&self.out[self.at..]) {
                Ok(octets) => self.at += octets,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.at == self.out.len() {
            // A flood's memory is not kept.
            (self.out, self.at) = (Vec::new(), 0);
            let end = match &mut self.role {
                Role::Client(client) => match client.leaving {
                    Some(Leaving::Fin) => client.leaving.replace(Leaving::Ended).is_some(),
                    _ => false,
                },
                Role::Stranger { then, .. } => {
                    *then == Then::Fin && std::mem::replace(then, Then::Silence) == Then::Fin
                }
            };
            if end {
                self.stream.shutdown(Shutdown::Write)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, octets: &[u8]) {
        // What a stranger is told does not matter.
        let Role::Client(client) = &mut self.role else { return };
        let out = &mut self.out;
        self.reader.read(octets, |item| match item {
            Item::Ready => client.live = true,
            Item::Ping(context) if client.leaving.is_none() => out.extend_from_slice(&command(b"PONG", context)),
            Item::Ping(_) => {}
            Item::Message(payload) => client.member.tally.take(payload),
            Item::Odd => client.member.tally.take_odd(),
        });
    }
}

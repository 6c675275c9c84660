//! A socket under test, and in-memory transports to peers that are scripted octet by octet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::message::Outgoing;
use crate::socket::{Action, Address, Dealer, Event, Options, Pattern, PeerId, Refused, Router, SendError, Socket};
use crate::time::Instant;
use crate::wire::{FrameKind, Greeting, MechanismName, SocketType, Version, encode};

/// A socket with a driver that does what the actions say and no more. Each peer's transport takes what it has room for.
pub(crate) struct Rig<P> {
    pub(crate) socket: Socket<P>,
    pub(crate) now: Instant,
    /// What was written to each peer and not looked at yet.
    written: BTreeMap<PeerId, Vec<u8>>,
    /// How many octets a transport still takes, for those that are limited.
    room: BTreeMap<PeerId, usize>,
    /// Those that had no room when there was something to write.
    unwritable: BTreeSet<PeerId>,
    /// What was offered and not taken.
    kept: BTreeMap<PeerId, Vec<u8>>,
    /// Something that was offered was taken.
    pub(crate) came: bool,
    /// What the driver was told to do, but for Transmit.
    pub(crate) told: Vec<String>,
}

impl Rig<Router> {
    pub(crate) fn router(options: Options) -> Rig<Router> {
        Rig::new(Socket::router(options, 1))
    }

    pub(crate) fn send<'a>(&mut self, peer: PeerId, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        self.socket.send(peer, message)
    }
}

impl Rig<Dealer> {
    pub(crate) fn dealer(options: Options) -> Rig<Dealer> {
        Rig::new(Socket::dealer(options, 1))
    }

    pub(crate) fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        self.socket.send(message)
    }
}

impl<P: Pattern> Rig<P> {
    pub(crate) fn new(socket: Socket<P>) -> Rig<P> {
        Rig {
            socket,
            now: Instant::from_millis(1_000),
            written: BTreeMap::new(),
            room: BTreeMap::new(),
            unwritable: BTreeSet::new(),
            kept: BTreeMap::new(),
            came: false,
            told: Vec::new(),
        }
    }

    /// Accepts a connection that has said nothing yet.
    pub(crate) fn accept(&mut self) -> PeerId {
        self.socket.accept(self.now, Address::Unnamed).expect("there is room for a peer")
    }

    pub(crate) fn accept_from(&mut self, address: SocketAddr) -> Result<PeerId, Refused> {
        self.socket.accept(self.now, address)
    }

    /// Accepts a DEALER with this identity, up to the end of the handshake. Its event is still to be taken.
    pub(crate) fn client(&mut self, identity: &str) -> PeerId {
        let peer = self.accept();
        self.shake_hands(peer, SocketType::Dealer, identity);
        peer
    }

    /// Dials a ROUTER that answers, up to the end of the handshake.
    pub(crate) fn server(&mut self) -> PeerId {
        let peer = self.socket.connect(self.now, "server");
        self.dialed(peer);
        peer
    }

    /// The dialling of a peer succeeds, and so does the handshake.
    pub(crate) fn dialed(&mut self, peer: PeerId) {
        self.turn();
        self.socket.handle_dialed(self.now, peer, Address::Unnamed);
        self.shake_hands(peer, SocketType::Router, "");
    }

    fn shake_hands(&mut self, peer: PeerId, socket_type: SocketType, identity: &str) {
        self.feed(peer, &hello(socket_type, identity.as_bytes()));
        self.turn();
        self.written.remove(&peer);
    }

    /// Octets come from a peer; all are taken.
    pub(crate) fn feed(&mut self, peer: PeerId, octets: &[u8]) {
        assert_eq!(self.socket.handle_input(self.now, peer, octets), octets.len());
    }

    /// Octets come from a peer; what is not taken is offered again when the peer is to be read again.
    pub(crate) fn offer(&mut self, peer: PeerId, octets: &[u8]) {
        let mut kept = self.kept.remove(&peer).unwrap_or_default();
        kept.extend_from_slice(octets);
        let taken = self.socket.handle_input(self.now, peer, &kept);
        self.came |= taken > 0;
        if taken < kept.len() {
            self.kept.insert(peer, kept.split_off(taken));
        }
    }

    /// The transport of a peer takes so many octets more and then no others, whatever it took before.
    pub(crate) fn limit(&mut self, peer: PeerId, octets: usize) {
        self.room.insert(peer, octets);
        if octets > 0 && self.unwritable.remove(&peer) {
            self.write(peer);
        }
    }

    /// Does what the socket says until it says nothing more.
    pub(crate) fn turn(&mut self) {
        while let Some(action) = self.socket.poll_action() {
            let told = match action {
                Action::Transmit { peer } => {
                    self.write(peer);
                    continue;
                }
                Action::Dial { peer, .. } => format!("dial {}", peer.index()),
                Action::PauseRead { peer } => format!("pause {}", peer.index()),
                Action::ResumeRead { peer } => {
                    self.offer(peer, &[]);
                    format!("resume {}", peer.index())
                }
                Action::StopAccept => "stop".to_string(),
                Action::StartAccept => "start".to_string(),
                Action::Close { peer, last, .. } => {
                    self.written.entry(peer).or_default().extend_from_slice(&last);
                    format!("close {}", peer.index())
                }
            };
            self.told.push(told);
        }
    }

    fn write(&mut self, peer: PeerId) {
        loop {
            let mut slices = [&[][..]; 8];
            let filled = self.socket.gather(peer, &mut slices);
            let octets = slices[..filled].concat();
            if octets.is_empty() {
                return;
            }
            let room = self.room.get(&peer).copied().unwrap_or(usize::MAX);
            let n = octets.len().min(room);
            if n == 0 {
                self.unwritable.insert(peer);
                return;
            }
            self.room.entry(peer).and_modify(|room| *room -= n);
            self.written.entry(peer).or_default().extend_from_slice(&octets[..n]);
            self.socket.sent(self.now, peer, n);
        }
    }

    /// Ends the turn; what was written to a peer since it was last asked.
    pub(crate) fn written(&mut self, peer: PeerId) -> Vec<u8> {
        self.turn();
        self.written.remove(&peer).unwrap_or_default()
    }

    /// As `told`, since it was last asked, after the end of the turn.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.turn();
        core::mem::take(&mut self.told)
    }

    /// Time passes, and what becomes due on the way is done at its time.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.socket.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.socket.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
    }

    /// All events that wait, in a few words each.
    pub(crate) fn events(&mut self) -> Vec<String> {
        core::iter::from_fn(|| self.socket.poll_event()).map(|event| said(&event)).collect()
    }
}

fn said(event: &Event) -> String {
    match event {
        Event::Connected { peer, .. } => format!("{} connected", peer.index()),
        Event::Message { peer, message } => format!("{} says {message:?}", peer.index()),
        Event::Run { peer, run } => format!("{} says {:?}", peer.index(), run.iter().collect::<Vec<_>>()),
        Event::Disconnected(gone) => format!("{} gone: {}", gone.peer.index(), gone.cause),
        Event::Rejected(rejected) => format!("{} rejected: {}", rejected.peer.index(), rejected.cause),
        Event::Retrying { peer, cause, .. } => format!("{} retried: {cause}", peer.index()),
        Event::GaveUp { peer, cause } => format!("{} given up: {cause}", peer.index()),
        Event::Writable { peer: Some(peer) } => format!("{} writable", peer.index()),
        Event::Writable { peer: None } => "writable".to_string(),
        Event::AcceptFailed { reason } => format!("accept failed: {reason}"),
        Event::AddressFull { address, allowed } => format!("{address} refused, {allowed} are allowed"),
        Event::Closed { unsent } => format!("closed, {unsent} unsent"),
    }
}

/// The greeting and READY of a peer.
pub(crate) fn hello(socket_type: SocketType, identity: &[u8]) -> Vec<u8> {
    let greeting = Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false };
    let mut octets = greeting.encode().to_vec();
    encode::ready(&mut octets, socket_type, Some(identity));
    octets
}

/// A message of one frame in wire form.
pub(crate) fn wire(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, FrameKind::Last, body.as_ref());
    octets
}

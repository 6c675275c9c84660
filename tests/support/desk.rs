//! A socket on a desk: its driver and its peers are played by hand, one call at a time.

use std::collections::BTreeMap;

use zmio::socket::{Address, Closed, Pattern, Refused};
use zmio::{Action, Instant, PeerId, Socket};

use crate::octets;
use crate::stream::{Decoder, Item};

pub(crate) type Frames = Vec<Vec<u8>>;

pub(crate) struct Desk<P: Pattern> {
    pub(crate) socket: Socket<P>,
    pub(crate) now: Instant,
    /// Dials that were asked for and not answered.
    pub(crate) dials: Vec<PeerId>,
    /// By what the actions said last.
    pub(crate) accepting: bool,
    ends: BTreeMap<PeerId, End>,
}

/// The other end of a connection.
#[derive(Default)]
struct End {
    /// What the socket did not take yet.
    rest: Vec<u8>,
    paused: bool,
    writing: bool,
    /// The socket let go of it.
    closed: bool,
    decoder: Decoder,
}

impl<P: Pattern> Desk<P> {
    pub(crate) fn new(socket: Socket<P>) -> Self {
        Self { socket, now: Instant::ZERO, dials: Vec::new(), accepting: true, ends: BTreeMap::new() }
    }

    /// A peer dials us and says who it is.
    pub(crate) fn join(&mut self, socket_type: &str, identity: &[u8]) -> PeerId {
        let peer = self.call().expect("room for a peer");
        self.introduce(peer, socket_type, identity);
        peer
    }

    /// A peer dials us, and says nothing yet.
    pub(crate) fn call(&mut self) -> Result<PeerId, Refused> {
        self.call_from(Address::Unnamed)
    }

    pub(crate) fn call_from(&mut self, address: impl Into<Address>) -> Result<PeerId, Refused> {
        let peer = self.socket.accept(self.now, address)?;
        self.ends.insert(peer, End::default());
        Ok(peer)
    }

    /// A peer that we dial answers and says who it is.
    pub(crate) fn answer(&mut self, peer: PeerId, socket_type: &str) {
        self.dials.retain(|&dialled| dialled != peer);
        self.socket.handle_dialed(self.now, peer, Address::Unnamed);
        self.ends.insert(peer, End::default());
        self.introduce(peer, socket_type, b"");
    }

    pub(crate) fn introduce(&mut self, peer: PeerId, socket_type: &str, identity: &[u8]) {
        self.say(peer, &octets::greeting());
        self.say(peer, &octets::ready(socket_type, identity));
        self.tend();
    }

    /// The peer sends octets.
    pub(crate) fn say(&mut self, peer: PeerId, octets: &[u8]) {
        if let Some(end) = self.ends.get_mut(&peer) {
            end.rest.extend_from_slice(octets);
            self.hand_in(peer);
        }
    }

    pub(crate) fn say_message(&mut self, peer: PeerId, frames: &Frames) {
        self.say(peer, &octets::message(frames));
    }

    fn hand_in(&mut self, peer: PeerId) {
        let Some(end) = self.ends.get_mut(&peer) else {
            return;
        };
        if !end.paused && !end.closed && !end.rest.is_empty() {
            let taken = self.socket.handle_input(self.now, peer, &end.rest);
            end.rest.drain(..taken);
            end.paused = !end.rest.is_empty();
        }
    }

    /// Does what the socket asks for, except writing.
    pub(crate) fn tend(&mut self) {
        while let Some(action) = self.socket.poll_action() {
            match action {
                Action::Dial { peer, .. } => self.dials.push(peer),
                Action::Transmit { peer } => self.with(peer, |end| end.writing = true),
                Action::PauseRead { peer } => self.with(peer, |end| end.paused = true),
                Action::ResumeRead { peer } => {
                    self.with(peer, |end| end.paused = false);
                    self.hand_in(peer);
                }
                Action::Close { peer, last, .. } => {
                    self.with(peer, |end| {
                        end.closed = true;
                        end.decoder.feed(&last);
                    });
                    self.dials.retain(|&dialled| dialled != peer);
                }
                Action::StopAccept => self.accepting = false,
                Action::StartAccept => self.accepting = true,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn with(&mut self, peer: PeerId, act: impl FnOnce(&mut End)) {
        if let Some(end) = self.ends.get_mut(&peer) {
            act(end);
        }
    }

    /// The peer reads at most so many octets; what that completes is returned.
    pub(crate) fn hear(&mut self, peer: PeerId, most: usize) -> Vec<Item> {
        self.tend();
        let Some(end) = self.ends.get_mut(&peer) else {
            return Vec::new();
        };
        let mut left = most;
        while end.writing && left > 0 && !end.closed {
            let mut slices = [&[][..]; 4];
            let filled = self.socket.gather(peer, &mut slices);
            let mut octets = slices[..filled].concat();
            end.writing = !octets.is_empty();
            octets.truncate(left);
            left -= octets.len();
            end.decoder.feed(&octets);
            self.socket.sent(self.now, peer, octets.len());
        }
        std::iter::from_fn(|| end.decoder.next().expect("well-formed output")).collect()
    }

    /// As `hear`, for the messages among it.
    pub(crate) fn hear_messages(&mut self, peer: PeerId, most: usize) -> Vec<Frames> {
        let message = |item| match item {
            Item::Message(frames) => Some(frames),
            _ => None,
        };
        self.hear(peer, most).into_iter().filter_map(message).collect()
    }

    /// Messages of which the peer has read at least one octet.
    pub(crate) fn begun(&self, peer: PeerId) -> u64 {
        self.ends.get(&peer).map_or(0, |end| end.decoder.begun)
    }

    /// The peer hangs up, all that it said being handed in first as far as the socket takes it.
    pub(crate) fn hang_up(&mut self, peer: PeerId) {
        let end = self.ends.remove(&peer);
        if end.is_some_and(|end| !end.closed) {
            self.socket.handle_closed(self.now, peer, Closed::Eof);
        }
        self.tend();
    }

    /// Neither side has hung up.
    pub(crate) fn is_open(&self, peer: PeerId) -> bool {
        self.ends.get(&peer).is_some_and(|end| !end.closed)
    }

    /// Octets of the peer that the socket has not taken.
    pub(crate) fn kept_back(&self, peer: PeerId) -> usize {
        self.ends.get(&peer).map_or(0, |end| end.rest.len())
    }

    /// Lets time pass, with all timers that fire meanwhile.
    pub(crate) fn wait(&mut self, span: std::time::Duration) {
        let end = self.now + span;
        while let Some(due) = self.socket.poll_timeout().filter(|&due| due <= end) {
            self.now = due.max(self.now);
            self.socket.handle_timeout(self.now);
            self.tend();
        }
        self.now = end;
    }
}

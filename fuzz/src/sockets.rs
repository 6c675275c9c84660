//! A ROUTER and a DEALER, joined in memory, under arbitrary calls; what is on the way between them may be spoilt.
//!
//! Whatever happens, events come in their order and both sockets close in time. As long as nothing is spoilt no
//! message of a peer changes places or any comes twice, and as long as the connection is not cut either, none is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zmio::socket::{Address, Closed, Dealer, DialError, Pattern, Router};
use zmio::{Action, Event, Heartbeat, Instant, Limits, Mark, Message, Options, PeerId, Socket};

use super::tape::Tape;

/// One socket, its end of the connection, and the octets on their way to it.
struct End<P> {
    socket: Socket<P>,
    peer: Option<PeerId>,
    incoming: Vec<u8>,
    paused: bool,
    writing: bool,
    /// Octets and events so far, to see when all is quiet.
    moved: usize,
    connected: BTreeSet<PeerId>,
    sent: u32,
    /// Those that came, as long as nothing is spoilt.
    received: BTreeSet<u32>,
    /// The last that came from each peer. A DEALER that comes back is another peer to a ROUTER, and has turns of its own.
    last: BTreeMap<PeerId, u32>,
}

struct Pair {
    router: End<Router>,
    dealer: End<Dealer>,
    server: PeerId,
    now: Instant,
    dialling: bool,
    spoilt: bool,
    cut: bool,
}

/// A choice of options, then calls with their arguments.
pub fn sockets(input: &[u8]) {
    let mut tape = Tape::new(input);
    let mut pair = Pair::new(tape.octet());
    while !tape.is_empty() {
        pair.call(&mut tape);
        pair.act();
    }
    pair.end();
}

impl Pair {
    fn new(how: u8) -> Self {
        let mut options = Options::new().limits(Limits::small());
        if how & 1 != 0 {
            options = options.heartbeat(Heartbeat::every(Duration::from_millis(500)));
        }
        if how & 2 != 0 {
            let mark = Mark { messages: Some(3), octets: Some(1_000) };
            options = options.send_mark(mark).receive_mark(mark);
        }
        let (router, mut dealer) = (Socket::router(options.clone(), 1), Socket::dealer(options, 2));
        let now = Instant::ZERO;
        let server = dealer.connect(now, "");
        let (router, dealer) = (End::new(router), End::new(dealer));
        let mut pair = Self { router, dealer, server, now, dialling: false, spoilt: false, cut: false };
        pair.act();
        if how & 4 == 0 {
            pair.answer();
            pair.settle();
        }
        pair
    }

    fn call(&mut self, tape: &mut Tape<'_>) {
        let (now, call) = (self.now, tape.octet());
        match call % 16 {
            0 | 1 => {
                let message = self.dealer.message(tape.octet());
                self.dealer.sent += u32::from(self.dealer.socket.send(message).is_ok());
            }
            2 => {
                let message = self.router.message(tape.octet());
                if let Some(peer) = self.router.peer {
                    self.router.sent += u32::from(self.router.socket.send(peer, message).is_ok());
                }
            }
            3 => self.dealer.write(now, tape.octet().into(), &mut self.router.incoming),
            4 => self.router.write(now, tape.octet().into(), &mut self.dealer.incoming),
            5 => self.router.read(now, tape.octet().into()),
            6 => self.dealer.read(now, tape.octet().into()),
            7 => self.router.receive(1, self.spoilt),
            8 => self.dealer.receive(1, self.spoilt),
            9 => self.settle(),
            10 | 11 => {
                let incoming = if call & 16 == 0 { &mut self.router.incoming } else { &mut self.dealer.incoming };
                let (at, how) = (usize::from(tape.octet()), tape.octet());
                self.spoilt |= at < incoming.len();
                match incoming.get(at).copied() {
                    Some(octet) if how == 0 => incoming.insert(at, octet),
                    Some(_) if how == 255 => drop(incoming.remove(at)),
                    Some(octet) => incoming[at] = octet ^ how,
                    None => {}
                }
            }
            12 => self.wait(Duration::from_millis(10) * u32::from(tape.octet())),
            13 => self.hang_up(),
            14 if call & 16 != 0 && self.dialling => {
                self.dialling = false;
                self.dealer.socket.handle_dial_failed(now, self.server, DialError::Refused);
            }
            14 => self.answer(),
            _ if call & 16 != 0 => {
                let Self { router, dealer, .. } = self;
                match call & 32 {
                    0 => router.socket.set_receiving(!router.socket.is_receiving()),
                    _ => dealer.socket.set_receiving(!dealer.socket.is_receiving()),
                }
            }
            _ => {
                self.cut = true;
                if let Some(peer) = self.router.peer {
                    self.router.socket.disconnect(now, peer);
                }
            }
        }
    }

    /// The dial that was asked for gets through.
    fn answer(&mut self) {
        if std::mem::take(&mut self.dialling) {
            self.dealer.open(self.server);
            self.dealer.socket.handle_dialed(self.now, self.server, Address::Unnamed);
            match self.router.socket.accept(self.now, Address::Unnamed) {
                Ok(client) => self.router.open(client),
                Err(_) => self.hang_up(),
            }
        }
    }

    fn hang_up(&mut self) {
        self.cut = true;
        self.router.hang_up(self.now);
        self.dealer.hang_up(self.now);
    }

    /// Does what the sockets ask for, except writing.
    fn act(&mut self) {
        let was_up = self.is_up();
        self.dialling |= self.dealer.act(self.now);
        self.router.act(self.now);
        // A socket let go of the connection: the other one finds out, if it did not do so too.
        if was_up && !self.is_up() {
            assert!(self.cut || self.spoilt || self.now > Instant::ZERO, "the connection failed for no reason");
            self.hang_up();
            self.act();
        }
    }

    fn is_up(&self) -> bool {
        self.router.peer.is_some() && self.dealer.peer.is_some()
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        self.router.socket.handle_timeout(self.now);
        self.dealer.socket.handle_timeout(self.now);
        for due in [self.router.socket.poll_timeout(), self.dealer.socket.poll_timeout()] {
            assert!(due.is_none_or(|due| due > self.now), "a deadline is in the past");
        }
    }

    /// All that is on its way arrives, and is received.
    fn settle(&mut self) {
        let mut moved = None;
        while moved != Some(self.router.moved + self.dealer.moved) {
            moved = Some(self.router.moved + self.dealer.moved);
            self.act();
            self.dealer.write(self.now, usize::MAX, &mut self.router.incoming);
            self.router.write(self.now, usize::MAX, &mut self.dealer.incoming);
            self.router.read(self.now, usize::MAX);
            self.dealer.read(self.now, usize::MAX);
            self.router.receive(usize::MAX, self.spoilt);
            self.dealer.receive(usize::MAX, self.spoilt);
        }
        self.act();
    }

    fn end(&mut self) {
        if self.dialling {
            self.answer();
        }
        self.router.socket.set_receiving(true);
        self.dealer.socket.set_receiving(true);
        self.settle();
        if !self.cut && !self.spoilt && self.is_up() {
            assert_eq!(self.router.received.len(), self.dealer.sent as usize, "to the ROUTER");
            assert_eq!(self.dealer.received.len(), self.router.sent as usize, "to the DEALER");
        }
        self.cut = true;
        self.router.socket.close(self.now, Some(Duration::from_secs(1)));
        self.dealer.socket.close(self.now, Some(Duration::from_secs(1)));
        self.act();
        self.wait(Duration::from_secs(1));
        self.act();
        self.router.closed();
        self.dealer.closed();
    }
}

impl<P: Pattern> End<P> {
    fn new(socket: Socket<P>) -> Self {
        Self {
            socket,
            peer: None,
            incoming: Vec::new(),
            paused: false,
            writing: false,
            moved: 0,
            connected: BTreeSet::new(),
            sent: 0,
            received: BTreeSet::new(),
            last: BTreeMap::new(),
        }
    }

    /// The next message: its number and some octets more.
    fn message(&self, size: u8) -> Message {
        Message::multipart([self.sent.to_be_bytes().to_vec(), vec![size; usize::from(size) * 2]])
    }

    fn open(&mut self, peer: PeerId) {
        (self.peer, self.paused, self.writing) = (Some(peer), false, false);
        self.incoming.clear();
    }

    fn hang_up(&mut self, now: Instant) {
        if let Some(peer) = self.peer.take() {
            self.socket.handle_closed(now, peer, Closed::Reset);
        }
    }

    /// Is a dial asked for?
    fn act(&mut self, now: Instant) -> bool {
        let mut dial = false;
        while let Some(action) = self.socket.poll_action() {
            match action {
                Action::Dial { .. } => dial = true,
                Action::Transmit { peer } => self.writing |= self.peer == Some(peer),
                Action::PauseRead { peer } => self.paused |= self.peer == Some(peer),
                Action::ResumeRead { peer } if self.peer == Some(peer) => {
                    self.paused = false;
                    self.read(now, usize::MAX);
                }
                Action::Close { peer, .. } if self.peer == Some(peer) => self.peer = None,
                _ => {}
            }
        }
        dial
    }

    fn write(&mut self, now: Instant, most: usize, to: &mut Vec<u8>) {
        let Some(peer) = self.peer.filter(|_| self.writing) else { return };
        let mut left = most;
        while left > 0 && self.writing {
            let mut slices = [&[][..]; 3];
            let filled = self.socket.gather(peer, &mut slices);
            let mut octets = slices[..filled].concat();
            self.writing = !octets.is_empty();
            octets.truncate(left);
            left -= octets.len();
            self.moved += octets.len();
            self.socket.sent(now, peer, octets.len());
            to.extend(octets);
        }
    }

    fn read(&mut self, now: Instant, most: usize) {
        let Some(peer) = self.peer.filter(|_| !self.paused) else { return };
        let offered = most.min(self.incoming.len());
        let taken = self.socket.handle_input(now, peer, &self.incoming[..offered]);
        self.paused = taken < offered;
        self.incoming.drain(..taken);
        self.moved += taken;
    }

    fn receive(&mut self, most: usize, spoilt: bool) {
        for _ in 0..most {
            let Some(event) = self.socket.poll_event() else { return };
            self.moved += 1;
            match event {
                Event::Connected { peer, .. } => assert!(self.connected.insert(peer), "connected twice"),
                Event::Disconnected(gone) => assert!(self.connected.remove(&gone.peer), "it was not connected"),
                Event::Message { peer, message } => {
                    assert!(self.connected.contains(&peer), "a message of somebody who is not connected");
                    if !spoilt {
                        let number = message.frame(0).and_then(|number| number.try_into().ok());
                        let number = u32::from_be_bytes(number.expect("a message as it was sent"));
                        let last = self.last.insert(peer, number);
                        assert!(last.is_none_or(|last| last < number), "message {number} after {last:?}");
                        assert!(self.received.insert(number), "message {number} came twice");
                    }
                }
                _ => {}
            }
        }
    }

    /// The last event is Closed.
    fn closed(&mut self) {
        assert!(self.socket.is_closed(), "not closed in time");
        let mut last = None;
        while let Some(event) = self.socket.poll_event() {
            last = Some(event);
        }
        assert!(matches!(last, Some(Event::Closed { .. })), "{last:?}");
    }
}

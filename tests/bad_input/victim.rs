//! The socket that the bad input meets, and what became of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use zmio::socket::{Closed, Dealer, Pattern, Router};
use zmio::{Action, Event, Instant, Limits, Message, Options, PeerId, Socket};

use crate::support::octets;

/// Small enough to be passed in a test.
pub(crate) const MESSAGE_LIMIT: usize = 100_000;

/// How input may be cut up on the way.
pub(crate) const CHUNKS: [usize; 5] = [usize::MAX, 1, 2, 7, 64];

/// One input that ends its connection.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    pub(crate) octets: Vec<u8>,
    /// What the cause must say, in words of its `Display`.
    pub(crate) cause: &'static str,
}

pub(crate) fn bad(name: &'static str, octets: impl Into<Vec<u8>>, cause: &'static str) -> Bad {
    let octets = octets.into();
    Bad { name, octets, cause }
}

pub(crate) fn options() -> Options {
    let mut limits = Limits::default();
    limits.message_octets = MESSAGE_LIMIT as u64;
    Options::new().limits(limits)
}

/// A socket, with all that it said.
pub(crate) struct Victim<P: Pattern> {
    pub(crate) socket: Socket<P>,
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
    /// Connections that the socket ended, each with its last octets.
    pub(crate) closed: Vec<(PeerId, Vec<u8>)>,
    port: u16,
}

pub(crate) fn router() -> Victim<Router> {
    Victim::new(Socket::router(options(), 1))
}

pub(crate) fn dealer() -> Victim<Dealer> {
    Victim::new(Socket::dealer(options(), 1))
}

impl<P: Pattern> Victim<P> {
    pub(crate) fn new(socket: Socket<P>) -> Self {
        Victim { socket, now: Instant::ZERO, events: Vec::new(), closed: Vec::new(), port: 1024 }
    }

    pub(crate) fn accept(&mut self) -> PeerId {
        self.port += 1;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let peer = self.socket.accept(self.now, address).expect("room for a peer");
        self.drain();
        peer
    }

    /// Hands `input` over in pieces of `chunk` octets, until it is used up or the socket has closed the connection.
    pub(crate) fn feed(&mut self, peer: PeerId, input: &[u8], chunk: usize) {
        for mut piece in input.chunks(chunk.min(input.len()).max(1)) {
            while !piece.is_empty() && !self.has_closed(peer) {
                let taken = self.socket.handle_input(self.now, peer, piece);
                self.drain();
                assert!(taken > 0 || self.has_closed(peer), "paused, though everything was drained");
                piece = &piece[taken..];
            }
        }
    }

    pub(crate) fn eof(&mut self, peer: PeerId) {
        self.socket.handle_closed(self.now, peer, Closed::Eof);
        self.drain();
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.socket.poll_timeout().filter(|at| *at <= end) {
            self.now = deadline.max(self.now);
            self.socket.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn has_closed(&self, peer: PeerId) -> bool {
        self.closed.iter().any(|(closed, _)| *closed == peer)
    }

    /// What the socket said last on a connection that it ended.
    pub(crate) fn last_octets(&self, peer: PeerId) -> &[u8] {
        let (_, last) = self.closed.iter().find(|(closed, _)| *closed == peer).expect("closed");
        last
    }

    pub(crate) fn is_connected(&self, peer: PeerId) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Connected { peer: of, .. } if *of == peer))
    }

    pub(crate) fn messages(&self, peer: PeerId) -> Vec<Message> {
        let of_peer = |event: &Event| match event {
            Event::Message { peer: of, message } if *of == peer => Some(message.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of_peer).collect()
    }

    /// The cause of the end of a connection: whether it had been connected, and the words.
    pub(crate) fn end(&self, peer: PeerId) -> Option<(bool, String)> {
        let ends: Vec<_> = self.events.iter().filter_map(|event| end_of(event, peer)).collect();
        assert!(ends.len() <= 1, "one event for one end: {ends:?}");
        ends.into_iter().next()
    }

    /// A good client comes, sends, and is heard.
    pub(crate) fn assert_serves(&mut self, name: &str) -> PeerId {
        let good = self.accept();
        let input = [good_handshake(), octets::message(&["still", "there?"])].concat();
        self.feed(good, &input, usize::MAX);
        assert!(self.is_connected(good), "after {name}: a good client was not connected");
        let expected = Message::multipart(["still", "there?"]);
        assert_eq!(self.messages(good), [expected], "after {name}");
        good
    }

    /// All that the socket has to write to `peer`.
    pub(crate) fn written(&mut self, peer: PeerId) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            let mut slices: [&[u8]; 8] = [&[]; 8];
            let count = self.socket.gather(peer, &mut slices);
            let before = written.len();
            for slice in &slices[..count] {
                written.extend_from_slice(slice);
            }
            if written.len() == before {
                return written;
            }
            let sent = written.len() - before;
            self.socket.sent(self.now, peer, sent);
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.socket.poll_action() {
            if let Action::Close { peer, last, .. } = action {
                self.closed.push((peer, last.to_vec()));
            }
        }
        while let Some(event) = self.socket.poll_event() {
            self.events.push(event);
        }
    }
}

fn end_of(event: &Event, peer: PeerId) -> Option<(bool, String)> {
    match event {
        Event::Rejected(end) if end.peer == peer => Some((false, end.cause.to_string())),
        Event::Disconnected(end) if end.peer == peer => Some((true, end.cause.to_string())),
        _ => None,
    }
}

pub(crate) fn good_handshake() -> Vec<u8> {
    [octets::greeting(), octets::ready("DEALER", b"")].concat()
}

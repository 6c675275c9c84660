//! Sockets and connections whose peers are octets in memory. Shared by the benches and by `tests/allocations.rs`.
#![allow(dead_code, reason = "each crate compiles all of this and uses its own part")]

pub(crate) mod loads;

use zmio::conn::{Config, Connection, Credit, Event};
use zmio::message::Run;
use zmio::socket::{Action, Address, Dealer, Pattern, Router};
use zmio::{Instant, Message, Options, PeerId, Socket, SocketType};

/// Nothing here waits, so time stands still.
pub(crate) const NOW: Instant = Instant::ZERO;

/// As many as the engine writes at once.
const SLICES: usize = 64;

/// A DEALER's connection and a ROUTER's that have greeted each other, and all that each said.
pub(crate) struct Joined {
    pub(crate) dealer: Connection,
    pub(crate) router: Connection,
    dealer_said: Vec<u8>,
    router_said: Vec<u8>,
}

pub(crate) fn join() -> Joined {
    let connection = |socket_type| Connection::new(Config::new(socket_type).into(), NOW);
    let (mut dealer, mut router) = (connection(SocketType::Dealer), connection(SocketType::Router));
    let (mut dealer_said, mut router_said) = (Vec::new(), Vec::new());
    while !(dealer.is_ready() && router.is_ready()) {
        let octets = pending(&dealer);
        dealer.sent(octets.len());
        assert_eq!(receive(&mut router, &octets), 0);
        dealer_said.extend(octets);
        let octets = pending(&router);
        router.sent(octets.len());
        assert_eq!(receive(&mut dealer, &octets), 0);
        router_said.extend(octets);
    }
    Joined { dealer, router, dealer_said, router_said }
}

/// A ROUTER with so many connected peers.
pub(crate) fn router(options: Options, peers: usize) -> (Socket<Router>, Vec<PeerId>) {
    with_peers(Socket::router(options, 1), &join().dealer_said, peers)
}

/// A DEALER with so many connected peers.
pub(crate) fn dealer(options: Options, peers: usize) -> (Socket<Dealer>, Vec<PeerId>) {
    with_peers(Socket::dealer(options, 1), &join().router_said, peers)
}

/// Has each peer say its part of the handshake, whatever it hears.
fn with_peers<P: Pattern>(mut socket: Socket<P>, said: &[u8], peers: usize) -> (Socket<P>, Vec<PeerId>) {
    let peers: Vec<PeerId> = (0..peers)
        .map(|_| {
            let peer = socket.accept(NOW, Address::Unnamed).expect("a place for a peer");
            assert_eq!(socket.handle_input(NOW, peer, said), said.len());
            peer
        })
        .collect();
    write_all(&mut socket);
    while socket.poll_event().is_some() {}
    assert_eq!(socket.peers().len(), peers.len());
    (socket, peers)
}

/// A message of one frame of so many octets, with an empty one before it if it is delimited.
pub(crate) fn message(octets: usize, delimited: bool) -> Message {
    let body = vec![b'x'; octets];
    if delimited { Message::multipart([&[], &body[..]]) } else { Message::from(&body[..]) }
}

/// What goes over the wire for a message.
pub(crate) fn wire(message: &Message) -> Vec<u8> {
    let mut dealer = join().dealer;
    dealer.send(message.clone()).expect("ready, and its queue is empty");
    pending(&dealer)
}

/// Whole messages as the runs that a relay gets.
pub(crate) fn runs(octets: &[u8]) -> Vec<Run> {
    let mut router = join().router;
    let mut runs = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let step = router.handle_input(NOW, rest, Credit::UNLIMITED).expect("messages");
        rest = &rest[step.taken..];
        match step.event {
            Some(Event::Run(run)) => runs.push(run.to_run()),
            other => panic!("no run: {other:?}"),
        }
    }
    runs
}

/// Hands octets to a connection and drops the messages in them; how many there were.
pub(crate) fn receive(connection: &mut Connection, octets: &[u8]) -> usize {
    let mut messages = 0;
    let mut rest = octets;
    while !rest.is_empty() {
        let step = connection.handle_input(NOW, rest, Credit::UNLIMITED).expect("a peer that keeps the rules");
        rest = &rest[step.taken..];
        match step.event {
            Some(Event::Run(run)) => messages += run.messages() as usize,
            Some(Event::Message(_)) => messages += 1,
            Some(Event::Ready(_)) | None => {}
        }
    }
    messages
}

/// All that a connection has to write.
fn pending(connection: &Connection) -> Vec<u8> {
    let mut slices = [&[][..]; SLICES];
    let filled = connection.gather(&mut slices);
    slices[..filled].concat()
}

/// Has a connection write all that it has, to nowhere; how many octets.
pub(crate) fn write_pending(connection: &mut Connection) -> usize {
    let mut written = 0;
    loop {
        let mut slices = [&[][..]; SLICES];
        let filled = connection.gather(&mut slices);
        let octets = slices[..filled].iter().map(|slice| slice.len()).sum();
        if octets == 0 {
            return written;
        }
        connection.sent(octets);
        written += octets;
    }
}

/// Does what a socket asks for, with writes to nowhere; how many octets it wrote.
pub(crate) fn write_all<P: Pattern>(socket: &mut Socket<P>) -> usize {
    let mut written = 0;
    while let Some(action) = socket.poll_action() {
        let Action::Transmit { peer } = action else { continue };
        loop {
            let mut slices = [&[][..]; SLICES];
            let filled = socket.gather(peer, &mut slices);
            let octets = slices[..filled].iter().map(|slice| slice.len()).sum();
            if octets == 0 {
                break;
            }
            socket.sent(NOW, peer, octets);
            written += octets;
        }
    }
    written
}

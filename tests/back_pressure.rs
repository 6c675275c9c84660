//! Full queues at a ROUTER without I/O: every `Full` is followed by its `Writable`, and nothing stands still.

#[path = "support/octets.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod octets;

use zmio::socket::{Address, Router};
use zmio::{Action, Event, Instant, Mark, Message, Options, PeerId, SendError, Socket};

/// A ROUTER whose queues take four messages, and one connected peer that has read all so far.
fn connected() -> (Socket<Router>, PeerId) {
    let mark = Mark { messages: Some(4), octets: None };
    let mut socket = Socket::router(Options::new().send_mark(mark), 1);
    let peer = socket.accept(Instant::ZERO, Address::Unnamed).expect("room");
    let handshake = [octets::greeting(), octets::ready("DEALER", b"")].concat();
    assert_eq!(socket.handle_input(Instant::ZERO, peer, &handshake), handshake.len());
    write(&mut socket, peer);
    assert!(matches!(socket.poll_event(), Some(Event::Connected { .. })));
    (socket, peer)
}

fn fill(socket: &mut Socket<Router>, peer: PeerId) {
    for _ in 0..4 {
        socket.send(peer, Message::from("one of four")).expect("room");
    }
    let fifth = Message::from("one too many");
    assert_eq!(socket.send(peer, fifth.clone()), Err(SendError::Full(fifth)));
}

/// Does as a driver does: what the actions say, until there is nothing more to write. Says whether it was told to.
fn write(socket: &mut Socket<Router>, peer: PeerId) -> bool {
    let mut told = false;
    while let Some(action) = socket.poll_action() {
        told |= matches!(action, Action::Transmit { peer: whom } if whom == peer);
    }
    loop {
        let mut slices: [&[u8]; 4] = [&[]; 4];
        let count = socket.gather(peer, &mut slices);
        let octets = slices[..count].iter().map(|slice| slice.len()).sum();
        if !told || octets == 0 {
            return told;
        }
        socket.sent(Instant::ZERO, peer, octets);
    }
}

fn writables(socket: &mut Socket<Router>) -> usize {
    std::iter::from_fn(|| socket.poll_event()).filter(|event| matches!(event, Event::Writable { .. })).count()
}

#[test]
fn a_full_queue_that_drains_says_so_once() {
    let (mut socket, peer) = connected();
    fill(&mut socket, peer);
    assert_eq!(writables(&mut socket), 0);
    assert!(write(&mut socket, peer));
    assert_eq!(writables(&mut socket), 1);
    socket.send(peer, Message::from("again")).expect("room");
}

#[test]
fn a_lossy_send_does_not_take_back_the_promise_of_another() {
    let (mut socket, peer) = connected();
    fill(&mut socket, peer);
    assert!(!socket.send_lossy(peer, Message::from("dropped")));
    assert!(write(&mut socket, peer));
    assert_eq!(writables(&mut socket), 1);
}

#[test]
fn a_lossy_send_alone_promises_nothing() {
    let (mut socket, peer) = connected();
    while socket.send_lossy(peer, Message::from("until it is full")) {}
    assert!(write(&mut socket, peer));
    assert_eq!(writables(&mut socket), 0);
}

#[test]
fn a_discarded_queue_has_room_and_says_so() {
    let (mut socket, peer) = connected();
    fill(&mut socket, peer);
    socket.discard_queue(peer);
    write(&mut socket, peer);
    assert_eq!(writables(&mut socket), 1);
}

/// Otherwise the peer would never be written again: nobody wakes a driver that was told to write and found nothing.
#[test]
fn after_a_discarded_queue_the_next_message_is_written() {
    let (mut socket, peer) = connected();
    fill(&mut socket, peer);
    socket.discard_queue(peer);
    write(&mut socket, peer);
    socket.send(peer, Message::from("what comes later")).expect("room");
    assert!(write(&mut socket, peer), "the driver was not told");
}

/// As before, but the driver stands with a full transport in between: it goes on at the next writable edge.
#[test]
fn a_queue_discarded_while_the_transport_is_full_does_not_stand_still() {
    let (mut socket, peer) = connected();
    fill(&mut socket, peer);
    while socket.poll_action().is_some() {}
    socket.discard_queue(peer);
    let mut slices: [&[u8]; 4] = [&[]; 4];
    assert_eq!(socket.gather(peer, &mut slices), 0, "nothing at the writable edge");
    socket.send(peer, Message::from("what comes later")).expect("room");
    assert!(write(&mut socket, peer), "the driver was not told");
}

//! E48 and E52: failing writes, and our own end at any moment.

use std::net::TcpListener;
use std::time::Duration;

use zmio::socket::{Dealer, Router};
use zmio::{Event, Mark, Message, Options};

use crate::host::{Host, handshake};
use crate::support::node::{self, Node};
use crate::support::octets::{LONG, MORE, frame, greeting, header};
use crate::support::raw::Raw;

fn closed<P: zmio::socket::Pattern + 'static>(node: &Node<P>) -> u64 {
    let unsent = node.wait_for("Closed", |event| match event {
        Event::Closed { unsent } => Some(*unsent),
        _ => None,
    });
    node.until("the engine to have nothing left", |engine| engine.is_closed());
    node.until("no peer to be left", |engine| engine.socket().peers().len() == 0);
    unsent
}

fn close<P: zmio::socket::Pattern + 'static>(node: &Node<P>, linger: Duration) {
    node.with(move |engine| engine.close(Some(linger)));
}

/// E48: the write meets a peer that is gone.
#[test]
fn a_write_to_a_peer_that_reset_ends_that_peer_alone() {
    let host = Host::new(Options::new());
    for _ in 0..50 {
        let raw = Raw::connect(&host.endpoint).handshake("DEALER", b"");
        let address = raw.address();
        let peer = host.connected(address);
        // Reset, and written to before anything is read: all between two turns of the engine.
        host.node.with(move |engine| {
            raw.reset();
            for _ in 0..3 {
                let _ = engine.socket_mut().send(peer, Message::from("too late"));
                engine.flush();
            }
        });
        host.end_of(address).assert(true, "reset by the peer");
    }
    host.assert_unharmed();
}

/// E52.
#[test]
fn a_close_during_a_dial_that_nobody_answers_is_over_at_once() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("a listener");
    let address = listener.local_addr().expect("an address");
    // Its backlog is full from here on, and a dial then has no answer.
    let _waiting: Vec<socket2::Socket> = (0..8)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("nonblocking");
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    let ours: Node<Dealer> = node::dealer(Options::new());
    ours.connect(&format!("tcp://{}", address.as_socket().expect("TCP")));
    ours.send(&["never sent"]);
    close(&ours, Duration::ZERO);
    assert_eq!(closed(&ours), 1);
}

/// E52.
#[test]
fn a_close_during_the_handshake_is_over_at_once_on_either_side() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    for cut in [0, 10, 64, 70] {
        let ours = node::dealer(Options::new());
        ours.connect(&format!("tcp://{}", listener.local_addr().expect("an address")));
        ours.send(&["never sent"]);
        let mut raw = Raw::accept(&listener);
        raw.write(&handshake(b"")[..cut]);
        raw.read_greeting();
        close(&ours, Duration::ZERO);
        raw.read_to_end();
        drop(raw);
        assert_eq!(closed(&ours), 1);

        let ours = node::router(Options::new());
        let mut raw = Raw::connect(&ours.bind());
        raw.write(&handshake(b"")[..cut]);
        raw.read_greeting();
        close(&ours, Duration::ZERO);
        raw.read_to_end();
        drop(raw);
        assert_eq!(closed(&ours), 0);
    }
}

/// E52: what is half received is not delivered, and does not hold up the close.
#[test]
fn a_close_in_the_middle_of_what_a_peer_sends_is_over_at_once() {
    for half in [vec![MORE], frame(MORE, b"one"), header(LONG, 1 << 20), vec![4, 7, 4, b'P']] {
        let ours = node::router(Options::new());
        let mut raw = Raw::connect(&ours.bind()).handshake("DEALER", b"");
        ours.connected();
        raw.write(&half);
        close(&ours, Duration::from_secs(60));
        raw.read_to_end();
        drop(raw);
        assert_eq!(closed(&ours), 0);
        ours.expect_none("delivered", Duration::ZERO, |event| match event {
            Event::Message { message, .. } => Some(message.clone()),
            _ => None,
        });
    }
}

/// E52: it waits for the linger and no longer, and counts what it gives up.
#[test]
fn a_linger_that_expires_over_a_peer_that_never_reads_says_what_was_not_sent() {
    let ours: Node<Router> = node::router(Options::new().send_mark(Mark { messages: None, octets: None }));
    let raw = Raw::connect_narrow(&ours.bind()).handshake("DEALER", b"");
    let (peer, _) = ours.connected();
    // More than the buffers of both systems hold.
    for _ in 0..200 {
        ours.send(peer, &[vec![0; 100_000]]);
    }
    close(&ours, Duration::from_millis(200));
    let unsent = closed(&ours);
    assert!(unsent > 0 && unsent <= 200, "{unsent}");
    drop(raw);
}

/// E52: our greeting and READY may not have gone out yet.
#[test]
fn a_close_before_the_first_turn_of_a_connection_is_over_at_once() {
    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let mut raw = ours.with(move |engine| {
        let mut raw = Raw::connect(&endpoint);
        raw.write(&greeting());
        engine.close(Some(Duration::ZERO));
        raw
    });
    raw.read_to_end();
    drop(raw);
    assert_eq!(closed(&ours), 0);
}

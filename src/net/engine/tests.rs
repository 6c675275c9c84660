//! What loopback does not show by itself: deadlines, and addresses that nobody listens at.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use mio::{Events, Poll};

use super::*;
use crate::conn::Mark;
use crate::message::Message;
use crate::net::stream::{MIN_READ, Phase};
use crate::socket::tests::harness::hello;
use crate::socket::{Action, Backoff, Cause, Closed, Dealer, DialError, Options};
use crate::wire::{FrameKind, SocketType, encode};

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    poll: Poll,
    engine: Engine<Dealer>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::new())
    }

    fn with(options: Options) -> Self {
        let poll = Poll::new().unwrap();
        let socket = Socket::dealer(options, 1);
        let engine = Engine::new(poll.registry(), 0..10, socket, TcpOptions::new()).unwrap();
        Self { poll, engine }
    }

    /// A peer that the socket waits to be dialled for.
    fn peer(&mut self) -> PeerId {
        let socket = self.engine.socket_mut();
        let peer = socket.connect(Instant::ZERO, "tcp://127.0.0.1:1");
        assert!(matches!(socket.poll_action(), Some(Action::Dial { .. })));
        peer
    }

    /// A peer that was dialled, and its side of the connection.
    fn connected(&mut self) -> (PeerId, TcpStream) {
        let (listener, address) = listener();
        let peer = self.peer();
        self.engine.dial_next(peer, vec![address].into_iter(), None);
        self.until_open(peer);
        (peer, listener.accept().unwrap().0)
    }

    /// As `connected`, with the handshake complete.
    fn greeted(&mut self) -> TcpStream {
        let (_, mut other) = self.connected();
        other.write_all(&hello(SocketType::Router, b"")).unwrap();
        self.until_event(|event| matches!(event, Event::Connected { .. }));
        other
    }

    fn turn(&mut self) {
        let mut events = Events::with_capacity(16);
        let wait = self.engine.timeout().map_or(PATIENCE, |timeout| timeout.min(PATIENCE));
        self.poll.poll(&mut events, Some(wait)).unwrap();
        self.engine.process(&events);
        self.engine.flush();
    }

    fn until_open(&mut self, peer: PeerId) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.is_open(peer) {
            assert!(std::time::Instant::now() < deadline, "not connected");
            self.turn();
        }
    }

    fn until_event(&mut self, is_it: impl Fn(&Event) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.engine.poll_event() {
                if is_it(&event) {
                    return;
                }
            }
            assert!(std::time::Instant::now() < deadline, "it does not come");
            self.turn();
        }
    }

    fn is_open(&mut self, peer: PeerId) -> bool {
        let Some(Carrier::Stream(key)) = self.engine.carrier(peer) else { return false };
        let stream = self.engine.sources.stream_mut(key);
        stream.is_some_and(|stream| matches!(stream.phase, Phase::Open(_)))
    }

    /// The time is `later`, and nothing else has happened.
    fn pass(&mut self, later: Duration) {
        self.engine.now = self.engine.now() + later;
        self.engine.fire_timers();
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that is taken and where nobody listens.
fn silent() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn the_next_address_is_dialled_when_one_refuses() {
    let mut rig = Rig::new();
    let (_listener, address) = listener();
    let peer = rig.peer();
    let (_silent, silent) = silent();
    rig.engine.dial_next(peer, vec![silent, silent, address].into_iter(), None);
    rig.until_open(peer);
    assert!(rig.engine.poll_event().is_none(), "a failure was reported");
}

#[test]
fn an_address_that_is_reached_and_is_no_peer_does_not_hide_the_others_of_its_name() {
    // Longer than this test: it dials by hand.
    let backoff = Backoff { first: Duration::from_secs(3_600), cap: Duration::from_secs(3_600) };
    let mut rig = Rig::with(Options::new().backoff(backoff));
    let listeners = [(); 3].map(|()| listener());
    let addresses = listeners.each_ref().map(|(_, address)| *address);
    let peer = rig.peer();
    // Whom each dial reaches, and whether that is a peer. One that is stays the first choice.
    for (number, (reached, is_peer)) in
        [(0, false), (1, false), (2, false), (0, false), (1, true), (0, true), (0, false), (1, false)]
            .into_iter()
            .enumerate()
    {
        // A system may name one twice.
        rig.engine.dial_found(peer, [&addresses[..1], &addresses].concat());
        rig.until_open(peer);
        let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
        let stream = rig.engine.sources.stream_mut(key).unwrap();
        assert_eq!(stream.transport.io.peer_addr().unwrap(), addresses[reached], "dial {number}");
        let mut other = listeners[reached].0.accept().unwrap().0;
        if is_peer {
            other.write_all(&hello(SocketType::Router, b"")).unwrap();
            rig.until_event(|event| matches!(event, Event::Connected { .. }));
        } else {
            other.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
        }
        drop(other);
        rig.until_event(|event| matches!(event, Event::Retrying { .. }));
        rig.pass(Duration::from_secs(7_200));
        assert!(matches!(rig.engine.socket_mut().poll_action(), Some(Action::Dial { .. })), "dial {number}");
    }
}

#[test]
fn a_dial_without_an_answer_is_given_up_for_the_next_address_and_then_for_good() {
    let mut rig = Rig::new();
    // The events of both are never looked at, as if no answer came.
    let (_first, first) = listener();
    let (_second, second) = listener();
    let peer = rig.peer();
    rig.engine.dial_next(peer, vec![first, second].into_iter(), None);
    let dialled = |rig: &mut Rig| {
        let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { return None };
        rig.engine.sources.stream_mut(key).map(|stream| stream.transport.io.peer_addr().unwrap())
    };
    rig.pass(Duration::from_secs(9));
    assert_eq!(dialled(&mut rig), Some(first));
    rig.pass(Duration::from_secs(11));
    assert_eq!(dialled(&mut rig), Some(second));
    rig.pass(Duration::from_secs(9));
    assert_eq!(dialled(&mut rig), Some(second));
    rig.pass(Duration::from_secs(22));
    assert_eq!(dialled(&mut rig), None);
    assert_eq!(rig.engine.connections(), 0);
    let Some(Event::Retrying { cause, .. }) = rig.engine.poll_event() else { panic!("not reported") };
    assert_eq!(*cause, DialError::TimedOut.into());
}

#[test]
fn last_words_that_nobody_reads_are_given_up() {
    let mut rig = Rig::new();
    let (_listener, address) = listener();
    let peer = rig.peer();
    rig.engine.dial_next(peer, vec![address].into_iter(), None);
    rig.until_open(peer);
    // More than the system buffers.
    rig.engine.let_go(peer, vec![0; 64 << 20].into(), false);
    assert!(rig.engine.carrier(peer).is_none());
    assert_eq!(rig.engine.connections(), 1);
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.engine.connections(), 1);
    rig.pass(Duration::from_millis(1500));
    assert_eq!(rig.engine.connections(), 0);
}

/// It may stand in the run queue from when it was open.
#[test]
fn a_peer_whose_side_ends_still_gets_the_last_words_that_wait_for_room() {
    let mut rig = Rig::new();
    let (peer, other) = rig.connected();
    let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
    // More than the system buffers.
    rig.engine.let_go(peer, vec![0; 64 << 20].into(), false);
    other.shutdown(Shutdown::Write).unwrap();
    let stream = rig.engine.sources.stream_mut(key).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !matches!(stream.transport.io.peek(&mut [0]), Ok(0)) {
        assert!(std::time::Instant::now() < deadline, "the end does not come");
    }
    stream.transport.readable = true;
    rig.engine.visit(key);
    assert_eq!(rig.engine.connections(), 1, "it was dropped with its last words");
}

#[test]
fn a_peer_that_sends_on_after_the_end_is_cut_before_the_deadline() {
    let mut rig = Rig::new();
    let (peer, mut other) = rig.connected();
    let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
    rig.engine.let_go(peer, Bytes::new(), false);
    other.set_nonblocking(true).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    // No timer fires in here.
    while let Some(stream) = rig.engine.sources.stream_mut(key) {
        assert!(std::time::Instant::now() < deadline, "still drained");
        let _ = other.write(&[0; 4096]);
        stream.transport.readable = true;
        rig.engine.drain(key);
    }
}

#[test]
fn a_peer_that_never_ends_holds_up_a_close_for_the_linger_and_within_bounds() {
    const SECOND: Duration = Duration::from_secs(1);
    for (linger, cut) in [
        (None, 30 * SECOND),
        (Some(100 * SECOND), 30 * SECOND),
        (Some(5 * SECOND), 5 * SECOND),
        (Some(Duration::ZERO), SECOND),
    ] {
        let mut rig = Rig::new();
        let _other = rig.greeted();
        rig.engine.close(linger);
        rig.engine.flush();
        assert!(rig.engine.socket().is_closed() && !rig.engine.is_closed(), "{linger:?}");
        rig.pass(cut - SECOND / 2);
        assert_eq!(rig.engine.connections(), 1, "{linger:?}");
        rig.pass(cut + SECOND / 2);
        assert!(rig.engine.is_closed(), "{linger:?}");
    }
}

#[test]
fn another_close_shortens_the_wait_for_a_peer_that_never_ends() {
    let mut rig = Rig::new();
    let _other = rig.greeted();
    rig.engine.close(None);
    rig.engine.flush();
    rig.engine.close(Some(Duration::from_secs(5)));
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.engine.connections(), 1);
    rig.pass(Duration::from_secs(6));
    assert!(rig.engine.is_closed());
}

#[test]
fn a_peer_that_was_never_greeted_does_not_hold_up_a_close() {
    let mut rig = Rig::new();
    let (_, _other) = rig.connected();
    rig.engine.close(None);
    rig.engine.flush();
    assert_eq!(rig.engine.connections(), 1);
    rig.pass(Duration::from_millis(1500));
    assert!(rig.engine.is_closed());
}

#[test]
fn a_peer_that_sends_faster_than_it_is_drained_does_not_hold_up_a_turn() {
    let mut rig = Rig::new();
    let mut other = rig.greeted();
    rig.engine.scratch = BytesMut::zeroed(MIN_READ);
    rig.engine.close(None);
    other.write_all(&[0; 4 * MIN_READ]).unwrap();
    rig.engine.flush();
    let key = rig.engine.deadlines.first().unwrap().1;
    let deadline = std::time::Instant::now() + PATIENCE;
    for _ in 0..2 {
        let stream = rig.engine.sources.stream_mut(key).unwrap();
        while stream.transport.io.peek(&mut [0; MIN_READ]).unwrap_or(0) < MIN_READ {
            assert!(std::time::Instant::now() < deadline, "it does not come");
        }
        stream.transport.readable = true;
        assert_eq!(rig.engine.visit(key), MIN_READ);
    }
}

#[test]
fn little_more_than_the_receive_mark_is_read_of_a_peer_whatever_it_sent_before() {
    const MARK: usize = 64 * 1024;
    let mut rig = Rig::with(Options::new().receive_mark(Mark { messages: None, octets: Some(MARK as u64) }));
    let (peer, mut other) = rig.connected();
    let mut octets = hello(SocketType::Router, b"");
    // Commands that nobody keeps, as fast as they are read, and then messages that nobody takes.
    for _ in 0..1_000 {
        encode::frame(&mut octets, FrameKind::Command, &[&[1, b'X'][..], &[0; 10_000]].concat());
    }
    for _ in 0..4_000 {
        encode::frame(&mut octets, FrameKind::Last, &[0; 1_000]);
    }
    let writer = std::thread::spawn(move || {
        // Until the test is over.
        let _ = other.write_all(&octets);
        other
    });
    let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
    let deadline = std::time::Instant::now() + PATIENCE;
    let kept = loop {
        assert!(std::time::Instant::now() < deadline, "nothing was kept back");
        rig.turn();
        let Some(Phase::Open(open)) = rig.engine.sources.stream_mut(key).map(|stream| &stream.phase) else {
            panic!("not open")
        };
        if open.paused {
            break open.rest.len();
        }
    };
    assert!(kept > 0 && kept <= MARK + MIN_READ, "{kept} octets are kept back");
    drop(rig);
    drop(writer.join());
}

#[test]
fn a_message_that_is_nearly_whole_is_read_to_its_end_in_the_same_visit() {
    let mut rig = Rig::new();
    let (peer, mut other) = rig.connected();
    other.write_all(&hello(SocketType::Router, b"")).unwrap();
    while !matches!(rig.engine.poll_event(), Some(Event::Connected { .. })) {
        rig.turn();
    }
    let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
    let mut whole = Vec::new();
    encode::frame(&mut whole, FrameKind::Last, &[7; 4 * MIN_READ]);
    for _ in 0..3 {
        other.write_all(&whole).unwrap();
        let deadline = std::time::Instant::now() + PATIENCE;
        let stream = rig.engine.sources.stream_mut(key).unwrap();
        while stream.transport.io.peek(&mut vec![0; whole.len()]).unwrap_or(0) < whole.len() {
            assert!(std::time::Instant::now() < deadline, "it does not come");
        }
        let Phase::Open(open) = &mut stream.phase else { panic!("not open") };
        open.appetite = MIN_READ;
        stream.transport.readable = true;
        assert_eq!(rig.engine.visit(key), whole.len());
        assert!(matches!(rig.engine.poll_event(), Some(Event::Message { .. })));
    }
}

#[test]
fn a_peer_that_lives_and_cannot_be_written_to_is_gone_when_all_that_came_is_read() {
    for talks_on in [false, true] {
        cannot_be_written_to(talks_on);
    }
}

fn cannot_be_written_to(talks_on: bool) {
    let mut rig = Rig::new();
    let mut other = rig.greeted();
    other.set_nodelay(true).unwrap();
    let Some(Carrier::Stream(key)) = rig.engine.carrier(rig.engine.socket().peers().next().unwrap()) else {
        panic!("no stream")
    };
    let stream = rig.engine.sources.stream_mut(key).unwrap();
    // Each write fails from here on. The peer does not mind, so that its side has no end.
    stream.transport.io.shutdown(Shutdown::Write).unwrap();
    let mut whole = Vec::new();
    encode::frame(&mut whole, FrameKind::Last, &[7; 1_000]);
    // Not in one read.
    let whole = whole.repeat(2 * MIN_READ / 1_000);
    other.write_all(&whole).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while stream.transport.io.peek(&mut vec![0; whole.len()]).unwrap_or(0) < whole.len() {
        assert!(std::time::Instant::now() < deadline, "it does not come");
    }
    rig.engine.socket_mut().send(Message::from("to nobody")).unwrap();
    rig.engine.flush();
    let (mut messages, mut cause) = (0, None);
    while cause.is_none() {
        assert!(std::time::Instant::now() < deadline, "{messages} came, and no end");
        if talks_on {
            let _ = other.write_all(&[0, 0]);
        }
        rig.turn();
        while let Some(event) = rig.engine.poll_event() {
            match event {
                Event::Message { .. } => messages += 1,
                Event::Disconnected(end) => cause = Some(end.cause),
                _ => {}
            }
        }
    }
    assert_eq!(cause, Some(Cause::Transport(Closed::Reset)));
    assert!(messages == 2 * MIN_READ / 1_000 || talks_on && messages > 2 * MIN_READ / 1_000, "{messages} came");
    assert_eq!(rig.engine.connections(), 0);
}

#[test]
fn nobody_is_accepted_for_whom_there_is_no_place() {
    let mut rig = Rig::with(Options::new().max_peers(Some(1)));
    let endpoint = rig.engine.bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap().to_string();
    let clients = [0; 3].map(|_| TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap());
    while rig.engine.connections() == 0 {
        rig.turn();
    }
    rig.turn();
    assert_eq!(rig.engine.connections(), 1);
    for client in &clients {
        client.set_nonblocking(true).unwrap();
        let ended =
            client.peek(&mut [0; 1]).map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |octets| octets == 0);
        assert!(!ended, "it was accepted, and closed again");
    }
}

#[test]
fn what_lies_there_already_is_a_sign_of_life_also_where_the_budget_of_the_turn_ends_before() {
    let mut rig = Rig::new();
    let (peer, mut other) = rig.connected();
    let mut octets = hello(SocketType::Router, b"");
    // It will be heard once a second, it says.
    encode::ping(&mut octets, 10, b"");
    other.write_all(&octets).unwrap();
    while !rig.engine.socket().peer(peer).is_some_and(|peer| peer.is_connected()) {
        rig.turn();
    }
    other.write_all(&octets[octets.len() - 9..]).unwrap();
    let Some(Carrier::Stream(key)) = rig.engine.carrier(peer) else { panic!("no stream") };
    let stream = rig.engine.sources.stream_mut(key).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while stream.transport.io.peek(&mut [0; 9]).unwrap_or(0) == 0 {
        assert!(std::time::Instant::now() < deadline, "it does not come");
    }
    // We were away for longer, and it is not visited before the timers fire.
    rig.pass(Duration::from_secs(5));
    assert!(rig.engine.socket().peer(peer).is_some_and(|peer| peer.is_connected()));
    rig.pass(Duration::from_secs(10));
    assert!(!rig.engine.socket().peer(peer).is_some_and(|peer| peer.is_connected()), "now it was silent");
}

#[test]
fn what_fills_a_read_is_passed_on_from_where_it_lies() {
    let mut poll = Poll::new().unwrap();
    let socket = Socket::router(Options::new().deliver_runs(true), 1);
    let mut engine = Engine::new(poll.registry(), 0..10, socket, TcpOptions::new()).unwrap();
    // So little that a single message fills most of it.
    engine.scratch = BytesMut::zeroed(MIN_READ);
    let read_into = engine.scratch.as_ptr();
    let endpoint = engine.bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap().to_string();
    let mut clients = [0; 2].map(|_| {
        let mut client = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&hello(SocketType::Dealer, b"")).unwrap();
        client
    });
    let mut message = Vec::new();
    encode::frame(&mut message, FrameKind::Last, &[7; 10_000]);
    let (mut connected, mut places, mut said) = (0, Vec::new(), 0);
    let deadline = std::time::Instant::now() + PATIENCE;
    while said < 4 {
        assert!(std::time::Instant::now() < deadline, "{connected} are connected, {said} messages came");
        let mut events = Events::with_capacity(16);
        poll.poll(&mut events, engine.timeout().or(Some(PATIENCE))).unwrap();
        engine.process(&events);
        while let Some(event) = engine.poll_event() {
            if let Event::Run { peer, run } = event {
                said += run.messages();
                places.push(run.octets().as_ptr());
                engine.socket_mut().broadcast_run_except(Some(peer), &run);
            } else if let Event::Connected { .. } = event {
                connected += 1;
                if connected == 2 {
                    // Any system buffers that much.
                    clients[0].write_all(&message.repeat(4)).unwrap();
                }
            }
        }
        engine.flush();
    }
    assert_eq!(places[0], read_into);
    let mut got = vec![0; hello(SocketType::Router, b"").len() + 4 * message.len()];
    clients[1].read_exact(&mut got).unwrap();
    assert!(got.ends_with(&message.repeat(4)));
}

#[test]
fn a_stale_id_does_not_reach_the_stream_of_the_next_peer() {
    let mut rig = Rig::new();
    let (_listener, address) = listener();
    let old = rig.peer();
    rig.engine.disconnect(old);
    rig.engine.flush();
    while rig.engine.poll_event().is_some() {}
    let new = rig.peer();
    assert_eq!((old.index(), old == new), (new.index(), false));
    rig.engine.dial_next(new, vec![address].into_iter(), None);
    rig.engine.let_go(old, Bytes::new(), false);
    rig.until_open(new);
}

#[test]
fn a_name_that_is_not_answered_is_given_up() {
    let mut rig = Rig::new();
    let peer = rig.peer();
    // Nobody has opened the resolver, so that no thread looks it up.
    let deadline = Instant::after_epoch(Duration::from_secs(10));
    rig.engine.set_carrier(peer, Carrier::Lookup);
    rig.engine.resolver.start(peer, "nobody.invalid", 1, deadline);
    assert!(rig.engine.timeout().is_some_and(|timeout| timeout > Duration::from_secs(5)));
    rig.pass(Duration::from_secs(11));
    let Some(Event::Retrying { cause, .. }) = rig.engine.poll_event() else { panic!("not reported") };
    assert_eq!(cause.to_string(), "the name cannot be resolved: no answer within 10s");
    assert_eq!(rig.engine.resolver.poll_timeout(), None);
}

#[test]
fn an_engine_can_be_sent_to_a_thread() {
    fn check<T: Send>() {}
    check::<Engine<Dealer>>();
}

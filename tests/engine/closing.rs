//! How connections end, and what must not be lost by it.

use std::time::{Duration, Instant};

use zmio::socket::Closed;
use zmio::{Cause, Event, Message, Options, SendError};

use crate::octets;
use crate::turns::{End, Loop};

fn causes(net: &Loop) -> Vec<Cause> {
    net.routers[0].pick(|event| match event {
        Event::Disconnected(end) => Some(end.cause.clone()),
        _ => None,
    })
}

/// A ROUTER and a raw peer that has shaken hands with it.
fn connected() -> Loop {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    net.raw(&endpoint).greet("DEALER");
    net.until("connected", |net| !net.routers[0].connected().is_empty());
    net.until_quiet();
    net
}

#[test]
fn whole_messages_before_an_end_are_delivered_first() {
    let mut net = connected();
    let whole = octets::frame(0, b"whole").repeat(3);
    let half = octets::frame(0, b"half");
    net.raws[0].send(&[&whole[..], &half[..4]].concat());
    net.raws[0].shutdown();
    net.until("it is gone", |net| !causes(net).is_empty());
    assert_eq!(causes(&net), [Cause::Transport(Closed::Eof)]);
    assert!(matches!(net.routers[0].events.last(), Some(Event::Disconnected(_))));
    let bodies: Vec<_> = net.routers[0].messages().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [b"whole", b"whole", b"whole"]);
}

#[test]
fn a_write_error_does_not_lose_what_the_peer_sent_before() {
    let mut net = connected();
    let peer = net.routers[0].connected()[0];
    // The peer never reads what it was sent, so that its end is a reset.
    net.raws[0].reads = false;
    net.routers[0].engine.socket_mut().send(peer, Message::from("unread")).unwrap();
    net.until_quiet();
    net.raws[0].send(&octets::frame(0, b"last words").repeat(3));
    net.raws.clear();
    let engine = &mut net.routers[0].engine;
    // The first write after the reset fails, and nothing was read yet.
    engine.socket_mut().send(peer, Message::from("too late")).unwrap();
    engine.flush();
    let refused = engine.socket_mut().send(peer, Message::from("later still"));
    assert!(matches!(refused, Err(SendError::NoSuchPeer(_))), "{refused:?}");
    engine.flush();
    net.until("it is gone", |net| !causes(net).is_empty());
    assert_eq!(causes(&net), [Cause::Transport(Closed::Reset)]);
    let bodies: Vec<_> = net.routers[0].messages().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [b"last words", b"last words", b"last words"]);
}

#[test]
fn an_error_reaches_its_peer_before_the_end_although_the_peer_sent_more() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let raw = net.raw(&endpoint);
    raw.greet("PUB");
    raw.send(&octets::frame(0, &[0; 200]).repeat(100));
    net.until("the end", |net| net.raws[0].end.is_some());
    let frames = net.raws[0].frames();
    assert!(frames.iter().any(|frame| frame.is_command(b"ERROR")), "{frames:?}");
    assert_eq!(net.raws[0].end, Some(End::Eof));
}

#[test]
fn a_peer_that_does_not_end_its_side_is_dropped_after_a_while() {
    let mut net = connected();
    let peer = net.routers[0].connected()[0];
    let start = Instant::now();
    net.routers[0].engine.disconnect(peer);
    net.until("our side ended", |net| net.raws[0].end == Some(End::Eof));
    net.routers[0].engine.close(Some(Duration::ZERO));
    net.until("the connection is dropped", |net| net.routers[0].engine.is_closed());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_closing_connection_and_its_successor_at_the_same_place_do_not_meet() {
    let mut net = connected();
    let endpoint = net.routers[0].engine.local_endpoints().next().unwrap().clone();
    let old = net.routers[0].connected()[0];
    net.routers[0].engine.disconnect(old);
    net.until("our side ended", |net| net.raws[0].end == Some(End::Eof));
    net.raw(&endpoint).greet("DEALER");
    net.until("the next is connected", |net| net.routers[0].connected().len() == 2);
    let new = net.routers[0].connected()[1];
    assert_eq!((new.index(), new != old), (old.index(), true));

    net.raws[0].send(&octets::frame(0, b"from the old"));
    net.raws[1].send(&octets::frame(0, b"from the new"));
    net.routers[0].engine.disconnect(old);
    net.until("the new one is heard", |net| !net.routers[0].messages().is_empty());
    assert_eq!(net.routers[0].messages(), [(new, b"from the new".to_vec())]);
}

#[test]
fn a_closed_engine_has_sent_what_was_queued_and_takes_no_more() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let dealer = net.dealer(Options::new());
    dealer.connect(&endpoint);
    for number in 0..500 {
        dealer.engine.socket_mut().send(Message::from(format!("{number}"))).unwrap();
    }
    dealer.engine.close(None);
    net.until("it is closed", |net| net.dealers[0].engine.is_closed());
    assert!(matches!(net.dealers[0].events.last(), Some(Event::Closed { unsent: 0 })));
    net.until("all came", |net| net.routers[0].message_count() == 500);

    let router = &mut net.routers[0].engine;
    router.close(Some(Duration::ZERO));
    assert_eq!(router.local_endpoints().count(), 0);
    assert!(router.bind(&endpoint).is_err());
    assert!(router.connect(&endpoint).is_err());
    net.until("it is closed", |net| net.routers[0].engine.is_closed());
}

//! Octets: order, back-pressure, fairness, size.

use std::time::Duration;

use zmio::net::TcpOptions;
use zmio::{Event, Mark, Message, Options};

use crate::octets;
use crate::turns::Loop;

const MIB: usize = 1 << 20;

fn numbered(from: usize, to: usize, size: usize) -> Vec<u8> {
    let message = |number: usize| octets::frame(0, format!("{number:0size$}").as_bytes());
    (from..to).flat_map(message).collect()
}

fn numbers(net: &Loop, router: usize) -> Vec<usize> {
    let messages = net.routers[router].messages();
    let number = |body: &Vec<u8>| std::str::from_utf8(body).unwrap().parse().unwrap();
    messages.iter().map(|(_, body)| number(body)).collect()
}

#[test]
fn a_peer_is_not_read_while_the_application_does_not_receive_and_loses_nothing() {
    let mut net = Loop::new();
    let mark = Mark { messages: Some(10), octets: None };
    let endpoint = net.router(Options::new().receive_mark(mark)).bind("tcp://127.0.0.1:0");
    net.routers[0].stop_receiving();
    let raw = net.raw(&endpoint);
    raw.greet("DEALER");
    // More than the buffers of both systems hold.
    raw.send(&numbered(0, 20_000, 1000));
    net.until("the peer cannot go on", |net| net.raws[0].blocked);
    net.until_quiet();
    assert!(net.raws[0].blocked && !net.raws[0].has_written_all());

    net.routers[0].start_receiving();
    // The pieces are then read without an event for each of them.
    net.until("all came", |net| net.routers[0].message_count() == 20_000);
    assert!(numbers(&net, 0).into_iter().eq(0..20_000));
}

#[test]
fn what_was_read_and_not_taken_is_taken_after_the_pause_without_another_octet() {
    let mut net = Loop::new();
    let mark = Mark { messages: Some(10), octets: None };
    let endpoint = net.router(Options::new().receive_mark(mark)).bind("tcp://127.0.0.1:0");
    net.routers[0].stop_receiving();
    let raw = net.raw(&endpoint);
    raw.greet("DEALER");
    raw.send(&numbered(0, 500, 4));
    net.until("all is written", |net| net.raws[0].has_written_all());
    net.until_quiet();
    net.routers[0].start_receiving();
    net.until("all came", |net| net.routers[0].message_count() == 500);
    assert!(numbers(&net, 0).into_iter().eq(0..500));
}

#[test]
fn a_peer_that_floods_does_not_starve_another() {
    let mut net = Loop::new();
    let budget = TcpOptions::new().turn_octets(256 * 1024);
    let endpoint = net.router_with(Options::new(), 100, budget).bind("tcp://127.0.0.1:0");
    for _ in 0..2 {
        net.raw(&endpoint).greet("DEALER");
    }
    net.until("both are connected", |net| net.routers[0].connected().len() == 2);
    let flood = octets::frame(0, &[0; 50_000]).repeat(2000);
    net.raws[0].send(&flood);
    net.until("the flood runs", |net| net.routers[0].message_count() > 10);

    net.raws[1].send(&octets::frame(0, b"me too"));
    let heard = |net: &Loop| net.routers[0].messages().iter().any(|(_, body)| body == b"me too");
    for turn in 1.. {
        net.turn(Duration::from_secs(1));
        if heard(&net) {
            break;
        }
        // The flood is more than a thousand reads; a few turns may pass until the system has delivered.
        assert!(turn < 100, "not heard after {turn} turns");
    }
    assert!(!net.raws[0].has_written_all(), "the flood was over before");
}

#[test]
fn a_turn_reads_about_its_budget_and_goes_on_in_the_next() {
    let mut net = Loop::new();
    let budget = TcpOptions::new().turn_octets(64 * 1024);
    let endpoint = net.router_with(Options::new(), 100, budget).bind("tcp://127.0.0.1:0");
    for _ in 0..8 {
        net.raw(&endpoint).greet("DEALER");
    }
    net.until("all are connected", |net| net.routers[0].connected().len() == 8);
    let batch = octets::frame(0, &[0; 10_000]).repeat(20);
    for raw in &mut net.raws {
        raw.send(&batch);
    }
    let mut before = 0;
    net.until("all is received", |net| {
        let now = net.routers[0].message_count();
        assert!((now - before) * 10_000 <= 3 * 64 * 1024, "{} messages in one turn", now - before);
        before = now;
        now == 160
    });
}

#[test]
fn a_message_of_16_mib_goes_both_ways() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let dealer = net.dealer(Options::new());
    dealer.connect(&endpoint);
    let body: Vec<u8> = (0..16 * MIB).map(|at| (at % 251) as u8).collect();
    dealer.engine.socket_mut().send(Message::from(body.clone())).unwrap();
    net.until("it came", |net| !net.routers[0].messages().is_empty());
    let (peer, came) = net.routers[0].messages().remove(0);
    assert!(came == body, "not what was sent");
    net.routers[0].engine.socket_mut().send(peer, Message::from(came)).unwrap();
    net.until("it came back", |net| !net.dealers[0].messages().is_empty());
    assert!(net.dealers[0].messages()[0].1 == body, "not what was sent");
}

#[test]
fn a_peer_that_does_not_read_holds_up_nobody_and_gets_all_in_order_when_it_does() {
    let mut net = Loop::new();
    let endlessly = Mark { messages: None, octets: None };
    let endpoint = net.router(Options::new().send_mark(endlessly)).bind("tcp://127.0.0.1:0");
    for _ in 0..2 {
        net.raw(&endpoint).greet("DEALER");
        let nth = net.raws.len();
        net.until("connected", |net| net.routers[0].connected().len() == nth);
    }
    net.raws[0].reads = false;
    let peers = net.routers[0].connected();
    for number in 0..20_000 {
        let message = Message::from(format!("{number:01000}"));
        net.routers[0].engine.socket_mut().send(peers[0], message).unwrap();
    }
    net.routers[0].engine.socket_mut().send(peers[1], Message::from("quick")).unwrap();
    // Its READY comes first.
    net.until("the other has its message", |net| net.raws[1].frames().len() == 2);
    net.until_quiet();

    net.raws[0].reads = true;
    // What lies there already is no event any more.
    net.raws[0].pump();
    net.until("all came", |net| net.raws[0].received.len() > 20_000 * 1009);
    let frames = net.raws[0].frames();
    assert_eq!(frames.len(), 20_001);
    for (number, frame) in frames[1..].iter().enumerate() {
        assert_eq!(frame.body, format!("{number:01000}").as_bytes());
    }
}

#[test]
fn a_forgotten_flush_is_made_up_for() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    net.dealer(Options::new()).connect(&endpoint);
    net.until("connected", |net| !net.dealers[0].connected().is_empty());
    net.until_quiet();
    let dealer = &mut net.dealers[0].engine;
    dealer.socket_mut().send(Message::from("hello")).unwrap();
    assert_eq!(dealer.timeout(), Some(Duration::ZERO));
    dealer.process(&mio::Events::with_capacity(1));
    assert_ne!(dealer.timeout(), Some(Duration::ZERO));
    net.until("it is heard", |net| !net.routers[0].messages().is_empty());
}

#[test]
fn room_made_by_a_flush_is_told_without_another_event() {
    let mut net = Loop::new();
    let one = Mark { messages: Some(1), octets: None };
    let endpoint = net.router(Options::new().send_mark(one)).bind("tcp://127.0.0.1:0");
    net.raw(&endpoint).greet("DEALER");
    net.until("connected", |net| !net.routers[0].connected().is_empty());
    net.until_quiet();
    let peer = net.routers[0].connected()[0];
    let socket = net.routers[0].engine.socket_mut();
    socket.send(peer, Message::from("first")).unwrap();
    socket.send(peer, Message::from("second")).unwrap_err();
    let engine = &mut net.routers[0].engine;
    engine.flush();
    assert_eq!(engine.timeout(), Some(Duration::ZERO));
    assert!(matches!(engine.poll_event(), Some(Event::Writable { .. })));
    assert_ne!(engine.timeout(), Some(Duration::ZERO));
}

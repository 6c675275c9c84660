//! Sending: when there is room, when there is none, when there is nobody.

use std::net::TcpListener;
use std::time::Duration;

use zmio::net::{HandleEvent, HandleOptions};
use zmio::{Dealer, Message, Options, Router, SendError};

use crate::support::PATIENCE;
use crate::support::raw::Raw;
use crate::{
    at, call, connected, dealer, dealer_with, eventually, fill, fill_peer, id, large, mark, number, numbered, peer,
    router, router_with, talk,
};

#[test]
fn a_router_accepts_exactly_the_mark_beyond_what_the_system_took() {
    let router = router_with(Options::new().send_mark(mark(10)));
    let _silent = Raw::connect(&at(&router)).handshake("DEALER", b"silent");
    let silent = connected(&router);

    let accepted = fill_peer(&router, &silent, 10);
    let counts = peer(&router, &silent).expect("it is there").counts;
    assert_eq!((counts.queued, counts.sent + counts.queued), (10, accepted));
    let Err(SendError::Full(back)) = router.send(&silent, "one more") else { panic!("it is full") };
    assert_eq!(back, Message::from("one more"));
    assert!(matches!(router.send_timeout(&silent, "one more", Duration::ZERO), Err(SendError::Full(_))));
    assert!(matches!(router.send_timeout(&silent, "one more", Duration::from_millis(20)), Err(SendError::Full(_))));
    assert_eq!(router.close(Some(Duration::ZERO)), Ok(10));
}

#[test]
fn a_router_that_waits_for_room_gets_it_when_the_peer_reads() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let mut slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    fill_peer(&router, &to, 4);

    let sender = router.clone();
    let waiting = call(move || sender.send_timeout(&to, "at last", PATIENCE));
    while slow.read_frame().body != b"at last" {}
    assert_eq!(waiting.returns(), Ok(()));
}

#[test]
fn a_send_that_waits_for_a_peer_that_goes_gives_the_message_back() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    fill_peer(&router, &to, 4);

    let sender = router.clone();
    let waiting = call(move || sender.send_timeout(&to, "too late", PATIENCE));
    drop(slow);
    assert_eq!(waiting.returns(), Err(SendError::NoSuchPeer("too late".into())));
}

#[test]
fn a_peer_whose_connection_is_dead_is_nobody_although_what_it_sent_is_still_to_be_received() {
    let router = router_with(Options::new().send_mark(mark(4)).receive_mark(mark(4)));
    let mut raw = Raw::connect(&at(&router)).handshake("DEALER", b"gone");
    let to = connected(&router);
    fill_peer(&router, &to, 4);
    talk(&mut raw, &router, &to);
    let sender = router.clone();
    let waiting = call(move || sender.send_timeout(&to, "too late", PATIENCE));
    // It has not read what came: a reset.
    drop(raw);
    assert_eq!(waiting.returns(), Err(SendError::NoSuchPeer("too late".into())));
    assert_eq!(router.send("gone", "later"), Err(SendError::NoSuchPeer("later".into())));
    assert_eq!(router.peers().expect("it is open").len(), 1, "its end is not found yet");
    eventually("it is found behind what it sent", || {
        while router.try_recv().is_ok() {}
        router.peers().expect("it is open").is_empty().then_some(())
    });
}

#[test]
fn a_peer_that_reads_is_not_full_however_fast_it_is_sent_to() {
    let router = router_with(Options::new().send_mark(mark(1)));
    let mut raw = Raw::connect(&at(&router)).handshake("DEALER", b"reader");
    let to = connected(&router);
    // The system takes them all at once.
    (0..2_000).for_each(|n| router.send(&to, numbered(n)).expect("there is room"));
    let closing = call(move || router.close(Some(PATIENCE)));
    let (frames, _) = crate::support::octets::frames(&raw.read_to_end());
    assert_eq!(frames.len(), 2_000);
    drop(raw);
    assert_eq!(closing.returns(), Ok(0));
}

#[test]
fn a_full_peer_does_not_hold_up_another() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let _slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    fill_peer(&router, &connected(&router), 4);
    let quick = dealer(&router);
    let to = connected(&router);
    for n in 0..1_000 {
        router.send_timeout(&to, numbered(n), PATIENCE).expect("it reads");
        assert_eq!(number(&quick.recv_timeout(PATIENCE).expect("it comes")), n);
    }
}

#[test]
fn nobody_by_that_name_gives_the_message_back() {
    let router = router();
    assert_eq!(router.send_timeout("nobody", "hello", PATIENCE), Err(SendError::NoSuchPeer("hello".into())));
    assert_eq!(router.send("nobody", "hello"), Err(SendError::NoSuchPeer("hello".into())));
}

#[test]
fn a_peer_that_is_gone_between_receiving_and_replying_gives_the_reply_back() {
    let router = router();
    let mut raw = Raw::connect(&at(&router)).handshake("DEALER", b"hasty");
    raw.write(&crate::support::octets::message(&["a question"]));
    let (from, _) = router.recv_timeout(PATIENCE).expect("it asks");
    drop(raw);
    assert_eq!(crate::disconnected(&router), from);
    assert_eq!(router.send(&from, "an answer"), Err(SendError::NoSuchPeer("an answer".into())));
}

#[test]
fn the_first_message_of_each_new_peer_can_be_answered_at_once() {
    let router = router();
    for n in 0..50 {
        let dealer = dealer(&router);
        dealer.send(numbered(n)).expect("it waits for the connection");
        let (from, message) = router.recv_timeout(PATIENCE).expect("it comes");
        router.send(&from, message).expect("whoever was heard can be answered");
        assert_eq!(number(&dealer.recv_timeout(PATIENCE).expect("an answer")), n);
    }
}

#[test]
fn a_peer_that_is_listed_or_announced_can_be_sent_to_at_once() {
    let router = router();
    for n in 0..25 {
        let one = dealer(&router);
        router.send(connected(&router), numbered(n)).expect("it was announced");
        assert_eq!(number(&one.recv_timeout(PATIENCE).expect("it comes")), n);
        drop(one);
        crate::disconnected(&router);

        let other = dealer(&router);
        let listed = eventually("it is listed", || router.peers().expect("it is open").pop());
        router.send(&listed.identity, numbered(n)).expect("it is listed");
        assert_eq!(number(&other.recv_timeout(PATIENCE).expect("it comes")), n);
        drop(other);
        crate::disconnected(&router);
    }
}

#[test]
fn threads_that_send_to_one_peer_each_keep_their_order() {
    const THREADS: u32 = 4;
    const EACH: u32 = 2_000;
    let router = router();
    let dealer = dealer(&router);
    let to = connected(&router);
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (router, to) = (router.clone(), to.clone());
            call(move || (0..EACH).try_for_each(|n| router.send_timeout(&to, numbered(thread << 16 | n), PATIENCE)))
        })
        .collect();
    let mut next = [0; THREADS as usize];
    for _ in 0..THREADS * EACH {
        let n = number(&dealer.recv_timeout(PATIENCE).expect("it comes"));
        let place = &mut next[(n >> 16) as usize];
        assert_eq!(n & 0xffff, *place, "of thread {}", n >> 16);
        *place += 1;
    }
    senders.into_iter().for_each(|sender| sender.returns().expect("all is sent"));
}

#[test]
fn a_dealer_accepts_exactly_the_mark_while_nobody_is_connected() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("tcp://{}", nobody.local_addr().expect("an address"));
    let dealer = Dealer::open(HandleOptions::new().socket(Options::new().send_mark(mark(7)))).expect("a thread");
    assert_eq!(dealer.try_send("no endpoint"), Err(SendError::Full("no endpoint".into())));
    let peer = dealer.dial(&endpoint).expect("an endpoint");
    for n in 0..7 {
        dealer.try_send(numbered(n)).expect("there is room");
    }
    assert!(matches!(dealer.try_send("one more"), Err(SendError::Full(_))));
    assert!(matches!(dealer.send_timeout("one more", Duration::ZERO), Err(SendError::Full(_))));
    dealer.disconnect(peer).expect("it is open");
    assert!(matches!(dealer.send_timeout("no endpoint", Duration::from_millis(20)), Err(SendError::Full(_))));
    assert_eq!(dealer.close(Some(Duration::ZERO)), Ok(7));
}

#[test]
fn a_dealer_accepts_exactly_the_mark_beyond_what_the_system_took() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("an address"));
    let dealer = Dealer::open(HandleOptions::new().socket(Options::new().send_mark(mark(10)))).expect("a thread");
    dealer.dial(&endpoint).expect("an endpoint");
    let mut server = Raw::accept(&listener).handshake("ROUTER", b"");
    let counts = || Some(dealer.peers().expect("it is open").pop()?.counts);
    let accepted = fill(10, || dealer.try_send(large()).is_ok(), || Some(counts()?.queued));
    assert_eq!(accepted, counts().expect("it is there").sent + 10);

    let sender = dealer.clone();
    let waiting = call(move || sender.send("at last"));
    while server.read_frame().body != b"at last" {}
    assert_eq!(waiting.returns(), Ok(()));
}

#[test]
fn a_dealer_that_waits_without_a_peer_sends_when_one_comes() {
    let dealer = Dealer::bind("tcp://127.0.0.1:0").expect("a free port");
    let endpoint = dealer.local_endpoints().expect("it is open")[0].to_string();
    let sender = dealer.clone();
    let waiting = call(move || sender.send("hello"));
    let router = Router::open(HandleOptions::new()).expect("a thread");
    router.dial(&endpoint).expect("an endpoint");
    assert_eq!(waiting.returns(), Ok(()));
    let (_, message) = router.recv_timeout(PATIENCE).expect("it comes");
    assert_eq!(message, Message::from("hello"));
}

#[test]
fn a_broadcast_goes_to_all_but_one() {
    let router = router();
    let dealers = ["a", "b", "c"].map(|name| dealer_with(&router, Options::new().identity(id(name))));
    dealers.iter().for_each(|_| drop(connected(&router)));
    router.broadcast_except(Some(&id("b")), "not for b").expect("it is open");
    router.broadcast_except(None, "for all").expect("it is open");
    router.broadcast_except(Some(&id("gone")), "for all again").expect("nobody is left out");
    for (dealer, name) in dealers.iter().zip(["a", "b", "c"]) {
        let expected = ["not for b", "for all", "for all again"].into_iter().skip(usize::from(name == "b"));
        for text in expected {
            assert_eq!(dealer.recv_timeout(PATIENCE), Ok(text.into()), "at {name}");
        }
        assert!(dealer.try_recv().is_err());
    }
}

#[test]
fn a_full_peer_alone_loses_a_broadcast_and_it_is_counted() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let _slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let slow = connected(&router);
    fill_peer(&router, &slow, 4);
    let quick = dealer(&router);
    connected(&router);
    for n in 0..100 {
        router.broadcast_except(None, numbered(n)).expect("it is open");
        assert_eq!(number(&quick.recv_timeout(PATIENCE).expect("it comes")), n);
    }
    assert_eq!(peer(&router, &slow).expect("it is there").counts.dropped, 100);
}

#[test]
fn what_there_was_room_for_is_sent_whatever_is_broadcast_before_it() {
    const DIRECT: u32 = 1 << 31;
    let router = router_with(Options::new().send_mark(mark(2)));
    let dealer = dealer(&router);
    let to = connected(&router);
    let sender = router.clone();
    let sending = call(move || {
        for n in 0..500 {
            (0..3).try_for_each(|_| sender.broadcast_except(None, numbered(n)))?;
            sender.send(&to, numbered(DIRECT | n))?;
        }
        Ok::<_, SendError>(())
    });
    for n in 0..500 {
        // Broadcasts may be dropped; what is sent never.
        while number(&dealer.recv_timeout(PATIENCE).expect("each comes")) != DIRECT | n {}
    }
    sending.returns().expect("there is room in time");
    assert!(!router.events().any(|event| matches!(event, HandleEvent::Overtaken { .. })));
}

#[test]
fn broadcasts_faster_than_the_io_thread_takes_no_more_memory_than_the_mark() {
    // Without a bound, a million of these would lie on the desk before the first is taken over.
    let router = router_with(Options::new().send_mark(mark(10)));
    let _dealer = dealer(&router);
    connected(&router);
    for n in 0..20_000 {
        router.broadcast_except(None, numbered(n)).expect("it is open");
    }
    assert!(router.close(Some(Duration::ZERO)).expect("it works") <= 20);
}

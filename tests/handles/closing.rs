//! The end of a handle: by a close, by a drop, in the middle of calls.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use zmio::net::{HandleOptions, OpenError, RecvError};
use zmio::{Dealer, Message, Options, Router, SendError};

use crate::support::PATIENCE;
use crate::support::octets;
use crate::support::raw::Raw;
use crate::{
    at, call, connected, dealer, eventually, fill_peer, mark, number, numbered, peer, router, router_with, talk,
};

fn is_closed(error: &OpenError) -> bool {
    // Until the last message is written, the socket refuses; after that, the handle.
    matches!(error, OpenError::Closed | OpenError::Bind(_) | OpenError::Connect(_))
}

#[test]
fn a_close_ends_every_call_that_waits() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let _stuck = Raw::connect(&at(&router)).handshake("DEALER", b"stuck");
    let to = connected(&router);
    fill_peer(&router, &to, 4);
    let on = |act: fn(Router) -> bool| {
        let router = router.clone();
        call(move || act(router))
    };
    let calls = [
        on(|router| router.recv() == Err(RecvError::Closed)),
        on(|router| router.recv_timeout(PATIENCE * 9) == Err(RecvError::Closed)),
        on(|router| router.iter().count() == 0),
        on(|router| matches!(router.event_timeout(PATIENCE * 9), Err(RecvError::Closed) | Ok(_))),
        on(|router| matches!(router.send_timeout("stuck", "x", PATIENCE * 9), Err(SendError::Closing(_)))),
        on(|router| router.close(Some(Duration::from_millis(50))).is_ok()),
    ];
    assert_eq!(router.close(Some(Duration::from_millis(50))), Ok(4));
    for (place, call) in calls.into_iter().enumerate() {
        assert!(call.returns(), "call {place}");
    }
    assert_eq!(router.close(None), Ok(4), "whoever asks again hears the same");
}

#[test]
fn a_dealer_that_waits_for_a_peer_is_ended_by_a_close() {
    let dealer = Dealer::bind("tcp://127.0.0.1:0").expect("a free port");
    let (sender, receiver) = (dealer.clone(), dealer.clone());
    let sending = call(move || sender.send("hello"));
    let receiving = call(move || receiver.recv());
    assert_eq!(dealer.close(None), Ok(0));
    assert_eq!(sending.returns(), Err(SendError::Closing("hello".into())));
    assert_eq!(receiving.returns(), Err(RecvError::Closed));
}

#[test]
fn every_call_after_the_close_is_an_error() {
    let router = router();
    let endpoint = router.local_endpoints().expect("it is open").remove(0);
    let someone = router.dial(&endpoint.to_string()).expect("an endpoint");
    assert_eq!(router.close(None), Ok(0));
    let to = crate::id("nobody");
    assert!(matches!(router.send(&to, "x"), Err(SendError::Closing(_))));
    assert!(matches!(router.send_timeout(&to, "x", PATIENCE), Err(SendError::Closing(_))));
    assert!(matches!(router.broadcast_except(None, "x"), Err(SendError::Closing(_))));
    assert_eq!(router.recv(), Err(RecvError::Closed));
    assert_eq!(router.try_recv(), Err(RecvError::Closed));
    assert_eq!(router.recv_timeout(PATIENCE), Err(RecvError::Closed));
    router.events().for_each(drop);
    assert!(matches!(router.event_timeout(PATIENCE), Err(RecvError::Closed)));
    for refused in [
        router.listen("tcp://127.0.0.1:0").map(drop),
        router.dial("tcp://127.0.0.1:1").map(drop),
        router.unbind(&endpoint),
        router.disconnect(someone),
        router.local_endpoints().map(drop),
        router.peers().map(drop),
    ] {
        assert!(refused.as_ref().is_err_and(is_closed), "{refused:?}");
    }
}

#[test]
fn what_was_received_before_the_close_is_still_given_out() {
    let router = router();
    let dealer = dealer(&router);
    (0..10).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
    let from = connected(&router);
    eventually("all has come", || peer(&router, &from).filter(|peer| peer.counts.received == 10));
    router.close(None).expect("it works");
    let received: Vec<_> = router.iter().map(|(_, message)| number(&message)).collect();
    assert_eq!(received, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_close_says_exactly_how_many_messages_were_not_sent() {
    let router = router_with(Options::new().send_mark(mark(50)));
    let mut slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    let accepted = fill_peer(&router, &to, 50);
    let unsent = router.close(Some(Duration::from_millis(50))).expect("it works");
    let (frames, _) = octets::frames(&slow.read_to_end());
    assert_eq!(frames.len() as u64 + unsent, accepted);
}

#[test]
fn a_close_does_not_wait_for_a_peer_that_is_gone_and_whose_messages_nobody_received() {
    let router = router_with(Options::new().send_mark(mark(4)).receive_mark(mark(4)));
    let mut raw = Raw::connect(&at(&router)).handshake("DEALER", b"gone");
    let to = connected(&router);
    fill_peer(&router, &to, 4);
    talk(&mut raw, &router, &to);
    // It has not read what came: a reset.
    drop(raw);
    let closing = router.clone();
    let unsent = call(move || closing.close(None)).returns().expect("it works");
    assert!((4..=5).contains(&unsent), "{unsent}: the mark, and what was begun");
}

#[test]
fn sends_that_race_with_a_close_are_sent_or_given_back_and_never_both() {
    for _ in 0..20 {
        let router = router();
        let dealer = dealer(&router);
        dealer.send("here").expect("it waits for the connection");
        router.recv_timeout(PATIENCE).expect("it comes");
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let dealer = dealer.clone();
                call(move || (0..).take_while(|n| dealer.send(numbered(*n)).is_ok()).count() as u64)
            })
            .collect();
        let receiver = router.clone();
        let receiving = call(move || receiver.iter().count() as u64);
        eventually("some are sent", || dealer.peers().ok()?.pop().filter(|peer| peer.counts.sent > 10));
        let unsent = dealer.close(Some(PATIENCE)).expect("it works");
        let accepted: u64 = senders.into_iter().map(|sender| sender.returns()).sum();
        crate::disconnected(&router);
        router.close(None).expect("it works");
        assert_eq!((receiving.returns(), unsent), (accepted, 0));
    }
}

#[test]
fn a_close_lingers_until_a_slow_peer_has_read() {
    let router = router_with(Options::new().send_mark(mark(50)));
    let mut slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    let accepted = fill_peer(&router, &to, 50);
    let closing = call(move || router.close(None));
    (0..accepted).for_each(|_| drop(slow.read_frame()));
    assert!(slow.read_to_end().is_empty());
    drop(slow);
    assert_eq!(closing.returns(), Ok(0));
}

#[test]
fn what_a_close_counts_as_sent_reaches_a_peer_that_goes_on_sending_and_reads_slowly() {
    const MESSAGES: u64 = 64;
    let router = router();
    // Its buffer holds a few of them, the rest is in ours.
    let mut slow = Raw::connect_narrow(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    (0..MESSAGES).for_each(|_| router.send(&to, vec![7; 1_000]).expect("there is room"));
    eventually("all is sent", || peer(&router, &to).filter(|peer| peer.counts.queued == 0));
    let closing = call(move || router.close(None));
    let chatter = octets::frame(0, &[0; 1_000]).repeat(64);
    let start = Instant::now();
    // Longer than a peer that is in the wrong is heard out, and more than it may say.
    while start.elapsed() < Duration::from_millis(1_500) {
        slow.write(&chatter);
        thread::sleep(Duration::from_millis(10));
    }
    for n in 0..MESSAGES {
        assert_eq!(slow.read_frame().body, [7; 1_000], "{n}");
        slow.write(&chatter);
    }
    assert!(slow.read_to_end().is_empty());
    drop(slow);
    assert_eq!(closing.returns(), Ok(0));
}

#[test]
fn a_second_close_ends_the_wait_of_the_first_for_a_peer_that_never_ends() {
    let router = router();
    let mut silent = Raw::connect(&at(&router)).handshake("DEALER", b"silent");
    let to = connected(&router);
    router.send(&to, "the last").expect("it is there");
    let patient = router.clone();
    let closing = call(move || patient.close(None));
    assert_eq!(silent.read_frame().body, b"the last");
    assert!(silent.read_to_end().is_empty());
    assert_eq!(router.close(Some(Duration::ZERO)), Ok(0));
    assert_eq!(closing.returns(), Ok(0));
}

#[test]
fn a_second_close_may_shorten_the_linger_of_the_first() {
    let router = router_with(Options::new().send_mark(mark(4)));
    let _stuck = Raw::connect(&at(&router)).handshake("DEALER", b"stuck");
    let to = connected(&router);
    fill_peer(&router, &to, 4);
    let patient = router.clone();
    let closing = call(move || patient.close(None));
    assert_eq!(router.close(Some(Duration::ZERO)), Ok(4));
    assert_eq!(closing.returns(), Ok(4));
}

#[test]
fn a_drop_sends_what_is_queued_within_the_linger() {
    let router = router();
    for _ in 0..10 {
        let dealer = Dealer::open(HandleOptions::new().linger(PATIENCE)).expect("a thread");
        dealer.dial(&at(&router)).expect("an endpoint");
        (0..500).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
        drop(dealer);
        for n in 0..500 {
            assert_eq!(number(&router.recv_timeout(PATIENCE).expect("each comes").1), n);
        }
    }
}

#[test]
fn a_drop_of_all_but_the_last_clone_closes_nothing() {
    let router = router();
    let dealer = dealer(&router);
    drop(dealer.clone());
    let other = router.clone();
    drop(router);
    dealer.send("hello").expect("it is open");
    assert_eq!(other.recv_timeout(PATIENCE).expect("it comes").1, Message::from("hello"));
}

/// Whether `close` returns in time in one of some attempts: the machine may be busy with other things.
fn is_quick(limit: Duration, close: impl Fn() -> Duration) -> bool {
    (0..5).any(|_| close() < limit)
}

#[test]
fn neither_a_close_nor_a_drop_waits_longer_than_the_linger_for_a_peer_that_never_ends() {
    let linger = Duration::from_millis(100);
    let open = |stuck: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("tcp://{}", listener.local_addr().expect("an address"));
        let dealer = Dealer::open(HandleOptions::new().linger(linger)).expect("a thread");
        dealer.dial(&endpoint).expect("an endpoint");
        let server = Raw::accept(&listener).handshake("ROUTER", b"");
        let send = || dealer.try_send(vec![0; 1 << 20]);
        while stuck && send().is_ok() {}
        (dealer, server)
    };
    for stuck in [false, true] {
        let closing = || {
            let (dealer, _server) = open(stuck);
            let before = Instant::now();
            dealer.close(Some(linger)).expect("it works");
            before.elapsed()
        };
        let dropping = || {
            let (dealer, _server) = open(stuck);
            let before = Instant::now();
            drop(dealer);
            before.elapsed()
        };
        assert!(is_quick(linger * 5, closing), "close, stuck: {stuck}");
        assert!(is_quick(linger * 5, dropping), "drop, stuck: {stuck}");
    }
}

#[test]
fn a_handle_that_was_never_used_closes_at_once() {
    let unused = call(|| Router::open(HandleOptions::new()).expect("a thread").close(None));
    assert_eq!(unused.returns(), Ok(0));
    call(|| drop(Dealer::open(HandleOptions::new()).expect("a thread"))).returns();
}

#[test]
fn a_dealer_that_never_met_anybody_says_what_it_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dealer =
        Dealer::connect(&format!("tcp://{}", listener.local_addr().expect("an address"))).expect("an endpoint");
    (0..5).for_each(|n| dealer.send(numbered(n)).expect("there is room"));
    assert_eq!(dealer.close(Some(Duration::from_millis(50))), Ok(5));
}

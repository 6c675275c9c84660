//! Receiving: by one thread and by several, with and without a limit of time.

use std::collections::BTreeSet;
use std::time::Duration;

use zmio::net::{HandleEvent, RecvError};
use zmio::{Event, Options};

use crate::support::PATIENCE;
use crate::support::octets::message;
use crate::support::raw::Raw;
use crate::{
    at, call, connected, dealer, dealer_with, disconnected, event, eventually, fill_peer, id, mark, number, numbered,
};
use crate::{router, router_with};

#[test]
fn a_timeout_of_zero_looks_and_does_not_wait() {
    let router = router();
    assert_eq!(router.recv_timeout(Duration::ZERO), Err(RecvError::Timeout));
    assert_eq!(router.try_recv(), Err(RecvError::Timeout));
    assert!(matches!(router.event_timeout(Duration::ZERO), Err(RecvError::Timeout)));
    let dealer = dealer(&router);
    assert_eq!(dealer.recv_timeout(Duration::ZERO), Err(RecvError::Timeout));
    dealer.send("hello").expect("it waits for the connection");
    eventually("it comes", || router.recv_timeout(Duration::ZERO).ok());
}

#[test]
fn a_timeout_beyond_all_clocks_is_none() {
    let router = router();
    let dealer = dealer(&router);
    let receiver = router.clone();
    let waiting = call(move || receiver.recv_timeout(Duration::MAX).map(|(_, message)| message));
    dealer.send("hello").expect("it waits for the connection");
    assert_eq!(waiting.returns(), Ok("hello".into()));
}

#[test]
fn each_message_goes_to_exactly_one_of_several_receivers() {
    const MESSAGES: u32 = 20_000;
    let router = router();
    let dealer = dealer(&router);
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let router = router.clone();
            call(move || router.iter().map(|(_, message)| number(&message)).collect::<Vec<_>>())
        })
        .collect();
    (0..MESSAGES).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
    let peer = connected(&router);
    eventually("all is received", || {
        let received = crate::peer(&router, &peer)?.counts.received;
        (received == u64::from(MESSAGES)).then_some(())
    });
    assert_eq!(router.close(None), Ok(0));
    let mut all = BTreeSet::new();
    let mut total = 0;
    for receiver in receivers {
        let received = receiver.returns();
        assert!(received.is_sorted(), "each receiver sees them in order");
        total += received.len();
        all.extend(received);
    }
    assert_eq!((total, all), (MESSAGES as usize, (0..MESSAGES).collect()));
}

#[test]
fn a_receiver_that_is_late_gets_everything_in_order() {
    const MESSAGES: u32 = 50_000;
    let router = router_with(Options::new().receive_mark(mark(100)));
    let dealer = dealer(&router);
    let sender = dealer.clone();
    let sending = call(move || (0..MESSAGES).try_for_each(|n| sender.send(numbered(n))));
    connected(&router);
    for n in 0..MESSAGES {
        let (_, message) = router.recv_timeout(PATIENCE).expect("each comes");
        assert_eq!(number(&message), n);
    }
    sending.returns().expect("all is sent");
}

#[test]
fn a_router_that_receives_nothing_learns_of_new_peers_and_sends_to_them() {
    let router = router();
    let mut chatty = Raw::connect(&at(&router)).handshake("DEALER", b"chatty");
    assert_eq!(connected(&router), id("chatty"));
    // More than lies ready for the program, so that the rest waits.
    (0..3).for_each(|_| chatty.write(&message(&["not received"]).repeat(600)));
    eventually("more has come than lies ready", || {
        crate::peer(&router, &id("chatty")).filter(|peer| peer.counts.received > 1_500)
    });

    let quiet = dealer_with(&router, Options::new().identity(id("quiet")));
    assert_eq!(connected(&router), id("quiet"));
    router.send("quiet", "welcome").expect("it is there");
    assert_eq!(quiet.recv_timeout(PATIENCE), Ok("welcome".into()));
    drop(quiet);
    assert_eq!(disconnected(&router), id("quiet"));
}

#[test]
fn events_that_nobody_takes_are_counted_before_they_are_forgotten() {
    const PEERS: usize = 600;
    let router = router();
    // Each comes and goes: two events.
    for _ in 0..PEERS {
        let raw = Raw::connect(&at(&router)).handshake("DEALER", b"brief");
        eventually("it is here", || crate::peer(&router, &id("brief")));
        drop(raw);
        eventually("it is gone", || router.peers().expect("it is open").is_empty().then_some(()));
    }
    let _last = Raw::connect(&at(&router)).handshake("DEALER", b"last");
    eventually("it is here", || crate::peer(&router, &id("last")));
    // Its event is laid ready at the end of the turn that answered us, and so before the next answer.
    router.peers().expect("it is open");
    let (mut kept, mut missed) = (0, vec![]);
    let mut next = || match router.event_timeout(PATIENCE).expect("the last is among them") {
        HandleEvent::Missed { events } => {
            missed.push((kept, events));
            false
        }
        HandleEvent::Socket(Event::Connected { info, .. }) => {
            kept += 1;
            info.identity == id("last")
        }
        _ => {
            kept += 1;
            false
        }
    };
    while !next() {}
    assert_eq!((kept, missed), (1_024, vec![(0, 2 * PEERS as u64 + 1 - 1_024)]));
}

#[test]
fn what_a_peer_sent_before_it_left_is_received_under_its_name() {
    let router = router();
    let dealer = dealer_with(&router, Options::new().identity(id("brief")));
    (0..100).for_each(|n| dealer.send(numbered(n)).expect("it is open"));
    assert_eq!(dealer.close(Some(PATIENCE)), Ok(0));
    assert_eq!(disconnected(&router), id("brief"));
    for n in 0..100 {
        let (from, message) = router.recv_timeout(PATIENCE).expect("each comes");
        assert_eq!((from, number(&message)), (id("brief"), n));
    }
}

#[test]
fn a_disconnect_tells_what_was_still_to_be_sent() {
    let router = router_with(Options::new().send_mark(mark(5)));
    let slow = Raw::connect(&at(&router)).handshake("DEALER", b"slow");
    let to = connected(&router);
    let accepted = fill_peer(&router, &to, 5);
    drop(slow);
    let counts = event(&router, |event| match event {
        HandleEvent::Socket(Event::Disconnected(gone)) => Some(gone.counts),
        _ => None,
    });
    assert_eq!((counts.sent + counts.queued, counts.queued), (accepted, 5));
}

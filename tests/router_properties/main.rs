//! What holds for a ROUTER, whatever its peers and its user do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::{Cause, Duplicates, Router};
use zmio::{Event, Mark, Message, Options, PeerId, SendError, Socket};

#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/desk.rs"]
mod desk;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/octets.rs"]
mod octets;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/stream.rs"]
mod stream;

mod limits;
mod model;

use desk::{Desk, Frames};
use stream::Item;

fn desk(options: Options) -> Desk<Router> {
    Desk::new(Socket::router(options, 1))
}

/// Of each frame an octet, and how often it is repeated.
type Shape = Vec<(u8, usize)>;

fn shape() -> impl Strategy<Value = Shape> {
    vec((any::<u8>(), prop_oneof![0..12_usize, 200..300_usize]), 1..4)
}

fn frames(shape: &Shape) -> Frames {
    shape.iter().map(|&(octet, size)| vec![octet; size]).collect()
}

/// Nothing is written to the tree: a failure prints its input.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn peers_with_something_to_say_take_turns_message_by_message(counts in vec(0..9_usize, 1..7)) {
        let mut desk = desk(Options::new());
        let mut left: BTreeMap<PeerId, usize> = BTreeMap::new();
        for &count in &counts {
            let peer = desk.join("DEALER", b"");
            let all: Vec<u8> = (0..count).flat_map(|at| octets::message(&[[at as u8]])).collect();
            desk.say(peer, &all);
            left.insert(peer, count);
        }
        let mut since: BTreeMap<PeerId, BTreeSet<PeerId>> = BTreeMap::new();
        while let Some(event) = desk.socket.poll_event() {
            let Event::Message { peer, .. } = event else { continue };
            if let Some(others) = since.get(&peer) {
                let waiting = left.iter().filter(|&(&other, &count)| other != peer && count > 0);
                for (other, _) in waiting {
                    prop_assert!(others.contains(other), "{:?} was passed over", other);
                }
            }
            for others in since.values_mut() {
                others.insert(peer);
            }
            since.insert(peer, BTreeSet::new());
            *left.get_mut(&peer).expect("a known peer") -= 1;
        }
        prop_assert!(left.values().all(|&count| count == 0));
    }

    #[test]
    fn an_assigned_identity_is_never_seen_again(leaving in vec(any::<bool>(), 1..80)) {
        let mut desk = desk(Options::new());
        let mut seen = BTreeSet::new();
        for leaves in leaving {
            let peer = desk.join("DEALER", b"");
            let identity = desk.socket.peer(peer).expect("it just joined").identity().to_vec();
            prop_assert_eq!(identity.len(), 5);
            prop_assert_eq!(identity[0], 0);
            prop_assert!(seen.insert(identity));
            if leaves {
                desk.hang_up(peer);
                while desk.socket.poll_event().is_some() {}
            }
        }
    }

    #[test]
    fn a_stale_id_never_reaches_the_peer_that_came_after(rounds in 1..20_usize, shape in shape()) {
        let mut desk = desk(Options::new());
        let mut stale = Vec::new();
        for _ in 0..rounds {
            let peer = desk.join("DEALER", b"");
            for &old in &stale {
                let sent = desk.socket.send(old, Message::multipart(frames(&shape)));
                prop_assert!(matches!(sent, Err(SendError::NoSuchPeer(_))));
                let _ = desk.socket.handle_input(desk.now, old, b"\x08");
                desk.socket.disconnect(desk.now, old);
                prop_assert!(desk.socket.peer(old).is_none());
            }
            prop_assert!(desk.hear_messages(peer, usize::MAX).is_empty());
            prop_assert!(desk.is_open(peer));
            desk.hang_up(peer);
            while desk.socket.poll_event().is_some() {}
            stale.push(peer);
        }
    }

    #[test]
    fn a_newcomer_takes_an_identity_over_and_the_old_peer_hears_nothing_more(
        before in vec(shape().prop_map(|shape| frames(&shape)), 0..4),
        after in vec(shape().prop_map(|shape| frames(&shape)), 0..4),
    ) {
        let mut desk = desk(Options::new().duplicates(Duplicates::Handover));
        let old = desk.join("DEALER", b"me");
        before.iter().for_each(|frames| desk.say_message(old, frames));
        let new = desk.join("DEALER", b"me");
        prop_assert!(!desk.is_open(old) && desk.is_open(new));
        prop_assert_eq!(desk.socket.peer_by_identity(b"me"), Some(new));
        for frames in &after {
            let to = desk.socket.peer_by_identity(b"me").expect("the newcomer");
            desk.socket.send(to, Message::multipart(frames)).expect("an empty queue");
        }
        prop_assert_eq!(desk.hear_messages(new, usize::MAX), after);
        prop_assert!(desk.hear_messages(old, usize::MAX).is_empty());
        let mut said = before.iter();
        let mut gone = false;
        while let Some(event) = desk.socket.poll_event() {
            match event {
                Event::Message { peer, message } => {
                    prop_assert!(peer == old && !gone);
                    prop_assert!(message.frames().eq(said.next().expect("no more than was said")));
                }
                Event::Disconnected(about) => {
                    prop_assert_eq!(about.peer, old);
                    prop_assert_eq!(&about.cause, &Cause::HandedOver { to: new });
                    gone = true;
                }
                _ => {}
            }
        }
        prop_assert!(gone && said.next().is_none());
    }
}

#[test]
fn a_newcomer_with_an_identity_that_is_taken_hears_why_it_is_refused() {
    let mut desk = desk(Options::new());
    let old = desk.join("DEALER", b"me");
    let new = desk.join("DEALER", b"me");
    assert!(desk.is_open(old) && !desk.is_open(new));
    let heard = desk.hear(new, usize::MAX);
    let error = heard.iter().any(|item| matches!(item, Item::Command { name, .. } if name == b"ERROR"));
    assert!(error, "no ERROR among {heard:?}");
}

#[test]
fn a_lossy_send_does_not_swallow_the_news_of_room() {
    let mut desk = desk(Options::new().send_mark(Mark { messages: Some(1), octets: None }));
    let peer = desk.join("DEALER", b"");
    desk.hear(peer, usize::MAX);
    desk.socket.send(peer, "one").expect("an empty queue");
    assert!(matches!(desk.socket.send(peer, "two"), Err(SendError::Full(_))));
    assert!(!desk.socket.send_lossy(peer, "three"));
    desk.hear(peer, usize::MAX);
    let mut events = std::iter::from_fn(|| desk.socket.poll_event());
    assert!(events.any(|event| matches!(event, Event::Writable { peer: Some(room) } if room == peer)));
}

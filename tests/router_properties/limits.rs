//! Broadcasts among direct sends, and the limits on peers.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::{Cause, Refused};
use zmio::{Event, Mark, Message, Options, PeerId};

use crate::desk::Frames;
use crate::{config, desk};

#[derive(Clone, Debug)]
enum Call {
    Send(prop::sample::Index),
    /// So many in a row.
    Broadcast(Option<prop::sample::Index>, usize),
    Hear(prop::sample::Index, usize),
    Join,
    EndTurn,
}

fn call() -> impl Strategy<Value = Call> {
    let peer = any::<prop::sample::Index>;
    prop_oneof![
        3 => peer().prop_map(Call::Send),
        5 => (prop::option::weighted(0.9, peer()), 1..4_usize).prop_map(|(peer, count)| Call::Broadcast(peer, count)),
        1 => (peer(), 1..400_usize).prop_map(|(peer, most)| Call::Hear(peer, most)),
        1 => Just(Call::Join),
        1 => Just(Call::EndTurn),
    ]
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn each_peer_hears_broadcasts_and_what_is_sent_to_it_alone_in_the_order_of_the_calls(
        calls in vec((call(), prop_oneof![0..40_usize, Just(17_000)]), 1..60),
    ) {
        let unlimited = Mark { messages: None, octets: None };
        let mut desk = desk(Options::new().send_mark(unlimited));
        let mut owed: BTreeMap<PeerId, Vec<Frames>> = BTreeMap::new();
        let mut heard: BTreeMap<PeerId, Vec<Frames>> = BTreeMap::new();
        let mut peers: Vec<PeerId> = (0..3).map(|_| desk.join("DEALER", b"")).collect();
        for (number, (call, size)) in calls.into_iter().enumerate() {
            let number = number.to_string().into_bytes();
            match call {
                Call::Send(which) => {
                    let frames = vec![number, vec![1; size]];
                    let peer = *which.get(&peers);
                    desk.socket.send(peer, Message::multipart(&frames)).expect("no limit");
                    owed.entry(peer).or_default().push(frames);
                }
                Call::Broadcast(except, count) => {
                    let except = except.map(|which| *which.get(&peers));
                    for at in 0..count {
                        let frames = vec![number.clone(), vec![at as u8; size]];
                        desk.socket.broadcast_except(except, &Message::multipart(&frames));
                        for &peer in peers.iter().filter(|&&peer| Some(peer) != except) {
                            owed.entry(peer).or_default().push(frames.clone());
                        }
                    }
                }
                Call::Hear(which, most) => {
                    let peer = *which.get(&peers);
                    let more = desk.hear_messages(peer, most);
                    heard.entry(peer).or_default().extend(more);
                }
                // In mid-turn too: it hears nothing of what was sent before.
                Call::Join => peers.push(desk.join("DEALER", b"")),
                Call::EndTurn => desk.tend(),
            }
        }
        for &peer in &peers {
            let heard = heard.entry(peer).or_default();
            heard.extend(desk.hear_messages(peer, usize::MAX));
            let owed = owed.remove(&peer).unwrap_or_default();
            let first = |all: &[Frames]| all.iter().map(|frames| frames[0].clone()).collect::<Vec<_>>();
            prop_assert_eq!(first(heard), first(&owed));
            prop_assert!(*heard == owed);
            let counts = desk.socket.peer(peer).expect("it is there").counts();
            prop_assert_eq!((counts.sent, counts.queued, counts.dropped), (owed.len() as u64, 0, 0));
        }
    }

    #[test]
    fn connections_are_accepted_exactly_while_there_is_room_for_a_peer(
        most in 1..5_usize,
        joins in vec((prop::bool::weighted(0.6), any::<prop::sample::Index>(), any::<bool>()), 1..60),
    ) {
        let mut desk = desk(Options::new().max_peers(Some(most)));
        let mut peers: Vec<PeerId> = Vec::new();
        // Those that left and are not forgotten, since the event that says so was not taken.
        let mut unread = 0;
        for (join, which, poll) in joins {
            if join {
                let full = peers.len() + unread >= most;
                match desk.call() {
                    Ok(peer) => {
                        prop_assert!(!full, "more peers than allowed");
                        desk.introduce(peer, "DEALER", b"");
                        peers.push(peer);
                    }
                    Err(refused) => prop_assert!(full && refused == Refused::TooManyPeers),
                }
            } else if !peers.is_empty() {
                desk.hang_up(peers.swap_remove(which.index(peers.len())));
                unread += 1;
            }
            if poll {
                while desk.socket.poll_event().is_some() {}
                unread = 0;
            }
            desk.tend();
            prop_assert_eq!(desk.accepting, peers.len() + unread < most);
        }
    }

    #[test]
    fn of_too_many_unfinished_handshakes_the_oldest_goes(
        most in 1..6_usize,
        calls in vec(any::<bool>(), 1..40),
    ) {
        let mut desk = desk(Options::new().max_handshakes(Some(most)));
        let mut waiting: Vec<PeerId> = Vec::new();
        let mut done: Vec<PeerId> = Vec::new();
        for finishes in calls {
            let peer = desk.call().expect("room for a peer");
            waiting.push(peer);
            desk.tend();
            if waiting.len() > most {
                let oldest = waiting.remove(0);
                prop_assert!(!desk.is_open(oldest), "the oldest is still there");
            }
            if finishes {
                let peer = waiting.remove(waiting.len() / 2);
                desk.introduce(peer, "DEALER", b"");
                done.push(peer);
            }
            prop_assert!(waiting.iter().chain(&done).all(|&peer| desk.is_open(peer)), "one too many went");
        }
        let mut evicted = 0;
        while let Some(event) = desk.socket.poll_event() {
            if let Event::Rejected(rejected) = event {
                prop_assert_eq!(&rejected.cause, &Cause::Evicted);
                evicted += 1;
            }
        }
        prop_assert_eq!(desk.socket.peers().len(), done.len());
        prop_assert!(evicted + waiting.len() + done.len() > 0);
    }
}

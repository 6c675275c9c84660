//! Broadcasts among direct sends, and the limits on peers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::{Cause, Refused, Router};
use zmio::{Event, Limits, Mark, Message, Options, PeerId};

use crate::desk::{Desk, Frames};
use crate::{config, desk, octets};

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

    #[test]
    fn messages_under_way_keep_to_their_sum_and_the_largest_goes_first(
        calls in vec((any::<prop::sample::Index>(), 1..4_000_usize, prop::bool::weighted(0.1)), 1..80),
    ) {
        // A message of 4,000 octets needs 8,200 with the command that may come inside it.
        const LIMIT: u64 = 12_000;
        let mut limits = Limits::default();
        (limits.message_octets, limits.command_octets) = (4_000, 100);
        let mut desk = desk(Options::new().limits(limits).unfinished_octets(Some(LIMIT)));
        let mut peers: Vec<PeerId> = (0..8).map(|_| desk.join("DEALER", b"")).collect();
        let mut sent: BTreeMap<PeerId, usize> = BTreeMap::new();
        let whole = octets::frame(0, &[7; 4_000 - 9]);
        for (which, octets, leaves) in calls {
            let peer = *which.get(&peers);
            if leaves {
                desk.hang_up(peer);
                peers.retain(|&other| other != peer);
                peers.push(desk.join("DEALER", b""));
                continue;
            }
            let held = |desk: &Desk<Router>, peer| desk.socket.peer(peer).map_or(0, |peer| peer.unfinished_octets());
            let before: BTreeMap<PeerId, u64> = peers.iter().map(|&peer| (peer, held(&desk, peer))).collect();
            let from = *sent.entry(peer).or_default();
            let to = whole.len().min(from + octets);
            desk.say(peer, &whole[from..to]);
            sent.insert(peer, to % whole.len());
            desk.tend();
            let closed: Vec<PeerId> = peers.iter().copied().filter(|&peer| !desk.is_open(peer)).collect();
            for &closed in &closed {
                // What it held when the limit was passed is not seen from here; for the one that spoke it has grown.
                let largest = peers.iter().filter(|&&other| other != peer && desk.is_open(other));
                let largest = largest.map(|other| before[other]).max().unwrap_or(0);
                prop_assert!(closed == peer || before[&closed] >= largest, "{closed} goes, others hold more");
                peers.retain(|&other| other != closed);
                peers.push(desk.join("DEALER", b""));
            }
            let sum: u64 = peers.iter().map(|&peer| held(&desk, peer)).sum();
            prop_assert_eq!(desk.socket.unfinished_octets(), sum);
            prop_assert!(sum <= LIMIT);
            prop_assert!(closed.is_empty() || before.values().sum::<u64>() + 2 * 4_000 > LIMIT, "closed without need");
        }
        for peer in peers {
            desk.hang_up(peer);
        }
        prop_assert_eq!(desk.socket.unfinished_octets(), 0);
    }

    #[test]
    fn no_address_has_more_places_than_it_may_and_each_has_those(
        most in 1..4_usize,
        calls in vec((0..3_u8, any::<prop::sample::Index>(), prop::bool::weighted(0.6), any::<bool>()), 1..80),
    ) {
        let mut desk = desk(Options::new().max_per_address(Some(most)));
        let mut peers: Vec<(u8, PeerId)> = Vec::new();
        let mut unread: Vec<u8> = Vec::new();
        let mut refused = 0;
        let mut told = 0;
        for (host, which, join, poll) in calls {
            if join {
                let taken = peers.iter().map(|(of, _)| of).chain(&unread).filter(|&&of| of == host).count();
                match desk.call_from(SocketAddr::from(([192, 0, 2, host], 7))) {
                    Ok(peer) => {
                        prop_assert!(taken < most, "more than allowed");
                        desk.introduce(peer, "DEALER", b"");
                        peers.push((host, peer));
                    }
                    Err(error) => {
                        prop_assert!(taken >= most && error == Refused::AddressFull);
                        refused += 1;
                    }
                }
            } else if !peers.is_empty() {
                let (host, peer) = peers.swap_remove(which.index(peers.len()));
                desk.hang_up(peer);
                unread.push(host);
            }
            if poll {
                while let Some(event) = desk.socket.poll_event() {
                    told += u64::from(matches!(event, Event::AddressFull { .. }));
                }
                unread.clear();
            }
            prop_assert_eq!(desk.socket.refused_by_address(), refused);
            prop_assert!(told <= refused);
        }
    }
}

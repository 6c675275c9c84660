//! What must hold of any relay, whatever the network did to it.

use std::collections::BTreeMap;

use zmio::PeerId;
use zmio::socket::Counts;

use crate::link::Ending;
use crate::net::LinkId;
use crate::payload::Id;
use crate::relay_world::{Client, Policy, RelayWorld};
use crate::tap::{Over, Tap};

/// What one connection of a client received.
struct Received {
    link: LinkId,
    got: Vec<Id>,
    /// It is still there, and its client has read all that came.
    settled: bool,
}

/// A driver is a little late at times, in microseconds.
const LATENESS: u64 = 100_000;

/// Where a message came from: the connection, and its place among those of that connection.
type Origins = BTreeMap<Id, (usize, usize)>;

pub(crate) fn check(world: &RelayWorld) {
    let app = &world.relay.app;
    let taps = &world.relay.driver.taps;
    // What a client says before it learns that it is refused counts for nothing.
    let members = |tap: &&Tap| app.joined.contains(&tap.peer) || app.left.contains_key(&tap.peer);
    let taps: Vec<&Tap> = taps.iter().filter(members).collect();
    let taps = &taps[..];
    let origins = origins(taps);
    let received = received(world);
    world.relay.driver.assert_idle(&world.net);
    assert!(world.net.waiting(0) == 0 || !world.relay.driver.is_accepting(), "nobody accepts those who wait");
    check_senders(world, taps);
    for client in &received {
        let Some(at) = taps.iter().position(|tap| tap.link == client.link) else {
            assert!(client.got.is_empty(), "something came over a link of no client");
            continue;
        };
        check_receiver(world, taps, &origins, at, client);
    }
    check_membership(world, taps);
}

/// After all have left.
pub(crate) fn check_empty(world: &RelayWorld) {
    let driver = &world.relay.driver;
    assert_eq!(driver.connections(), 0, "a transport is left");
    assert!(driver.is_accepting(), "nobody is there, and nobody is let in");
    assert_eq!(driver.socket.peers().count(), 0, "a peer is left");
    assert_eq!(clients(world).count(), 0, "a client is left");
    let remembered = driver.taps.iter().filter(|tap| driver.socket.peer(tap.peer).is_some()).count();
    assert_eq!(remembered, 0, "the socket remembers peers that are gone");
    assert!(world.relay.app.joined.is_empty(), "someone was never said to have left");
    assert_eq!(driver.socket.poll_timeout(), None, "a timer is left");
    assert_eq!(world.relay.app.relay.poll_timeout(&driver.socket), None, "a patience is left");
}

/// No message was taken twice, not even from a dealer that lost its connection.
fn origins(taps: &[&Tap]) -> Origins {
    let mut origins = BTreeMap::new();
    for (at, tap) in taps.iter().enumerate() {
        for (place, &(id, _)) in tap.taken.iter().enumerate() {
            assert_eq!(origins.insert(id, (at, place)), None, "{id:?} was sent twice");
        }
    }
    origins
}

fn received(world: &RelayWorld) -> Vec<Received> {
    let mut all = Vec::new();
    for client in &world.clients {
        match client {
            Client::Raw(raw) => all.extend(raw.visits.iter().map(|visit| Received {
                link: visit.link,
                got: visit.got.clone(),
                settled: visit.ended.is_none()
                    && !world.net.is_cut(visit.link)
                    && !raw.is_stalled(world.net.now)
                    && !raw.plan.mute,
            })),
            Client::Dealer(node) => {
                node.driver.assert_idle(&world.net);
                node.assert_all_received();
                all.extend(node.driver.taps.iter().map(|tap| Received {
                    link: tap.link,
                    got: tap.taken.iter().map(|&(id, _)| id).collect(),
                    settled: tap.over.is_none() && tap.ready.is_some(),
                }));
            }
        }
    }
    all
}

/// What the relay took from each client is a beginning of what that one sent, and all of it where nothing was cut.
fn check_senders(world: &RelayWorld, taps: &[&Tap]) {
    for client in &world.clients {
        match client {
            Client::Raw(raw) => {
                for visit in &raw.visits {
                    let Some(tap) = taps.iter().find(|tap| tap.link == visit.link) else {
                        continue;
                    };
                    let in_order = tap.taken.iter().zip(0..).all(|(&(id, _), seq)| id == Id { who: visit.who, seq });
                    assert!(in_order, "{:?} are not the first messages of {}", tap.taken, visit.who);
                    let whole = match tap.over {
                        None => !world.net.is_cut(tap.link) && !raw.is_stalled(world.net.now),
                        Some(Over::Lost(_, Ending::Eof)) => !world.net.is_cut(tap.link),
                        Some(_) => false,
                    };
                    if whole {
                        assert_eq!(tap.taken.len(), visit.sent as usize, "not all of {} came in", visit.who);
                    }
                }
            }
            Client::Dealer(node) => {
                let unsent = node.driver.socket.waiting() as u64;
                assert_eq!(
                    node.begun() + unsent,
                    u64::from(node.app.accepted),
                    "a message vanished or was begun twice"
                );
                if node.app.connected.is_empty() {
                    continue;
                }
                assert!(node.app.is_done(), "a dealer was never told that it can send again");
                assert_eq!(unsent, 0, "a connected dealer kept messages back");
            }
        }
    }
}

fn check_receiver(world: &RelayWorld, taps: &[&Tap], origins: &Origins, at: usize, client: &Received) {
    let mine = taps[at];
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for id in &client.got {
        let (sender, place) = *origins.get(id).unwrap_or_else(|| panic!("{id:?} was never taken by the relay"));
        assert_ne!(sender, at, "{id:?} came back to its sender");
        places.entry(sender).or_default().push(place);
    }
    let (mut lost, mut doubtful) = (0, 0);
    for (sender, tap) in taps.iter().enumerate().filter(|&(sender, _)| sender != at) {
        let places = places.get(&sender).map_or(&[][..], Vec::as_slice);
        let rising = places.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rising, "messages of {sender} came twice or out of order to {at}: {places:?}");
        // Certain are those messages that the relay took in a later round than this client's READY.
        let certain = |round: u64| mine.ready.is_some_and(|ready| ready < round);
        let from = tap.taken.iter().position(|&(_, round)| certain(round)).unwrap_or(tap.taken.len());
        let first = places.first().map_or(from, |&first| first.min(from));
        if world.policy == Policy::Drop {
            let before = tap.taken[..first].iter().filter(|&&(_, round)| Some(round) == mine.ready).count();
            doubtful += before;
            lost += tap.taken.len() - first - places.len();
            continue;
        }
        let expected: Vec<usize> = (first..first + places.len()).collect();
        assert_eq!(places, expected, "{at} missed messages of {sender}");
        if client.settled {
            assert_eq!(first + places.len(), tap.taken.len(), "{at} waits for messages of {sender} in vain");
        }
    }
    if client.settled {
        let counters = clients(world).find(|(peer, _)| *peer == mine.peer);
        let (_, counters) = counters.unwrap_or_else(|| panic!("{at} is connected and no client"));
        assert_eq!(counters.received, mine.taken.len() as u64, "what {at} sent was miscounted");
        assert_eq!(counters.sent, client.got.len() as u64, "what {at} got was miscounted");
        assert_eq!(counters.queued, 0, "something is queued for {at}, which has it all");
        let dropped = counters.dropped as usize;
        assert!(
            lost <= dropped && dropped <= lost + doubtful,
            "{at} lost {lost} messages (and perhaps {doubtful} more), but {dropped} were counted",
        );
    }
}

/// The clients of the relay are those with a connection whose handshake is complete.
fn check_membership(world: &RelayWorld, taps: &[&Tap]) {
    let handshake = world.relay.driver.handshake + LATENESS;
    let begun = |tap: &&Tap| tap.over.is_none() && tap.ready.is_none() && tap.since + handshake < world.net.now;
    let undecided = world.relay.driver.taps.iter().filter(begun).count();
    assert_eq!(undecided, 0, "handshakes without an end");
    let mut members: Vec<_> =
        taps.iter().filter(|tap| tap.over.is_none() && tap.ready.is_some()).map(|tap| tap.peer).collect();
    let mut clients: Vec<_> = clients(world).map(|(peer, _)| peer).collect();
    members.sort();
    clients.sort();
    assert_eq!(clients, members);
    let joined: Vec<_> = world.relay.app.joined.iter().copied().collect();
    assert_eq!(joined, members, "the events tell another story");
}

pub(crate) fn clients(world: &RelayWorld) -> impl Iterator<Item = (PeerId, Counts)> + '_ {
    world.relay.app.relay.clients(&world.relay.driver.socket)
}

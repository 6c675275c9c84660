//! What holds for a relay, whatever its clients do: it does what a naive model of it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::Router;
use zmio::{Options, PeerId, Relay, RelayEvent, RelayOptions, Slow, Socket};

#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "support/desk.rs"]
mod desk;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "support/octets.rs"]
mod octets;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "support/stream.rs"]
mod stream;

use desk::{Desk, Frames};

#[derive(Clone, Debug)]
enum Operation {
    Join,
    Leave(prop::sample::Index),
    /// So many messages of this size, in one piece.
    Say(prop::sample::Index, usize, usize),
    Hear(prop::sample::Index, usize),
    /// The end of a turn: the relay does what it has to.
    Turn,
}

fn operation() -> impl Strategy<Value = Operation> {
    let peer = any::<prop::sample::Index>;
    let size = prop_oneof![4 => 0..40_usize, 1 => 200..300_usize, 1 => Just(20_000_usize)];
    prop_oneof![
        2 => Just(Operation::Join),
        1 => peer().prop_map(Operation::Leave),
        6 => (peer(), 1..5_usize, size).prop_map(|(peer, count, size)| Operation::Say(peer, count, size)),
        3 => (peer(), prop_oneof![1..60_usize, 1..5000_usize]).prop_map(|(peer, most)| Operation::Hear(peer, most)),
        4 => Just(Operation::Turn),
    ]
}

/// One client as it should be.
#[derive(Default)]
struct Client {
    /// Said since the last turn.
    said: Vec<Frames>,
    /// Relayed to it and not heard, by sender: only the order of one sender's messages is promised.
    owed: BTreeMap<PeerId, VecDeque<Frames>>,
    spoken: u64,
    heard: u64,
    /// Messages that it did not get.
    lost: u64,
}

struct Checked {
    desk: Desk<Router>,
    relay: Relay,
    clients: BTreeMap<PeerId, Client>,
    said: u32,
    joined: BTreeSet<PeerId>,
    left: BTreeSet<PeerId>,
    /// No client may miss anything.
    lossless: bool,
}

impl Checked {
    fn new(slow: Slow, mark: u64, lossless: bool) -> Self {
        let options = RelayOptions::new().slow(slow).mark_octets(mark);
        let socket = Socket::router(options.apply(Options::new()), 1);
        Self {
            desk: Desk::new(socket),
            relay: Relay::new(options),
            clients: BTreeMap::new(),
            said: 0,
            joined: BTreeSet::new(),
            left: BTreeSet::new(),
            lossless,
        }
    }

    fn client(&self, which: prop::sample::Index) -> Option<PeerId> {
        let all: Vec<PeerId> = self.clients.keys().copied().collect();
        (!all.is_empty()).then(|| *which.get(&all))
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Join => {
                // Who joins in mid-turn may or may not get what was said before in that turn.
                self.turn();
                let peer = self.desk.join("DEALER", b"");
                self.turn();
                self.clients.insert(peer, Client::default());
            }
            Operation::Leave(which) => {
                if let Some(peer) = self.client(which) {
                    self.turn();
                    self.desk.hang_up(peer);
                    self.clients.remove(&peer);
                    self.turn();
                }
            }
            Operation::Say(which, count, size) => {
                if let Some(peer) = self.client(which) {
                    self.say(peer, count, size);
                }
            }
            Operation::Hear(which, most) => {
                if let Some(peer) = self.client(which) {
                    self.turn();
                    self.hear(peer, most);
                }
            }
            Operation::Turn => self.turn(),
        }
    }

    fn say(&mut self, peer: PeerId, count: usize, size: usize) {
        let mut octets = Vec::new();
        for _ in 0..count {
            let frames = vec![Vec::new(), self.said.to_be_bytes().to_vec(), vec![self.said as u8; size]];
            self.said += 1;
            octets.extend(octets::message(&frames));
            self.clients.get_mut(&peer).expect("a client").said.push(frames);
        }
        self.desk.say(peer, &octets);
    }

    /// What was said is owed to everybody else from now on.
    fn turn(&mut self) {
        for _ in 0..20 {
            let last = self.clients.keys().all(|&peer| self.desk.kept_back(peer) == 0);
            self.relay.drive(self.desk.now, &mut self.desk.socket);
            self.desk.tend();
            // A client that says much is read in several turns.
            if last {
                break;
            }
        }
        while let Some(event) = self.relay.poll_event() {
            match event {
                RelayEvent::Joined { peer, .. } => assert!(self.joined.insert(peer), "joined twice"),
                RelayEvent::Left(gone) => {
                    assert!(self.joined.contains(&gone.peer) && self.left.insert(gone.peer));
                }
                _ => {}
            }
        }
        let peers: Vec<PeerId> = self.clients.keys().copied().collect();
        for &sender in &peers {
            let said = std::mem::take(&mut self.clients.get_mut(&sender).expect("a client").said);
            for &other in peers.iter().filter(|&&other| other != sender) {
                let client = self.clients.get_mut(&other).expect("a client");
                client.owed.entry(sender).or_default().extend(said.iter().cloned());
            }
            self.clients.get_mut(&sender).expect("a client").spoken += said.len() as u64;
        }
    }

    fn hear(&mut self, peer: PeerId, most: usize) {
        let heard = self.desk.hear_messages(peer, most);
        let client = self.clients.get_mut(&peer).expect("a client");
        client.heard += heard.len() as u64;
        for frames in heard {
            let sender = client.owed.iter().find(|(_, owed)| owed.contains(&frames)).map(|(&sender, _)| sender);
            let sender = sender.unwrap_or_else(|| panic!("{peer:?} heard {:?}, which is not for it", frames[1]));
            let owed = client.owed.get_mut(&sender).expect("just found");
            let before = owed.iter().position(|owed| *owed == frames).expect("just found");
            assert!(before == 0 || !self.lossless, "{peer:?} missed {before} messages");
            client.lost += before as u64;
            owed.drain(..=before);
        }
    }

    /// Everybody hears everything, and the books are compared.
    fn finish(&mut self) {
        for _ in 0..50 {
            self.turn();
            for peer in self.clients.keys().copied().collect::<Vec<_>>() {
                self.hear(peer, usize::MAX);
            }
        }
        let counted: BTreeMap<_, _> = self.relay.clients(&self.desk.socket).collect();
        assert!(counted.keys().eq(self.clients.keys()), "{counted:?}");
        for (peer, client) in &mut self.clients {
            client.lost += client.owed.values().map(|owed| owed.len() as u64).sum::<u64>();
            let counters = &counted[peer];
            assert_eq!(counters.received, client.spoken, "what {peer:?} said");
            assert_eq!(counters.sent, client.heard, "what {peer:?} heard");
            assert_eq!(counters.dropped, client.lost, "what {peer:?} lost");
            assert!(client.lost == 0 || !self.lossless);
            assert_eq!(counters.queued, 0);
            assert_eq!(self.desk.kept_back(*peer), 0);
        }
        for peer in self.clients.keys().copied().collect::<Vec<_>>() {
            self.desk.hang_up(peer);
        }
        self.turn();
        assert_eq!(self.relay.clients(&self.desk.socket).count(), 0);
        assert_eq!(self.joined, self.left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn with_room_for_all_everybody_hears_everything_that_others_say(operations in vec(operation(), 1..100)) {
        let mut checked = Checked::new(Slow::Drop, 1 << 30, true);
        operations.into_iter().for_each(|operation| checked.apply(operation));
        checked.finish();
    }

    #[test]
    fn a_client_that_never_reads_costs_nobody_else_anything(
        mark in 1..3000_u64,
        said in vec((0..3_usize, 1..4_usize, prop_oneof![4 => 0..300_usize, 1 => Just(20_000)]), 1..60),
    ) {
        let mut checked = Checked::new(Slow::Drop, mark, false);
        (0..4).for_each(|_| checked.apply(Operation::Join));
        let peers: Vec<PeerId> = checked.clients.keys().copied().collect();
        let (deaf, others) = peers.split_last().expect("four clients");
        let mut all = 0;
        for (who, count, size) in said {
            checked.say(others[who], count, size);
            all += count as u64;
            checked.turn();
            others.iter().for_each(|&peer| checked.hear(peer, usize::MAX));
        }
        for (peer, counts) in checked.relay.clients(&checked.desk.socket) {
            if peer == *deaf {
                prop_assert_eq!(counts.sent + counts.queued + counts.dropped, all);
            } else {
                prop_assert_eq!(counts.sent + counts.received, all);
                prop_assert_eq!((counts.queued, counts.dropped), (0, 0), "{:?} lost something", peer);
            }
        }
    }

    #[test]
    fn a_relay_that_drops_counts_every_loss(mark in 1..3000_u64, operations in vec(operation(), 1..100)) {
        let mut checked = Checked::new(Slow::Drop, mark, false);
        operations.into_iter().for_each(|operation| checked.apply(operation));
        checked.finish();
    }

    #[test]
    fn a_relay_that_waits_loses_nothing(
        clients in 2..6_usize,
        mark in 1..3000_u64,
        operations in vec(operation(), 1..100),
    ) {
        let mut checked = Checked::new(Slow::Wait { patience: Duration::from_secs(1) }, mark, true);
        (0..clients).for_each(|_| checked.apply(Operation::Join));
        for operation in operations {
            // The relay may take what was said much later: who comes then still gets it, who leaves then is still
            // owed it by nobody.
            if !matches!(operation, Operation::Join | Operation::Leave(_)) {
                checked.apply(operation);
            }
        }
        checked.finish();
    }
}

#[test]
fn what_all_clients_hold_back_together_is_bounded() {
    let allowed = 200_000;
    let options = RelayOptions::new().mark_octets(1 << 30);
    let socket = Socket::router(options.apply(Options::new().broadcast_octets(Some(allowed))), 1);
    let (mut desk, mut relay) = (Desk::new(socket), Relay::new(options));
    let peers: Vec<PeerId> = (0..4).map(|_| desk.join("DEALER", b"")).collect();
    for turn in 0..400 {
        let size = 4000 + turn;
        desk.say_message(peers[0], &vec![vec![turn as u8; size]]);
        relay.drive(desk.now, &mut desk.socket);
        desk.tend();
        // One reads everything, one a little, one nothing.
        desk.hear(peers[1], usize::MAX);
        for frames in desk.hear_messages(peers[2], 700) {
            let same = frames[0].iter().all(|&octet| octet == (frames[0].len() - 4000) as u8);
            assert!(same, "what was given up took a part of a message with it");
        }
        for &peer in &peers {
            let queued = desk.socket.peer(peer).expect("nobody is cut off").queued_octets();
            // A turn and a block more than allowed.
            assert!(queued <= allowed + 2 * 65_536 + size as u64, "{queued} octets wait for {peer:?}");
        }
    }
    let dropped: Vec<u64> = peers.iter().map(|&peer| desk.socket.peer(peer).expect("there").counts().dropped).collect();
    assert_eq!(dropped[..2], [0, 0]);
    assert!(dropped[2] > 0 && dropped[3] > 0, "{dropped:?}");
}

//! What holds for a DEALER, whatever its peers and its user do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::{Address, Closed, Dealer};
use zmio::{Event, Mark, Message, Options, PeerId, SendError, Socket};

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

fn desk(options: Options) -> Desk<Dealer> {
    Desk::new(Socket::dealer(options, 1))
}

/// A message that carries its number, of some size.
fn numbered(number: u32, size: usize) -> Frames {
    vec![Vec::new(), number.to_be_bytes().to_vec(), vec![number as u8; size]]
}

fn number(frames: &Frames) -> u32 {
    u32::from_be_bytes(frames[1][..].try_into().expect("a number"))
}

#[derive(Clone, Debug)]
enum Operation {
    Send(usize),
    Hear(prop::sample::Index, usize),
    /// A peer that was dialled is lost, and comes back later.
    Lose(prop::sample::Index),
    Wait(u64),
    Say(prop::sample::Index),
    Poll,
}

fn operation() -> impl Strategy<Value = Operation> {
    let peer = any::<prop::sample::Index>;
    prop_oneof![
        8 => prop_oneof![0..40_usize, Just(300), Just(20_000)].prop_map(Operation::Send),
        4 => (peer(), prop_oneof![1..60_usize, 1..2000_usize]).prop_map(|(peer, most)| Operation::Hear(peer, most)),
        1 => peer().prop_map(Operation::Lose),
        2 => (1..300_u64).prop_map(Operation::Wait),
        1 => peer().prop_map(Operation::Say),
        2 => Just(Operation::Poll),
    ]
}

/// A DEALER that dials all of its peers, and what became of each message.
struct Checked {
    desk: Desk<Dealer>,
    peers: Vec<PeerId>,
    accepted: u32,
    /// Since the last `Writable`.
    refused: bool,
    /// That no `Writable` has answered yet; one may answer several.
    refusals: u32,
    /// By peer, over all of its connections.
    heard: BTreeMap<PeerId, Vec<u32>>,
    /// Messages that were begun on connections that are gone.
    begun: u64,
    said: u32,
    got: u32,
}

impl Checked {
    fn new(options: Options, peers: usize) -> Self {
        let mut desk = desk(options);
        let peers = (0..peers).map(|at| desk.socket.connect(desk.now, &format!("sim://{at}"))).collect();
        desk.tend();
        Self {
            desk,
            peers,
            accepted: 0,
            refused: false,
            refusals: 0,
            heard: BTreeMap::new(),
            begun: 0,
            said: 0,
            got: 0,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Send(size) => {
                let message = Message::multipart(numbered(self.accepted, size));
                match self.desk.socket.send(message.clone()) {
                    Ok(()) => self.accepted += 1,
                    Err(SendError::Full(back)) => {
                        assert_eq!(back, message);
                        self.refused = true;
                        self.refusals += 1;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            Operation::Hear(which, most) => self.hear(*which.get(&self.peers), most),
            Operation::Lose(which) => {
                let peer = *which.get(&self.peers);
                self.begun += self.desk.begun(peer);
                self.desk.hang_up(peer);
            }
            Operation::Wait(millis) => {
                self.desk.wait(Duration::from_millis(millis));
                for peer in std::mem::take(&mut self.desk.dials) {
                    self.desk.answer(peer, "ROUTER");
                }
            }
            Operation::Say(which) => {
                let peer = *which.get(&self.peers);
                if self.desk.is_open(peer) {
                    self.desk.say_message(peer, &numbered(self.said, 3));
                    self.said += 1;
                }
            }
            Operation::Poll => {
                while let Some(event) = self.desk.socket.poll_event() {
                    match event {
                        Event::Message { .. } => self.got += 1,
                        Event::Writable { peer } => {
                            assert_eq!(peer, None, "a dealer has one queue");
                            assert!(self.refusals > 0, "nobody asked for room");
                            self.refusals -= 1;
                            self.refused = false;
                        }
                        _ => {}
                    }
                }
                self.desk.tend();
            }
        }
    }

    fn hear(&mut self, peer: PeerId, most: usize) {
        for frames in self.desk.hear_messages(peer, most) {
            let number = number(&frames);
            assert_eq!(frames, numbered(number, frames[2].len()), "a corrupted message");
            self.heard.entry(peer).or_default().push(number);
        }
    }

    fn finish(&mut self) {
        for _ in 0..3 {
            self.apply(Operation::Wait(60_000));
            for peer in self.peers.clone() {
                self.hear(peer, usize::MAX);
            }
            self.apply(Operation::Poll);
        }
        let begun = self.begun + self.peers.iter().map(|&peer| self.desk.begun(peer)).sum::<u64>();
        assert_eq!(begun, u64::from(self.accepted), "a message was lost unsent, or sent again");
        assert_eq!(self.desk.socket.waiting(), 0);
        assert!(!self.refused, "refused for want of room, and never told that there is some");
        assert_eq!(self.got, self.said, "a message that came was not delivered");
        if let [only] = self.peers[..] {
            let heard = self.heard.get(&only).map_or(&[][..], Vec::as_slice);
            assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "out of order over one endpoint: {heard:?}");
        }
        let mut all = BTreeSet::new();
        for number in self.heard.values().flatten() {
            assert!(all.insert(*number), "message {number} arrived twice");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_message_is_begun_once_whatever_connections_are_lost(
        peers in 1..4_usize,
        messages in prop::option::of(1..6_u32),
        octets in prop::option::of(1..3000_u64),
        operations in vec(operation(), 1..120),
    ) {
        let mark = Mark { messages, octets };
        let mut checked = Checked::new(Options::new().send_mark(mark), peers);
        for operation in operations {
            checked.apply(operation);
        }
        checked.finish();
    }

    #[test]
    fn without_losses_every_message_arrives_and_each_peer_gets_its_own_in_order(
        peers in 1..4_usize,
        messages in prop::option::of(1..6_u32),
        operations in vec(operation(), 1..120),
    ) {
        let mark = Mark { messages, octets: None };
        let mut checked = Checked::new(Options::new().send_mark(mark), peers);
        for operation in operations {
            if !matches!(operation, Operation::Lose(_)) {
                checked.apply(operation);
            }
        }
        checked.finish();
        prop_assert_eq!(checked.heard.values().map(Vec::len).sum::<usize>(), checked.accepted as usize);
        for heard in checked.heard.values() {
            prop_assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {:?}", heard);
        }
    }

    #[test]
    fn peers_with_room_take_turns(peers in 1..6_usize, accepted in 0..5_usize, messages in 0..40_u32) {
        let mut checked = Checked::new(Options::new(), peers);
        checked.apply(Operation::Wait(1));
        let mut all = checked.peers.clone();
        all.extend((0..accepted).map(|_| checked.desk.join("ROUTER", b"")));
        for number in 0..messages {
            checked.desk.socket.send(Message::multipart(numbered(number, 5))).expect("room");
        }
        for &peer in &all {
            checked.hear(peer, usize::MAX);
        }
        let mut order: BTreeMap<u32, PeerId> = BTreeMap::new();
        for (peer, heard) in &checked.heard {
            order.extend(heard.iter().map(|&number| (number, *peer)));
        }
        prop_assert_eq!(order.len(), messages as usize);
        let order: Vec<PeerId> = order.into_values().collect();
        for turn in order.windows(all.len()) {
            prop_assert_eq!(turn.iter().collect::<BTreeSet<_>>().len(), all.len(), "a peer was passed over");
        }
    }

    #[test]
    fn a_full_peer_is_passed_over(mark in 1..5_u32, deaf in 1..3_usize) {
        let mark = Mark { messages: Some(mark), octets: None };
        let mut checked = Checked::new(Options::new().send_mark(mark), deaf + 1);
        checked.apply(Operation::Wait(1));
        let listener = checked.peers[deaf];
        let mut heard = 0;
        for number in 0..60 {
            checked.desk.socket.send(Message::multipart(numbered(number, 5))).expect("one peer always has room");
            checked.hear(listener, usize::MAX);
            heard = checked.heard.get(&listener).map_or(0, Vec::len);
        }
        let kept = deaf * mark.messages.unwrap_or_default() as usize;
        prop_assert!(heard >= 60 - kept, "only {} of 60 got past {} full peers", heard, deaf);
    }

    #[test]
    fn what_no_peer_can_take_waits_up_to_the_mark(mark in 1..9_u32, extra in 1..5_u32) {
        let mark_in_messages = Mark { messages: Some(mark), octets: None };
        let mut checked = Checked::new(Options::new().send_mark(mark_in_messages), 1);
        for number in 0..mark + extra {
            let sent = checked.desk.socket.send(Message::multipart(numbered(number, 5)));
            prop_assert_eq!(sent.is_ok(), number < mark);
        }
        prop_assert_eq!(checked.desk.socket.waiting(), mark as usize);
        checked.apply(Operation::Wait(1));
        checked.hear(checked.peers[0], usize::MAX);
        prop_assert_eq!(&checked.heard[&checked.peers[0]], &(0..mark).collect::<Vec<_>>());
        let mut events = std::iter::from_fn(|| checked.desk.socket.poll_event());
        let told = events.any(|event| matches!(event, Event::Writable { peer: None }));
        prop_assert!(told, "nobody said that there is room again");
    }
}

#[test]
fn a_dealer_without_any_endpoint_takes_nothing() {
    let mut desk = desk(Options::new());
    let message = Message::from("nobody there");
    assert_eq!(desk.socket.send(message.clone()), Err(SendError::Full(message)));
}

#[test]
fn a_bound_dealer_discards_what_waits_for_a_peer_that_left() {
    let mut desk = desk(Options::new());
    let first = desk.join("ROUTER", b"");
    desk.socket.send(Message::multipart(numbered(0, 1))).expect("room");
    desk.hang_up(first);
    let second = desk.join("ROUTER", b"");
    assert_eq!(desk.hear_messages(second, usize::MAX), Vec::<Frames>::new());
    desk.socket.send(Message::multipart(numbered(1, 1))).expect("room");
    assert_eq!(desk.hear_messages(second, usize::MAX), [numbered(1, 1)]);
}

#[test]
fn the_waiting_time_starts_over_after_a_completed_handshake_and_only_then() {
    let mut desk = desk(Options::new());
    let peer = desk.socket.connect(desk.now, "sim://server");
    desk.tend();
    let first = Duration::from_millis(100);
    for _ in 0..30 {
        desk.answer(peer, "ROUTER");
        desk.hang_up(peer);
        while desk.socket.poll_event().is_some() {}
        desk.wait(first);
        assert_eq!(desk.dials, [peer], "dialled no more, or too late");
    }
    let start = desk.now;
    for _ in 0..8 {
        desk.dials.clear();
        // Reached, and lost again before the handshake.
        desk.socket.handle_dialed(desk.now, peer, Address::Unnamed);
        desk.socket.handle_closed(desk.now, peer, Closed::Reset);
        while desk.dials.is_empty() {
            desk.wait(first);
        }
        while desk.socket.poll_event().is_some() {}
    }
    assert!(desk.now.saturating_duration_since(start) > Duration::from_secs(2), "it never waits longer");
}

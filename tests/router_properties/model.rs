//! A router against a naive model of it, in any order of calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::socket::{Cause, Router};
use zmio::{Event, Mark, Message, Options, PeerId, SendError};

use crate::desk::{Desk, Frames};
use crate::{Shape, config, desk, frames, octets, shape};

#[derive(Clone, Debug)]
enum Operation {
    /// With an identity of its own, or none.
    Join(Option<u8>),
    Leave(prop::sample::Index),
    Say(prop::sample::Index, Shape),
    Send(prop::sample::Index, Shape),
    Hear(prop::sample::Index, usize),
    Poll(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let peer = any::<prop::sample::Index>;
    prop_oneof![
        3 => prop::option::of(0..3_u8).prop_map(Operation::Join),
        1 => peer().prop_map(Operation::Leave),
        6 => (peer(), shape()).prop_map(|(peer, shape)| Operation::Say(peer, shape)),
        6 => (peer(), shape()).prop_map(|(peer, shape)| Operation::Send(peer, shape)),
        3 => (peer(), 1..700_usize).prop_map(|(peer, most)| Operation::Hear(peer, most)),
        4 => (1..10_usize).prop_map(Operation::Poll),
    ]
}

/// What a peer should have seen, and should still see.
#[derive(Default)]
struct Modelled {
    /// Said to the socket and not delivered yet.
    said: VecDeque<Frames>,
    /// Accepted for it and not heard yet.
    owed: VecDeque<Frames>,
    /// Accepted since its queue was last empty.
    since_empty: usize,
    /// Since the last `Writable`.
    refused: bool,
    /// That no `Writable` has answered yet; one may answer several.
    refusals: u32,
    connected: bool,
    /// By the events.
    announced: Option<bool>,
}

struct Checked {
    desk: Desk<Router>,
    mark: usize,
    receive: u64,
    /// In order of appearance; stale ids stay in it.
    peers: Vec<PeerId>,
    model: BTreeMap<PeerId, Modelled>,
    identities: BTreeMap<PeerId, Vec<u8>>,
}

impl Checked {
    fn apply(&mut self, operation: Operation) {
        if let Operation::Join(identity) = operation {
            let identity: Vec<u8> = identity.map(|which| vec![b'a' + which]).into_iter().flatten().collect();
            let peer = self.desk.join("DEALER", &identity);
            assert!(!self.model.contains_key(&peer), "{peer:?} was given out before");
            self.peers.push(peer);
            let connected = self.desk.is_open(peer);
            let taken = !identity.is_empty()
                && self.identities.iter().any(|(other, taken)| *taken == identity && self.model[other].connected);
            assert_eq!(connected, !taken, "an identity is accepted exactly if nobody has it");
            self.model.insert(peer, Modelled { connected, ..Modelled::default() });
            if connected && !identity.is_empty() {
                self.identities.insert(peer, identity);
            }
            return;
        }
        if self.peers.is_empty() {
            return;
        }
        match operation {
            Operation::Join(_) => {}
            Operation::Leave(which) => {
                let peer = *which.get(&self.peers);
                let kept_back = self.desk.kept_back(peer);
                self.desk.hang_up(peer);
                let model = self.modelled(peer);
                model.connected = false;
                model.owed.clear();
                model.refused = false;
                // What the socket did not take is lost: the last messages said, as far as they are touched by it.
                let mut lost = 0;
                while lost < kept_back {
                    lost += model.said.pop_back().map_or(kept_back, |frames| octets::message(&frames).len());
                }
            }
            Operation::Say(which, shape) => {
                let frames = frames(&shape);
                let peer = *which.get(&self.peers);
                if self.desk.is_open(peer) {
                    self.desk.say_message(peer, &frames);
                    self.modelled(peer).said.push_back(frames);
                }
            }
            Operation::Send(which, shape) => self.send(*which.get(&self.peers), frames(&shape)),
            Operation::Hear(which, most) => self.hear(*which.get(&self.peers), most),
            Operation::Poll(most) => {
                for _ in 0..most {
                    self.poll();
                }
                self.desk.tend();
            }
        }
    }

    fn modelled(&mut self, peer: PeerId) -> &mut Modelled {
        self.model.get_mut(&peer).expect("every peer has a model")
    }

    fn send(&mut self, peer: PeerId, frames: Frames) {
        let message = Message::multipart(&frames);
        let mark = self.mark;
        let sent = self.desk.socket.send(peer, message.clone());
        let model = self.modelled(peer);
        match sent {
            Ok(()) => {
                assert!(model.connected, "a message for nobody was accepted");
                assert!(model.owed.is_empty() || model.owed.len() < mark, "the queue is past its mark");
                model.owed.push_back(frames);
                model.since_empty += 1;
            }
            Err(SendError::Full(back)) => {
                assert!(model.connected && model.since_empty >= mark, "full without reason");
                assert_eq!(back, message);
                model.refused = true;
                model.refusals += 1;
            }
            Err(SendError::NoSuchPeer(back)) => {
                assert!(!model.connected, "a peer that is there was not found");
                assert_eq!(back, message);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn hear(&mut self, peer: PeerId, most: usize) {
        let heard = self.desk.hear_messages(peer, most);
        let model = self.modelled(peer);
        for frames in heard {
            assert_eq!(model.owed.pop_front(), Some(frames), "not the next message for {peer:?}");
        }
        if model.owed.is_empty() {
            model.since_empty = 0;
        }
    }

    fn poll(&mut self) -> bool {
        let Some(event) = self.desk.socket.poll_event() else {
            return false;
        };
        match event {
            Event::Connected { peer, info } => {
                assert_eq!(self.modelled(peer).announced.replace(true), None, "connected a second time");
                let chosen = self.identities.entry(peer).or_insert_with(|| info.identity.to_vec());
                assert_eq!(chosen[..], info.identity[..]);
                assert!(chosen.len() == 1 || chosen.len() == 5 && chosen[0] == 0, "{chosen:?}");
            }
            Event::Message { peer, message } => {
                let got: Frames = message.frames().map(<[u8]>::to_vec).collect();
                let model = self.modelled(peer);
                assert_eq!(model.announced, Some(true), "a message outside of the connection");
                assert_eq!(model.said.pop_front(), Some(got), "not the next message of {peer:?}");
            }
            Event::Disconnected(gone) => {
                assert_eq!(self.identities.get(&gone.peer).map(Vec::as_slice), Some(&gone.identity[..]));
                let model = self.modelled(gone.peer);
                assert_eq!(model.announced.replace(false), Some(true), "gone without having come");
                assert!(!model.connected && model.said.is_empty(), "messages were lost");
            }
            Event::Rejected(rejected) => {
                assert_eq!(rejected.cause, Cause::DuplicateIdentity);
                assert_eq!(self.modelled(rejected.peer).announced.replace(false), None);
            }
            Event::Writable { peer } => {
                let model = self.modelled(peer.expect("a router has a queue per peer"));
                assert!(model.refusals > 0, "nobody asked for room");
                model.refusals -= 1;
                model.refused = false;
            }
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    fn check_receive_mark(&self) {
        for peer in self.peers.iter().filter_map(|&peer| self.desk.socket.peer(peer)) {
            assert!(
                peer.unreceived() <= self.receive,
                "{} messages wait, more than {}",
                peer.unreceived(),
                self.receive
            );
        }
    }

    /// All is read on both sides: nothing may be left.
    fn finish(&mut self) {
        for peer in self.peers.clone() {
            self.hear(peer, usize::MAX);
        }
        while self.poll() {
            self.desk.tend();
        }
        for (peer, model) in &self.model {
            assert!(model.said.is_empty() && model.owed.is_empty(), "something of {peer:?} is left");
            assert!(!model.refused, "{peer:?} was refused for want of room, and never told that there is some");
            assert_eq!(model.announced, Some(model.connected), "the events about {peer:?} are not complete");
            let view = self.desk.socket.peer(*peer).is_some_and(|peer| peer.is_connected());
            assert_eq!(view, model.connected);
            if model.connected {
                assert_eq!(self.desk.socket.peer_by_identity(&self.identities[peer]), Some(*peer));
            }
        }
        let connected: BTreeSet<PeerId> = self.desk.socket.peers().collect();
        assert_eq!(connected.len(), self.model.values().filter(|model| model.connected).count());
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_router_does_what_a_naive_model_of_it_does(
        mark in 1..4_u32,
        receive in 1..5_u32,
        operations in vec(operation(), 1..120),
    ) {
        let options = Options::new()
            .send_mark(Mark { messages: Some(mark), octets: None })
            .receive_mark(Mark { messages: Some(receive), octets: None });
        let mut checked = Checked {
            desk: desk(options),
            mark: mark as usize,
            receive: u64::from(receive),
            peers: Vec::new(),
            model: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        for operation in operations {
            checked.apply(operation);
            checked.check_receive_mark();
        }
        checked.finish();
    }
}

//! ROUTER (RFC 28): knows its peers by identity, and sends to the one that is named.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::routing::{Admission, Routing};
use super::{Cause, Duplicates, Event, Options, Pattern, PeerId, SendError, Socket};
use crate::conn::{self, Connection, Identity, SendQueue};
use crate::message::{Message, Outgoing, Run};
use crate::socket::core::Core;
use crate::socket::fanout::{Fanout, PART_OCTETS};
use crate::socket::reads::Reads;
use crate::wire::SocketType;

/// The pattern of a ROUTER: see [`Socket::router`].
#[derive(Debug)]
pub struct Router {
    identities: BTreeMap<Identity, PeerId>,
    /// Where assigned identities come from: a counter, scattered.
    assigned: u32,
    fanout: Fanout,
    /// The peers that lagged most when that was found out last, and the block of the log that they had come to.
    slowest: Vec<PeerId>,
    slowest_at: u64,
}

/// A message of this size or more takes many turns to be written, and who is in the middle of it need not lag. A relay that waits
/// for those that lag does not wait for these. With smaller ones it would hold back much more than the limit, since a thousand
/// clients may be in the middle of as many.
const LARGE_OCTETS: usize = 1 << 20;

impl Pattern for Router {}

impl Socket<Router> {
    /// A ROUTER. `seed` feeds the identities that it assigns; any number will do, if not every process uses the same.
    pub fn router(options: Options, seed: u64) -> Socket<Router> {
        let (identities, fanout, slowest) = (BTreeMap::new(), Fanout::default(), Vec::new());
        let pattern = Router { identities, assigned: 0, fanout, slowest, slowest_at: 0 };
        let mut socket = Socket::with(pattern, options, seed);
        socket.pattern.assigned = socket.core.rng.next_u32();
        socket
    }

    /// Sends a message to one peer (RFC 28). Never blocks, and never discards.
    ///
    /// What is queued for a peer is discarded when its connection ends.
    ///
    /// # Errors
    ///
    /// With the message: [`NoSuchPeer`](SendError::NoSuchPeer) if the peer is not connected, or cannot be written to any more;
    /// [`Full`](SendError::Full) if its queue is at [`Options::send_mark`], and then one [`Event::Writable`] comes when
    /// half of it is free, unless the connection ends before.
    pub fn send<'a>(&mut self, peer: PeerId, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        // What was broadcast before must go out before.
        self.pattern.end_turn(&mut self.core);
        self.core.send(peer, message.into())
    }

    /// As [`send`](Socket::send), but drops and counts a message that cannot be queued, as libzmq's ROUTER does by default. Says
    /// whether it was queued.
    pub fn send_lossy<'a>(&mut self, peer: PeerId, message: impl Into<Outgoing<'a>>) -> bool {
        // An earlier `send` may wait for room; this one does not.
        let blocked = self.core.peers.get(peer).is_some_and(|slot| slot.blocked);
        self.pattern.end_turn(&mut self.core);
        let queued = self.core.closing.is_none() && self.core.push(peer, &mut message.into()) == Some(true);
        if let (false, Some(slot)) = (queued, self.core.peers.get_mut(peer)) {
            slot.blocked = blocked;
            slot.counts.dropped += 1;
        }
        queued
    }

    /// Sends what there is room for by the caller's own reckoning; says whether the peer can be sent to. Only broadcasts
    /// can take its queue past the mark by it.
    #[cfg(feature = "net")]
    pub(crate) fn send_reserved(&mut self, peer: PeerId, entry: conn::Entry) -> bool {
        self.pattern.end_turn(&mut self.core);
        self.core.push_reserved(peer, entry)
    }

    /// The connected peer with this identity.
    pub fn peer_by_identity(&self, identity: &[u8]) -> Option<PeerId> {
        self.pattern.identities.get(identity).copied()
    }

    /// Sends a message to all connected peers but one. It is encoded once, and copied once for all of them.
    ///
    /// A peer whose queue is at [`Options::send_mark`] does not get it, which is counted
    /// ([`Counts::dropped`](super::Counts::dropped)); one whose queue is not gets all broadcasts of this turn. The octets of
    /// what is written first, one message or at most 64 KiB, do not count for that, however large they are. The turn ends with
    /// the next [`poll_action`](Socket::poll_action), direct send, or newly connected peer.
    pub fn broadcast_except(&mut self, except: Option<PeerId>, message: &Message) {
        self.broadcast_run_except(except, &message.clone().into_run());
    }

    /// As [`broadcast_except`](Socket::broadcast_except), for all messages of a run.
    pub fn broadcast_run_except(&mut self, except: Option<PeerId>, run: &Run) {
        if self.core.closing.is_some() {
            return;
        }
        let own = except.and_then(|peer| self.core.peers.get_mut(peer)).map(|slot| &mut slot.own);
        self.pattern.fanout.stage(run, except, own);
    }

    /// The peers that broadcasts do not reach for now, or would not: those whose queue is at [`Options::send_mark`], as
    /// [`broadcast_except`](Socket::broadcast_except) counts it, and those that lag most while all peers together hold back
    /// more than [`Options::broadcast_octets`] besides messages of 1 MiB and more that they are in the middle of.
    pub fn full_peers(&mut self) -> impl Iterator<Item = PeerId> + use<> {
        self.pattern.end_turn(&mut self.core);
        let mut full = self.core.full.clone();
        full.extend(self.pattern.slowest(&self.core));
        full.into_iter()
    }

    /// Discards what is queued for a peer and not begun to be sent, and counts it as dropped.
    pub fn discard_queue(&mut self, peer: PeerId) {
        self.pattern.end_turn(&mut self.core);
        discard(&mut self.core, peer, SendQueue::discard_unsent);
        if self.core.closing.is_some() {
            self.finish(self.core.now, peer);
        }
    }
}

impl Router {
    /// 00 and four octets. The counter makes them unique for 2^32 peers, and the scattering hides it: it is a
    /// bijection, so nothing is lost.
    fn assign(&mut self) -> Identity {
        loop {
            self.assigned = self.assigned.wrapping_add(1);
            let mut x = self.assigned;
            x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
            x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
            let identity = Identity::assigned(x ^ (x >> 16));
            if !self.identities.contains_key(&identity) {
                return identity;
            }
        }
    }

    /// If all peers together hold back too much, not counting what is large: those that lag most.
    fn slowest(&mut self, core: &Core) -> &[PeerId] {
        let at = self.slowest_at;
        self.slowest.retain(|peer| oldest_block(core, *peer) == Some(at));
        if self.exceeded(core, LARGE_OCTETS).is_none() {
            self.slowest.clear();
            return &self.slowest;
        }
        // A relay that waits asks after each write. Nobody goes back in the log, so those that were found are still all, until the
        // last of them has read on or something is broadcast.
        if self.slowest.is_empty() {
            for &peer in core.peers.connected() {
                let Some(block) = oldest_block(core, peer) else {
                    continue;
                };
                if self.slowest.is_empty() || block < self.slowest_at {
                    self.slowest.clear();
                    self.slowest_at = block;
                }
                if block == self.slowest_at {
                    self.slowest.push(peer);
                }
            }
        }
        &self.slowest
    }

    /// Makes those that lag most lose the broadcasts that are queued for them, until no more is held back than is allowed.
    fn relieve(&mut self, core: &mut Core) {
        let Some(allowed) = self.exceeded(core, 0) else {
            return;
        };
        let lagging = core.peers.connected().iter().filter_map(|&peer| {
            let queue = core.peers.get(peer)?.queue()?;
            Some((queue.oldest_block()?, Reverse(queue.charged()), peer))
        });
        let mut lagging: Vec<_> = lagging.collect();
        lagging.sort_unstable();
        for (.., laggard) in lagging {
            discard(core, laggard, SendQueue::discard_broadcasts);
            if !self.fanout.holds_more_than(allowed) {
                return;
            }
        }
    }

    /// If all peers together hold back more octets than they may: how many they may. Besides the limit that is what is begun
    /// to be sent and has `least` octets or more: who is in the middle of it cannot let go of it, and others must not suffer
    /// for that. Or any one large message: however large, it is to get through.
    fn exceeded(&mut self, core: &Core, least: usize) -> Option<u64> {
        let limit = core.options.broadcast_octets?;
        if !self.fanout.holds_more_than(limit) {
            return None;
        }
        let largest = self.fanout.largest_block();
        let largest = if largest < LARGE_OCTETS as u64 { 0 } else { largest };
        // What is begun is asked of all peers, and only if it matters.
        if largest == 0 && least >= LARGE_OCTETS {
            return Some(limit);
        }
        let allowed = limit.saturating_add(largest);
        if !self.fanout.holds_more_than(allowed) {
            return None;
        }
        let allowed = allowed.max(limit.saturating_add(begun_octets(core, least)));
        self.fanout.holds_more_than(allowed).then_some(allowed)
    }
}

/// The memory of what is begun to be sent to peers, each block of at least `least` octets once.
fn begun_octets(core: &Core, least: usize) -> u64 {
    let queues = core.peers.connected().iter().filter_map(|peer| core.peers.get(*peer)?.queue());
    let mut begun: Vec<_> = queues.filter_map(SendQueue::begun_block).filter(|(_, octets)| *octets >= least).collect();
    // The longest piece of each block comes first of it.
    begun.sort_unstable_by_key(|&(block, octets)| (block, Reverse(octets)));
    begun.dedup_by_key(|(block, _)| *block);
    begun.into_iter().map(|(_, octets)| octets.max(PART_OCTETS) as u64).sum()
}

/// The oldest block of the log that a peer holds on to. What it has begun to be sent does not count, since that cannot be given
/// up.
fn oldest_block(core: &Core, peer: PeerId) -> Option<u64> {
    core.peers.get(peer)?.queue()?.oldest_block()
}

/// Gives up what is queued for a peer, or a part of it.
fn discard(core: &mut Core, peer: PeerId, part: impl FnOnce(&mut SendQueue) -> u64) {
    let Some(slot) = core.peers.get_mut(peer) else {
        return;
    };
    let discarded = slot.conn.as_mut().map(Connection::queue_mut).map_or(0, part);
    match &mut slot.cut {
        Some(given_up) => *given_up += discarded,
        None => slot.counts.dropped += discarded,
    }
    if core.freed(peer) {
        core.notices.push_back(Event::Writable { peer: Some(peer) });
    }
    if core.note_drained(peer) {
        core.withdraw_transmit(peer);
    }
}

impl Routing for Router {
    const SOCKET_TYPE: SocketType = SocketType::Router;

    fn admit(&mut self, core: &mut Core, peer: PeerId, info: &conn::PeerInfo) -> Admission {
        // Whoever joins now gets what comes later (B3).
        self.end_turn(core);
        if info.identity.is_empty() {
            let identity = self.assign();
            self.identities.insert(identity.clone(), peer);
            return Admission::As(identity);
        }
        let identity = info.identity.clone();
        match (self.identities.get(&identity).copied(), core.options.duplicates) {
            (None, _) => {
                self.identities.insert(identity.clone(), peer);
                Admission::As(identity)
            }
            (Some(_), Duplicates::RejectNew) => {
                Admission::Refused { cause: Cause::DuplicateIdentity, reason: "Identity is taken" }
            }
            (Some(old), Duplicates::Handover) => {
                self.identities.insert(identity.clone(), peer);
                Admission::InPlaceOf(old, identity)
            }
        }
    }

    fn expected(&mut self, _: &mut Core) {}

    fn opened(&mut self, _: &mut Core, _: PeerId) {}

    fn closed(&mut self, core: &mut Core, peer: PeerId, unsent: SendQueue, _: bool) -> u64 {
        let identity = core.peers.get(peer).map(|slot| slot.identity.clone()).unwrap_or_default();
        // After a handover the identity is the newcomer's.
        if self.identities.get(&identity) == Some(&peer) {
            self.identities.remove(&identity);
        }
        unsent.messages()
    }

    fn room(&mut self, core: &mut Core, peer: PeerId) {
        core.notices.push_back(Event::Writable { peer: Some(peer) });
    }

    /// Each peer gets the broadcasts of the turn, less its own, in one or two entries.
    fn end_turn(&mut self, core: &mut Core) {
        if self.fanout.is_empty() {
            return;
        }
        self.fanout.seal();
        self.relieve(core);
        // What comes now may lie in the block that they have come to.
        self.slowest.clear();
        for place in 0..core.peers.connected().len() {
            let Some(&peer) = core.peers.connected().get(place) else {
                break;
            };
            core.fan_out(peer, &self.fanout);
        }
        for owner in self.fanout.clear() {
            if let Some(slot) = core.peers.get_mut(owner) {
                slot.own = Default::default();
            }
        }
    }

    /// Its part of this turn is dropped too, when that ends.
    fn cut_off(&mut self, core: &mut Core, peer: PeerId) {
        core.peers.cut(peer);
        discard(core, peer, SendQueue::discard_unsent);
    }

    fn lend(&mut self, octets: usize) -> Option<Vec<u8>> {
        self.fanout.lend(octets)
    }

    fn reads_mut(&mut self) -> Option<&mut Reads> {
        Some(self.fanout.reads_mut())
    }

    fn is_mid_turn(&self) -> bool {
        !self.fanout.is_empty()
    }

    fn waiting(&self) -> u64 {
        0
    }

    fn discard_waiting(&mut self) -> u64 {
        0
    }
}

#[cfg(test)]
impl Router {
    /// How many identities it knows.
    pub(crate) fn known(&self) -> usize {
        self.identities.len()
    }
}

//! The peers of a socket, by id.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use slab::Slab;

use crate::conn::{Connection, Identity, SendQueue};
use crate::socket::hosts::Host;
use crate::socket::inbox::Inbox;
use crate::socket::link::Link;
use crate::socket::{Address, Counts, fanout::Own};
use crate::time::Instant;

/// Names one peer of a socket: one "double queue" of RFC 28. It is never given to another one: a stale id finds nobody.
///
/// A peer that is dialled keeps its id when it is dialled again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Aligned, so that all in an event lies at multiples of eight octets: it is moved a few times for each message, and with
// four the wide loads of these moves cross what was just stored, which no store buffer forwards. That was a third of the
// cost of receiving a message.
#[repr(align(8))]
pub struct PeerId {
    index: u32,
    generation: u32,
}

impl PeerId {
    /// A small number that no other living peer has, but a later one may: good as an index.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// All that a socket knows of one peer. It outlives the connection until what came from it is read.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: PeerId,
    pub(crate) address: Address,
    pub(crate) conn: Option<Connection>,
    /// Set for a peer that we dial.
    pub(crate) link: Option<Box<Link>>,
    /// Whose place it takes, if those are counted.
    pub(crate) host: Option<Host>,
    pub(crate) inbox: Inbox,
    /// What its connection holds of messages that are not whole, as it is counted in the sum of all.
    pub(crate) unfinished: usize,
    /// Known from the handshake until the last event is read.
    pub(crate) identity: Identity,
    /// The handshake is complete. The place in `Peers::connected`.
    pub(crate) connected: Option<usize>,
    /// When the deadline that counts fires.
    pub(crate) armed: Option<Instant>,
    /// Where its own pieces of this turn's broadcasts are.
    pub(crate) own: Own,
    /// All but what the connection itself counts.
    pub(crate) counts: Counts,
    /// It has its place in the fair queue.
    pub(crate) fair: bool,
    /// The driver knows that there is something to write.
    pub(crate) transmitting: bool,
    /// The driver was told not to read.
    pub(crate) paused: bool,
    /// It is not read until messages are taken again.
    pub(crate) held: bool,
    /// The driver was told to read again, and the deadlines of the connection do not know yet.
    pub(crate) resuming: bool,
    /// A message was refused for want of room, and somebody waits for it.
    pub(crate) blocked: bool,
    /// Writing to it has failed, and the end of its connection is not found yet.
    pub(crate) unwritable: bool,
    /// It cannot be written to any more, and the end of its connection is behind what it has sent. Nothing is queued for it, and so
    /// many messages that were are given up.
    pub(crate) cut: Option<u64>,
    /// Neither connected nor to be dialled again: only its inbox is left.
    pub(crate) ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Peers {
    slots: Slab<Slot>,
    /// Those whose handshake is complete, in no order.
    connected: Vec<PeerId>,
    /// How often it has changed who can be sent to.
    membership: u64,
    generation: u32,
}

impl Slot {
    pub(crate) fn counts(&self) -> Counts {
        self.counts.with(self.queue(), self.cut)
    }

    /// What waits to be sent to it, while there is a connection.
    pub(crate) fn queue(&self) -> Option<&SendQueue> {
        self.conn.as_ref().map(Connection::queue)
    }

    pub(crate) fn is_in_handshake(&self) -> bool {
        self.conn.is_some() && self.connected.is_none()
    }
}

impl Peers {
    pub(crate) fn insert(&mut self, address: Address, link: Option<Box<Link>>, host: Option<Host>) -> PeerId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        // A socket has at most as many peers as an operating system has descriptors.
        let id = PeerId { index: entry.key() as u32, generation: self.generation };
        entry.insert(Slot {
            id,
            address,
            conn: None,
            link,
            host,
            inbox: Inbox::default(),
            unfinished: 0,
            identity: Identity::default(),
            connected: None,
            armed: None,
            own: Own::default(),
            counts: Counts::default(),
            fair: false,
            transmitting: false,
            paused: false,
            held: false,
            resuming: false,
            blocked: false,
            unwritable: false,
            cut: None,
            ended: false,
        });
        id
    }

    #[inline]
    pub(crate) fn get(&self, peer: PeerId) -> Option<&Slot> {
        self.slots.get(peer.index()).filter(|slot| slot.id == peer)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Slot> {
        self.slots.get_mut(peer.index()).filter(|slot| slot.id == peer)
    }

    pub(crate) fn remove(&mut self, peer: PeerId) {
        if self.get(peer).is_some() {
            self.set_connected(peer, false);
            self.slots.remove(peer.index());
        }
    }

    pub(crate) fn set_connected(&mut self, peer: PeerId, connected: bool) {
        let place = self.connected.len();
        let Some(slot) = self.get_mut(peer) else {
            return;
        };
        if slot.connected.is_some() == connected {
            return;
        }
        match slot.connected {
            None => {
                slot.connected = Some(place);
                self.connected.push(peer);
            }
            Some(place) => {
                slot.connected = None;
                self.connected.swap_remove(place);
                let moved = self.connected.get(place).copied();
                if let Some(slot) = moved.and_then(|moved| self.get_mut(moved)) {
                    slot.connected = Some(place);
                }
            }
        }
        self.membership += 1;
    }

    /// Nothing is queued for this one any more.
    pub(crate) fn cut(&mut self, peer: PeerId) {
        if let Some(slot) = self.get_mut(peer) {
            slot.cut.get_or_insert(0);
            self.membership += 1;
        }
    }

    #[cfg(feature = "net")]
    pub(crate) fn membership(&self) -> u64 {
        self.membership
    }

    /// Those whose handshake is complete.
    pub(crate) fn connected(&self) -> &[PeerId] {
        &self.connected
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().map(|(_, slot)| slot)
    }

    /// All of them, to go through while they change.
    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.slots().map(|slot| slot.id).collect()
    }
}

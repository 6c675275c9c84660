//! What every pattern works on: the peers, and what is to be told to the driver and the application.

mod receiving;
mod sending;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::conn::{self, Config, Connection, Packs};
use crate::rand::Rng;
use crate::socket::deadlines::Deadlines;
use crate::socket::hosts::{Host, Hosts};
use crate::socket::link::{Link, LinkState};
use crate::socket::peers::{Peers, Slot};
use crate::socket::runs::Runs;
use crate::socket::{Action, Address, Cause, Counts, Event, Options, PeerId, Refused};
use crate::time::Instant;
use crate::wire::SocketType;

/// As soon as a list has so many that no longer count, it is swept.
const STALE: usize = 64;

#[derive(Debug)]
pub struct Core {
    pub(crate) options: Options,
    pub(crate) config: Arc<Config>,
    pub(crate) peers: Peers,
    pub(crate) rng: Rng,
    pub(crate) runs: Runs,
    /// Memory of what was sent, for what is to be sent.
    pub(crate) packs: Packs,
    /// Peers with something in their inbox, in the order in which they have their turn.
    fair: VecDeque<PeerId>,
    /// No messages are taken.
    pub(crate) holding: bool,
    /// Peers that have sent some since, in that order.
    held: Vec<PeerId>,
    /// What concerns no peer alone, or must not wait for a turn.
    pub(crate) notices: VecDeque<Event>,
    actions: VecDeque<Action>,
    transmits: VecDeque<PeerId>,
    deadlines: Deadlines,
    /// Peers that are read again; their deadlines move as soon as it is known what time it is.
    resumed: Vec<PeerId>,
    /// Peers at their send mark.
    pub(crate) full: BTreeSet<PeerId>,
    /// Accepted peers in handshake, oldest first, with some that are past it.
    handshakes: VecDeque<PeerId>,
    /// How many of them are in handshake.
    unfinished: usize,
    accepting: bool,
    /// Only while there is a limit for them.
    hosts: Hosts,
    /// The memory of all messages that are not whole, in octets.
    pub(crate) unfinished_octets: u64,
    pub(crate) refused_by_address: u64,
    /// How many slots are not at their end.
    pub(crate) living: usize,
    pub(crate) closing: Option<Closing>,
    /// The latest time that we were told.
    pub(crate) now: Instant,
    /// How often something has left a send queue.
    pub(crate) progress: u64,
    /// What went to peers that are gone, and came from them.
    pub(crate) gone: Counts,
}

/// The socket is being closed.
#[derive(Debug)]
pub(crate) struct Closing {
    /// When it is closed whatever is left; never if `None`.
    pub(crate) deadline: Option<Instant>,
    pub(crate) unsent: u64,
    /// No message waits any more for whichever peer takes it.
    pub(crate) settled: bool,
    /// All peers are at their end.
    pub(crate) done: bool,
    /// The last event was taken.
    pub(crate) told: bool,
}

impl Core {
    pub(crate) fn new(options: Options, socket_type: SocketType, seed: u64) -> Core {
        Core {
            config: Arc::new(options.connection(socket_type)),
            options,
            peers: Peers::default(),
            rng: Rng::new(seed),
            runs: Runs::default(),
            packs: Packs::default(),
            fair: VecDeque::new(),
            holding: false,
            held: Vec::new(),
            notices: VecDeque::new(),
            actions: VecDeque::new(),
            transmits: VecDeque::new(),
            deadlines: Deadlines::default(),
            resumed: Vec::new(),
            full: BTreeSet::new(),
            handshakes: VecDeque::new(),
            unfinished: 0,
            accepting: true,
            hosts: Hosts::default(),
            unfinished_octets: 0,
            refused_by_address: 0,
            living: 0,
            closing: None,
            now: Instant::ZERO,
            progress: 0,
            gone: Counts::default(),
        }
    }

    /// Whose place one more accepted peer takes, if that is counted and there is one left. The application hears of it
    /// once: nobody who dials on and on may fill its log.
    pub(crate) fn admit_host(&mut self, address: Address) -> Result<Option<Host>, Refused> {
        let (Some(allowed), Some(host)) = (self.options.max_per_address, Host::of(address)) else {
            return Ok(None);
        };
        if self.hosts.places(host) < allowed {
            return Ok(Some(host));
        }
        self.refused_by_address += 1;
        if self.hosts.tells(host) {
            self.notices.push_back(Event::AddressFull { address, allowed });
        }
        Err(Refused::AddressFull)
    }

    pub(crate) fn insert(&mut self, address: Address, link: Option<Box<Link>>, host: Option<Host>) -> PeerId {
        let peer = self.peers.insert(address, link, host);
        if let Some(host) = host {
            self.hosts.take(host);
        }
        self.living += 1;
        self.regulate_accepting();
        peer
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        while let Some(peer) = self.transmits.pop_front() {
            if self.peers.get(peer).is_some_and(|slot| slot.conn.is_some()) {
                return Some(Action::Transmit { peer });
            }
        }
        None
    }

    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty() || !self.transmits.is_empty()
    }

    /// A transport is up: the greeting goes out and the handshake deadline runs.
    pub(crate) fn open(&mut self, now: Instant, peer: PeerId, address: Address) {
        let conn = Connection::new(Arc::clone(&self.config), now);
        if let Some(slot) = self.peers.get_mut(peer) {
            slot.address = address;
            slot.conn = Some(conn);
            if slot.link.is_none() {
                self.handshakes.push_back(peer);
                self.unfinished += 1;
            }
        }
        self.refresh(peer);
    }

    /// The oldest accepted peer in handshake, if there are more of them than allowed.
    pub(crate) fn handshake_to_evict(&mut self) -> Option<PeerId> {
        let allowed = self.options.max_handshakes?;
        while self.unfinished > allowed {
            let oldest = self.handshakes.pop_front()?;
            if self.peers.get(oldest).is_some_and(Slot::is_in_handshake) {
                return Some(oldest);
            }
        }
        None
    }

    /// An accepted peer leaves the handshake, whichever way.
    pub(crate) fn handshake_over(&mut self, peer: PeerId) {
        let Some(slot) = self.peers.get(peer) else {
            return;
        };
        if slot.link.is_some() {
            return;
        }
        self.unfinished = self.unfinished.saturating_sub(1);
        // Those that are over are taken out from the front, and all at once when they are most of what is there.
        if self.handshakes.len() > 2 * self.unfinished + STALE {
            let peers = &self.peers;
            self.handshakes.retain(|id| *id != peer && peers.get(*id).is_some_and(Slot::is_in_handshake));
        }
    }

    /// A connection took input, or is no more: counts what it holds of messages that are not whole.
    #[inline]
    pub(crate) fn count_unfinished(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get_mut(peer) {
            let held = slot.conn.as_ref().map_or(0, Connection::unfinished_octets);
            self.unfinished_octets = self.unfinished_octets + held as u64 - slot.unfinished as u64;
            slot.unfinished = held;
        }
    }

    /// The peer that holds most of messages that are not whole, if all together hold more than they may. Only then are
    /// all of them looked at; each time that costs a peer its connection.
    #[inline]
    pub(crate) fn unfinished_to_end(&self) -> Option<PeerId> {
        if self.unfinished_octets <= self.options.unfinished_allowed() {
            return None;
        }
        self.peers.slots().max_by_key(|slot| slot.unfinished).map(|slot| slot.id)
    }

    /// After any change to a peer's connection: is there something to write, and when is it to be looked at?
    pub(crate) fn refresh(&mut self, peer: PeerId) {
        let Some(slot) = self.peers.get_mut(peer) else {
            return;
        };
        let mut deadline = slot.link.as_ref().and_then(|link| link.deadline());
        if let Some(conn) = &slot.conn {
            if !slot.transmitting && !conn.queue().is_empty() {
                slot.transmitting = true;
                self.transmits.push_back(peer);
            }
            deadline = deadline.into_iter().chain(conn.poll_timeout()).min();
        }
        let Some(deadline) = deadline else {
            return;
        };
        if slot.armed.is_none_or(|armed| deadline < armed) {
            slot.armed = Some(deadline);
            self.deadlines.push(deadline, peer);
            if self.deadlines.len() > 2 * self.peers.len() + STALE {
                let peers = &self.peers;
                self.deadlines.retain(|at, peer| peers.get(peer).is_some_and(|slot| slot.armed == Some(at)));
            }
        }
    }

    /// A peer whose deadline is due.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<PeerId> {
        while let Some((at, peer)) = self.deadlines.pop_due(now) {
            if let Some(slot) = self.peers.get_mut(peer).filter(|slot| slot.armed == Some(at)) {
                slot.armed = None;
                return Some(peer);
            }
        }
        None
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.resumed.is_empty() {
            return Some(self.now);
        }
        let closing = self.closing.as_ref().filter(|closing| !closing.done).and_then(|closing| closing.deadline);
        self.deadlines.next().into_iter().chain(closing).min()
    }

    /// It is `now`: the deadlines of those who are read again move by the time that they were not.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for peer in core::mem::take(&mut self.resumed) {
            if let Some(slot) = self.peers.get_mut(peer).filter(|slot| slot.resuming) {
                slot.resuming = false;
                if let Some(conn) = &mut slot.conn {
                    conn.resume(now);
                }
                self.refresh(peer);
            }
        }
    }

    /// A peer has come to its end, and all that came from it is read.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get(peer) {
            self.gone += slot.counts();
            if let Some(host) = slot.host {
                self.hosts.give_back(host);
            }
        }
        self.peers.remove(peer);
        self.regulate_accepting();
    }

    /// Was the driver last told to accept?
    #[cfg(feature = "net")]
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// Accepts while there are fewer peers than allowed.
    pub(crate) fn regulate_accepting(&mut self) {
        let accepting =
            self.closing.is_none() && self.options.max_peers.is_none_or(|allowed| self.peers.len() < allowed);
        if accepting != self.accepting {
            self.accepting = accepting;
            self.act(if accepting { Action::StartAccept } else { Action::StopAccept });
        }
    }

    /// A dialled peer is down: waits and says so, or gives up and says that.
    pub(crate) fn redial_later(&mut self, now: Instant, peer: PeerId, cause: &Cause) {
        let backoff = self.options.backoff;
        let Some(slot) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(link) = &mut slot.link else {
            return;
        };
        let refused = matches!(cause, Cause::Protocol(conn::Error::Refused(_)));
        let given_up = match cause {
            Cause::Requested | Cause::Closing => true,
            // One that told us to go (RFC 37). After the handshake that is for now only: a ROUTER has another peer of our
            // identity, which may be our own connection of before.
            _ => refused && !link.was_well(),
        };
        if !given_up {
            let after = link.wait(now, refused, backoff, &mut self.rng);
            self.notify(peer, Event::Retrying { peer, after, cause: Box::new(cause.clone()) });
            return self.refresh(peer);
        }
        slot.link = None;
        if matches!(cause, Cause::Protocol(_)) {
            self.notify(peer, Event::GaveUp { peer, cause: Box::new(cause.clone()) });
        }
    }

    /// The waiting time of a dialled peer is over.
    pub(crate) fn dial(&mut self, now: Instant, peer: PeerId) {
        let backoff = self.options.backoff;
        let Some(slot) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(link) = &mut slot.link else {
            return;
        };
        if !matches!(link.state, LinkState::Waiting(until) if until <= now) {
            return;
        }
        if slot.inbox.notices() >= MAX_UNREAD_NOTICES {
            // Nobody reads what becomes of it.
            link.wait(now, false, backoff, &mut self.rng);
            return self.refresh(peer);
        }
        link.state = LinkState::Dialing;
        let target = Arc::clone(&link.target);
        self.act(Action::Dial { peer, target });
    }
}

#[cfg(test)]
impl Core {
    /// Whatever is still known of peers, in numbers; and those entries that may be left behind to be swept later.
    pub(crate) fn leftovers(&self) -> (Vec<usize>, Vec<usize>) {
        let kept = [
            self.peers.len(),
            self.living,
            self.unfinished,
            self.fair.len(),
            self.notices.len(),
            self.actions.len(),
            self.transmits.len(),
            self.resumed.len(),
            self.held.len(),
            self.full.len(),
            self.hosts.len(),
            self.unfinished_octets as usize,
        ];
        (kept.into(), [self.deadlines.len(), self.handshakes.len()].into())
    }
}

/// A peer that is dialled again and again, while nobody reads what becomes of it, is dialled no more until somebody does.
const MAX_UNREAD_NOTICES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(core: &mut Core) -> PeerId {
        let peer = core.insert(Address::Unnamed, None, None);
        core.open(Instant::ZERO, peer, Address::Unnamed);
        peer
    }

    #[test]
    fn handshakes_that_are_over_are_swept_and_the_oldest_of_the_others_is_still_known() {
        let mut core = Core::new(Options::new().max_handshakes(Some(3)), SocketType::Router, 1);
        let [oldest, _, _] = [(); 3].map(|()| accept(&mut core));
        for at_once in [1, 1_001] {
            for _ in 0..1_000 / at_once + 1 {
                let all: Vec<PeerId> = (0..at_once).map(|_| accept(&mut core)).collect();
                for over in all {
                    core.handshake_over(over);
                    core.peers.remove(over);
                }
                assert!(core.handshakes.len() <= 2 * 3 + STALE);
            }
        }
        assert_eq!(core.handshake_to_evict(), None);
        accept(&mut core);
        assert_eq!(core.handshake_to_evict(), Some(oldest));
    }

    #[test]
    fn deadlines_of_those_that_are_gone_are_swept() {
        let mut core = Core::new(Options::new(), SocketType::Router, 1);
        let first = accept(&mut core);
        let others: Vec<PeerId> = (0..100).map(|_| accept(&mut core)).collect();
        others.into_iter().for_each(|peer| core.peers.remove(peer));
        let last = accept(&mut core);
        assert_eq!(core.deadlines.len(), 2);
        let end = core.next_deadline().expect("handshakes end");
        assert_eq!([core.next_due(end), core.next_due(end), core.next_due(end)], [Some(first), Some(last), None]);
    }
}

//! Many peers and one routing pattern, still without I/O.

mod core;
mod deadlines;
mod dealer;
mod event;
mod fanout;
mod hosts;
mod inbox;
mod lifecycle;
mod link;
mod options;
mod peer;
mod peers;
mod reads;
mod rotation;
mod router;
pub(crate) mod routing;
mod runs;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
pub use dealer::Dealer;
pub use event::{
    Action, Address, Cause, Closed, Counts, DialError, Disconnected, Event, PeerInfo, Refused, Rejected, SendError,
};
pub use options::{Backoff, Duplicates, Options};
pub use peer::Peer;
pub use peers::PeerId;
pub use router::Router;

use self::core::Core;
use crate::conn;
use crate::message::Run;
use crate::time::Instant;
use link::{Link, LinkState};
use reads::READ_RUN_OCTETS;
use runs::Runs;

/// How a socket type routes messages: [`Router`] or [`Dealer`]. It owns who gets an outgoing message, and what happens when
/// a peer comes or goes; all else is the [`Socket`]'s. Implemented in this crate only.
pub trait Pattern: routing::Routing {}

/// Many peers and one routing pattern: a state machine without I/O.
///
/// # How to drive it
///
/// - The driver reports what happened with `handle_*` calls, each with the time.
/// - Then it does what [`poll_action`](Socket::poll_action) says until there is nothing more. For
///   [`Action::Transmit`] it writes what [`gather`](Socket::gather) shows and says so with [`sent`](Socket::sent).
/// - It calls [`handle_timeout`](Socket::handle_timeout) at [`poll_timeout`](Socket::poll_timeout), which may change
///   with every other call.
/// - The application takes [`poll_event`](Socket::poll_event) until there is nothing more, and sends.
///
/// What is sent, and events that are taken, make actions too: do those before you wait, or wait only while
/// [`has_actions`](Socket::has_actions) is false. A write that fails is not the end yet: write no more, hand in what can still
/// be read, after [`Action::ResumeRead`] if the peer is paused, and then call [`handle_closed`](Socket::handle_closed).
///
/// Actions and events may be taken late, and independently of each other, each in its order; nothing is lost by it. What is
/// not taken holds the peers back:
/// a peer whose messages are not received is not read any more, and while events of ended peers are not taken, their places
/// count as taken. An id that is stale, or unknown, is ignored. No call blocks.
///
/// A ROUTER and a DEALER, joined by hand:
///
/// ```
/// use zmio::socket::{Action, Address, Dealer, Pattern, Router};
/// use zmio::{Event, Instant, Options, PeerId, Socket};
///
/// /// Does what `from` asks for; the other end of the only connection is `to`.
/// fn turn<P: Pattern, Q: Pattern>(now: Instant, from: &mut Socket<P>, to: &mut Socket<Q>, to_peer: PeerId) {
///     while let Some(action) = from.poll_action() {
///         if let Action::Transmit { peer } = action {
///             let mut slices = [&[][..]; 16];
///             let filled = from.gather(peer, &mut slices);
///             let octets = slices[..filled].concat();
///             from.sent(now, peer, octets.len());
///             assert_eq!(to.handle_input(now, to_peer, &octets), octets.len());
///         }
///     }
/// }
///
/// let now = Instant::ZERO;
/// let mut router = Socket::router(Options::new(), 1);
/// let mut dealer = Socket::dealer(Options::new(), 2);
/// let server = dealer.connect(now, "in this process");
/// assert!(matches!(dealer.poll_action(), Some(Action::Dial { .. })));
/// dealer.handle_dialed(now, server, Address::Unnamed);
/// let client = router.accept(now, Address::Unnamed)?;
///
/// dealer.send("hello").expect("it waits until the handshake is complete");
/// for _ in 0..3 {
///     turn(now, &mut dealer, &mut router, client);
///     turn(now, &mut router, &mut dealer, server);
/// }
/// assert!(matches!(router.poll_event(), Some(Event::Connected { .. })));
/// let Some(Event::Message { peer, message }) = router.poll_event() else { panic!("no message") };
/// assert_eq!((peer, message.frame(0)), (client, Some(&b"hello"[..])));
/// # Ok::<(), zmio::socket::Refused>(())
/// ```
#[derive(Debug)]
pub struct Socket<P> {
    core: Core,
    pattern: P,
}

impl<P: Pattern> Socket<P> {
    fn with(pattern: P, options: Options, seed: u64) -> Socket<P> {
        Socket { core: Core::new(options, P::SOCKET_TYPE, seed), pattern }
    }

    /// A connection was accepted. Its greeting is to be written at once.
    ///
    /// # Errors
    ///
    /// There are too many peers ([`Options::max_peers`]), or too many of this address
    /// ([`Options::max_per_address`]), or the socket is being closed. The transport is then the driver's to close.
    pub fn accept(&mut self, now: Instant, address: impl Into<Address>) -> Result<PeerId, Refused> {
        self.core.tick(now);
        if self.core.closing.is_some() {
            return Err(Refused::Closing);
        }
        if self.core.options.max_peers.is_some_and(|allowed| self.core.peers.len() >= allowed) {
            return Err(Refused::TooManyPeers);
        }
        let address = address.into();
        let host = self.core.admit_host(address)?;
        let peer = self.core.insert(address, None, host);
        self.pattern.expected(&mut self.core);
        self.core.open(now, peer, address);
        if let Some(oldest) = self.core.handshake_to_evict() {
            self.end(now, oldest, Cause::Evicted);
        }
        Ok(peer)
    }

    /// Dials a peer, and dials it again whenever it is gone, until [`disconnect`](Socket::disconnect), or until it answers a
    /// handshake with an ERROR ([`Event::GaveUp`]). `target` is for the driver to understand. The id stays the same over all this.
    ///
    /// A socket that is being closed dials nobody: the id is then one of a peer that is gone.
    pub fn connect(&mut self, now: Instant, target: &str) -> PeerId {
        self.core.tick(now);
        let link = Link::new(target);
        let target = link.target.clone();
        if self.core.closing.is_some() {
            let gone = self.core.peers.insert(Address::Unnamed, None, None);
            self.core.peers.remove(gone);
            return gone;
        }
        let peer = self.core.insert(Address::Unnamed, Some(Box::new(link)), None);
        self.pattern.expected(&mut self.core);
        self.core.act(Action::Dial { peer, target });
        peer
    }

    /// The peer was reached, at this address.
    pub fn handle_dialed(&mut self, now: Instant, peer: PeerId, address: impl Into<Address>) {
        self.core.tick(now);
        if let Some(link) = self.dialing(peer) {
            link.state = LinkState::Up;
            self.core.open(now, peer, address.into());
        }
    }

    /// The peer was not reached. It is dialled again later.
    pub fn handle_dial_failed(&mut self, now: Instant, peer: PeerId, cause: DialError) {
        self.core.tick(now);
        if self.dialing(peer).is_some() {
            self.down(now, peer, &cause.into());
        }
    }

    fn dialing(&mut self, peer: PeerId) -> Option<&mut Link> {
        let link = self.core.peers.get_mut(peer)?.link.as_deref_mut()?;
        (link.state == LinkState::Dialing).then_some(link)
    }

    /// Octets came from a peer; says how many were taken. Fewer than all means that the peer has reached its receive
    /// mark, or that no messages are taken: keep the rest, read no more, and offer the rest again when
    /// [`Action::ResumeRead`] comes.
    #[must_use]
    pub fn handle_input(&mut self, now: Instant, peer: PeerId, input: &[u8]) -> usize {
        self.take_input(now, peer, input, None)
    }

    /// As [`handle_input`](Socket::handle_input), of the `octets` that a read has put into `memory`; returns a copy of what was not
    /// taken. Where much of it is to be broadcast it stays where it is, and other memory of the same size takes its place.
    #[cfg_attr(
        not(any(feature = "net", test)),
        expect(dead_code, reason = "the driver with such memory is the engine")
    )]
    pub(crate) fn handle_read(&mut self, now: Instant, peer: PeerId, memory: &mut BytesMut, octets: usize) -> Bytes {
        let options = &self.core.options;
        let reads = if options.deliver_runs { self.pattern.reads_mut() } else { None };
        let read = reads.and_then(|reads| reads.keep(memory, octets, options.broadcast_octets));
        let input = read.as_deref().unwrap_or(memory).get(..octets).unwrap_or_default();
        let taken = self.take_input(now, peer, input, read.as_ref());
        Bytes::copy_from_slice(input.get(taken..).unwrap_or_default())
    }

    /// `read` is what `input` lies in, if that need not be copied.
    fn take_input(&mut self, now: Instant, peer: PeerId, input: &[u8], read: Option<&Bytes>) -> usize {
        self.core.tick(now);
        let mark = self.core.receive_mark();
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            let Core { peers, runs, options, holding, .. } = &mut self.core;
            let Some(slot) = peers.get_mut(peer) else {
                return input.len();
            };
            let Some(conn) = &mut slot.conn else {
                return input.len();
            };
            // A dialled peer is let in again even if the messages that it sent before are not received yet.
            if slot.connected.is_some() && slot.inbox.is_full(&mark) {
                break;
            }
            if *holding && slot.connected.is_some() && conn.is_message_next(rest) {
                self.core.hold_back(peer);
                break;
            }
            let mut lend = |octets| lend(&mut self.pattern, runs, options, octets);
            match conn.take_input(now, rest, slot.inbox.credit(&mark), &mut lend) {
                Ok(step) => {
                    taken += step.taken;
                    if let Some(event) = step.event {
                        self.take(now, peer, event, read);
                    }
                }
                Err(error) => {
                    self.end(now, peer, error.into());
                    return input.len();
                }
            }
        }
        self.core.count_unfinished(peer);
        self.core.regulate(peer);
        self.core.refresh(peer);
        while let Some(largest) = self.core.unfinished_to_end() {
            let limit = self.core.options.unfinished_allowed();
            self.end(now, largest, Cause::TooMuchUnfinished { limit });
        }
        taken
    }

    fn take(&mut self, now: Instant, peer: PeerId, event: conn::Event<'_>, read: Option<&Bytes>) {
        if let conn::Event::Ready(info) = event {
            return self.admit(now, peer, info);
        }
        // Nobody receives any more.
        if self.core.closing.is_some() {
            return;
        }
        let Core { peers, runs, options, .. } = &mut self.core;
        let Some(slot) = peers.get_mut(peer) else {
            return;
        };
        match (event, read) {
            (conn::Event::Run(run), Some(read)) if run.octets().len() >= READ_RUN_OCTETS => {
                slot.counts.received += u64::from(run.messages());
                let octets = read.slice_ref(run.octets());
                slot.inbox.push_run(Run::from_wire(octets, run.messages()), run.octets().len());
            }
            (conn::Event::Run(run), _) if run.is_large() => {
                slot.counts.received += 1;
                // In memory of its own, so that a broadcast can pass it on as it is.
                let octets = run.octets().len();
                let mut memory = lend(&mut self.pattern, runs, options, octets).unwrap_or_default();
                memory.extend_from_slice(run.octets());
                let run = Run::from_wire(memory.into(), 1);
                if !options.deliver_runs {
                    runs.note(run.octets());
                }
                slot.inbox.push_run(run, octets);
            }
            (conn::Event::Run(run), _) => {
                slot.counts.received += u64::from(run.messages());
                let (run, held) = match options.deliver_runs {
                    true => runs.hold(run.octets(), run.messages()),
                    false => runs.keep(run.octets(), run.messages()),
                };
                slot.inbox.push_run(run, held);
            }
            (conn::Event::Message(message), _) => {
                slot.counts.received += 1;
                if let (false, Some(octets)) = (options.deliver_runs, message.wire().pieces().first()) {
                    runs.note(octets);
                }
                slot.inbox.push_message(message);
            }
            (conn::Event::Ready(_), _) => {}
        }
        self.core.has_input(peer);
    }

    /// The handshake is complete.
    fn admit(&mut self, now: Instant, peer: PeerId, info: conn::PeerInfo) {
        use routing::Admission;

        let identity = match self.pattern.admit(&mut self.core, peer, &info) {
            Admission::As(identity) => identity,
            Admission::InPlaceOf(old, identity) => {
                self.end(now, old, Cause::HandedOver { to: peer });
                identity
            }
            Admission::Refused { cause, reason } => return self.refuse(now, peer, cause, reason),
        };
        self.core.handshake_over(peer);
        let Some(slot) = self.core.peers.get_mut(peer) else {
            return;
        };
        slot.identity = identity.clone();
        let is_trusted = slot.link.as_mut().is_none_or(|link| link.handshake_done(now));
        let info = Box::new(PeerInfo {
            identity,
            address: slot.address,
            socket_type: info.socket_type,
            version: info.version,
            properties: info.properties,
        });
        self.core.peers.set_connected(peer, true);
        self.core.notify(peer, Event::Connected { peer, info });
        if is_trusted {
            self.pattern.opened(&mut self.core, peer);
        }
    }

    /// The transport of a peer ended, after all that came over it was handed in.
    pub fn handle_closed(&mut self, now: Instant, peer: PeerId, closed: Closed) {
        self.core.tick(now);
        if let Some(conn) = self.core.peers.get_mut(peer).and_then(|slot| slot.conn.take()) {
            self.gone(now, peer, conn.into_queue(), closed.into());
        }
    }

    /// The driver could not accept a connection, and pauses. The application is told.
    pub fn handle_accept_failed(&mut self, now: Instant, reason: &str) {
        self.core.tick(now);
        self.core.notices.push_back(Event::AcceptFailed { reason: reason.into() });
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((peer, _)) = self.next_due(now) {
            self.handle_due(now, peer);
        }
        self.check_linger(now);
    }

    /// A peer for which something is due, and whether that is its end if nothing has come from it since. To be followed by
    /// [`handle_due`](Socket::handle_due).
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<(PeerId, bool)> {
        self.core.tick(now);
        let peer = self.core.next_due(now)?;
        let conn = self.core.peers.get(peer).and_then(|slot| slot.conn.as_ref());
        Some((peer, conn.is_some_and(|conn| conn.is_overdue(now))))
    }

    /// Does what is due for a peer.
    pub(crate) fn handle_due(&mut self, now: Instant, peer: PeerId) {
        self.core.dial(now, peer);
        let link = self.core.peers.get_mut(peer).and_then(|slot| slot.link.as_mut());
        if link.is_some_and(|link| link.end_trial(now)) {
            self.pattern.opened(&mut self.core, peer);
        }
        let conn = self.core.peers.get_mut(peer).and_then(|slot| slot.conn.as_mut());
        match conn.map_or(Ok(()), |conn| conn.handle_timeout(now)) {
            Ok(()) => self.core.refresh(peer),
            Err(error) => self.end(now, peer, error.into()),
        }
    }

    /// When [`handle_timeout`](Socket::handle_timeout) is to be called, if ever. It may be called earlier.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// Shows what is to be written next to a peer, in order, and returns the number of slices filled in; 0 if there
    /// is nothing, or no such peer.
    #[must_use]
    pub fn gather<'a>(&'a self, peer: PeerId, slices: &mut [&'a [u8]]) -> usize {
        let conn = self.core.peers.get(peer).and_then(|slot| slot.conn.as_ref());
        conn.map_or(0, |conn| conn.gather(slices))
    }

    /// So many of the octets that were gathered last for this peer are written. Nothing that concerns the peer may be
    /// done between the two calls: what is queued in between may come before what was gathered.
    pub fn sent(&mut self, now: Instant, peer: PeerId, octets: usize) {
        self.core.tick(now);
        let Some(slot) = self.core.peers.get_mut(peer) else {
            return;
        };
        let Some(conn) = &mut slot.conn else {
            return;
        };
        conn.queue_mut().sent(octets, &mut self.core.packs);
        if self.core.freed(peer) {
            self.pattern.room(&mut self.core, peer);
        }
        // Only now: what a pattern has just put into the room is gathered by a driver that is writing anyway.
        self.core.note_drained(peer);
        if self.core.closing.is_some() {
            self.finish(now, peer);
        }
    }

    /// Is there a place for one more peer, as far as places are counted together?
    #[cfg(feature = "net")]
    pub(crate) fn is_accepting(&self) -> bool {
        self.core.is_accepting()
    }

    /// What the driver has to do next, if anything.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.pattern.is_mid_turn() {
            self.pattern.end_turn(&mut self.core);
        }
        self.core.next_action()
    }

    /// Is there anything for [`poll_action`](Socket::poll_action) to give?
    pub fn has_actions(&self) -> bool {
        self.pattern.is_mid_turn() || self.core.has_actions()
    }

    /// What happened, for the application.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.next_event(self.core.options.deliver_runs)
    }

    /// As [`poll_event`](Socket::poll_event), with messages that came together as one run. Unlike those of
    /// [`Options::deliver_runs`], it may be kept.
    #[cfg(feature = "net")]
    pub(crate) fn poll_run(&mut self) -> Option<Event> {
        self.core.next_event(true)
    }

    /// How many octets of a peer may come before it is at its receive mark. None if no messages are taken.
    #[cfg(feature = "net")]
    pub(crate) fn room_to_receive(&self, peer: PeerId) -> usize {
        let mark = self.core.receive_mark();
        let slot = self.core.peers.get(peer).filter(|slot| !self.core.holding || slot.connected.is_none());
        slot.map_or(0, |slot| slot.inbox.credit(&mark).octets)
    }

    /// Writing to a peer has failed. The end of its connection is somewhere behind what it has sent, which may be read much
    /// later: nobody is to wait for room in its queue meanwhile.
    #[cfg(feature = "net")]
    pub(crate) fn handle_write_failed(&mut self, peer: PeerId) {
        if let Some(slot) = self.core.peers.get_mut(peer) {
            slot.unwritable = true;
        }
        self.pattern.cut_off(&mut self.core, peer);
        if self.core.closing.is_some() {
            self.finish(self.core.now, peer);
        }
    }

    /// How many octets a peer has still to send of a frame that has begun, if with them there is a large message.
    #[cfg(feature = "net")]
    pub(crate) fn missing_of_large(&self, peer: PeerId) -> usize {
        let conn = self.core.peers.get(peer).and_then(|slot| slot.conn.as_ref());
        conn.map_or(0, conn::Connection::missing_of_large)
    }

    /// As [`poll_event`](Socket::poll_event), for somebody who takes no messages for now.
    #[cfg(feature = "net")]
    pub(crate) fn poll_notice(&mut self) -> Option<Event> {
        self.core.next_notice()
    }

    /// Is there anything for [`poll_event`](Socket::poll_event) to give?
    pub fn has_events(&self) -> bool {
        self.core.has_events()
    }

    /// Closes the connection to a peer at once and, if it is one that we dial, dials it no more. What is queued for it is
    /// discarded; what came from it is still delivered.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {
        self.disconnect_because(now, peer, Cause::Requested);
    }

    /// As [`disconnect`](Socket::disconnect), with a cause of the caller's that the event will name. A peer that we dial is dialled
    /// again, unless the cause is [`Cause::Requested`] or [`Cause::Closing`].
    pub fn disconnect_because(&mut self, now: Instant, peer: PeerId, cause: Cause) {
        self.core.tick(now);
        self.end(now, peer, cause);
    }

    /// What is known of a peer, from [`connect`](Socket::connect) or [`accept`](Socket::accept) until its last event is taken.
    pub fn peer(&self, peer: PeerId) -> Option<Peer<'_>> {
        self.core.peers.get(peer).map(Peer::new)
    }

    /// The peers whose handshake is complete, in no order.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = PeerId> + '_ {
        self.core.peers.connected().iter().copied()
    }

    /// How many places for peers are taken, as [`Options::max_peers`] counts them: by those that are connected, in handshake
    /// or dialled, and by those that are gone while something of them is to be received.
    pub fn places(&self) -> usize {
        self.core.peers.len()
    }

    /// A number that changes whenever something was written, or need not be written any more.
    pub(crate) fn progress(&self) -> u64 {
        self.core.progress
    }

    /// Memory of what was sent, for whoever packs messages in advance.
    #[cfg(feature = "net")]
    pub(crate) fn packs(&mut self) -> &mut conn::Packs {
        &mut self.core.packs
    }

    /// A number that changes whenever a peer is connected or is not any more, or cannot be written to any more.
    #[cfg(feature = "net")]
    pub(crate) fn membership(&self) -> u64 {
        self.core.peers.membership()
    }

    /// Stops or starts to take messages, from all peers at once. While they are not taken, a peer that sends one is as if at
    /// its receive mark: its message stays with the driver, and it is paused ([`Action::PauseRead`]). Later all these
    /// peers are read again ([`Action::ResumeRead`]), in the same order. Handshakes and commands go on.
    ///
    /// For an application that cannot pass on what it receives, and has many peers: at their receive marks they would hold
    /// much together.
    pub fn set_receiving(&mut self, receiving: bool) {
        match receiving || self.core.closing.is_some() {
            true => self.core.release(),
            false => self.core.holding = true,
        }
    }

    /// Are messages taken?
    pub fn is_receiving(&self) -> bool {
        !self.core.holding
    }

    /// What went to all peers together and came from them, those that are gone included.
    pub fn totals(&self) -> Counts {
        let mut totals = self.core.gone;
        self.core.peers.slots().for_each(|slot| totals += slot.counts());
        totals
    }

    /// The memory of all messages under way, in octets, which [`Options::unfinished_octets`] bounds.
    pub fn unfinished_octets(&self) -> u64 {
        self.core.unfinished_octets
    }

    /// How many connections were refused since their address had as many as it may have ([`Options::max_per_address`]).
    pub fn refused_by_address(&self) -> u64 {
        self.core.refused_by_address
    }
}

/// Memory for a large message: of one that the application or, if it is a relay, all readers of the broadcast have let go.
fn lend<P: Pattern>(pattern: &mut P, runs: &mut Runs, options: &Options, octets: usize) -> Option<Vec<u8>> {
    if options.deliver_runs { pattern.lend(octets) } else { runs.lend(octets) }
}

#[cfg(test)]
pub(crate) mod tests;

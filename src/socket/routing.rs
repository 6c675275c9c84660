//! What a pattern decides. Sealed: patterns work on the inside of a socket.

use alloc::vec::Vec;

use crate::conn::{self, Identity, SendQueue};
use crate::socket::core::Core;
use crate::socket::reads::Reads;
use crate::socket::{Cause, PeerId};
use crate::wire::SocketType;

pub trait Routing {
    const SOCKET_TYPE: SocketType;

    /// A peer has finished its handshake: under which identity is it known, if at all?
    fn admit(&mut self, core: &mut Core, peer: PeerId, info: &conn::PeerInfo) -> Admission;

    /// There is one more peer, which may be connected some day.
    fn expected(&mut self, core: &mut Core);

    /// The peer is connected.
    fn opened(&mut self, core: &mut Core, peer: PeerId);

    /// A connected peer is gone. `unsent` is what was queued for it, and others may take it over if it is `free`; how
    /// many messages of it are lost?
    fn closed(&mut self, core: &mut Core, peer: PeerId, unsent: SendQueue, free: bool) -> u64;

    /// A peer that refused a message has room again.
    fn room(&mut self, core: &mut Core, peer: PeerId);

    /// The driver is about to act: what was held back until now goes into the queues.
    fn end_turn(&mut self, core: &mut Core);

    /// This peer cannot be written to any more, and its end is not found yet.
    fn cut_off(&mut self, core: &mut Core, peer: PeerId);

    /// Memory for a large message, of a broadcast that all have read.
    fn lend(&mut self, octets: usize) -> Option<Vec<u8>>;

    /// The reads that are broadcast without a copy.
    fn reads_mut(&mut self) -> Option<&mut Reads>;

    /// Anything held back until the end of the turn?
    fn is_mid_turn(&self) -> bool;

    /// Messages that wait for any peer to take them.
    fn waiting(&self) -> u64;

    /// Gives those up; how many there were.
    fn discard_waiting(&mut self) -> u64;
}

pub enum Admission {
    As(Identity),
    /// In the place of another peer, which is to be closed.
    InPlaceOf(PeerId, Identity),
    Refused {
        cause: Cause,
        reason: &'static str,
    },
}

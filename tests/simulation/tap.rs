//! Listens in on what a driver hands to its socket and takes from it: the ground truth of a run.

use zmio::PeerId;

use crate::link::Ending;
use crate::net::LinkId;
use crate::payload::Id;
use crate::stream::{Decoder, Item};

/// How a connection ended, and in which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// By itself.
    Lost(u64, Ending),
    /// By the socket.
    Closed(u64),
}

/// One connection as seen at one socket.
pub(crate) struct Tap {
    pub(crate) link: LinkId,
    pub(crate) peer: PeerId,
    /// When the transport came up.
    pub(crate) since: u64,
    /// The messages whose last octet the socket took, each with the round in which it did.
    pub(crate) taken: Vec<(Id, u64)>,
    /// The messages whose last octet the socket gave out.
    pub(crate) given: Vec<Id>,
    /// The round in which the socket took the peer's READY.
    pub(crate) ready: Option<u64>,
    /// How the transport ended.
    pub(crate) over: Option<Over>,
    /// The peer broke the protocol: what it sent is not followed any further.
    pub(crate) hostile: bool,
    pub(crate) pings: u64,
    pub(crate) pongs: u64,
    /// When READY came, when the transport ended, when PINGs went out, and when anything came.
    pub(crate) ready_at: Option<u64>,
    pub(crate) over_at: Option<u64>,
    pub(crate) pinged_at: Vec<u64>,
    pub(crate) heard_at: Vec<u64>,
    input: Decoder,
    output: Decoder,
}

impl Tap {
    pub(crate) fn new(link: LinkId, peer: PeerId, since: u64) -> Self {
        Self {
            link,
            peer,
            since,
            taken: Vec::new(),
            given: Vec::new(),
            ready: None,
            over: None,
            hostile: false,
            pings: 0,
            pongs: 0,
            ready_at: None,
            over_at: None,
            pinged_at: Vec::new(),
            heard_at: Vec::new(),
            input: Decoder::default(),
            output: Decoder::default(),
        }
    }

    /// Messages of which the socket gave out at least one octet.
    pub(crate) fn begun(&self) -> u64 {
        self.output.begun
    }

    pub(crate) fn input(&mut self, now: u64, octets: &[u8], round: u64) {
        self.heard_at.push(now);
        if self.hostile {
            return;
        }
        self.input.feed(octets);
        loop {
            match self.input.next() {
                Ok(None) => break,
                Ok(Some(Item::Message(frames))) => self.taken.push((Id::of(&frames), round)),
                Ok(Some(Item::Command { name, .. })) if name == b"READY" => {
                    (self.ready, self.ready_at) = (Some(round), Some(now));
                }
                Ok(Some(_)) => {}
                Err(_) => {
                    self.hostile = true;
                    break;
                }
            }
        }
    }

    /// What a socket writes must be flawless at any time.
    pub(crate) fn output(&mut self, now: u64, octets: &[u8]) {
        self.output.feed(octets);
        loop {
            match self.output.next() {
                Ok(None) => break,
                Ok(Some(Item::Message(frames))) => self.given.push(Id::of(&frames)),
                Ok(Some(Item::Command { name, .. })) => {
                    if name == b"PING" {
                        self.pings += 1;
                        self.pinged_at.push(now);
                    }
                    self.pongs += u64::from(name == b"PONG");
                }
                Ok(Some(Item::Greeting { .. })) => {}
                Err(wrong) => panic!("the socket wrote {wrong} to {:?}", self.peer),
            }
        }
    }

    /// Nothing that the socket gave out is half a message.
    pub(crate) fn output_is_whole(&self) -> bool {
        self.output.at_boundary()
    }
}

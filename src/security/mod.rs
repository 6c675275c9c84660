//! The security mechanisms: from the greeting to a session (RFC 37, "Security").
//!
//! A mechanism is a chain of states. Each step consumes the state it was in and gives the next one, until it ends in
//! a [`Session`]. ZMTP fixes the mechanism per socket, so it never changes while a peer is there.

mod null;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::wire::{Command, CommandError, Escaped, MechanismName, MetadataError, Properties, SocketType};

/// What we tell every peer about ourselves, under every mechanism.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local<'a> {
    pub(crate) socket_type: SocketType,
    /// Sent by those socket types that have one, even if empty.
    pub(crate) identity: &'a [u8],
    /// The most properties that we accept from a peer.
    pub(crate) max_properties: usize,
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) enum Handshake {
    Null(null::AwaitReady),
}

/// What a command of the peer led to.
pub(crate) enum Step {
    /// The peer is accepted, and this is what it said about itself. NULL needs no more than one command; the
    /// mechanisms to come add a `Continue(Handshake)`.
    Done(Session, Properties),
}

/// How frames are sealed and opened after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// As they are. What is encoded once can go to every peer.
    Clear,
}

impl Handshake {
    /// The name in the greeting.
    pub(crate) const NAME: MechanismName = MechanismName::NULL;

    /// Begins once both greetings are exchanged; what is to be sent goes to `out`.
    pub(crate) fn start(local: Local<'_>, out: &mut Vec<u8>) -> Handshake {
        Handshake::Null(null::start(local, out))
    }

    /// Takes the next command of the peer.
    pub(crate) fn step(self, command: &[u8], local: Local<'_>) -> Result<Step, Error> {
        match self {
            Handshake::Null(state) => state.step(command, local),
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Another command than the mechanism allows here.
    #[error("unexpected command \"{}\"", Escaped(.0))]
    Unexpected(Box<[u8]>),
    /// The peer sent ERROR.
    #[error("the peer refused: \"{}\"", Escaped(.0))]
    Refused(Box<[u8]>),
}

/// The command, unless it is the peer's ERROR, which ends a handshake under every mechanism.
fn not_refused<'a>(body: &'a [u8]) -> Result<Command<'a>, Error> {
    match Command::parse(body)? {
        Command::Error(reason) => Err(Error::Refused(reason.into())),
        command => Ok(command),
    }
}

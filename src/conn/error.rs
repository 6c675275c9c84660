//! Why a connection failed, sorted by who is at fault.

use alloc::boxed::Box;

use crate::conn::IdentityError;
use crate::security;
use crate::wire::{Escaped, GreetingError, Malformed, MechanismName, SocketType, Version};

/// Why a connection failed. It can only be closed then; the first error sticks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What came is no ZMTP.
    #[error("malformed octets: {0}")]
    Malformed(#[from] Malformed),
    /// The peer speaks ZMTP, and broke its rules or our limits.
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
    /// The peer keeps the rules, and has nothing in common with us.
    #[error("nothing in common: {0}")]
    Mismatch(#[from] Mismatch),
    /// The peer sent ERROR with this reason, up to 255 octets. Dialling it again with the same credentials is of no
    /// use (RFC 37).
    #[error("refused by the peer: \"{}\"", Escaped(.0))]
    Refused(Box<[u8]>),
    /// The peer was silent for too long.
    #[error(transparent)]
    Timeout(#[from] Timeout),
}

/// A rule or a limit that the peer broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A message during the handshake.
    #[error("a message before READY")]
    MessageBeforeReady,
    /// A command that has no place in the handshake.
    #[error("command \"{}\" where READY or ERROR must come first", Escaped(.0))]
    NotReady(Box<[u8]>),
    /// READY after the handshake.
    #[error("a second READY")]
    SecondReady,
    /// A message over [`Limits::message_octets`](super::Limits::message_octets); the size so far and announced.
    #[error("a message of {octets} octets or more; the limit is {limit}")]
    MessageOctets {
        /// What has come and what is announced.
        octets: u64,
        /// Our limit.
        limit: u64,
    },
    /// A message over [`Limits::message_frames`](super::Limits::message_frames).
    #[error("a message of more than {limit} frames")]
    MessageFrames {
        /// Our limit.
        limit: u32,
    },
    /// A command over [`Limits::command_octets`](super::Limits::command_octets), or during the handshake over
    /// [`Limits::metadata_octets`](super::Limits::metadata_octets).
    #[error("a command of {octets} octets; the limit is {limit}")]
    CommandOctets {
        /// What is announced.
        octets: u64,
        /// Our limit.
        limit: u32,
    },
    /// An identity that no peer may have.
    #[error("bad identity: {0}")]
    Identity(#[from] IdentityError),
}

/// What the peer does not share with us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A version before 3.0.
    #[error("the peer speaks ZMTP {0}, we need 3.0 or later")]
    Version(Version),
    /// Another security mechanism; all 20 octets must be equal.
    #[error("the peer's security mechanism is {theirs}, ours is {ours}")]
    Mechanism {
        /// Ours.
        ours: MechanismName,
        /// The peer's.
        theirs: MechanismName,
    },
    /// A socket type that ours does not talk to.
    #[error("a {} cannot talk to a {}", .theirs.name(), .ours.name())]
    SocketType {
        /// Ours.
        ours: SocketType,
        /// The peer's.
        theirs: SocketType,
    },
    /// A socket type that does not exist; its first 64 octets.
    #[error("unknown socket type \"{}\"", Escaped(.0))]
    UnknownSocketType(Box<[u8]>),
}

/// Which silence was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Timeout {
    /// Greeting and handshake were not complete in time.
    #[error("the handshake took too long")]
    Handshake,
    /// No octet came after our PING.
    #[error("heartbeat lost: silence after a PING")]
    Heartbeat,
    /// No octet came for the time that the peer itself had named in its PING.
    #[error("heartbeat lost: silence beyond the peer's own TTL")]
    Ttl,
}

impl Error {
    /// What the peer is told in an ERROR command, for those faults that the handshake has one for.
    pub(crate) fn reason_for_peer(&self) -> Option<&'static str> {
        match self {
            Error::Mismatch(Mismatch::SocketType { .. } | Mismatch::UnknownSocketType(_)) => {
                Some("Invalid socket type")
            }
            Error::Violation(Violation::Identity(_)) => Some("Invalid identity"),
            _ => None,
        }
    }
}

impl From<GreetingError> for Error {
    fn from(error: GreetingError) -> Error {
        match error {
            GreetingError::Version(version) => Error::Mismatch(Mismatch::Version(version)),
            GreetingError::NotZmtp { offset, octet } => Error::Malformed(Malformed::NotZmtp { offset, octet }),
        }
    }
}

impl From<security::Error> for Error {
    fn from(error: security::Error) -> Error {
        match error {
            security::Error::Command(error) => Error::Malformed(error.into()),
            security::Error::Metadata(error) => Error::Malformed(error.into()),
            security::Error::Unexpected(name) => Error::Violation(Violation::NotReady(name)),
            security::Error::Refused(reason) => Error::Refused(reason),
        }
    }
}

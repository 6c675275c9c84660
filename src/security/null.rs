//! NULL (RFC 37, "The NULL Security Mechanism"): both sides send READY at once, and that is all.

use alloc::vec::Vec;

use super::{Error, Local, Session, Step, not_refused};
use crate::wire::{Command, Properties, encode};

/// Our READY is on its way; the peer's is awaited.
#[derive(Debug)]
pub(crate) struct AwaitReady;

pub(crate) fn start(local: Local<'_>, out: &mut Vec<u8>) -> AwaitReady {
    let identity = local.socket_type.has_identity().then_some(local.identity);
    encode::ready(out, local.socket_type, identity);
    AwaitReady
}

impl AwaitReady {
    pub(crate) fn step(self, command: &[u8], local: Local<'_>) -> Result<Step, Error> {
        match not_refused(command)? {
            Command::Ready(metadata) => {
                Ok(Step::Done(Session::Clear, Properties::parse(metadata, local.max_properties)?))
            }
            other => Err(Error::Unexpected(other.name().into())),
        }
    }
}

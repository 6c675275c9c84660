//! Greeting and handshake: from the first octet to what we know of the peer.
//!
//! ```text
//! Greeting --64 octets--> Security --READY--> PeerInfo
//!     `--------fault---------`-----> Error
//! ```

use alloc::vec::Vec;

use crate::conn::{Config, Error, Identity, IdentityError, Mismatch, PeerInfo, Violation};
use crate::security::{self, Step};
use crate::wire::{GREETING_OCTETS, Greeting, Properties, SHOWN_OCTETS, SocketType, Version};

/// The peer's greeting, as far as it came.
#[derive(Debug)]
pub(crate) struct AwaitGreeting {
    octets: [u8; GREETING_OCTETS],
    len: usize,
}

/// The greeting is accepted; the mechanism has the word.
#[derive(Debug)]
pub(crate) struct Securing {
    version: Version,
    handshake: security::Handshake,
}

/// What octets of the greeting led to.
pub(crate) enum Greeted {
    More(AwaitGreeting),
    Done(Securing),
}

/// Our whole greeting at once, unprompted: a peer may wait for any part of it (A1.2).
pub(crate) fn greet(out: &mut Vec<u8>) -> AwaitGreeting {
    let greeting = Greeting { version: Version::V3_1, mechanism: security::Handshake::NAME, as_server: false };
    out.extend_from_slice(&greeting.encode());
    AwaitGreeting { octets: [0; GREETING_OCTETS], len: 0 }
}

impl AwaitGreeting {
    /// Takes octets of the greeting and no more, says how many. A wrong octet is met as soon as it is there (A1.4).
    pub(crate) fn take(mut self, input: &[u8], config: &Config, out: &mut Vec<u8>) -> Result<(usize, Greeted), Error> {
        let taken = input.len().min(GREETING_OCTETS - self.len);
        let end = self.len + taken;
        if let (Some(to), Some(from)) = (self.octets.get_mut(self.len..end), input.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.len = end;
        let Some(greeting) = Greeting::parse(self.octets.get(..end).unwrap_or_default())? else {
            return Ok((taken, Greeted::More(self)));
        };
        let ours = security::Handshake::NAME;
        if greeting.mechanism != ours {
            return Err(Mismatch::Mechanism { ours, theirs: greeting.mechanism }.into());
        }
        let handshake = security::Handshake::start(local(config), out);
        Ok((taken, Greeted::Done(Securing { version: greeting.version, handshake })))
    }
}

impl Securing {
    /// Takes a command of the peer: READY or ERROR.
    pub(crate) fn take(self, command: &[u8], config: &Config) -> Result<PeerInfo, Error> {
        let Step::Done(_, properties) = self.handshake.step(command, local(config))?;
        let socket_type = socket_type(&properties, config.socket_type)?;
        let identity = identity(&properties, socket_type, config.socket_type)?;
        Ok(PeerInfo { identity, socket_type, version: self.version, properties })
    }
}

fn local(config: &Config) -> security::Local<'_> {
    security::Local {
        socket_type: config.socket_type,
        identity: &config.identity,
        max_properties: config.limits.properties as usize,
    }
}

/// One that talks to ours, or none announced (A4, A6).
fn socket_type(properties: &Properties, ours: SocketType) -> Result<Option<SocketType>, Mismatch> {
    let Some(name) = properties.get("Socket-Type") else {
        return Ok(None);
    };
    // An event that nobody takes is not to hold a READY's worth of it.
    let shown = || name.get(..SHOWN_OCTETS).unwrap_or(name);
    let theirs = SocketType::parse(name).ok_or_else(|| Mismatch::UnknownSocketType(shown().into()))?;
    if theirs.talks_to(ours) { Ok(Some(theirs)) } else { Err(Mismatch::SocketType { ours, theirs }) }
}

/// Significant only to a ROUTER, from a peer that has one; ignored otherwise, whatever it is (A5).
fn identity(properties: &Properties, theirs: Option<SocketType>, ours: SocketType) -> Result<Identity, Violation> {
    let significant = ours == SocketType::Router && theirs.is_none_or(SocketType::has_identity);
    let announced = properties.get("Identity").unwrap_or_default();
    if !significant {
        return Ok(Identity::default());
    }
    if announced.len() > Identity::MAX_OCTETS {
        return Err(IdentityError::TooLong { octets: announced.len() }.into());
    }
    Ok(Identity::new(bytes::Bytes::copy_from_slice(announced))?)
}

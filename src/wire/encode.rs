//! Frames and commands that we send, appended to a buffer in their shortest form.
//!
//! What a caller may pass is bounded by the types above this layer; debug builds assert it. No octet of a peer
//! decides a length here, except the context of a PING, whose length [`Command::parse`](super::Command::parse)
//! has checked.

use alloc::vec::Vec;

use super::{FrameHeader, FrameKind, MAX_CONTEXT_OCTETS, SocketType};

/// The longest reason that an ERROR has room for. RFC 37, `error-reason`.
const MAX_REASON_OCTETS: usize = 255;

/// A frame with this body. RFC 37, "Framing".
pub fn frame(out: &mut Vec<u8>, kind: FrameKind, body: &[u8]) {
    frame_of(out, kind, &[body]);
}

/// READY, which ends the NULL handshake. RFC 37, `ready`.
///
/// `identity` has at most 255 octets. Sockets for which [`SocketType::has_identity`] holds announce one even if it
/// is empty, as libzmq and NetMQ do; the others pass `None`.
pub fn ready(out: &mut Vec<u8>, socket_type: SocketType, identity: Option<&[u8]>) {
    let mut properties = Vec::new();
    metadata(&mut properties, socket_type, identity);
    frame_of(out, FrameKind::Command, &[b"\x05READY", &properties]);
}

/// The metadata alone, as [`ready`] has it and as the handshakes of other mechanisms carry it. RFC 37, `metadata`.
///
/// libzmq and NetMQ compare names with case, so these are spelled as the RFC does.
pub fn metadata(out: &mut Vec<u8>, socket_type: SocketType, identity: Option<&[u8]>) {
    property(out, b"\x0bSocket-Type", socket_type.name().as_bytes());
    if let Some(identity) = identity {
        property(out, b"\x08Identity", identity);
    }
}

/// ERROR, after which the sender closes. RFC 37, `error`.
///
/// The reason is cut after 255 octets, and what is not printable ASCII becomes `?`, so that any text makes a legal
/// command.
pub fn error(out: &mut Vec<u8>, reason: &str) {
    let printable = reason.bytes().map(|octet| if matches!(octet, b' '..=b'~') { octet } else { b'?' });
    let reason: Vec<u8> = printable.take(MAX_REASON_OCTETS).collect();
    frame_of(out, FrameKind::Command, &[b"\x05ERROR", &[reason.len() as u8], &reason]);
}

/// PING, with a time to live in tenths of a second (0: none) and at most 16 octets of context. RFC 37, `ping`.
pub fn ping(out: &mut Vec<u8>, ttl: u16, context: &[u8]) {
    debug_assert!(context.len() <= MAX_CONTEXT_OCTETS);
    frame_of(out, FrameKind::Command, &[b"\x04PING", &ttl.to_be_bytes(), context]);
}

/// PONG, with the context of the PING that it answers, at most 16 octets. RFC 37, `pong`.
pub fn pong(out: &mut Vec<u8>, context: &[u8]) {
    debug_assert!(context.len() <= MAX_CONTEXT_OCTETS);
    frame_of(out, FrameKind::Command, &[b"\x04PONG", context]);
}

fn frame_of(out: &mut Vec<u8>, kind: FrameKind, parts: &[&[u8]]) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let header = FrameHeader { kind, size: size as u64 }.encode();
    out.reserve(header.len() + size);
    out.extend_from_slice(&header);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// `name` begins with its length.
fn property(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(value.len() <= i32::MAX as usize);
    out.extend_from_slice(name);
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

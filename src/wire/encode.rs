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
    header.append(out);
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

#[cfg(test)]
mod tests {
    use super::super::{Command, Properties};
    use super::*;

    /// The command in the one frame that `write` writes.
    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(&mut out);
        let frame = out.strip_prefix(b"before").expect("appended");
        let (header, octets) = FrameHeader::parse(frame).unwrap().unwrap();
        assert_eq!(header.kind, FrameKind::Command);
        assert_eq!(header.size, (frame.len() - octets) as u64);
        assert_eq!(octets, if header.size < 256 { 2 } else { 9 });
        frame[octets..].to_vec()
    }

    #[test]
    fn a_frame_is_its_header_and_its_body() {
        let mut out = Vec::new();
        frame(&mut out, FrameKind::More, b"");
        frame(&mut out, FrameKind::Last, b"hi");
        assert_eq!(out, b"\x01\x00\x00\x02hi");
    }

    #[test]
    fn ready_spells_its_properties_as_the_rfc_does() {
        // A4
        let body = written(|out| ready(out, SocketType::Router, Some(b"")));
        assert_eq!(body, b"\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0");
        let body = written(|out| ready(out, SocketType::Rep, None));
        assert_eq!(body, b"\x05READY\x0bSocket-Type\0\0\0\x03REP");
    }

    #[test]
    fn the_longest_identity_makes_a_long_frame() {
        let body = written(|out| ready(out, SocketType::Dealer, Some(&[b'i'; 255])));
        let Ok(Command::Ready(metadata)) = Command::parse(&body) else { panic!("{body:?}") };
        assert_eq!(Properties::parse(metadata, 2).unwrap().get("identity"), Some(&[b'i'; 255][..]));
    }

    #[test]
    fn any_text_makes_a_legal_reason() {
        // A3
        let body = written(|out| error(out, "no\n\u{e9}\u{7f}!"));
        assert_eq!(Command::parse(&body), Ok(Command::Error(b"no????!")));
        let body = written(|out| error(out, ""));
        assert_eq!(Command::parse(&body), Ok(Command::Error(b"")));
        let body = written(|out| error(out, &"x".repeat(1000)));
        assert_eq!(Command::parse(&body), Ok(Command::Error(&[b'x'; 255])));
    }

    #[test]
    fn ping_and_pong_carry_their_context() {
        // A7
        let context = [7; 16];
        let body = written(|out| ping(out, 655, &context));
        assert_eq!(Command::parse(&body), Ok(Command::Ping { ttl: 655, context: &context }));
        let body = written(|out| pong(out, &context));
        assert_eq!(Command::parse(&body), Ok(Command::Pong { context: &context }));
    }
}

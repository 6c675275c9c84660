//! Any octets as a stream of frames: headers, and what the bodies of commands amount to.

use zmio::wire::{FrameHeader, FrameKind, MAX_HEADER_OCTETS};

/// See the head of this file.
pub fn frames(octets: &[u8]) {
    let mut rest = octets;
    while let Ok(Some((header, length))) = FrameHeader::parse(rest) {
        assert!(length <= MAX_HEADER_OCTETS);
        for end in 0..length {
            assert_eq!(FrameHeader::parse(&rest[..end]), Ok(None), "a header is whole or it is not");
        }
        let ours = header.encode();
        assert!(ours.len() <= length, "ours is the shortest form");
        assert_eq!(FrameHeader::parse(&ours), Ok(Some((header, ours.len()))));

        rest = &rest[length..];
        let Some((body, next)) = usize::try_from(header.size).ok().and_then(|size| rest.split_at_checked(size)) else {
            return;
        };
        if header.kind == FrameKind::Command {
            super::metadata::command(body);
        }
        rest = next;
    }
}

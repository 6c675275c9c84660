//! Any octets as a stream of frames: headers, and what the bodies of commands and their metadata amount to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zmio::wire::{Command, FrameHeader, FrameKind, MAX_HEADER_OCTETS, Properties};

fuzz_target!(|octets: &[u8]| {
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
            command(body);
        }
        rest = next;
    }
});

fn command(body: &[u8]) {
    match Command::parse(body) {
        Ok(Command::Ready(metadata)) => {
            if let Ok(properties) = Properties::parse(metadata, 64) {
                for (name, value) in properties.iter() {
                    assert!(!name.is_empty() && value.len() < metadata.len());
                }
            }
        }
        Ok(command) => assert!(!command.name().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

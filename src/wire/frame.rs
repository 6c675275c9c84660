use alloc::vec::Vec;
use core::ops::Deref;

/// The octets of the longest header: flags and a size of 8 octets. RFC 37, "Framing".
pub const MAX_HEADER_OCTETS: usize = 9;

pub(crate) const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
pub(crate) const COMMAND: u8 = 0b100;
const RESERVED: u8 = !(MORE | LONG | COMMAND);

/// What a frame is part of. RFC 37, `command` and `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The only or the last frame of a message.
    Last,
    /// A frame of a message that goes on.
    More,
    /// A command, always one whole frame. It may come between two frames of a message and is no part of it.
    Command,
}

/// What precedes the body of a frame. RFC 37, "Framing".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// What the frame is part of.
    pub kind: FrameKind,
    /// The octets of the body, below 2^63.
    ///
    /// Compare it with every limit as the `u64` that it is, before any cast and before reserving anything.
    pub size: u64,
}

impl FrameHeader {
    /// Reads a header from the front of `input`, and the number of octets that it takes: 2 or 9.
    ///
    /// `Ok(None)`: nothing is wrong yet, and octets are missing. A long header with a size below 256 is legal.
    ///
    /// # Errors
    ///
    /// The flags are judged as soon as they are there: [`FrameError`].
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<(FrameHeader, usize)>, FrameError> {
        let Some((&flags, rest)) = input.split_first() else {
            return Ok(None);
        };
        let kind = match flags & !LONG {
            0 => FrameKind::Last,
            MORE => FrameKind::More,
            COMMAND => FrameKind::Command,
            _ => return Err(FrameError::of_flags(flags)),
        };
        if flags & LONG == 0 {
            let Some(&size) = rest.first() else {
                return Ok(None);
            };
            return Ok(Some((FrameHeader { kind, size: u64::from(size) }, 2)));
        }
        // A2.3: a size below 256 is as good here as any other.
        let Some(&octets) = rest.first_chunk::<8>() else {
            return Ok(None);
        };
        let size = u64::from_be_bytes(octets);
        if size >> 63 != 0 {
            return Err(FrameError::SizeTopBit(size)); // A2.2
        }
        Ok(Some((FrameHeader { kind, size }, MAX_HEADER_OCTETS)))
    }

    /// The header as it goes on the wire, in its shortest form. It does not allocate.
    ///
    /// A size of 2^63 and above is no size of a frame, and no slice is that long. It is written as it stands, and
    /// [`parse`](FrameHeader::parse) refuses it.
    #[inline]
    pub fn encode(self) -> EncodedHeader {
        let flags = match self.kind {
            FrameKind::Last => 0,
            FrameKind::More => MORE,
            FrameKind::Command => COMMAND,
        };
        EncodedHeader(match u8::try_from(self.size) {
            Ok(size) => Form::Short([flags, size]),
            Err(_) => {
                let [a, b, c, d, e, f, g, h] = self.size.to_be_bytes();
                Form::Long([flags | LONG, a, b, c, d, e, f, g, h])
            }
        })
    }
}

/// The octets of a [`FrameHeader`], 2 or 9 of them.
///
/// ```
/// use zmio::wire::{FrameHeader, FrameKind};
///
/// let header = |size| FrameHeader { kind: FrameKind::More, size }.encode();
/// assert_eq!(*header(5), [1, 5]);
/// assert_eq!(*header(256), [3, 0, 0, 0, 0, 0, 0, 1, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedHeader(Form);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Short([u8; 2]),
    Long([u8; MAX_HEADER_OCTETS]),
}

impl EncodedHeader {
    /// Appends it. Either length is known where it is copied, which takes no call of a copying routine.
    #[inline]
    pub(crate) fn append(&self, octets: &mut Vec<u8>) {
        match &self.0 {
            Form::Short(header) => octets.extend_from_slice(header),
            Form::Long(header) => octets.extend_from_slice(header),
        }
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short(octets) => octets,
            Form::Long(octets) => octets,
        }
    }
}

/// Why octets are no frame. RFC 37, "Framing".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Bits 7 to 3 of the flags must be zero. Here are all flags.
    #[error("a frame has the flags {0:#04x}, and the upper five bits are reserved")]
    ReservedFlags(u8),
    /// A command is one frame, so MORE must be zero on it.
    #[error("a command frame says that more frames follow")]
    CommandWithMore,
    /// A body has at most 2^63-1 octets. Here is the size announced.
    #[error("a frame announces {0} octets, and the longest has 2^63-1")]
    SizeTopBit(u64),
}

impl FrameError {
    #[cold]
    fn of_flags(flags: u8) -> FrameError {
        if flags & RESERVED != 0 {
            FrameError::ReservedFlags(flags) // A2.1
        } else {
            FrameError::CommandWithMore // A2.4
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const LONGEST: u64 = (1 << 63) - 1;

    fn long(flags: u8, size: u64) -> [u8; 9] {
        let mut octets = [flags; 9];
        octets[1..].copy_from_slice(&size.to_be_bytes());
        octets
    }

    #[test]
    fn any_reserved_bit_is_refused_with_the_flags_octet_alone() {
        // A2.1
        for flags in 0x08..=0xff {
            assert_eq!(FrameHeader::parse(&[flags]), Err(FrameError::ReservedFlags(flags)));
        }
        assert!(FrameError::ReservedFlags(0x88).to_string().contains("0x88"));
    }

    #[test]
    fn the_low_three_bits_are_more_long_and_command() {
        // A2.1
        let kind = |flags| FrameHeader::parse(&long(flags, 0)).unwrap().unwrap();
        assert_eq!(kind(0), (FrameHeader { kind: FrameKind::Last, size: 0 }, 2));
        assert_eq!(kind(1), (FrameHeader { kind: FrameKind::More, size: 0 }, 2));
        assert_eq!(kind(2), (FrameHeader { kind: FrameKind::Last, size: 0 }, 9));
        assert_eq!(kind(3), (FrameHeader { kind: FrameKind::More, size: 0 }, 9));
        assert_eq!(kind(4), (FrameHeader { kind: FrameKind::Command, size: 0 }, 2));
        assert_eq!(kind(6), (FrameHeader { kind: FrameKind::Command, size: 0 }, 9));
    }

    #[test]
    fn a_command_with_more_is_refused_with_the_flags_octet_alone() {
        // A2.4
        assert_eq!(FrameHeader::parse(&[0x05]), Err(FrameError::CommandWithMore));
        assert_eq!(FrameHeader::parse(&[0x07]), Err(FrameError::CommandWithMore));
    }

    #[test]
    fn a_size_is_read_up_to_the_longest_and_refused_above() {
        // A2.2
        for size in [0, 1, 255, 256, 1 << 31, 1 << 32, LONGEST] {
            let header = FrameHeader { kind: FrameKind::Last, size };
            assert_eq!(FrameHeader::parse(&long(2, size)), Ok(Some((header, 9))), "{size}");
        }
        for size in [LONGEST + 1, LONGEST + 2, u64::MAX] {
            let error = FrameError::SizeTopBit(size);
            assert!(error.to_string().contains(&size.to_string()));
            assert_eq!(FrameHeader::parse(&long(2, size)), Err(error));
        }
    }

    #[test]
    fn a_long_header_of_a_small_size_is_legal() {
        // A2.3
        for size in 0..256 {
            let header = FrameHeader { kind: FrameKind::Command, size };
            assert_eq!(FrameHeader::parse(&long(6, size)), Ok(Some((header, 9))));
        }
    }

    #[test]
    fn an_empty_frame_is_legal_of_any_kind() {
        // A2.5
        for (flags, kind) in [(0, FrameKind::Last), (1, FrameKind::More), (4, FrameKind::Command)] {
            assert_eq!(FrameHeader::parse(&[flags, 0]), Ok(Some((FrameHeader { kind, size: 0 }, 2))));
        }
    }

    #[test]
    fn an_unfinished_header_asks_for_more() {
        assert_eq!(FrameHeader::parse(&[]), Ok(None));
        assert_eq!(FrameHeader::parse(&[0]), Ok(None));
        for length in 1..9 {
            assert_eq!(FrameHeader::parse(&long(2, 256)[..length]), Ok(None), "{length} octets");
        }
    }

    #[test]
    fn what_we_encode_is_shortest() {
        // A2.3
        for (size, octets) in [(0, 2), (255, 2), (256, 9), (LONGEST, 9)] {
            for kind in [FrameKind::Last, FrameKind::More, FrameKind::Command] {
                let header = FrameHeader { kind, size };
                assert_eq!(header.encode().len(), octets);
                assert_eq!(FrameHeader::parse(&header.encode()), Ok(Some((header, octets))));
            }
        }
    }
}

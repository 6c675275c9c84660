use core::fmt;

use bytes::Bytes;

use super::Escaped;

/// The properties that RFC 37, "Connection Metadata", defines. One of them twice would mean two things at once.
const DEFINED: [&str; 3] = ["Socket-Type", "Identity", "Resource"];

/// The metadata of a peer: what it says about itself in the handshake. RFC 37, `metadata`.
///
/// The properties are in the order in which they came. All of them are kept, also those that mean nothing to this
/// crate, such as the `X-` ones that applications set. Values are opaque octets: show them through [`Escaped`].
///
/// A clone shares the octets. Two are equal if they are equal octet for octet.
///
/// ```
/// use zmio::wire::Properties;
///
/// let received = b"\x0bSocket-Type\0\0\0\x06DEALER\x06X-Room\0\0\0\x043.14";
/// let properties = Properties::parse(received, 64)?;
/// assert_eq!(properties.get("socket-type"), Some(&b"DEALER"[..]));
/// assert_eq!(properties.get("X-Room"), Some(&b"3.14"[..]));
/// assert_eq!(properties.get("Identity"), None);
/// assert_eq!(properties.iter().count(), 2);
/// # Ok::<(), zmio::wire::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// In their wire form, which was checked from end to end.
    octets: Bytes,
}

/// Name and value.
type Property<'a> = (&'a [u8], &'a [u8]);

impl Properties {
    /// Reads metadata of at most `max` properties and keeps a copy of its own.
    ///
    /// The copy is as long as `octets`, whatever these announce, so limit their number before the call.
    ///
    /// # Errors
    ///
    /// At the first thing that is wrong: [`MetadataError`].
    pub fn parse(octets: &[u8], max: usize) -> Result<Properties, MetadataError> {
        let mut seen = [false; DEFINED.len()];
        let mut count = 0;
        let mut rest = octets;
        while !rest.is_empty() {
            if count == max {
                return Err(MetadataError::TooMany { max });
            }
            count += 1;

            let offset = octets.len() - rest.len();
            let (name, _) = take_property(&mut rest, offset)?;
            for (defined, seen) in DEFINED.into_iter().zip(&mut seen) {
                if name.eq_ignore_ascii_case(defined.as_bytes()) {
                    if *seen {
                        return Err(MetadataError::Duplicate { name: defined });
                    }
                    *seen = true;
                }
            }
        }
        Ok(Properties { octets: Bytes::copy_from_slice(octets) })
    }

    /// The value of the first property of this name. RFC 37: the case of names is not significant.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Each name, as the peer wrote it, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.octets[..];
        // It was checked, so the only reason to stop is the end.
        core::iter::from_fn(move || take_property(&mut rest, 0).ok())
    }

    /// Whether the peer said nothing about itself.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(name, value)| (Escaped(name), Escaped(value)));
        f.debug_map().entries(entries).finish()
    }
}

/// Why octets are no metadata. RFC 37, `metadata`. An `offset` counts from the first octet of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The name of a property has no octet.
    #[error("the property at octet {offset} has a name of no octets")]
    NameEmpty {
        /// Where the property begins.
        offset: usize,
    },
    /// The name of a property ends beyond the metadata.
    #[error("the property at octet {offset} announces a name of {announced} octets, and {left} follow")]
    NameOverrun {
        /// Where the property begins.
        offset: usize,
        /// What its length octet says.
        announced: u8,
        /// What follows it.
        left: usize,
    },
    /// The name of a property contains something else than letters, digits, `-`, `_`, `.` and `+`.
    #[error("the property at octet {offset} has the octet {octet:#04x} ('{}') in its name", Escaped(&[*octet]))]
    NameOctet {
        /// Where the property begins.
        offset: usize,
        /// The first such octet.
        octet: u8,
    },
    /// The metadata ends before the size of a value does.
    #[error("the property at octet {offset} has {left} of the 4 octets that say how long its value is")]
    ValueSizeMissing {
        /// Where the property begins.
        offset: usize,
        /// What follows the name.
        left: usize,
    },
    /// A value may have at most 2^31-1 octets.
    #[error("the property at octet {offset} announces a value of {announced} octets, and the longest has 2^31-1")]
    ValueTooLong {
        /// Where the property begins.
        offset: usize,
        /// What the size says.
        announced: u32,
    },
    /// A value ends beyond the metadata.
    #[error("the property at octet {offset} announces a value of {announced} octets, and {left} follow")]
    ValueOverrun {
        /// Where the property begins.
        offset: usize,
        /// What the size says.
        announced: u32,
        /// What follows the size.
        left: usize,
    },
    /// A property that RFC 37 defines is there twice.
    #[error("the property {name} is given twice")]
    Duplicate {
        /// `Socket-Type`, `Identity` or `Resource`.
        name: &'static str,
    },
    /// There are more properties than our limit.
    #[error("there are more than {max} properties")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

/// Takes the first property off `octets`: its name and its value. `offset` says where it begins, for errors only.
fn take_property<'a>(octets: &mut &'a [u8], offset: usize) -> Result<Property<'a>, MetadataError> {
    let Some((&announced @ 1.., rest)) = octets.split_first() else {
        return Err(MetadataError::NameEmpty { offset });
    };
    let (name, rest) = rest.split_at_checked(usize::from(announced)).ok_or(MetadataError::NameOverrun {
        offset,
        announced,
        left: rest.len(),
    })?;
    if let Some(&octet) = name.iter().find(|octet| !is_name_char(**octet)) {
        return Err(MetadataError::NameOctet { offset, octet });
    }

    let (&size, rest) =
        rest.split_first_chunk::<4>().ok_or(MetadataError::ValueSizeMissing { offset, left: rest.len() })?;
    let announced = u32::from_be_bytes(size);
    if announced >> 31 != 0 {
        return Err(MetadataError::ValueTooLong { offset, announced });
    }
    let (value, rest) = usize::try_from(announced)
        .ok()
        .and_then(|size| rest.split_at_checked(size))
        .ok_or(MetadataError::ValueOverrun { offset, announced, left: rest.len() })?;
    *octets = rest;
    Ok((name, value))
}

/// RFC 37, `name-char`.
fn is_name_char(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'+')
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    const MAX: usize = 64;

    fn property(name: &str, value: &[u8]) -> Vec<u8> {
        let size = (value.len() as u32).to_be_bytes();
        [&[name.len() as u8], name.as_bytes(), &size, value].concat()
    }

    #[test]
    fn nothing_is_metadata_too() {
        let none = Properties::parse(b"", MAX).unwrap();
        assert!(none.is_empty());
        assert_eq!(none, Properties::default());
        assert_eq!(none.iter().count(), 0);
    }

    #[test]
    fn names_are_found_without_case_and_shown_as_they_came() {
        // A4
        let properties = Properties::parse(&property("sOCKET-tYPE", b"DEALER"), MAX).unwrap();
        assert!(!properties.is_empty());
        assert_eq!(properties.get("Socket-Type"), Some(&b"DEALER"[..]));
        assert_eq!(properties.iter().next(), Some((&b"sOCKET-tYPE"[..], &b"DEALER"[..])));
    }

    #[test]
    fn unknown_properties_are_kept_in_order_even_twice() {
        // A4
        let octets = [property("X-Room", b"3"), property("Codec", b""), property("x-room", b"4")].concat();
        let properties = Properties::parse(&octets, MAX).unwrap();
        let all: Vec<_> = properties.iter().collect();
        assert_eq!(all, [(&b"X-Room"[..], &b"3"[..]), (b"Codec", b""), (b"x-room", b"4")]);
        assert_eq!(properties.get("X-ROOM"), Some(&b"3"[..]), "the first one");
        assert_eq!(properties.get("codec"), Some(&b""[..]), "empty is not absent");
        assert_eq!(properties.get("Identity"), None);
    }

    #[test]
    fn a_value_is_any_octets_and_a_resource_any_value() {
        // A4
        let all: Vec<u8> = (0..=255).collect();
        let octets = [property("Identity", &all), property("Resource", b"\0 not a resource\xff")].concat();
        let properties = Properties::parse(&octets, MAX).unwrap();
        assert_eq!(properties.get("Identity"), Some(&all[..]));
        assert_eq!(properties.get("Resource"), Some(&b"\0 not a resource\xff"[..]));
    }

    #[test]
    fn a_defined_property_may_be_there_once() {
        // A4
        for (first, second, name) in [
            ("Socket-Type", "Socket-Type", "Socket-Type"),
            ("Identity", "IDENTITY", "Identity"),
            ("resource", "Resource", "Resource"),
        ] {
            let octets = [property(first, b"1"), property("X", b""), property(second, b"1")].concat();
            assert_eq!(Properties::parse(&octets, MAX), Err(MetadataError::Duplicate { name }));
        }
    }

    #[test]
    fn a_name_has_1_to_255_octets_and_ends_within_the_metadata() {
        // A4
        let longest = "n".repeat(255);
        assert!(Properties::parse(&property(&longest, b""), MAX).is_ok());
        assert_eq!(Properties::parse(b"\0\0\0\0\0", MAX), Err(MetadataError::NameEmpty { offset: 0 }));
        assert_eq!(
            Properties::parse(b"\x08Identit", MAX),
            Err(MetadataError::NameOverrun { offset: 0, announced: 8, left: 7 })
        );
    }

    #[test]
    fn a_name_has_only_the_characters_of_the_grammar() {
        for octet in 0..=255_u8 {
            let parsed = Properties::parse(&[1, octet, 0, 0, 0, 0], MAX);
            if octet.is_ascii_alphanumeric() || b"-_.+".contains(&octet) {
                assert!(parsed.is_ok(), "{octet:#04x}");
            } else {
                assert_eq!(parsed, Err(MetadataError::NameOctet { offset: 0, octet }));
            }
        }
    }

    #[test]
    fn a_value_ends_within_the_metadata() {
        // A4
        assert_eq!(Properties::parse(b"\x01X", MAX), Err(MetadataError::ValueSizeMissing { offset: 0, left: 0 }));
        assert_eq!(Properties::parse(b"\x01X\0\0\0", MAX), Err(MetadataError::ValueSizeMissing { offset: 0, left: 3 }));
        assert_eq!(
            Properties::parse(b"\x01X\0\0\0\x02v", MAX),
            Err(MetadataError::ValueOverrun { offset: 0, announced: 2, left: 1 })
        );
        assert_eq!(
            Properties::parse(b"\x01X\x7f\xff\xff\xff", MAX),
            Err(MetadataError::ValueOverrun { offset: 0, announced: 0x7fff_ffff, left: 0 })
        );
    }

    #[test]
    fn a_value_of_2_to_31_octets_and_more_is_refused_as_such() {
        // A4
        for announced in [0x8000_0000_u32, 0xffff_ffff] {
            let octets = [b"\x01X", &announced.to_be_bytes()[..]].concat();
            assert_eq!(Properties::parse(&octets, MAX), Err(MetadataError::ValueTooLong { offset: 0, announced }));
        }
    }

    #[test]
    fn no_octet_may_trail_and_the_error_says_where() {
        // A4
        let mut octets = property("Identity", b"ABC");
        let offset = octets.len();
        octets.push(0);
        assert_eq!(Properties::parse(&octets, MAX), Err(MetadataError::NameEmpty { offset }));
        octets[offset] = b'x';
        assert_eq!(
            Properties::parse(&octets, MAX),
            Err(MetadataError::NameOverrun { offset, announced: b'x', left: 0 })
        );
    }

    #[test]
    fn the_number_of_properties_is_limited() {
        // E11
        let octets = property("X", b"").repeat(3);
        assert!(Properties::parse(&octets, 3).is_ok());
        assert_eq!(Properties::parse(&octets, 2), Err(MetadataError::TooMany { max: 2 }));
        assert_eq!(Properties::parse(&octets, 0), Err(MetadataError::TooMany { max: 0 }));
        assert!(Properties::parse(b"", 0).is_ok());
    }

    #[test]
    fn debug_shows_it_escaped() {
        let properties = Properties::parse(&property("Identity", b"a\nb"), MAX).unwrap();
        assert_eq!(format!("{properties:?}"), r#"{"Identity": "a\x0ab"}"#);
    }
}

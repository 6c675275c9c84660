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

//! Identities: the names by which a ROUTER knows its peers (RFC 28, RFC 37).

use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;

use bytes::Bytes;

use crate::wire::Escaped;

/// The name of a peer at a ROUTER: 0 to 255 octets. An empty one asks the ROUTER to assign one; assigned ones begin
/// with a zero octet, and no peer may bring such a one along.
///
/// ```
/// use zmio::Identity;
///
/// let player = Identity::new("player 7")?;
/// assert_eq!(&player[..], b"player 7");
/// assert!(Identity::new(vec![b'x'; 256]).is_err());
/// assert!(Identity::new(vec![0, 1]).is_err());
/// # Ok::<(), zmio::conn::IdentityError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Bytes);

/// What is wrong with an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Longer than 255 octets.
    #[error("an identity has at most 255 octets, not {octets}")]
    TooLong {
        /// How many octets it has.
        octets: usize,
    },
    /// The first octet is zero: these are the ROUTER's own to assign.
    #[error("an identity must not begin with a zero octet: the ROUTER assigns those")]
    Reserved,
}

impl Identity {
    /// The most octets that an identity may have.
    pub const MAX_OCTETS: usize = 255;

    /// An identity that a peer may bring along.
    pub fn new(octets: impl Into<Bytes>) -> Result<Identity, IdentityError> {
        let octets = octets.into();
        if octets.len() > Identity::MAX_OCTETS {
            return Err(IdentityError::TooLong { octets: octets.len() });
        }
        if octets.first() == Some(&0) {
            return Err(IdentityError::Reserved);
        }
        Ok(Identity(octets))
    }

    /// One that a ROUTER assigns: a zero octet and four random ones.
    pub(crate) fn assigned(random: u32) -> Identity {
        let [a, b, c, d] = random.to_be_bytes();
        Identity(Bytes::copy_from_slice(&[0, a, b, c, d]))
    }
}

impl Deref for Identity {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Identity {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Identity {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Identity {
    /// Escaped: an identity comes from a peer and may hold anything. An assigned one is shown in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.first() == Some(&0) {
            return self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"));
        }
        fmt::Display::fmt(&Escaped(&self.0), f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    #[test]
    fn the_length_is_checked_to_the_octet() {
        assert!(Identity::new(vec![b'i'; 255]).is_ok());
        assert_eq!(Identity::new(vec![b'i'; 256]), Err(IdentityError::TooLong { octets: 256 }));
        assert!(Identity::new("").is_ok());
    }

    #[test]
    fn a_leading_zero_is_the_routers() {
        assert_eq!(Identity::new(vec![0]), Err(IdentityError::Reserved));
        assert_eq!(Identity::assigned(0x0102_0304)[..], [0, 1, 2, 3, 4]);
    }

    #[test]
    fn it_is_shown_without_control_characters() {
        assert!(!format!("{}", Identity::new("\x1b[31m").unwrap()).contains('\x1b'));
        assert_eq!(format!("{}", Identity::assigned(0xff)), "00000000ff");
        assert_eq!(format!("{:?}", Identity::new("a").unwrap()), "\"a\"");
    }

    #[test]
    fn its_octets_are_those_that_it_was_made_of() {
        let identity = Identity::new("player 7").unwrap();
        assert_eq!((&identity[..], identity.as_ref()), (&b"player 7"[..], &b"player 7"[..]));
    }
}

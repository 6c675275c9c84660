use core::fmt;

use super::Escaped;

/// The octets of a greeting: RFC 37, "Framing".
pub const GREETING_OCTETS: usize = 64;

const SIGNATURE_FIRST: u8 = 0xff;
const SIGNATURE_LAST: u8 = 0x7f;

// Where the fields are, RFC 37, `greeting`. Between the two ends of the signature is padding, after the role filler.
const SIGNATURE_FIRST_AT: usize = 0;
const SIGNATURE_LAST_AT: usize = 9;
const MAJOR_AT: usize = 10;
const MINOR_AT: usize = 11;
const MECHANISM_AT: usize = 12;
const AS_SERVER_AT: usize = MECHANISM_AT + MECHANISM_OCTETS;

const MECHANISM_OCTETS: usize = 20;
/// Below this no peer frames as we do: RFC 37, "Version Negotiation".
const OLDEST_MAJOR: u8 = 3;

/// The first 64 octets that each side sends: version, mechanism and role. RFC 37, `greeting`.
///
/// Both sides send theirs at once and unprompted, and no answer depends on the other one's.
///
/// ```
/// use zmio::wire::{Greeting, MechanismName, Version};
///
/// let ours = Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false };
/// let octets = ours.encode();
/// assert_eq!(Greeting::parse(&octets[..63])?, None);
/// assert_eq!(Greeting::parse(&octets)?, Some(ours));
/// # Ok::<(), zmio::wire::GreetingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The protocol version that the sender speaks.
    pub version: Version,
    /// The one security mechanism of the sender's socket.
    pub mechanism: MechanismName,
    /// Whether the sender claims the server's role in the handshake.
    ///
    /// A peer's claim means nothing: libzmq sends 0 even from its PLAIN and CURVE servers. Any octet but 0 reads
    /// as `true`.
    pub as_server: bool,
}

impl Greeting {
    /// The greeting as it goes on the wire, padding and filler zero.
    pub fn encode(&self) -> [u8; GREETING_OCTETS] {
        let mut octets = [0; GREETING_OCTETS];
        octets[SIGNATURE_FIRST_AT] = SIGNATURE_FIRST;
        octets[SIGNATURE_LAST_AT] = SIGNATURE_LAST;
        octets[MAJOR_AT] = self.version.major;
        octets[MINOR_AT] = self.version.minor;
        octets[MECHANISM_AT..AS_SERVER_AT].copy_from_slice(&self.mechanism.0);
        octets[AS_SERVER_AT] = u8::from(self.as_server);
        octets
    }

    /// Reads a greeting from what has arrived of a stream.
    ///
    /// `Ok(None)`: nothing is wrong yet, and octets are missing. What follows the first [`GREETING_OCTETS`] is
    /// not looked at. The padding, the role and the filler are never validated (RFC 37, "Version Negotiation").
    ///
    /// Whether the mechanism is ours is for the security layer to say.
    ///
    /// # Errors
    ///
    /// As soon as the octet that proves it is there, however little else has arrived: [`GreetingError`].
    pub fn parse(received: &[u8]) -> Result<Option<Greeting>, GreetingError> {
        check_signature(received, SIGNATURE_FIRST_AT, SIGNATURE_FIRST)?;
        check_signature(received, SIGNATURE_LAST_AT, SIGNATURE_LAST)?;
        match received.get(MAJOR_AT) {
            Some(&major) if major < OLDEST_MAJOR => {
                return Err(GreetingError::Version(Version { major, minor: 0 })); // A1.5
            }
            _ => {}
        }

        let greeting = received.first_chunk::<GREETING_OCTETS>();
        Ok(greeting.map(|octets| Greeting {
            version: Version { major: octets[MAJOR_AT], minor: octets[MINOR_AT] },
            mechanism: MechanismName(core::array::from_fn(|i| octets[MECHANISM_AT + i])),
            as_server: octets[AS_SERVER_AT] != 0, // A1.7: read, never validated
        }))
    }
}

/// A protocol version, ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Peers of different majors do not frame alike.
    pub major: u8,
    /// Which commands a peer knows.
    pub minor: u8,
}

impl Version {
    /// ZMTP 3.0, RFC 23: what NetMQ, JeroMQ and others announce.
    pub const V3_0: Version = Version { major: 3, minor: 0 };
    /// ZMTP 3.1, RFC 37: what we announce, as libzmq does.
    pub const V3_1: Version = Version { major: 3, minor: 1 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The name of a security mechanism as greetings carry it: 20 octets, padded with NUL. RFC 37, `mechanism`.
///
/// Two sides agree if all 20 octets are equal, case included. The name of a peer can therefore be anything, also
/// something with garbage after the NUL. `Display` shows it escaped and without its padding.
///
/// ```
/// use zmio::wire::MechanismName;
///
/// assert_eq!(MechanismName::new("CURVE"), Some(MechanismName::CURVE));
/// assert_eq!(MechanismName::new("curve"), None);
/// assert_eq!(MechanismName::NULL.to_string(), "NULL");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MechanismName([u8; MECHANISM_OCTETS]);

impl MechanismName {
    /// No authentication and no confidentiality: RFC 37, "The NULL Security Mechanism".
    pub const NULL: MechanismName = MechanismName::padded(b"NULL");
    /// A name and a password in clear text: RFC 24.
    pub const PLAIN: MechanismName = MechanismName::padded(b"PLAIN");
    /// Authenticated and encrypted: RFC 25.
    pub const CURVE: MechanismName = MechanismName::padded(b"CURVE");

    /// A name of our own: 1 to 20 of `A`-`Z`, `0`-`9`, `-`, `_`, `.` and `+` (RFC 37, `mechanism-char`).
    pub fn new(name: &str) -> Option<MechanismName> {
        let allowed = |octet| matches!(octet, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+');
        let fits = (1..=MECHANISM_OCTETS).contains(&name.len());
        (fits && name.bytes().all(allowed)).then(|| MechanismName::padded(name.as_bytes()))
    }

    /// All 20 octets, padding included.
    pub fn as_octets(&self) -> &[u8; MECHANISM_OCTETS] {
        &self.0
    }

    /// `name` must not be longer than the field. (A loop, since `copy_from_slice` is not const in Rust 1.85.)
    const fn padded(name: &[u8]) -> MechanismName {
        let mut octets = [0; MECHANISM_OCTETS];
        let mut at = 0;
        while at < name.len() {
            octets[at] = name[at];
            at += 1;
        }
        MechanismName(octets)
    }

    fn without_padding(&self) -> &[u8] {
        let used = self.0.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        self.0.get(..used).unwrap_or(&self.0)
    }
}

impl fmt::Display for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped(self.without_padding()), f)
    }
}

impl fmt::Debug for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(self.without_padding()), f)
    }
}

/// Why a stream cannot begin a ZMTP 3 connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GreetingError {
    /// The signature is not there: HTTP, TLS, SSH, ZMTP 1.0, or noise. RFC 37, `signature`.
    #[error(
        "not ZMTP: octet {offset} is {octet:#04x} ('{}'), where a greeting has {:#04x}",
        Escaped(&[*octet]),
        if *offset == 0 { SIGNATURE_FIRST } else { SIGNATURE_LAST }
    )]
    NotZmtp {
        /// Where in the greeting: 0 or 9.
        offset: u8,
        /// What was there.
        octet: u8,
    },
    /// The major version is below 3. RFC 37, "Version Negotiation": who cannot downgrade closes.
    ///
    /// Only the major is the peer's. The minor is always 0 here: ZMTP 2.0 announces major 1 or 2 and has its
    /// socket type where later versions have a minor.
    #[error("the peer announces major version {} of ZMTP, and ours begin at {OLDEST_MAJOR}", .0.major)]
    Version(Version),
}

/// A1.4: what is not ZMTP is known at its first octet, or at its tenth.
fn check_signature(received: &[u8], at: usize, expected: u8) -> Result<(), GreetingError> {
    match received.get(at) {
        Some(&octet) if octet != expected => Err(GreetingError::NotZmtp { offset: at as u8, octet }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const OURS: Greeting = Greeting { version: Version::V3_1, mechanism: MechanismName::NULL, as_server: false };

    /// What our greeting reads as with these octets in place of its own.
    fn parse_with(at: usize, octets: &[u8]) -> Result<Option<Greeting>, GreetingError> {
        let mut greeting = OURS.encode();
        greeting[at..at + octets.len()].copy_from_slice(octets);
        Greeting::parse(&greeting)
    }

    #[test]
    fn the_fields_are_where_the_rfc_puts_them() {
        // A1.1
        let octets = Greeting { as_server: true, ..OURS }.encode();
        assert_eq!(octets[..12], [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1]);
        assert_eq!(octets[12..32], *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(octets[32], 1);
        assert_eq!(octets[33..], [0; 31]);
    }

    #[test]
    fn it_is_complete_with_its_last_octet_whatever_follows() {
        // A1.2
        let mut stream = OURS.encode().to_vec();
        for length in 0..stream.len() {
            assert_eq!(Greeting::parse(&stream[..length]), Ok(None), "{length} octets");
        }
        assert_eq!(Greeting::parse(&stream), Ok(Some(OURS)));
        stream.extend(b"\x04\x29\x05READY");
        assert_eq!(Greeting::parse(&stream), Ok(Some(OURS)));
    }

    #[test]
    fn padding_and_filler_mean_nothing() {
        // A1.3, A1.7
        assert_eq!(parse_with(1, &[0xff; 8]), Ok(Some(OURS)));
        assert_eq!(parse_with(8, &[4]), Ok(Some(OURS)));
        assert_eq!(parse_with(33, &[0xff; 31]), Ok(Some(OURS)));
    }

    #[test]
    fn what_is_not_zmtp_is_refused_at_the_octet_that_shows_it() {
        // A1.4
        for noise in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x01\x00"] {
            let error = GreetingError::NotZmtp { offset: 0, octet: noise[0] };
            for length in 1..=noise.len() {
                assert_eq!(Greeting::parse(&noise[..length]), Err(error.clone()));
            }
        }
        for octet in (0..=255).filter(|octet| *octet != 0x7f) {
            assert_eq!(parse_with(9, &[octet]), Err(GreetingError::NotZmtp { offset: 9, octet }));
        }
        assert_eq!(
            Greeting::parse(b"\xff\0\0\0\0\0\0\0\0\x01"),
            Err(GreetingError::NotZmtp { offset: 9, octet: 1 }),
            "a signature is judged before the version is there"
        );
    }

    #[test]
    fn the_error_shows_what_came_instead() {
        let error = Greeting::parse(b"GET /").unwrap_err();
        assert_eq!(error.to_string(), "not ZMTP: octet 0 is 0x47 ('G'), where a greeting has 0xff");
        let error = parse_with(9, &[0]).unwrap_err();
        assert_eq!(error.to_string(), r"not ZMTP: octet 9 is 0x00 ('\x00'), where a greeting has 0x7f");
    }

    #[test]
    fn majors_below_3_are_refused_by_name_before_their_minor_is_there() {
        // A1.5
        for major in 0..3 {
            let error = GreetingError::Version(Version { major, minor: 0 });
            assert_eq!(Greeting::parse(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, major]), Err(error.clone()));
            assert_eq!(parse_with(10, &[major, 5]), Err(error.clone()), "what follows is no minor");
            let text = error.to_string();
            assert!(text.contains(&alloc::format!("version {major}")), "{text}");
        }
    }

    #[test]
    fn majors_from_3_are_accepted_with_any_minor() {
        // A1.5
        for version in [(3, 0), (3, 1), (3, 255), (4, 0), (255, 255)] {
            let version = Version { major: version.0, minor: version.1 };
            assert_eq!(
                parse_with(10, &[version.major, version.minor]),
                Ok(Some(Greeting { version, ..OURS })),
                "{version}"
            );
        }
    }

    #[test]
    fn versions_are_ordered() {
        assert!(Version::V3_0 < Version::V3_1);
        assert!(Version::V3_1 < Version { major: 4, minor: 0 });
        assert_eq!(Version::V3_1.to_string(), "3.1");
    }

    #[test]
    fn a_mechanism_counts_with_all_its_octets() {
        // A1.6
        for name in [&b"null"[..], b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x", b"NULLX", b"\0", b"PLAIN"] {
            let other = parse_with(12, name).unwrap().unwrap().mechanism;
            assert_ne!(other, MechanismName::NULL, "{other}");
        }
        assert_eq!(parse_with(12, b"CURVE").unwrap().unwrap().mechanism, MechanismName::CURVE);
    }

    #[test]
    fn a_mechanism_is_shown_without_padding_and_with_garbage() {
        let shown = |name: &[u8]| parse_with(12, name).unwrap().unwrap().mechanism.to_string();
        assert_eq!(shown(b"PLAIN"), "PLAIN");
        assert_eq!(alloc::format!("{:?}", MechanismName::NULL), "\"NULL\"");
        assert_eq!(shown(b"NULL\0x"), r"NULL\x00x");
        assert_eq!(shown(b"N\nLL"), r"N\x0aLL");
        assert_eq!(shown(&[0; 20]), "");
        assert_eq!(shown(b"TWENTY_OCTETS_EXACTL"), "TWENTY_OCTETS_EXACTL");
    }

    #[test]
    fn a_mechanism_of_ours_keeps_to_the_grammar() {
        assert_eq!(MechanismName::new("NULL"), Some(MechanismName::NULL));
        assert_eq!(MechanismName::new("A-Z_0.9+").unwrap().as_octets()[..8], *b"A-Z_0.9+");
        assert!(MechanismName::new("TWENTY_OCTETS_EXACTL").is_some());
        for name in ["", "null", "WITH SPACE", "NUL\0", "TWENTY_ONE_OCTETS_YES", "\u{c4}"] {
            assert_eq!(MechanismName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_role_is_read_and_never_judged() {
        // A1.7
        for octet in 0..=255 {
            assert_eq!(parse_with(32, &[octet]), Ok(Some(Greeting { as_server: octet != 0, ..OURS })));
        }
    }
}

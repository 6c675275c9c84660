use core::fmt::{self, Write};

/// How many octets are shown before the rest is only counted: a line of a log, not a page.
pub(crate) const SHOWN_OCTETS: usize = 64;

/// Octets that somebody else chose, made safe to print.
///
/// Printable ASCII is shown as it is. A quote or a backslash gets a backslash before it. Every other octet is
/// shown as `\xNN`, so that a peer can neither forge a line of a log nor drive a terminal. After 64 octets only
/// the number of the rest is shown.
///
/// `Display` adds no quotes around the text, `Debug` does.
///
/// ```
/// use zmio::wire::Escaped;
///
/// assert_eq!(Escaped(b"camera 1").to_string(), "camera 1");
/// assert_eq!(Escaped(b"\x00\xff\r\n\"\\").to_string(), r#"\x00\xff\x0d\x0a\"\\"#);
/// assert_eq!(Escaped(&[b'a'; 100]).to_string(), format!("{}... and 36 octets more", "a".repeat(64)));
/// assert_eq!(format!("{:?}", Escaped(b"camera 1")), r#""camera 1""#);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(
    /// The octets to show.
    pub &'a [u8],
);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.split();
        write_octets(f, shown)?;
        write_rest(f, rest)
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.split();
        f.write_char('"')?;
        write_octets(f, shown)?;
        f.write_char('"')?;
        write_rest(f, rest)
    }
}

impl<'a> Escaped<'a> {
    fn split(&self) -> (&'a [u8], &'a [u8]) {
        self.0.split_at_checked(SHOWN_OCTETS).unwrap_or((self.0, &[]))
    }
}

fn write_octets(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for &octet in octets {
        match octet {
            b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
            b' '..=b'~' => f.write_char(char::from(octet))?,
            _ => write!(f, "\\x{octet:02x}")?,
        }
    }
    Ok(())
}

fn write_rest(f: &mut fmt::Formatter<'_>, rest: &[u8]) -> fmt::Result {
    match rest.len() {
        0 => Ok(()),
        1 => f.write_str("... and 1 octet more"),
        more => write!(f, "... and {more} octets more"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn no_octet_gets_out_unprintable() {
        let all: Vec<u8> = (0..=255).collect();
        for octets in all.chunks(32) {
            let shown = Escaped(octets).to_string();
            assert!(shown.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{shown}");
        }
    }

    #[test]
    fn what_looks_like_an_escape_is_told_from_one() {
        assert_eq!(Escaped(b"\\x00").to_string(), r"\\x00");
        assert_eq!(Escaped(b"\x00").to_string(), r"\x00");
        assert_eq!(format!("{:?}", Escaped(b"\"")), r#""\"""#);
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        assert_eq!(Escaped(&[b'a'; 64]).to_string(), "a".repeat(64));
        assert_eq!(Escaped(&[b'a'; 65]).to_string(), "a".repeat(64) + "... and 1 octet more");
        let debug = format!("{:?}", Escaped(&[b'a'; 164]));
        assert_eq!(debug, format!("\"{}\"... and 100 octets more", "a".repeat(64)));
    }
}

//! What people write on a command line, as values: octets and seconds.

use std::time::Duration;

/// A number of octets above zero: `65536`, `64KiB`, `16MiB`, `1GiB`.
pub(crate) fn octets(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("give octets as in 65536, 64KiB, 16MiB or 1GiB".into()),
    };
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err("give octets as in 65536, 64KiB, 16MiB or 1GiB".into());
    }
    let octets = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match octets {
        Some(0) => Err("must be at least one octet".into()),
        Some(octets) => Ok(octets),
        None => Err("is more octets than 64 bits can count".into()),
    }
}

/// Seconds, fractions allowed: a millisecond at least, ten days at most.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    // `f64` reads more than people write: inf, nan, 1e3, -0.
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return Err("give seconds as in 5 or 0.25".into());
    }
    let seconds: f64 = text.parse().map_err(|_| "give seconds as in 5 or 0.25")?;
    if seconds < 0.001 {
        return Err("must be at least 0.001 seconds".into());
    }
    if seconds > 864_000.0 {
        return Err("must be at most 864000 seconds, ten days".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_read_plain_and_with_a_binary_unit() {
        assert_eq!(octets("1"), Ok(1));
        assert_eq!(octets("65536"), Ok(65_536));
        assert_eq!(octets("64KiB"), Ok(65_536));
        assert_eq!(octets("16MiB"), Ok(16 << 20));
        assert_eq!(octets("1GiB"), Ok(1 << 30));
        assert_eq!(octets("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn octets_that_are_none_or_unclear_are_refused() {
        for text in ["", "0", "0MiB", "-1", "1.5MiB", "64KB", "64k", "KiB", "MiB64", "1 MiB", "x", "٣", "1é"] {
            assert!(octets(text).is_err(), "{text:?} was taken");
        }
        for text in ["18446744073709551616", "17179869184GiB"] {
            assert!(octets(text).is_err_and(|e| e.contains("64 bits")), "{text:?}");
        }
    }

    #[test]
    fn seconds_may_be_fractional() {
        assert_eq!(seconds("5"), Ok(Duration::from_secs(5)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds(".5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("864000"), Ok(Duration::from_secs(864_000)));
    }

    #[test]
    fn seconds_that_are_none_or_unclear_are_refused() {
        for text in ["", "0", "0.0", "0.0001", "-1", "1e3", "inf", "nan", ".", "1.2.3", "5s", "864001"] {
            assert!(seconds(text).is_err(), "{text:?} was taken");
        }
    }
}

//! Any octets as a greeting: what is decided early is never taken back, and what is accepted survives a round trip.

use zmio::wire::{GREETING_OCTETS, Greeting};

/// See the head of this file.
pub fn greeting(octets: &[u8]) {
    let whole = Greeting::parse(octets);
    for end in 0..octets.len().min(GREETING_OCTETS + 1) {
        match Greeting::parse(&octets[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "after {end} octets"),
        }
    }
    if let Ok(Some(greeting)) = whole {
        assert_eq!(Greeting::parse(&greeting.encode()), Ok(Some(greeting)));
    }
}

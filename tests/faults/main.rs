//! The faults and attacks of section E over real TCP: a hostile peer and a good one at the same engine.
//!
//! In each test a libzmq client asks and is answered before, while and after the other peer does its worst, the
//! offender comes to its stated end, and nothing of it stays. `tests/README.md` has the whole table.
#![cfg(feature = "net")]

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod flow;
mod handshake;
mod host;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod memory;
mod traffic;

//! Bad input of every kind (A1 to A5, A7) ends as it should, with a cause that names it, and harms nobody else.
//!
//! Most of it meets a socket without I/O, in several chunkings; some of it comes over real TCP.

#[path = "../support/mod.rs"]
mod support;

mod deadlines;
mod handshake;
#[cfg(feature = "net")]
mod tcp;
mod traffic;
mod victim;

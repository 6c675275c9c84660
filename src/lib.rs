//! ZeroMQ without libzmq: ZMTP 3.1 in safe Rust.
//!
//! The protocol core is `no_std` and needs only `alloc`: no I/O, no clock, no randomness of its own. What touches
//! the operating system sits behind the feature `net`.
//!
//! - [`wire`]: octets to values and back, one type per thing on the wire.

#![no_std]

extern crate alloc;
#[cfg(feature = "net")]
extern crate std;

pub mod wire;

pub use wire::SocketType;

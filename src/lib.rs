//! ZeroMQ without libzmq: ZMTP 3.1 in safe Rust.
//!
//! The protocol core is `no_std` and needs only `alloc`: no I/O, no clock, no randomness of its own. What touches
//! the operating system sits behind the feature `net`.
//!
//! - [`wire`]: octets to values and back, one type per thing on the wire.
//! - [`message`]: messages in their wire form.
//! - [`conn`]: one connection as a state machine.
//! - [`socket`]: many connections and one routing pattern, still without I/O.
//! - [`relay`]: broadcast-except-sender on a ROUTER.
//! - `net` (feature `net`, on by default): the blocking handles `Router` and `Dealer`, to begin with, and `Engine`, which puts
//!   a socket on TCP in a `mio::Poll` of yours.

#![no_std]

extern crate alloc;
#[cfg(feature = "net")]
extern crate std;

pub mod conn;
pub mod message;
#[cfg(feature = "net")]
pub mod net;
mod rand;
pub mod relay;
mod security;
pub mod socket;
pub mod time;
pub mod wire;

pub use conn::{Heartbeat, Identity, Limits, Mark};
pub use message::{Envelope, Message, Outgoing};
#[cfg(feature = "net")]
pub use net::{Dealer, Endpoint, Engine, Router};
pub use relay::{Relay, RelayEvent, RelayOptions, Slow};
pub use socket::{Action, Cause, Event, Options, PeerId, SendError, Socket};
pub use time::Instant;
pub use wire::SocketType;

/// The README's examples, so that they are compiled with the tests.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
mod readme {}

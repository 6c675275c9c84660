//! What the tests over real sockets share: libzmq, a raw peer, a tap, and a node that runs our engine.
//!
//! Every wait ends: with what was waited for, or after [`PATIENCE`] with a panic that says what is missing.
#![allow(dead_code, reason = "each test crate compiles all of this and uses its own part")]

use std::time::Duration;

pub(crate) mod libzmq;
#[cfg(feature = "net")]
pub(crate) mod node;
pub(crate) mod octets;
pub(crate) mod raw;
pub(crate) mod shapes;
pub(crate) mod tap;

/// How long anything may take that is expected to happen. Long enough for a loaded machine; a pass never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An endpoint on loopback whose port the system chooses.
pub(crate) const ANY_PORT: &str = "tcp://127.0.0.1:*";

//! The engine over loopback: what it must do with connections, names, listeners and octets, whoever the peer is.
#![cfg(feature = "net")]

#[path = "../support/octets.rs"]
#[allow(dead_code, reason = "each test crate uses its own part")]
mod octets;
mod turns;

mod closing;
mod dialling;
mod flow;
mod listening;

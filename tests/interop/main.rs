//! Our sockets against the real libzmq, over TCP. Without libzmq these tests do not build: they never skip.
#![cfg(feature = "net")]

#[path = "../support/mod.rs"]
mod support;

mod behaviour;
mod endpoints;
mod flow;
mod heartbeat;
mod identity;
mod matrix;
mod refusal;
mod relay;
mod restart;

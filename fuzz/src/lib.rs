//! What each fuzz target does with its input, as plain functions: a finding panics.
//!
//! The targets in `fuzz_targets/` hand their input to one of these. `tests/corpora.rs` of the crate itself has this
//! file as a module and hands them the committed corpora, so that no nightly toolchain is needed for that.

mod chunks;
mod connection;
mod frames;
mod greeting;
mod metadata;
mod relay;
mod sockets;
mod tape;

pub use chunks::chunks;
pub use connection::connection;
pub use frames::frames;
pub use greeting::greeting;
pub use metadata::metadata;
pub use relay::relay;
pub use sockets::sockets;

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus too.
pub const TARGETS: [(&str, Target); 7] = [
    ("chunks", chunks),
    ("connection", connection),
    ("frames", frames),
    ("greeting", greeting),
    ("metadata", metadata),
    ("relay", relay),
    ("sockets", sockets),
];

//! The driver: std, TCP and mio. It moves octets and decides nothing.
//!
//! [`Router`] and [`Dealer`] are for programs without an event loop: their calls block, and a thread behind each does the I/O.
//!
//! An [`Engine`] puts a [`Socket`](crate::Socket) on TCP inside a `mio::Poll` that is yours. All that concerns the protocol, from
//! back-pressure to re-dialling, is decided by the socket; the engine carries out its actions and tells it what came of them.
//!
//! Nothing here changes how the process treats signals, and a write to a peer that has gone raises no SIGPIPE: on Linux,
//! Android, the BSDs, illumos, Solaris and Apple's systems. On other Unixes a program that is not Rust's must ignore that signal
//! itself.

mod endpoint;
mod engine;
mod handle;
mod resolve;
mod sources;
mod stream;
mod tcp;
mod wake;

pub use endpoint::{Endpoint, EndpointError};
pub use engine::{BindError, ConnectError, Engine, UnbindError};
pub use handle::{CloseError, Dealer, HandleEvent, HandleOptions, OpenError, PeerSummary, RecvError, Router};
pub use tcp::TcpOptions;

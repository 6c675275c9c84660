//! What the user is told when the engine cannot do what was asked.

use std::io;

use thiserror::Error;

use crate::net::endpoint::{Endpoint, EndpointError};

/// Why [`Engine::bind`](super::Engine::bind) failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The system refused: the address is in use or not of this machine, the port is not for us, and so on.
    #[error("cannot bind {endpoint}: {source}")]
    System {
        /// What was to be bound.
        endpoint: Endpoint,
        /// The system's reason.
        source: io::Error,
    },
    /// The engine is closed or closing.
    #[error("the socket is closed")]
    Closed,
}

/// Why [`Engine::connect`](super::Engine::connect) failed. What a dial meets later comes as an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint can only be bound.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The engine's tokens are all in use.
    #[error("the engine's token range is used up")]
    NoToken,
    /// The engine is closed or closing.
    #[error("the socket is closed")]
    Closed,
}

/// Why [`Engine::unbind`](super::Engine::unbind) failed: nothing listens there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{endpoint} is not bound")]
pub struct UnbindError {
    pub(super) endpoint: Endpoint,
}

//! What can be set before a handle is opened.

use std::time::Duration;

use crate::net::TcpOptions;
use crate::socket::Options;

/// The options of a blocking handle, each with its default.
///
/// ```
/// use std::time::Duration;
/// use zmio::{Heartbeat, Options};
/// use zmio::net::HandleOptions;
///
/// let options = HandleOptions::new()
///     .socket(Options::new().heartbeat(Heartbeat::every(Duration::from_secs(5))))
///     .linger(Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct HandleOptions {
    pub(super) socket: Options,
    pub(super) tcp: TcpOptions,
    pub(super) linger: Duration,
}

impl Default for HandleOptions {
    fn default() -> HandleOptions {
        HandleOptions::new()
    }
}

impl HandleOptions {
    /// The defaults of [`Options`] and [`TcpOptions`], and a linger of one second.
    pub fn new() -> HandleOptions {
        HandleOptions { socket: Options::new(), tcp: TcpOptions::new(), linger: Duration::from_secs(1) }
    }

    /// What concerns the socket: identity, marks, heartbeats, limits.
    #[must_use]
    pub fn socket(mut self, options: Options) -> HandleOptions {
        self.socket = options;
        self
    }

    /// What concerns TCP.
    #[must_use]
    pub fn tcp(mut self, options: TcpOptions) -> HandleOptions {
        self.tcp = options;
        self
    }

    /// How long dropping the last clone of a handle may block to send what is queued, and for connections to end in good order.
    /// Default one second. Close the handle yourself to wait longer, and to learn what was not sent.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> HandleOptions {
        self.linger = linger;
        self
    }
}

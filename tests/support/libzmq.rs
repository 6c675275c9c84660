//! A socket of the real libzmq.

use std::time::Duration;

use super::{ANY_PORT, PATIENCE};

/// One libzmq socket in a context of its own, so that dropping it returns only when all its ports and threads are gone.
pub(crate) struct Libzmq {
    // Before the context: libzmq's `ctx_term` waits for its sockets.
    socket: zmq::Socket,
    _context: zmq::Context,
    kind: zmq::SocketType,
}

impl Libzmq {
    pub(crate) fn new(kind: zmq::SocketType) -> Self {
        let context = zmq::Context::new();
        let socket = context.socket(kind).expect("libzmq makes a socket");
        let patience = i32::try_from(PATIENCE.as_millis()).expect("fits");
        socket.set_linger(0).expect("linger");
        socket.set_rcvtimeo(patience).expect("receive timeout");
        socket.set_sndtimeo(patience).expect("send timeout");
        if kind == zmq::ROUTER {
            // Otherwise a message to a peer that is not there vanishes, and the test would blame us.
            socket.set_router_mandatory(true).expect("mandatory");
        }
        Libzmq { socket, _context: context, kind }
    }

    pub(crate) fn router() -> Self {
        Libzmq::new(zmq::ROUTER)
    }

    pub(crate) fn dealer() -> Self {
        Libzmq::new(zmq::DEALER)
    }

    /// Sets the routing id that the socket announces; before `bind` or `connect`.
    pub(crate) fn named(self, identity: &[u8]) -> Self {
        self.socket.set_identity(identity).expect("routing id");
        self
    }

    /// No limit on queued messages, for tests that count every one.
    pub(crate) fn unlimited(self) -> Self {
        self.socket.set_sndhwm(0).expect("send mark");
        self.socket.set_rcvhwm(0).expect("receive mark");
        self
    }

    /// On close, what was sent still goes out.
    pub(crate) fn lingering(self) -> Self {
        let patience = i32::try_from(PATIENCE.as_millis()).expect("fits");
        self.socket.set_linger(patience).expect("linger");
        self
    }

    /// A connection that ends is not dialled again; before `connect`.
    pub(crate) fn without_reconnect(self) -> Self {
        self.socket.set_reconnect_ivl(-1).expect("interval");
        self
    }

    /// PINGs every `interval`, closes after `timeout` without an octet, and asks the peer to do so after `ttl`.
    pub(crate) fn heartbeat(self, interval: Duration, timeout: Duration, ttl: Duration) -> Self {
        let millis = |d: Duration| i32::try_from(d.as_millis()).expect("fits");
        self.socket.set_heartbeat_ivl(millis(interval)).expect("interval");
        self.socket.set_heartbeat_timeout(millis(timeout)).expect("timeout");
        self.socket.set_heartbeat_ttl(millis(ttl)).expect("ttl");
        self
    }

    /// Binds to a free port of loopback and returns the endpoint.
    pub(crate) fn bind(&self) -> String {
        self.bind_to(ANY_PORT)
    }

    pub(crate) fn bind_to(&self, endpoint: &str) -> String {
        if let Err(error) = self.socket.bind(endpoint) {
            panic!("libzmq cannot bind {endpoint}: {error}");
        }
        let bound = self.socket.get_last_endpoint().expect("last endpoint");
        bound.expect("an endpoint is ASCII")
    }

    pub(crate) fn connect(&self, endpoint: &str) {
        if let Err(error) = self.socket.connect(endpoint) {
            panic!("libzmq cannot connect {endpoint}: {error}");
        }
    }

    pub(crate) fn disconnect(&self, endpoint: &str) {
        if let Err(error) = self.socket.disconnect(endpoint) {
            panic!("libzmq cannot disconnect {endpoint}: {error}");
        }
    }

    pub(crate) fn send<F: AsRef<[u8]>>(&self, frames: &[F]) {
        if let Err(error) = self.try_send(frames) {
            panic!("libzmq {:?} cannot send: {error}", self.kind);
        }
    }

    pub(crate) fn try_send<F: AsRef<[u8]>>(&self, frames: &[F]) -> zmq::Result<()> {
        self.socket.send_multipart(frames.iter().map(AsRef::as_ref), 0)
    }

    pub(crate) fn recv(&self) -> Vec<Vec<u8>> {
        match self.socket.recv_multipart(0) {
            Ok(frames) => frames,
            Err(error) => panic!("libzmq {:?} received nothing: {error}", self.kind),
        }
    }

    /// The next message, or `None` after a wait of `patience`.
    pub(crate) fn recv_within(&self, patience: Duration) -> Option<Vec<Vec<u8>>> {
        let millis = i64::try_from(patience.as_millis()).expect("fits");
        match self.socket.poll(zmq::POLLIN, millis).expect("poll") {
            0 => None,
            _ => Some(self.recv()),
        }
    }

    pub(crate) fn raw(&self) -> &zmq::Socket {
        &self.socket
    }
}

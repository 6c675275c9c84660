//! What TCP asks for: options, listening, dialling, and which error means what.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::string::ToString;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::endpoint::{Endpoint, Place};
use crate::socket::{Closed, DialError};

/// Connections that the system completes for us before we accept them. A storm of clients after a restart comes all at
/// once; systems cap it at their own limit (often 4096 or 128).
const BACKLOG: i32 = 1024;

/// Time between keepalive probes once a connection has been idle. With the usual 8 to 10 probes, a vanished peer is
/// found two minutes after the idle time.
#[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "solaris")))]
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Options of an [`Engine`](super::Engine): what concerns the transport and not the protocol.
///
/// Nagle's algorithm is always off (`TCP_NODELAY`): the engine already writes all that is queued for a peer at once.
///
/// ```
/// use std::time::Duration;
/// use zmio::net::TcpOptions;
///
/// let options = TcpOptions::new().keepalive(None).dial_timeout(Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct TcpOptions {
    keepalive: Option<Duration>,
    dial_timeout: Duration,
    turn_octets: usize,
}

impl TcpOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keepalive: Some(Duration::from_secs(60)),
            dial_timeout: Duration::from_secs(10),
            turn_octets: 1024 * 1024,
        }
    }

    /// Sets after how long without traffic TCP asks whether the other side still exists; `None` never asks.
    /// Default: 60 s.
    ///
    /// It is on by default since many peers never send a PING, and a connection that nobody writes to would
    /// outlive its peer for ever. Systems count in whole seconds, at least one.
    #[must_use]
    pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.keepalive = idle.map(|idle| idle.max(Duration::from_secs(1)));
        self
    }

    /// Sets how long a dial may take. Default: 10 s.
    ///
    /// It holds for the look-up of a name and then for each of its addresses anew. Systems themselves
    /// give up only after minutes.
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Sets how many octets are read in one turn from all peers together. Default: 1 MiB.
    ///
    /// Peers that have more, or that were not reached, come first in the next turn. A smaller budget answers
    /// sooner, a larger one makes larger batches. A turn reads from one peer at least.
    #[must_use]
    pub fn turn_octets(mut self, octets: usize) -> Self {
        self.turn_octets = octets;
        self
    }

    pub(super) fn dial_limit(&self) -> Duration {
        self.dial_timeout
    }

    pub(super) fn turn_budget(&self) -> usize {
        self.turn_octets
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Where to listen for an endpoint, the first choice in front; whether IPv6 alone is meant is of no use to IPv4.
#[derive(Debug)]
pub(super) struct Sites {
    addresses: Vec<(SocketAddr, bool)>,
    /// They are all addresses of this machine, and called so.
    anywhere: bool,
}

/// Finds where to listen for `endpoint`. Looks a name up, and waits for it.
pub(super) fn sites(endpoint: &Endpoint) -> io::Result<Sites> {
    let (addresses, anywhere) = match endpoint.place() {
        // IPv6 and IPv4 with one socket, or IPv4 alone where the system has no IPv6.
        &Place::Anywhere { port } => {
            let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            (vec![(v6, false), (v4, true)], true)
        }
        Place::At(address) => (vec![(*address, true)], false),
        Place::Named { host, port } => {
            let mut addresses: Vec<SocketAddr> = (&**host, *port).to_socket_addrs()?.collect();
            // Peers that dial `localhost` over IPv4 alone are the usual case.
            addresses.sort_by_key(SocketAddr::is_ipv6);
            (addresses.into_iter().map(|address| (address, true)).collect(), false)
        }
    };
    Ok(Sites { addresses, anywhere })
}

/// Opens a listener at one of `sites`, and returns the endpoint that it really got.
pub(super) fn listen(sites: &Sites) -> io::Result<(TcpListener, Endpoint)> {
    let (io, got) = listen_first(&sites.addresses)?;
    Ok((io, if sites.anywhere { Endpoint::anywhere(got.port()) } else { got.into() }))
}

/// Listens at the first address that this machine has.
fn listen_first(addresses: &[(SocketAddr, bool)]) -> io::Result<(TcpListener, SocketAddr)> {
    let mut failed = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for &(address, only_v6) in addresses {
        match listen_at(address, only_v6) {
            Ok(listening) => return Ok(listening),
            Err(error) => failed = error,
        }
        // Somebody else has the port. To take the same port of another address instead would split the clients
        // between two programs, and nobody would notice.
        if matches!(failed.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) {
            break;
        }
    }
    Err(failed)
}

fn listen_at(address: SocketAddr, only_v6: bool) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Said in both cases, since the default differs between systems.
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A server that restarts finds its port in TIME_WAIT. On Windows the same option would let another program
    // take a port that is in use.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let io = TcpListener::from_std(socket.into());
    let got = io.local_addr()?;
    Ok((io, got))
}

/// Sets what every stream has. A failure is not one of the connection: a peer that is already gone makes some
/// systems refuse, and the next read says so better.
pub(super) fn prepare(io: &TcpStream, options: &TcpOptions) {
    let _ = io.set_nodelay(true);
    // A write to a peer that is gone is an error, and no signal to the process.
    #[cfg(target_vendor = "apple")]
    let _ = SockRef::from(io).set_nosigpipe(true);
    if let Some(idle) = options.keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle);
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "solaris")))]
        let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL);
        let _ = SockRef::from(io).set_tcp_keepalive(&keepalive);
    }
}

/// `MSG_NOSIGNAL`, a number of the system's that no crate names that we use. Apple's systems have an option in its place,
/// which [`prepare`] sets.
#[cfg(unix)]
const NO_SIGNAL: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0x4000
} else if cfg!(target_os = "freebsd") {
    0x2_0000
} else if cfg!(any(target_os = "netbsd", target_os = "openbsd", target_os = "dragonfly")) {
    0x400
} else if cfg!(any(target_os = "illumos", target_os = "solaris")) {
    0x200
} else {
    0
};

/// Writes several slices. The standard library does that without the flag that its `write` of one has: in a program that
/// leaves SIGPIPE as it was, such as one in C that we are a library of, a peer that has gone would end the process.
#[cfg(unix)]
pub(super) fn write_vectored(io: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    io.try_io(|| SockRef::from(io).send_vectored_with_flags(slices, NO_SIGNAL))
}

#[cfg(not(unix))]
pub(super) fn write_vectored(mut io: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    io::Write::write_vectored(&mut io, slices)
}

/// Asks how a dial stands after an event: `Ok(None)` is "not yet".
pub(super) fn dialed(io: &TcpStream) -> Result<Option<SocketAddr>, DialError> {
    match io.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Err(dial_error(&error)),
    }
    // Without a peer it is still connecting; systems differ in which error says so, and the deadline ends it.
    let Ok(peer) = io.peer_addr() else {
        return Ok(None);
    };
    // TCP lets two dials that cross connect to each other. Whoever dials a free port of its own machine may be
    // given that very port as its own, and would then talk to itself and keep the real listener out.
    if io.local_addr().is_ok_and(|local| local == peer) {
        return Err(DialError::Failed("connected to itself".into()));
    }
    Ok(Some(canonical(peer)))
}

/// Writes the address of an IPv4 peer of a dual-stack listener as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        // As it was: a link-local address is nothing without its scope.
        IpAddr::V6(_) => address,
    }
}

pub(super) fn dial_error(error: &io::Error) -> DialError {
    match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        ErrorKind::TimedOut => DialError::TimedOut,
        _ => DialError::Failed(error.to_string().into()),
    }
}

/// What an error of a read or a write says about the connection.
pub(super) fn closed_by(error: &io::Error) -> Closed {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Closed::Reset,
        _ => Closed::Failed(error.to_string().into()),
    }
}

/// Whether a failed accept concerns that one connection, so that the next one may do better (accept(2) reports
/// errors of a connection that already failed). All other failures mean that the system, or our share of it, has
/// run out of something.
pub(super) fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
    )
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn listen_at(endpoint: &str) -> (TcpListener, Endpoint) {
        listen(&sites(&endpoint.parse().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_dial_that_reached_itself_is_a_failed_dial() {
        // Binding first makes certain what otherwise takes an unlucky choice of the system.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&loopback.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        socket.set_nonblocking(true).unwrap();
        let io = TcpStream::from_std(socket.into());
        assert_eq!(io.local_addr().unwrap(), io.peer_addr().unwrap());
        let error = dialed(&io).unwrap_err();
        assert!(matches!(error, DialError::Failed(text) if &*text == "connected to itself"));
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_listener_is_shown_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert_eq!(canonical(mapped), "127.0.0.1:80".parse().unwrap());
        for text in ["[::1]:80", "127.0.0.1:80", "[fe80::1%2]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(canonical(address), address);
        }
    }

    #[test]
    fn a_port_of_its_own_is_really_got() {
        let (io, got) = listen_at("tcp://*:0");
        assert_ne!(got.port(), 0);
        assert_eq!(got.to_string(), format!("tcp://*:{}", got.port()));
        assert_eq!(io.local_addr().unwrap().port(), got.port());
    }

    #[test]
    fn a_name_binds_ipv4_first() {
        let (_io, got) = listen_at("tcp://localhost:0");
        assert!(got.address().unwrap().is_ipv4(), "{got}");
    }

    #[test]
    fn a_stream_has_no_delay_and_keeps_alive_by_option() {
        for idle in [None, Some(Duration::from_secs(60))] {
            let (_listener, got) = listen_at("tcp://127.0.0.1:0");
            let io = TcpStream::connect(got.address().unwrap()).unwrap();
            prepare(&io, &TcpOptions::new().keepalive(idle));
            assert!(io.nodelay().unwrap());
            assert_eq!(SockRef::from(&io).keepalive().unwrap(), idle.is_some());
        }
    }
}

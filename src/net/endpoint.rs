//! Where a socket listens or dials: `tcp://host:port`.

use std::boxed::Box;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use thiserror::Error;

/// The longest host name that DNS can carry (RFC 1035, 2.3.4), written with dots.
const MAX_NAME_OCTETS: usize = 253;

/// Where a socket listens or dials.
///
/// The form is `tcp://host:port`. The host is an IPv4 address, an IPv6 address in brackets, a name,
/// or `*`, which stands for every address of this machine and only makes sense to
/// [`bind`](super::Engine::bind). The port is 0 to 65535; 0, also written `*`, lets the system choose and again
/// only makes sense to bind.
///
/// An endpoint that was parsed prints as an endpoint that parses to the same value.
///
/// ```
/// use zmio::Endpoint;
///
/// let endpoint: Endpoint = "tcp://[::1]:5557".parse()?;
/// assert_eq!(endpoint.port(), 5557);
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:5557");
///
/// let error = "tcp://localhost".parse::<Endpoint>().unwrap_err();
/// assert_eq!(error.to_string(), "the port is missing: tcp://host:port is expected");
/// # Ok::<(), zmio::net::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    place: Place,
}

/// What an endpoint says, read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// `*`: every address of this machine, IPv4 and IPv6.
    Anywhere {
        port: u16,
    },
    At(SocketAddr),
    Named {
        host: Box<str>,
        port: u16,
    },
}

/// Why a text is no endpoint, or not one for this purpose.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// White space or a control character somewhere.
    #[error("an endpoint has no spaces or control characters in it")]
    Space,
    /// No `tcp://` in front.
    #[error("the transport is missing: tcp://host:port is expected")]
    MissingTransport,
    /// Something else than `tcp` before `://`.
    #[error("the transport `{0}` is not supported: only `tcp` is")]
    UnknownTransport(Box<str>),
    /// No `:port` at the end.
    #[error("the port is missing: tcp://host:port is expected")]
    MissingPort,
    /// The port is neither a number nor `*`.
    #[error("the port `{0}` is neither a number nor `*`")]
    BadPort(Box<str>),
    /// The port is a number above 65535.
    #[error("the port {0} is out of range: the highest is 65535")]
    PortOutOfRange(Box<str>),
    /// Nothing between `://` and the port.
    #[error("the host is missing: tcp://host:port is expected")]
    MissingHost,
    /// An IPv6 address without brackets, which leaves open where its port begins.
    #[error("an IPv6 address needs brackets: tcp://[::1]:5557")]
    UnbracketedIpv6,
    /// `[` without `]`.
    #[error("the closing `]` of the IPv6 address is missing")]
    UnclosedBracket,
    /// What is inside the brackets is no IPv6 address.
    #[error("`{0}` is not an IPv6 address")]
    BadIpv6(Box<str>),
    /// Digits and dots that are no IPv4 address.
    #[error("`{0}` is not an IPv4 address")]
    BadIpv4(Box<str>),
    /// The host has characters that no host name has, or is too long.
    #[error("`{0}` is not a host name")]
    BadName(Box<str>),
    /// `*` as a host to connect to.
    #[error("`*` is no host to connect to: it stands for all addresses of this machine when binding")]
    AnyHost,
    /// Port 0 or `*` as a port to connect to.
    #[error("port 0 is no port to connect to: it lets the system choose one when binding")]
    AnyPort,
}

impl Endpoint {
    /// Returns the port; 0 lets the system choose.
    #[must_use]
    pub fn port(&self) -> u16 {
        match &self.place {
            Place::At(address) => address.port(),
            Place::Anywhere { port } | Place::Named { port, .. } => *port,
        }
    }

    /// Returns the address, unless the host is a name or `*`.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::At(address) => Some(address),
            Place::Anywhere { .. } | Place::Named { .. } => None,
        }
    }

    /// Returns `tcp://*:port`: all addresses of this machine.
    #[must_use]
    pub fn anywhere(port: u16) -> Self {
        let place = Place::Anywhere { port };
        Self { place }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Checks that there is one place that this endpoint names, so that it can be dialled.
    pub(super) fn check_dialable(&self) -> Result<(), EndpointError> {
        if let Place::Anywhere { .. } = self.place {
            Err(EndpointError::AnyHost)
        } else if self.port() == 0 {
            Err(EndpointError::AnyPort)
        } else {
            Ok(())
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(mut address: SocketAddr) -> Self {
        // Not a part of the text form, which has to say all.
        if let SocketAddr::V6(v6) = &mut address {
            v6.set_flowinfo(0);
        }
        let place = Place::At(address);
        Self { place }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Anywhere { port } => write!(f, "tcp://*:{port}"),
            Place::At(address) => write!(f, "tcp://{address}"),
            Place::Named { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(EndpointError::Space);
        }
        let (transport, place) = match text.split_once("://") {
            None | Some(("", _)) => return Err(EndpointError::MissingTransport),
            Some(parts) => parts,
        };
        if transport != "tcp" {
            return Err(EndpointError::UnknownTransport(transport.into()));
        }
        if let Some(bracketed) = place.strip_prefix('[') {
            let (ip, port) = bracketed.split_once(']').ok_or(EndpointError::UnclosedBracket)?;
            let (ip, scope) = parse_ipv6(ip)?;
            let port = port.strip_prefix(':').ok_or(EndpointError::MissingPort)?;
            let address = SocketAddrV6::new(ip, parse_port(port)?, 0, scope);
            return Ok(SocketAddr::from(address).into());
        }
        let (host, port) = place.rsplit_once(':').ok_or(EndpointError::MissingPort)?;
        check_host(host)?;
        let port = parse_port(port)?;
        if host == "*" {
            return Ok(Self::anywhere(port));
        }
        // Resolvers read `1.2.3` as an address too, each in its own way.
        if host.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
            let ip: Ipv4Addr = host.parse().map_err(|_| EndpointError::BadIpv4(host.into()))?;
            return Ok(SocketAddr::from((ip, port)).into());
        }
        let host = host.into();
        let place = Place::Named { host, port };
        Ok(Self { place })
    }
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    match text {
        "" => Err(EndpointError::MissingPort),
        "*" => Ok(0),
        // Checked before `parse`, which takes a sign as well.
        _ if !text.bytes().all(|c| c.is_ascii_digit()) => Err(EndpointError::BadPort(text.into())),
        _ => text.parse().map_err(|_| EndpointError::PortOutOfRange(text.into())),
    }
}

/// Reads an address and its scope, which only link-local addresses have.
fn parse_ipv6(text: &str) -> Result<(Ipv6Addr, u32), EndpointError> {
    let bad = || EndpointError::BadIpv6(text.into());
    let (ip, scope) = match text.split_once('%') {
        Some((ip, scope)) => (ip, scope.parse().map_err(|_| bad())?),
        None => (text, 0),
    };
    Ok((ip.parse().map_err(|_| bad())?, scope))
}

/// Checks a host outside brackets: `*`, an IPv4 address or a name.
fn check_host(text: &str) -> Result<(), EndpointError> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if text.is_empty() {
        Err(EndpointError::MissingHost)
    } else if text.contains(':') {
        Err(EndpointError::UnbracketedIpv6)
    } else if text != "*" && (text.len() > MAX_NAME_OCTETS || !text.bytes().all(allowed)) {
        Err(EndpointError::BadName(text.into()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    fn refused(text: &str) -> EndpointError {
        text.parse::<Endpoint>().unwrap_err()
    }

    #[test]
    fn what_is_parsed_prints_as_it_was() {
        for text in [
            "tcp://127.0.0.1:5557",
            "tcp://0.0.0.0:1",
            "tcp://[::1]:65535",
            "tcp://[::]:5557",
            "tcp://[fe80::1%3]:5557",
            "tcp://*:5557",
            "tcp://localhost:5557",
            "tcp://my_lab-rig.example.:5557",
            "tcp://127.0.0.1:0",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
    }

    #[test]
    fn a_star_as_port_is_port_zero() {
        let endpoint: Endpoint = "tcp://*:*".parse().unwrap();
        assert_eq!(endpoint, Endpoint::anywhere(0));
        assert_eq!(endpoint.to_string(), "tcp://*:0");
    }

    #[test]
    fn an_address_goes_in_and_comes_out() {
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%3]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from(address).address(), Some(address));
        }
        for text in ["tcp://*:80", "tcp://localhost:80"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().address(), None);
        }
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        use EndpointError::*;
        for text in ["", "localhost:80", "://localhost:80", "tcp:/localhost:80"] {
            assert_eq!(refused(text), MissingTransport, "{text}");
        }
        for text in [" tcp://h:80", "tcp://h:80\n", "tcp://h h:80", "tcp://h:80\0"] {
            assert_eq!(refused(text), Space, "{text:?}");
        }
        for transport in ["ipc", "TCP", "udp"] {
            assert_eq!(refused(&format!("{transport}://h:80")), UnknownTransport(transport.into()));
        }
        for text in ["tcp://", "tcp://h", "tcp://h:", "tcp://[::1]", "tcp://[::1]:"] {
            assert_eq!(refused(text), MissingPort, "{text}");
        }
        for port in ["x", "+80", "-1", "80/", "0x50", "**"] {
            assert_eq!(refused(&format!("tcp://h:{port}")), BadPort(port.into()));
        }
        for port in ["65536", "99999999999999999999"] {
            assert_eq!(refused(&format!("tcp://h:{port}")), PortOutOfRange(port.into()));
        }
        assert_eq!(refused("tcp://:80"), MissingHost);
        for text in ["tcp://::1:80", "tcp://::1", "tcp://fe80::1:80"] {
            assert_eq!(refused(text), UnbracketedIpv6, "{text}");
        }
        assert_eq!(refused("tcp://[::1:80"), UnclosedBracket);
        assert_eq!(refused("tcp://["), UnclosedBracket);
        for ip in ["", "::g", "127.0.0.1", "::1%eth0", "::1%"] {
            assert_eq!(refused(&format!("tcp://[{ip}]:80")), BadIpv6(ip.into()));
        }
        for ip in ["1.2.3", "256.1.1.1", "1", "...", "1.2.3.4.5"] {
            assert_eq!(refused(&format!("tcp://{ip}:80")), BadIpv4(ip.into()));
        }
        let long = "a".repeat(254);
        for name in ["h/x", "käse", "a;b", "*x", "u@h", &long] {
            assert_eq!(refused(&format!("tcp://{name}:80")), BadName(name.into()));
        }
    }

    #[test]
    fn only_one_place_can_be_dialled() {
        let check = |text: &str| text.parse::<Endpoint>().unwrap().check_dialable();
        assert_eq!(check("tcp://localhost:80"), Ok(()));
        assert_eq!(check("tcp://[::1]:80"), Ok(()));
        assert_eq!(check("tcp://*:80"), Err(EndpointError::AnyHost));
        assert_eq!(check("tcp://localhost:0"), Err(EndpointError::AnyPort));
        assert_eq!(check("tcp://localhost:*"), Err(EndpointError::AnyPort));
    }
}

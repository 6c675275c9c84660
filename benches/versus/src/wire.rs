//! The little ZMTP that raw clients and the bare loop speak by hand, and the body of a message of the load.
//!
//! A body is the sender's index (u32), the message's number (u64), both little-endian, and padding. A probe is a
//! message of twelve octets with [`PROBE`] in place of the sender: see `load::Load::introduce`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// What every message of the load starts with: sender and number.
pub const HEAD: usize = 12;
/// The sender of a probe.
pub const PROBE: u32 = u32::MAX;
/// What the rest of a body is filled with.
pub const PADDING: u8 = 0x5a;

pub const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[11] = 1;
    greeting[12] = b'N';
    greeting[13] = b'U';
    greeting[14] = b'L';
    greeting[15] = b'L';
    greeting
};
pub const READY_DEALER: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";
pub const READY_ROUTER: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0";

/// What comes before each body: Bonsai's empty delimiter frame if asked for, and the body's frame header.
pub fn envelope(body: usize, delimiter: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    if delimiter {
        octets.extend_from_slice(&[1, 0]);
    }
    match u8::try_from(body) {
        Ok(short) => octets.extend_from_slice(&[0, short]),
        Err(_) => {
            octets.push(2);
            octets.extend_from_slice(&(body as u64).to_be_bytes());
        }
    }
    octets
}

/// The octets of one probe on the wire.
pub fn probe(number: u64, delimiter: bool) -> Vec<u8> {
    let mut octets = envelope(HEAD, delimiter);
    octets.extend_from_slice(&PROBE.to_le_bytes());
    octets.extend_from_slice(&number.to_le_bytes());
    octets
}

/// Flags, length of the header and of the body of the frame that `octets` begin with; `None` if its header is not
/// complete yet.
pub fn frame_header(octets: &[u8]) -> Option<(u8, usize, usize)> {
    let &flags = octets.first()?;
    if flags & 2 == 0 {
        let &short = octets.get(1)?;
        return Some((flags, 2, usize::from(short)));
    }
    let long: [u8; 8] = octets.get(1..9)?.try_into().ok()?;
    Some((flags, 9, u64::from_be_bytes(long) as usize))
}

/// Idle clients that come from one address. Servers may bound those, and ours does.
const PER_ADDRESS: usize = 1000;

/// A client that has shaken hands, on a stream that blocks.
pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    finish(TcpStream::connect(address)?, timeout)
}

/// So many clients, from several addresses of this machine if there are many.
pub fn connect_many(address: SocketAddr, count: usize, timeout: Duration) -> io::Result<Vec<TcpStream>> {
    let connect = |index: usize| {
        let IpAddr::V4(host) = address.ip() else { return connect(address, timeout) };
        if !host.is_loopback() {
            return connect(address, timeout);
        }
        // All of 127.0.0.0/8 is this machine. Its first address is that of the busy clients.
        let source = Ipv4Addr::from_bits(host.to_bits() + 1 + (index / PER_ADDRESS) as u32);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        finish(socket.into(), timeout)
    };
    (0..count).map(connect).collect()
}

fn finish(mut stream: TcpStream, timeout: Duration) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    shake_hands(&mut stream)?;
    Ok(stream)
}

/// The server's side of the handshake, on a stream that blocks.
pub fn answer(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&GREETING)?;
    stream.read_exact(&mut [0; 64])?;
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    stream.read_exact(&mut vec![0; usize::from(header[1])])?;
    stream.write_all(READY_ROUTER)
}

/// The client's side of the handshake, on a stream that blocks. READY goes out once the peer's greeting is here.
pub fn shake_hands(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&GREETING)?;
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting)?;
    if greeting[0] != 0xff || greeting[9] != 0x7f || greeting[10] < 3 || &greeting[12..17] != b"NULL\0" {
        return Err(io::Error::other("the server's greeting is not ZMTP 3 with NULL"));
    }
    stream.write_all(READY_DEALER)?;
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    let mut ready = vec![0; usize::from(header[1])];
    stream.read_exact(&mut ready)?;
    if header[0] != 4 || !ready.starts_with(b"\x05READY") {
        return Err(io::Error::other("the server did not answer READY"));
    }
    Ok(())
}

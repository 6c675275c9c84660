//! A client that reads nothing, or next to nothing.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::{process, wire};

/// What the system takes in for it, so that the server notices soon.
const RECEIVE_BUFFER: usize = 16 * 1024;
const TRICKLE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Kind {
    /// Reads nothing
    Deaf,
    /// Reads an octet per second
    Trickle,
}

pub struct Laggard {
    stream: TcpStream,
    kind: Kind,
    next: Instant,
}

impl Laggard {
    pub fn connect(address: SocketAddr, kind: Kind) -> io::Result<Laggard> {
        let mut stream = TcpStream::connect(address)?;
        process::set_buffers(&stream, None, Some(RECEIVE_BUFFER))?;
        wire::shake_hands(&mut stream)?;
        stream.set_nonblocking(true)?;
        Ok(Laggard { stream, kind, next: Instant::now() + TRICKLE })
    }

    /// One on libzmq learns of a client by its first message.
    pub fn introduce(&mut self, probe: &[u8]) -> io::Result<()> {
        self.stream.write_all(probe)
    }

    /// When it wants to be called.
    pub fn wakes_at(&self) -> Option<Instant> {
        (self.kind == Kind::Trickle).then_some(self.next)
    }

    pub fn turn(&mut self, now: Instant) {
        if self.kind == Kind::Trickle && now >= self.next {
            self.next = now + TRICKLE;
            // That it is disconnected for its slowness is no error.
            let _ = self.stream.read(&mut [0]);
        }
    }
}

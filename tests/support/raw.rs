//! A peer made of octets alone, over real TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::octets::{self, Frame};

/// A TCP connection to or from the socket under test; every read has a deadline.
pub(crate) struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        let address: SocketAddr = address.parse().expect("an address");
        Raw::over(TcpStream::connect(address).expect("somebody listens"))
    }

    /// Waits for the socket under test to dial.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).expect("nonblocking");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Raw::over(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "nobody dialled");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).expect("blocking");
        stream.set_nodelay(true).expect("no delay");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Raw { stream, received: Vec::new() }
    }

    /// A completed handshake as `socket_type`.
    pub(crate) fn handshake(mut self, socket_type: &str, identity: &[u8]) -> Self {
        self.write(&octets::greeting());
        self.write(&octets::ready(socket_type, identity));
        self.read_greeting();
        let ready = self.read_frame();
        assert!(ready.is_command(b"READY"), "instead of READY: {ready:?}");
        self
    }

    /// Writes all, or as much as the other side lets us before it closes.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets);
    }

    pub(crate) fn read_greeting(&mut self) -> Vec<u8> {
        while self.received.len() < 64 {
            assert!(self.read_some(PATIENCE), "closed before the end of the greeting");
        }
        self.received.drain(..64).collect()
    }

    pub(crate) fn read_frame(&mut self) -> Frame {
        loop {
            let (frames, _) = octets::frames(&self.received);
            if let Some(frame) = frames.into_iter().next() {
                let first = octets::frame(frame.flags, &frame.body).len();
                self.received.drain(..first);
                return frame;
            }
            assert!(self.read_some(PATIENCE), "closed before a whole frame");
        }
    }

    /// All that still comes until the other side closes, and how long it took.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_some(PATIENCE) {}
        std::mem::take(&mut self.received)
    }

    /// False at the end of the stream, however it came.
    fn read_some(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout");
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {patience:?}, not even the end")
            }
            Err(_) => false,
        }
    }
}

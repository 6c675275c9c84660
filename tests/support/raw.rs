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
        Raw::try_connect(endpoint).expect("somebody listens")
    }

    /// As `connect`, unless the system refuses.
    pub(crate) fn try_connect(endpoint: &str) -> Option<Self> {
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        let address: SocketAddr = address.parse().expect("an address");
        TcpStream::connect(address).ok().map(Raw::over)
    }

    /// As `connect`, from an address of loopback; Linux has all of 127.0.0.0/8.
    #[cfg(feature = "net")]
    pub(crate) fn connect_from(host: &str, endpoint: &str) -> Self {
        use socket2::{Domain, Socket, Type};
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        let address: SocketAddr = address.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        let from = SocketAddr::new(host.parse().expect("an address"), 0);
        socket.bind(&from.into()).expect("an address of this machine");
        socket.connect(&address.into()).expect("somebody listens");
        Raw::over(socket.into())
    }

    /// As `connect`, with so small a buffer for what comes that the other side soon cannot write.
    #[cfg(feature = "net")]
    pub(crate) fn connect_narrow(endpoint: &str) -> Self {
        use socket2::{Domain, Socket, Type};
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        let address: SocketAddr = address.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        // Before the connection, which is when the window is agreed on.
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&address.into()).expect("somebody listens");
        Raw::over(socket.into())
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

    /// Where the socket under test sees this peer.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("an address")
    }

    /// Sends no more, and goes on reading.
    pub(crate) fn end_writes(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Ends the connection with a reset.
    #[cfg(feature = "net")]
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Has the other side closed, as far as is known without waiting?
    pub(crate) fn has_ended(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("nonblocking");
        let mut buffer = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).expect("blocking");
        ended
    }

    /// At least one octet more and at most `limit`, none at the end of the stream.
    pub(crate) fn read_at_most(&mut self, limit: usize) -> Vec<u8> {
        if self.received.is_empty() {
            self.read_some(PATIENCE);
        }
        let count = limit.min(self.received.len());
        self.received.drain(..count).collect()
    }

    /// All frames up to the first that is `last`.
    pub(crate) fn read_frames_until(&mut self, last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut read = Vec::new();
        loop {
            let (frames, octets) = octets::frames(&self.received);
            self.received.drain(..octets);
            let found = frames.iter().any(&last);
            read.extend(frames);
            if found {
                return read;
            }
            assert!(self.read_some(PATIENCE), "closed before that frame; read: {} frames", read.len());
        }
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

    /// Reads on until `is_enough` of all that came and was not taken. False if the other side closes before.
    pub(crate) fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> bool {
        while !is_enough(&self.received) {
            if !self.read_some(PATIENCE) {
                return false;
            }
        }
        true
    }

    /// Reads for so long, or until the other side closes: then it is true.
    pub(crate) fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.read_once(left) == Came::End {
                return true;
            }
        }
    }

    /// What came and was not taken.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// False at the end of the stream, however it came.
    fn read_some(&mut self, patience: Duration) -> bool {
        match self.read_once(patience) {
            Came::Octets => true,
            Came::End => false,
            Came::Nothing => panic!("nothing came for {patience:?}, not even the end"),
        }
    }

    fn read_once(&mut self, patience: Duration) -> Came {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout");
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Came::End,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Came::Octets
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Came::Nothing,
            Err(_) => Came::End,
        }
    }
}

/// What a read brought.
#[derive(PartialEq)]
enum Came {
    Octets,
    End,
    Nothing,
}

//! How a thread that looked a name up wakes the loop: a pipe, or a pair of UDP sockets where there are no pipes to poll.
//!
//! mio has a `Waker`, but a poll may have only one, and that one belongs to the user.

pub(super) use platform::{Bell, Inbox, clear, pair};

#[cfg(unix)]
mod platform {
    use std::io::{self, ErrorKind, Read, Write};

    use mio::unix::pipe;

    /// The side that is registered.
    pub(in crate::net) type Inbox = pipe::Receiver;

    /// The side that wakes it.
    #[derive(Debug)]
    pub(in crate::net) struct Bell(pipe::Sender);

    pub(in crate::net) fn pair() -> io::Result<(Bell, Inbox)> {
        let (sender, receiver) = pipe::new()?;
        Ok((Bell(sender), receiver))
    }

    impl Bell {
        /// Wakes the loop. A full pipe has already woken it.
        pub(in crate::net) fn ring(&mut self) {
            while matches!(self.0.write(&[1]), Err(e) if e.kind() == ErrorKind::Interrupted) {}
        }
    }

    /// Takes all that was rung, so that the next ring is an edge.
    pub(in crate::net) fn clear(inbox: &mut Inbox) {
        let mut octets = [0; 64];
        loop {
            match inbox.read(&mut octets) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::io::{self, ErrorKind};
    use std::net::{Ipv4Addr, UdpSocket};

    /// The side that is registered.
    pub(in crate::net) type Inbox = mio::net::UdpSocket;

    /// The side that wakes it.
    #[derive(Debug)]
    pub(in crate::net) struct Bell(UdpSocket);

    pub(in crate::net) fn pair() -> io::Result<(Bell, Inbox)> {
        let inbox = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bell = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Connected to each other, they hear nobody else.
        bell.connect(inbox.local_addr()?)?;
        inbox.connect(bell.local_addr()?)?;
        inbox.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok((Bell(bell), Inbox::from_std(inbox)))
    }

    impl Bell {
        /// Wakes the loop. A full socket has already woken it.
        pub(in crate::net) fn ring(&mut self) {
            while matches!(self.0.send(&[1]), Err(e) if e.kind() == ErrorKind::Interrupted) {}
        }
    }

    /// Takes all that was rung, so that the next ring is an edge.
    pub(in crate::net) fn clear(inbox: &mut Inbox) {
        let mut octets = [0; 64];
        loop {
            match inbox.recv(&mut octets) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}

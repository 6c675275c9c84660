//! Bare TCP in one thread: the physical limit. It answers the handshake and is told how long a message is.

use std::error::Error;
use std::io::{self, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::Outcome;
use crate::tally::Intake;
use crate::wire::{self, HEAD, PADDING};

/// Most octets of one read, which stays in the second-level cache.
const READ: usize = 256 * 1024;
const LISTENER: Token = Token(usize::MAX);

struct Server<C> {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    clients: Vec<Client<C>>,
    scratch: Vec<u8>,
    /// Clients that may have more to read.
    readable: Vec<usize>,
}

struct Client<C> {
    stream: TcpStream,
    readable: bool,
    state: C,
}

impl<C: Default> Server<C> {
    fn open() -> Result<Server<C>, Box<dyn Error>> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        println!("listening on tcp://{}", listener.local_addr()?);
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let events = Events::with_capacity(1024);
        Ok(Server { poll, events, listener, clients: Vec::new(), scratch: vec![0; READ], readable: Vec::new() })
    }

    /// Takes new clients, and calls `take` with what each of the others has sent, once.
    fn turn(&mut self, mut take: impl FnMut(&mut TcpStream, &mut C, &[u8]) -> Outcome) -> Outcome {
        let timeout = (!self.readable.is_empty()).then_some(std::time::Duration::ZERO);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let mut accept = false;
        for event in &self.events {
            match event.token() {
                LISTENER => accept = true,
                Token(index) => {
                    let client = &mut self.clients[index];
                    if !std::mem::replace(&mut client.readable, true) {
                        self.readable.push(index);
                    }
                }
            }
        }
        let clients = &mut self.clients;
        let scratch = &mut self.scratch;
        let mut failed = Ok(());
        self.readable.retain(|&index| {
            let client = &mut clients[index];
            let read = match client.stream.read(scratch) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                // It has left.
                Err(_) => 0,
            };
            if read > 0 && failed.is_ok() {
                failed = take(&mut client.stream, &mut client.state, &scratch[..read]);
            }
            client.readable = read == READ;
            client.readable
        });
        failed?;
        if accept { self.accept() } else { Ok(()) }
    }

    fn accept(&mut self) -> Outcome {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // The handshake is short, and the generator does not dawdle.
            let mut stream = std::net::TcpStream::from(stream);
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            wire::answer(&mut stream)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let index = self.clients.len();
            self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            self.clients.push(Client { stream, readable: false, state: C::default() });
        }
    }
}

/// Where in its stream a sender is.
#[derive(Default)]
struct Progress {
    /// Octets of the present message that have come.
    at: usize,
    head: Vec<u8>,
    look: bool,
}

pub fn sink(mut intake: Intake, octets: usize) -> Outcome {
    let mut server = Server::<Progress>::open()?;
    let envelope = wire::envelope(octets, false);
    let head = envelope.len() + HEAD;
    let stride = envelope.len() + octets;
    loop {
        server.turn(|_, progress, mut octets| {
            while !octets.is_empty() {
                if progress.at == 0 && octets.len() >= stride && octets.starts_with(&envelope) {
                    intake.take(&octets[envelope.len()..stride])?;
                    octets = &octets[stride..];
                    continue;
                }
                octets = progress.take(&mut intake, octets, &envelope, head, stride)?;
            }
            Ok(())
        })?;
    }
}

impl Progress {
    /// A piece of a message that came in several.
    fn take<'a>(
        &mut self,
        intake: &mut Intake,
        octets: &'a [u8],
        envelope: &[u8],
        head: usize,
        stride: usize,
    ) -> Result<&'a [u8], String> {
        if self.at < head {
            let (piece, rest) = octets.split_at((head - self.at).min(octets.len()));
            self.head.extend_from_slice(piece);
            self.at += piece.len();
            if self.at == head {
                let body = self.head.strip_prefix(envelope).and_then(|body| body.split_first_chunk());
                let Some((sender, number)) = body.and_then(|(s, n)| Some((s, n.first_chunk()?))) else {
                    return Err("got a message that nobody sent".into());
                };
                self.look = intake.starts(u32::from_le_bytes(*sender), u64::from_le_bytes(*number))?;
                self.head.clear();
                if head == stride {
                    intake.ends();
                    self.at = 0;
                }
            }
            return Ok(rest);
        }
        let (piece, rest) = octets.split_at((stride - self.at).min(octets.len()));
        if self.look && piece.iter().any(|&octet| octet != PADDING) {
            return Err("a message was damaged".into());
        }
        self.at += piece.len();
        if self.at == stride {
            intake.ends();
            self.at = 0;
        }
        Ok(rest)
    }
}

pub fn echo() -> Outcome {
    let mut server = Server::<()>::open()?;
    loop {
        server.turn(|stream, (), octets| {
            // One message in flight always fits the send buffer.
            stream.write_all(octets)?;
            Ok(())
        })?;
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;
    use crate::tally::{Supply, Tally};

    #[test]
    fn a_stream_is_counted_whatever_its_pieces() {
        let path = env::temp_dir().join(format!("versus-test-{}-pieces", process::id()));
        let _ = fs::remove_file(&path);
        let tally = Tally::create(&path).unwrap();
        let envelope = wire::envelope(300, false);
        let mut supply = Supply::new(300);
        let mut stream = Vec::new();
        for _ in 0..3 {
            stream.extend_from_slice(&envelope);
            stream.extend_from_slice(supply.next());
        }
        let stride = stream.len() / 3;
        for size in 1..stream.len() {
            let mut intake = Intake::new(Tally::open(&path).unwrap(), 300);
            let mut progress = Progress::default();
            for mut piece in stream.chunks(size) {
                while !piece.is_empty() {
                    piece = progress.take(&mut intake, piece, &envelope, envelope.len() + HEAD, stride).unwrap();
                }
            }
            assert_eq!(tally.get(), 3, "pieces of {size}");
        }
        fs::remove_file(&path).unwrap();
    }
}

//! The physical limit: a loop that copies octets from each client to all others and knows nothing of messages.
//!
//! Each turn it reads from whoever has something into one block, then writes that block once to each client with
//! `writev`, leaving out the client's own piece. Who cannot take all of it goes on from where it was, so blocks are kept
//! until the last client has passed; while too much is kept, nothing is read.
//!
//! It answers the handshake and is told the length of a message on the wire, so that pieces of two senders meet at
//! message boundaries without it having to find them.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::time::Duration;

use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::wire;

/// At most so much is read in one turn. More makes larger writes, and the block should still be in the cache when the last
/// client gets it: on a processor with 1 MiB of second-level cache a quarter of this carries 10 to 30 % less.
const TURN: usize = 1024 * 1024;
/// And from one client at least so much, if it has it.
const SHARE: usize = 16 * 1024;
/// More than this is not kept for clients that are behind.
const BACKLOG: usize = 8 * 1024 * 1024;
/// At most so many slices in one `writev`.
const SLICES: usize = 64;

const LISTENER: Token = Token(usize::MAX);

#[derive(Args)]
pub struct Options {
    /// Octets of one message on the wire, headers included
    #[arg(long)]
    piece: usize,
    /// Most octets read in a turn, in KiB
    #[arg(long, default_value_t = TURN / 1024)]
    turn: usize,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("listening on tcp://{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;

    let mut relay = Relay::new(options);
    let mut events = Events::with_capacity(1024);
    loop {
        let timeout = relay.may_read().then_some(Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener, poll.registry())?;
            } else {
                relay.ready(event.token().0, event.is_readable(), event.is_writable());
            }
        }
        relay.read();
        relay.write();
    }
}

struct Relay {
    piece: usize,
    turn: usize,
    /// Never reused: a run of the bench has no second generation of clients.
    clients: Vec<Client>,
    /// How many of them have finished their handshake and not left.
    open: usize,
    /// Clients that may have something to read, in turn.
    readable: VecDeque<usize>,
    /// Clients that can be written and have something to get.
    behind: Vec<usize>,
    blocks: VecDeque<Block>,
    /// Number of the first block kept.
    first: usize,
    /// Octets in the blocks kept.
    kept: usize,
    /// Storage of blocks that are done with.
    spare: Vec<Vec<u8>>,
}

struct Client {
    /// `None` once it has left.
    stream: Option<TcpStream>,
    state: State,
    readable: bool,
    writable: bool,
    /// What was read beyond the last boundary.
    rest: Vec<u8>,
    /// Number of the block to be written next, and octets of it already written, own piece not counted.
    block: usize,
    written: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    /// Its first messages may be probes, which are shorter than a piece.
    Probing,
    Plain,
}

/// What was read in one turn.
struct Block {
    octets: Vec<u8>,
    len: usize,
    /// For each client that there was when it was read: where its own piece begins and ends.
    own: Vec<(usize, usize)>,
    /// Clients that have not got it yet.
    readers: usize,
}

impl Relay {
    fn new(options: &Options) -> Relay {
        Relay {
            piece: options.piece,
            turn: (options.turn * 1024).max(options.piece),
            clients: Vec::new(),
            open: 0,
            readable: VecDeque::new(),
            behind: Vec::new(),
            blocks: VecDeque::new(),
            first: 0,
            kept: 0,
            spare: Vec::new(),
        }
    }

    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            // An empty send buffer takes these few octets.
            stream.write_all(&wire::GREETING)?;
            stream.write_all(wire::READY_ROUTER)?;
            let token = Token(self.clients.len());
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.clients.push(Client {
                stream: Some(stream),
                state: State::Greeting,
                readable: false,
                writable: true,
                rest: Vec::new(),
                block: 0,
                written: 0,
            });
        }
    }

    fn ready(&mut self, index: usize, readable: bool, writable: bool) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if readable && !client.readable {
            client.readable = true;
            self.readable.push_back(index);
        }
        if writable && !client.writable {
            client.writable = true;
            self.behind.push(index);
        }
    }

    fn may_read(&self) -> bool {
        !self.readable.is_empty() && self.kept < BACKLOG
    }

    /// Reads each client that is ready once, as long as the block has room.
    fn read(&mut self) {
        if !self.may_read() {
            return;
        }
        let end = self.first + self.blocks.len();
        let ready = self.readable.len();
        let share = (self.turn / ready).max(SHARE).max(self.piece);
        let mut block = Block {
            octets: self.spare.pop().unwrap_or_else(|| vec![0; self.turn.max(share) + self.piece]),
            len: 0,
            own: vec![(0, 0); self.clients.len()],
            readers: 0,
        };
        for _ in 0..ready {
            if block.len > 0 && block.len + share > block.octets.len() {
                break;
            }
            let Some(index) = self.readable.pop_front() else { break };
            let client = &mut self.clients[index];
            let was = client.state;
            match client.read(index, &mut block, share, self.piece) {
                Ok(true) => self.readable.push_back(index),
                Ok(false) => client.readable = false,
                Err(_) => self.remove(index),
            }
            let client = &mut self.clients[index];
            if was == State::Greeting && client.state != was {
                client.block = end;
                self.open += 1;
            }
        }
        if block.len == 0 || self.open == 0 {
            return self.spare.push(block.octets);
        }
        block.readers = self.open;
        self.kept += block.len;
        self.blocks.push_back(block);
        // Who has older blocks to get is in the list already, or waits until it can be written.
        let up_to_date = |(_, client): &(usize, &Client)| client.is_open() && client.block == end;
        self.behind.extend(self.clients.iter().enumerate().filter(up_to_date).map(|(index, _)| index));
    }

    fn write(&mut self) {
        let mut behind = mem::take(&mut self.behind);
        for index in behind.drain(..) {
            let client = &mut self.clients[index];
            if !client.is_open() {
                continue;
            }
            let before = client.block - self.first;
            let result = client.write(index, self.first, &self.blocks);
            let after = client.block - self.first;
            self.blocks.range_mut(before..after).for_each(|block| block.readers -= 1);
            if result.is_err() {
                self.remove(index);
            }
        }
        self.behind = behind;
        while self.blocks.front().is_some_and(|block| block.readers == 0) {
            if let Some(block) = self.blocks.pop_front() {
                self.first += 1;
                self.kept -= block.len;
                self.spare.push(block.octets);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.is_open() {
            self.blocks.range_mut(client.block - self.first..).for_each(|block| block.readers -= 1);
            self.open -= 1;
        }
        client.stream = None;
    }
}

impl Client {
    fn is_open(&self) -> bool {
        self.stream.is_some() && self.state != State::Greeting
    }

    /// Reads once into the block. Whether there may be more.
    fn read(&mut self, index: usize, block: &mut Block, share: usize, piece: usize) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let start = block.len;
        let room = &mut block.octets[start..];
        let kept = self.rest.len();
        room[..kept].copy_from_slice(&self.rest);
        let end = room.len().min(kept + share);
        let (read, more) = match stream.read(&mut room[kept..end]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => (read, read == end - kept),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, true),
            Err(error) => return Err(error),
        };
        let octets = &room[..kept + read];
        if self.state == State::Greeting {
            let done = handshake_len(octets);
            self.rest = octets[done..].to_vec();
            if done > 0 {
                self.state = State::Probing;
            }
            return Ok(more || done > 0);
        }
        let mut whole = 0;
        while self.state == State::Probing {
            match message_len(&octets[whole..]) {
                Some(len) if len == piece => self.state = State::Plain,
                Some(len) if whole + len <= octets.len() => whole += len,
                _ => break,
            }
        }
        if self.state == State::Plain {
            whole += (octets.len() - whole) / piece * piece;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&octets[whole..]);
        block.own[index] = (start, start + whole);
        block.len += whole;
        Ok(more)
    }

    /// Writes until the client has everything or takes no more.
    fn write(&mut self, index: usize, first: usize, blocks: &VecDeque<Block>) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.writable {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut filled = 0;
            let mut skip = self.written;
            for block in blocks.range(self.block - first..).take(SLICES / 2) {
                let own = block.own.get(index).copied().unwrap_or((0, 0));
                for part in [&block.octets[..own.0], &block.octets[own.1..block.len]] {
                    let left = &part[skip.min(part.len())..];
                    skip -= part.len() - left.len();
                    if !left.is_empty() {
                        slices[filled] = IoSlice::new(left);
                        filled += 1;
                    }
                }
            }
            let offered = slices[..filled].iter().map(|slice| slice.len()).sum();
            let mut sent = match stream.write_vectored(&slices[..filled]) {
                _ if filled == 0 => 0,
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.writable = sent == offered;
            sent += self.written;
            self.written = 0;
            while let Some(block) = blocks.get(self.block - first) {
                let own = block.own.get(index).copied().unwrap_or((0, 0));
                let len = block.len - (own.1 - own.0);
                if sent < len {
                    self.written = sent;
                    break;
                }
                sent -= len;
                self.block += 1;
            }
            if self.block == first + blocks.len() {
                break;
            }
        }
        Ok(())
    }
}

/// The length of greeting and READY, or 0 if they are not complete.
fn handshake_len(octets: &[u8]) -> usize {
    let frame = octets.get(64..).and_then(wire::frame_header);
    let len = frame.map_or(usize::MAX, |(_, header, body)| 64 + header + body);
    if len <= octets.len() { len } else { 0 }
}

/// The length of the message that `octets` begin with, if they have the headers of all its frames.
fn message_len(octets: &[u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        let (flags, header, body) = wire::frame_header(octets.get(len..)?)?;
        len += header + body;
        if flags & 1 == 0 {
            return Some(len);
        }
    }
}

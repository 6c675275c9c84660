//! The clients and the loop that serves them.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::batch::Batch;
use super::check::Check;
use super::laggard::Laggard;
use super::pace::Pace;
use super::{GLANCE, Options, SET_UP};
use crate::tally::Tally;
use crate::{process, wire};

/// Most octets taken by one read. It stays in the second-level cache with the checks that follow.
const READ: usize = 256 * 1024;
/// Clients that are read before the senders are served again.
const READS_PER_WRITE: usize = 8;
/// Octets that all senders together may have in their send buffers. The system may hold as much again.
const SEND_BUFFERS: usize = 16 * 1024 * 1024;
/// The timer of the pace; clients have the tokens from 0 on.
const TIMER: Token = Token(usize::MAX);

pub struct Load {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    readable: Vec<usize>,
    writable: Vec<usize>,
    pub check: Check,
    batch: Batch,
    scratch: Vec<u8>,
    delimiter: bool,
    sending: bool,
    stopped: bool,
    /// Where a sink counts. Without it the server is a relay.
    tally: Option<Tally>,
    pub pace: Option<Pace>,
    laggard: Option<Laggard>,
    /// Open, and that is all.
    _idle: Vec<std::net::TcpStream>,
    /// What had been received at the last look.
    seen: u64,
    /// When something came last, and the longest time since that in which nothing did.
    pub heard: Instant,
    pub silence: Duration,
}

struct Client {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// The part of a message that was read last.
    rest: Vec<u8>,
    /// Octets of the load that were written: a sender's stream is a function of this alone.
    sent: u64,
    /// It may send up to here.
    end: u64,
    /// It is in the list of those that are to write.
    queued: bool,
    /// A probe was heard.
    introduced: bool,
}

impl Load {
    pub fn connect(options: &Options) -> Result<Load, Box<dyn Error>> {
        let address = options.address.to_socket_addrs()?.next().ok_or("no address")?;
        let poll = Poll::new()?;
        let shared_out = (SEND_BUFFERS / options.senders).clamp(64 * 1024, 1024 * 1024);
        let mut clients = Vec::new();
        for index in 0..options.clients {
            let stream = wire::connect(address, SET_UP)?;
            let sndbuf = options.sndbuf.map_or(shared_out, |kib| kib * 1024);
            process::set_buffers(&stream, Some(sndbuf), options.rcvbuf.map(|kib| kib * 1024))?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let rest = Vec::new();
            let client = Client {
                stream,
                readable: false,
                writable: true,
                rest,
                sent: 0,
                end: 0,
                queued: false,
                introduced: false,
            };
            clients.push(client);
        }
        let batch = Batch::new(options.octets, options.delimiter);
        Ok(Load {
            poll,
            events: Events::with_capacity(1024),
            clients,
            readable: Vec::new(),
            writable: Vec::new(),
            check: Check::new(options, batch.stride),
            scratch: vec![0; READ + batch.stride],
            batch,
            delimiter: options.delimiter,
            sending: false,
            stopped: false,
            tally: options.tally.as_deref().map(Tally::open).transpose()?,
            pace: None,
            laggard: options.laggard.map(|kind| Laggard::connect(address, kind)).transpose()?,
            _idle: wire::connect_many(address, options.idle, SET_UP)?,
            seen: 0,
            heard: Instant::now(),
            silence: Duration::ZERO,
        })
    }

    /// Makes every client known to the relay: one on libzmq learns of a client by its first message. Each client sends
    /// one probe, then the first two go on with more until each client has heard one of another.
    pub fn introduce(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
        if self.tally.is_some() {
            return Ok(());
        }
        let probe = wire::probe(0, self.delimiter);
        for client in &mut self.clients {
            // An empty send buffer takes these few octets.
            client.stream.write_all(&probe)?;
        }
        if let Some(laggard) = &mut self.laggard {
            laggard.introduce(&probe)?;
        }
        while !self.clients.iter().all(|client| client.introduced) {
            if Instant::now() > deadline {
                let silent = self.clients.iter().filter(|client| !client.introduced).count();
                return Err(format!("{silent} clients got nothing from the relay").into());
            }
            self.run_until(Instant::now() + Duration::from_millis(20))?;
            let probe = wire::probe(1, self.delimiter);
            for client in &mut self.clients[..2] {
                client.stream.write_all(&probe)?;
            }
        }
        Ok(())
    }

    pub fn start(&mut self, rate: Option<f64>) -> io::Result<()> {
        self.sending = true;
        self.heard = Instant::now();
        let senders = self.check.senders;
        if let Some(rate) = rate {
            self.pace = Some(Pace::start(self.poll.registry(), TIMER, rate, self.clients.len(), senders)?);
            return Ok(());
        }
        for sender in 0..senders {
            self.clients[sender].end = u64::MAX;
            self.queue(sender);
        }
        Ok(())
    }

    /// Lets each sender finish the message that it has begun, and no other.
    pub fn stop(&mut self) {
        let stride = self.batch.stride as u64;
        self.pace = None;
        self.stopped = true;
        for client in &mut self.clients[..self.check.senders] {
            client.end = client.sent.next_multiple_of(stride);
        }
    }

    /// Deliveries so far, or messages that the sink has received.
    pub fn received(&self) -> u64 {
        self.tally.as_ref().map_or(self.check.received, Tally::get)
    }

    /// How many there are to be of what was sent.
    pub fn due(&self) -> u64 {
        let senders = &self.clients[..self.check.senders];
        let sent: u64 = senders.iter().map(|client| client.sent / self.batch.stride as u64).sum();
        if self.tally.is_some() { sent } else { sent * (self.clients.len() as u64 - 1) }
    }

    /// Deliveries of each sender's messages, or what a sink's system has taken.
    pub fn by_sender(&self) -> Vec<u64> {
        if self.tally.is_none() {
            return self.check.by_sender();
        }
        self.clients[..self.check.senders].iter().map(|client| client.sent).collect()
    }

    /// Whether the senders have stopped and everything has arrived.
    pub fn is_done(&self) -> bool {
        let ended = || self.clients[..self.check.senders].iter().all(|client| client.sent == client.end);
        self.stopped && ended() && self.received() + self.check.lost == self.due()
    }

    pub fn run_until(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
        loop {
            let now = Instant::now();
            if now >= deadline || self.is_done() {
                return Ok(());
            }
            let work = !self.readable.is_empty() || (self.sending && !self.writable.is_empty());
            let wake = self.laggard.as_ref().and_then(Laggard::wakes_at).map_or(deadline, |at| at.min(deadline));
            let mut timeout = if work { Duration::ZERO } else { wake.saturating_duration_since(now) };
            if self.tally.is_some() {
                // No event tells that a sink has counted.
                timeout = timeout.min(GLANCE);
            }
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let mut tick = false;
            for event in &self.events {
                if event.token() == TIMER {
                    tick = true;
                    continue;
                }
                let index = event.token().0;
                let client = &mut self.clients[index];
                if event.is_readable() && !client.readable {
                    client.readable = true;
                    self.readable.push(index);
                }
                if event.is_writable() && !client.writable {
                    client.writable = true;
                    if index < self.check.senders && !client.queued {
                        client.queued = true;
                        self.writable.push(index);
                    }
                }
            }
            if tick {
                self.tick();
            }
            if let Some(laggard) = &mut self.laggard {
                laggard.turn(now);
            }
            let before = self.seen;
            self.turn()?;
            self.seen = self.received();
            if self.seen > before {
                self.silence = self.silence.max(now - self.heard);
                self.heard = now;
            }
        }
    }

    /// Lets the senders whose time has come send one message more.
    fn tick(&mut self) {
        let Some(pace) = &mut self.pace else { return };
        for message in pace.due() {
            let sender = pace.sender(message);
            let client = &mut self.clients[sender];
            client.end += self.batch.stride as u64;
            if client.writable && !client.queued {
                client.queued = true;
                self.writable.push(sender);
            }
        }
    }

    fn queue(&mut self, sender: usize) {
        if !std::mem::replace(&mut self.clients[sender].queued, true) {
            self.writable.push(sender);
        }
    }

    /// Reads each client that has something once, and serves the senders in between.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        self.write()?;
        let mut readable = std::mem::take(&mut self.readable);
        for (turn, &index) in readable.iter().enumerate() {
            if turn % READS_PER_WRITE == READS_PER_WRITE - 1 {
                self.write()?;
            }
            self.read(index)?;
        }
        readable.retain(|&index| self.clients[index].readable);
        self.readable = readable;
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        let client = &mut self.clients[index];
        let kept = client.rest.len();
        self.scratch[..kept].copy_from_slice(&client.rest);
        let room = &mut self.scratch[kept..][..READ];
        let read = match client.stream.read(room) {
            Ok(0) => return Err(format!("the server has closed the connection of client {index}").into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error.into()),
        };
        // After a short read the next octet brings an event.
        client.readable = read == READ;
        let octets = &self.scratch[..kept + read];
        let taken = self.check.take(index, octets)?;
        client.rest.clear();
        client.rest.extend_from_slice(&octets[taken..]);
        if self.check.probed {
            self.check.probed = false;
            client.introduced = true;
        }
        if let Some(pace) = &mut self.pace {
            pace.received(index, self.check.next(index));
        }
        Ok(())
    }

    /// One write for each sender that can.
    fn write(&mut self) -> io::Result<()> {
        if !self.sending {
            return Ok(());
        }
        let mut writable = std::mem::take(&mut self.writable);
        for &index in &writable {
            let client = &mut self.clients[index];
            let octets = self.batch.fill(index as u32, client.sent, client.end);
            let sent = match client.stream.write(octets) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            client.writable = sent == octets.len();
            client.sent += sent as u64;
            client.queued = client.writable && client.sent < client.end;
        }
        writable.retain(|&index| self.clients[index].queued);
        self.writable = writable;
        Ok(())
    }
}

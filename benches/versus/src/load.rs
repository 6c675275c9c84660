//! The load generator: raw DEALER clients that speak ZMTP by hand, in one thread.
//!
//! Some of them send as fast as the relay takes it, all of them count and check what they get: from each sender, each
//! client but the sender must get every message once and in order. Anything else ends the run with an error.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::check::Check;
use crate::process;
use crate::wire::{self, HEAD, PADDING};

/// Most octets taken by one read. It stays in the second-level cache with the checks that follow.
const READ: usize = 256 * 1024;
/// Octets offered by one write, or one message.
const WRITE: usize = 32 * 1024;
/// Clients that are read before the senders are served again.
const READS_PER_WRITE: usize = 8;
/// Octets that all senders together may have in their send buffers. The system may hold as much again.
const SEND_BUFFERS: usize = 16 * 1024 * 1024;
/// The clients must all be connected and known to the relay by then.
const SET_UP: Duration = Duration::from_secs(30);

#[derive(Args, Clone)]
pub struct Options {
    /// HOST:PORT of the relay
    pub address: String,
    /// Clients that connect
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// How many of them send
    #[arg(long, default_value_t = 1)]
    pub senders: usize,
    /// Octets of a body, at least 13
    #[arg(long, default_value_t = 64)]
    pub octets: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// Most seconds afterwards to wait for what is still on its way
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Send an empty frame before each body, as Bonsai's Dealer does
    #[arg(long)]
    pub delimiter: bool,
    /// The relay's process, to measure what it uses
    #[arg(long)]
    pub pid: Option<u32>,
    /// Send buffer of a sender in KiB; by default 16 MiB are shared out, 64 KiB to 1 MiB each
    #[arg(long)]
    pub sndbuf: Option<usize>,
    /// Receive buffer of a client in KiB; by default the system sizes it
    #[arg(long)]
    pub rcvbuf: Option<usize>,
}

/// What one run has shown. `Display` and `parse` are the line between the two processes.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub deliveries_per_second: f64,
    pub relay_ns_per_delivery: f64,
    /// Cores that the relay, the generator and everything else kept busy.
    pub relay_cores: f64,
    pub load_cores: f64,
    pub other_cores: f64,
    pub peak_kib: u64,
    /// Deliveries of the sender that got the fewest through, over the mean.
    pub fairness: f64,
    /// Whether everything that was sent had arrived everywhere in the end.
    pub complete: bool,
    /// The longest time in which nobody got anything.
    pub silence_ms: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} {:.3} {:.3} {:.3} {:.3} {} {:.3} {} {:.1}",
            self.deliveries_per_second,
            self.relay_ns_per_delivery,
            self.relay_cores,
            self.load_cores,
            self.other_cores,
            self.peak_kib,
            self.fairness,
            self.complete,
            self.silence_ms
        )
    }
}

impl Figures {
    pub fn parse(line: &str) -> Option<Figures> {
        let mut fields = line.split_whitespace();
        Some(Figures {
            deliveries_per_second: fields.next()?.parse().ok()?,
            relay_ns_per_delivery: fields.next()?.parse().ok()?,
            relay_cores: fields.next()?.parse().ok()?,
            load_cores: fields.next()?.parse().ok()?,
            other_cores: fields.next()?.parse().ok()?,
            peak_kib: fields.next()?.parse().ok()?,
            fairness: fields.next()?.parse().ok()?,
            complete: fields.next()?.parse().ok()?,
            silence_ms: fields.next()?.parse().ok()?,
        })
    }
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.octets <= HEAD || options.senders == 0 || options.senders > options.clients || options.clients < 2 {
        return Err("needs two clients, a sender, no more senders than clients, and 13 octets".into());
    }
    let mut load = Load::connect(options)?;
    load.introduce(Instant::now() + SET_UP)?;

    load.run_until(Instant::now() + Duration::from_secs_f64(options.warm_up))?;
    let before = Sample::take(&load, options.pid)?;
    load.silence = Duration::ZERO;
    load.run_until(before.at + Duration::from_secs_f64(options.seconds))?;
    let after = Sample::take(&load, options.pid)?;
    let silence_ms = load.silence.as_secs_f64() * 1e3;
    load.stop();
    load.run_until(Instant::now() + Duration::from_secs_f64(options.drain))?;

    let peak_kib = options.pid.map_or(Ok(0), process::peak_memory_kib)?;
    println!("{}", Figures { peak_kib, complete: load.is_done(), silence_ms, ..figures(&before, &after) });
    Ok(())
}

/// The state of all clocks and counters at one moment.
struct Sample {
    at: Instant,
    received: u64,
    by_sender: Vec<u64>,
    load: Duration,
    relay: Duration,
    machine: Duration,
}

impl Sample {
    fn take(load: &Load, pid: Option<u32>) -> io::Result<Sample> {
        Ok(Sample {
            at: Instant::now(),
            received: load.check.received,
            by_sender: load.check.by_sender(),
            load: process::cpu_time(None)?,
            relay: if pid.is_some() { process::cpu_time(pid)? } else { Duration::ZERO },
            machine: process::machine_busy()?,
        })
    }
}

fn figures(before: &Sample, after: &Sample) -> Figures {
    let seconds = (after.at - before.at).as_secs_f64();
    let received = (after.received - before.received) as f64;
    let relay = (after.relay - before.relay).as_secs_f64();
    let load = (after.load - before.load).as_secs_f64();
    let machine = after.machine.saturating_sub(before.machine).as_secs_f64();
    let by_sender = || after.by_sender.iter().zip(&before.by_sender).map(|(after, before)| (after - before) as f64);
    let mean = received / after.by_sender.len() as f64;
    Figures {
        deliveries_per_second: received / seconds,
        relay_ns_per_delivery: relay * 1e9 / received,
        relay_cores: relay / seconds,
        load_cores: load / seconds,
        other_cores: (machine - relay - load).max(0.0) / seconds,
        fairness: by_sender().fold(f64::INFINITY, f64::min) / mean,
        ..Figures::default()
    }
}

struct Load {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    readable: Vec<usize>,
    writable: Vec<usize>,
    check: Check,
    batch: Batch,
    scratch: Vec<u8>,
    delimiter: bool,
    sending: bool,
    /// When something came last, and the longest time since that in which nothing did.
    heard: Instant,
    silence: Duration,
}

struct Client {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// The part of a message that was read last.
    rest: Vec<u8>,
    /// Octets of the load that were written: a sender's stream is a function of this alone.
    sent: u64,
    /// Where its stream ends, once it is told to stop.
    end: u64,
    /// A probe was heard.
    introduced: bool,
}

impl Load {
    fn connect(options: &Options) -> Result<Load, Box<dyn Error>> {
        let address = options.address.to_socket_addrs()?.next().ok_or("no address")?;
        let poll = Poll::new()?;
        let shared_out = (SEND_BUFFERS / options.senders).clamp(64 * 1024, 1024 * 1024);
        let mut clients = Vec::new();
        for index in 0..options.clients {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SET_UP))?;
            wire::shake_hands(&mut stream)?;
            let sndbuf = options.sndbuf.map_or(shared_out, |kib| kib * 1024);
            process::set_buffers(&stream, Some(sndbuf), options.rcvbuf.map(|kib| kib * 1024))?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let client = Client {
                stream,
                readable: false,
                writable: true,
                rest: Vec::new(),
                sent: 0,
                end: u64::MAX,
                introduced: false,
            };
            clients.push(client);
        }
        let batch = Batch::new(options);
        Ok(Load {
            poll,
            events: Events::with_capacity(1024),
            clients,
            readable: Vec::new(),
            writable: (0..options.senders).collect(),
            check: Check::new(options, batch.stride),
            scratch: vec![0; READ + batch.stride],
            batch,
            delimiter: options.delimiter,
            sending: false,
            heard: Instant::now(),
            silence: Duration::ZERO,
        })
    }

    /// Makes every client known to the relay: one on libzmq learns of a client by its first message. Each client sends
    /// one probe, then the first two go on with more until each client has heard one of another.
    fn introduce(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
        let probe = wire::probe(0, self.delimiter);
        for client in &mut self.clients {
            // An empty send buffer takes these few octets.
            client.stream.write_all(&probe)?;
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
        self.sending = true;
        Ok(())
    }

    /// Lets each sender finish the message that it has begun, and no other.
    fn stop(&mut self) {
        let stride = self.batch.stride as u64;
        for client in &mut self.clients[..self.check.senders] {
            client.end = client.sent.next_multiple_of(stride);
        }
    }

    /// Whether the senders have stopped and everything has arrived.
    fn is_done(&self) -> bool {
        let senders = &self.clients[..self.check.senders];
        let ended = senders.iter().all(|client| client.sent == client.end);
        let sent: u64 = senders.iter().map(|client| client.sent / self.batch.stride as u64).sum();
        ended && self.check.received == sent * (self.clients.len() as u64 - 1)
    }

    fn run_until(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
        loop {
            let now = Instant::now();
            if now >= deadline || self.is_done() {
                return Ok(());
            }
            let work = !self.readable.is_empty() || (self.sending && !self.writable.is_empty());
            let timeout = if work { Duration::ZERO } else { deadline - now };
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &self.events {
                let index = event.token().0;
                let client = &mut self.clients[index];
                if event.is_readable() && !client.readable {
                    client.readable = true;
                    self.readable.push(index);
                }
                if event.is_writable() && !client.writable {
                    client.writable = true;
                    if index < self.check.senders {
                        self.writable.push(index);
                    }
                }
            }
            let before = self.check.received;
            self.turn()?;
            if self.check.received > before {
                self.silence = self.silence.max(now - self.heard);
                self.heard = now;
            }
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
            Ok(0) => return Err(format!("the relay has closed the connection of client {index}").into()),
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
            client.writable = !octets.is_empty() && sent == octets.len();
            client.sent += sent as u64;
        }
        writable.retain(|&index| self.clients[index].writable);
        self.writable = writable;
        Ok(())
    }
}

/// The octets that a sender offers next, made anew for each write in one place that stays in the cache.
pub struct Batch {
    octets: Vec<u8>,
    pub stride: usize,
    head: usize,
}

impl Batch {
    pub fn new(options: &Options) -> Batch {
        let mut message = wire::envelope(options.octets, options.delimiter);
        let head = message.len();
        message.resize(head + options.octets, PADDING);
        let stride = message.len();
        // One more message for what an earlier write left of the first.
        Batch { octets: message.repeat((WRITE / stride).max(1) + 1), stride, head }
    }

    /// The stream of a sender from octet `sent` on, up to `end` at most.
    pub fn fill(&mut self, sender: u32, sent: u64, end: u64) -> &[u8] {
        let first = sent / self.stride as u64;
        for (i, message) in self.octets.chunks_exact_mut(self.stride).enumerate() {
            let body = &mut message[self.head..][..HEAD];
            body[..4].copy_from_slice(&sender.to_le_bytes());
            body[4..].copy_from_slice(&(first + i as u64).to_le_bytes());
        }
        let begun = (sent % self.stride as u64) as usize;
        let left = usize::try_from(end - sent).unwrap_or(usize::MAX);
        let len = (self.octets.len() - begun).min(left);
        &self.octets[begun..begun + len]
    }
}

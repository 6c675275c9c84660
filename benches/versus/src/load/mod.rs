//! The load generator: raw DEALER clients that speak ZMTP by hand, in one thread.
//!
//! Some of them send, as fast as the server takes it or at a fixed rate. A relay passes it on: all of them count and check
//! what they get. From each sender, each client but the sender must get every message once and in order. A sink
//! counts and checks itself. Anything wrong ends the run with an error.

mod batch;
mod check;
mod laggard;
mod pace;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use self::batch::Batch;
use self::check::Check;
pub use self::laggard::Kind as LaggardKind;
use self::laggard::Laggard;
use self::pace::Pace;
use crate::figures::{Processes, Sample};
use crate::process;
use crate::tally::Tally;
use crate::wire::{self, HEAD};

/// Most octets taken by one read. It stays in the second-level cache with the checks that follow.
const READ: usize = 256 * 1024;
/// Clients that are read before the senders are served again.
const READS_PER_WRITE: usize = 8;
/// Octets that all senders together may have in their send buffers. The system may hold as much again.
const SEND_BUFFERS: usize = 16 * 1024 * 1024;
/// The clients must all be connected and known to the relay by then.
const SET_UP: Duration = Duration::from_secs(30);
/// How often a sink's count is looked at when there is nothing else to do.
const GLANCE: Duration = Duration::from_millis(1);
/// The timer of the pace; clients have the tokens from 0 on.
const TIMER: Token = Token(usize::MAX);

#[derive(Args, Clone)]
pub struct Options {
    /// HOST:PORT of the server
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
    /// The warm-up lasts until each client has got so much, however long that takes
    #[arg(long, default_value_t = 0)]
    pub warm_up_octets: u64,
    /// Most seconds afterwards to wait for what is still on its way
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Send an empty frame before each body, as Bonsai's Dealer does
    #[arg(long)]
    pub delimiter: bool,
    /// The server's process, to measure what it uses
    #[arg(long)]
    pub pid: Option<u32>,
    /// The server is a sink, which counts in this file what it receives and passes nothing on
    #[arg(long)]
    pub tally: Option<PathBuf>,
    /// Messages per second of all senders together; by default as many as the server takes
    #[arg(long)]
    pub rate: Option<f64>,
    /// More clients, which connect and then do nothing
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// One more client, which does not read
    #[arg(long, value_enum)]
    pub laggard: Option<LaggardKind>,
    /// The server may drop messages; they are counted
    #[arg(long)]
    pub lossy: bool,
    /// Send buffer of a sender in KiB; by default 16 MiB are shared out, 64 KiB to 1 MiB each
    #[arg(long)]
    pub sndbuf: Option<usize>,
    /// Receive buffer of a client in KiB; by default the system sizes it
    #[arg(long)]
    pub rcvbuf: Option<usize>,
}

impl Options {
    fn check(&self) -> Result<(), &'static str> {
        if self.octets <= HEAD {
            return Err("needs 13 octets");
        }
        if self.senders == 0 || self.senders > self.clients {
            return Err("needs a sender, and no more senders than clients");
        }
        if self.tally.is_none() && self.clients < 2 {
            return Err("needs two clients");
        }
        Ok(())
    }
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.check()?;
    let mut load = Load::connect(options)?;
    load.introduce(Instant::now() + SET_UP)?;
    load.start(options.rate)?;

    load.run_until(Instant::now() + Duration::from_secs_f64(options.warm_up))?;
    let enough = options.warm_up_octets / options.octets as u64 * options.clients as u64;
    while load.received() < enough {
        load.run_until(Instant::now() + GLANCE)?;
    }
    let processes = Processes { server: options.pid, load: None };
    let before = Sample::take(load.received(), processes)?;
    let sent_before = load.by_sender();
    let lost_before = load.check.lost;
    load.silence = Duration::ZERO;
    load.pace.iter_mut().for_each(Pace::record);
    load.run_until(before.at + Duration::from_secs_f64(options.seconds))?;

    let mut figures = before.until(&Sample::take(load.received(), processes)?);
    let silence = load.silence.max(load.heard.elapsed());
    figures.set("silence_ms", silence.as_secs_f64() * 1e3);
    figures.set("fairness", fairness(&sent_before, &load.by_sender()));
    if options.lossy {
        let lost = (load.check.lost - lost_before) as f64;
        let delivered = figures.get("events_per_s") * options.seconds;
        figures.set("lost", lost / (lost + delivered));
    }
    if let Some(pace) = &mut load.pace {
        let (latencies, late) = pace.take();
        figures.set_latencies(latencies);
        figures.set("late_us", late.as_secs_f64() * 1e6);
    }

    load.stop();
    load.run_until(Instant::now() + Duration::from_secs_f64(options.drain))?;
    figures.set("complete", f64::from(u8::from(load.is_done())));
    if options.tally.is_some() && !load.is_done() {
        return Err(format!("{} of {} messages never arrived", load.due() - load.received(), load.due()).into());
    }
    if let Some(pid) = options.pid {
        figures.set("peak_kib", process::memory_kib(pid, "VmHWM")? as f64);
    }
    println!("{figures}");
    Ok(())
}

/// The fewest over the mean.
fn fairness(before: &[u64], after: &[u64]) -> f64 {
    let by_sender = || after.iter().zip(before).map(|(after, before)| (after - before) as f64);
    by_sender().fold(f64::INFINITY, f64::min) * after.len() as f64 / by_sender().sum::<f64>()
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
    stopped: bool,
    /// Where a sink counts. Without it the server is a relay.
    tally: Option<Tally>,
    pace: Option<Pace>,
    laggard: Option<Laggard>,
    /// Open, and that is all.
    _idle: Vec<std::net::TcpStream>,
    /// What had been received at the last look.
    seen: u64,
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
    /// It may send up to here.
    end: u64,
    /// It is in the list of those that are to write.
    queued: bool,
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
            _idle: (0..options.idle).map(|_| wire::connect(address, SET_UP)).collect::<io::Result<_>>()?,
            seen: 0,
            heard: Instant::now(),
            silence: Duration::ZERO,
        })
    }

    /// Makes every client known to the relay: one on libzmq learns of a client by its first message. Each client sends
    /// one probe, then the first two go on with more until each client has heard one of another.
    fn introduce(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
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

    fn start(&mut self, rate: Option<f64>) -> io::Result<()> {
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
    fn stop(&mut self) {
        let stride = self.batch.stride as u64;
        self.pace = None;
        self.stopped = true;
        for client in &mut self.clients[..self.check.senders] {
            client.end = client.sent.next_multiple_of(stride);
        }
    }

    /// Deliveries so far, or messages that the sink has received.
    fn received(&self) -> u64 {
        self.tally.as_ref().map_or(self.check.received, Tally::get)
    }

    /// How many there are to be of what was sent.
    fn due(&self) -> u64 {
        let senders = &self.clients[..self.check.senders];
        let sent: u64 = senders.iter().map(|client| client.sent / self.batch.stride as u64).sum();
        if self.tally.is_some() { sent } else { sent * (self.clients.len() as u64 - 1) }
    }

    /// Deliveries of each sender's messages, or what a sink's system has taken.
    fn by_sender(&self) -> Vec<u64> {
        if self.tally.is_none() {
            return self.check.by_sender();
        }
        self.clients[..self.check.senders].iter().map(|client| client.sent).collect()
    }

    /// Whether the senders have stopped and everything has arrived.
    fn is_done(&self) -> bool {
        let ended = || self.clients[..self.check.senders].iter().all(|client| client.sent == client.end);
        self.stopped && ended() && self.received() + self.check.lost == self.due()
    }

    fn run_until(&mut self, deadline: Instant) -> Result<(), Box<dyn Error>> {
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

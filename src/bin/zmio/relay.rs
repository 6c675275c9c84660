//! `zmio relay`: runs the relay until it is told to stop.

use std::fmt::Write;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use mio::{Events, Poll, Token, Waker};
use zmio::conn::PingWhom;
use zmio::net::Endpoint;
use zmio::socket::{Counts, Duplicates};
use zmio::{Heartbeat, Limits, Options, RelayEvent, RelayOptions, Slow};

use crate::hub::{Hub, sooner};
use crate::output::Output;
use crate::values::{octets, seconds};
use crate::{Failure, signals};

/// The waker has this token; all others are the engine's.
const STOP: Token = Token(0);
/// How long clients may take to read what is still queued for them, or on its way to them, when the relay stops.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen, as tcp://HOST:PORT; may be given more than once. HOST is a name, an address or *; port 0 takes any free one
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:5557")]
    bind: Vec<Endpoint>,
    /// What happens when a client does not read fast enough and its queue is full
    #[arg(long, value_enum, default_value_t = SlowArgument::Drop)]
    slow: SlowArgument,
    /// With --slow wait: how long a client may stay full, and hold up the others, before it is disconnected [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    patience: Option<Duration>,
    /// How much may be queued for one client, as in 65536, 64KiB or 16MiB
    #[arg(long, value_name = "OCTETS", value_parser = octets, default_value = "16MiB")]
    hwm: u64,
    /// Ping clients that know PINGs (ZMTP 3.1) so often, and disconnect those that then say nothing for as long [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    heartbeat: Option<Duration>,
    /// With --heartbeat: ping those that announce ZMTP 3.0 too. NetMQ and JeroMQ answer; a few others may break
    #[arg(long, requires = "heartbeat")]
    ping_all: bool,
    /// A client with the identity of a connected one takes its place, instead of being refused
    #[arg(long)]
    handover: bool,
    /// The largest message that a client may send, all its frames together
    #[arg(long, value_name = "OCTETS", value_parser = octets, default_value = "64MiB")]
    max_message: u64,
    /// The most clients of one IP address (IPv6: of one /64 network); those beyond are refused
    #[arg(long, value_name = "CLIENTS", default_value = "4096")]
    max_per_address: NonZeroUsize,
    /// Print the counters of each client so often [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    stats: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SlowArgument {
    /// It loses that message; nobody else notices
    Drop,
    /// Nothing is lost: the senders wait for it
    Wait,
    /// It is disconnected
    Disconnect,
}

impl Arguments {
    /// What clap cannot say by itself, as one line.
    fn options(&self) -> Result<(RelayOptions, Options), Failure> {
        let slow = match (self.slow, self.patience) {
            (SlowArgument::Wait, patience) => Slow::Wait { patience: patience.unwrap_or(Duration::from_secs(10)) },
            (_, Some(_)) => return Err(Failure::Usage("--patience is only for --slow wait".into())),
            (SlowArgument::Drop, None) => Slow::Drop,
            (SlowArgument::Disconnect, None) => Slow::Disconnect,
        };
        let relay = RelayOptions::new().slow(slow).mark_octets(self.hwm);
        let mut limits = Limits::default();
        limits.message_octets = self.max_message;
        let mut options = Options::new().limits(limits).max_per_address(Some(self.max_per_address.get()));
        if let Some(interval) = self.heartbeat {
            let whom = if self.ping_all { PingWhom::All } else { PingWhom::Capable };
            options = options.heartbeat(Heartbeat::every(interval).whom(whom));
        }
        if self.handover {
            options = options.duplicates(Duplicates::Handover);
        }
        Ok((relay, options))
    }
}

/// Runs until Ctrl-C or SIGTERM; a second one does not wait for the clients to read what is queued.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (relay, options) = arguments.options()?;
    let poll = Poll::new().map_err(|error| Failure::Run(format!("cannot poll: {error}")))?;
    let asked = stop_on_signals(&poll)?;
    let mut hub = Hub::new(poll.registry(), 1..usize::MAX, relay, options)
        .map_err(|error| Failure::Run(format!("cannot start: {error}")))?;
    let mut listening = Vec::new();
    for endpoint in &arguments.bind {
        let bound = hub.engine.bind(endpoint).map_err(|error| Failure::Run(error.to_string()))?;
        listening.push(format!("listening on {bound}"));
    }
    let mut output = Output::start().map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))?;
    output.print(&listening.join("\n"));

    let stats = Stats::new(arguments.stats);
    let mut running = Running { hub, output, started: Instant::now(), joined: 0, unsent: 0, stats };
    running.until_stopped(poll, &asked)?;
    let summary = running.summary();
    running.output.finish(&summary);
    Ok(())
}

/// Counts the signals that ask us to end, and wakes the poll at each.
fn stop_on_signals(poll: &Poll) -> Result<Arc<AtomicU32>, Failure> {
    let waker = Waker::new(poll.registry(), STOP).map_err(|error| Failure::Run(format!("cannot poll: {error}")))?;
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    signals::on_each(move || {
        counter.fetch_add(1, Ordering::Release);
        // Fails only when the poll is gone, and then there is nothing left to stop.
        let _ = waker.wake();
    })?;
    Ok(asked)
}

/// A relay at work.
struct Running {
    hub: Hub,
    output: Output,
    started: Instant,
    joined: u64,
    unsent: u64,
    stats: Stats,
}

impl Running {
    fn until_stopped(&mut self, mut poll: Poll, asked: &AtomicU32) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        let mut obeyed = 0;
        while !self.hub.engine.is_closed() {
            let timeout = sooner(self.hub.timeout(), self.stats.timeout());
            match poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                Err(error) => return Err(Failure::Run(format!("cannot poll: {error}"))),
            }
            let asked = asked.load(Ordering::Acquire);
            if asked > obeyed {
                obeyed = asked;
                self.hub.engine.close(Some(if asked > 1 { Duration::ZERO } else { LINGER }));
            }
            self.hub.turn(&events);
            self.tell_events();
            if self.stats.are_due() {
                let report = report(&self.hub);
                self.output.print(&report);
            }
        }
        // The last connection may have ended while it was written to, and there may be more than the relay takes at once. Only
        // the last event says what was given up.
        while self.hub.engine.socket().has_events() {
            self.hub.drive();
            self.tell_events();
        }
        Ok(())
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.hub.poll_event() {
            self.tell(&event);
        }
    }

    /// One line for each client that comes, goes or is turned away.
    fn tell(&mut self, event: &RelayEvent) {
        let line = match event {
            RelayEvent::Joined { info, .. } => {
                self.joined += 1;
                format!("joined \"{}\" from {}", info.identity, info.address)
            }
            RelayEvent::Left(gone) => {
                format!("left \"{}\" at {}: {} ({})", gone.identity, gone.address, gone.cause, counters(gone.counts))
            }
            RelayEvent::Rejected(rejected) => format!("rejected {}: {}", rejected.address, rejected.cause),
            RelayEvent::AcceptFailed { reason } => format!("cannot accept clients for now: {reason}"),
            RelayEvent::AddressFull { address, allowed } => {
                format!("refused {address}: no more than {allowed} clients of one address")
            }
            RelayEvent::Closed { unsent } => {
                self.unsent = *unsent;
                return;
            }
            _ => return,
        };
        self.output.note(&line);
    }

    fn summary(&self) -> String {
        let counts = self.hub.engine.socket().totals();
        format!(
            "stopped after {:.1} s: {} clients, {}, {} given up",
            self.started.elapsed().as_secs_f64(),
            self.joined,
            counters(counts),
            self.unsent
        )
    }
}

/// When the counters are due next.
struct Stats {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Stats {
    fn new(every: Option<Duration>) -> Self {
        Self { every, next: every.map(|every| Instant::now() + every) }
    }

    fn timeout(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }

    fn are_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = self.every.map(|every| now + every);
        }
        due
    }
}

/// The counters of all clients, a line each.
fn report(hub: &Hub) -> String {
    let mut text = String::new();
    let socket = hub.engine.socket();
    for (peer, counts) in hub.relay.clients(socket) {
        let Some(view) = socket.peer(peer) else { continue };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "stats \"{}\" at {}: {}", view.identity(), view.address(), counters(counts));
    }
    let _ = write!(text, "stats of all: {}", counters(socket.totals()));
    text
}

fn counters(counts: Counts) -> String {
    let Counts { received, sent, dropped, queued, .. } = counts;
    let messages = if received == 1 { "message" } else { "messages" };
    format!("{received} {messages} in, {sent} out, {dropped} dropped, {queued} queued")
}

#[cfg(test)]
mod tests {
    use zmio::net::HandleOptions;
    use zmio::{Dealer, Message};

    use super::*;

    /// One more turn, of which the relay does not hear.
    fn turn(poll: &mut Poll, hub: &mut Hub) {
        let mut events = Events::with_capacity(16);
        poll.poll(&mut events, hub.timeout()).unwrap();
        hub.engine.process(&events);
        hub.engine.flush();
    }

    #[test]
    fn what_is_only_known_when_the_last_connection_is_gone_is_in_the_summary() {
        let mut poll = Poll::new().unwrap();
        let mut hub = Hub::new(poll.registry(), 1..100, RelayOptions::new(), Options::new()).unwrap();
        let endpoint = hub.engine.bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
        let client = Dealer::open(HandleOptions::new()).unwrap();
        client.dial(&endpoint.to_string()).unwrap();
        let peer = loop {
            if let Some(peer) = hub.engine.socket().peers().next() {
                break peer;
            }
            turn(&mut poll, &mut hub);
        };
        hub.engine.socket_mut().send(peer, Message::from("never sent")).unwrap();
        hub.engine.close(Some(Duration::ZERO));
        while !hub.engine.is_closed() {
            turn(&mut poll, &mut hub);
        }

        let (output, stats) = (Output::start().unwrap(), Stats::new(None));
        let mut running = Running { hub, output, started: Instant::now(), joined: 0, unsent: 0, stats };
        running.until_stopped(poll, &AtomicU32::new(0)).map_err(|_| "it fails").unwrap();
        let summary = running.summary();
        assert!(summary.contains(": 1 clients") && summary.ends_with(", 1 given up"), "{summary}");
    }
}

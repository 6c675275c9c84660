//! The relay under test, with the ledger, in a process of its own, so that its memory and its descriptors are nobody else's.
//!
//! It is this program again. It takes orders from standard input and reports on standard output, a line each: a word and
//! numbers.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{ErrorKind, stdin};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use zmio::net::TcpOptions;
use zmio::socket::Router;
use zmio::{Engine, Heartbeat, Limits, Options, Relay, RelayEvent, RelayOptions, Socket};

use crate::ledger::Ledger;
use crate::report::{PATIENCE, descriptors, numbers, resident};

/// What may be queued for a client. Little, so that those who stall do lose something.
const MARK: u64 = 256 << 10;

/// What all of them together may hold back; sometimes they do.
const BROADCAST: u64 = 4 << 20;

/// The largest message that is let through. Garbage announces more.
pub(crate) const MESSAGE: u64 = 1 << 20;

/// Long enough for a loaded machine: nobody who means well is to be cut off.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

enum Order {
    /// Wait until each of these has been heard out and all is written, then hand in the accounts.
    Settle(HashMap<u32, u64>),
    /// Wait until nobody is there, and end.
    End,
}

/// Runs a relay until it is told to end, and everybody is gone.
pub(crate) fn run(seed: u64) {
    let poll = Poll::new().expect("a poll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    let mut limits = Limits::default();
    limits.message_octets = MESSAGE;
    // Nobody stalls for as long as this timeout.
    let heartbeat = Heartbeat::every(Duration::from_secs(1)).timeout(Duration::from_secs(60));
    let options = Options::new().limits(limits).heartbeat(heartbeat);
    let options = options.handshake_timeout(HANDSHAKE).broadcast_octets(Some(BROADCAST));
    let relay = RelayOptions::new().mark_octets(MARK);
    let socket = Socket::router(relay.apply(options), seed);
    let mut engine = Engine::new(poll.registry(), 1..usize::MAX, socket, TcpOptions::new()).expect("an engine");
    let endpoint = engine.bind(&"tcp://127.0.0.1:0".parse().expect("an endpoint")).expect("a free port");
    println!("{endpoint}");

    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let order = match line.split_once(' ') {
                Some((_, rest)) => Order::Settle(pairs(rest).into_iter().collect()),
                None => Order::End,
            };
            if sender.send(order).is_err() || waker.wake().is_err() {
                break;
            }
        }
        // Who started it is gone.
        std::process::exit(1);
    });
    let ledger = Ledger::default();
    let running =
        Running { engine, relay: Relay::new(relay), ledger, joined: 0, rejected: 0, descriptors: descriptors() };
    running.until_ended(poll, &orders);
}

/// Numbers, two by two.
fn pairs(line: &str) -> Vec<(u32, u64)> {
    let numbers: Vec<u64> = numbers(line).collect();
    numbers.chunks_exact(2).map(|pair| (pair[0] as u32, pair[1])).collect()
}

struct Running {
    engine: Engine<Router>,
    relay: Relay,
    ledger: Ledger,
    joined: u64,
    rejected: u64,
    /// Before the first client.
    descriptors: usize,
}

impl Running {
    fn until_ended(mut self, mut poll: Poll, orders: &Receiver<Order>) {
        let mut events = Events::with_capacity(1024);
        // The order that is not carried out yet, and until when it has time.
        let mut order = None;
        loop {
            let patience = self.relay.poll_timeout(self.engine.socket());
            let patience = patience.map(|at| at.saturating_duration_since(self.engine.now()));
            let look = order.is_some().then_some(Duration::from_millis(10));
            match poll.poll(&mut events, [self.engine.timeout(), patience, look].into_iter().flatten().min()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("a poll that works"),
            }
            self.turn(&events);
            if let Ok(new) = orders.try_recv() {
                order = Some((new, Instant::now() + PATIENCE));
            }
            match &order {
                Some((Order::Settle(written), deadline)) => {
                    let in_time = self.ledger.is_settled(self.engine.socket(), written);
                    if in_time || *deadline <= Instant::now() {
                        self.settle(in_time);
                        order = None;
                    }
                }
                Some((Order::End, deadline)) => {
                    let is_over = self.ledger.is_empty() && descriptors() == self.descriptors;
                    if is_over || *deadline <= Instant::now() {
                        return self.summarize();
                    }
                }
                None => {}
            }
        }
    }

    fn turn(&mut self, events: &Events) {
        self.engine.process(events);
        self.ledger.before(self.engine.socket());
        self.relay.drive(self.engine.now(), self.engine.socket_mut());
        let happened: Vec<_> = std::iter::from_fn(|| self.relay.poll_event()).collect();
        for event in &happened {
            match event {
                RelayEvent::Joined { .. } => self.joined += 1,
                RelayEvent::Rejected(_) => self.rejected += 1,
                _ => {}
            }
        }
        for account in self.ledger.after(self.engine.socket(), &happened) {
            println!("account {}", account.to_line());
        }
        self.engine.flush();
    }

    fn settle(&mut self, in_time: bool) {
        let mut line = format!("settled {} {}", u8::from(in_time), resident());
        for account in self.ledger.settle(self.engine.socket()) {
            println!("account {}", account.to_line());
            // Writing into a String cannot fail.
            let _ = write!(line, " {} {}", account.client, account.sent);
        }
        println!("{line}");
    }

    fn summarize(&self) {
        let socket = self.engine.socket();
        let totals = socket.totals();
        println!(
            "ended {} {} {} {} {} {} {} {} {}",
            self.joined,
            self.rejected,
            self.ledger.relayed,
            totals.received,
            totals.sent,
            totals.dropped,
            socket.peers().len(),
            self.descriptors,
            descriptors()
        );
    }
}

//! `zmio demo`: a relay and three clients over TCP, in one thread and one poll.
//!
//! Each client moves once, framed as Bonsai's Dealer does: an empty frame, then the payload. At the end the relay is
//! closed: once a client sees the end of its connection it has received all that was ever sent to it. Only then is
//! it judged who received what, so that a doubled or echoed message is found as surely as a missing one.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use zmio::net::TcpOptions;
use zmio::socket::Dealer;
use zmio::{Endpoint, Engine, Event, Identity, Message, Options, RelayEvent, RelayOptions, Socket};

use crate::Failure;
use crate::hub::{Hub, seed, sooner};
use crate::output::Output;

/// Who takes part, and the payload of each one's move.
const PLAYERS: [(&str, &str); 3] =
    [("red", "red moves to 1,4"), ("green", "green moves to 2,5"), ("blue", "blue moves to 3,6")];
/// It takes milliseconds; a machine that needs longer than this has another problem.
const DEADLINE: Duration = Duration::from_secs(8);
/// Tokens for each of the four engines in the poll.
const TOKENS: usize = 1 << 10;

/// Runs the demonstration. Fails if anybody missed a move, got one twice or got its own.
pub(crate) fn run() -> Result<(), Failure> {
    let mut output = Output::start().map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))?;
    let verdict = play(&mut output);
    output.finish(match verdict {
        Ok(()) => "each move reached the two other clients once, and never the one that sent it",
        Err(_) => "the demonstration failed",
    });
    verdict
}

fn play(output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(output).map_err(|error| Failure::Run(format!("cannot start: {error}")))?;
    let any_port: Endpoint = "tcp://127.0.0.1:0".parse().map_err(|error| Failure::Run(format!("{error}")))?;
    let endpoint = table.hub.engine.bind(&any_port).map_err(|error| Failure::Run(error.to_string()))?;
    table.output.print(&format!("relay  listens on {endpoint}"));
    for client in &mut table.clients {
        client.engine.connect(&endpoint).map_err(|error| Failure::Run(error.to_string()))?;
    }
    table.until("all three have joined", |table| table.joined == PLAYERS.len())?;

    for turn in 0..PLAYERS.len() {
        table.move_of(turn)?;
        // In turn only so that the output reads well; the relay does not need it.
        table.until("the two others have seen the move", |table| {
            table.clients.iter().enumerate().all(|(who, client)| client.received.len() >= expected(who, turn + 1).len())
        })?;
    }

    table.hub.engine.close(Some(DEADLINE));
    table.until("all three have been disconnected", |table| table.clients.iter().all(|client| client.left))?;
    table.judge()
}

/// What client `who` has to receive of the first `moves` moves: all but its own, in order.
fn expected(who: usize, moves: usize) -> Vec<Message> {
    (0..moves).filter(|&sender| sender != who).map(message).collect()
}

/// The move of client `sender`, in Bonsai's framing.
fn message(sender: usize) -> Message {
    Message::multipart(["", PLAYERS[sender].1])
}

/// A relay, three clients and the poll that they share.
struct Table<'a> {
    output: &'a mut Output,
    poll: Poll,
    events: Events,
    hub: Hub,
    joined: usize,
    clients: Vec<Client>,
    deadline: Instant,
}

/// One DEALER and what it has seen.
struct Client {
    name: &'static str,
    engine: Engine<Dealer>,
    received: Vec<Message>,
    left: bool,
}

impl<'a> Table<'a> {
    fn new(output: &'a mut Output) -> io::Result<Self> {
        let poll = Poll::new()?;
        let hub = Hub::new(poll.registry(), 0..TOKENS, RelayOptions::new(), Options::new())?;
        let mut clients = Vec::new();
        for (number, (name, _)) in (1..).zip(PLAYERS) {
            let identity = Identity::new(name).map_err(io::Error::other)?;
            let socket = Socket::dealer(Options::new().identity(identity), seed());
            let tokens = number * TOKENS..(number + 1) * TOKENS;
            let engine = Engine::new(poll.registry(), tokens, socket, TcpOptions::new())?;
            clients.push(Client { name, engine, received: Vec::new(), left: false });
        }
        let deadline = Instant::now() + DEADLINE;
        Ok(Self { output, poll, events: Events::with_capacity(64), hub, joined: 0, clients, deadline })
    }

    fn move_of(&mut self, turn: usize) -> Result<(), Failure> {
        let client = &mut self.clients[turn];
        let message = message(turn);
        self.output.print(&line(client.name, "sends", &message));
        client.engine.socket_mut().send(message).map_err(|error| Failure::Run(format!("{}: {error}", client.name)))?;
        client.engine.flush();
        Ok(())
    }

    /// Turns the loop until `reached`, or fails at the deadline.
    fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        while !reached(self) {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen: Vec<_> =
                    self.clients.iter().map(|c| format!("{} received {}", c.name, c.received.len())).collect();
                return Err(Failure::Run(format!("waited in vain until {what} ({})", seen.join(", "))));
            }
            let timeouts = self.clients.iter().map(|client| client.engine.timeout());
            let timeout = timeouts.fold(sooner(self.hub.timeout(), Some(left)), sooner);
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Failure::Run(format!("cannot poll: {error}")));
                }
                _ => {}
            }
            self.turn();
        }
        Ok(())
    }

    /// One turn of all four: each takes the events with its own tokens.
    fn turn(&mut self) {
        self.hub.turn(&self.events);
        while let Some(event) = self.hub.poll_event() {
            if let RelayEvent::Joined { info, .. } = event {
                self.joined += 1;
                self.output.print(&format!("relay  sees {} join from {}", info.identity, info.address));
            }
        }
        for client in &mut self.clients {
            client.engine.process(&self.events);
            while let Some(event) = client.engine.poll_event() {
                match event {
                    Event::Message { message, .. } => {
                        self.output.print(&line(client.name, "receives", &message));
                        client.received.push(message);
                    }
                    Event::Disconnected(_) => client.left = true,
                    _ => {}
                }
            }
            client.engine.flush();
        }
    }

    fn judge(&self) -> Result<(), Failure> {
        for (who, client) in self.clients.iter().enumerate() {
            let expected = expected(who, PLAYERS.len());
            if client.received != expected {
                return Err(Failure::Run(format!(
                    "{} received {:?} instead of {expected:?}",
                    client.name, client.received
                )));
            }
        }
        Ok(())
    }
}

fn line(name: &str, does: &str, message: &Message) -> String {
    let frames: Vec<_> = message.frames().map(|frame| format!("\"{}\"", frame.escape_ascii())).collect();
    format!("{name:<6} {does:<8} [{}]", frames.join(", "))
}

//! Clients that are DEALERs of ours, each on an engine of its own, all in one poll.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use zmio::net::TcpOptions;
use zmio::socket::Dealer;
use zmio::{Endpoint, Engine, Event, Identity, Message, Options, Socket};

use crate::crew::{Common, Crew, Member, Rates};
use crate::dice::Dice;
use crate::report::{Ending, count};
use crate::tally::{LEAST, payload};

/// The tokens of one engine; it needs one.
const TOKENS: usize = 4;

pub(crate) struct Engines {
    common: Common,
    dice: Dice,
    rates: Rates,
    endpoint: Endpoint,
    poll: Poll,
    events: Events,
    /// By place: those who leave are replaced.
    clients: Vec<Option<Client>>,
}

struct Client {
    engine: Engine<Dealer>,
    member: Member,
    connected: bool,
    stalled: Option<Instant>,
    leaving: bool,
}

impl Engines {
    pub(crate) fn new(common: Common, seed: u64, endpoint: Endpoint, wanted: usize, rates: Rates) -> Self {
        Self {
            common,
            dice: Dice::new(seed),
            rates,
            endpoint,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(256),
            clients: (0..wanted).map(|_| None).collect(),
        }
    }

    fn join(&mut self, place: usize) {
        count(&self.common.deeds.joins);
        let member = self.common.member();
        let identity = Identity::new(member.number.to_string()).expect("a legal one");
        let socket = Socket::dealer(Options::new().identity(identity), self.dice.roll());
        let tokens = place * TOKENS..(place + 1) * TOKENS;
        let mut engine = Engine::new(self.poll.registry(), tokens, socket, TcpOptions::new()).expect("an engine");
        engine.connect(&self.endpoint).expect("it can be dialled");
        self.clients[place] = Some(Client { engine, member, connected: false, stalled: None, leaving: false });
    }

    fn end(&mut self, place: usize, ending: Ending) {
        if let Some(mut client) = self.clients[place].take() {
            self.common.state(&mut client.member, ending);
        }
    }

    fn active(&self) -> Vec<usize> {
        let is_active = |client: &Option<Client>| client.as_ref().is_some_and(|c| c.connected && !c.leaving);
        (0..self.clients.len()).filter(|place| is_active(&self.clients[*place])).collect()
    }

    fn say(&mut self, place: usize, octets: usize) {
        let Some(client) = &mut self.clients[place] else { return };
        let payload = payload(client.member.number, client.member.written, octets);
        // What there is no room for is not said.
        if client.engine.socket_mut().send(Message::multipart([&b""[..], &payload])).is_ok() {
            client.member.written += 1;
        }
    }

    fn turn(&mut self) {
        for place in 0..self.clients.len() {
            let Some(client) = &mut self.clients[place] else { continue };
            client.engine.process(&self.events);
            if let Some(ending) = client.turn() {
                self.end(place, ending);
            }
        }
    }
}

impl Client {
    fn leave(&mut self) {
        self.leaving = true;
        self.engine.close(Some(Duration::from_secs(1)));
    }

    fn is_stalled(&self) -> bool {
        self.stalled.is_some_and(|until| until > Instant::now())
    }

    /// Takes what came and writes; its ending, if this is it.
    fn turn(&mut self) -> Option<Ending> {
        while !self.is_stalled() {
            match self.engine.poll_event() {
                Some(Event::Connected { .. }) => self.connected = true,
                Some(Event::Message { message, .. }) => match (message.frame_count(), message.frame(0)) {
                    (2, Some([])) => self.member.tally.take(message.frame(1).unwrap_or_default()),
                    _ => self.member.tally.take_odd(),
                },
                Some(Event::Disconnected(_)) if !self.leaving => return Some(Ending::ThrownOut),
                Some(_) => {}
                None => break,
            }
        }
        self.engine.flush();
        (self.leaving && self.engine.is_closed()).then_some(Ending::Cut)
    }
}

impl Crew for Engines {
    fn act(&mut self) {
        let empty: Vec<_> = (0..self.clients.len()).filter(|place| self.clients[*place].is_none()).collect();
        empty.into_iter().for_each(|place| self.join(place));

        let active = self.active();
        for _ in 0..self.dice.times(self.rates.messages) {
            let Some(place) = self.dice.pick(&active) else { break };
            let octets = self.dice.size();
            self.say(place, octets);
        }
        for _ in 0..self.dice.times(self.rates.floods) {
            let Some(place) = self.dice.pick(&active) else { break };
            count(&self.common.deeds.floods);
            let (messages, most) = self.dice.flood(false);
            for _ in 0..messages {
                let octets = self.dice.between(LEAST, most);
                self.say(place, octets);
            }
        }
        for _ in 0..self.dice.times(self.rates.stalls) {
            let until = Instant::now() + self.dice.millis(100, 10_000);
            if let Some(client) = self.dice.pick(&active).and_then(|place| self.clients[place].as_mut()) {
                count(&self.common.deeds.stalls);
                client.stalled = Some(until);
            }
        }
        for _ in 0..self.dice.times(self.rates.leaves) {
            let active = self.active();
            if let Some(client) = self.dice.pick(&active).and_then(|place| self.clients[place].as_mut()) {
                count(&self.common.deeds.leaves);
                client.leave();
            }
        }
        for _ in 0..self.dice.times(self.rates.crashes) {
            let active = self.active();
            if let Some(place) = self.dice.pick(&active) {
                count(&self.common.deeds.crashes);
                self.end(place, Ending::Cut);
            }
        }
        self.events.clear();
        self.turn();
    }

    fn serve(&mut self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeouts = self.clients.iter().flatten().filter_map(|client| client.engine.timeout());
            match self.poll.poll(&mut self.events, timeouts.chain([left]).min()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("a poll that works"),
            }
            self.turn();
            if left.is_zero() {
                return;
            }
        }
    }

    fn calm_down(&mut self) -> bool {
        // What is not written yet the relay waits for.
        self.clients.iter_mut().flatten().fold(true, |calm, client| {
            client.stalled = None;
            calm && client.connected && !client.leaving
        })
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.clients.iter_mut().flatten().map(|client| &mut client.member)
    }

    fn dismiss(&mut self) {
        for client in self.clients.iter_mut().flatten() {
            count(&self.common.deeds.leaves);
            client.leave();
        }
    }
}

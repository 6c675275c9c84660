//! A relay and a few clients under arbitrary calls. Clients are tame, or say arbitrary octets.
//!
//! Nobody gets what it said itself, nobody gets malformed octets or messages in another order, and whatever the
//! others did, in the end each tame client hears each other one.

use std::time::Duration;

use zmio::conn::{Config, Connection, Credit, Error, Event};
use zmio::socket::{Address, Closed, Router};
use zmio::{
    Action, Heartbeat, Instant, Limits, Message, Options, PeerId, Relay, RelayOptions, Slow, Socket, SocketType,
};

use super::tape::Tape;

/// With this octet begin the messages of tame clients, and it is never said otherwise.
const MARK: u8 = 0xa5;

const MAX_CLIENTS: usize = 6;

struct Client {
    peer: PeerId,
    conn: Connection,
    /// What the socket did not take yet.
    rest: Vec<u8>,
    paused: bool,
    writing: bool,
    open: bool,
    tame: bool,
    said: u32,
    /// The last that was heard of each client, from 1.
    heard: [u32; 256],
}

struct World {
    socket: Socket<Router>,
    relay: Relay,
    now: Instant,
    clients: Vec<Client>,
    /// Octets so far, to see when all is quiet.
    moved: usize,
}

/// A choice of options, then calls with their arguments.
pub fn relay(input: &[u8]) {
    let mut tape = Tape::new(input);
    let mut world = World::new(tape.octet());
    while !tape.is_empty() {
        let call = tape.octet();
        let who = usize::from(call >> 3).checked_rem(world.clients.len());
        match (call % 8, who) {
            (0, _) | (_, None) => world.join(),
            (1, Some(who)) => world.say(who, tape.octet()),
            (2, Some(who)) => (0..8).for_each(|_| world.say(who, call)),
            (3, Some(who)) => world.babble(who, tape.piece()),
            (4, Some(who)) => world.hear(who, 4 * usize::from(tape.octet())),
            (5, Some(who)) => world.leave(who),
            (6, _) => world.wait(Duration::from_millis(20) * u32::from(tape.octet())),
            _ => world.turn(),
        }
    }
    world.end();
}

impl World {
    fn new(how: u8) -> Self {
        let slow = match how % 3 {
            0 => Slow::Drop,
            1 => Slow::Wait { patience: Duration::from_secs(2) },
            _ => Slow::Disconnect,
        };
        let mut options = Options::new().limits(Limits::small());
        if how & 128 != 0 {
            options = options.heartbeat(Heartbeat::every(Duration::from_millis(500)));
        }
        let mark = if how & 64 == 0 { 600 } else { 16 << 20 };
        let how = RelayOptions::new().slow(slow).mark_octets(mark);
        let socket = Socket::router(how.apply(options), 1);
        Self { socket, relay: Relay::new(how), now: Instant::ZERO, clients: Vec::new(), moved: 0 }
    }

    fn join(&mut self) {
        if self.clients.len() == MAX_CLIENTS {
            return;
        }
        let mut config = Config::new(SocketType::Dealer);
        config.limits = Limits::small();
        let conn = Connection::new(config.into(), self.now);
        let peer = self.socket.accept(self.now, Address::Unnamed).expect("room for a client");
        let (rest, heard) = (Vec::new(), [0; 256]);
        let client = Client { peer, conn, rest, paused: false, writing: false, open: true, tame: true, said: 0, heard };
        self.clients.push(client);
        for _ in 0..2 {
            self.turn();
            self.hear(self.clients.len() - 1, 500);
        }
    }

    /// A tame client says who it is and the number of the message.
    fn say(&mut self, who: usize, size: u8) {
        let client = &mut self.clients[who];
        if client.tame && client.open && client.conn.is_ready() {
            let [a, b, c, d] = (client.said + 1).to_be_bytes();
            let mut body = vec![MARK, who as u8, a, b, c, d];
            body.resize(6 + 3 * usize::from(size), 0);
            client.said += u32::from(client.conn.send(Message::multipart([body, vec![]])).is_ok());
            self.flush(who);
        }
    }

    /// A client is tame no more.
    fn babble(&mut self, who: usize, octets: &[u8]) {
        let client = &mut self.clients[who];
        client.tame = false;
        client.rest.extend(octets.iter().map(|&octet| if octet == MARK { 0 } else { octet }));
        self.hand_in(who);
    }

    /// What a tame client has to say goes to the relay.
    fn flush(&mut self, who: usize) {
        let client = &mut self.clients[who];
        while client.tame {
            let mut slices = [&[][..]; 3];
            let filled = client.conn.gather(&mut slices);
            let octets = slices[..filled].concat();
            if octets.is_empty() {
                break;
            }
            client.conn.sent(octets.len());
            client.rest.extend(octets);
        }
        self.hand_in(who);
    }

    fn hand_in(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if client.open && !client.paused {
            let taken = self.socket.handle_input(self.now, client.peer, &client.rest);
            client.rest.drain(..taken);
            self.moved += taken;
            client.paused = !client.rest.is_empty();
        }
    }

    /// A client reads so much at most.
    fn hear(&mut self, who: usize, most: usize) {
        let mut left = most;
        let client = &mut self.clients[who];
        while client.open && client.writing && left > 0 {
            let mut slices = [&[][..]; 3];
            let filled = self.socket.gather(client.peer, &mut slices);
            let mut octets = slices[..filled].concat();
            client.writing = !octets.is_empty();
            octets.truncate(left);
            left -= octets.len();
            self.moved += octets.len();
            self.socket.sent(self.now, client.peer, octets.len());
            client.take(who, self.now, &octets);
        }
        self.flush(who);
    }

    fn leave(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if std::mem::take(&mut client.open) {
            self.socket.handle_closed(self.now, client.peer, Closed::Eof);
        }
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        self.socket.handle_timeout(self.now);
        self.turn();
    }

    fn turn(&mut self) {
        self.relay.drive(self.now, &mut self.socket);
        while let Some(action) = self.socket.poll_action() {
            let (Action::Transmit { peer }
            | Action::PauseRead { peer }
            | Action::ResumeRead { peer }
            | Action::Close { peer, .. }) = action
            else {
                continue;
            };
            let Some(who) = self.clients.iter().position(|client| client.peer == peer) else { continue };
            let client = &mut self.clients[who];
            match action {
                Action::Transmit { .. } => client.writing = true,
                Action::PauseRead { .. } => client.paused = true,
                Action::ResumeRead { .. } => {
                    client.paused = false;
                    self.hand_in(who);
                }
                _ => client.open = false,
            }
        }
        while self.relay.poll_event().is_some() {}
    }

    /// All is passed on and heard.
    fn settle(&mut self) {
        let mut moved = None;
        while moved != Some(self.moved) {
            moved = Some(self.moved);
            self.turn();
            (0..self.clients.len()).for_each(|who| self.hear(who, usize::MAX));
        }
        self.turn();
    }

    fn end(&mut self) {
        self.settle();
        for speaker in 0..self.clients.len() {
            self.say(speaker, 1);
            self.settle();
            let Client { open, tame, said, .. } = self.clients[speaker];
            let ready = open && tame && self.clients[speaker].conn.is_ready();
            for (who, client) in self.clients.iter().enumerate() {
                let listens = ready && who != speaker && client.open && client.tame && client.conn.is_ready();
                assert!(!listens || client.heard[speaker] == said, "{who} does not hear {speaker}");
            }
        }
    }
}

impl Client {
    fn take(&mut self, who: usize, now: Instant, mut octets: &[u8]) {
        while !octets.is_empty() {
            let event = match self.conn.handle_input(now, octets, Credit::UNLIMITED) {
                Ok(step) => {
                    octets = &octets[step.taken..];
                    step.event
                }
                Err(Error::Refused(_)) if !self.tame => return,
                Err(error) => panic!("{who} hears {error}"),
            };
            match event {
                Some(Event::Run(run)) => run.to_run().iter().for_each(|message| self.check(who, &message)),
                Some(Event::Message(message)) => self.check(who, &message),
                _ => {}
            }
        }
    }

    fn check(&mut self, who: usize, message: &Message) {
        if let Some(&[MARK, speaker, a, b, c, d, ..]) = message.frame(0) {
            let number = u32::from_be_bytes([a, b, c, d]);
            let last = std::mem::replace(&mut self.heard[usize::from(speaker)], number);
            assert_ne!(usize::from(speaker), who, "it hears itself");
            assert!(number > last, "{who} hears {number} of {speaker} after {last}");
        }
    }
}

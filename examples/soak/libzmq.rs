//! Clients that are libzmq's DEALERs.

use std::time::Instant;

use crate::crew::{Common, Crew, Member, Rates};
use crate::dice::Dice;
use crate::report::{Ending, count};
use crate::tally::{LEAST, payload};

/// One client is read so often before the others have their turn.
const READS: usize = 1_000;

pub(crate) struct Libzmqs {
    // Before the context: sockets are closed first.
    clients: Vec<Client>,
    context: zmq::Context,
    common: Common,
    dice: Dice,
    rates: Rates,
    endpoint: String,
    wanted: usize,
}

struct Client {
    socket: zmq::Socket,
    member: Member,
    stalled: Option<Instant>,
}

impl Libzmqs {
    pub(crate) fn new(common: Common, seed: u64, endpoint: String, wanted: usize, rates: Rates) -> Self {
        let context = zmq::Context::new();
        Self { clients: Vec::new(), context, common, dice: Dice::new(seed), rates, endpoint, wanted }
    }

    fn join(&mut self) -> zmq::Result<()> {
        count(&self.common.deeds.joins);
        let member = self.common.member();
        let socket = self.context.socket(zmq::DEALER)?;
        socket.set_identity(member.number.to_string().as_bytes())?;
        // One that comes back by itself would hide that it was thrown out.
        socket.set_reconnect_ivl(-1)?;
        socket.set_linger(500)?;
        socket.set_sndhwm(0)?;
        // It counts messages, whatever their size.
        socket.set_rcvhwm(100)?;
        socket.connect(&self.endpoint)?;
        self.clients.push(Client { socket, member, stalled: None });
        Ok(())
    }

    /// What was written and not sent yet is sent; what was delivered and not received is lost.
    fn end(&mut self, place: usize) {
        let mut client = self.clients.swap_remove(place);
        self.common.state(&mut client.member, Ending::Cut);
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.dice.between(0, self.clients.len() - 1))
    }
}

impl Client {
    fn say(&mut self, octets: usize) {
        let payload = payload(self.member.number, self.member.written, octets);
        if self.socket.send_multipart([&b""[..], &payload], zmq::DONTWAIT).is_ok() {
            self.member.written += 1;
        }
    }

    fn is_stalled(&self) -> bool {
        self.stalled.is_some_and(|until| until > Instant::now())
    }

    fn receive(&mut self) {
        for _ in 0..READS {
            let Ok(frames) = self.socket.recv_multipart(zmq::DONTWAIT) else { return };
            match &frames[..] {
                [delimiter, payload] if delimiter.is_empty() => self.member.tally.take(payload),
                _ => self.member.tally.take_odd(),
            }
        }
    }
}

impl Crew for Libzmqs {
    fn act(&mut self) {
        while self.clients.len() < self.wanted {
            self.join().expect("a socket of libzmq");
        }
        for _ in 0..self.dice.times(self.rates.messages) {
            let octets = self.dice.size();
            if let Some(place) = self.pick() {
                self.clients[place].say(octets);
            }
        }
        for _ in 0..self.dice.times(self.rates.floods) {
            count(&self.common.deeds.floods);
            let Some(place) = self.pick() else { break };
            let (messages, most) = self.dice.flood(false);
            for _ in 0..messages {
                let octets = self.dice.between(LEAST, most);
                self.clients[place].say(octets);
            }
        }
        for _ in 0..self.dice.times(self.rates.stalls) {
            let until = Instant::now() + self.dice.millis(100, 10_000);
            if let Some(place) = self.pick() {
                count(&self.common.deeds.stalls);
                self.clients[place].stalled = Some(until);
            }
        }
        // It knows only one way to go, in the middle of what comes.
        for _ in 0..self.dice.times(self.rates.leaves) {
            if let Some(place) = self.pick() {
                count(&self.common.deeds.leaves);
                self.end(place);
            }
        }
    }

    fn serve(&mut self, until: Instant) {
        loop {
            let awake: Vec<_> = (0..self.clients.len()).filter(|place| !self.clients[*place].is_stalled()).collect();
            let left = until.saturating_duration_since(Instant::now());
            let mut items: Vec<_> =
                awake.iter().map(|place| self.clients[*place].socket.as_poll_item(zmq::POLLIN)).collect();
            if items.is_empty() {
                return std::thread::sleep(left);
            }
            zmq::poll(&mut items, left.as_millis() as i64).expect("a poll of libzmq");
            let readable: Vec<_> = items.iter().map(zmq::PollItem::is_readable).collect();
            for (place, _) in awake.into_iter().zip(readable).filter(|(_, readable)| *readable) {
                self.clients[place].receive();
            }
            // Its poll counts in whole milliseconds.
            if left.as_millis() == 0 {
                return;
            }
        }
    }

    fn calm_down(&mut self) -> bool {
        // What it has not sent yet the relay waits for.
        self.clients.iter_mut().for_each(|client| client.stalled = None);
        true
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.clients.iter_mut().map(|client| &mut client.member)
    }

    fn dismiss(&mut self) {
        while !self.clients.is_empty() {
            count(&self.common.deeds.leaves);
            self.end(0);
        }
    }
}

//! A client written by hand, in Bonsai's framing: no zmio code on this end of the link.

use crate::link::{Ending, Read, Side, Write};
use crate::net::{DialId, Dialled, HostId, LinkId, Net};
use crate::octets;
use crate::payload::{Id, LARGE};
use crate::rng::Rng;
use crate::stream::{Decoder, Item};

/// What happens once all messages of a connection are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Stay,
    /// Says that it is done, then reads until the relay closes too.
    HalfClose,
    /// Vanishes, losing what is under way.
    Crash(Ending),
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: String,
    /// Messages per connection.
    pub(crate) messages: u32,
    /// Microseconds before the first dial, between messages, and before each further dial.
    pub(crate) start: u64,
    pub(crate) gap: (u64, u64),
    pub(crate) redial: (u64, u64),
    pub(crate) leave: Leave,
    /// Connections after the first.
    pub(crate) returns: u32,
    /// Does not read between these two times.
    pub(crate) stall: Option<(u64, u64)>,
    pub(crate) identity: Vec<u8>,
    pub(crate) minor: u8,
    /// The greeting in pieces of 10, 1 and 53 octets, as NetMQ and libzmq send it.
    pub(crate) staged: bool,
    pub(crate) pings: bool,
    /// Breaks the protocol after its last message.
    pub(crate) hostile: Option<Vec<u8>>,
    /// Never says a word.
    pub(crate) mute: bool,
    /// Some of its messages are large.
    pub(crate) large: bool,
}

impl Plan {
    pub(crate) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            messages: 0,
            start: 0,
            gap: (0, 0),
            redial: (1000, 1000),
            leave: Leave::Stay,
            returns: 0,
            stall: None,
            identity: Vec::new(),
            minor: 1,
            staged: false,
            pings: false,
            hostile: None,
            mute: false,
            large: false,
        }
    }

    pub(crate) fn random(target: &str, rng: &mut Rng) -> Self {
        let endless = rng.percent(10);
        let stall_from = rng.below(1_500_000);
        let stall_for = if endless { u64::MAX / 2 } else { rng.within((1000, 2_000_000)) };
        let garbage = [&b"\x08\x01a"[..], &b"\x05\x01\x00"[..], &[2, 0x80, 0, 0, 0, 0, 0, 0, 0]];
        Self {
            messages: rng.pick(&[0, 1, 3, 8, 15]),
            start: rng.below(1_000_000),
            gap: rng.pick(&[(0, 0), (10, 1000), (1000, 100_000)]),
            redial: (1000, 400_000),
            leave: rng.pick(&[
                Leave::Stay,
                Leave::Stay,
                Leave::Stay,
                Leave::HalfClose,
                Leave::Crash(Ending::Eof),
                Leave::Crash(Ending::Reset),
            ]),
            returns: rng.pick(&[0, 0, 1, 3]),
            stall: rng.percent(15).then(|| (stall_from, stall_from + stall_for)),
            minor: rng.below(2) as u8,
            staged: rng.percent(30),
            pings: rng.percent(30),
            hostile: rng.percent(5).then(|| rng.pick(&garbage).to_vec()),
            mute: rng.percent(3),
            ..Self::new(target)
        }
    }
}

/// One connection of a client, kept after its end.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) link: LinkId,
    pub(crate) who: u32,
    pub(crate) sent: u32,
    pub(crate) got: Vec<Id>,
    pub(crate) ended: Option<Ending>,
}

pub(crate) struct Raw {
    pub(crate) host: HostId,
    pub(crate) plan: Plan,
    pub(crate) visits: Vec<Visit>,
    /// PINGs sent on this connection, and one more than the last that was answered.
    pings: u64,
    pongs: u64,
    open: bool,
    dial: Option<DialId>,
    next_dial: Option<u64>,
    next_send: u64,
    out: Vec<u8>,
    input: Decoder,
    stage: u8,
    ready: bool,
    done: bool,
    shut: bool,
    leaving: bool,
}

impl Raw {
    pub(crate) fn new(net: &mut Net, host: HostId, plan: Plan) -> Self {
        net.wake(host, plan.start);
        Self {
            host,
            next_dial: Some(plan.start),
            plan,
            visits: Vec::new(),
            pings: 0,
            pongs: 0,
            open: false,
            dial: None,
            next_send: 0,
            out: Vec::new(),
            input: Decoder::default(),
            stage: 0,
            ready: false,
            done: false,
            shut: false,
            leaving: false,
        }
    }

    /// Ends the current connection in good order, and dials no more.
    pub(crate) fn leave(&mut self, net: &mut Net) {
        self.leaving = true;
        self.plan.stall = None;
        self.plan.returns = 0;
        self.next_dial = None;
        net.wake(self.host, 0);
    }

    pub(crate) fn is_stalled(&self, now: u64) -> bool {
        self.plan.stall.is_some_and(|(from, to)| from <= now && now < to)
    }

    pub(crate) fn turn(&mut self, net: &mut Net) {
        if !self.open {
            self.connect(net);
        }
        if self.open && self.is_stalled(net.now) {
            let (_, to) = self.plan.stall.unwrap_or_default();
            net.wake(self.host, to);
        } else if self.open {
            self.read(net);
        }
        if self.open {
            self.speak(net);
            self.write(net);
        }
    }

    fn connect(&mut self, net: &mut Net) {
        if let Some(dial) = self.dial {
            match net.dialled(dial) {
                Dialled::Waiting => {}
                Dialled::Connected(link) => self.begin(net, link),
                Dialled::Refused | Dialled::TimedOut => {
                    self.dial = None;
                    self.dial_again(net);
                }
            }
        } else if self.next_dial.is_some_and(|at| at <= net.now) {
            self.next_dial = None;
            self.dial = Some(net.dial(self.host, &self.plan.target));
        }
    }

    fn dial_again(&mut self, net: &mut Net) {
        if !self.leaving {
            let at = net.now + net.rng.within(self.plan.redial);
            self.next_dial = Some(at);
            net.wake(self.host, at);
        }
    }

    fn begin(&mut self, net: &mut Net, link: LinkId) {
        // Sender numbers are never used twice: each connection is a sender of its own.
        let who = (self.host as u32) << 16 | self.visits.len() as u32 | if self.plan.large { LARGE } else { 0 };
        self.visits.push(Visit { link, who, sent: 0, got: Vec::new(), ended: None });
        self.dial = None;
        self.open = true;
        self.input = Decoder::default();
        self.ready = false;
        self.done = false;
        self.shut = false;
        (self.pings, self.pongs) = (0, 0);
        self.out.clear();
        self.stage = 0;
        if !self.plan.mute {
            let greeting = self.greeting();
            let first = if self.plan.staged { 10 } else { 64 };
            self.out.extend_from_slice(&greeting[..first]);
            self.stage = if self.plan.staged { 1 } else { 3 };
        }
        net.trace(self.host, "visit", link as u64, u64::from(who));
    }

    fn end(&mut self, net: &mut Net, ending: Ending) {
        self.open = false;
        if let Some(visit) = self.visits.last_mut() {
            visit.ended = Some(ending);
            net.close(visit.link, Side::Dialler);
            net.trace(self.host, "visit over", visit.link as u64, ending as u64);
        }
        if self.plan.returns > 0 {
            self.plan.returns -= 1;
            self.dial_again(net);
        }
    }

    fn read(&mut self, net: &mut Net) {
        let Some(link) = self.visits.last().map(|visit| visit.link) else {
            return;
        };
        loop {
            match net.read(link, Side::Dialler, 65536) {
                Read::Octets(octets) => {
                    self.input.feed(&octets);
                    self.stage_on();
                    self.understand(net);
                }
                Read::Nothing => return,
                Read::Ended(ending) => return self.end(net, ending),
            }
        }
    }

    /// A staged greeting goes on only when the other side was heard.
    fn stage_on(&mut self) {
        let greeting = self.greeting();
        match self.stage {
            1 => self.out.extend_from_slice(&greeting[10..11]),
            2 => self.out.extend_from_slice(&greeting[11..]),
            _ => return,
        }
        self.stage += 1;
    }

    fn understand(&mut self, net: &mut Net) {
        loop {
            let item = self.input.next().expect("the socket broke the protocol");
            match item {
                None => return,
                Some(Item::Greeting { .. }) => {
                    while self.stage > 0 && self.stage < 3 {
                        self.stage_on();
                    }
                    if !self.plan.mute {
                        self.out.extend(octets::ready("DEALER", &self.plan.identity));
                    }
                }
                Some(Item::Command { name, body }) => match &name[..] {
                    b"READY" => {
                        self.ready = true;
                        self.next_send = net.now + net.rng.within(self.plan.gap);
                    }
                    b"PING" => self.out.extend(octets::pong(&body[2..])),
                    b"PONG" => {
                        // A flood may go unanswered in part, but never out of order (A7).
                        let answered = u64::from(body[0]);
                        assert!(self.pongs <= answered && answered < self.pings, "a PONG out of order");
                        self.pongs = answered + 1;
                    }
                    _ => {}
                },
                Some(Item::Message(frames)) => {
                    assert!(self.ready, "a message before READY");
                    let id = Id::of(&frames);
                    net.trace(self.host, "got", u64::from(id.who), u64::from(id.seq));
                    self.visits.last_mut().expect("a visit is open").got.push(id);
                }
            }
        }
    }

    /// Queues what is due: messages, and at the end the farewell.
    fn speak(&mut self, net: &mut Net) {
        let Some(visit) = self.visits.last_mut() else {
            return;
        };
        while self.ready && !self.done && self.out.len() < 4096 && !self.leaving {
            if visit.sent == self.plan.messages {
                self.done = true;
                self.out.extend(self.plan.hostile.iter().flatten());
                break;
            }
            if self.next_send > net.now {
                net.wake(self.host, self.next_send);
                return;
            }
            self.next_send = net.now + net.rng.within(self.plan.gap);
            let id = Id { who: visit.who, seq: visit.sent };
            visit.sent += 1;
            let frames = id.frames();
            for (at, body) in frames.iter().enumerate() {
                let more = if at + 1 < frames.len() { octets::MORE } else { 0 };
                if net.rng.percent(10) {
                    // Longer than need be, and legal (A2.3).
                    self.out.extend(octets::header(more | octets::LONG, body.len() as u64));
                    self.out.extend_from_slice(body);
                } else {
                    self.out.extend(octets::frame(more, body));
                }
                if self.plan.pings && net.rng.percent(20) {
                    // Between the frames of one message too, as libzmq does.
                    self.out.extend(octets::ping(0, &[self.pings as u8]));
                    self.pings += 1;
                }
                if self.plan.pings && net.rng.percent(20) {
                    // Of another pattern, or of a version to come.
                    self.out.extend(octets::command(b"HURDLE", &[0; 300][..net.rng.below(300) as usize]));
                }
            }
        }
    }

    fn write(&mut self, net: &mut Net) {
        let Some(link) = self.visits.last().map(|visit| visit.link) else {
            return;
        };
        if self.shut {
            // An answer to a PING that came after our farewell.
            return self.out.clear();
        }
        while !self.out.is_empty() {
            match net.write(link, Side::Dialler, &[&self.out]) {
                Write::Took(took) => drop(self.out.drain(..took)),
                Write::WouldBlock => return,
                // What is still unread is read first; the end shows there.
                Write::Broken => self.out.clear(),
            }
        }
        if self.half_closed() {
            self.shut = true;
            net.shutdown(link, Side::Dialler);
        } else if let (true, Leave::Crash(ending)) = (self.done, self.plan.leave) {
            let at = net.now + net.rng.below(2000);
            net.cut(link, at, ending);
        } else if self.ready && !self.done && self.next_send <= net.now {
            net.wake(self.host, net.now + 1);
        }
    }

    fn greeting(&self) -> Vec<u8> {
        octets::greeting_with(3, self.plan.minor, b"NULL")
    }

    fn half_closed(&self) -> bool {
        self.leaving || (self.done && self.plan.leave == Leave::HalfClose)
    }
}

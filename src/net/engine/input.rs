//! A turn of input: events, a visit to each source that has something, timers.

use bytes::Buf;
use mio::Events;
use mio::event::Event;

use super::{Carrier, Engine};
use crate::net::sources::Source;
use crate::net::stream::{MIN_READ, Phase, Received, Stream};
use crate::net::wake;
use crate::socket::{Closed, DialError, Pattern};

/// Read of a peer from whom no message is taken: enough for a PING, and little to be kept back if it is a message.
const COMMAND_OCTETS: usize = 512;

/// A large message of which no more than this is missing is read to its end in the same visit.
const FINISH_OCTETS: usize = 64 * 1024;

impl<P: Pattern> Engine<P> {
    /// Does one turn of input: takes the events whose token is ours, reads each peer that has something once, or
    /// twice to finish a large message, up to the turn's budget, accepts, and lets timers fire.
    ///
    /// Call it once per poll, even without events.
    pub fn process(&mut self, events: &Events) {
        self.look_at_clock();
        for event in events {
            self.note(event);
        }
        // What was not flushed, and what can be written again: a queue is full only after that.
        if self.socket.has_actions() || !self.writes.is_empty() {
            self.carry_out();
        }
        self.news = false;
        self.visit_sources();
        self.fire_timers();
    }

    fn note(&mut self, event: &Event) {
        let Some(key) = self.sources.key(event.token()) else {
            return;
        };
        match self.sources.get_mut(key) {
            Some(Source::Stream(stream)) => {
                stream.transport.note(event);
                if let Phase::Dialing(_) = stream.phase {
                    self.check_dial(key);
                }
                self.requeue(key);
            }
            Some(Source::Listener(listener)) => {
                listener.ready = true;
                self.queue_read(key);
            }
            Some(Source::Inbox(inbox)) => {
                wake::clear(inbox);
                self.take_lookups();
            }
            None => {}
        }
    }

    /// Visits each source that stands in the run queue now. Those beyond the budget keep their places.
    fn visit_sources(&mut self) {
        let budget = self.options.turn_budget();
        self.share = (budget / self.reads.len().max(1)).max(MIN_READ);
        let mut octets = 0;
        for _ in 0..self.reads.len() {
            let Some(key) = self.reads.pop_front() else {
                return;
            };
            octets += self.visit(key);
            if octets >= budget {
                return;
            }
        }
    }

    /// Does what one source has to do, and returns how many octets were read.
    pub(super) fn visit(&mut self, key: usize) -> usize {
        match self.sources.get_mut(key) {
            Some(Source::Listener(listener)) => {
                listener.queued = false;
                if listener.ready && self.accept(key) {
                    self.queue_read(key);
                }
                0
            }
            Some(Source::Stream(stream)) => {
                stream.queued = false;
                let octets = match &stream.phase {
                    Phase::Dialing(_) => 0,
                    Phase::Open(_) => self.read(key),
                    Phase::Closing(_) => self.drain(key),
                };
                self.requeue(key);
                octets
            }
            Some(Source::Inbox(_)) | None => 0,
        }
    }

    /// Queues a stream again for what it has left to do.
    pub(super) fn requeue(&mut self, key: usize) {
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        if stream.has_output() && !stream.write_queued {
            stream.write_queued = true;
            self.writes.push_back(key);
        }
        if stream.has_input() && !stream.queued {
            stream.queued = true;
            self.reads.push_back(key);
        }
    }

    /// Offers the socket what it left the last time, or else reads once, or twice to finish a large message.
    fn read(&mut self, key: usize) -> usize {
        let Some((_, open)) = self.sources.stream_mut(key).and_then(Stream::reading) else {
            return 0;
        };
        let peer = open.peer;
        if !open.rest.is_empty() {
            let offered = open.rest.len();
            let taken = self.socket.handle_input(self.now, peer, &open.rest);
            open.rest.advance(taken.min(offered));
            open.paused = !open.rest.is_empty();
            return taken;
        }
        // No more than there is room for, and a little: what the socket does not take is kept until it does.
        let room = match self.socket.room_to_receive(peer) {
            0 => COMMAND_OCTETS,
            room => room.saturating_add(MIN_READ),
        };
        let size = open.appetite.min(self.share).min(room).min(self.scratch.len());
        let octets = self.read_once(key, size);
        if octets < size {
            return octets;
        }
        // There may be more. A large message that is not whole takes memory until the next turn.
        match self.socket.missing_of_large(peer) {
            missing @ 1..=FINISH_OCTETS => octets + self.read_once(key, missing),
            _ => octets,
        }
    }

    /// Reads up to `size` octets of a peer and hands them in.
    fn read_once(&mut self, key: usize, size: usize) -> usize {
        let Some((transport, open)) = self.sources.stream_mut(key).and_then(Stream::reading) else {
            return 0;
        };
        let octets = match transport.read(self.scratch.get_mut(..size).unwrap_or_default()) {
            Received::Octets(octets) => octets,
            Received::Nothing => {
                // Not every error of a write ends the connection in the system too. All that the peer sent is read.
                if let Some(closed) = open.write_failed.take() {
                    self.ended(key, closed);
                }
                return 0;
            }
            Received::Ended(closed) => {
                // Writing saw the reset first, and the system tells it only once.
                let closed = open.write_failed.take().unwrap_or(closed);
                self.ended(key, closed);
                return 0;
            }
        };
        // No event may come to say that there is nothing more.
        transport.readable |= open.write_failed.is_some();
        open.rest = self.socket.handle_read(self.now, open.peer, &mut self.scratch, octets);
        if !open.rest.is_empty() {
            open.paused = true;
            open.appetite = octets.saturating_sub(open.rest.len()).max(MIN_READ);
        } else if octets == open.appetite {
            open.appetite = (2 * octets).min(self.scratch.len());
        }
        // Who talks on and on would never let us find that there is nothing more.
        if octets < size && open.rest.is_empty() {
            if let Some(closed) = open.write_failed.take() {
                self.ended(key, closed);
                return octets;
            }
        }
        // Its address is a good one if what it said completes its handshake.
        let peer = open.peer;
        if open.unproven && self.socket.peer(peer).is_some_and(|peer| peer.is_connected()) {
            open.unproven = false;
            if let Some(link) = self.link_mut(peer) {
                link.doubtful = None;
            }
        }
        octets
    }

    /// The transport of a peer ended, and all that came through it was handed in.
    fn ended(&mut self, key: usize, closed: Closed) {
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        if let Phase::Open(open) = &stream.phase {
            let peer = open.peer;
            self.take_carrier(peer);
            self.socket.handle_closed(self.now, peer, closed);
        }
        self.drop_stream(key);
    }

    pub(super) fn fire_timers(&mut self) {
        while let Some(&(at, key)) = self.deadlines.first() {
            if at > self.now {
                break;
            }
            self.deadlines.pop_first();
            let Some(stream) = self.sources.stream_mut(key) else {
                continue;
            };
            stream.deadline = None;
            match stream.phase {
                Phase::Dialing(_) => self.dial_over(key, DialError::TimedOut),
                Phase::Closing(_) => self.drop_stream(key),
                Phase::Open(_) => {}
            }
        }
        self.drop_late_lookups();
        self.retry_accept();
        if self.socket.poll_timeout().is_some_and(|at| at <= self.now) {
            while let Some((peer, is_end)) = self.socket.next_due(self.now) {
                // It may be we who are late, and what has arrived is a sign of life. The turn's budget need not have reached it.
                if let (true, Some(Carrier::Stream(key))) = (is_end, self.carrier(peer)) {
                    self.read(key);
                    self.requeue(key);
                }
                self.socket.handle_due(self.now, peer);
            }
            self.socket.handle_timeout(self.now);
        }
    }
}

//! Carrying out what the socket wants: writes, dials, pauses, closes.

use std::time::Duration;
use std::vec::Vec;

use bytes::Bytes;

use super::{Carrier, Engine, MAX_CLOSING};
use crate::net::stream::{Closing, Linger, Phase, SLICES, Stream, Written};
use crate::socket::{Action, Pattern, PeerId};
use crate::time::Instant;

/// Octets written to one peer in one flush before the others have their turn. A loopback peer that reads as fast as we write
/// would never let go of us.
const FLUSH_OCTETS: usize = 1024 * 1024;

/// How long the last octets may take, and then again how long the peer has to end its side.
const LINGER: Duration = Duration::from_secs(1);

/// How long a peer has at most to end its side when the socket closes, whatever the linger. It does so when it has read
/// all, and what both systems hold by then, some 10 MiB, comes through a slow line in that time. One that hangs, or
/// that sends for ever, must not keep the application from its end.
const LINGER_IN_ORDER: Duration = Duration::from_secs(30);

impl<P: Pattern> Engine<P> {
    /// Carries out what the socket wants: writes what is queued, dials, closes, starts and stops reading.
    ///
    /// Call it at the end of each turn, and whenever what was sent should go out now. It does not block: what the system does
    /// not take yet is written by later turns.
    pub fn flush(&mut self) {
        self.look_at_clock();
        self.carry_out();
    }

    pub(super) fn carry_out(&mut self) {
        let known = self.socket.has_events();
        // Streams that were written all that they may be in one flush.
        let mut later = Vec::new();
        loop {
            while let Some(action) = self.socket.poll_action() {
                self.act(action);
            }
            if self.writes.is_empty() {
                break;
            }
            while let Some(key) = self.writes.pop_front() {
                if self.write(key) {
                    later.push(key);
                }
            }
        }
        self.writes.extend(later);
        self.news |= !known && self.socket.has_events();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Transmit { peer } => self.transmit(peer),
            Action::Dial { peer, target } => self.dial(peer, &target),
            Action::PauseRead { peer } => self.set_paused(peer, true),
            Action::ResumeRead { peer } => self.set_paused(peer, false),
            Action::StopAccept => self.set_stopped(true),
            Action::StartAccept => self.set_stopped(false),
            Action::Close { peer, last, in_order } => self.let_go(peer, last, in_order),
        }
    }

    fn transmit(&mut self, peer: PeerId) {
        let Some(Carrier::Stream(key)) = self.carrier(peer) else {
            return;
        };
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        if let Phase::Open(open) = &mut stream.phase {
            open.wants_write = open.write_failed.is_none();
        }
        self.requeue(key);
    }

    /// Stops or starts reading a peer. What was kept of it is offered again without an event.
    fn set_paused(&mut self, peer: PeerId, paused: bool) {
        let Some(Carrier::Stream(key)) = self.carrier(peer) else {
            return;
        };
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        if let Phase::Open(open) = &mut stream.phase {
            open.paused = paused;
        }
        self.requeue(key);
    }

    /// Ends the connection or the dial of a peer that the socket is done with.
    pub(super) fn let_go(&mut self, peer: PeerId, last: Bytes, in_order: bool) {
        let key = match self.take_carrier(peer) {
            Some(Carrier::Stream(key)) => key,
            Some(Carrier::Lookup) => return self.resolver.cancel(peer),
            None => return,
        };
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        match &stream.phase {
            Phase::Open(open) if open.write_failed.is_none() => {
                stream.phase = Phase::Closing(Closing::new(self.now, last, in_order));
                if !in_order {
                    self.closing.insert((self.now, key));
                }
                self.set_deadline(key, Some(self.linger_deadline(self.now, in_order)));
                self.end_output(key);
                self.requeue(key);
                self.cut_oldest_closing();
            }
            _ => self.drop_stream(key),
        }
    }

    /// How long a stream that is closing `since` then may take to go a step further.
    fn linger_deadline(&self, since: Instant, in_order: bool) -> Instant {
        let least = self.now + LINGER;
        if !in_order {
            return least;
        }
        let most = since + LINGER_IN_ORDER;
        self.socket.linger_end().map_or(most, |end| end.min(most)).max(least)
    }

    /// Lets no stream linger for longer than the socket does now.
    pub(super) fn shorten_lingers(&mut self) {
        let most = self.linger_deadline(self.now, true);
        let late: Vec<_> = self.deadlines.iter().filter(|&&(at, _)| at > most).map(|&(_, key)| key).collect();
        for key in late {
            if self.sources.stream_mut(key).is_some_and(|stream| matches!(stream.phase, Phase::Closing(_))) {
                self.set_deadline(key, Some(most));
            }
        }
    }

    /// Drops the stream that has been closing for longest, if there are too many. Those that close with the socket do not count:
    /// no more come.
    fn cut_oldest_closing(&mut self) {
        if self.closing.len() > MAX_CLOSING {
            if let Some((_, oldest)) = self.closing.pop_first() {
                self.drop_stream(oldest);
            }
        }
    }

    /// Takes a closing stream further as far as it has something to write. What it has to read waits for its turn.
    fn end_output(&mut self, key: usize) {
        let Some((transport, closing)) = self.sources.stream_mut(key).and_then(Stream::closing) else {
            return;
        };
        let was_shut = closing.is_shut();
        match closing.write(transport) {
            Linger::Over => self.drop_stream(key),
            Linger::On(_) if was_shut == closing.is_shut() => {}
            Linger::On(_) => {
                let (since, in_order) = (closing.since(), closing.is_in_order());
                self.set_deadline(key, Some(self.linger_deadline(since, in_order)));
            }
        }
    }

    /// Reads once of a closing stream, as much as of any other, and returns how many octets that were.
    pub(super) fn drain(&mut self, key: usize) -> usize {
        self.end_output(key);
        // It may have been queued while it was open. Now its last words come first, or the peer's end would cost it those.
        let stream = self.sources.stream_mut(key).filter(|stream| stream.has_input());
        let Some((transport, closing)) = stream.and_then(Stream::closing) else {
            return 0;
        };
        let size = self.share.min(self.scratch.len());
        match closing.read(transport, self.scratch.get_mut(..size).unwrap_or_default()) {
            Linger::On(octets) => octets,
            Linger::Over => {
                self.drop_stream(key);
                0
            }
        }
    }

    /// Writes what a stream has, until there is no more or no room. Returns whether to go on in the next turn.
    fn write(&mut self, key: usize) -> bool {
        let Some(stream) = self.sources.stream_mut(key) else {
            return false;
        };
        stream.write_queued = false;
        let open = match &mut stream.phase {
            Phase::Open(open) => open,
            Phase::Closing(_) => {
                self.end_output(key);
                self.requeue(key);
                return false;
            }
            Phase::Dialing(_) => return false,
        };
        let mut octets = 0;
        while open.wants_write && stream.transport.writable {
            if octets >= FLUSH_OCTETS {
                stream.write_queued = true;
                return true;
            }
            let mut slices: [&[u8]; SLICES] = [&[]; SLICES];
            let count = self.socket.gather(open.peer, &mut slices);
            if count == 0 {
                open.wants_write = false;
                break;
            }
            match stream.transport.write(slices.get(..count).unwrap_or(&slices)) {
                Written::Octets(written) => {
                    self.socket.sent(self.now, open.peer, written);
                    octets += written;
                }
                Written::Blocked => break,
                Written::Failed(closed) => {
                    open.wants_write = false;
                    open.write_failed = Some(closed);
                    // The end is somewhere behind what the peer sent, and its edge may have come already.
                    stream.transport.readable = true;
                    self.socket.handle_write_failed(open.peer);
                    self.requeue(key);
                    break;
                }
            }
        }
        false
    }
}

//! Is the peer still there? (RFC 37, "Connection Heartbeating"; A7)
//!
//! Nothing is re-armed when octets come: it is only noted when that was. A timer that fires looks at the note and
//! sets itself anew, or finds the silence too long.

use core::time::Duration;

use crate::conn::config::{Heartbeat, PingWhom};
use crate::conn::timer::{Timer, Timers};
use crate::conn::{Error, Timeout};
use crate::time::Instant;
use crate::wire::Version;

#[derive(Debug)]
pub(crate) struct Liveness {
    last_heard: Instant,
    /// Our PING is unanswered.
    pinged: Option<Pinged>,
    /// Since when we do not read. The receive deadlines stand still meanwhile.
    paused: Option<Instant>,
    peer_ttl: Duration,
}

#[derive(Debug)]
struct Pinged {
    /// Something was heard since.
    heard: bool,
    /// It is behind a message that was begun, and how much had been written when that was looked at last. A peer that
    /// receives this message cannot have answered.
    behind: Option<u64>,
}

/// What our side of the connection has written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Octets, ever.
    pub(crate) written: u64,
    /// A message is written in part.
    pub(crate) is_begun: bool,
    /// Some command is not written whole.
    pub(crate) has_control: bool,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Liveness {
        Liveness { last_heard: now, pinged: None, paused: None, peer_ttl: Duration::ZERO }
    }

    /// Some octet came: a sign of life whatever it is.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        if let Some(pinged) = &mut self.pinged {
            pinged.heard = true;
        }
    }

    /// The handshake is complete.
    pub(crate) fn start(&mut self, now: Instant, peer: Version, heartbeat: Option<&Heartbeat>, timers: &mut Timers) {
        if let Some(heartbeat) = heartbeat {
            if heartbeat.whom == PingWhom::All || peer >= Version::V3_1 {
                timers.set(Timer::Ping, now + heartbeat.interval);
            }
        }
    }

    /// The peer sent a PING with this TTL, in tenths of a second. So it knows PINGs, and may be sent some.
    pub(crate) fn pinged_by_peer(
        &mut self,
        now: Instant,
        ttl: u16,
        heartbeat: Option<&Heartbeat>,
        timers: &mut Timers,
    ) {
        if let (Some(heartbeat), None) = (heartbeat, timers.at(Timer::Ping)) {
            timers.set(Timer::Ping, now + heartbeat.interval);
        }
        // In u32 milliseconds: 65535 tenths are 6,553,500 (A7).
        self.peer_ttl = Duration::from_millis(u64::from(u32::from(ttl) * 100));
        if self.peer_ttl.is_zero() {
            timers.stop(Timer::Ttl);
        } else if timers.at(Timer::Ttl).is_none_or(|at| at > now + self.peer_ttl) {
            timers.set(Timer::Ttl, now + self.peer_ttl);
        }
    }

    /// The PING timer is due: does a PING go out now?
    pub(crate) fn ping(&mut self, now: Instant, heartbeat: &Heartbeat, output: Output, timers: &mut Timers) -> bool {
        timers.set(Timer::Ping, now + heartbeat.interval);
        // At most one is unanswered at a time. But a peer to which we announce a TTL is to hear from us all the same while its
        // PONG is behind a long message of its own, or while we do not read.
        let is_open = |pinged: &Pinged| heartbeat.ttl == 0 || !pinged.heard && self.paused.is_none();
        if self.pinged.as_ref().is_some_and(is_open) {
            return false;
        }
        self.pinged = Some(Pinged { heard: false, behind: output.is_begun.then_some(output.written) });
        // In a pause the time for the answer has not begun to run; the end of the pause moves all of it.
        timers.set(Timer::Silence, self.paused.unwrap_or(now) + heartbeat.timeout);
        true
    }

    /// A PONG came.
    pub(crate) fn ponged(&mut self, timers: &mut Timers) {
        self.pinged = None;
        timers.stop(Timer::Silence);
    }

    /// The silence timer is due.
    pub(crate) fn check_silence(
        &mut self,
        now: Instant,
        heartbeat: &Heartbeat,
        output: Output,
        timers: &mut Timers,
    ) -> Result<(), Error> {
        timers.stop(Timer::Silence);
        let Some(mut pinged) = self.pinged.take() else {
            return Ok(());
        };
        // Anything counts, if only other traffic: a long message in flight is a sign of life.
        if pinged.heard {
            return Ok(());
        }
        // So is one that goes on to be read. The time for the answer begins when the PING is out.
        match pinged.behind {
            Some(_) if !output.has_control => pinged.behind = None,
            Some(before) if before < output.written => pinged.behind = Some(output.written),
            _ => return Err(Timeout::Heartbeat.into()),
        }
        self.pinged = Some(pinged);
        timers.set(Timer::Silence, now + heartbeat.timeout);
        Ok(())
    }

    /// The timer of the peer's TTL is due.
    pub(crate) fn check_ttl(&mut self, now: Instant, timers: &mut Timers) -> Result<(), Error> {
        let end = self.last_heard + self.peer_ttl;
        if end <= now {
            return Err(Timeout::Ttl.into());
        }
        timers.set(Timer::Ttl, end);
        Ok(())
    }

    /// Has nothing come for as long as the peer may be silent?
    pub(crate) fn is_over(&self, now: Instant, timers: &Timers) -> bool {
        let unanswered = timers.is_due(Timer::Silence, now) && self.pinged.as_ref().is_some_and(|pinged| !pinged.heard);
        let silent = timers.is_due(Timer::Ttl, now) && self.last_heard + self.peer_ttl <= now;
        self.paused.is_none() && (unanswered || silent)
    }

    /// We stop reading.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// We read again: the receive deadlines move by the time that we did not.
    pub(crate) fn resume(&mut self, now: Instant, timers: &mut Timers) {
        let Some(since) = self.paused.take() else {
            return;
        };
        let pause = now.saturating_duration_since(since);
        self.last_heard = self.last_heard + pause;
        for timer in [Timer::Silence, Timer::Ttl] {
            if let Some(at) = timers.at(timer) {
                timers.set(timer, at + pause);
            }
        }
    }

    /// Does this timer run now?
    pub(crate) fn runs(&self, timer: Timer) -> bool {
        self.paused.is_none() || !matches!(timer, Timer::Silence | Timer::Ttl)
    }
}

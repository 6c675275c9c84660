//! The deadlines of one connection.

use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Greeting and handshake must be complete (A1.8).
    Handshake,
    /// The next PING is due.
    Ping,
    /// The answer to our PING, or any octet, must be here.
    Silence,
    /// Some octet must be here, by the TTL that the peer named.
    Ttl,
}

impl Timer {
    /// In the order in which those that are due at once are looked at: a PING that runs out makes room for the next.
    pub(crate) const ALL: [Timer; 4] = [Timer::Handshake, Timer::Silence, Timer::Ttl, Timer::Ping];
}

/// When each timer fires, if it is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    pub(crate) fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.at(timer).is_some_and(|at| at <= now)
    }
}

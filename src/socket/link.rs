//! A peer that we dial, and dial again.

use alloc::sync::Arc;
use core::time::Duration;

use crate::rand::Rng;
use crate::socket::Backoff;
use crate::time::Instant;

/// An ERROR that follows the handshake comes a round trip later.
const TRIAL: Duration = Duration::from_secs(1);

/// No bound is below this, so that a backoff of zero does not spin.
const SHORTEST: Duration = Duration::from_millis(1);

/// ```text
/// Dialing --dialed--> Up
///    ^  `--failed-.    | closed
///    |            v    v
///    `--timeout-- Waiting
/// ```
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) target: Arc<str>,
    pub(crate) state: LinkState,
    /// How often in a row it has failed.
    failures: u32,
    /// The handshake of the present connection is complete.
    well: bool,
    /// A connection ended with an ERROR, and none has stood the trial since.
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Dialing,
    Waiting(Instant),
    Up,
    /// Up, but not trusted before this: it may be refused again, and what was sent over it would be lost.
    OnTrial(Instant),
}

impl Link {
    pub(crate) fn new(target: &str) -> Link {
        Link { target: target.into(), state: LinkState::Dialing, failures: 0, well: false, refused: false }
    }

    /// Says whether messages may be sent now.
    pub(crate) fn handshake_done(&mut self, now: Instant) -> bool {
        self.well = true;
        self.state = if self.refused { LinkState::OnTrial(now + TRIAL) } else { LinkState::Up };
        !self.refused
    }

    /// The trial was on until now, if there was one.
    pub(crate) fn end_trial(&mut self, now: Instant) -> bool {
        let over = matches!(self.state, LinkState::OnTrial(until) if until <= now);
        if over {
            self.state = LinkState::Up;
            self.refused = false;
        }
        over
    }

    /// Was the handshake of the last connection complete?
    pub(crate) fn was_well(&self) -> bool {
        self.well
    }

    /// Waits before the next try: a random time up to a bound that doubles (D6). With full jitter, clients that lost
    /// their server together do not come back together.
    ///
    /// A completed handshake, and only that, proves that the peer is well, unless it has `refused` us after that.
    pub(crate) fn wait(&mut self, now: Instant, refused: bool, backoff: Backoff, rng: &mut Rng) -> Duration {
        if core::mem::take(&mut self.well) && !refused {
            self.failures = 0;
        }
        self.refused |= refused;
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let bound = backoff.first.saturating_mul(factor).min(backoff.cap).max(SHORTEST);
        self.failures = self.failures.saturating_add(1).min(31);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(rng.up_to(micros));
        self.state = LinkState::Waiting(now + delay);
        delay
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            LinkState::Waiting(until) | LinkState::OnTrial(until) => Some(until),
            LinkState::Dialing | LinkState::Up => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_starts_over_after_a_handshake() {
        let backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(30) };
        let mut rng = Rng::new(3);
        let mut link = Link::new("tcp://localhost:1");
        let mut longest = |link: &mut Link, failures: u32| {
            (0..300)
                .map(|_| {
                    link.failures = failures;
                    link.wait(Instant::ZERO, false, backoff, &mut rng)
                })
                .max()
                .unwrap_or_default()
        };
        for (failures, bound) in [(0, 100), (1, 200), (2, 400), (8, 25_600), (9, 30_000), (31, 30_000)] {
            let longest = longest(&mut link, failures);
            assert!(longest <= Duration::from_millis(bound), "{longest:?} after {failures} failures");
            assert!(longest >= Duration::from_millis(bound) * 9 / 10, "{longest:?} after {failures} failures");
        }
        for (refused, failures) in [(false, 1), (true, 6), (false, 6)] {
            (link.failures, link.well) = (5, failures == 1 || refused);
            link.wait(Instant::ZERO, refused, backoff, &mut rng);
            assert_eq!((link.failures, link.well), (failures, false));
        }
    }
}

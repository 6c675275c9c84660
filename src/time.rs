//! Time as an argument: the core has no clock.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time, as the driver counts it: a [`Duration`] since an epoch that the driver picks.
///
/// The driver reads its clock and passes the result in; nothing below `net` asks for the time. Instants that are
/// handed to one object must never go back. One that does is harmless: it delays deadlines, no more.
///
/// ```
/// use core::time::Duration;
/// use zmio::Instant;
///
/// let start = Instant::from_millis(500);
/// let later = start + Duration::from_secs(1);
/// assert_eq!(later.saturating_duration_since(start), Duration::from_secs(1));
/// assert_eq!(start.saturating_duration_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Instant = Instant(Duration::ZERO);

    /// The instant that lies `elapsed` after the epoch.
    pub const fn after_epoch(elapsed: Duration) -> Instant {
        Instant(elapsed)
    }

    /// The instant that lies so many milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Instant {
        Instant(Duration::from_millis(millis))
    }

    /// The instant that lies so many microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(Duration::from_micros(micros))
    }

    /// The time from the epoch to this instant.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this instant, or zero if `earlier` is in fact later.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates: a deadline too far to be counted is a deadline that never comes.
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}

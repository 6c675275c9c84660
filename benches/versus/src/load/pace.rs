//! Sending at a fixed rate, and how long each message takes to each client.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A timer of the kernel's: `epoll_wait` alone counts in milliseconds, which is the pace itself.
pub struct Pace {
    timer: OwnedFd,
    start: Instant,
    interval: Duration,
    senders: usize,
    /// When each message was really handed to its sender's socket, in the order of the schedule.
    sent: Vec<Instant>,
    /// For each client and sender the number of the message that was looked at last.
    seen: Vec<u64>,
    /// The time of each delivery in nanoseconds, while they are recorded.
    latencies: Option<Vec<u64>>,
    /// How far behind the schedule a message was sent at worst while recording.
    late: Duration,
}

impl Pace {
    /// A schedule of `rate` messages per second, from all senders in turn.
    pub fn start(registry: &Registry, token: Token, rate: f64, clients: usize, senders: usize) -> io::Result<Pace> {
        let interval = Duration::from_secs_f64(1.0 / rate);
        let time = libc::timespec { tv_sec: interval.as_secs() as _, tv_nsec: interval.subsec_nanos() as _ };
        let spec = libc::itimerspec { it_interval: time, it_value: time };
        // SAFETY: a new descriptor, which is checked before it is owned.
        let timer = unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let start = Instant::now();
        // SAFETY: reads one valid itimerspec; the old one is not asked for.
        if unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        let seen = vec![0; clients * senders];
        let late = Duration::ZERO;
        Ok(Pace { timer, start, interval, senders, sent: Vec::new(), seen, latencies: None, late })
    }

    /// The senders that are due, one message each time that one is named.
    pub fn due(&mut self) -> std::ops::Range<usize> {
        let mut ticks = 0u64;
        // SAFETY: reads the eight octets that a timer gives. When it has none, nothing is written.
        unsafe { libc::read(self.timer.as_raw_fd(), (&raw mut ticks).cast(), size_of::<u64>()) };
        let now = Instant::now();
        let first = self.sent.len();
        let end = first + ticks as usize;
        if ticks > 0 && self.latencies.is_some() {
            let was_due = self.start + self.interval * (first + 1) as u32;
            self.late = self.late.max(now.saturating_duration_since(was_due));
        }
        self.sent.resize(end, now);
        first..end
    }

    pub fn sender(&self, message: usize) -> usize {
        message % self.senders
    }

    pub fn record(&mut self) {
        self.latencies = Some(Vec::new());
        self.late = Duration::ZERO;
    }

    pub fn take(&mut self) -> (Vec<u64>, Duration) {
        (self.latencies.take().unwrap_or_default(), self.late)
    }

    /// A client has received all that comes before these numbers. One that was lost counts as received when that shows.
    pub fn received(&mut self, client: usize, next: &[u64]) {
        let now = Instant::now();
        let seen = &mut self.seen[client * self.senders..][..self.senders];
        for (sender, (seen, &next)) in seen.iter_mut().zip(next).enumerate() {
            for number in *seen..next {
                let sent = self.sent.get(number as usize * self.senders + sender);
                if let (Some(latencies), Some(&sent)) = (&mut self.latencies, sent) {
                    latencies.push((now - sent).as_nanos() as u64);
                }
            }
            *seen = next;
        }
    }
}

//! What the user may set about a connection, and the finite defaults.

use core::time::Duration;

use crate::conn::Identity;
use crate::wire::SocketType;

/// How much a peer may make us take before we close it. Every limit is finite: a peer that is no friend of ours must
/// not be able to make us grow.
///
/// ```
/// let mut limits = zmio::Limits::default();
/// limits.message_octets = 1024 * 1024;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message, in octets with its frame headers. Default 64 MiB: above what people send, below what
    /// hurts. A larger one is refused when its size is announced, before its octets come.
    pub message_octets: u64,
    /// The most frames of a message. Default 8,192: each costs the receiver a header to walk, whatever its size.
    pub message_frames: u32,
    /// The largest command after the handshake, in octets. Default 64 KiB; those in use need less than 300.
    pub command_octets: u32,
    /// The largest command during the handshake, in octets. Default 8 KiB, since nobody is authenticated yet.
    pub metadata_octets: u32,
    /// The most metadata properties. Default 64; peers in use send two or three.
    pub properties: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_octets: 64 << 20,
            message_frames: 8_192,
            command_octets: 64 << 10,
            metadata_octets: 8 << 10,
            properties: 64,
        }
    }
}

impl Limits {
    /// A preset for microcontrollers: messages of 4 KiB and 16 frames, commands of 512 octets, 8 properties.
    ///
    /// It bounds single messages and the handshake. How many there may be is for the options of the socket, whose defaults are
    /// for servers:
    ///
    /// ```
    /// use zmio::{Limits, Mark, Options};
    ///
    /// let mark = Mark { messages: Some(8), octets: Some(8 << 10) };
    /// let options = Options::new()
    ///     .limits(Limits::small())
    ///     .send_mark(mark)
    ///     .receive_mark(mark)
    ///     .unfinished_octets(Some(16 << 10))
    ///     .max_peers(Some(4))
    ///     .max_handshakes(Some(2));
    /// ```
    ///
    /// Beyond these a broadcast takes a block of 64 KiB, and a relay, or whoever takes runs, one of 1 MiB.
    pub fn small() -> Limits {
        Limits { message_octets: 4 << 10, message_frames: 16, command_octets: 512, metadata_octets: 512, properties: 8 }
    }
}

/// A high-water mark: how much a queue may hold. `None` means unlimited; zero does not, since an empty queue takes any
/// one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// In messages. Default 1,000, as libzmq's.
    pub messages: Option<u32>,
    /// In octets with frame headers. Default 16 MiB. Each entry of a queue counts 64 octets more than it has, so that
    /// a flood of empty messages is bounded by what it costs; and messages that came together and have 12 to 16 KiB count
    /// the 16 KiB that they keep.
    pub octets: Option<u64>,
}

impl Default for Mark {
    fn default() -> Mark {
        Mark { messages: Some(1_000), octets: Some(16 << 20) }
    }
}

impl Mark {
    /// Is a queue with so much in it at its mark?
    pub(crate) fn is_reached(&self, messages: u64, octets: u64) -> bool {
        messages != 0 && !self.admits(messages, octets, 1, 1)
    }

    /// May so much be added to a queue that holds so much? Always, if it is empty.
    pub(crate) fn admits(&self, messages: u64, octets: u64, more_messages: u64, more_octets: u64) -> bool {
        let within = |limit: Option<u64>, sum: u64| limit.is_none_or(|limit| sum <= limit);
        messages == 0
            || within(self.messages.map(u64::from), messages.saturating_add(more_messages))
                && within(self.octets, octets.saturating_add(more_octets))
    }

    /// Room for several queues.
    #[cfg(feature = "net")]
    pub(crate) fn times(&self, queues: u64) -> Mark {
        let times = |n: u32| u32::try_from(u64::from(n).saturating_mul(queues)).unwrap_or(u32::MAX);
        Mark { messages: self.messages.map(times), octets: self.octets.map(|n| n.saturating_mul(queues)) }
    }

    /// Half of it: where a queue that was full is open again.
    pub(crate) fn half(&self) -> Mark {
        Mark { messages: self.messages.map(|n| n / 2), octets: self.octets.map(|n| n / 2) }
    }
}

/// Which peers are sent PINGs. Every PING of theirs is answered in any case (RFC 37).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingWhom {
    /// Those that announce ZMTP 3.1 or later, and those that ever pinged us. The default: some peers of 3.0 break.
    #[default]
    Capable,
    /// Everyone. NetMQ, which announces 3.0, does answer.
    All,
}

/// Heartbeats (RFC 37, "Connection Heartbeating"): a PING at an interval, and the end of a connection that falls silent.
///
/// ```
/// use core::time::Duration;
/// use zmio::Heartbeat;
///
/// let heartbeat = Heartbeat::every(Duration::from_secs(5)).timeout(Duration::from_secs(15));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) ttl: u16,
    pub(crate) whom: PingWhom,
}

impl Heartbeat {
    /// The largest TTL that may be announced, in tenths of a second: old peers overflow above it.
    const MAX_TTL: u16 = 655;

    /// A PING every `interval`, of which at most one is unanswered at a time. With a [`ttl`](Heartbeat::ttl) the next one goes out
    /// all the same if the peer was heard since, or is not read by us. The timeout is the interval too, until
    /// set otherwise. An interval of less than a millisecond counts as one.
    pub fn every(interval: Duration) -> Heartbeat {
        let interval = interval.max(Duration::from_millis(1));
        Heartbeat { interval, timeout: interval, ttl: 0, whom: PingWhom::default() }
    }

    /// How long after a PING a peer may send no octet at all before it is closed. Time in which we ourselves do not
    /// read it does not count, nor that in which the PING waits for the end of a message that the peer goes on to receive,
    /// as far as the system's send buffer shows that: a peer that takes less of it in a timeout than the system frees at a
    /// time, up to some MiB, may be closed. One that takes a little in each timeout is not.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Heartbeat {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long the peer shall wait for octets of ours before it closes; sent in each PING in tenths of a second,
    /// rounded up, at most 65.5 seconds. Default zero: the peer decides.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Heartbeat {
        let tenths = ttl.as_millis().div_ceil(100).min(u128::from(Heartbeat::MAX_TTL));
        self.ttl = tenths as u16;
        self
    }

    /// Which peers are pinged.
    #[must_use]
    pub fn whom(mut self, whom: PingWhom) -> Heartbeat {
        self.whom = whom;
        self
    }
}

/// What a [`Connection`](super::Connection) needs to know. All connections of a socket share one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our socket type, as announced.
    pub socket_type: SocketType,
    /// Our identity; announced by REQ, DEALER and ROUTER, even if empty.
    pub identity: Identity,
    /// What a peer may make us take.
    pub limits: Limits,
    /// One deadline for greeting and handshake together, from the start of the connection. Default 30 seconds.
    pub handshake_timeout: Duration,
    /// Heartbeats; none by default.
    pub heartbeat: Option<Heartbeat>,
    /// How much may wait to be sent.
    pub send_mark: Mark,
}

impl Config {
    /// The defaults for a socket type.
    pub fn new(socket_type: SocketType) -> Config {
        Config {
            socket_type,
            identity: Identity::default(),
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(30),
            heartbeat: None,
            send_mark: Mark::default(),
        }
    }
}

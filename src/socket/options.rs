//! What the user may set about a socket.

use core::time::Duration;

use crate::conn::{Config, Heartbeat, Identity, Limits, Mark};
use crate::wire::SocketType;

/// The options of a [`Socket`](super::Socket). Every one has a default, and every default that bounds something is finite.
///
/// # What peers cost at most
///
/// In octets of memory, with R for [`receive_mark`](Options::receive_mark), S for [`send_mark`](Options::send_mark), M for
/// [`Limits::message_octets`], H for [`Limits::metadata_octets`], T for [`unfinished_octets`](Options::unfinished_octets), B for
/// [`broadcast_octets`](Options::broadcast_octets) and U for [`max_handshakes`](Options::max_handshakes), besides some KiB for
/// each peer and 14 MiB:
///
/// - one peer: R + 2 M + K + S. K is what a driver keeps back of its last read when R is reached; for the engine that is 1 MiB,
///   or R + 16 KiB if that is less.
/// - n peers: n (R + M + K + S) + min(2 n M, T + 2 M) + 2 B + 2 U H.
///
/// S counts as M at least, since an empty queue takes any one message. What is only broadcast takes no S, but what is begun to
/// be sent to a peer: one message, or 64 KiB. An application that takes what comes holds next to nothing of R and of its M.
///
/// # Example
///
/// ```
/// use core::time::Duration;
/// use zmio::{Heartbeat, Identity, Mark, Options};
///
/// let options = Options::new()
///     .identity(Identity::new("player 7")?)
///     .heartbeat(Heartbeat::every(Duration::from_secs(5)))
///     .send_mark(Mark { messages: Some(100), ..Mark::default() });
/// # Ok::<(), zmio::conn::IdentityError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) handshake_timeout: Duration,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) send_mark: Mark,
    pub(crate) receive_mark: Mark,
    pub(crate) broadcast_octets: Option<u64>,
    pub(crate) unfinished_octets: Option<u64>,
    pub(crate) duplicates: Duplicates,
    pub(crate) backoff: Backoff,
    pub(crate) max_peers: Option<usize>,
    pub(crate) max_per_address: Option<usize>,
    pub(crate) max_handshakes: Option<usize>,
    pub(crate) deliver_runs: bool,
}

/// What a ROUTER does when a peer brings along an identity that another one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duplicates {
    /// The newcomer gets an ERROR and is closed. The default: nobody takes a name from its owner. But an old
    /// connection that is half open, its host gone without a word, then locks the client out until the heartbeat or
    /// TCP finds out, so set a heartbeat.
    #[default]
    RejectNew,
    /// The newcomer takes the identity over, and the old connection is closed. What was queued for it is discarded.
    Handover,
}

/// How long to wait before dialling again: a random time up to a bound, which starts at `first` and doubles with every
/// failure up to `cap`. A completed handshake starts it over, unless an ERROR follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first bound. Default 100 ms, as libzmq's reconnect interval. Less than 1 ms counts as 1 ms.
    pub first: Duration,
    /// The last bound. Default 30 s: a server that is back is found soon, one that is not is left in peace.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(30) }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults, each named at its method.
    pub fn new() -> Options {
        Options {
            identity: Identity::default(),
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(30),
            heartbeat: None,
            send_mark: Mark::default(),
            receive_mark: Mark::default(),
            broadcast_octets: Some(32 << 20),
            unfinished_octets: Some(1 << 30),
            duplicates: Duplicates::default(),
            backoff: Backoff::default(),
            max_peers: Some(16_384),
            max_per_address: Some(4_096),
            max_handshakes: Some(1_024),
            deliver_runs: false,
        }
    }

    /// Our identity, as peers of type ROUTER know us. Default empty: they assign one.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Options {
        self.identity = identity;
        self
    }

    /// What one peer may make us take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = limits;
        self
    }

    /// The time for greeting and handshake together, from the start of a connection. Default 30 s. One total, so that
    /// a peer that sends an octet now and then does not stay for ever.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Options {
        self.handshake_timeout = timeout;
        self
    }

    /// Heartbeats. Default none: a peer that vanished is then noticed by TCP alone. Peers of ZMTP 3.0, such as NetMQ's, are not
    /// pinged unless [`Heartbeat::whom`] says so.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Options {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// How much may wait to be sent to each peer, and in the queue of a DEALER before any peer takes it. Default
    /// 1,000 messages or 16 MiB. Broadcasts are held against it before they are queued and not again, so they may
    /// pass it by what one turn brings; and for them the octets of what is written first do not count.
    #[must_use]
    pub fn send_mark(mut self, mark: Mark) -> Options {
        self.send_mark = mark;
        self
    }

    /// How much of each peer may wait to be received before that peer is no longer read; at half of it reading goes
    /// on. Default 1,000 messages or 16 MiB. The message that reaches it is still taken.
    ///
    /// The end of a connection is behind what was sent over it. So of a peer at its mark it is not seen, and a DEALER whose
    /// messages nobody receives does not dial again.
    #[must_use]
    pub fn receive_mark(mut self, mark: Mark) -> Options {
        self.receive_mark = mark;
        self
    }

    /// How many octets of broadcasts all peers together may hold back, since one peer that lags keeps what the
    /// others have passed. Default 32 MiB. Beyond it those that lag most lose the broadcasts that are queued for them, as many
    /// as it takes, and no message that was sent to them. One turn may pass it, and so does what is begun to be sent to a peer, one
    /// message or 64 KiB, and any one message of 1 MiB or more.
    ///
    /// With [`deliver_runs`](Options::deliver_runs) some of it may be reads of an engine that are passed on without a copy: at
    /// most a quarter of it, and at most 4 MiB. Such a read counts 1 MiB while any part of it is held back.
    #[must_use]
    pub fn broadcast_octets(mut self, octets: Option<u64>) -> Options {
        self.broadcast_octets = octets;
        self
    }

    /// How much memory the messages of all peers may take together that have come in part, in octets. Default 1 GiB. Beyond
    /// it the peer that holds most is closed with [`Cause::TooMuchUnfinished`](super::Cause::TooMuchUnfinished), which need not
    /// be the one that passed it.
    ///
    /// A message under way takes memory for what has come of it, not for what was announced, and at most twice its size. So
    /// the limit counts as no less than twice the largest message and the largest command ([`Limits`]): a peer that is alone
    /// with its message can always finish it. For n peers that may be in the middle of their largest messages at the same time,
    /// set it to 2 n [`Limits::message_octets`].
    #[must_use]
    pub fn unfinished_octets(mut self, octets: Option<u64>) -> Options {
        self.unfinished_octets = octets;
        self
    }

    /// What happens to a peer with an identity that is taken. Default [`Duplicates::RejectNew`]. ROUTER only.
    #[must_use]
    pub fn duplicates(mut self, duplicates: Duplicates) -> Options {
        self.duplicates = duplicates;
        self
    }

    /// The waiting time before a peer is dialled again. Default 100 ms, doubling to 30 s, with full jitter.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Options {
        self.backoff = backoff;
        self
    }

    /// The most peers, counting those whose last messages are not yet received. Default 16,384. At the limit no
    /// connection is accepted; `None` leaves it to the operating system.
    #[must_use]
    pub fn max_peers(mut self, peers: Option<usize>) -> Options {
        self.max_peers = peers;
        self
    }

    /// The most accepted peers of one IP address, counted as [`max_peers`](Options::max_peers) counts them. Default 4,096, a
    /// quarter of that: above what comes from behind one address, as a rule, and no single host shuts the others out.
    /// One more is refused at once, and the others stay; [`Event::AddressFull`](super::Event::AddressFull) says so once, and
    /// [`Socket::refused_by_address`](super::Socket::refused_by_address) counts on.
    ///
    /// With IPv6 the first 64 bits are the address: the rest is the peer's choice, and so all hosts of one local network
    /// share a count. Loopback counts as any other. Peers whose address the driver does not know, and those that we dial,
    /// do not count. `None` where a proxy brings everybody from its own address. Zero refuses whoever has an address.
    #[must_use]
    pub fn max_per_address(mut self, peers: Option<usize>) -> Options {
        self.max_per_address = peers;
        self
    }

    /// The most accepted connections whose handshake is not complete. Default 1,024. One more, and the oldest goes.
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: Option<usize>) -> Options {
        self.max_handshakes = handshakes;
        self
    }

    /// Deliver [`Event::Run`](super::Event::Run) instead of [`Event::Message`](super::Event::Message): for a proxy that
    /// forwards what comes without looking at each message. Default no.
    ///
    /// Runs share memory that is used again when they are dropped. One that is kept may hold on to 1 MiB.
    #[must_use]
    pub fn deliver_runs(mut self, runs: bool) -> Options {
        self.deliver_runs = runs;
        self
    }

    /// What all messages under way may take, if that is to admit one of any size.
    pub(crate) fn unfinished_allowed(&self) -> u64 {
        let one = self.limits.message_octets.saturating_add(self.limits.command_octets.into()).saturating_mul(2);
        self.unfinished_octets.map_or(u64::MAX, |octets| octets.max(one))
    }

    pub(crate) fn connection(&self, socket_type: SocketType) -> Config {
        Config {
            socket_type,
            identity: self.identity.clone(),
            limits: self.limits.clone(),
            handshake_timeout: self.handshake_timeout,
            heartbeat: self.heartbeat.clone(),
            send_mark: self.send_mark,
        }
    }
}

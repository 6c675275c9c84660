use core::fmt;

/// What kind of socket a peer has. RFC 37, "The Socket-Type Property".
///
/// Every kind is known by name, so that a peer of the wrong one can be told which. That does not mean that this
/// crate offers a socket of each.
///
/// ```
/// use zmio::wire::SocketType;
///
/// assert_eq!(SocketType::parse(b"DEALER"), Some(SocketType::Dealer));
/// assert_eq!(SocketType::parse(b"dealer"), None);
/// assert!(SocketType::Dealer.talks_to(SocketType::Router));
/// assert!(!SocketType::Dealer.talks_to(SocketType::Sub));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketType {
    /// A request, then its reply, in turn: RFC 28.
    Req,
    /// A reply to each request, in turn: RFC 28.
    Rep,
    /// Round-robin out, fair-queued in: RFC 28.
    Dealer,
    /// Addresses each peer by its identity: RFC 28.
    Router,
    /// Publishes to who subscribed: RFC 29.
    Pub,
    /// A PUB that sees the subscriptions: RFC 29.
    Xpub,
    /// Subscribes: RFC 29.
    Sub,
    /// A SUB whose user sends the subscriptions: RFC 29.
    Xsub,
    /// Hands out work: RFC 30.
    Push,
    /// Takes work in: RFC 30.
    Pull,
    /// Has one peer only: RFC 31.
    Pair,
    /// The asking side of CLIENT and SERVER: RFC 41.
    Client,
    /// The answering side of CLIENT and SERVER: RFC 41.
    Server,
    /// Sends to groups: RFC 48.
    Radio,
    /// Joins groups: RFC 48.
    Dish,
    /// Hands out work in single frames: RFC 49.
    Scatter,
    /// Takes work in, in single frames: RFC 49.
    Gather,
    /// Addresses other PEERs: RFC 51.
    Peer,
    /// Has one peer only, single frames: RFC 52.
    Channel,
}

impl SocketType {
    /// The value of the property `Socket-Type`.
    pub fn name(self) -> &'static str {
        match self {
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
            SocketType::Pub => "PUB",
            SocketType::Xpub => "XPUB",
            SocketType::Sub => "SUB",
            SocketType::Xsub => "XSUB",
            SocketType::Push => "PUSH",
            SocketType::Pull => "PULL",
            SocketType::Pair => "PAIR",
            SocketType::Client => "CLIENT",
            SocketType::Server => "SERVER",
            SocketType::Radio => "RADIO",
            SocketType::Dish => "DISH",
            SocketType::Scatter => "SCATTER",
            SocketType::Gather => "GATHER",
            SocketType::Peer => "PEER",
            SocketType::Channel => "CHANNEL",
        }
    }

    /// Reads the value of the property `Socket-Type`. It is exact: upper case, nothing around it.
    pub fn parse(value: &[u8]) -> Option<SocketType> {
        Some(match value {
            b"REQ" => SocketType::Req,
            b"REP" => SocketType::Rep,
            b"DEALER" => SocketType::Dealer,
            b"ROUTER" => SocketType::Router,
            b"PUB" => SocketType::Pub,
            b"XPUB" => SocketType::Xpub,
            b"SUB" => SocketType::Sub,
            b"XSUB" => SocketType::Xsub,
            b"PUSH" => SocketType::Push,
            b"PULL" => SocketType::Pull,
            b"PAIR" => SocketType::Pair,
            b"CLIENT" => SocketType::Client,
            b"SERVER" => SocketType::Server,
            b"RADIO" => SocketType::Radio,
            b"DISH" => SocketType::Dish,
            b"SCATTER" => SocketType::Scatter,
            b"GATHER" => SocketType::Gather,
            b"PEER" => SocketType::Peer,
            b"CHANNEL" => SocketType::Channel,
            _ => return None,
        })
    }

    /// Whether RFC 37 lets a socket of this type have a peer of the `other`. It is the same in both directions.
    pub fn talks_to(self, other: SocketType) -> bool {
        use SocketType::*;
        // A6
        match self {
            Req => matches!(other, Rep | Router),
            Rep => matches!(other, Req | Dealer),
            Dealer => matches!(other, Rep | Dealer | Router),
            Router => matches!(other, Req | Dealer | Router),
            Pub | Xpub => matches!(other, Sub | Xsub),
            Sub | Xsub => matches!(other, Pub | Xpub),
            Push => other == Pull,
            Pull => other == Push,
            Pair => other == Pair,
            Client => other == Server,
            Server => other == Client,
            Radio => other == Dish,
            Dish => other == Radio,
            Scatter => other == Gather,
            Gather => other == Scatter,
            Peer => other == Peer,
            Channel => other == Channel,
        }
    }

    /// Whether a socket of this type announces an identity, even an empty one: REQ, DEALER and ROUTER.
    ///
    /// RFC 37, "The Identity Property": from any other type the property is ignored.
    pub fn has_identity(self) -> bool {
        matches!(self, SocketType::Req | SocketType::Dealer | SocketType::Router) // A4, A5
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::SocketType::{self, *};

    const ALL: [SocketType; 19] = [
        Req, Rep, Dealer, Router, Pub, Xpub, Sub, Xsub, Push, Pull, Pair, Client, Server, Radio, Dish, Scatter, Gather,
        Peer, Channel,
    ];

    #[test]
    fn a_name_reads_back_and_only_in_upper_case() {
        // A4
        for socket_type in ALL {
            let name = socket_type.name();
            assert_eq!(SocketType::parse(name.as_bytes()), Some(socket_type));
            assert_eq!(socket_type.to_string(), name);
            assert_eq!(SocketType::parse(name.to_ascii_lowercase().as_bytes()), None);
        }
        for value in [&b""[..], b"Dealer", b"DEALER ", b"DEALER\0", b"STREAM", b"\xff"] {
            assert_eq!(SocketType::parse(value), None);
        }
    }

    /// Each pair that RFC 37 allows, once.
    const PAIRS: [(SocketType, SocketType); 17] = [
        (Req, Rep),
        (Req, Router),
        (Rep, Dealer),
        (Dealer, Dealer),
        (Dealer, Router),
        (Router, Router),
        (Pub, Sub),
        (Pub, Xsub),
        (Xpub, Sub),
        (Xpub, Xsub),
        (Push, Pull),
        (Pair, Pair),
        (Client, Server),
        (Radio, Dish),
        (Scatter, Gather),
        (Peer, Peer),
        (Channel, Channel),
    ];

    #[test]
    fn exactly_the_pairs_of_the_rfc_talk_in_both_directions() {
        // A6
        for one in ALL {
            for other in ALL {
                let allowed = PAIRS.contains(&(one, other)) || PAIRS.contains(&(other, one));
                assert_eq!(one.talks_to(other), allowed, "{one} {other}");
            }
        }
    }

    #[test]
    fn req_dealer_and_router_have_an_identity() {
        // A5
        for socket_type in ALL {
            let expected = [Req, Dealer, Router].contains(&socket_type);
            assert_eq!(socket_type.has_identity(), expected, "{socket_type}");
        }
    }
}

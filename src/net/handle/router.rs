//! The blocking ROUTER.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use super::desk::Wait;
use super::worker::Side;
use super::{Handle, HandleEvent, HandleOptions, OpenError, RecvError, seed, until};
use crate::conn::{Identity, Mark, QUEUE_ENTRY_OCTETS};
use crate::message::Message;
use crate::net::Endpoint;
use crate::socket::{self, Address, Counts, PeerId, SendError, Socket};

/// A ROUTER for programs without an event loop (RFC 28): it knows its peers by identity, and sends to the one that is
/// named. A thread of its own does the I/O.
///
/// ```
/// use zmio::{Dealer, Message, Router};
///
/// let router = Router::bind("tcp://127.0.0.1:0")?;
/// let dealer = Dealer::connect(&router.local_endpoints()?[0].to_string())?;
///
/// dealer.send("hello")?;
/// let (from, message) = router.recv()?;
/// router.send(&from, message)?;
/// assert_eq!(dealer.recv()?, Message::from("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Threads
///
/// Clones share one socket, and any thread may use them. Messages that one thread sends to one peer keep their order.
/// When several threads receive, each message goes to exactly one of them, in no order between them.
///
/// # The end
///
/// [`close`](Router::close) sends what is queued and says what was not sent. When the last clone is dropped unclosed, the
/// same happens, for no longer than [`HandleOptions::linger`]. After that, or if the I/O thread fails, every call
/// returns an error and none blocks; messages that had been received are still given out.
#[derive(Clone, Debug)]
pub struct Router {
    handle: Arc<Handle<socket::Router>>,
}

/// What is known of a connected peer; from [`Router::peers`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerSummary {
    /// Its id, as events name it.
    pub peer: PeerId,
    /// Its identity: its own, or one that we assigned.
    pub identity: Identity,
    /// Where it is.
    pub address: Address,
    /// What went to it and came from it.
    pub counts: Counts,
}

impl PeerSummary {
    pub(super) fn new(peer: PeerId, view: socket::Peer<'_>) -> PeerSummary {
        PeerSummary { peer, identity: view.identity().clone(), address: view.address(), counts: view.counts() }
    }
}

impl Router {
    /// A ROUTER with the default options that listens at `endpoint`, such as `tcp://127.0.0.1:5557` or `tcp://*:5557`.
    pub fn bind(endpoint: &str) -> Result<Router, OpenError> {
        let router = Router::open(HandleOptions::new())?;
        router.listen(endpoint)?;
        Ok(router)
    }

    /// A ROUTER that neither listens nor dials yet.
    pub fn open(options: HandleOptions) -> Result<Router, OpenError> {
        let ledger = Ledger { mark: options.socket.send_mark, routes: HashMap::new() };
        let socket = Socket::router(options.socket.clone(), seed());
        Ok(Router { handle: Arc::new(Handle::open(socket, ledger, &options)?) })
    }

    /// Listens at one more endpoint; returns the one that it got, with the port that the system chose for port 0.
    pub fn listen(&self, endpoint: &str) -> Result<Endpoint, OpenError> {
        self.handle.bind(endpoint)
    }

    /// Stops listening at an endpoint, as [`listen`](Router::listen) returned it. Connections that were accepted there stay.
    pub fn unbind(&self, endpoint: &Endpoint) -> Result<(), OpenError> {
        self.handle.unbind(endpoint)
    }

    /// Dials a peer, and again whenever its connection ends. Its identity is known when it is connected: see
    /// [`peers`](Router::peers).
    pub fn dial(&self, endpoint: &str) -> Result<PeerId, OpenError> {
        self.handle.connect(endpoint)
    }

    /// Closes the connection to a peer, and dials it no more. What is queued for it is discarded.
    pub fn disconnect(&self, peer: PeerId) -> Result<(), OpenError> {
        self.handle.disconnect(peer)
    }

    /// The endpoints that are listened at.
    pub fn local_endpoints(&self) -> Result<Vec<Endpoint>, OpenError> {
        self.handle.local_endpoints()
    }

    /// Sends a message to the peer with this identity, and waits for room in its queue if there is none.
    ///
    /// # Errors
    ///
    /// With the message: [`NoSuchPeer`](SendError::NoSuchPeer) if no such peer is connected, at once or while waiting;
    /// [`Closing`](SendError::Closing) if the handle is closed. A message that was taken is lost if the connection
    /// ends before it is written; [`HandleEvent`] tells.
    pub fn send(&self, to: &Identity, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_within(to, message.into(), Wait::Forever)
    }

    /// As [`send`](Router::send), but waits no longer than `timeout`: then the message comes back as
    /// [`Full`](SendError::Full).
    pub fn send_timeout(&self, to: &Identity, message: impl Into<Message>, timeout: Duration) -> Result<(), SendError> {
        self.send_within(to, message.into(), until(timeout))
    }

    /// As [`send`](Router::send), but does not wait.
    pub fn try_send(&self, to: &Identity, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_within(to, message.into(), Wait::Not)
    }

    fn send_within(&self, to: &Identity, message: Message, wait: Wait) -> Result<(), SendError> {
        self.handle.desk.send(message, wait, |ledger, message| ledger.reserve(to, message))
    }

    /// Sends a message to all connected peers but one. Never waits: a peer whose queue is full does not get it, which is
    /// counted ([`Counts::dropped`]).
    ///
    /// # Errors
    ///
    /// [`Closing`](SendError::Closing) if the handle is closed; [`NoSuchPeer`](SendError::NoSuchPeer) if the one that
    /// is left out is not connected.
    pub fn broadcast_except(&self, except: Option<&Identity>, message: impl Into<Message>) -> Result<(), SendError> {
        self.handle.desk.send(message.into(), Wait::Not, |ledger, message| match except {
            None => Ok((To::AllBut(None), message)),
            Some(identity) => match ledger.routes.get(identity) {
                Some(route) => Ok((To::AllBut(Some(route.peer)), message)),
                None => Err(SendError::NoSuchPeer(message)),
            },
        })
    }

    /// Waits for a message, and says who sent it. Peers take turns.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the handle is closed and all that had come was received.
    pub fn recv(&self) -> Result<(Identity, Message), RecvError> {
        self.handle.receive(Wait::Forever)
    }

    /// As [`recv`](Router::recv), but waits no longer than `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<(Identity, Message), RecvError> {
        self.handle.receive(until(timeout))
    }

    /// As [`recv`](Router::recv), but does not wait: [`RecvError::Timeout`] if there is nothing.
    pub fn try_recv(&self) -> Result<(Identity, Message), RecvError> {
        self.handle.receive(Wait::Not)
    }

    /// The messages that come, until the handle is closed.
    pub fn iter(&self) -> impl Iterator<Item = (Identity, Message)> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Waits for something to happen, up to `timeout`: peers that come and go, for instance. The last 1,024 events are
    /// kept. Their order among each other is that of the socket; messages go their own way.
    pub fn event_timeout(&self, timeout: Duration) -> Result<HandleEvent, RecvError> {
        self.handle.event(until(timeout))
    }

    /// What has happened and was not taken yet.
    pub fn events(&self) -> impl Iterator<Item = HandleEvent> + '_ {
        std::iter::from_fn(|| self.handle.event(Wait::Not).ok())
    }

    /// The peers that are connected.
    pub fn peers(&self) -> Result<Vec<PeerSummary>, OpenError> {
        self.handle.peers()
    }

    /// Closes the socket for all clones: listens and receives no more, sends what is queued for no longer than `linger`
    /// (`None`: as long as it takes), and returns how many messages were not sent. Blocks until then.
    pub fn close(&self, linger: Option<Duration>) -> u64 {
        self.handle.close(linger)
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    Peer(PeerId),
    AllBut(Option<PeerId>),
}

/// What is on its way to each connected peer: on the desk and in its queue together.
#[derive(Debug)]
pub(super) struct Ledger {
    mark: Mark,
    routes: HashMap<Identity, Route>,
}

#[derive(Debug)]
struct Route {
    peer: PeerId,
    messages: u64,
    octets: u64,
}

impl Ledger {
    fn reserve(&mut self, to: &Identity, message: Message) -> Result<(To, Message), SendError> {
        let Some(route) = self.routes.get_mut(to) else {
            return Err(SendError::NoSuchPeer(message));
        };
        let octets = charge(&message);
        if !self.mark.admits(route.messages, route.octets, 1, octets) {
            return Err(SendError::Full(message));
        }
        route.messages += 1;
        route.octets += octets;
        Ok((To::Peer(route.peer), message))
    }
}

/// As the socket's queues count, at most.
pub(super) fn charge(message: &Message) -> u64 {
    (message.wire_len() + QUEUE_ENTRY_OCTETS) as u64
}

/// What the I/O thread has passed on, per peer, and not yet seen leave.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// By the index of the peer.
    passed: Vec<Option<Passed>>,
    /// Those with something in `passed`.
    open: Vec<PeerId>,
    /// The state of the connected peers that the ledger knows.
    membership: u64,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    peer: PeerId,
    messages: u64,
    octets: u64,
}

impl Books {
    fn note(&mut self, peer: PeerId, messages: u64, octets: u64) {
        let index = peer.index();
        if self.passed.len() <= index {
            self.passed.resize(index + 1, None);
        }
        let Some(place) = self.passed.get_mut(index) else {
            return;
        };
        match place {
            Some(passed) if passed.peer == peer => {
                passed.messages += messages;
                passed.octets += octets;
            }
            _ => {
                *place = Some(Passed { peer, messages, octets });
                self.open.push(peer);
            }
        }
    }
}

impl Side for socket::Router {
    type To = To;
    type From = Identity;
    type Ledger = Ledger;
    type Books = Books;

    fn pass(socket: &mut Socket<Self>, books: &mut Books, to: To, message: Message) -> Option<PeerId> {
        match to {
            To::Peer(peer) => {
                let octets = charge(&message);
                if socket.send(peer, message).is_err() {
                    return Some(peer);
                }
                books.note(peer, 1, octets);
            }
            To::AllBut(except) => {
                socket.broadcast_except(except, &message);
                for peer in socket.peers() {
                    books.note(peer, 0, 0);
                }
            }
        }
        None
    }

    fn from(socket: &Socket<Self>, peer: PeerId) -> Identity {
        socket.peer(peer).map(|peer| peer.identity().clone()).unwrap_or_default()
    }

    fn is_settled(socket: &Socket<Self>, books: &Books) -> bool {
        books.open.is_empty() && books.membership == socket.membership()
    }

    fn settle(socket: &Socket<Self>, books: &mut Books, ledger: &mut Ledger) -> bool {
        let mut freed = false;
        if books.membership != socket.membership() {
            books.membership = socket.membership();
            // Whoever waits for a peer that is gone is to hear of it.
            freed = true;
            ledger.routes.retain(|_, route| socket.peer(route.peer).is_some_and(|peer| peer.is_connected()));
            for peer in socket.peers() {
                let identity = <Self as Side>::from(socket, peer);
                let route = ledger.routes.entry(identity).or_insert(Route { peer, messages: 0, octets: 0 });
                if route.peer != peer {
                    *route = Route { peer, messages: 0, octets: 0 };
                }
            }
        }
        let Books { passed, open, .. } = books;
        open.retain(|peer| {
            let Some(place) = passed.get_mut(peer.index()) else {
                return false;
            };
            let Some(before) = place.filter(|passed| passed.peer == *peer) else {
                return false;
            };
            let view = socket.peer(*peer).filter(|view| view.is_connected());
            let (messages, octets) = view.map_or((0, 0), |view| (view.counts().queued, view.queued_octets()));
            let identity = view.map(|view| view.identity());
            if let Some(route) = identity.and_then(|identity| ledger.routes.get_mut(identity)) {
                // By broadcasts it may also have grown.
                route.messages = (route.messages + messages).saturating_sub(before.messages);
                route.octets = (route.octets + octets).saturating_sub(before.octets);
                freed |= messages < before.messages;
            }
            *place = (messages > 0).then_some(Passed { peer: *peer, messages, octets });
            messages > 0
        });
        freed
    }
}

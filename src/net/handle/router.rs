//! The blocking ROUTER.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use super::desk::{Refusal, Wait};
use super::worker::Side;
use super::{CloseError, Handle, HandleEvent, HandleOptions, OpenError, RecvError, seed, until};
use crate::conn::{ENTRY_OCTETS, Entry, Identity, Mark};
use crate::message::{Message, Outgoing};
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
/// # Replying to REQ
///
/// A REQ puts an empty frame before its question, the delimiter, and expects it before the answer; proxies in between add
/// addresses before that. [`split_envelope`](Message::split_envelope) takes all this off, and
/// [`Envelope::wrap`](crate::Envelope::wrap) puts it back:
///
/// ```no_run
/// use zmio::{Message, Router};
///
/// let router = Router::bind("tcp://127.0.0.1:5555")?;
/// for (from, request) in router.iter() {
///     // A plain DEALER sends no envelope.
///     let Ok((envelope, question)) = request.split_envelope() else { continue };
///     // One that is gone, or reads too slowly, gets no answer.
///     let _ = router.send(&from, envelope.wrap(question));
/// }
/// # Ok::<(), zmio::net::OpenError>(())
/// ```
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
        let ledger = Ledger { mark: options.socket.send_mark, routes: HashMap::new(), broadcasts: Load::default() };
        let socket = Socket::router(options.socket.clone(), seed());
        Ok(Router { handle: Arc::new(Handle::open(socket, ledger, &options)?) })
    }

    /// Listens at one more endpoint; returns the one that it got, with the port that the system chose for port 0. A name is
    /// looked up first, by the thread that calls, which may take long and holds up no other.
    pub fn listen(&self, endpoint: &str) -> Result<Endpoint, OpenError> {
        self.handle.bind(endpoint)
    }

    /// Stops listening at an endpoint, as [`listen`](Router::listen) returned it. Connections that were accepted there stay.
    pub fn unbind(&self, endpoint: &Endpoint) -> Result<(), OpenError> {
        self.handle.unbind(endpoint)
    }

    /// Dials a peer, and again whenever its connection ends, unless it answers the handshake with an ERROR
    /// ([`Event::GaveUp`](crate::Event::GaveUp)). Its identity is known when it is connected: see [`peers`](Router::peers). If it has
    /// another one after a reconnect, what it had sent before and was not received yet comes under the new one.
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

    /// Sends a message to the peer with this identity, an [`Identity`] or its octets. It does not wait for the peer: one that does
    /// not read must not hold up the others. It waits for the I/O thread, when that has still to pass on as many messages as
    /// the mark allows.
    ///
    /// # Errors
    ///
    /// With the message: [`NoSuchPeer`](SendError::NoSuchPeer) if no such peer is connected, or it cannot be written to any
    /// more; [`Full`](SendError::Full) if its queue is at [`Options::send_mark`](crate::Options::send_mark), since it reads
    /// too slowly; [`Closing`](SendError::Closing) if the handle is closed. Octets that are refused come back as a message,
    /// which is a copy. A message that was taken is lost if the connection ends before it is written; [`HandleEvent`] tells.
    pub fn send<'a>(&self, to: impl AsRef<[u8]>, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        self.send_within(to.as_ref(), message.into(), Wait::Not)
    }

    /// As [`send`](Router::send), but waits for room, no longer than `timeout`. For a ROUTER that has nobody else to serve.
    pub fn send_timeout<'a>(
        &self,
        to: impl AsRef<[u8]>,
        message: impl Into<Outgoing<'a>>,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_within(to.as_ref(), message.into(), until(timeout))
    }

    fn send_within(&self, to: &[u8], message: Outgoing<'_>, wait: Wait) -> Result<(), SendError> {
        self.handle.desk.send(message, wait, |ledger, octets| ledger.reserve(to, octets))
    }

    /// Sends a message to all connected peers but one; to all if that one is not connected. It does not wait for
    /// peers: one whose queue is full does not get the message, which is counted ([`Counts::dropped`]). It waits for the
    /// I/O thread, when that has still to take over as many broadcasts as the mark allows.
    ///
    /// # Errors
    ///
    /// [`Closing`](SendError::Closing) with the message, if the handle is closed.
    pub fn broadcast_except<'a>(
        &self,
        except: Option<&Identity>,
        message: impl Into<Outgoing<'a>>,
    ) -> Result<(), SendError> {
        self.handle.desk.send(message.into(), Wait::Forever, |ledger, octets| ledger.reserve_broadcast(except, octets))
    }

    /// Waits for a message, and says who sent it. Peers take turns, each with what came together from it: up to 16 KiB, or one
    /// message.
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
    /// kept; [`Missed`](HandleEvent::Missed) tells how many were forgotten before them. Their order among each other is
    /// that of the socket; messages go their own way.
    pub fn event_timeout(&self, timeout: Duration) -> Result<HandleEvent, RecvError> {
        self.handle.event(until(timeout))
    }

    /// What has happened and was not taken yet, no more than the last 1,024 events: see
    /// [`event_timeout`](Self::event_timeout).
    pub fn events(&self) -> impl Iterator<Item = HandleEvent> + '_ {
        std::iter::from_fn(|| self.handle.event(Wait::Not).ok())
    }

    /// The peers that are connected.
    pub fn peers(&self) -> Result<Vec<PeerSummary>, OpenError> {
        self.handle.peers()
    }

    /// What went to all peers together and came from them, those that are gone included.
    pub fn stats(&self) -> Result<Counts, OpenError> {
        self.handle.stats()
    }

    /// Closes the socket for all clones: listens and receives no more, sends what is queued for no longer than `linger`
    /// (`None`: as long as it takes), and returns how many messages were not sent. Blocks until then, and no longer than
    /// `linger`. Another call waits for the same end, and may shorten the linger.
    ///
    /// A broadcast counts once for each peer that it was queued for.
    ///
    /// Sent is what the system has taken over. It arrives if the connection then ends in good order, so `close` waits for
    /// the peers to end their sides, which they do as soon as they have read all: for no longer than `linger`, and 30
    /// seconds after the last was written whatever the linger. When a linger of less than a second is over, that goes on
    /// behind it up to a second. Where it is cut short, by this or by the end of the program, what the peer has not read yet may be lost.
    ///
    /// # Errors
    ///
    /// [`CloseError`] if the I/O thread has failed.
    pub fn close(&self, linger: Option<Duration>) -> Result<u64, CloseError> {
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
    /// Broadcasts on the desk. In the queues, they count for each peer.
    broadcasts: Load,
}

#[derive(Debug)]
struct Route {
    peer: PeerId,
    load: Load,
    /// What of it was in the peer's queue when that was last looked at: the peer has not taken it.
    queued: Load,
}

/// Messages and their octets, as the mark counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: u64,
    pub(super) octets: u64,
}

impl Load {
    /// A message of so many octets on the wire: as the socket's queues count it, at most.
    pub(super) fn of(octets: usize) -> Load {
        Load { messages: 1, octets: (octets + ENTRY_OCTETS) as u64 }
    }

    /// The messages of an entry, each counted as it was when it was sent.
    pub(super) fn of_entry(entry: &Entry) -> Load {
        let messages = u64::from(entry.messages());
        Load { messages, octets: entry.octets() as u64 + messages * ENTRY_OCTETS as u64 }
    }

    pub(super) fn add(&mut self, more: Load) {
        self.messages += more.messages;
        self.octets += more.octets;
    }

    /// Adds a message of so many octets on the wire, if the mark allows it.
    pub(super) fn admit(&mut self, mark: &Mark, octets: usize) -> Result<(), Refusal> {
        if !self.allows(mark, octets) {
            return Err(Refusal::Full);
        }
        self.add(Load::of(octets));
        Ok(())
    }

    fn allows(&self, mark: &Mark, octets: usize) -> bool {
        let more = Load::of(octets);
        mark.admits(self.messages, self.octets, more.messages, more.octets)
    }

    /// What was `before` is `after`: says whether it has become less.
    pub(super) fn settle(&mut self, before: Load, after: Load) -> bool {
        self.messages = (self.messages + after.messages).saturating_sub(before.messages);
        self.octets = (self.octets + after.octets).saturating_sub(before.octets);
        after.messages < before.messages || after.octets < before.octets
    }
}

impl Ledger {
    fn reserve(&mut self, to: &[u8], octets: usize) -> Result<To, Refusal> {
        let route = self.routes.get_mut(to).ok_or(Refusal::NoSuchPeer)?;
        // A producer may be faster than the I/O thread. That does not make a peer full that reads.
        let is_ahead = route.queued.allows(&self.mark, octets);
        route.load.admit(&self.mark, octets).map_err(|full| if is_ahead { Refusal::Ahead } else { full })?;
        Ok(To::Peer(route.peer))
    }

    fn reserve_broadcast(&mut self, except: Option<&Identity>, octets: usize) -> Result<To, Refusal> {
        self.broadcasts.admit(&self.mark, octets)?;
        let except = except.and_then(|identity| self.routes.get(identity));
        Ok(To::AllBut(except.map(|route| route.peer)))
    }

    /// Knows the connected peers that can be written to, and no others.
    fn follow(&mut self, socket: &Socket<socket::Router>) {
        self.routes.retain(|_, route| socket.peer(route.peer).is_some_and(|peer| peer.takes_messages()));
        for peer in socket.peers() {
            let Some(view) = socket.peer(peer).filter(|view| view.takes_messages()) else {
                continue;
            };
            // The identity may have gone from one peer to another.
            if self.routes.get(view.identity()).is_none_or(|route| route.peer != peer) {
                self.routes
                    .insert(view.identity().clone(), Route { peer, load: Load::default(), queued: Load::default() });
            }
        }
    }
}

/// What the I/O thread has passed on, per peer, and not yet seen leave.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// By the index of the peer.
    passed: Vec<Option<(PeerId, Load)>>,
    /// Those with something in `passed`.
    open: Vec<PeerId>,
    /// Broadcasts since the last settling.
    broadcasts: Load,
    /// The state of the connected peers that the ledger knows.
    membership: u64,
}

impl Books {
    fn note(&mut self, peer: PeerId, load: Load) {
        let index = peer.index();
        if self.passed.len() <= index {
            self.passed.resize(index + 1, None);
        }
        match self.passed.get_mut(index) {
            Some(Some((id, passed))) if *id == peer => passed.add(load),
            Some(place) => {
                *place = Some((peer, load));
                self.open.push(peer);
            }
            None => {}
        }
    }
}

impl Side for socket::Router {
    type To = To;
    type From = Identity;
    type Ledger = Ledger;
    type Books = Books;

    fn joins(last: &To, next: &To) -> bool {
        matches!((last, next), (To::Peer(last), To::Peer(next)) if last == next)
    }

    fn pass(socket: &mut Socket<Self>, books: &mut Books, to: To, entry: Entry) -> Option<PeerId> {
        let load = Load::of_entry(&entry);
        match to {
            To::Peer(peer) => {
                if !socket.send_reserved(peer, entry) {
                    return Some(peer);
                }
                books.note(peer, load);
            }
            To::AllBut(except) => {
                books.broadcasts.add(load);
                entry.into_messages().iter().for_each(|message| socket.broadcast_except(except, message));
            }
        }
        None
    }

    fn from(socket: &Socket<Self>, peer: PeerId) -> Identity {
        socket.peer(peer).map(|peer| peer.identity().clone()).unwrap_or_default()
    }

    fn is_settled(socket: &Socket<Self>, books: &Books) -> bool {
        books.open.is_empty() && books.broadcasts.messages == 0 && books.membership == socket.membership()
    }

    fn settle(socket: &Socket<Self>, books: &mut Books, ledger: &mut Ledger) -> bool {
        let mut freed = false;
        if books.membership != socket.membership() {
            books.membership = socket.membership();
            ledger.follow(socket);
            // Whoever waits for a peer that is gone is to hear of it.
            freed = true;
        }
        let broadcasts = std::mem::take(&mut books.broadcasts);
        if broadcasts.messages > 0 {
            freed |= ledger.broadcasts.settle(broadcasts, Load::default());
            socket.peers().for_each(|peer| books.note(peer, Load::default()));
        }
        let Books { passed, open, .. } = books;
        open.retain(|peer| {
            let Some(place) = passed.get_mut(peer.index()).filter(|place| place.is_some_and(|(id, _)| id == *peer))
            else {
                return false;
            };
            let before = place.take().map(|(_, load)| load).unwrap_or_default();
            let Some(view) = socket.peer(*peer).filter(|view| view.takes_messages()) else {
                return false;
            };
            let after = Load { messages: view.counts().queued, octets: view.queued_octets() };
            if let Some(route) = ledger.routes.get_mut(view.identity()) {
                // By broadcasts it may also have grown. Who waits to know whether the peer is full knows more, whatever has changed.
                freed |= route.load.settle(before, after) | (route.queued != after);
                route.queued = after;
            }
            *place = (after.messages > 0).then_some((*peer, after));
            place.is_some()
        });
        freed
    }
}

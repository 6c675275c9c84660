//! The blocking DEALER.

use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use super::desk::{Refusal, Wait};
use super::router::{Load, PeerSummary};
use super::worker::Side;
use super::{CloseError, Handle, HandleEvent, HandleOptions, OpenError, RecvError, seed, until};
use crate::conn::{Entry, Mark};
use crate::message::{Message, Outgoing};
use crate::net::Endpoint;
use crate::socket::{self, Counts, PeerId, SendError, Socket};

/// A DEALER for programs without an event loop (RFC 28): it sends to its peers in turn, and receives from them in turn. A
/// thread of its own does the I/O.
///
/// ```
/// use zmio::{Dealer, Message, Router};
///
/// let router = Router::bind("tcp://127.0.0.1:0")?;
/// let dealer = Dealer::connect(&router.local_endpoints()?[0].to_string())?;
///
/// dealer.send(Message::multipart(["MOVE", "3 4"]))?;
/// let (_, message) = router.recv()?;
/// assert_eq!(message.frame(0), Some(&b"MOVE"[..]));
/// assert_eq!(dealer.close(None)?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones, threads and the end: as for [`Router`](super::Router).
///
/// # Asking a REP
///
/// A REP expects an empty frame before the question, the delimiter, and puts it before its answer.
/// [`Envelope`](crate::Envelope) does that. Unlike a REQ, a DEALER may ask many questions before the first answer comes; REPs
/// answer each in its turn, but several of them in no order between them.
///
/// ```no_run
/// use zmio::{Dealer, Envelope};
///
/// let dealer = Dealer::connect("tcp://localhost:5555")?;
/// dealer.send(Envelope::new().wrap("6 * 7"))?;
/// let reply = dealer.recv()?;
/// let (_, answer) = reply.split_envelope().map_err(|_| "not from a REP")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What may be lost
///
/// Messages that were written to a connection that then breaks, wholly or in part: the peer may have got them or not, so
/// they are not sent again. What was not begun for a peer that we dial is sent as soon as a peer is there (RFC 28 allows both). What
/// was queued for one that had connected to us is lost with it; [`Event::Disconnected`](crate::Event::Disconnected) says how many
/// messages that are.
#[derive(Clone, Debug)]
pub struct Dealer {
    handle: Arc<Handle<socket::Dealer>>,
}

impl Dealer {
    /// A DEALER with the default options that dials `endpoint`, such as `tcp://localhost:5557`. Returns at once; messages
    /// wait until it is connected, and it is dialled again whenever the connection ends, unless the peer answers the handshake
    /// with an ERROR ([`Event::GaveUp`](crate::Event::GaveUp)).
    pub fn connect(endpoint: &str) -> Result<Dealer, OpenError> {
        let dealer = Dealer::open(HandleOptions::new())?;
        dealer.dial(endpoint)?;
        Ok(dealer)
    }

    /// A DEALER with the default options that listens at `endpoint`.
    pub fn bind(endpoint: &str) -> Result<Dealer, OpenError> {
        let dealer = Dealer::open(HandleOptions::new())?;
        dealer.listen(endpoint)?;
        Ok(dealer)
    }

    /// A DEALER that neither listens nor dials yet.
    pub fn open(options: HandleOptions) -> Result<Dealer, OpenError> {
        let ledger = Ledger::new(options.socket.send_mark);
        let socket = Socket::dealer(options.socket.clone(), seed());
        Ok(Dealer { handle: Arc::new(Handle::open(socket, ledger, &options)?) })
    }

    /// Dials one more peer.
    pub fn dial(&self, endpoint: &str) -> Result<PeerId, OpenError> {
        self.handle.connect(endpoint)
    }

    /// Closes the connection to a peer, and dials it no more. What is queued for it is discarded.
    pub fn disconnect(&self, peer: PeerId) -> Result<(), OpenError> {
        self.handle.disconnect(peer)
    }

    /// Listens at one more endpoint; returns the one that it got, with the port that the system chose for port 0. A name is
    /// looked up first, by the thread that calls, which may take long and holds up no other.
    pub fn listen(&self, endpoint: &str) -> Result<Endpoint, OpenError> {
        self.handle.bind(endpoint)
    }

    /// Stops listening at an endpoint, as [`listen`](Dealer::listen) returned it. Connections that were accepted there stay.
    pub fn unbind(&self, endpoint: &Endpoint) -> Result<(), OpenError> {
        self.handle.unbind(endpoint)
    }

    /// The endpoints that are listened at.
    pub fn local_endpoints(&self) -> Result<Vec<Endpoint>, OpenError> {
        self.handle.local_endpoints()
    }

    /// Sends a message to the next peer that can take it, and waits if there is no room, or nobody who is connected or dialled.
    /// Messages that were sent before a peer is connected wait for it, up to the mark.
    ///
    /// # Errors
    ///
    /// [`Closing`](SendError::Closing) with the message, if the handle is closed.
    pub fn send<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        self.send_within(message.into(), Wait::Forever)
    }

    /// As [`send`](Dealer::send), but waits no longer than `timeout`: then the message comes back as
    /// [`Full`](SendError::Full).
    pub fn send_timeout<'a>(&self, message: impl Into<Outgoing<'a>>, timeout: Duration) -> Result<(), SendError> {
        self.send_within(message.into(), until(timeout))
    }

    /// As [`send`](Dealer::send), but does not wait. Octets that are refused come back as a message, which is a copy.
    pub fn try_send<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        self.send_within(message.into(), Wait::Not)
    }

    fn send_within(&self, message: Outgoing<'_>, wait: Wait) -> Result<(), SendError> {
        self.handle.desk.send(message, wait, Ledger::reserve)
    }

    /// Waits for a message. Peers take turns, each with what came together from it: up to 16 KiB, or one message.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the handle is closed and all that had come was received.
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.receive(Wait::Forever)
    }

    /// As [`recv`](Dealer::recv), but waits no longer than `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
        self.receive(until(timeout))
    }

    /// As [`recv`](Dealer::recv), but does not wait: [`RecvError::Timeout`] if there is nothing.
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.receive(Wait::Not)
    }

    fn receive(&self, wait: Wait) -> Result<Message, RecvError> {
        self.handle.receive(wait).map(|(_, message)| message)
    }

    /// The messages that come, until the handle is closed.
    pub fn iter(&self) -> impl Iterator<Item = Message> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Waits for something to happen, up to `timeout`: peers that come and go, for instance. The last 1,024 events are
    /// kept; [`Missed`](HandleEvent::Missed) tells how many were forgotten before them.
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

    /// Closes the socket for all clones: receives no more, sends what is queued for no longer than `linger`
    /// (`None`: as long as it takes), and returns how many messages were not sent. Blocks until then, and no longer than
    /// `linger`. Another call waits for the same end, and may shorten the linger.
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

/// What is on its way: on the desk, waiting in the socket, and in the queues of all peers together.
#[derive(Debug)]
pub(super) struct Ledger {
    mark: Mark,
    /// The mark for each connected peer, or one as long as there is none.
    room: Mark,
    /// Some peer is connected or being dialled.
    pub(super) reachable: bool,
    pub(super) load: Load,
}

impl Ledger {
    pub(super) fn new(mark: Mark) -> Ledger {
        Ledger { mark, room: mark, reachable: false, load: Load::default() }
    }

    pub(super) fn reserve(&mut self, octets: usize) -> Result<(), Refusal> {
        if !self.reachable {
            return Err(Refusal::Full);
        }
        self.load.admit(&self.room, octets)
    }
}

/// What the I/O thread has passed on and not yet seen leave.
#[derive(Debug, Default)]
pub(super) struct Books {
    passed: Load,
    membership: u64,
    reachable: bool,
}

impl Side for socket::Dealer {
    type To = ();
    type From = ();
    type Ledger = Ledger;
    type Books = Books;

    fn joins((): &(), (): &()) -> bool {
        true
    }

    fn pass(socket: &mut Socket<Self>, books: &mut Books, (): (), entry: Entry) -> Option<PeerId> {
        books.passed.add(Load::of_entry(&entry));
        socket.send_reserved(entry);
        None
    }

    fn from(_: &Socket<Self>, _: PeerId) {}

    fn is_settled(socket: &Socket<Self>, books: &Books) -> bool {
        books.passed.messages == 0
            && books.membership == socket.membership()
            && books.reachable == socket.is_reachable()
    }

    fn settle(socket: &Socket<Self>, books: &mut Books, ledger: &mut Ledger) -> bool {
        let (messages, octets) = socket.unsent();
        let after = Load { messages, octets };
        let before = std::mem::replace(&mut books.passed, after);
        let changed = books.membership != socket.membership() || books.reachable != socket.is_reachable();
        (books.membership, books.reachable) = (socket.membership(), socket.is_reachable());
        (ledger.room, ledger.reachable) = (ledger.mark.times(socket.peers().len().max(1) as u64), books.reachable);
        ledger.load.settle(before, after) || changed
    }
}

//! The I/O thread of a handle.

use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use mio::{Events, Poll, Token, Waker};

use super::desk::{self, Answer, Desk, Order};
use super::{HandleEvent, HandleOptions};
use crate::conn::Entry;
use crate::message::Run;
use crate::net::Engine;
use crate::socket::{Event, Pattern, PeerId, Socket};

/// The token of the waker; the engine has all below.
const WAKER: usize = usize::MAX;

/// Events taken from the system at once.
const EVENTS: usize = 1_024;

/// What differs between the handles: where a message goes, and how it is known whether there is room.
pub(super) trait Side: Pattern + Send + Sized + 'static {
    /// Where a message goes.
    type To: Send;
    /// Who a message came from.
    type From: Clone + Send;
    /// How much may still be sent to whom, for the program's threads.
    type Ledger: Send;
    /// What has been passed to the socket, for the I/O thread.
    type Books: Send + Default;

    /// May a message to `next` go into one entry with those to `last`, which were sent just before?
    fn joins(last: &Self::To, next: &Self::To) -> bool;

    /// Passes messages on to the socket. Room was reserved for them; if their peer is gone since, that peer is returned.
    fn pass(socket: &mut Socket<Self>, books: &mut Self::Books, to: Self::To, entry: Entry) -> Option<PeerId>;

    /// Who this peer is to the program.
    fn from(socket: &Socket<Self>, peer: PeerId) -> Self::From;

    /// Corrects the ledger by what the socket has sent since; whether somebody has room who had none.
    fn settle(socket: &Socket<Self>, books: &mut Self::Books, ledger: &mut Self::Ledger) -> bool;

    /// Is there anything to settle?
    fn is_settled(socket: &Socket<Self>, books: &Self::Books) -> bool;
}

pub(super) struct Worker<S: Side> {
    poll: Poll,
    engine: Engine<S>,
    desk: Arc<Desk<S>>,
    books: S::Books,
    /// What the program has left, and then the empty batch to be exchanged for the next.
    batch: Vec<(S::To, Entry)>,
    orders: Vec<Order<S>>,
    runs: VecDeque<(S::From, Run)>,
    events: Vec<HandleEvent>,
    answers: Vec<Answer>,
    // The last to be dropped: when the program hears of the end, all is closed.
    _farewell: Farewell<S>,
}

/// Tells the program when the thread ends, even if it ends by a panic.
struct Farewell<S: Side>(Arc<Desk<S>>);

impl<S: Side> Drop for Farewell<S> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl<S: Side> Worker<S> {
    pub(super) fn new(
        socket: Socket<S>,
        ledger: S::Ledger,
        options: &HandleOptions,
    ) -> io::Result<(Worker<S>, Arc<Desk<S>>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(WAKER))?;
        let ring = move || {
            // It cannot fail but for want of memory in the system; the next one that rings tries again.
            let _ = waker.wake();
        };
        let engine = Engine::new(poll.registry(), 0..WAKER, socket, options.tcp.clone())?;
        let desk = Arc::new(Desk::new(ledger, Box::new(ring)));
        let worker = Worker {
            poll,
            engine,
            desk: Arc::clone(&desk),
            books: S::Books::default(),
            batch: Vec::new(),
            orders: Vec::new(),
            runs: VecDeque::new(),
            events: Vec::new(),
            answers: Vec::new(),
            _farewell: Farewell(Arc::clone(&desk)),
        };
        Ok((worker, desk))
    }

    /// Works until the handle is closed and what it left is sent, or the linger is over.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut idle = false;
        while !self.engine.is_closed() {
            let timeout = if idle { self.engine.timeout() } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The poll itself is broken; there is no way to go on.
                Err(_) => return,
            }
            self.engine.process(&events);
            if idle {
                self.exchange();
            }
            self.pass();
            self.engine.flush();
            // Before anybody hears of this turn: whoever hears of a peer can send to it.
            self.exchange();
            self.answers.drain(..).for_each(|answer| answer());
            let more = self.deliver();
            idle = self.batch.is_empty() && self.orders.is_empty() && !more;
        }
    }

    /// Takes what the program has left, and corrects its ledger.
    fn exchange(&mut self) {
        let Worker { engine, desk, books, batch, .. } = self;
        let mut packs = std::mem::take(engine.socket_mut().packs());
        let socket = engine.socket();
        let settle = |ledger: &mut S::Ledger| !S::is_settled(socket, books) && S::settle(socket, books, ledger);
        self.orders = desk.exchange(batch, &mut packs, settle);
        *engine.socket_mut().packs() = packs;
    }

    /// Passes on what the program has left.
    fn pass(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let mut overtaken = BTreeMap::new();
        for (to, entry) in batch.drain(..) {
            let messages = u64::from(entry.messages());
            if let Some(gone) = S::pass(self.engine.socket_mut(), &mut self.books, to, entry) {
                *overtaken.entry(gone).or_default() += messages;
            }
        }
        self.batch = batch;
        let overtaken = overtaken.into_iter().map(|(peer, messages)| HandleEvent::Overtaken { peer, messages });
        self.events.extend(overtaken);
        let orders = std::mem::take(&mut self.orders);
        self.answers.extend(orders.into_iter().map(|order| order(&mut self.engine)));
    }

    /// Lays ready as much as the program takes. The rest waits in the socket, where it holds its senders back, but not
    /// after the end. Says whether there is more, and room for it.
    fn deliver(&mut self) -> bool {
        let all = self.engine.socket().is_closed();
        let mut appetite = if all { usize::MAX } else { self.desk.appetite() };
        let mut end = None;
        while appetite > 0 {
            match self.engine.socket_mut().poll_run() {
                Some(Event::Run { peer, run }) => {
                    appetite = appetite.saturating_sub(desk::charge(&run));
                    self.runs.push_back((S::from(self.engine.socket(), peer), run));
                }
                Some(Event::Closed { unsent }) => end = Some(unsent),
                Some(event) => self.events.push(HandleEvent::Socket(event)),
                None => break,
            }
        }
        // A program that only sends learns of its peers all the same.
        while let Some(event) = self.engine.socket_mut().poll_notice() {
            self.events.push(HandleEvent::Socket(event));
        }
        let more = self.engine.socket().has_events();
        let room = self.desk.lay_out(&mut self.runs, &mut self.events, more);
        if let Some(unsent) = end {
            self.desk.end(Ok(unsent));
        }
        room
    }
}

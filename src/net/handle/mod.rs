//! Blocking handles: a [`Router`] and a [`Dealer`] for programs that have no event loop.
//!
//! Behind each stands one thread that does all the I/O, so heartbeats, re-dialling and writing go on while the program
//! computes. The program and that thread hand whole batches to each other; neither polls by a timer, and a handle that
//! is idle costs no processor time.

mod dealer;
mod desk;
mod options;
mod router;
mod sync;
mod worker;

pub use dealer::Dealer;
pub use options::HandleOptions;
pub use router::{PeerSummary, Router};

use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::vec::Vec;

use self::desk::{Desk, Wait};
use self::worker::{Side, Worker};
use crate::message::Message;
use crate::net::{BindError, ConnectError, Endpoint, EndpointError, Engine, UnbindError, tcp};
use crate::socket::{Counts, Event, PeerId, Socket};

/// Why a handle could not be opened, or told to listen or dial.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The endpoint cannot be read.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// It cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot be dialled.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is not listened at.
    #[error(transparent)]
    Unbind(#[from] UnbindError),
    /// The I/O thread, or what it waits with, could not be made.
    #[error("the I/O thread cannot be started: {0}")]
    Start(#[source] io::Error),
    /// The handle was closed, or its I/O thread has failed.
    #[error("the handle is closed")]
    Closed,
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
    /// The handle was closed, or its I/O thread has failed; nothing will come any more.
    #[error("the handle is closed")]
    Closed,
}

/// Why it is not known how many messages were not sent: the I/O thread has failed. What was queued is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the I/O thread has failed, and what was queued is lost")]
#[non_exhaustive]
pub struct CloseError;

/// What happened behind a handle, besides messages.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandleEvent {
    /// Something happened to a peer, or to all of them.
    Socket(Event),
    /// Messages were sent to a peer that was connected then, and whose connection ended, or broke, before they were
    /// queued. They are lost.
    Overtaken {
        /// The peer.
        peer: PeerId,
        /// How many messages.
        messages: u64,
    },
    /// Events that nobody took in time are forgotten, the oldest first, when 1,024 wait. These were, before the next one.
    Missed {
        /// How many events.
        events: u64,
    },
}

/// What both handles have in common: the thread, and the desk over which things are handed.
#[derive(Debug)]
struct Handle<S: Side> {
    desk: Arc<Desk<S>>,
    linger: Duration,
}

impl<S: Side> Handle<S> {
    fn open(socket: Socket<S>, ledger: S::Ledger, options: &HandleOptions) -> Result<Handle<S>, OpenError> {
        let (worker, desk) = Worker::new(socket, ledger, options).map_err(OpenError::Start)?;
        // Nobody joins it: the desk tells of its end.
        let thread = std::thread::Builder::new().name("zmio-io".into());
        thread.spawn(move || worker.run()).map_err(OpenError::Start)?;
        Ok(Handle { desk, linger: options.linger })
    }

    /// Lets the I/O thread do something with the engine, and waits for the outcome.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Engine<S>) -> T + Send + 'static,
    ) -> Result<T, OpenError> {
        let (answer, answered) = mpsc::channel();
        let asked = self.desk.order(Box::new(move |engine| {
            let outcome = question(engine);
            Box::new(move || {
                // Nobody waits any more if the thread that asked has panicked.
                let _ = answer.send(outcome);
            })
        }));
        if !asked {
            return Err(OpenError::Closed);
        }
        // If the I/O thread ends first, it drops the question and with it the sender.
        answered.recv().map_err(|_| OpenError::Closed)
    }

    fn bind(&self, endpoint: &str) -> Result<Endpoint, OpenError> {
        let endpoint: Endpoint = endpoint.parse()?;
        if self.desk.is_closed() {
            return Err(OpenError::Closed);
        }
        // Not by the I/O thread: to look a name up can take long, and that thread serves everybody, a close included.
        let sites = tcp::sites(&endpoint);
        let sites = sites.map_err(|source| BindError::System { endpoint: endpoint.clone(), source })?;
        self.ask(move |engine| engine.bind_at(&endpoint, &sites))?.map_err(|error| match error {
            BindError::Closed => OpenError::Closed,
            other => other.into(),
        })
    }

    fn connect(&self, endpoint: &str) -> Result<PeerId, OpenError> {
        let endpoint: Endpoint = endpoint.parse()?;
        self.ask(move |engine| engine.connect(&endpoint))?.map_err(|error| match error {
            ConnectError::Closed => OpenError::Closed,
            other => other.into(),
        })
    }

    fn unbind(&self, endpoint: &Endpoint) -> Result<(), OpenError> {
        let endpoint = endpoint.clone();
        Ok(self.ask(move |engine| engine.unbind(&endpoint))??)
    }

    fn disconnect(&self, peer: PeerId) -> Result<(), OpenError> {
        self.ask(move |engine| engine.disconnect(peer))
    }

    fn local_endpoints(&self) -> Result<Vec<Endpoint>, OpenError> {
        self.ask(|engine| engine.local_endpoints().cloned().collect())
    }

    fn stats(&self) -> Result<Counts, OpenError> {
        self.ask(|engine| engine.socket().totals())
    }

    fn peers(&self) -> Result<Vec<PeerSummary>, OpenError> {
        self.ask(|engine| {
            let socket = engine.socket();
            let peers = socket.peers().filter_map(|peer| Some((peer, socket.peer(peer)?)));
            peers.map(|(peer, view)| PeerSummary::new(peer, view)).collect()
        })
    }

    fn receive(&self, wait: Wait) -> Result<(S::From, Message), RecvError> {
        self.desk.receive(wait)
    }

    fn event(&self, wait: Wait) -> Result<HandleEvent, RecvError> {
        self.desk.event(wait)
    }

    fn close(&self, linger: Option<Duration>) -> Result<u64, CloseError> {
        self.desk.close(linger)
    }
}

impl<S: Side> Drop for Handle<S> {
    fn drop(&mut self) {
        // Nobody is left who could be told.
        let _ = self.close(Some(self.linger));
    }
}

/// A point in time after so long, or never, if that is too far.
fn until(timeout: Duration) -> Wait {
    Instant::now().checked_add(timeout).map_or(Wait::Forever, Wait::Until)
}

/// A seed that differs from process to process and from handle to handle.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

//! Names looked up off the loop, by short-lived threads.
//!
//! The system's resolver blocks, for many seconds when a name server is away, and there is no other that knows what the
//! system knows (`/etc/hosts`, mDNS, VPNs). So each look-up is a thread that ends with it. At most
//! [`MAX_THREADS`] exist at once; further look-ups wait for their turn.

use std::boxed::Box;
use std::collections::VecDeque;
use std::format;
use std::io;
use std::mem;
use std::net::{SocketAddr, ToSocketAddrs};
use std::string::ToString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use super::wake::{self, Bell, Inbox};
use crate::socket::{DialError, PeerId};
use crate::time::Instant;

/// Look-ups at one time. A few hide the latency; many would be a thread for each peer when a name server is away.
const MAX_THREADS: usize = 8;

/// The look-ups of one engine.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    /// All that somebody waits for, oldest and therefore first to time out in front.
    lookups: VecDeque<Lookup>,
    next_id: u64,
    /// Threads that have not reported yet, including those whose result nobody waits for any more.
    running: usize,
    /// `None` until the first name.
    desk: Option<Arc<Desk>>,
}

#[derive(Debug)]
struct Lookup {
    id: u64,
    peer: PeerId,
    host: Box<str>,
    port: u16,
    deadline: Instant,
    started: bool,
}

/// Where the threads leave their results.
#[derive(Debug)]
struct Desk(Mutex<Tray>);

#[derive(Debug)]
struct Tray {
    results: Vec<(u64, io::Result<Vec<SocketAddr>>)>,
    /// `None` when the engine is gone: writing to a pipe that nobody reads would raise SIGPIPE.
    bell: Option<Bell>,
}

impl Desk {
    fn tray(&self) -> MutexGuard<'_, Tray> {
        // Nothing in there can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, id: u64, result: io::Result<Vec<SocketAddr>>) {
        let mut tray = self.tray();
        tray.results.push((id, result));
        if let Some(bell) = &mut tray.bell {
            bell.ring();
        }
    }
}

impl Resolver {
    /// Prepares for the first look-up: returns what has to be registered before it.
    pub(super) fn open(&mut self) -> io::Result<Option<Inbox>> {
        if self.desk.is_some() {
            return Ok(None);
        }
        let (bell, inbox) = wake::pair()?;
        let tray = Tray { results: Vec::new(), bell: Some(bell) };
        self.desk = Some(Arc::new(Desk(Mutex::new(tray))));
        Ok(Some(inbox))
    }

    /// Forgets what [`open`](Self::open) prepared, since it could not be registered.
    pub(super) fn close(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.tray().bell = None;
        }
    }

    /// Looks a name up for the dial of `peer`.
    pub(super) fn start(&mut self, peer: PeerId, host: &str, port: u16, deadline: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        self.lookups.push_back(Lookup { id, peer, host: host.into(), port, deadline, started: false });
        self.start_threads();
    }

    /// Forgets the look-up for `peer`, if there is one. Its thread ends when the system lets it.
    pub(super) fn cancel(&mut self, peer: PeerId) {
        self.lookups.retain(|lookup| lookup.peer != peer);
    }

    /// Takes the results that are there, each with the peer whose dial waits for it.
    pub(super) fn take_results(&mut self) -> Vec<(PeerId, Result<Vec<SocketAddr>, DialError>)> {
        let Some(desk) = &self.desk else {
            return Vec::new();
        };
        let results = mem::take(&mut desk.tray().results);
        self.running = self.running.saturating_sub(results.len());
        let results = results
            .into_iter()
            .filter_map(|(id, result)| {
                let at = self.lookups.iter().position(|lookup| lookup.id == id)?;
                let peer = self.lookups.remove(at)?.peer;
                Some((peer, addresses(result)))
            })
            .collect();
        self.start_threads();
        results
    }

    /// Returns when the oldest look-up has taken too long.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lookups.front().map(|lookup| lookup.deadline)
    }

    /// Takes the peer of a look-up that has taken too long.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<PeerId> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.lookups.pop_front().map(|lookup| lookup.peer)
    }

    fn start_threads(&mut self) {
        let Some(desk) = &self.desk else { return };
        for lookup in self.lookups.iter_mut().filter(|lookup| !lookup.started) {
            if self.running >= MAX_THREADS {
                break;
            }
            lookup.started = true;
            self.running += 1;
            let (id, port) = (lookup.id, lookup.port);
            let host = lookup.host.clone();
            let reporter = Arc::clone(desk);
            let spawned = thread::Builder::new().name("zmio-resolve".into()).spawn(move || {
                let result = (&*host, port).to_socket_addrs().map(Iterator::collect);
                reporter.report(id, result);
            });
            if let Err(error) = spawned {
                // Reported like any other failure: the caller is in the middle of its own work.
                desk.report(id, Err(error));
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.close();
    }
}

fn addresses(result: io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, DialError> {
    match result {
        Ok(addresses) if addresses.is_empty() => Err(DialError::Unresolved("the name has no address".into())),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(DialError::Unresolved(error.to_string().into())),
    }
}

/// What is said when the system does not answer in time.
pub(super) fn late(limit: Duration) -> DialError {
    DialError::Unresolved(format!("no answer within {limit:?}").into())
}

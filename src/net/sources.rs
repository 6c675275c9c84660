//! All that is registered with the user's poll: a slab whose keys are our tokens.

use std::io;
use std::ops::Range;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::endpoint::Endpoint;
use super::stream::Stream;
use super::wake::Inbox;

/// Sources by key. The token of a source is the start of our token range plus its key.
#[derive(Debug)]
pub(super) struct Sources {
    registry: Registry,
    tokens: Range<usize>,
    slab: Slab<Source>,
    /// How many of them are streams.
    streams: usize,
}

#[derive(Debug)]
pub(super) enum Source {
    Listener(Listener),
    Stream(Stream),
    /// Where threads that look names up report.
    Inbox(Inbox),
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) io: TcpListener,
    pub(super) endpoint: Endpoint,
    /// There may be connections to accept. Edge-triggered: set by an event, cleared by `WouldBlock` only.
    pub(super) ready: bool,
    /// It stands in the run queue.
    pub(super) queued: bool,
}

impl Sources {
    pub(super) fn new(registry: Registry, tokens: Range<usize>) -> Self {
        let slab = Slab::new();
        Self { registry, tokens, slab, streams: 0 }
    }

    /// Returns whether one more source finds a token.
    pub(super) fn has_room(&self) -> bool {
        self.slab.len() < self.tokens.len()
    }

    /// Returns the key of the source that an event with this token is for, if it is one of ours.
    pub(super) fn key(&self, token: Token) -> Option<usize> {
        let key = token.0.checked_sub(self.tokens.start)?;
        self.slab.contains(key).then_some(key)
    }

    /// Registers `source`, once and for both directions.
    pub(super) fn insert(&mut self, source: Source) -> io::Result<usize> {
        if !self.has_room() {
            return Err(io::Error::other(NO_TOKEN));
        }
        let entry = self.slab.vacant_entry();
        let key = entry.key();
        let token = Token(self.tokens.start + key);
        let source = entry.insert(source);
        let registered = match source {
            Source::Listener(listener) => self.registry.register(&mut listener.io, token, Interest::READABLE),
            Source::Stream(stream) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.registry.register(&mut stream.transport.io, token, both)
            }
            Source::Inbox(inbox) => self.registry.register(inbox, token, Interest::READABLE),
        };
        if let Err(error) = registered {
            self.slab.remove(key);
            return Err(error);
        }
        self.streams += usize::from(matches!(source, Source::Stream(_)));
        Ok(key)
    }

    /// Takes a source out and closes it.
    pub(super) fn remove(&mut self, key: usize) -> Option<Source> {
        let mut source = self.slab.try_remove(key)?;
        self.streams -= usize::from(matches!(source, Source::Stream(_)));
        deregister(&self.registry, &mut source);
        Some(source)
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Source> {
        self.slab.get_mut(key)
    }

    pub(super) fn stream_mut(&mut self, key: usize) -> Option<&mut Stream> {
        match self.slab.get_mut(key) {
            Some(Source::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = (usize, &Listener)> {
        self.slab.iter().filter_map(|(key, source)| match source {
            Source::Listener(listener) => Some((key, listener)),
            _ => None,
        })
    }

    pub(super) fn listeners_mut(&mut self) -> impl Iterator<Item = (usize, &mut Listener)> {
        self.slab.iter_mut().filter_map(|(key, source)| match source {
            Source::Listener(listener) => Some((key, listener)),
            _ => None,
        })
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        for (_, source) in &mut self.slab {
            deregister(&self.registry, source);
        }
    }
}

/// What is said when the token range is used up.
pub(super) const NO_TOKEN: &str = "the engine's token range is used up";

/// A failure is ignored: the source is closed next, and with it goes its registration.
fn deregister(registry: &Registry, source: &mut Source) {
    let _ = match source {
        Source::Listener(listener) => registry.deregister(&mut listener.io),
        Source::Stream(stream) => registry.deregister(&mut stream.transport.io),
        Source::Inbox(inbox) => registry.deregister(inbox),
    };
}

//! Dialling: one address after the other, each with its own deadline.

use std::boxed::Box;
use std::net::SocketAddr;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use mio::net::TcpStream;

use super::{Carrier, Engine};
use crate::net::endpoint::{Endpoint, Place};
use crate::net::sources::Source;
use crate::net::stream::{Dialing, Open, Phase, Stream};
use crate::net::{resolve, tcp};
use crate::socket::{DialError, Pattern, PeerId};

impl<P: Pattern> Engine<P> {
    /// Begins to connect `peer` to `target`.
    pub(super) fn dial(&mut self, peer: PeerId, target: &str) {
        self.abort(peer);
        // Not always what `connect` has checked: the user has the socket too.
        let endpoint = target.parse::<Endpoint>();
        let endpoint = endpoint.and_then(|endpoint| endpoint.check_dialable().map(|()| endpoint));
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let failed = DialError::Failed(error.to_string().into());
                return self.dial_failed(peer, failed);
            }
        };
        match endpoint.place() {
            Place::At(address) => self.dial_next(peer, vec![*address].into_iter(), None),
            Place::Named { host, port } => self.look_up(peer, host, *port),
            Place::Anywhere { .. } => {}
        }
    }

    fn look_up(&mut self, peer: PeerId, host: &str, port: u16) {
        let opened = self.resolver.open();
        let ready = opened.and_then(|inbox| match inbox {
            None => Ok(()),
            Some(inbox) => self.sources.insert(Source::Inbox(inbox)).map(|_| ()),
        });
        if let Err(error) = ready {
            self.resolver.close();
            return self.dial_failed(peer, DialError::Failed(error.to_string().into()));
        }
        let deadline = self.now + self.options.dial_limit();
        self.set_carrier(peer, Carrier::Lookup);
        self.resolver.start(peer, host, port, deadline);
    }

    /// Goes on with the dials whose names were looked up.
    pub(super) fn take_lookups(&mut self) {
        for (peer, result) in self.resolver.take_results() {
            self.take_carrier(peer);
            match result {
                Ok(addresses) => self.dial_found(peer, addresses),
                Err(error) => self.dial_failed(peer, error),
            }
        }
    }

    /// Gives up the look-ups that take too long.
    pub(super) fn drop_late_lookups(&mut self) {
        while let Some(peer) = self.resolver.take_late(self.now) {
            self.take_carrier(peer);
            self.dial_failed(peer, resolve::late(self.options.dial_limit()));
        }
    }

    /// Dials the addresses of a name. One that lets us in and is no peer, though a later one may be, must not be the one that each
    /// attempt ends at.
    pub(super) fn dial_found(&mut self, peer: PeerId, mut addresses: Vec<SocketAddr>) {
        let doubtful = self.link_mut(peer).and_then(|link| link.doubtful.take());
        if let Some(doubtful) = doubtful {
            if let Some(at) = addresses.iter().position(|address| *address == *doubtful) {
                addresses.rotate_left(at);
                // It may be there more than once.
                addresses.retain(|address| *address != *doubtful);
                addresses.push(*doubtful);
            }
        }
        self.dial_next(peer, addresses.into_iter(), None);
    }

    /// Dials the first of `addresses` that does not fail at once. `failed` is what came of the one before.
    pub(super) fn dial_next(
        &mut self,
        peer: PeerId,
        mut addresses: vec::IntoIter<SocketAddr>,
        mut failed: Option<DialError>,
    ) {
        while let Some(address) = addresses.next() {
            let io = match TcpStream::connect(address) {
                Ok(io) => io,
                Err(error) => {
                    failed = Some(tcp::dial_error(&error));
                    continue;
                }
            };
            let next = addresses.clone();
            let stream = Stream::dialing(io, Dialing { peer, address, next });
            match self.sources.insert(Source::Stream(stream)) {
                Ok(key) => {
                    self.set_carrier(peer, Carrier::Stream(key));
                    self.set_deadline(key, Some(self.now + self.options.dial_limit()));
                    return;
                }
                Err(error) => failed = Some(DialError::Failed(error.to_string().into())),
            }
        }
        let failed = failed.unwrap_or_else(|| DialError::Failed("no address to dial".into()));
        self.dial_failed(peer, failed);
    }

    /// Looks what an event means for a stream that dials.
    pub(super) fn check_dial(&mut self, key: usize) {
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        let Phase::Dialing(dialing) = &stream.phase else {
            return;
        };
        let (peer, dialled) = (dialing.peer, dialing.address);
        match tcp::dialed(&stream.transport.io) {
            Ok(None) => {}
            Ok(Some(address)) => {
                tcp::prepare(&stream.transport.io, &self.options);
                stream.phase = Phase::Open(Open::new(peer, true));
                self.set_deadline(key, None);
                if let Some(link) = self.link_mut(peer) {
                    link.doubtful = Some(Box::new(dialled));
                }
                self.socket.handle_dialed(self.now, peer, address);
            }
            Err(error) => self.dial_over(key, error),
        }
    }

    /// Ends the dial of a stream, and goes on with the next address.
    pub(super) fn dial_over(&mut self, key: usize, error: DialError) {
        let Some(stream) = self.sources.stream_mut(key) else {
            return;
        };
        let Phase::Dialing(Dialing { peer, next, .. }) = &mut stream.phase else {
            return;
        };
        let (peer, next) = (*peer, std::mem::take(next));
        self.take_carrier(peer);
        self.drop_stream(key);
        self.dial_next(peer, next, Some(error));
    }

    /// Ends whatever carries `peer`, without a word to either side.
    fn abort(&mut self, peer: PeerId) {
        match self.take_carrier(peer) {
            Some(Carrier::Lookup) => self.resolver.cancel(peer),
            Some(Carrier::Stream(key)) => self.drop_stream(key),
            None => {}
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: DialError) {
        self.socket.handle_dial_failed(self.now, peer, error);
    }
}

//! What a driver tells its socket: connections, octets, endings, the time.

use zmio::PeerId;
use zmio::socket::{Address, Closed, DialError, Pattern};

use super::{Driver, Transport};
use crate::link::{Ending, Read, Side};
use crate::net::{DialId, Dialled, LinkId, Net};
use crate::tap::{Over, Tap};

impl<P: Pattern> Driver<P> {
    pub(super) fn input(&mut self, net: &mut Net) {
        if !self.exact && net.rng.percent(50) {
            self.fire_timers(net);
        }
        self.accept(net);
        self.finish_dials(net);
        let mut peers: Vec<PeerId> = self.transports.keys().copied().collect();
        net.rng.shuffle(&mut peers);
        for peer in peers {
            if net.rng.percent(self.laziness / 8) {
                self.stirred = true;
                continue;
            }
            self.read(net, peer);
        }
        self.finish_closes(net);
        self.be_late(net);
        self.fire_timers(net);
    }

    fn fire_timers(&mut self, net: &mut Net) {
        let now = net.instant();
        // Too early, and more than once.
        for _ in 0..2 {
            if net.rng.percent(self.laziness / 4) {
                self.socket.handle_timeout(now);
            }
        }
        if self.socket.poll_timeout().is_some_and(|due| due <= now) {
            self.socket.handle_timeout(now);
            let next = self.socket.poll_timeout();
            assert!(
                next.is_none_or(|due| due > now),
                "the deadline {next:?} is past right after handle_timeout at {now:?}",
            );
        }
    }

    fn accept(&mut self, net: &mut Net) {
        while self.accepting {
            let Some(link) = net.accept(self.host) else {
                break;
            };
            match self.socket.accept(net.instant(), Address::Unnamed) {
                Ok(peer) => self.attach(net, peer, link, Side::Listener),
                Err(_) => net.close(link, Side::Listener),
            }
        }
    }

    fn finish_dials(&mut self, net: &mut Net) {
        self.aborted.retain(|&dial| match net.dialled(dial) {
            Dialled::Waiting => true,
            Dialled::Connected(link) => {
                net.close(link, Side::Dialler);
                false
            }
            _ => false,
        });
        let dials: Vec<(PeerId, DialId)> = self.dials.iter().map(|(&p, &d)| (p, d)).collect();
        for (peer, dial) in dials {
            let failed = match net.dialled(dial) {
                Dialled::Waiting => continue,
                Dialled::Connected(link) => {
                    self.dials.remove(&peer);
                    self.socket.handle_dialed(net.instant(), peer, Address::Unnamed);
                    self.attach(net, peer, link, Side::Dialler);
                    continue;
                }
                Dialled::Refused => DialError::Refused,
                Dialled::TimedOut => DialError::TimedOut,
            };
            self.dials.remove(&peer);
            self.socket.handle_dial_failed(net.instant(), peer, failed);
        }
    }

    fn attach(&mut self, net: &mut Net, peer: PeerId, link: LinkId, side: Side) {
        net.trace(self.host, "link up", link as u64, peer.index() as u64);
        let tap = self.taps.len();
        self.taps.push(Tap::new(link, peer, net.now));
        let transport = Transport { link, side, rest: Vec::new(), paused: false, writing: false, tap };
        if !self.known.contains(&peer) {
            self.known.push(peer);
        }
        let old = self.transports.insert(peer, transport);
        assert!(old.is_none(), "{peer:?} was given out while it is in use");
    }

    fn read(&mut self, net: &mut Net, peer: PeerId) {
        for _ in 0..4 {
            let Some(transport) = self.transports.get_mut(&peer) else {
                return;
            };
            if transport.paused {
                return self.offer_too_early(net, peer);
            }
            let mut octets = std::mem::take(&mut transport.rest);
            if octets.is_empty() {
                let most = if self.exact { usize::MAX } else { net.rng.pick(&[1, 70, 2000, 65536]) };
                match net.read(transport.link, transport.side, most) {
                    Read::Octets(read) => octets = read,
                    Read::Nothing => return,
                    Read::Ended(ending) => return self.lost(net, peer, ending),
                }
            }
            let mut later = Vec::new();
            if octets.len() > 1 && net.rng.percent(self.laziness) {
                later = octets.split_off(1 + net.rng.below(octets.len() as u64 - 1) as usize);
            }
            let tap = &mut self.taps[transport.tap];
            // A peer that the socket is done with is read until the driver hears of it, and ignored.
            let heeded = tap.ready.is_none() || self.socket.peer(peer).is_some_and(|peer| peer.is_connected());
            let taken = self.socket.handle_input(net.instant(), peer, &octets);
            if heeded {
                tap.input(net.now, &octets[..taken], self.round);
            }
            net.trace(self.host, "read", transport.link as u64, taken as u64);
            let pauses = taken < octets.len();
            transport.rest = octets.split_off(taken);
            transport.rest.append(&mut later);
            if pauses {
                transport.paused = true;
                return;
            }
        }
        self.stirred = true;
    }

    /// Nobody needs to offer the rest again before the socket says so; it must do no harm.
    fn offer_too_early(&mut self, net: &mut Net, peer: PeerId) {
        if !net.rng.percent(self.laziness / 4) {
            return;
        }
        let Some(transport) = self.transports.get_mut(&peer).filter(|transport| !transport.rest.is_empty()) else {
            return;
        };
        let heeded = self.socket.peer(peer).is_some_and(|peer| peer.is_connected());
        let taken = self.socket.handle_input(net.instant(), peer, &transport.rest);
        let taken: Vec<u8> = transport.rest.drain(..taken).collect();
        if heeded && !taken.is_empty() {
            self.taps[transport.tap].input(net.now, &taken, self.round);
        }
    }

    /// The transport ended by itself.
    pub(super) fn lost(&mut self, net: &mut Net, peer: PeerId, ending: Ending) {
        let Some(transport) = self.transports.remove(&peer) else {
            return;
        };
        net.trace(self.host, "link lost", transport.link as u64, ending as u64);
        let closed = match ending {
            Ending::Eof => Closed::Eof,
            Ending::Reset => Closed::Reset,
        };
        self.socket.handle_closed(net.instant(), peer, closed);
        self.detach(net, peer, &transport, Over::Lost(self.round, ending));
        net.close(transport.link, transport.side);
    }

    pub(super) fn detach(&mut self, net: &Net, peer: PeerId, transport: &Transport, over: Over) {
        let tap = &mut self.taps[transport.tap];
        (tap.over, tap.over_at) = (Some(over), Some(net.now));
        if transport.side == Side::Listener {
            self.stale.push(peer);
        }
    }

    /// A driver may well report what happened to a transport that the socket closed meanwhile.
    fn be_late(&mut self, net: &mut Net) {
        if self.stale.is_empty() || !net.rng.percent(10) {
            return;
        }
        let (peer, now) = (net.rng.pick(&self.stale), net.instant());
        match net.rng.below(5) {
            0 => drop(self.socket.handle_input(now, peer, b"\x08\x00\x00")),
            1 => self.socket.handle_closed(now, peer, Closed::Reset),
            2 => self.socket.disconnect(now, peer),
            3 => self.socket.sent(now, peer, 0),
            _ => assert_eq!(self.socket.gather(peer, &mut [&[]]), 0, "output for a stale peer"),
        }
    }
}

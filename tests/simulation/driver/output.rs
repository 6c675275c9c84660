//! What a driver does because its socket says so.

use zmio::socket::Pattern;
use zmio::{Action, PeerId};

use super::{Closing, Driver, micros};
use crate::link::{Ending, Read, Write};
use crate::net::Net;
use crate::tap::Over;

/// How long the weather is rough in a random world, in microseconds.
const ROUGH: u64 = 4_000_000;

impl<P: Pattern> Driver<P> {
    pub(super) fn output(&mut self, net: &mut Net) {
        let known = self.socket.has_events();
        self.carry_out(net);
        self.finish_closes(net);
        // What was born of the output finds its application at rest.
        self.stirred |= !known && self.socket.has_events();
        self.rests = !std::mem::take(&mut self.stirred);
        if !self.rests {
            let at = net.now + net.rng.within((1, 300));
            net.wake(self.host, at);
        }
        if net.now < ROUGH && net.rng.percent(self.laziness / 8) {
            // For nothing. Not later on: a wake-up that was lost must not be made good by chance.
            let at = net.now + net.rng.within((1, 50_000));
            net.wake(self.host, at);
        }
        if let Some(due) = self.socket.poll_timeout() {
            let lateness = if self.exact { 0 } else { net.rng.pick(&[0, 0, 40, 3000]) };
            net.wake(self.host, micros(due).saturating_add(lateness));
        }
        if self.rests {
            self.assert_awake(net);
        }
    }

    /// Writes on where it stopped, and does what the socket asks for: all of it, or for once a part.
    pub(super) fn carry_out(&mut self, net: &mut Net) {
        let peers: Vec<PeerId> = self.transports.keys().copied().collect();
        for peer in peers {
            self.write(net, peer);
        }
        let mut most = if net.rng.percent(self.laziness) { net.rng.below(3) } else { u64::MAX };
        self.ended_turn = most > 0;
        loop {
            if most == 0 {
                self.stirred = true;
                break;
            }
            most -= 1;
            let Some(action) = self.socket.poll_action() else {
                break;
            };
            self.perform(net, action);
        }
    }

    fn perform(&mut self, net: &mut Net, action: Action) {
        match action {
            Action::Dial { peer, target } => {
                net.trace(self.host, "dial", peer.index() as u64, 0);
                self.dialled_at.push(net.now);
                assert!(!self.transports.contains_key(&peer), "a dial over a connection");
                let old = self.dials.insert(peer, net.dial(self.host, &target));
                assert!(old.is_none(), "a dial over a dial");
            }
            Action::Transmit { peer } => {
                net.trace(self.host, "transmit", peer.index() as u64, 0);
                if let Some(transport) = self.transports.get_mut(&peer) {
                    assert!(!transport.writing || self.discards, "a second Transmit before all was written");
                    transport.writing = true;
                    self.write(net, peer);
                }
            }
            Action::PauseRead { peer } => {
                net.trace(self.host, "pause", peer.index() as u64, 0);
                if let Some(transport) = self.transports.get_mut(&peer) {
                    transport.paused = true;
                }
            }
            Action::ResumeRead { peer } => {
                net.trace(self.host, "resume", peer.index() as u64, 0);
                if let Some(transport) = self.transports.get_mut(&peer) {
                    transport.paused = false;
                }
                self.stirred = true;
            }
            Action::StopAccept => self.accepting = false,
            Action::StartAccept => {
                self.accepting = true;
                self.stirred = true;
            }
            Action::Close { peer, last, .. } => {
                net.trace(self.host, "close", peer.index() as u64, last.len() as u64);
                if let Some(dial) = self.dials.remove(&peer) {
                    self.aborted.push(dial);
                }
                if let Some(transport) = self.transports.remove(&peer) {
                    self.detach(net, peer, &transport, Over::Closed(self.round));
                    self.taps[transport.tap].output(net.now, &last);
                    self.closing.push(Closing {
                        link: transport.link,
                        side: transport.side,
                        last: last.to_vec(),
                        until: net.now + 1_000_000,
                    });
                    net.wake(self.host, net.now + 1_000_000);
                }
            }
            other => panic!("an action that this driver does not know: {other:?}"),
        }
    }

    /// Writes until all is written or the pipe is full.
    fn write(&mut self, net: &mut Net, peer: PeerId) {
        while let Some(transport) = self.transports.get_mut(&peer).filter(|t| t.writing) {
            let mut slices: [&[u8]; 8] = [&[]; 8];
            let width = net.rng.within((1, 8)) as usize;
            let filled = self.socket.gather(peer, &mut slices[..width]);
            if filled == 0 {
                transport.writing = false;
                break;
            }
            assert!(filled <= width, "more slices than there is room for");
            let took = match net.write(transport.link, transport.side, &slices[..filled]) {
                Write::Took(took) => took,
                Write::WouldBlock => break,
                Write::Broken => {
                    self.lost(net, peer, Ending::Reset);
                    self.stirred = true;
                    return;
                }
            };
            let mut left = took;
            for slice in &slices[..filled] {
                let part = slice.len().min(left);
                self.taps[transport.tap].output(net.now, &slice[..part]);
                left -= part;
            }
            net.trace(self.host, "wrote", transport.link as u64, took as u64);
            self.socket.sent(net.instant(), peer, took);
            if net.rng.percent(self.laziness / 2) {
                // Enough for now; the rest, if there is one, is written in another turn.
                transport.writing = self.socket.gather(peer, &mut [&[]]) > 0;
                self.stirred |= transport.writing;
                break;
            }
        }
    }

    pub(super) fn finish_closes(&mut self, net: &mut Net) {
        self.closing.retain_mut(|closing| {
            let mut broken = false;
            while !closing.last.is_empty() && !broken {
                match net.write(closing.link, closing.side, &[&closing.last]) {
                    Write::Took(took) => drop(closing.last.drain(..took)),
                    Write::WouldBlock => break,
                    Write::Broken => broken = true,
                }
            }
            if closing.last.is_empty() {
                net.shutdown(closing.link, closing.side);
            }
            while !broken {
                match net.read(closing.link, closing.side, 4096) {
                    Read::Octets(_) => {}
                    Read::Nothing => break,
                    Read::Ended(_) => broken = true,
                }
            }
            let over = broken || closing.until <= net.now;
            if over {
                net.close(closing.link, closing.side);
            }
            !over
        });
    }
}

//! One link of the simulated network, and what may happen to it.

use std::collections::VecDeque;

use crate::net::HostId;
use crate::rng::Rng;

/// The end of a link: that which dialled, or that which listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Eof,
    Reset,
}

pub(crate) enum Read {
    Octets(Vec<u8>),
    Nothing,
    Ended(Ending),
}

pub(crate) enum Write {
    Took(usize),
    WouldBlock,
    Broken,
}

/// What may go wrong on links made from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climate {
    /// Of a hundred links, this many are cut after a random octet.
    pub(crate) cuts: u64,
    /// Of a hundred dials, this many fail.
    pub(crate) refusals: u64,
    /// Of a thousand writes, this many stall for up to `stall` microseconds.
    pub(crate) stalls: u64,
    pub(crate) stall: u64,
    /// The fewest octets that a pipe can hold.
    pub(crate) narrow: u64,
}

impl Climate {
    pub(crate) const FAIR: Self = Self { cuts: 0, refusals: 0, stalls: 0, stall: 0, narrow: 2000 };
}

/// One direction of a link. Segments arrive in order, each at its time.
pub(crate) struct Pipe {
    pub(crate) segments: VecDeque<(u64, Vec<u8>)>,
    pub(crate) held: usize,
    pub(crate) capacity: usize,
    pub(crate) last_arrival: u64,
    pub(crate) fin: Option<u64>,
    pub(crate) written: u64,
    pub(crate) cut_after: Option<(u64, Ending)>,
    pub(crate) blocked: bool,
}

pub(crate) struct Link {
    pub(crate) hosts: [HostId; 2],
    pub(crate) pipes: [Pipe; 2],
    pub(crate) gone: [bool; 2],
    /// The octets that are written vanish, and neither end notices.
    pub(crate) frozen: bool,
    pub(crate) cut: Option<(u64, Ending)>,
    pub(crate) delay: (u64, u64),
    pub(crate) chunk: u64,
    pub(crate) octet_nanos: u64,
}

impl Link {
    pub(crate) fn random(rng: &mut Rng, climate: Climate, hosts: [HostId; 2]) -> Self {
        let mut pipes = [Pipe::random(rng, climate), Pipe::random(rng, climate)];
        if rng.percent(climate.cuts) {
            let ending = rng.pick(&[Ending::Eof, Ending::Reset]);
            let spread = rng.pick(&[64, 200, 2000, 8000]);
            let after = rng.within((1, spread));
            let side = rng.below(2) as usize;
            pipes[side].cut_after = Some((after, ending));
        }
        Self {
            hosts,
            pipes,
            gone: [false; 2],
            frozen: false,
            cut: None,
            delay: (10, rng.pick(&[30, 300, 5000])),
            chunk: rng.pick(&[1, 7, 100, 1500, 1500]),
            octet_nanos: rng.pick(&[0, 0, 100, 3000]),
        }
    }

    /// What would arrive after a cut never does.
    pub(crate) fn lose_what_is_late(&mut self) {
        let Some((cut, _)) = self.cut else {
            return;
        };
        for pipe in &mut self.pipes {
            while pipe.segments.back().is_some_and(|&(arrival, _)| arrival > cut) {
                pipe.held -= pipe.segments.pop_back().map_or(0, |(_, lost)| lost.len());
            }
        }
    }
}

impl Pipe {
    fn random(rng: &mut Rng, climate: Climate) -> Self {
        Self {
            segments: VecDeque::new(),
            held: 0,
            capacity: rng.within((climate.narrow, climate.narrow * 8)) as usize,
            last_arrival: 0,
            fin: None,
            written: 0,
            cut_after: None,
            blocked: false,
        }
    }
}

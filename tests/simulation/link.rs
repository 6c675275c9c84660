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

/// What happens to a link after a certain octet in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both directions end, and both sides learn of it.
    Cut(Ending),
    /// This direction ends in good order, the other stays.
    Half,
    /// What comes later in this direction vanishes, its end too. Nobody is told.
    Hole,
    /// The same in both directions at once.
    Freeze,
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
    /// Of a hundred links, this many lose all that comes after a random octet in one direction, or in both. Some time
    /// later they are cut, as TCP does in the end.
    pub(crate) holes: u64,
    /// Of a hundred dials, this many fail.
    pub(crate) refusals: u64,
    /// Of a thousand writes, this many stall for up to `stall` microseconds.
    pub(crate) stalls: u64,
    pub(crate) stall: u64,
    /// The fewest octets that a pipe can hold.
    pub(crate) narrow: u64,
    /// Nothing is left to chance: a dial takes a millisecond, an octet a tenth of that, and a write takes all.
    pub(crate) exact: bool,
}

impl Climate {
    pub(crate) const FAIR: Self =
        Self { cuts: 0, holes: 0, refusals: 0, stalls: 0, stall: 0, narrow: 2000, exact: false };
    pub(crate) const EXACT: Self = Self { narrow: 1 << 20, exact: true, ..Self::FAIR };
}

/// One direction of a link. Segments arrive in order, each at its time.
pub(crate) struct Pipe {
    pub(crate) segments: VecDeque<(u64, Vec<u8>)>,
    pub(crate) held: usize,
    pub(crate) capacity: usize,
    pub(crate) last_arrival: u64,
    pub(crate) fin: Option<u64>,
    pub(crate) written: u64,
    pub(crate) fault: Option<(u64, Fault)>,
    /// What is written vanishes.
    pub(crate) void: bool,
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
    /// Of a hundred writes, this many take only a part of what there is room for.
    pub(crate) partial: u64,
}

impl Link {
    pub(crate) fn random(rng: &mut Rng, climate: Climate, hosts: [HostId; 2]) -> Self {
        let mut pipes = [Pipe::random(rng, climate), Pipe::random(rng, climate)];
        if rng.percent(climate.cuts) {
            let ending = rng.pick(&[Ending::Eof, Ending::Reset]);
            let spread = rng.pick(&[64, 200, 2000, 8000]);
            let after = rng.within((0, spread));
            let side = rng.below(2) as usize;
            pipes[side].fault = Some((after, Fault::Cut(ending)));
        } else if rng.percent(climate.holes) {
            let fault = rng.pick(&[Fault::Half, Fault::Hole, Fault::Freeze]);
            let spread = rng.pick(&[64, 200, 2000, 8000]);
            let after = rng.within((0, spread));
            let side = rng.below(2) as usize;
            pipes[side].fault = Some((after, fault));
        }
        if climate.exact {
            pipes.iter_mut().for_each(|pipe| pipe.capacity = climate.narrow as usize);
            let (frozen, cut, gone) = (false, None, [false; 2]);
            let (delay, chunk, octet_nanos, partial) = ((100, 100), u64::MAX - 1, 0, 0);
            return Self { hosts, pipes, gone, frozen, cut, delay, chunk, octet_nanos, partial };
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
            partial: rng.pick(&[0, 20, 20, 100]),
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
            fault: None,
            void: false,
            blocked: false,
        }
    }
}

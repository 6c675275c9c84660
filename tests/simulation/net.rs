//! The simulated network: links of two pipes each, in virtual time.
//!
//! Nothing here happens by itself. A pipe knows when each of its octets arrives, and whoever is concerned
//! is woken at that time; what a host finds then depends on the clock alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::link::{Climate, Ending, Fault, Link, Read, Side, Write};
use crate::rng::Rng;

pub(crate) type HostId = usize;
pub(crate) type LinkId = usize;
pub(crate) type DialId = usize;

/// What is written at once comes in at most so many pieces.
const MOST_SEGMENTS: u64 = 6;

pub(crate) enum Dialled {
    Waiting,
    Connected(LinkId),
    Refused,
    TimedOut,
}

struct Dial {
    host: HostId,
    target: String,
    due: u64,
    fate: u64,
    done: bool,
}

pub(crate) struct Net {
    /// Microseconds since the start.
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) climate: Climate,
    wakes: BTreeSet<(u64, HostId)>,
    links: Vec<Link>,
    dials: Vec<Dial>,
    listeners: BTreeMap<String, HostId>,
    backlog: BTreeMap<HostId, VecDeque<(u64, LinkId)>>,
    /// What is to happen to the links to come, in order: after so many octets from a side.
    pub(crate) faults: VecDeque<(Side, u64, Fault)>,
    hash: u64,
    loud: bool,
}

impl Net {
    pub(crate) fn new(seed: u64, climate: Climate) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed),
            climate,
            wakes: BTreeSet::new(),
            links: Vec::new(),
            dials: Vec::new(),
            listeners: BTreeMap::new(),
            backlog: BTreeMap::new(),
            faults: VecDeque::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            loud: std::env::var_os("ZMIO_SEED").is_some(),
        }
    }

    // --- time -------------------------------------------------------------------------------

    pub(crate) fn instant(&self) -> zmio::Instant {
        zmio::Instant::from_micros(self.now)
    }

    /// Has `host` take a turn at `at`, or at once if that is past.
    pub(crate) fn wake(&mut self, host: HostId, at: u64) {
        self.wakes.insert((at.max(self.now + 1), host));
    }

    /// Moves the clock to the next turn that is due by `until`.
    pub(crate) fn next_turn(&mut self, until: u64) -> Option<HostId> {
        let &(at, host) = self.wakes.first()?;
        if at > until {
            return None;
        }
        self.wakes.pop_first();
        self.now = at;
        if self.loud {
            eprintln!("{at:>10} us  host {host:>2}  turn");
        }
        Some(host)
    }

    /// One line of the run: mixed into its hash, and printed when a single seed is replayed.
    pub(crate) fn trace(&mut self, host: HostId, what: &str, a: u64, b: u64) {
        for part in [self.now, host as u64, what.len() as u64, a, b] {
            self.hash = (self.hash ^ part).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.loud {
            eprintln!("{:>10} us  host {host:>2}  {what} {a} {b}", self.now);
        }
    }

    /// Two runs are the same if their hashes are.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    // --- dialling ---------------------------------------------------------------------------

    pub(crate) fn listen(&mut self, target: &str, host: HostId) {
        self.listeners.insert(target.to_owned(), host);
    }

    /// Dials to `target` are refused from now on.
    pub(crate) fn stop_listening(&mut self, target: &str) {
        self.listeners.remove(target);
    }

    pub(crate) fn dial(&mut self, host: HostId, target: &str) -> DialId {
        let fate = if self.rng.percent(self.climate.refusals) { 1 + self.rng.below(2) } else { 0 };
        let takes = if self.climate.exact { (1000, 1000) } else { (50, 3000) };
        let due = self.now + self.rng.within(takes) + if fate == 2 { 1_000_000 } else { 0 };
        self.wake(host, due);
        self.dials.push(Dial { host, target: target.to_owned(), due, fate, done: false });
        self.dials.len() - 1
    }

    /// What became of a dial. An answer other than `Waiting` comes once.
    pub(crate) fn dialled(&mut self, dial: DialId) -> Dialled {
        let entry = &mut self.dials[dial];
        assert!(!entry.done, "a dial that is over was asked for again");
        if entry.due > self.now {
            return Dialled::Waiting;
        }
        entry.done = true;
        let (host, fate) = (entry.host, entry.fate);
        let Some(&listener) = self.listeners.get(&entry.target) else {
            return Dialled::Refused;
        };
        match fate {
            0 => Dialled::Connected(self.join(host, listener)),
            1 => Dialled::Refused,
            _ => Dialled::TimedOut,
        }
    }

    /// How many links wait to be accepted by `host`.
    pub(crate) fn waiting(&self, host: HostId) -> usize {
        self.backlog.get(&host).map_or(0, VecDeque::len)
    }

    /// The next link that waits to be accepted by `host`.
    pub(crate) fn accept(&mut self, host: HostId) -> Option<LinkId> {
        let waiting = self.backlog.get_mut(&host)?;
        if waiting.front()?.0 > self.now {
            return None;
        }
        waiting.pop_front().map(|(_, link)| link)
    }

    fn join(&mut self, dialler: HostId, listener: HostId) -> LinkId {
        let mut link = Link::random(&mut self.rng, self.climate, [dialler, listener]);
        if let Some((side, after, fault)) = self.faults.pop_front() {
            link.pipes[side as usize].fault = Some((after, fault));
        }
        let due = self.now + self.rng.within(link.delay);
        self.links.push(link);
        let link = self.links.len() - 1;
        self.backlog.entry(listener).or_default().push_back((due, link));
        self.wake(listener, due);
        link
    }

    // --- the octets -------------------------------------------------------------------------

    /// Takes at most `most` of the octets that have arrived at `side`.
    pub(crate) fn read(&mut self, link: LinkId, side: Side, most: usize) -> Read {
        let now = self.now;
        let whole = &mut self.links[link];
        assert!(!whole.gone[side as usize], "read after close");
        let cut = whole.cut.filter(|&(at, _)| at <= now);
        if matches!(cut, Some((_, Ending::Reset))) {
            return Read::Ended(Ending::Reset);
        }
        let pipe = &mut whole.pipes[side.other() as usize];
        let mut octets = Vec::new();
        while octets.len() < most {
            match pipe.segments.front_mut() {
                Some((arrival, segment)) if *arrival <= now => {
                    let taken = segment.len().min(most - octets.len());
                    octets.extend(segment.drain(..taken));
                    if segment.is_empty() {
                        pipe.segments.pop_front();
                    }
                }
                _ => break,
            }
        }
        if octets.is_empty() {
            let over = cut.is_some() || pipe.fin.is_some_and(|at| at <= now);
            return match pipe.segments.is_empty() && over {
                true => Read::Ended(Ending::Eof),
                false => Read::Nothing,
            };
        }
        pipe.held -= octets.len();
        // Not for every octet: a writer that may write one at a time takes for ever.
        if pipe.held <= pipe.capacity / 2 && std::mem::take(&mut pipe.blocked) {
            let (writer, delay) = (whole.hosts[side.other() as usize], whole.delay);
            let at = now + self.rng.within(delay);
            self.wake(writer, at);
        }
        Read::Octets(octets)
    }

    /// Sends what the pipe has room for, at times less.
    pub(crate) fn write(&mut self, link: LinkId, side: Side, slices: &[&[u8]]) -> Write {
        let now = self.now;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(total > 0, "an empty write");
        let climate = self.climate;
        let whole = &mut self.links[link];
        assert!(!whole.gone[side as usize], "write after close");
        let unheard = whole.pipes[side.other() as usize].void;
        let pipe = &mut whole.pipes[side as usize];
        assert!(pipe.fin.is_none() || pipe.void, "write after shutdown");
        if whole.cut.is_some_and(|(at, _)| at <= now) {
            return Write::Broken;
        }
        if whole.frozen || pipe.void {
            return Write::Took(total);
        }
        if whole.gone[side.other() as usize] {
            if unheard {
                return Write::Took(total);
            }
            // Nobody is there to read them: they vanish, and a reset comes back.
            let at = now + self.rng.within(whole.delay);
            self.cut(link, at, Ending::Reset);
            return Write::Took(total);
        }
        let room = pipe.capacity - pipe.held;
        if room == 0 {
            pipe.blocked = true;
            return Write::WouldBlock;
        }
        let mut most = total.min(room);
        if self.rng.percent(whole.partial) {
            most = 1 + self.rng.below(most as u64) as usize;
        }
        let mut octets: Vec<u8> = Vec::with_capacity(most);
        for slice in slices {
            let part = slice.len().min(most - octets.len());
            octets.extend_from_slice(&slice[..part]);
        }
        pipe.written += most as u64;
        let beyond = pipe.fault.filter(|&(after, _)| pipe.written >= after);
        if let Some((after, _)) = beyond {
            let lost = (pipe.written - after) as usize;
            octets.truncate(most - lost.min(most));
        }
        let mut arrival = (now + self.rng.within(whole.delay)).max(pipe.last_arrival);
        if self.rng.below(1000) < climate.stalls {
            arrival += self.rng.within((climate.stall / 10, climate.stall));
        }
        let reader = whole.hosts[side.other() as usize];
        let mut rest = &octets[..];
        for left in (0..MOST_SEGMENTS).rev() {
            let size = self.rng.within((1, whole.chunk)).min(rest.len() as u64) as usize;
            let size = if left == 0 { rest.len() } else { size };
            if size == 0 {
                break;
            }
            arrival += size as u64 * whole.octet_nanos / 1000;
            arrival += if climate.exact { 0 } else { self.rng.below(3) };
            pipe.segments.push_back((arrival, rest[..size].to_vec()));
            self.wakes.insert((arrival.max(now + 1), reader));
            rest = &rest[size..];
        }
        pipe.held += octets.len();
        pipe.last_arrival = arrival;
        whole.lose_what_is_late();
        if let Some((_, fault)) = beyond {
            self.break_down(link, side, arrival + 1, fault);
        }
        Write::Took(most)
    }

    /// What the fault of a link does when its octet has passed.
    fn break_down(&mut self, link: LinkId, side: Side, arrival: u64, fault: Fault) {
        let whole = &mut self.links[link];
        let (here, there) = (side as usize, side.other() as usize);
        match fault {
            Fault::Cut(ending) => return self.cut(link, arrival, ending),
            Fault::Half => {
                whole.pipes[here].fin = Some(arrival);
                let reader = whole.hosts[there];
                self.wakes.insert((arrival.max(self.now + 1), reader));
            }
            Fault::Freeze => whole.pipes[there].void = true,
            Fault::Hole => {}
        }
        let whole = &mut self.links[link];
        whole.pipes[here].void = true;
        if !self.climate.exact {
            // Retransmissions run out.
            let at = arrival + self.rng.below(4_000_000);
            self.cut(link, at, Ending::Reset);
        }
    }

    /// Ends the direction from `side`, after what was written. Reading goes on.
    pub(crate) fn shutdown(&mut self, link: LinkId, side: Side) {
        let whole = &mut self.links[link];
        let pipe = &mut whole.pipes[side as usize];
        if pipe.fin.is_none() {
            let at = (self.now + self.rng.within(whole.delay)).max(pipe.last_arrival);
            pipe.fin = Some(if whole.frozen || pipe.void { u64::MAX } else { at });
            let reader = whole.hosts[side.other() as usize];
            self.wake(reader, at);
        }
    }

    /// Closes `side` both ways. What it had not read turns into a reset, as TCP does.
    pub(crate) fn close(&mut self, link: LinkId, side: Side) {
        self.shutdown(link, side);
        let whole = &mut self.links[link];
        whole.gone[side as usize] = true;
        if whole.pipes[side.other() as usize].held > 0 && !whole.pipes[side as usize].void {
            let at = self.now + self.rng.within(whole.delay);
            self.cut(link, at, Ending::Reset);
        }
    }

    /// Cuts both ways at `at`; an earlier cut stands.
    pub(crate) fn cut(&mut self, link: LinkId, at: u64, ending: Ending) {
        let whole = &mut self.links[link];
        if whole.frozen {
            return;
        }
        if whole.cut.is_none_or(|(earlier, _)| earlier > at) {
            whole.cut = Some((at, ending));
            whole.lose_what_is_late();
            for host in whole.hosts {
                self.wake(host, at);
            }
        }
    }

    /// From now on nothing arrives at either end, and neither is told, as when a cable is pulled.
    pub(crate) fn freeze(&mut self, link: LinkId) {
        let whole = &mut self.links[link];
        whole.frozen = true;
        for pipe in &mut whole.pipes {
            pipe.segments.clear();
            pipe.held = 0;
        }
    }

    /// Whether a write from `side` would take something now.
    pub(crate) fn is_writable(&self, link: LinkId, side: Side) -> bool {
        let pipe = &self.links[link].pipes[side as usize];
        pipe.held < pipe.capacity && !pipe.blocked
    }

    /// Whether something was lost on a link by a fault of its own.
    pub(crate) fn is_cut(&self, link: LinkId) -> bool {
        let link = &self.links[link];
        link.cut.is_some() || link.pipes.iter().any(|pipe| pipe.void)
    }

    /// Octets that went out from `side` so far.
    pub(crate) fn written(&self, link: LinkId, side: Side) -> u64 {
        self.links[link].pipes[side as usize].written
    }

    /// From now on what is written at `side` vanishes, and its end too.
    pub(crate) fn silence(&mut self, link: LinkId, side: Side) {
        self.links[link].pipes[side as usize].void = true;
    }

    /// A link whose octets vanish comes to its end.
    pub(crate) fn end_silence(&mut self, link: LinkId, at: u64) {
        self.cut(link, at, Ending::Reset);
    }

    /// Octets that wait at `side` for so long that no laziness is to blame.
    pub(crate) fn overdue(&self, link: LinkId, side: Side) -> usize {
        let segments = &self.links[link].pipes[side.other() as usize].segments;
        segments.iter().filter(|(arrival, _)| arrival + 20_000 < self.now).map(|(_, octets)| octets.len()).sum()
    }

    /// Octets under way to `side` or waiting there.
    pub(crate) fn unread(&self, link: LinkId, side: Side) -> usize {
        self.links[link].pipes[side.other() as usize].held
    }
}

//! What one client was delivered, checked as it comes.

use std::collections::HashMap;
use std::ops::Range;

/// The least octets of a payload: sender, number and length.
pub(crate) const LEAST: usize = 12;

/// The payload of message `number`, counted from 0, of `sender`. Anything in it that is altered is noticed.
pub(crate) fn payload(sender: u32, number: u32, octets: usize) -> Vec<u8> {
    let mut payload = vec![fill(sender, number); octets.max(LEAST)];
    payload[0..4].copy_from_slice(&sender.to_be_bytes());
    payload[4..8].copy_from_slice(&number.to_be_bytes());
    payload[8..12].copy_from_slice(&(octets as u32).to_be_bytes());
    payload
}

fn fill(sender: u32, number: u32) -> u8 {
    (sender.wrapping_mul(31).wrapping_add(number)) as u8
}

/// Sender and number of a payload that is as it was sent.
fn read(payload: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let (sender, number, octets) = (word(0)?, word(4)?, word(8)?);
    let fill = fill(sender, number);
    (octets as usize == payload.len() && payload[LEAST..].iter().all(|octet| *octet == fill))
        .then_some((sender, number))
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Who it is.
    pub(crate) me: u32,
    pub(crate) seen: HashMap<u32, Seen>,
    /// All messages that came, whatever is wrong with them.
    pub(crate) arrived: u64,
    pub(crate) echoed: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    pub(crate) corrupt: u64,
}

/// What came of one sender.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) first: u32,
    /// The number after the highest.
    pub(crate) next: u32,
    /// Different ones.
    pub(crate) count: u64,
    /// Those between `first` and `next` that did not come.
    pub(crate) holes: Vec<Range<u32>>,
}

impl Tally {
    pub(crate) fn new(me: u32) -> Self {
        Self { me, ..Self::default() }
    }

    /// The tally until now; a new one begins.
    pub(crate) fn close(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.me))
    }

    pub(crate) fn take(&mut self, payload: &[u8]) {
        self.arrived += 1;
        let Some((sender, number)) = read(payload) else {
            self.corrupt += 1;
            return;
        };
        if sender == self.me {
            self.echoed += 1;
            return;
        }
        let seen = self.seen.entry(sender).or_insert(Seen { first: number, next: number, count: 0, holes: Vec::new() });
        if number >= seen.next {
            if number > seen.next {
                seen.holes.push(seen.next..number);
            }
            seen.next = number + 1;
            seen.count += 1;
        } else if number < seen.first {
            // What should have come before the first one. If it came before that too, the ledger knows better.
            seen.holes.push(number + 1..seen.first);
            seen.first = number;
            seen.count += 1;
            self.disordered += 1;
        } else if let Some(at) = seen.holes.iter().position(|hole| hole.contains(&number)) {
            let hole = seen.holes.swap_remove(at);
            seen.holes.extend([hole.start..number, number + 1..hole.end]);
            seen.count += 1;
            self.disordered += 1;
        } else {
            self.doubled += 1;
        }
    }

    /// What came without a frame before it that is empty, or with another one behind it.
    pub(crate) fn take_odd(&mut self) {
        self.arrived += 1;
        self.corrupt += 1;
    }

    /// How many different messages came from others.
    pub(crate) fn delivered(&self) -> u64 {
        self.seen.values().map(|seen| seen.count).sum()
    }
}

impl Seen {
    /// How many of those from `from` to the highest did not come.
    pub(crate) fn missed(&self, from: u64) -> u64 {
        let inside: usize = self.holes.iter().map(ExactSizeIterator::len).sum();
        inside as u64 + u64::from(self.first).saturating_sub(from)
    }
}

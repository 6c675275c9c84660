//! What the threads tell the judge, and what they count.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ledger::Account;
use crate::tally::Tally;

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) enum Report {
    /// The relay's side of one client.
    Account(Account),
    /// The client's own.
    Statement(Statement),
    /// The clients of one crew have nothing more to write; so many messages did each of them write, ever.
    Quiet(HashMap<u32, u64>),
    /// The relay has nothing more to write; so many messages were sent to each. If not `in_time`, something is stuck.
    /// Its memory is in KiB.
    Settled { sent: HashMap<u32, u64>, in_time: bool, resident: u64 },
    /// One crew has handed in the statements of all its clients. If not `in_time`, something did not come.
    Stated { in_time: bool },
    /// The relay is at its end.
    Ended(Summary),
}

/// What the relay says of the whole run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) joined: u64,
    pub(crate) rejected: u64,
    /// Messages passed on, by the ledger.
    pub(crate) relayed: u64,
    /// By the counters of the socket, over all clients.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    /// Clients that were there when nobody should have been.
    pub(crate) left_over: u64,
    /// Before the first client and after the last.
    pub(crate) descriptors: (u64, u64),
}

/// What a client wrote and was delivered, since it joined or since accounts were settled the last time.
pub(crate) struct Statement {
    pub(crate) written: u64,
    pub(crate) tally: Tally,
    pub(crate) ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// None: it is still there, and had time to read all.
    Stays,
    /// It wrote all and read to the end of the stream: neither side lost anything.
    Orderly,
    /// It was cut off by its own will: what was on its way, to either side, is lost.
    Cut,
    /// The relay closed the connection, and had no reason.
    ThrownOut,
}

/// What the clients did, all together.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) joins: AtomicU64,
    pub(crate) leaves: AtomicU64,
    pub(crate) crashes: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) floods: AtomicU64,
    pub(crate) garbage: AtomicU64,
}

pub(crate) fn count(deed: &AtomicU64) {
    deed.fetch_add(1, Ordering::Relaxed);
}

/// The numbers in a line, up to the first word that is none.
pub(crate) fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split_ascii_whitespace().map_while(|word| word.parse().ok())
}

/// The descriptors of this process.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The memory of this process that is resident, in KiB.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

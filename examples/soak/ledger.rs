//! What the relay owed to each client, and what it says became of it.
//!
//! The relay passes on in [`Relay::drive`](zmio::Relay::drive) what it has received, and its socket gives all of that to
//! those who are connected when the driver writes next: nobody joins or leaves in between. So the ledger looks at the
//! socket twice in each turn.
//!
//! - Before: whose handshake is complete, and whose connection has ended since? That opens and closes the *window* of
//!   a client, a range of the numbers of each sender.
//! - After: how much of each client was passed on? It is what was received of it and does not wait any more. Each that
//!   is connected is *owed* the sum of it, less its own.
//!
//! What a client was owed was then sent, dropped since its queue was full, or still queued when it went. The ledger takes
//! these three from the relay's own counters, and the judge compares.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use zmio::socket::{Counts, Router};
use zmio::{PeerId, RelayEvent, Socket};

/// What is known of one client at the relay, from its joining or from the last time that accounts were settled.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) client: u32,
    /// Messages of others that were passed on while it was connected.
    pub(crate) owed: u64,
    /// What the relay counted.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) queued: u64,
    /// By sender, which of its messages those are: from the first number to the one after the last.
    pub(crate) window: Vec<(u32, u64, u64)>,
    /// Why it went, if it did.
    pub(crate) cause: Option<String>,
}

impl Account {
    /// Numbers, then the cause.
    pub(crate) fn to_line(&self) -> String {
        let Account { client, owed, received, sent, dropped, queued, window, cause } = self;
        let mut line = format!("{client} {owed} {received} {sent} {dropped} {queued} {}", window.len());
        for (sender, from, to) in window {
            // Writing into a String cannot fail.
            let _ = write!(line, " {sender} {from} {to}");
        }
        line + " " + cause.as_deref().unwrap_or("-")
    }

    pub(crate) fn from_line(line: &str) -> Option<Account> {
        let mut words = line.split(' ');
        let mut next = || words.next()?.parse::<u64>().ok();
        let (client, owed, received, sent, dropped, queued) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let window: Option<_> = (0..next()?).map(|_| Some((next()? as u32, next()?, next()?))).collect();
        let window = window?;
        let cause = words.collect::<Vec<_>>().join(" ");
        let cause = (cause != "-").then_some(cause);
        Some(Account { client: client as u32, owed, received, sent, dropped, queued, window, cause })
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<PeerId, Entry>,
    /// Those who went since accounts were settled, with all that was passed on of them.
    gone: Vec<(u32, u64)>,
    /// All that was passed on.
    pub(crate) relayed: u64,
}

struct Entry {
    client: u32,
    connected: bool,
    /// What was passed on of it.
    passed_on: u64,
    owed: u64,
    opened: Opened,
    /// Known as soon as it is closed.
    window: Vec<(u32, u64, u64)>,
}

/// How things stood when a window was opened.
#[derive(Clone, Default)]
struct Opened {
    /// What was passed on of each client, sorted by client.
    passed_on: Arc<Vec<(u32, u64)>>,
    gone: usize,
    counts: Counts,
}

impl Ledger {
    /// To be called after input and before the relay is driven.
    pub(crate) fn before(&mut self, socket: &Socket<Router>) {
        let is_connected = |peer: PeerId| socket.peer(peer).is_some_and(|view| view.is_connected());
        let closing: Vec<PeerId> = self
            .entries
            .iter()
            .filter(|(peer, e)| e.connected && !is_connected(**peer))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in closing {
            let window = self.window(&self.entries[&peer]);
            let entry = self.entries.get_mut(&peer).expect("it is there");
            (entry.connected, entry.window) = (false, window);
        }
        let new: Vec<PeerId> = socket.peers().filter(|peer| !self.entries.contains_key(peer)).collect();
        if !new.is_empty() {
            let opened = self.opened();
            for peer in new {
                let identity = socket.peer(peer).expect("it is connected").identity();
                self.entries.insert(peer, Entry::new(client(identity), true, opened.clone()));
            }
        }
    }

    /// To be called after the relay was driven and before anything is written, with what it said. Returns the accounts of
    /// those who went.
    pub(crate) fn after(&mut self, socket: &Socket<Router>, events: &[RelayEvent]) -> Vec<Account> {
        let mut left = HashMap::new();
        for event in events {
            match event {
                // One that came and went within one turn was never connected when something was written.
                RelayEvent::Joined { peer, info } => {
                    let entry = || Entry::new(client(&info.identity), false, Opened::default());
                    self.entries.entry(*peer).or_insert_with(entry);
                }
                RelayEvent::Left(gone) => {
                    left.insert(gone.peer, gone);
                }
                _ => {}
            }
        }
        let mut total = 0;
        let mut own = Vec::with_capacity(self.entries.len());
        for (peer, entry) in &mut self.entries {
            let passed_on = match (left.get(peer), socket.peer(*peer)) {
                (Some(gone), _) => gone.counts.received,
                (None, Some(view)) => view.counts().received - view.unreceived(),
                (None, None) => panic!("client {} went without a word", entry.client),
            };
            own.push(passed_on - entry.passed_on);
            total += passed_on - entry.passed_on;
            entry.passed_on = passed_on;
        }
        self.relayed += total;
        for (entry, own) in self.entries.values_mut().zip(own) {
            if entry.connected {
                entry.owed += total - own;
            }
        }
        let mut accounts = Vec::new();
        for (peer, gone) in left {
            let Some(mut entry) = self.entries.remove(&peer) else { continue };
            self.gone.push((entry.client, entry.passed_on));
            let window = std::mem::take(&mut entry.window);
            accounts.push(entry.account(gone.counts, window, Some(gone.cause.to_string())));
        }
        accounts
    }

    /// Is everything passed on, written and counted, and is nobody there but those of `all`, of whom so much was to come?
    pub(crate) fn is_settled(&self, socket: &Socket<Router>, all: &HashMap<u32, u64>) -> bool {
        self.entries.len() == all.len()
            && self.entries.iter().all(|(peer, entry)| {
                let Some(view) = socket.peer(*peer) else { return false };
                let counts = view.counts();
                let all_came = all.get(&entry.client).is_some_and(|written| counts.received >= *written);
                all_came && entry.connected && view.unreceived() == 0 && counts.queued == 0
            })
    }

    /// The accounts of all who are there; new ones begin.
    pub(crate) fn settle(&mut self, socket: &Socket<Router>) -> Vec<Account> {
        let count = |peer| socket.peer(peer).map(|view| view.counts()).unwrap_or_default();
        let account = |(peer, entry): (&PeerId, &Entry)| entry.account(count(*peer), self.window(entry), None);
        let accounts = self.entries.iter().map(account).collect();
        self.gone.clear();
        let opened = self.opened();
        for (peer, entry) in &mut self.entries {
            entry.owed = 0;
            entry.opened = Opened { counts: count(*peer), ..opened.clone() };
        }
        accounts
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn opened(&self) -> Opened {
        let mut passed_on: Vec<_> = self.entries.values().map(|entry| (entry.client, entry.passed_on)).collect();
        passed_on.sort_unstable();
        Opened { passed_on: Arc::new(passed_on), gone: self.gone.len(), counts: Counts::default() }
    }

    /// What was passed on since the window of `of` was opened, by sender.
    fn window(&self, of: &Entry) -> Vec<(u32, u64, u64)> {
        let before = &of.opened.passed_on;
        let from =
            |sender: u32| before.binary_search_by_key(&sender, |(client, _)| *client).map_or(0, |at| before[at].1);
        let there = self.entries.values().map(|entry| (entry.client, entry.passed_on));
        let gone = self.gone[of.opened.gone..].iter().copied();
        let all = there.chain(gone).map(|(sender, to)| (sender, from(sender), to));
        all.filter(|(sender, from, to)| *sender != of.client && from < to).collect()
    }
}

impl Entry {
    fn new(client: u32, connected: bool, opened: Opened) -> Self {
        Self { client, connected, passed_on: 0, owed: 0, opened, window: Vec::new() }
    }

    fn account(&self, counts: Counts, window: Vec<(u32, u64, u64)>, cause: Option<String>) -> Account {
        let before = self.opened.counts;
        Account {
            client: self.client,
            owed: self.owed,
            received: counts.received - before.received,
            sent: counts.sent - before.sent,
            dropped: counts.dropped - before.dropped,
            queued: counts.queued,
            window,
            cause,
        }
    }
}

/// The number of a client is its identity, in decimal.
fn client(identity: &[u8]) -> u32 {
    std::str::from_utf8(identity).ok().and_then(|text| text.parse().ok()).expect("a number as identity")
}

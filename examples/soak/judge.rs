//! Holds what the relay says of each client against what the client says itself.

use std::collections::HashMap;

use crate::ledger::Account;
use crate::report::{Ending, Statement};
use crate::tally::Tally;

/// So many complaints are kept to be shown.
const SHOWN: usize = 20;

#[derive(Default)]
pub(crate) struct Judge {
    accounts: HashMap<u32, Account>,
    statements: HashMap<u32, Statement>,
    pub(crate) sums: Sums,
    pub(crate) faults: Faults,
    pub(crate) complaints: Vec<String>,
}

/// Over all clients. Each message that is owed to a client is in exactly one of the next four, if nothing is lost.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) owed: u64,
    pub(crate) delivered: u64,
    /// The client's queue was full: by the relay's count.
    pub(crate) dropped: u64,
    /// Were queued when the client went: by the relay's count.
    pub(crate) queued: u64,
    /// Were written to the transport of a client that then cut itself off.
    pub(crate) cut: u64,

    /// By the clients.
    pub(crate) written: u64,
    /// By the relay.
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Each of these has to be zero.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Neither delivered nor explained by the relay's counters, on the way in or out.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) echoed: u64,
    pub(crate) disordered: u64,
    pub(crate) corrupt: u64,
    /// Delivered from before the client joined, or though the relay says that it dropped it, or that nobody sent.
    pub(crate) not_owed: u64,
    /// Between what the relay owed and its own counters, or these and what came in or went out.
    pub(crate) unbalanced: u64,
    /// Clients that the relay cut off without a reason.
    pub(crate) thrown_out: u64,
    /// What did not happen in time, or has only one side.
    pub(crate) stuck: u64,
}

impl Judge {
    pub(crate) fn hear_relay(&mut self, account: Account) {
        if let Some(statement) = self.statements.remove(&account.client) {
            return self.judge(&account, &statement);
        }
        if let Some(former) = self.accounts.insert(account.client, account) {
            self.stuck(&format!("two accounts of client {}", former.client));
        }
    }

    pub(crate) fn hear_client(&mut self, statement: Statement) {
        let client = statement.tally.me;
        if let Some(account) = self.accounts.remove(&client) {
            return self.judge(&account, &statement);
        }
        if self.statements.insert(client, statement).is_some() {
            self.stuck(&format!("two statements of client {client}"));
        }
    }

    pub(crate) fn stuck(&mut self, what: &str) {
        self.faults.stuck += 1;
        self.complain(what.to_string());
    }

    /// All is settled: both sides of everything are known. One that cut itself off while it joined may have come too
    /// early for the relay to know it, or may be known to it only later.
    pub(crate) fn rest(&mut self, is_end: bool) {
        for (client, account) in std::mem::take(&mut self.accounts) {
            self.stuck(&format!("nothing is heard from client {client}: {account:?}"));
        }
        let is_known = |s: &Statement| s.ending != Ending::Cut || (is_end && s.tally.arrived > 0);
        let known: Vec<u32> = self.statements.iter().filter(|(_, s)| is_known(s)).map(|(client, _)| *client).collect();
        for client in known {
            if let Some(Statement { written, tally, ending }) = self.statements.remove(&client) {
                let arrived = tally.arrived;
                self.stuck(&format!(
                    "the relay does not know client {client} ({ending:?}): wrote {written}, {arrived} arrived"
                ));
            }
        }
    }

    fn judge(&mut self, account: &Account, statement: &Statement) {
        let Statement { written, tally, ending } = statement;
        // Neither side can have lost what was on its way.
        let exact = matches!(ending, Ending::Stays | Ending::Orderly);
        let delivered = tally.delivered();
        let mut faults = Faults {
            doubled: tally.doubled,
            echoed: tally.echoed,
            disordered: tally.disordered,
            corrupt: tally.corrupt,
            thrown_out: u64::from(*ending == Ending::ThrownOut),
            ..Faults::default()
        };

        // The way in.
        if exact {
            faults.lost += written.saturating_sub(account.received);
        }
        faults.unbalanced += account.received.saturating_sub(*written);

        // The relay.
        let explained = account.dropped + account.queued;
        faults.unbalanced += account.owed.abs_diff(account.sent + explained);
        let in_window: u64 = account.window.iter().map(|(_, from, to)| to - from).sum();
        faults.unbalanced += account.owed.abs_diff(in_window);

        // The way out.
        if exact {
            faults.unbalanced += account.sent.abs_diff(tally.arrived);
        } else {
            faults.unbalanced += tally.arrived.saturating_sub(account.sent);
        }

        let (holes, not_owed) = compare(account, tally);
        let missing = account.owed.saturating_sub(delivered);
        faults.not_owed += not_owed;
        if exact {
            faults.lost += missing.saturating_sub(explained).max(holes.saturating_sub(account.dropped));
            faults.not_owed += explained.saturating_sub(missing);
        } else {
            faults.lost += holes.saturating_sub(account.dropped);
            self.sums.cut += missing.saturating_sub(explained).saturating_sub(faults.lost);
        }

        self.sums.owed += account.owed;
        self.sums.delivered += delivered;
        self.sums.dropped += account.dropped;
        self.sums.queued += account.queued;
        self.sums.written += written;
        self.sums.received += account.received;
        self.sums.sent += account.sent;
        if !faults.are_none() {
            let Account { client, owed, received, sent, dropped, queued, cause, .. } = account;
            self.complain(format!(
                "client {client} ({ending:?}, {cause:?}): wrote {written}, of which {received} were received; owed {owed}: \
                 {sent} sent, {dropped} dropped, {queued} queued; {} arrived, {delivered} different: {faults:?}",
                tally.arrived
            ));
        }
        self.faults += faults;
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < SHOWN {
            self.complaints.push(complaint);
        }
    }
}

/// How many messages did not come though a later one of the same sender did, and how many came from outside of the window.
fn compare(account: &Account, tally: &Tally) -> (u64, u64) {
    let window: HashMap<u32, (u64, u64)> =
        account.window.iter().map(|(sender, from, to)| (*sender, (*from, *to))).collect();
    let (mut holes, mut not_owed) = (0, 0);
    for (sender, seen) in &tally.seen {
        match window.get(sender) {
            Some(&(from, to)) => {
                holes += seen.missed(from);
                not_owed += u64::from(u64::from(seen.first) < from) + u64::from(seen.next).saturating_sub(to);
            }
            None => not_owed += seen.count,
        }
    }
    (holes, not_owed)
}

impl Faults {
    fn each(&self) -> [u64; 9] {
        let Faults { lost, doubled, echoed, disordered, corrupt, not_owed, unbalanced, thrown_out, stuck } = *self;
        [lost, doubled, echoed, disordered, corrupt, not_owed, unbalanced, thrown_out, stuck]
    }

    pub(crate) fn are_none(&self) -> bool {
        self.each() == [0; 9]
    }
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.echoed += other.echoed;
        self.disordered += other.disordered;
        self.corrupt += other.corrupt;
        self.not_owed += other.not_owed;
        self.unbalanced += other.unbalanced;
        self.thrown_out += other.thrown_out;
        self.stuck += other.stuck;
    }
}

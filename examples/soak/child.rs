//! The relay's process, seen from outside.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;

use zmio::net::Endpoint;

use crate::ledger::Account;
use crate::report::{Report, Summary, numbers};

/// The option with which this program is the relay.
pub(crate) const RELAY: &str = "--relay";

pub(crate) struct Hub {
    pub(crate) endpoint: Endpoint,
    child: Child,
}

impl Hub {
    pub(crate) fn start(seed: u64, reports: Sender<Report>) -> Hub {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([RELAY, &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another process");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let endpoint = lines.next().and_then(|line| line.parse().ok()).expect("an endpoint");
        std::thread::spawn(move || {
            for line in lines {
                let report = report(&line).expect("a report");
                if reports.send(report).is_err() {
                    return;
                }
            }
        });
        Hub { endpoint, child }
    }

    /// Each of these clients has written so many messages, and writes no more for now. [`Report::Settled`] answers.
    pub(crate) fn settle(&self, written: &HashMap<u32, u64>) {
        let mut line = String::from("settle ");
        for (client, written) in written {
            // Writing into a String cannot fail.
            let _ = write!(line, "{client} {written} ");
        }
        self.order(&line);
    }

    /// [`Report::Ended`] answers when nobody is there any more.
    pub(crate) fn end(&self) {
        self.order("end");
    }

    pub(crate) fn wait(mut self) {
        // Ends by itself, or at the end of its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    fn order(&self, line: &str) {
        let mut stdin = self.child.stdin.as_ref().expect("it is piped");
        // If it is gone, the answer is missed.
        let _ = writeln!(stdin, "{line}");
    }
}

fn report(line: &str) -> Option<Report> {
    let (word, rest) = line.split_once(' ')?;
    let mut numbers = numbers(rest);
    let mut next = || numbers.next();
    Some(match word {
        "account" => Report::Account(Account::from_line(rest)?),
        "settled" => {
            let (in_time, resident) = (next()? == 1, next()?);
            let sent = std::iter::from_fn(|| Some((next()? as u32, next()?))).collect();
            Report::Settled { sent, in_time, resident }
        }
        "ended" => Report::Ended(Summary {
            joined: next()?,
            rejected: next()?,
            relayed: next()?,
            received: next()?,
            sent: next()?,
            dropped: next()?,
            left_over: next()?,
            descriptors: (next()?, next()?),
        }),
        _ => return None,
    })
}

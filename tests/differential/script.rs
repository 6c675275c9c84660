//! What is said to both servers, and what is to come of it.

use std::time::Duration;

use crate::support::octets::{self, greeting, ready};

/// One conversation, the same with libzmq's ROUTER and with ours.
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) probe: Probe,
    /// Sent in one piece only, and not octet by octet as well.
    pub(crate) whole_only: bool,
    /// The handshake must be complete within [`HURRY`], since this script shows that deadline.
    pub(crate) is_hurried: bool,
    pub(crate) expected: Expected,
}

/// The handshake deadline of a script that waits for it.
pub(crate) const HURRY: Duration = Duration::from_millis(1_000);

pub(crate) enum Step {
    Send(Vec<u8>),
    /// Waits for the server's READY: libzmq closes on a peer that says more than READY before.
    AwaitReady,
    /// Waits for so many octets of the server.
    Await(usize),
    /// PING and PONG: the handshake is complete, and what was sent is read.
    Sync,
    /// Says nothing for so long.
    Quiet(Duration),
    /// Octet by octet, with this time before each.
    Trickle(Vec<u8>, Duration),
    /// Another client, which has this identity and stays.
    Twin(&'static [u8]),
    /// Sends no more, and waits for the end.
    Fin,
    /// Leaves with a reset.
    Reset,
}

/// What is said after the steps to see whether the server still listens.
pub(crate) enum Probe {
    /// A message and a PING.
    Modern,
    /// A message in the framing of an older version, which has no PING. It is answered by one.
    Legacy(Vec<u8>),
}

pub(crate) enum Expected {
    Same(String),
    Differ { theirs: String, ours: String, why: &'static str },
}

/// The octets of a script, as a script. What comes of them is still to be said.
pub(crate) fn script(name: impl Into<String>, steps: impl Into<Vec<Step>>) -> Script {
    Script {
        name: name.into(),
        steps: steps.into(),
        probe: Probe::Modern,
        whole_only: false,
        is_hurried: false,
        expected: Expected::Same(String::new()),
    }
}

/// With another greeting than usual, then as a DEALER.
pub(crate) fn greeting_is(name: impl Into<String>, greeting: Vec<u8>) -> Script {
    script(name, [Step::Send(greeting), Step::AwaitReady, Step::Send(ready("DEALER", b""))])
}

/// After a good greeting, where READY belongs.
pub(crate) fn greeted(name: impl Into<String>, octets: impl Into<Vec<u8>>) -> Script {
    script(name, [Step::Send(greeting()), Step::AwaitReady, Step::Send(octets.into())])
}

/// After a good handshake and one message, which is `good`.
pub(crate) fn connected(name: impl Into<String>, octets: impl Into<Vec<u8>>) -> Script {
    script(name, connection()).then(Step::Send(octets.into()))
}

/// A good handshake and one message.
fn connection() -> Vec<Step> {
    let first = [ready("DEALER", b""), octets::message(&["good"])].concat();
    vec![Step::Send(greeting()), Step::AwaitReady, Step::Send(first), Step::Sync]
}

impl Script {
    pub(crate) fn whole(self) -> Script {
        Script { whole_only: true, ..self }
    }

    pub(crate) fn hurried(self) -> Script {
        Script { is_hurried: true, whole_only: true, ..self }
    }

    pub(crate) fn probed_by(self, octets: impl Into<Vec<u8>>) -> Script {
        Script { probe: Probe::Legacy(octets.into()), ..self }
    }

    pub(crate) fn then(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// Both do this.
    pub(crate) fn same(self, outcome: impl Into<String>) -> Script {
        Script { expected: Expected::Same(outcome.into()), ..self }
    }

    /// We do not do as libzmq does, for this reason.
    pub(crate) fn differ(self, theirs: impl Into<String>, ours: impl Into<String>, why: &'static str) -> Script {
        let expected = Expected::Differ { theirs: theirs.into(), ours: ours.into(), why };
        Script { expected, ..self }
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(octets) => Some(&octets[..]),
            _ => None,
        });
        sent.collect::<Vec<_>>().concat()
    }
}

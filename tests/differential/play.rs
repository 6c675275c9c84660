//! Says a script to a server and sees what comes of it.

use std::time::{Duration, Instant};

use crate::clerk::{ECHO, PROBE, Said, ask_for_report};
use crate::script::{HURRY, Probe, Script, Step};
use crate::support::octets::{self, COMMAND, Frame, greeting, message, ping, pong, ready};
use crate::support::raw::Raw;

const SYNC: &[u8] = b"sync";

/// A deadline may be kept so much too early.
const ROUNDING: Duration = Duration::from_millis(50);

/// How the octets are cut up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Chunks {
    Whole,
    Octets,
}

/// How far the connection came.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Greeting,
    Handshake,
    Traffic,
}

struct Player<'a> {
    script: &'a Script,
    chunks: Chunks,
    endpoint: &'a str,
    raw: Raw,
    stage: Stage,
    twins: Vec<Raw>,
}

enum End {
    Closed,
    /// The PING was answered, or the legacy message.
    Answered,
    /// It was this side that ended it.
    Left,
}

/// All that a script led to, in one line: what was delivered, what was answered, how it ended.
pub(crate) fn outcome(script: &Script, chunks: Chunks, endpoint: &str) -> String {
    let start = Instant::now();
    let raw = Raw::connect(endpoint);
    let mut player = Player { script, chunks, endpoint, raw, stage: Stage::Greeting, twins: Vec::new() };
    let end = player.play();
    let time = start.elapsed();
    let answers = player.answers(&end);
    for twin in &mut player.twins {
        assert!(exchange(twin, b"still here"), "the twin was closed");
    }
    let said = ask_for_report(endpoint);

    let is_probe = |said: &&Said| said.frames == [PROBE];
    let probe = said.iter().find(is_probe);
    let stage = match player.stage {
        Stage::Greeting => "the greeting",
        Stage::Handshake => "the handshake",
        Stage::Traffic => "traffic",
    };
    let end = match (end, probe) {
        (End::Left, _) => "over".to_owned(),
        (End::Closed, _) if script.is_hurried && time + ROUNDING >= HURRY => format!("timed out in {stage}"),
        (End::Closed, _) => format!("closed in {stage}"),
        (End::Answered, None) => "deaf".to_owned(),
        (End::Answered, Some(probe)) if probe.from.is_empty() => "serves".to_owned(),
        (End::Answered, Some(probe)) => format!("serves {}", show(&probe.from)),
    };
    let delivered = said.iter().filter(|said| !is_probe(said)).map(|said| show_message(&said.frames));
    let parts: Vec<String> = delivered.chain(answers).chain([end]).collect();
    parts.join(", ")
}

impl Player<'_> {
    fn play(&mut self) -> End {
        for step in &self.script.steps {
            let goes_on = match step {
                Step::Send(octets) => {
                    self.send(octets);
                    true
                }
                Step::AwaitReady => self.await_ready(),
                Step::Await(octets) => self.raw.read_until(|received| received.len() >= *octets),
                Step::Sync => self.sync(),
                Step::Quiet(time) => !self.raw.ends_within(*time),
                Step::Trickle(octets, pause) => octets.iter().all(|octet| {
                    let goes_on = !self.raw.ends_within(*pause);
                    self.raw.write(&[*octet]);
                    goes_on
                }),
                Step::Twin(identity) => {
                    let mut twin = Raw::connect(self.endpoint).handshake("DEALER", identity);
                    assert!(exchange(&mut twin, SYNC), "the twin came first");
                    self.twins.push(twin);
                    true
                }
                Step::Fin => {
                    self.raw.end_writes();
                    self.raw.read_until(|_| false)
                }
                Step::Reset => {
                    let raw = std::mem::replace(&mut self.raw, Raw::connect(self.endpoint));
                    raw.reset();
                    return End::Left;
                }
            };
            if !goes_on {
                return if matches!(step, Step::Fin) { End::Left } else { End::Closed };
            }
        }
        self.probe()
    }

    fn probe(&mut self) -> End {
        let (octets, answer) = match &self.script.probe {
            Probe::Modern => ([message(&[PROBE]), ping(0, PROBE)].concat(), pong(PROBE)),
            Probe::Legacy(octets) => (octets.clone(), ECHO.to_vec()),
        };
        self.send(&octets);
        if self.raw.read_until(|received| contains(received, &answer)) { End::Answered } else { End::Closed }
    }

    fn send(&mut self, octets: &[u8]) {
        match self.chunks {
            Chunks::Whole => self.raw.write(octets),
            Chunks::Octets => octets.iter().for_each(|octet| self.raw.write(&[*octet])),
        }
    }

    fn await_ready(&mut self) -> bool {
        let goes_on = self.raw.read_until(|received| {
            received.get(64..).is_some_and(|rest| octets::frames(rest).0.iter().any(|f| f.is_command(b"READY")))
        });
        if goes_on {
            self.stage = Stage::Handshake;
        }
        goes_on
    }

    fn sync(&mut self) -> bool {
        let goes_on = exchange(&mut self.raw, SYNC);
        if goes_on {
            self.stage = Stage::Traffic;
        }
        goes_on
    }

    /// What the server said, without what is usual.
    fn answers(&self, end: &End) -> Vec<String> {
        let received = self.raw.received();
        if let (Probe::Legacy(_), End::Answered) = (&self.script.probe, end) {
            // The type of a ROUTER, where later versions have their minor.
            let version = if received[10..12] == [3, 6] { "2.0" } else { "1.0" };
            return vec![format!("speaks {version}")];
        }
        // libzmq says no more of its greeting than what it has heard calls for.
        let Some((greeted, rest)) = received.split_at_checked(64) else { return Vec::new() };
        assert_eq!(greeted[10..], greeting()[10..], "a greeting as usual");
        let (frames, _) = octets::frames(rest);
        let octets = self.script.octets();
        frames.iter().filter_map(|frame| show_answer(frame, &octets)).collect()
    }
}

/// PING and PONG, with a context that was not used before.
fn exchange(raw: &mut Raw, context: &[u8]) -> bool {
    raw.write(&ping(0, context));
    raw.read_until(|received| contains(received, &pong(context)))
}

fn contains(octets: &[u8], what: &[u8]) -> bool {
    octets.windows(what.len()).any(|window| window == what)
}

fn show_answer(frame: &Frame, sent: &[u8]) -> Option<String> {
    let as_it_stands = octets::frame(frame.flags, &frame.body);
    let usual = [ready("ROUTER", b""), pong(PROBE), pong(SYNC), message(&[ECHO])];
    if usual.contains(&as_it_stands) {
        return None;
    }
    if frame.is_command(b"PONG") {
        let context = &frame.body[5..];
        let is_known = context.is_empty() || contains(sent, context);
        return Some(if is_known {
            format!("PONG {}", show(context))
        } else {
            format!("PONG with {} octets that nobody sent", context.len())
        });
    }
    if frame.is_command(b"ERROR") {
        return Some("ERROR".to_owned());
    }
    Some(if frame.flags & COMMAND != 0 { format!("command {}", show(&frame.body)) } else { show(&frame.body) })
}

/// Frames as text; many that are equal, once.
fn show_message(frames: &[Vec<u8>]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for equal in frames.chunk_by(|a, b| a == b) {
        let frame = show(&equal[0]);
        if equal.len() > 3 {
            shown.push(format!("{} of {frame}", equal.len()));
        } else {
            shown.extend(std::iter::repeat_n(frame, equal.len()));
        }
    }
    format!("[{}]", shown.join(" "))
}

/// Octets as text; many that are equal, once.
fn show(octets: &[u8]) -> String {
    match octets {
        [] => "''".to_owned(),
        [first, rest @ ..] if rest.len() > 3 && rest.iter().all(|octet| octet == first) => {
            format!("{}*{}", first.escape_ascii(), octets.len())
        }
        _ => octets.escape_ascii().to_string(),
    }
}

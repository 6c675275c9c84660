//! What both servers do with messages: note them, answer the probe, and report to the witness in the end.

use std::time::Duration;

use zmio::socket::Router;
use zmio::{Engine, Event, Message, PeerId};

use crate::support::node::{self, App};
use crate::support::octets::{self, MORE, message};
use crate::support::raw::Raw;

/// The last frame of what is answered at once, and the answer.
pub(crate) const PROBE: &[u8] = b"probe";
pub(crate) const ECHO: &[u8] = b"echo";
/// Asks for the report.
const FINISH: &[u8] = b"finish";

/// A message and who sent it. An identity that the ROUTER assigned is empty here.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) from: Vec<u8>,
    pub(crate) frames: Vec<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct Clerk {
    notes: Vec<Said>,
    witness: Option<PeerId>,
}

pub(crate) enum Heard {
    Noted,
    /// To be answered with [`ECHO`].
    Probe,
    /// To be answered with the report, once no more messages wait.
    Finish,
}

impl Clerk {
    pub(crate) fn hear(&mut self, from: &[u8], frames: Vec<Vec<u8>>) -> Heard {
        if frames == [FINISH] {
            return Heard::Finish;
        }
        let heard = if frames == [PROBE] { Heard::Probe } else { Heard::Noted };
        let is_assigned = from.len() == 5 && from[0] == 0;
        let from = if is_assigned { Vec::new() } else { from.to_vec() };
        self.notes.push(Said { from, frames });
        heard
    }

    /// Each message as its sender, the number of its frames, and these.
    pub(crate) fn report(&self) -> Vec<Vec<u8>> {
        let mut report = vec![FINISH.to_vec()];
        for Said { from, frames } in &self.notes {
            report.extend([from.clone(), frames.len().to_string().into_bytes()]);
            report.extend_from_slice(frames);
        }
        report
    }
}

/// A well-behaved client that comes last, is served, and learns what the others have said.
pub(crate) fn ask_for_report(endpoint: &str) -> Vec<Said> {
    let mut witness = Raw::connect(endpoint).handshake("DEALER", b"");
    witness.write(&message(&[FINISH]));
    let frames = witness.read_frames_until(|frame| frame.flags & MORE == 0);
    let mut bodies = frames.into_iter().map(|octets::Frame { body, .. }| body);
    assert_eq!(bodies.next().as_deref(), Some(FINISH), "a report");
    let mut said = Vec::new();
    while let Some(from) = bodies.next() {
        let count = bodies.next().and_then(|count| String::from_utf8(count).ok()?.parse().ok()).expect("a count");
        said.push(Said { from, frames: bodies.by_ref().take(count).collect() });
    }
    said
}

impl App<Router> for Clerk {
    type Event = ();

    fn turn(&mut self, _: &mut Engine<Router>) {}

    fn poll_event(&mut self, engine: &mut Engine<Router>) -> Option<()> {
        while let Some(event) = engine.poll_event() {
            let Event::Message { peer, message } = event else { continue };
            let identity = engine.socket().peer(peer).map(|peer| peer.identity().to_vec()).unwrap_or_default();
            match self.hear(&identity, node::frames(&message)) {
                Heard::Noted => {}
                // Who left gets no answer.
                Heard::Probe => drop(engine.socket_mut().send(peer, Message::from(ECHO))),
                Heard::Finish => self.witness = Some(peer),
            }
        }
        if let Some(witness) = self.witness.take() {
            engine.socket_mut().send(witness, Message::multipart(self.report())).expect("the witness is there");
        }
        None
    }

    fn timeout(&self, engine: &Engine<Router>) -> Option<Duration> {
        engine.timeout()
    }
}

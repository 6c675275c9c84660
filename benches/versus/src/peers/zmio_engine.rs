//! zmio's engine in a loop of its own, one thread.

use std::error::Error;
use std::io;

use mio::{Events, Poll};
use zmio::net::TcpOptions;
use zmio::socket::{Pattern, Router};
use zmio::{Engine, Event, Message, Options, SendError, Socket};

use super::Outcome;
use crate::tally::{Intake, Supply};

/// Identities and back-off come from it. Nobody here wants to guess them.
const SEED: u64 = 7;

struct Loop<P: Pattern> {
    poll: Poll,
    events: Events,
    engine: Engine<P>,
}

impl<P: Pattern> Loop<P> {
    fn new(socket: Socket<P>) -> io::Result<Loop<P>> {
        let poll = Poll::new()?;
        let engine = Engine::new(poll.registry(), 0..usize::MAX, socket, TcpOptions::new())?;
        Ok(Loop { poll, events: Events::with_capacity(1024), engine })
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, self.engine.timeout()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        self.engine.process(&self.events);
        Ok(())
    }
}

fn open() -> Result<Loop<Router>, Box<dyn Error>> {
    let mut router = Loop::new(Socket::router(Options::new(), SEED))?;
    println!("listening on {}", router.engine.bind(&"tcp://127.0.0.1:0".parse()?)?);
    Ok(router)
}

pub fn sink(mut intake: Intake) -> Outcome {
    let mut router = open()?;
    loop {
        router.wait()?;
        while let Some(event) = router.engine.poll_event() {
            if let Event::Message { message, .. } = event {
                intake.take(message.frame(0).unwrap_or_default())?;
            }
        }
        router.engine.flush();
    }
}

pub fn echo() -> Outcome {
    let mut router = open()?;
    loop {
        router.wait()?;
        while let Some(event) = router.engine.poll_event() {
            if let Event::Message { peer, message } = event {
                router.engine.socket_mut().send(peer, message)?;
            }
        }
        router.engine.flush();
    }
}

pub fn send(endpoint: &str, mut supply: Supply) -> Outcome {
    let mut dealer = Loop::new(Socket::dealer(Options::new(), SEED))?;
    dealer.engine.connect(&endpoint.parse()?)?;
    // What did not fit goes first when there is room again.
    let mut left: Option<Message> = None;
    loop {
        let socket = dealer.engine.socket_mut();
        let mut sent = left.take().map_or(Ok(()), |message| socket.send(message));
        while sent.is_ok() {
            sent = socket.send(supply.next());
        }
        left = sent.err().map(SendError::into_message);
        dealer.engine.flush();
        dealer.wait()?;
        while dealer.engine.poll_event().is_some() {}
    }
}

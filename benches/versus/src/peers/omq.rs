//! omq: its blocking sockets, which have an I/O thread like libzmq's.

use std::collections::HashMap;

use bytes::Bytes;
use omq_tokio::blocking::Socket;
use omq_tokio::options::WorkloadProfile;
use omq_tokio::{Context, Error, Message, Options, SocketType, TrySendError};

use super::Outcome;
use crate::tally::{Intake, Supply};

/// Messages taken at once at most.
const BURST: usize = 1000;

fn open(context: &Context, options: Options) -> Result<Socket, Box<dyn std::error::Error>> {
    let socket = context.blocking_socket(SocketType::Router, options);
    let endpoint = socket.bind("tcp://127.0.0.1:0")?;
    println!("listening on {endpoint}");
    Ok(socket)
}

pub fn sink(mut intake: Intake) -> Outcome {
    let context = Context::new();
    let socket = open(&context, Options::default())?;
    let mut messages = Vec::new();
    loop {
        socket.recv_many_into(BURST, &mut messages)?;
        for message in messages.drain(..) {
            // The first part says who it is from.
            intake.take(message.part_slice(1).unwrap_or_default())?;
        }
    }
}

pub fn echo() -> Outcome {
    let context = Context::new();
    let socket = open(&context, Options::default().workload_profile(WorkloadProfile::Latency))?;
    loop {
        socket.send(socket.recv()?)?;
    }
}

pub fn send(endpoint: &str, mut supply: Supply) -> Outcome {
    let context = Context::new();
    let socket = context.blocking_socket(SocketType::Dealer, Options::default());
    socket.connect(endpoint)?;
    loop {
        socket.send(Message::from_slice(supply.next()))?;
    }
}

/// A message to all clients but its sender. It waits for a client that is full, so that nothing is lost.
pub fn relay() -> Outcome {
    let context = Context::new();
    let socket = open(&context, Options::default().router_mandatory(true))?;
    let mut clients: Vec<Bytes> = Vec::new();
    let mut known: HashMap<Bytes, ()> = HashMap::new();
    let mut messages = Vec::new();
    loop {
        socket.recv_many_into(BURST, &mut messages)?;
        for mut message in messages.drain(..) {
            let Some(from) = message.pop_front() else { continue };
            if known.insert(from.clone(), ()).is_none() {
                clients.push(from.clone());
            }
            let mut gone = None;
            for to in clients.iter().filter(|to| **to != from) {
                match send_to(&socket, to, &message) {
                    Err(Error::Unroutable) => gone = Some(to.clone()),
                    other => other?,
                }
            }
            if let Some(gone) = gone {
                known.remove(&gone);
                clients.retain(|client| *client != gone);
            }
        }
    }
}

fn send_to(socket: &Socket, to: &Bytes, body: &Message) -> Result<(), Error> {
    match socket.as_ref().try_send_to(to, body.clone()) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(body)) => socket.send(Message::with_prefix(to.clone(), body)),
        Err(TrySendError::Closed) => Err(Error::Closed),
        Err(TrySendError::Error(error)) => Err(error),
    }
}

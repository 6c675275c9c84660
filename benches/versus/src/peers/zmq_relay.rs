//! The relay on a libzmq ROUTER, as a skilled user would write it.
//!
//! Bodies are shared by `zmq_msg_copy`; after one receive that blocks come up to a thousand that do not. The send mark
//! is lifted, so that nothing is lost. The receive mark is not: it is per connection and makes TCP hold the senders
//! back, while without it libzmq takes in whatever they offer and fills the memory instead of relaying. A hundred was
//! as fast as a thousand, the default, with 64 octets, and a quarter faster with a kilobyte.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::c_int;
use std::io;

use clap::Args;

use super::zmq::{DONTWAIT, Message, RCVHWM, ROUTER, ROUTER_MANDATORY, SNDHWM, SNDMORE, Socket};

/// Messages taken without blocking after one that blocked.
const BURST: usize = 1000;

#[derive(Args)]
pub struct Options {
    /// Receive high-water mark in messages per client; 0 lifts it
    #[arg(long, default_value_t = 100)]
    rcvhwm: c_int,
    /// Send high-water mark in messages per client, beyond which they are dropped; 0 lifts it
    #[arg(long, default_value_t = 0)]
    sndhwm: c_int,
    /// I/O threads of the context
    #[arg(long, default_value_t = 1)]
    io_threads: c_int,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let socket = Socket::new(ROUTER, options.io_threads)?;
    socket.set(SNDHWM, options.sndhwm)?;
    socket.set(RCVHWM, options.rcvhwm)?;
    // A send to a client that left fails, which is how the relay learns that it did.
    socket.set(ROUTER_MANDATORY, 1)?;
    println!("listening on {}", socket.bind("tcp://127.0.0.1:*")?);

    let mut relay =
        Relay { socket, clients: Vec::new(), index: HashMap::new(), body: Vec::new(), copy: Message::new() };
    let mut sender = Message::new();
    loop {
        relay.socket.receive(&mut sender, 0)?;
        relay.relay(&mut sender)?;
        for _ in 0..BURST {
            match relay.socket.receive(&mut sender, DONTWAIT) {
                Ok(()) => relay.relay(&mut sender)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

struct Relay {
    socket: Socket,
    clients: Vec<Message>,
    index: HashMap<Box<[u8]>, usize>,
    /// Frames of the message being relayed; the storage is kept.
    body: Vec<Message>,
    copy: Message,
}

impl Relay {
    /// Takes the rest of the message whose identity frame is in `sender`, and sends it to all others.
    fn relay(&mut self, sender: &mut Message) -> io::Result<()> {
        let mut frames = 0;
        loop {
            if self.body.len() == frames {
                self.body.push(Message::new());
            }
            let frame = &mut self.body[frames];
            self.socket.receive(frame, 0)?;
            frames += 1;
            if !frame.more() {
                break;
            }
        }
        let from = match self.index.get(sender.octets()) {
            Some(&from) => from,
            None => self.join(sender)?,
        };
        let mut gone = Vec::new();
        for to in (0..self.clients.len()).filter(|&to| to != from) {
            match self.send(to, frames) {
                Err(error) if error.kind() == io::ErrorKind::HostUnreachable => gone.push(to),
                // Its queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => other?,
            }
        }
        for to in gone.into_iter().rev() {
            self.leave(to);
        }
        Ok(())
    }

    fn send(&mut self, to: usize, frames: usize) -> io::Result<()> {
        self.copy.share(&mut self.clients[to])?;
        self.socket.send(&mut self.copy, SNDMORE | DONTWAIT)?;
        for (i, frame) in self.body.iter_mut().take(frames).enumerate() {
            self.copy.share(frame)?;
            self.socket.send(&mut self.copy, if i + 1 < frames { SNDMORE } else { 0 })?;
        }
        Ok(())
    }

    fn join(&mut self, sender: &mut Message) -> io::Result<usize> {
        let mut identity = Message::new();
        identity.share(sender)?;
        let index = self.clients.len();
        self.index.insert(sender.octets().into(), index);
        self.clients.push(identity);
        Ok(index)
    }

    fn leave(&mut self, client: usize) {
        let mut identity = self.clients.swap_remove(client);
        self.index.remove(identity.octets());
        if let Some(moved) = self.clients.get_mut(client) {
            self.index.insert(moved.octets().into(), client);
        }
    }
}

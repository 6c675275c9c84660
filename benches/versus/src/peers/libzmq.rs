//! libzmq as a skilled user would use it: messages without a copy where it has that, marks at their defaults.

use std::ffi::c_int;

use super::Outcome;
use super::zmq::{Message, PULL, ROUTER, SNDMORE, Socket};
use crate::tally::{Intake, Supply};

pub fn sink(kind: c_int, mut intake: Intake) -> Outcome {
    let socket = Socket::new(kind, 1)?;
    println!("listening on {}", socket.bind("tcp://127.0.0.1:*")?);
    let mut frame = Message::new();
    loop {
        if kind != PULL {
            // Who it is from.
            socket.receive(&mut frame, 0)?;
        }
        socket.receive(&mut frame, 0)?;
        intake.take(frame.octets())?;
    }
}

pub fn echo() -> Outcome {
    let socket = Socket::new(ROUTER, 1)?;
    println!("listening on {}", socket.bind("tcp://127.0.0.1:*")?);
    let mut frame = Message::new();
    loop {
        socket.receive(&mut frame, 0)?;
        let flags = if frame.more() { SNDMORE } else { 0 };
        socket.send(&mut frame, flags)?;
    }
}

pub fn send(kind: c_int, endpoint: &str, mut supply: Supply) -> Outcome {
    let socket = Socket::new(kind, 1)?;
    socket.connect(endpoint)?;
    loop {
        socket.send_octets(supply.next())?;
    }
}

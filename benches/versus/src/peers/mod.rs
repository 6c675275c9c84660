//! The programs under test, each in a process of its own: relays, sinks, echoes and senders on each library.

mod libzmq;
#[cfg(feature = "field")]
mod monocoque;
#[cfg(feature = "field")]
mod omq;
mod tcp;
pub mod tcp_relay;
mod zmio_engine;
mod zmio_handle;
pub mod zmq;
pub mod zmq_relay;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cells::value_name;
use crate::tally::{Intake, Supply, Tally};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Peer {
    Libzmq,
    /// PUSH and PULL of libzmq, where the others have DEALER and ROUTER.
    LibzmqPush,
    /// `zmio relay`, or an `Engine` in a loop of its own.
    Zmio,
    /// The blocking handles, which have a thread for the I/O.
    ZmioHandle,
    Tcp,
    #[cfg(feature = "field")]
    Omq,
    #[cfg(feature = "field")]
    Monocoque,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&value_name(self))
    }
}

#[derive(Args)]
pub struct SinkOptions {
    peer: Peer,
    /// The file to count in
    #[arg(long)]
    tally: PathBuf,
    /// Octets of a body
    #[arg(long)]
    octets: usize,
}

#[derive(Args)]
pub struct EchoOptions {
    peer: Peer,
}

#[derive(Args)]
pub struct SendOptions {
    peer: Peer,
    /// HOST:PORT of the sink
    address: String,
    /// Octets of a body
    #[arg(long)]
    octets: usize,
}

type Outcome = Result<(), Box<dyn Error>>;

#[cfg(feature = "field")]
pub use omq::relay as omq_relay;

/// Receives, checks and counts until it is killed.
pub fn sink(options: &SinkOptions) -> Outcome {
    let intake = Intake::new(Tally::open(&options.tally)?, options.octets);
    match options.peer {
        Peer::Libzmq => libzmq::sink(zmq::ROUTER, intake),
        Peer::LibzmqPush => libzmq::sink(zmq::PULL, intake),
        Peer::Zmio => zmio_engine::sink(intake),
        Peer::ZmioHandle => zmio_handle::sink(intake),
        Peer::Tcp => tcp::sink(intake, options.octets),
        #[cfg(feature = "field")]
        Peer::Omq => omq::sink(intake),
        #[cfg(feature = "field")]
        Peer::Monocoque => monocoque::sink(intake),
    }
}

/// Sends each message back to whoever sent it, until it is killed.
pub fn echo(options: &EchoOptions) -> Outcome {
    match options.peer {
        Peer::Libzmq => libzmq::echo(),
        Peer::Zmio => zmio_engine::echo(),
        Peer::ZmioHandle => zmio_handle::echo(),
        Peer::Tcp => tcp::echo(),
        #[cfg(feature = "field")]
        Peer::Omq => omq::echo(),
        #[cfg(feature = "field")]
        Peer::Monocoque => monocoque::echo(),
        Peer::LibzmqPush => Err("PULL sends nothing".into()),
    }
}

/// Sends as fast as it can, until it is killed.
pub fn send(options: &SendOptions) -> Outcome {
    let endpoint = format!("tcp://{}", options.address);
    let supply = Supply::new(options.octets);
    match options.peer {
        Peer::Libzmq => libzmq::send(zmq::DEALER, &endpoint, supply),
        Peer::LibzmqPush => libzmq::send(zmq::PUSH, &endpoint, supply),
        Peer::Zmio => zmio_engine::send(&endpoint, supply),
        Peer::ZmioHandle => zmio_handle::send(&endpoint, supply),
        #[cfg(feature = "field")]
        Peer::Omq => omq::send(&endpoint, supply),
        #[cfg(feature = "field")]
        Peer::Monocoque => monocoque::send(&endpoint, supply),
        Peer::Tcp => Err("the generator sends over bare TCP".into()),
    }
}

//! zmio beside libzmq and bare TCP, each in a process of its own, under one load generator.
//!
//! `versus run` is what people use; the other commands are the processes that it starts. See `benches/README.md`.

mod cells;
mod chart;
mod echo_client;
mod figures;
mod idle;
mod load;
mod network;
mod peers;
mod process;
mod report;
mod run;
mod stage;
mod table;
mod tally;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::peers::{tcp_relay, zmq_relay};

#[derive(Parser)]
#[command(version, about = "Loads zmio, libzmq and bare TCP in turn")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load every peer in every cell in turn and print the tables
    Run(run::Options),
    /// Print the tables of runs that were measured before
    Table(report::Options),
    /// Load one relay or sink that is already listening, and print one line of figures
    Load(load::Options),
    /// Ask one echo that is already listening, one message at a time, and print one line of figures
    Ask(echo_client::Options),
    /// Connect many clients that do nothing, and print one line of figures
    Idle(idle::Options),
    /// A ROUTER relay on libzmq, as a skilled user would write it
    RelayZmq(zmq_relay::Options),
    /// A bare TCP loop with one shared log per turn: the physical limit
    RelayTcp(tcp_relay::Options),
    /// A ROUTER relay on omq
    #[cfg(feature = "field")]
    RelayOmq,
    /// A server that receives, checks and counts
    Sink(peers::SinkOptions),
    /// A server that sends everything back
    Echo(peers::EchoOptions),
    /// A client that sends to a sink as fast as it can
    Send(peers::SendOptions),
}

fn main() -> ExitCode {
    process::raise_file_limit();
    let result = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Table(options) => report::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Ask(options) => echo_client::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::RelayZmq(options) => zmq_relay::run(&options),
        Command::RelayTcp(options) => tcp_relay::run(&options),
        #[cfg(feature = "field")]
        Command::RelayOmq => peers::omq_relay(),
        Command::Sink(options) => peers::sink(&options),
        Command::Echo(options) => peers::echo(&options),
        Command::Send(options) => peers::send(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The zmio relay beside libzmq and bare TCP, each in a process of its own, under one load generator.
//!
//! `versus run` is what people use; the other commands are the processes that it starts. See `benches/README.md`.

mod check;
mod load;
mod network;
mod process;
mod relay_tcp;
mod relay_zmq;
mod run;
mod table;

mod wire;
mod zmq;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about = "Loads the zmio relay, a libzmq one and a bare TCP one in turn")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load every peer in every cell in turn and print the table
    Run(run::Options),
    /// Load one relay that is already listening, and print one line of figures
    Load(load::Options),
    /// A ROUTER relay on libzmq, as a skilled user would write it
    RelayZmq(relay_zmq::Options),
    /// A bare TCP loop with one shared log per turn: the physical limit
    RelayTcp(relay_tcp::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Load(options) => load::run(&options),
        Command::RelayZmq(options) => relay_zmq::run(&options),
        Command::RelayTcp(options) => relay_tcp::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

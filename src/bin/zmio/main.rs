//! The `zmio` command: a relay for ZeroMQ clients, a client for people, and a demonstration.
//!
//! Everything that a peer chose (identities, reasons of an ERROR) is printed escaped. What a user did wrong is
//! one line on standard error: status 2 for the command line, 1 for what the system refused. A client that a signal has to
//! break off ends with status 130.

mod client;
mod demo;
mod hub;
mod output;
mod relay;
mod signals;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// ZeroMQ without libzmq: a relay between ZeroMQ clients.
#[derive(Parser)]
#[command(name = "zmio", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pass every message of each client on to all others, until Ctrl-C or SIGTERM
    Relay(relay::Arguments),
    /// Talk to a ROUTER or a relay: each line of input is sent, each message that comes is printed, until the end of input, Ctrl-C or SIGTERM
    Client(client::Arguments),
    /// Show a relay and three clients at work over TCP; ends by itself
    Demo,
}

/// Why a command ended early, in one line.
enum Failure {
    /// The options do not go together.
    Usage(String),
    /// What was asked for could not be done.
    Run(String),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = match cli.command {
        Command::Relay(arguments) => relay::run(&arguments),
        Command::Client(arguments) => client::run(&arguments),
        Command::Demo => demo::run(),
    };
    let (line, status) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(line)) => (line, 2),
        Err(Failure::Run(line)) => (line, 1),
    };
    complain(&line);
    ExitCode::from(status)
}

/// Help and version as clap prints them; a mistake as one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A closed pipe is no reason to fail a request for help.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.to_string();
    // clap says what is wrong first; tips and usage follow after an empty line.
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    complain(&format!("{} (see zmio --help)", line.trim_start_matches("error: ")));
    ExitCode::from(2)
}

/// One line on standard error. Not `eprintln!`, which panics when nobody can read it.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "zmio: {line}");
}

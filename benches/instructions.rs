//! How many instructions each message costs, which is the same on a busy machine. `cargo bench --bench instructions`.
//!
//! It runs itself under callgrind, each case with a number of turns and with twice as many, and divides the difference by
//! the messages in it. So what it takes to start, and to get ready, does not count.

mod support;

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::process::{Command, ExitCode};

use support::loads::{self, Cut, Load, TURN_OCTETS};

/// A row of the table: its name, and what makes its load.
type Case = (&'static str, fn() -> Load);

/// Named as the rows of `micro`.
const CASES: [Case; 8] = [
    ("decode/64", || loads::decode(64, false, Cut::Nowhere)),
    ("encode/from-slice-64", || loads::make_from_slice(64)),
    ("router-receive/8x64", || loads::router_receive(8, 64, TURN_OCTETS)),
    ("dealer-send/1x64", || loads::dealer_send(1, 64)),
    ("dealer-send-octets/1x64", || loads::dealer_send_octets(1, 64)),
    ("fan-out/64x1x64", || loads::fan_out(64, 1, 64)),
    ("fan-out/64xallx64", || loads::fan_out(64, 64, 64)),
    ("relay/64xallx64", || loads::relay(64, 64, 64, TURN_OCTETS)),
];

const TURNS: u64 = 20;

/// Says that this process is one to be counted. Followed by the name of a case and the number of turns.
const COUNTED: &str = "--counted";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let outcome = match &arguments[..] {
        [counted, case, turns] if counted == COUNTED => take_turns(case, turns),
        // As with criterion: `cargo test --benches` gives no `--bench`, and `--test` asks for no more than a try.
        _ if !has("--bench") || has("--test") => {
            CASES.iter().for_each(|(_, load)| load().turn());
            Ok(())
        }
        _ => print_table(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn take_turns(case: &str, turns: &str) -> Result<(), Box<dyn Error>> {
    let (_, load) = CASES.iter().find(|(name, _)| *name == case).ok_or("no such case")?;
    let mut load = load();
    (0..turns.parse::<u64>()?).for_each(|_| load.turn());
    Ok(())
}

fn print_table() -> Result<(), Box<dyn Error>> {
    let mut table = String::from("| case | messages per turn | instructions per message |\n|:-|-:|-:|\n");
    for (case, load) in CASES {
        let messages = load().messages as u64;
        let (once, twice) = (count(case, TURNS)?, count(case, 2 * TURNS)?);
        let per_message = (twice as f64 - once as f64) / (TURNS * messages) as f64;
        writeln!(table, "| `{case}` | {messages} | {per_message:.1} |")?;
    }
    print!("{table}");
    Ok(())
}

/// The instructions of a process that takes so many turns.
fn count(case: &str, turns: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([COUNTED, case, &turns.to_string()])
        .output()
        .map_err(|error| format!("cannot run valgrind, which has to be installed for this: {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{case} under valgrind: {}\n{report}", output.status).into());
    }
    let total = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, total) = total.ok_or_else(|| format!("no count in what valgrind said:\n{report}"))?;
    Ok(total.trim().parse()?)
}

//! The runner: every cell, every peer in turn, several times.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use clap::{Args, ValueEnum};

use crate::load::Figures;
use crate::process::{self, Relay};
use crate::table::{self, Row};
use crate::{network, wire, zmq};

/// The load: clients, senders, octets.
const CELLS: [&str; 10] = [
    "64x1x16",
    "64x1x64",
    "64x1x1024",
    "64xallx16",
    "64xallx64",
    "64xallx1024",
    "8x1x64",
    "8xallx64",
    "1000x1x64",
    "1000xallx64",
];

/// A run in which other processes took more of the machine than this many cores is disturbed.
const DISTURBED: f64 = 0.15;

/// How long the machine is watched to see whether it is calm.
const GLANCE: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Options {
    /// Under two minutes: two short runs of each peer
    #[arg(long)]
    quick: bool,
    /// Runs of each peer in each cell; the table shows medians
    #[arg(long)]
    runs: Option<usize>,
    /// Seconds measured in a run
    #[arg(long)]
    seconds: Option<f64>,
    /// Cells as CLIENTSxSENDERSxOCTETS, where SENDERS may be `all`
    #[arg(long, value_delimiter = ',', default_values = CELLS)]
    cells: Vec<Cell>,
    /// Peers, in the order in which they run
    #[arg(long, value_delimiter = ',', default_values = ["libzmq", "zmio", "tcp"])]
    peers: Vec<Peer>,
    /// The `zmio` command; by default it is built from this checkout
    #[arg(long)]
    zmio: Option<PathBuf>,
    /// Send an empty frame before each body, as Bonsai's Dealer does
    #[arg(long)]
    delimiter: bool,
    /// Wait so many seconds at most before each run for other processes to leave the machine alone
    #[arg(long, default_value_t = 0.0)]
    patience: f64,
    /// Use the machine's loopback instead of a network namespace of our own, which needs root
    #[arg(long)]
    shared_network: bool,
    /// Write the figures of each run here
    #[arg(long)]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Libzmq,
    Zmio,
    Tcp,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Peer::Libzmq => "libzmq",
            Peer::Zmio => "zmio",
            Peer::Tcp => "tcp",
        })
    }
}

#[derive(Clone, Copy)]
pub struct Cell {
    pub clients: usize,
    pub senders: usize,
    pub octets: usize,
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        let wrong = || format!("{text:?} is not CLIENTSxSENDERSxOCTETS");
        let parts: Vec<&str> = text.split('x').collect();
        let &[clients, senders, octets] = parts.as_slice() else { return Err(wrong()) };
        let clients = clients.parse().map_err(|_| wrong())?;
        let senders = if senders == "all" { clients } else { senders.parse().map_err(|_| wrong())? };
        Ok(Cell { clients, senders, octets: octets.parse().map_err(|_| wrong())? })
    }
}

/// How long and how often.
struct Plan {
    runs: usize,
    /// Runs that may be added in place of disturbed ones.
    spare: usize,
    seconds: f64,
    warm_up: f64,
    drain: f64,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut plan = match options.quick {
        true => Plan { runs: 2, spare: 0, seconds: 1.0, warm_up: 0.2, drain: 0.3 },
        false => Plan { runs: 5, spare: 5, seconds: 2.0, warm_up: 0.5, drain: 3.0 },
    };
    plan.runs = options.runs.unwrap_or(plan.runs);
    plan.seconds = options.seconds.unwrap_or(plan.seconds);
    let zmio = match &options.zmio {
        Some(path) => path.clone(),
        None if options.peers.contains(&Peer::Zmio) => build_zmio()?,
        None => PathBuf::new(),
    };
    let mut csv = options.csv.as_ref().map(File::create).transpose()?;
    if let Some(csv) = &mut csv {
        writeln!(csv, "{}", table::CSV_HEADER)?;
    }

    if !options.shared_network {
        network::isolate().map_err(|error| format!("no network of our own ({error}); see --shared-network"))?;
    }
    println!("{}, {}; libzmq {}", machine(), network::congestion_control(), zmq::version());
    table::print_header();
    for &cell in &options.cells {
        let rows = measure(cell, options, &plan, &zmio, csv.as_mut())?;
        table::print(cell, &rows);
    }
    Ok(())
}

/// All runs of one cell: peer after peer, and that several times, so that a slow change of the machine meets all alike.
fn measure(
    cell: Cell,
    options: &Options,
    plan: &Plan,
    zmio: &Path,
    mut csv: Option<&mut File>,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows: Vec<Row> =
        options.peers.iter().map(|&peer| Row { peer, calm: Vec::new(), disturbed: Vec::new() }).collect();
    for round in 0..plan.runs + plan.spare {
        for row in rows.iter_mut().filter(|row| row.calm.len() < plan.runs && (round < plan.runs || plan.spare > 0)) {
            let figures = run_once(row.peer, cell, options, plan, zmio).map_err(|error| {
                format!(
                    "{}, {} clients, {} senders, {} octets: {error}",
                    row.peer, cell.clients, cell.senders, cell.octets
                )
            })?;
            if let Some(csv) = &mut csv {
                writeln!(csv, "{}", table::csv_line(row.peer, cell, round, &figures))?;
            }
            let kind = if figures.other_cores > DISTURBED { &mut row.disturbed } else { &mut row.calm };
            kind.push(figures);
        }
    }
    Ok(rows)
}

/// Returns as soon as the machine has little else to do, or after `limit`.
fn wait_for_calm(limit: Duration) -> io::Result<()> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let before = process::machine_busy()?;
        thread::sleep(GLANCE);
        if process::machine_busy()?.saturating_sub(before) < GLANCE.mul_f64(DISTURBED) {
            break;
        }
    }
    Ok(())
}

fn run_once(peer: Peer, cell: Cell, options: &Options, plan: &Plan, zmio: &Path) -> Result<Figures, Box<dyn Error>> {
    wait_for_calm(Duration::from_secs_f64(options.patience))?;
    let own = env::current_exe()?;
    let mut command = match peer {
        Peer::Libzmq => {
            let mut command = Command::new(&own);
            command.arg("relay-zmq");
            command
        }
        Peer::Tcp => {
            let piece = wire::envelope(cell.octets, options.delimiter).len() + cell.octets;
            let mut command = Command::new(&own);
            command.args(["relay-tcp", "--piece", &piece.to_string()]);
            command
        }
        Peer::Zmio => {
            let mut command = Command::new(zmio);
            command.args(["relay", "--bind", "tcp://127.0.0.1:0", "--slow", "wait"]);
            command
        }
    };
    let relay = Relay::start(&mut command)?;

    let mut load = Command::new(own);
    load.args(["load", &relay.address, "--pid", &relay.pid().to_string()]);
    load.args(["--clients", &cell.clients.to_string(), "--senders", &cell.senders.to_string()]);
    load.args(["--octets", &cell.octets.to_string(), "--seconds", &plan.seconds.to_string()]);
    load.args(["--warm-up", &plan.warm_up.to_string(), "--drain", &plan.drain.to_string()]);
    if options.delimiter {
        load.arg("--delimiter");
    }
    let output = load.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    let line = String::from_utf8_lossy(&output.stdout);
    Figures::parse(&line).ok_or_else(|| format!("the generator said {line:?}").into())
}

/// Builds the `zmio` command of the checkout that this program was built in.
fn build_zmio() -> Result<PathBuf, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--features", "cli", "--bin", "zmio"];
    let status = Command::new(cargo).args(arguments).current_dir(&root).status()?;
    if !status.success() {
        return Err("zmio does not build".into());
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/zmio"))
}

/// The machine, for the head of the table.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models =
        || info.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {}; Linux {}", models().count(), models().next().unwrap_or("unknown"), kernel.trim())
}

//! The runner: every cell, every peer in turn, several times.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use clap::Args;

use crate::cells::{Cell, Choice, Row};
use crate::peers::{Peer, zmq};
use crate::stage::Stage;
use crate::table::{self, DISTURBED, Outcomes};
use crate::{chart, network, process};

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
    /// Rows, and cells of a row as in relay/64xallx16; by default all rows
    #[arg(long, value_delimiter = ',', default_values = ["relay", "paced", "sink", "pair", "echo", "idle", "slow"])]
    cells: Vec<Choice>,
    /// Peers; by default all that take part in a cell
    #[arg(long, value_delimiter = ',')]
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
    /// Write the figures of each run here, and charts beside it
    #[arg(long)]
    csv: Option<PathBuf>,
}

/// How often.
struct Plan {
    runs: usize,
    /// Runs that may be added in place of disturbed ones.
    spare: usize,
    patience: Duration,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (runs, spare, seconds, warm_up, drain) =
        if options.quick { (2, 0, 0.5, 0.15, 0.3) } else { (5, 5, 2.0, 0.5, 3.0) };
    let plan = Plan { runs: options.runs.unwrap_or(runs), spare, patience: Duration::from_secs_f64(options.patience) };
    let mut stage = Stage {
        own: env::current_exe()?,
        zmio: PathBuf::new(),
        delimiter: options.delimiter,
        seconds: options.seconds.unwrap_or(seconds),
        warm_up,
        drain,
    };
    let mut cells: Vec<Cell> = options.cells.iter().flat_map(|choice| choice.cells(options.quick)).collect();
    cells.retain(|cell| peers(*cell, options).next().is_some());
    let relayed = |cell: &Cell| matches!(cell.row(), Row::Relay | Row::Paced | Row::Idle | Row::Slow);
    stage.zmio = match &options.zmio {
        Some(path) => path.clone(),
        None if cells.iter().any(relayed) => build_zmio()?,
        None => PathBuf::new(),
    };
    let mut csv = options.csv.as_ref().map(File::create).transpose()?;
    if let Some(csv) = &mut csv {
        writeln!(csv, "{}", table::csv_header())?;
    }

    if !options.shared_network {
        network::isolate().map_err(|error| format!("no network of our own ({error}); see --shared-network"))?;
    }
    println!("{}, {}; libzmq {}", machine(), network::congestion_control(), zmq::version());
    let mut outcomes = Outcomes::new();
    let mut row = None;
    for cell in cells {
        if row.replace(cell.row()) != Some(cell.row()) {
            table::print_header(cell.row());
        }
        let peers: Vec<Peer> = peers(cell, options).collect();
        measure(cell, &peers, &plan, &stage, csv.as_mut(), &mut outcomes)?;
        table::print(cell, &outcomes);
    }
    match &options.csv {
        Some(path) => chart::write(path, &outcomes),
        None => Ok(()),
    }
}

/// Those that take part and were asked for.
fn peers(cell: Cell, options: &Options) -> impl Iterator<Item = Peer> {
    let asked = |peer: &Peer| options.peers.is_empty() || options.peers.contains(peer);
    cell.peers().into_iter().filter(asked)
}

/// All runs of one cell: peer after peer, and that several times, so that a slow change of the machine meets all alike.
fn measure(
    cell: Cell,
    peers: &[Peer],
    plan: &Plan,
    stage: &Stage,
    mut csv: Option<&mut File>,
    outcomes: &mut Outcomes,
) -> Result<(), Box<dyn Error>> {
    for round in 0..plan.runs + plan.spare {
        for &peer in peers {
            let outcome = outcomes.entry((cell, peer)).or_default();
            if outcome.calm.len() >= plan.runs {
                continue;
            }
            wait_for_calm(plan.patience)?;
            let figures = stage.run(cell, peer).map_err(|error| format!("{peer} in {cell}: {error}"))?;
            if let Some(csv) = &mut csv {
                writeln!(csv, "{}", table::csv_line(cell, peer, round, &figures))?;
            }
            outcome.add(cell.row(), figures);
        }
    }
    Ok(())
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

//! Medians and ratios.

use std::collections::BTreeMap;

use crate::cells::{Cell, Row};
use crate::figures::{Figures, NAMES};
use crate::peers::Peer;

/// What one peer has shown in one cell.
#[derive(Default)]
pub struct Outcome {
    pub calm: Vec<Figures>,
    /// Runs during which something else kept the machine busy.
    pub disturbed: Vec<Figures>,
}

pub type Outcomes = BTreeMap<(Cell, Peer), Outcome>;

/// A run in which other processes took more of the machine than this many cores is disturbed.
pub const DISTURBED: f64 = 0.15;

impl Outcome {
    /// A run of a cell of this row.
    pub fn add(&mut self, row: Row, run: Figures) {
        // How busy the machine was is sampled with the kernel's tick. At a fixed rate all work keeps step with that, so that the
        // sample shows half a core too much, or nothing.
        let disturbed = row != Row::Paced && run.get("other_cores") > DISTURBED;
        if disturbed { &mut self.disturbed } else { &mut self.calm }.push(run);
    }

    /// The runs that count: the calm ones, or all if there are none.
    fn runs(&self) -> &[Figures] {
        if self.calm.is_empty() { &self.disturbed } else { &self.calm }
    }

    /// Of the runs that have this figure.
    pub fn median(&self, name: &str) -> f64 {
        let mut values: Vec<f64> =
            self.runs().iter().map(|run| run.get(name)).filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        }
    }

    /// Who was busy all the time, and so set the rate.
    fn limit(&self) -> &'static str {
        let [server, load, other] = ["server_cores", "load_cores", "other_cores"].map(|name| self.median(name));
        match (server >= 0.9, load >= 0.9) {
            (true, true) => "both",
            (true, false) => "server",
            (false, true) => "load",
            (false, false) if server + load + other > 1.85 => "cores",
            (false, false) => "-",
        }
    }
}

enum Column {
    /// Heading, figure, scale and decimals.
    Figure(&'static str, &'static str, f64, usize),
    /// A figure over that of another peer in the same cell.
    Over(Peer, &'static str),
    /// Heading, and a figure over that of the same peer in the cell that this one is compared with.
    OverBase(&'static str, &'static str),
}

use Column::{Figure, Over, OverBase};

const RATE: &str = "events_per_s";
const COST: &str = "ns_per_event";
const P50: Column = Figure("p50 us", "p50_us", 1.0, 1);
const P99: Column = Figure("p99 us", "p99_us", 1.0, 1);
const PEAK: Column = Figure("peak MiB", "peak_kib", 1.0 / 1024.0, 1);
const FAIR: Column = Figure("fair", "fairness", 1.0, 2);

impl Row {
    /// The figure that its chart shows, its unit, and its scale.
    pub fn main_figure(self) -> (&'static str, &'static str, f64) {
        match self {
            Row::Relay => (RATE, "million deliveries per second", 1e-6),
            Row::Paced => ("p99_us", "99 % of deliveries within us", 1.0),
            Row::Sink | Row::Pair => (RATE, "million messages per second", 1e-6),
            Row::Echo => ("p50_us", "median round trip in us", 1.0),
            Row::Idle => ("octets_per_client", "octets of memory per idle client", 1.0),
            Row::Slow => (RATE, "million deliveries per second to the other clients", 1e-6),
        }
    }

    fn columns(self) -> Vec<Column> {
        let both = |figure: Column, name| vec![figure, Over(Peer::Libzmq, name), Over(Peer::Tcp, name)];
        let rate = || Figure("M/s", RATE, 1e-6, 3);
        match self {
            Row::Relay => [
                both(rate(), RATE),
                both(Figure("ns/delivery", COST, 1.0, 1), COST),
                vec![OverBase("growth", COST), PEAK, FAIR],
            ]
            .concat_all(),
            Row::Paced => [
                both(Figure("ns/delivery", COST, 1.0, 1), COST),
                both(P50, "p50_us"),
                both(P99, "p99_us"),
                vec![Figure("late us", "late_us", 1.0, 0)],
            ]
            .concat_all(),
            Row::Sink => [
                both(rate(), RATE),
                vec![Figure("MiB/s", "mib_per_s", 1.0, 0)],
                both(Figure("ns/message", COST, 1.0, 1), COST),
                vec![OverBase("x without idle", RATE), PEAK, FAIR],
            ]
            .concat_all(),
            Row::Pair => vec![
                rate(),
                Over(Peer::Libzmq, RATE),
                Figure("MiB/s", "mib_per_s", 1.0, 0),
                Figure("ns/message", COST, 1.0, 1),
                Over(Peer::Libzmq, COST),
                PEAK,
            ],
            Row::Echo => [both(P50, "p50_us"), both(P99, "p99_us"), both(Figure("ns/round trip", COST, 1.0, 0), COST)]
                .concat_all(),
            Row::Idle => vec![
                Figure("octets/client", "octets_per_client", 1.0, 0),
                Over(Peer::Libzmq, "octets_per_client"),
                Figure("idle CPU us/s", "idle_us_per_s", 1.0, 0),
                Figure("connected in s", "idle_connect_s", 1.0, 2),
                PEAK,
            ],
            Row::Slow => vec![
                rate(),
                OverBase("x without", RATE),
                P50,
                OverBase("x without", "p50_us"),
                P99,
                OverBase("x without", "p99_us"),
                Figure("lost %", "lost", 100.0, 2),
                Figure("longest silence ms", "silence_ms", 1.0, 1),
                Figure("over patience", "silence_over_patience", 1.0, 2),
            ],
        }
    }
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Column>;
}

impl<const N: usize> ConcatAll for [Vec<Column>; N] {
    fn concat_all(self) -> Vec<Column> {
        self.into_iter().flatten().collect()
    }
}

pub fn print_header(row: Row) {
    let headings = row.columns().into_iter().map(|column| match column {
        Figure(heading, ..) | OverBase(heading, _) => heading.to_owned(),
        Over(peer, _) => format!("x {peer}"),
    });
    let keys = row.keys().iter().map(|key| key.to_string()).chain(["peer".into()]);
    let common = ["server, load, other cores", "limit", "runs"].map(String::from);
    let all: Vec<String> = keys.chain(headings).chain(common).collect();
    println!("\n{}\n", crate::cells::value_name(&row));
    println!("| {} |", all.join(" | "));
    println!("|{}", "-:|".repeat(all.len()));
}

/// The lines of one cell.
pub fn print(cell: Cell, outcomes: &Outcomes) {
    for (&(_, peer), outcome) in outcomes.iter().filter(|((of, _), _)| *of == cell) {
        let mut fields = cell.values();
        fields.push(peer.to_string());
        let ratio = |name, other: Option<&Outcome>| {
            number(outcome.median(name) / other.map_or(f64::NAN, |o| o.median(name)), 2)
        };
        fields.extend(cell.row().columns().into_iter().map(|column| match column {
            Figure(_, name, scale, decimals) => number(outcome.median(name) * scale, decimals),
            Over(peer, name) => ratio(name, outcomes.get(&(cell, peer))),
            OverBase(_, name) => ratio(name, cell.base().and_then(|base| outcomes.get(&(base, peer)))),
        }));
        let cores = ["server_cores", "load_cores", "other_cores"].map(|name| number(outcome.median(name), 2));
        fields.push(cores.join(" "));
        fields.push(outcome.limit().into());
        fields.push(match outcome.calm.len() {
            0 => format!("{} disturbed", outcome.disturbed.len()),
            runs => runs.to_string(),
        });
        println!("| {} |", fields.join(" | "));
    }
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { String::new() }
}

pub fn csv_header() -> String {
    format!("row,cell,peer,run,{}", NAMES.join(","))
}

pub fn csv_line(cell: Cell, peer: Peer, run: usize, figures: &Figures) -> String {
    let cell = cell.to_string().replace('/', ",");
    let values = NAMES.map(|name| {
        let value = figures.get(name);
        if value.is_finite() { value.to_string() } else { String::new() }
    });
    format!("{cell},{peer},{run},{}", values.join(","))
}

//! What one run has shown: names and numbers, and how they are taken.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::process;

/// Names and units of all figures, in the order of the CSV. A run has those that its row is about.
///
/// An event is a delivery (relay), a message received (sink, pair) or a round trip (echo).
pub const NAMES: [&str; 18] = [
    "events_per_s",
    "mib_per_s",
    // CPU time of the server over events.
    "ns_per_event",
    "p50_us",
    "p99_us",
    // Cores that the server, the generator or sender, and everything else kept busy.
    "server_cores",
    "load_cores",
    "other_cores",
    "peak_kib",
    // Events of the sender that got the fewest through, over the mean.
    "fairness",
    // 1 if everything that was sent had arrived everywhere in the end.
    "complete",
    // The longest time in which nobody got anything.
    "silence_ms",
    // The same over the patience of the relay.
    "silence_over_patience",
    // Events that were not delivered, over those that should have been.
    "lost",
    // How late the paced generator was at worst.
    "late_us",
    // Resident memory of the server per idle client, and its CPU time per second when all are idle.
    "octets_per_client",
    "idle_us_per_s",
    "idle_connect_s",
];

#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub fn set(&mut self, name: &'static str, value: f64) {
        debug_assert!(NAMES.contains(&name), "{name}");
        self.0.insert(name.into(), value);
    }

    /// Not a number if the run does not have it.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// The line between two processes, as `Display` writes it.
    pub fn parse(line: &str) -> Option<Figures> {
        let pairs = line.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        pairs.collect::<Option<_>>().map(Figures)
    }

    /// The values of the CSV, in the order of [`NAMES`]; an empty one the run does not have.
    pub fn from_fields<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Figures, String> {
        let fields: Vec<&str> = fields.collect();
        if fields.len() != NAMES.len() {
            return Err(format!("{} figures where there are {}", fields.len(), NAMES.len()));
        }
        let given = NAMES.into_iter().zip(fields).filter(|(_, field)| !field.is_empty());
        let parsed = given.map(|(name, field)| {
            let value = field.parse().map_err(|_| format!("{name} is {field:?}, which is no number"))?;
            Ok((name.to_owned(), value))
        });
        parsed.collect::<Result<_, String>>().map(Figures)
    }

    /// Half and 99 of 100 of these times are at most so long.
    pub fn set_latencies(&mut self, mut nanoseconds: Vec<u64>) {
        nanoseconds.sort_unstable();
        for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
            let rank = (nanoseconds.len() as f64 * share).ceil() as usize;
            if let Some(&time) = nanoseconds.get(rank.max(1) - 1) {
                self.set(name, time as f64 / 1e3);
            }
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, (name, value))| {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")
        })
    }
}

/// Whose CPU time is taken beside that of the whole machine.
#[derive(Clone, Copy)]
pub struct Processes {
    pub server: Option<u32>,
    /// Who loads the server; `None` is this process.
    pub load: Option<u32>,
}

/// The state of all clocks at one moment, and how much had happened until then.
pub struct Sample {
    pub at: Instant,
    events: u64,
    server: Duration,
    load: Duration,
    machine: Duration,
}

impl Sample {
    pub fn take(events: u64, processes: Processes) -> io::Result<Sample> {
        Ok(Sample {
            at: Instant::now(),
            events,
            server: processes.server.map_or(Ok(Duration::ZERO), |pid| process::cpu_time(Some(pid)))?,
            load: process::cpu_time(processes.load)?,
            machine: process::machine_busy()?,
        })
    }

    /// What happened from here to `after`.
    pub fn until(&self, after: &Sample) -> Figures {
        let seconds = (after.at - self.at).as_secs_f64();
        let events = (after.events - self.events) as f64;
        let server = (after.server - self.server).as_secs_f64();
        let load = (after.load - self.load).as_secs_f64();
        let machine = after.machine.saturating_sub(self.machine).as_secs_f64();
        let mut figures = Figures::default();
        figures.set("events_per_s", events / seconds);
        figures.set("ns_per_event", server * 1e9 / events);
        figures.set("server_cores", server / seconds);
        figures.set("load_cores", load / seconds);
        figures.set("other_cores", (machine - server - load).max(0.0) / seconds);
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_the_figures_back() {
        let mut figures = Figures::default();
        figures.set("events_per_s", 12.5);
        figures.set_latencies((1..=1000).rev().map(|us| us * 1000).collect());
        let read = Figures::parse(&figures.to_string()).unwrap();
        assert_eq!([read.get("events_per_s"), read.get("p50_us"), read.get("p99_us")], [12.5, 500.0, 990.0]);
        assert!(read.get("lost").is_nan());
        assert!(Figures::parse("listening on").is_none());
    }
}

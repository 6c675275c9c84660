//! The load generator: raw DEALER clients that speak ZMTP by hand, in one thread.
//!
//! Some of them send, as fast as the server takes it or at a fixed rate. A relay passes it on: all of them count and check
//! what they get. From each sender, each client but the sender must get every message once and in order. A sink
//! counts and checks itself. Anything wrong ends the run with an error.

mod batch;
mod check;
mod clients;
mod laggard;
mod pace;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use self::clients::Load;
pub use self::laggard::Kind as LaggardKind;
use self::pace::Pace;
use crate::figures::{Processes, Sample};
use crate::process;
use crate::wire::HEAD;

/// The clients must all be connected and known to the relay by then.
const SET_UP: Duration = Duration::from_secs(30);
/// How often a sink's count is looked at when there is nothing else to do.
const GLANCE: Duration = Duration::from_millis(1);

#[derive(Args, Clone)]
pub struct Options {
    /// HOST:PORT of the server
    pub address: String,
    /// Clients that connect
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// How many of them send
    #[arg(long, default_value_t = 1)]
    pub senders: usize,
    /// Octets of a body, at least 13
    #[arg(long, default_value_t = 64)]
    pub octets: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// The warm-up lasts until each client has got so much, however long that takes
    #[arg(long, default_value_t = 0)]
    pub warm_up_octets: u64,
    /// Most seconds afterwards to wait for what is still on its way
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Send an empty frame before each body, as Bonsai's Dealer does
    #[arg(long)]
    pub delimiter: bool,
    /// The server's process, to measure what it uses
    #[arg(long)]
    pub pid: Option<u32>,
    /// The server is a sink, which counts in this file what it receives and passes nothing on
    #[arg(long)]
    pub tally: Option<PathBuf>,
    /// Messages per second of all senders together; by default as many as the server takes
    #[arg(long)]
    pub rate: Option<f64>,
    /// More clients, which connect and then do nothing
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// One more client, which does not read
    #[arg(long, value_enum)]
    pub laggard: Option<LaggardKind>,
    /// The server may drop messages; they are counted
    #[arg(long)]
    pub lossy: bool,
    /// Send buffer of a sender in KiB; by default 16 MiB are shared out, 64 KiB to 1 MiB each
    #[arg(long)]
    pub sndbuf: Option<usize>,
    /// Receive buffer of a client in KiB; by default the system sizes it
    #[arg(long)]
    pub rcvbuf: Option<usize>,
}

impl Options {
    fn check(&self) -> Result<(), &'static str> {
        if self.octets <= HEAD {
            return Err("needs 13 octets");
        }
        if self.senders == 0 || self.senders > self.clients {
            return Err("needs a sender, and no more senders than clients");
        }
        if self.tally.is_none() && self.clients < 2 {
            return Err("needs two clients");
        }
        Ok(())
    }
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.check()?;
    let mut load = Load::connect(options)?;
    load.introduce(Instant::now() + SET_UP)?;
    load.start(options.rate)?;

    load.run_until(Instant::now() + Duration::from_secs_f64(options.warm_up))?;
    let enough = options.warm_up_octets / options.octets as u64 * options.clients as u64;
    while load.received() < enough {
        load.run_until(Instant::now() + GLANCE)?;
    }
    let processes = Processes { server: options.pid, load: None };
    let before = Sample::take(load.received(), processes)?;
    let sent_before = load.by_sender();
    let lost_before = load.check.lost;
    load.silence = Duration::ZERO;
    load.pace.iter_mut().for_each(Pace::record);
    load.run_until(before.at + Duration::from_secs_f64(options.seconds))?;

    let mut figures = before.until(&Sample::take(load.received(), processes)?);
    let silence = load.silence.max(load.heard.elapsed());
    figures.set("silence_ms", silence.as_secs_f64() * 1e3);
    figures.set("fairness", fairness(&sent_before, &load.by_sender()));
    if options.lossy {
        let lost = (load.check.lost - lost_before) as f64;
        let delivered = figures.get("events_per_s") * options.seconds;
        figures.set("lost", lost / (lost + delivered));
    }
    if let Some(pace) = &mut load.pace {
        let (latencies, late) = pace.take();
        figures.set_latencies(latencies);
        figures.set("late_us", late.as_secs_f64() * 1e6);
    }

    load.stop();
    load.run_until(Instant::now() + Duration::from_secs_f64(options.drain))?;
    figures.set("complete", f64::from(u8::from(load.is_done())));
    if options.tally.is_some() && !load.is_done() {
        return Err(format!("{} of {} messages never arrived", load.due() - load.received(), load.due()).into());
    }
    if let Some(pid) = options.pid {
        figures.set("peak_kib", process::memory_kib(pid, "VmHWM")? as f64);
    }
    println!("{figures}");
    Ok(())
}

/// The fewest over the mean.
fn fairness(before: &[u64], after: &[u64]) -> f64 {
    let by_sender = || after.iter().zip(before).map(|(after, before)| (after - before) as f64);
    by_sender().fold(f64::INFINITY, f64::min) * after.len() as f64 / by_sender().sum::<f64>()
}

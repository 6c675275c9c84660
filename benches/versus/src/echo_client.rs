//! The generator's other way of asking: one message in flight, and how long it takes there and back.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use clap::Args;

use crate::figures::{Processes, Sample};
use crate::tally::Supply;
use crate::{process, wire};

/// No round trip takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Options {
    /// HOST:PORT of the echo
    address: String,
    /// Octets of a body
    #[arg(long, default_value_t = 64)]
    octets: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// The server's process, to measure what it uses
    #[arg(long)]
    pid: Option<u32>,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let address = options.address.to_socket_addrs()?.next().ok_or("no address")?;
    let mut client = Client {
        stream: wire::connect(address, TIMEOUT)?,
        supply: Supply::new(options.octets),
        question: wire::envelope(options.octets, false),
        answer: Vec::new(),
    };
    let processes = Processes { server: options.pid, load: None };
    client.ask_until(Instant::now() + Duration::from_secs_f64(options.warm_up))?;
    let before = Sample::take(0, processes)?;
    let latencies = client.ask_until(before.at + Duration::from_secs_f64(options.seconds))?;
    let mut figures = before.until(&Sample::take(latencies.len() as u64, processes)?);
    figures.set_latencies(latencies);
    if let Some(pid) = options.pid {
        figures.set("peak_kib", process::memory_kib(pid, "VmHWM")? as f64);
    }
    println!("{figures}");
    Ok(())
}

struct Client {
    stream: TcpStream,
    supply: Supply,
    /// The envelope and then the body.
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    /// Asks again and again, and returns how long each answer took in nanoseconds.
    fn ask_until(&mut self, end: Instant) -> Result<Vec<u64>, Box<dyn Error>> {
        let mut latencies = Vec::new();
        let head = self.question.len();
        let mut now = Instant::now();
        while now < end {
            self.question.truncate(head);
            self.question.extend_from_slice(self.supply.next());
            self.answer.resize(self.question.len(), 0);
            let start = Instant::now();
            self.stream.write_all(&self.question)?;
            self.stream.read_exact(&mut self.answer)?;
            now = Instant::now();
            latencies.push((now - start).as_nanos() as u64);
            if self.answer != self.question {
                return Err("the answer is not what was asked".into());
            }
        }
        self.question.truncate(head);
        Ok(latencies)
    }
}

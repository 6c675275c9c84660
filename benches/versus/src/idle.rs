//! The generator's third way: clients that connect and do nothing, and what they cost.

use std::error::Error;
use std::io;
use std::net::ToSocketAddrs;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::figures::{Figures, Processes, Sample};
use crate::{process, wire};

/// No handshake takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The server's memory is at rest if it does not change for so long.
const REST: Duration = Duration::from_millis(300);

#[derive(Args)]
pub struct Options {
    /// HOST:PORT of the server
    address: String,
    /// Clients that connect
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The server's process
    #[arg(long)]
    pid: u32,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let address = options.address.to_socket_addrs()?.next().ok_or("no address")?;
    // What the first client costs once is not the clients' share.
    let first = wire::connect(address, TIMEOUT)?;
    let empty = memory_at_rest(options.pid)?;
    let start = Instant::now();
    let clients = wire::connect_many(address, options.clients, TIMEOUT)?;
    let connected = start.elapsed();
    let full = memory_at_rest(options.pid)?;

    let processes = Processes { server: Some(options.pid), load: None };
    let before = Sample::take(0, processes)?;
    thread::sleep(Duration::from_secs_f64(options.seconds));
    let idle = before.until(&Sample::take(0, processes)?);

    let mut figures = Figures::default();
    for name in ["server_cores", "load_cores", "other_cores"] {
        figures.set(name, idle.get(name));
    }
    figures.set("idle_us_per_s", idle.get("server_cores") * 1e6);
    figures.set("idle_connect_s", connected.as_secs_f64());
    figures.set("octets_per_client", full.saturating_sub(empty) as f64 * 1024.0 / options.clients as f64);
    figures.set("peak_kib", process::memory_kib(options.pid, "VmHWM")? as f64);
    // All of them are still there.
    for client in clients.iter().chain([&first]) {
        client.set_nonblocking(true)?;
        match client.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A heartbeat, perhaps.
            Ok(1..) => {}
            _ => return Err("the server has closed the connection of an idle client".into()),
        }
    }
    println!("{figures}");
    Ok(())
}

/// KiB, once they do not change any more.
fn memory_at_rest(pid: u32) -> io::Result<u64> {
    let mut before = process::memory_kib(pid, "VmRSS")?;
    loop {
        thread::sleep(REST);
        let now = process::memory_kib(pid, "VmRSS")?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

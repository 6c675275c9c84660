//! Which processes make up a run, and how they are started.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::cells::{Cell, Policy, value_name};
use crate::figures::{Figures, Processes, Sample};
use crate::peers::Peer;
use crate::process::{self, Running, Server};
use crate::tally::Tally;
use crate::wire;

/// What libzmq may take in from all clients of a relay together; without a bound it fills the memory with large messages.
const RECEIVED: usize = 64 * 1024 * 1024;
/// How long a relay that waits does so for a client that does not read, in seconds.
const PATIENCE: f64 = 1.0;
/// What the system takes in for a client that does not read: 4 MiB to send and a little to receive.
const KERNEL: usize = 6 * 1024 * 1024;
/// The clients beside the laggard.
const OTHERS: usize = 63;
/// How long what was sent to a sink may take to be counted. It ends as soon as it is.
const SINK_DRAIN: f64 = 30.0;
/// A sender must be through to its sink by then.
const SET_UP: Duration = Duration::from_secs(10);

/// The load on a relay with a client that does not read.
struct SlowLoad {
    senders: usize,
    octets: usize,
    rate: Option<f64>,
    /// What is queued for one client at most. Not much, so that it is soon full.
    mark: usize,
}

impl SlowLoad {
    fn new(policy: Policy, paced: bool) -> SlowLoad {
        // Under `Drop` nothing holds the sender back but the generator itself, and the others are not to lose anything.
        let mark = if policy == Policy::Drop && !paced { 4 } else { 1 } * 1024 * 1024;
        match paced {
            true => SlowLoad { senders: OTHERS, octets: 4096, rate: Some(1000.0), mark },
            false => SlowLoad { senders: 1, octets: 1024, rate: None, mark },
        }
    }
}

/// How long a run takes, and with which programs.
pub struct Stage {
    pub own: PathBuf,
    pub zmio: PathBuf,
    pub delimiter: bool,
    pub seconds: f64,
    pub warm_up: f64,
    pub drain: f64,
}

impl Stage {
    /// One run of one peer in one cell.
    pub fn run(&self, cell: Cell, peer: Peer) -> Result<Figures, Box<dyn Error>> {
        let tally = TallyFile::create()?;
        let mut server = Server::start(&mut self.server(cell, peer, &tally.path))?;
        let mut figures = match cell {
            Cell::Pair { octets } => self.watch(peer, octets, &mut server, &tally)?,
            _ => self.load(cell, &server, &tally.path)?,
        };
        server.process.check()?;
        if let Some(octets) = cell.octets() {
            figures.set("mib_per_s", figures.get("events_per_s") * octets as f64 / (1024.0 * 1024.0));
        }
        if let Cell::Slow { policy: Policy::Wait, .. } = cell {
            figures.set("silence_over_patience", figures.get("silence_ms") / 1e3 / PATIENCE);
        }
        Ok(figures)
    }

    fn server(&self, cell: Cell, peer: Peer, tally: &Path) -> Command {
        let mut command = Command::new(&self.own);
        let peer_name = value_name(&peer);
        match cell {
            Cell::Relay { clients, octets, .. } => self.relay(peer, clients, octets, None),
            Cell::Paced { clients, octets, .. } => self.relay(peer, clients, octets, None),
            Cell::Idle { clients } => self.relay(peer, clients, 64, None),
            Cell::Slow { policy, paced, .. } => {
                let SlowLoad { octets, mark, .. } = SlowLoad::new(policy, paced);
                self.relay(peer, OTHERS + 1, octets, Some((policy, mark)))
            }
            Cell::Sink { octets, .. } | Cell::Pair { octets } => {
                command.args(["sink", &peer_name, "--octets", &octets.to_string()]).arg("--tally").arg(tally);
                command
            }
            Cell::Echo { .. } => {
                command.args(["echo", &peer_name]);
                command
            }
        }
    }

    /// `slow` is what to do about a client for which more than so many octets are queued.
    fn relay(&self, peer: Peer, clients: usize, octets: usize, slow: Option<(Policy, usize)>) -> Command {
        let mut command = Command::new(&self.own);
        match peer {
            Peer::Zmio | Peer::ZmioHandle => {
                command = Command::new(&self.zmio);
                let (policy, mark) = slow.map_or((Policy::Wait, None), |(policy, mark)| (policy, Some(mark)));
                command.args(["relay", "--bind", "tcp://127.0.0.1:0", "--slow", &value_name(&policy)]);
                if let Some(mark) = mark {
                    command.args(["--hwm", &mark.to_string()]);
                }
                if let Some((Policy::Wait, _)) = slow {
                    command.args(["--patience", &PATIENCE.to_string()]);
                }
            }
            Peer::Libzmq | Peer::LibzmqPush => {
                let receive = (RECEIVED / clients / octets).clamp(2, 100);
                let send = slow.map_or(0, |(_, mark)| mark / octets);
                command.args(["relay-zmq", "--rcvhwm", &receive.to_string(), "--sndhwm", &send.to_string()]);
            }
            Peer::Tcp => {
                let piece = wire::envelope(octets, self.delimiter).len() + octets;
                command.args(["relay-tcp", "--piece", &piece.to_string()]);
            }
            #[cfg(feature = "field")]
            Peer::Omq | Peer::Monocoque => {
                command.arg("relay-omq");
            }
        }
        command
    }

    /// Lets the generator load the server, and measure.
    fn load(&self, cell: Cell, server: &Server, tally: &Path) -> Result<Figures, Box<dyn Error>> {
        let mut command = Command::new(&self.own);
        let mut load = |name: &str, arguments: &[(&str, f64)]| {
            command.args([name, &server.address, "--pid", &server.pid().to_string()]);
            for (option, value) in arguments {
                command.args([option, value.to_string().as_str()]);
            }
        };
        let [seconds, warm_up, drain] =
            [("--seconds", self.seconds), ("--warm-up", self.warm_up), ("--drain", self.drain)];
        let number = |option, value: usize| (option, value as f64);
        match cell {
            Cell::Relay { clients, senders, octets } => {
                let clients = [number("--clients", clients), number("--senders", senders), number("--octets", octets)];
                load("load", &[&clients[..], &[seconds, warm_up, drain]].concat());
            }
            Cell::Paced { clients, octets, rate } => {
                let clients = [number("--clients", clients), number("--senders", clients), number("--octets", octets)];
                load("load", &[&clients[..], &[number("--rate", rate), seconds, warm_up, drain]].concat());
            }
            Cell::Sink { senders, octets, idle } => {
                let clients = [number("--clients", senders), number("--senders", senders), number("--octets", octets)];
                let drain = ("--drain", SINK_DRAIN);
                load("load", &[&clients[..], &[number("--idle", idle), seconds, warm_up, drain]].concat());
                command.arg("--tally").arg(tally);
            }
            Cell::Echo { octets } => load("ask", &[number("--octets", octets), seconds, warm_up]),
            Cell::Idle { clients } => load("idle", &[number("--clients", clients), seconds]),
            Cell::Slow { policy, paced, laggard } => {
                let slow = SlowLoad::new(policy, paced);
                let mut arguments = vec![
                    number("--clients", OTHERS),
                    number("--senders", slow.senders),
                    number("--octets", slow.octets),
                ];
                arguments.extend(slow.rate.map(|rate| ("--rate", rate)));
                match policy {
                    // Until its queue is full, a laggard makes no difference.
                    Policy::Drop => arguments.extend([
                        seconds,
                        warm_up,
                        number("--warm-up-octets", slow.mark + KERNEL),
                        ("--drain", 0.1),
                    ]),
                    // From before it is full, so that the hold-up is seen.
                    Policy::Wait => arguments.extend([
                        ("--seconds", 3.0 * PATIENCE),
                        ("--warm-up", 0.0),
                        number("--warm-up-octets", slow.mark),
                        drain,
                    ]),
                }
                load("load", &arguments);
                if let Some(kind) = laggard {
                    command.args(["--laggard", &value_name(&kind)]);
                }
                if policy == Policy::Drop {
                    command.arg("--lossy");
                }
            }
            Cell::Pair { .. } => return Err("nobody loads a pair".into()),
        }
        if self.delimiter && matches!(cell, Cell::Relay { .. } | Cell::Paced { .. }) {
            command.arg("--delimiter");
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().into());
        }
        let line = String::from_utf8_lossy(&output.stdout);
        Figures::parse(&line).ok_or_else(|| format!("the generator said {line:?}").into())
    }

    /// Lets a sender of the same library load a sink, and measures by its count.
    fn watch(
        &self,
        peer: Peer,
        octets: usize,
        server: &mut Server,
        tally: &TallyFile,
    ) -> Result<Figures, Box<dyn Error>> {
        let mut command = Command::new(&self.own);
        command.args(["send", &value_name(&peer), &server.address, "--octets", &octets.to_string()]);
        let mut sender = Running::start(&mut command)?;
        let deadline = Instant::now() + SET_UP;
        while tally.tally.get() == 0 {
            server.process.check()?;
            if Instant::now() > deadline {
                return Err("nothing arrived".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let processes = Processes { server: Some(server.pid()), load: Some(sender.pid()) };
        thread::sleep(Duration::from_secs_f64(self.warm_up));
        let before = Sample::take(tally.tally.get(), processes)?;
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let mut figures = before.until(&Sample::take(tally.tally.get(), processes)?);
        figures.set("peak_kib", process::memory_kib(server.pid(), "VmHWM")? as f64);
        sender.check()?;
        Ok(figures)
    }
}

/// A tally and its file, which is removed in the end.
struct TallyFile {
    path: PathBuf,
    tally: Tally,
}

impl TallyFile {
    fn create() -> io::Result<TallyFile> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("versus-{}-{number}", std::process::id()));
        let tally = Tally::create(&path)?;
        Ok(TallyFile { path, tally })
    }
}

impl Drop for TallyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

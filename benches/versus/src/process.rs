//! What the system knows about a process: its CPU time, its largest memory, what else kept the machine busy.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Connections and other open files of one process.
const FILES: libc::rlim_t = 65_536;

/// A process that is killed when this is dropped.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> io::Result<Running> {
        command.stdin(Stdio::null()).spawn().map(Running)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> io::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("process {} has ended: {status}", self.pid()))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server under test.
pub struct Server {
    pub process: Running,
    /// Host and port that it listens on.
    pub address: String,
}

impl Server {
    /// Starts a server and waits for its line `listening on tcp://HOST:PORT`.
    pub fn start(command: &mut Command) -> io::Result<Server> {
        let mut process = Running::start(command.stdout(Stdio::piped()))?;
        let output = process.0.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut line = String::new();
        let mut output = BufReader::new(output);
        output.read_line(&mut line)?;
        // What else it says is read and dropped, so that it neither blocks nor fails.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let endpoint = line.trim().strip_prefix("listening on tcp://");
        let address = endpoint
            .ok_or_else(|| io::Error::other(format!("{command:?} said {line:?}, not where it listens")))?
            .to_owned();
        Ok(Server { process, address })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The CPU time that all threads of a process have used, or of our own for `None`.
pub fn cpu_time(pid: Option<u32>) -> io::Result<Duration> {
    let mut clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    if let Some(pid) = pid {
        // SAFETY: writes one clock id to a valid place.
        let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to a valid place.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// A line of `/proc/PID/status` that counts in KiB: `VmHWM`, the largest resident memory so far, or `VmRSS`, that now.
pub fn memory_kib(pid: u32, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
}

/// Lets this process and those that it starts have as many connections as the idle clients need. Needs root where the
/// system allows fewer; what is not allowed will show.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes one valid rlimit.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max.min(FILES);
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        if limit.rlim_max < FILES {
            libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: FILES, rlim_max: FILES });
        }
    }
}

/// The time that all cores of the machine have been busy with anything, time stolen by the host included.
pub fn machine_busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let busy: u64 = ticks.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, t)| t).sum();
    // SAFETY: no arguments by reference.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    Ok(Duration::from_secs_f64(busy as f64 / per_second))
}

/// Sets the socket buffers of a stream, in octets. The system doubles the number for its own bookkeeping.
pub fn set_buffers(stream: &TcpStream, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
    for (option, octets) in [(libc::SO_SNDBUF, send), (libc::SO_RCVBUF, receive)] {
        let Some(octets) = octets else { continue };
        let octets = octets as libc::c_int;
        let len = size_of_val(&octets) as libc::socklen_t;
        // SAFETY: the option takes one int, which lives long enough.
        let result =
            unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const octets).cast(), len) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

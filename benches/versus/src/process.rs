//! What the system knows about a process: its CPU time, its largest memory, what else kept the machine busy.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A relay under test. It is killed when this is dropped.
pub struct Relay {
    child: Child,
    /// Host and port that it listens on.
    pub address: String,
}

impl Relay {
    /// Starts a relay and waits for its line `listening on tcp://HOST:PORT`.
    pub fn start(command: &mut Command) -> io::Result<Relay> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut line = String::new();
        let mut output = BufReader::new(output);
        output.read_line(&mut line)?;
        // What else it says is read and dropped, so that it neither blocks nor fails.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let mut relay = Relay { child, address: String::new() };
        let endpoint = line.trim().strip_prefix("listening on tcp://");
        relay.address = endpoint
            .ok_or_else(|| io::Error::other(format!("{command:?} said {line:?}, not where it listens")))?
            .to_owned();
        Ok(relay)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

/// The largest resident memory of a process so far, in KiB.
pub fn peak_memory_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmHWM in /proc"))
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

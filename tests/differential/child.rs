//! libzmq's ROUTER in a process of its own, since an assertion of libzmq ends the process: that is an outcome too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::MESSAGE_OCTETS;
use crate::clerk::{Clerk, ECHO, Heard, ask_for_report};
use crate::support::{ANY_PORT, PATIENCE};

/// Set in the process that is libzmq's.
const ROLE: &str = "ZMIO_TEST_LIBZMQ";
/// The test that is its program.
const PROGRAM: &str = "child::a_libzmq_that_dies_is_noticed_and_replaced";
/// Before the endpoint, on a line among those of the test harness.
const MARK: &str = "endpoint ";

/// A process that opens a ROUTER of libzmq for each script, one at a time.
pub(crate) struct Libzmq {
    process: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Libzmq {
    pub(crate) fn start() -> Libzmq {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", PROGRAM, "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let asks = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Libzmq { process, asks, answers }
    }

    /// The endpoint of a new ROUTER. It serves until the witness has its report.
    pub(crate) fn open(&mut self, handshake: Duration) -> String {
        writeln!(self.asks, "{}", handshake.as_millis()).expect("a process that listens");
        let line = self.answers.find_map(|line| line.ok()?.strip_prefix(MARK).map(str::to_owned));
        line.expect("a process that answers")
    }

    /// How it ended, if it did. A process that has just closed its connections may take a moment to be gone.
    pub(crate) fn death(&mut self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let status = self.process.try_wait().expect("a process");
            if status.is_some() || Instant::now() > deadline {
                return status.map(|status| status.to_string());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Libzmq {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_libzmq_that_dies_is_noticed_and_replaced() {
    if std::env::var_os(ROLE).is_some() {
        return serve();
    }
    let mut first = Libzmq::start();
    assert_eq!(ask_for_report(&first.open(PATIENCE)), []);
    let open = first.open(PATIENCE);
    first.process.kill().expect("a process");
    first.process.wait().expect("a process");
    assert_eq!(first.death().as_deref(), Some("signal: 9 (SIGKILL)"));
    assert!(std::panic::catch_unwind(|| ask_for_report(&open)).is_err());
    let mut second = Libzmq::start();
    assert_eq!(ask_for_report(&second.open(PATIENCE)), []);
}

/// The program of that process. It ends with its input.
fn serve() {
    let context = zmq::Context::new();
    for line in std::io::stdin().lines() {
        let handshake = line.expect("text").parse().expect("milliseconds");
        let router = context.socket(zmq::ROUTER).expect("a socket");
        router.set_handshake_ivl(handshake).expect("handshake deadline");
        router.set_maxmsgsize(MESSAGE_OCTETS as i64).expect("limit");
        let patience = i32::try_from(PATIENCE.as_millis()).expect("fits");
        router.set_linger(patience).expect("linger");
        // Beyond all waits of a script: then nobody will come any more.
        router.set_rcvtimeo(4 * patience).expect("receive timeout");
        router.bind(ANY_PORT).expect("a free port");
        let endpoint = router.get_last_endpoint().expect("last endpoint").expect("text");
        println!("\n{MARK}{endpoint}");
        serve_one(&router).expect("a witness");
    }
}

fn serve_one(router: &zmq::Socket) -> zmq::Result<()> {
    let mut clerk = Clerk::default();
    let mut witness = None;
    loop {
        // After the witness has asked: until no more waits.
        let flags = if witness.is_some() { zmq::DONTWAIT } else { 0 };
        let mut frames = match (router.recv_multipart(flags), &witness) {
            (Err(zmq::Error::EAGAIN), Some(witness)) => {
                let report = [vec![Vec::clone(witness)], clerk.report()].concat();
                return router.send_multipart(report, 0);
            }
            (received, _) => received?,
        };
        let from = frames.remove(0);
        match clerk.hear(&from, frames) {
            Heard::Noted => {}
            Heard::Probe => router.send_multipart([&from[..], ECHO], 0)?,
            Heard::Finish => witness = Some(from),
        }
    }
}

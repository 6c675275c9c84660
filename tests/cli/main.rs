//! The `zmio` command, run as users run it.
//!
//! The clients here are raw TCP streams that speak ZMTP by hand: what the command does is judged by octets that none
//! of our own code has read or written.

mod client;
#[cfg(unix)]
mod signals;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(unix)]
use self::signals::signal;

/// How long anything may take before it counts as lost.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn the_relay_says_where_it_listens_once_it_does() {
    let relay = Relay::start(&["--bind", "tcp://127.0.0.1:0"]);
    assert_eq!(relay.endpoints.len(), 2, "one line for each endpoint");
    assert_ne!(relay.endpoints[0], relay.endpoints[1]);
    let mut one = Client::join(&relay.endpoints[0], b"one");
    let mut two = Client::join(&relay.endpoints[1], b"two");
    relay.wait_for(r#"joined "two""#);
    one.send(&[b"hello"]);
    assert_eq!(two.receive(), [b"hello"]);
}

#[test]
fn the_relay_listens_on_the_port_of_the_readme_by_default() {
    let help = run(&["relay", "--help"]);
    assert!(help.status.success());
    assert!(stdout(&help).contains("[default: tcp://127.0.0.1:5557]"), "{}", stdout(&help));
}

#[test]
fn each_other_client_gets_a_message_as_it_came_and_its_sender_does_not() {
    let relay = Relay::start(&[]);
    let mut red = Client::join(relay.endpoint(), b"red");
    let mut green = Client::join(relay.endpoint(), b"green");
    let mut blue = Client::join(relay.endpoint(), b"blue");
    for name in ["red", "green", "blue"] {
        relay.wait_for(&format!("joined {name:?}"));
    }
    let large = vec![7; 300];
    red.send(&[b"", b"red moves"]);
    red.send(&[b""]);
    red.send(&[b"a", b"", &large]);
    for client in [&mut green, &mut blue] {
        assert_eq!(client.receive(), [&b""[..], b"red moves"]);
        assert_eq!(client.receive(), [b""]);
        assert_eq!(client.receive(), [&b"a"[..], b"", &large]);
    }
    // The connection keeps the order: an echo of red's own messages would come before green's.
    green.send(&[b"", b"green moves"]);
    assert_eq!(red.receive(), [&b""[..], b"green moves"]);
    assert_eq!(blue.receive(), [&b""[..], b"green moves"]);
}

#[test]
fn the_demo_shows_who_sent_and_who_received_what() {
    let started = Instant::now();
    let demo = run(&["demo"]);
    let text = stdout(&demo);
    assert!(demo.status.success(), "{text}{}", stderr(&demo));
    assert!(started.elapsed() < Duration::from_secs(10));
    for sender in ["red", "green", "blue"] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&format!("{sender} moves"))).collect();
        let (sends, receives): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.contains(" sends "));
        assert!(sends.len() == 1 && sends[0].starts_with(sender), "{text}");
        assert!(receives.len() == 2 && receives[0] != receives[1], "{text}");
        assert!(receives.iter().all(|line| line.contains(" receives ") && !line.starts_with(sender)), "{text}");
    }
}

#[test]
fn an_address_in_use_is_one_line_and_a_failure() {
    let relay = Relay::start(&[]);
    let second = run(&["relay", "--bind", relay.endpoint()]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(stdout(&second), "", "it never listened");
    let line = only_line(&second);
    assert!(line.contains(relay.endpoint()) && line.to_lowercase().contains("in use"), "{line}");
}

#[test]
fn a_bad_option_is_one_line_that_names_it() {
    for (arguments, named) in [
        (&["relay", "--bind", "5557"][..], "tcp://host:port"),
        (&["relay", "--bind", "udp://127.0.0.1:5557"], "udp"),
        (&["relay", "--bind", "tcp://127.0.0.1:70000"], "70000"),
        (&["relay", "--bind", "tcp://127.0.0.1"], "port"),
        (&["relay", "--slow", "never"], "disconnect"),
        (&["relay", "--patience", "3"], "--slow wait"),
        (&["relay", "--slow", "drop", "--patience", "3"], "--slow wait"),
        (&["relay", "--slow", "wait", "--patience", "0"], "0.001"),
        (&["relay", "--hwm", "0"], "at least one octet"),
        (&["relay", "--hwm", "16MB"], "16MiB"),
        (&["relay", "--max-message", "0KiB"], "at least one octet"),
        (&["relay", "--max-message", "-1"], "-1"),
        (&["relay", "--max-per-address", "0"], "--max-per-address"),
        (&["relay", "--heartbeat", "0"], "0.001"),
        (&["relay", "--heartbeat", "soon"], "seconds"),
        (&["relay", "--ping-all"], "--heartbeat"),
        (&["relay", "--stats", "inf"], "seconds"),
        (&["relay", "--stats"], "--stats"),
        (&["relay", "--no-such-option"], "--no-such-option"),
        (&["relay", "surplus"], "surplus"),
        (&["relay", "two\nlines"], "two lines"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let run = run(arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&run), "", "{arguments:?}");
        let line = only_line(&run);
        assert!(line.starts_with("zmio: ") && line.contains(named), "{arguments:?}: {line}");
    }
}

#[test]
fn every_policy_for_slow_clients_relays() {
    for policy in [
        &["--slow", "drop"][..],
        &["--slow", "wait"],
        &["--slow", "wait", "--patience", "0.5"],
        &["--slow", "disconnect", "--hwm", "64KiB"],
    ] {
        let relay = Relay::start(policy);
        let mut one = Client::join(relay.endpoint(), b"one");
        let mut two = Client::join(relay.endpoint(), b"two");
        relay.wait_for(r#"joined "two""#);
        one.send(&[b"", b"hello"]);
        assert_eq!(two.receive(), [&b""[..], b"hello"], "{policy:?}");
    }
}

#[test]
fn statistics_tell_the_counters_of_each_client_and_escape_its_name() {
    let relay = Relay::start(&["--stats", "0.05"]);
    let mut one = Client::join(relay.endpoint(), b"one\n\x1b[31m");
    let mut two = Client::join(relay.endpoint(), b"two");
    relay.wait_for(r#"joined "two""#);
    one.send(&[b"", b"hello"]);
    assert_eq!(two.receive(), [&b""[..], b"hello"]);
    // Until the report after the message: those before it count nothing.
    relay.wait_until(|line| {
        line.starts_with(r#"stats "one\x0a\x1b[31m" at 127.0.0.1:"#) && line.contains("1 message in")
    });
    relay.wait_until(|line| line.starts_with(r#"stats "two" at 127.0.0.1:"#) && line.contains("1 out"));
    relay.wait_until(|line| line.starts_with("stats of all") && line.contains("0 dropped"));
}

#[test]
fn a_taken_identity_is_refused_or_with_handover_taken_over() {
    let relay = Relay::start(&[]);
    let mut first = Client::join(relay.endpoint(), b"same");
    relay.wait_for(r#"joined "same""#);
    let mut second = Client::connect(relay.endpoint());
    second.greet(b"same");
    let (flags, ready) = second.frame();
    assert_eq!((flags, &ready[..6]), (4, &b"\x05READY"[..]), "it has to know what kind of socket refuses it");
    let (flags, error) = second.frame();
    assert_eq!((flags, &error[..6]), (4, &b"\x05ERROR"[..]));
    assert_eq!(second.read_to_end(), b"");
    relay.wait_for("rejected 127.0.0.1:");
    let mut other = Client::join(relay.endpoint(), b"other");
    relay.wait_for(r#"joined "other""#);
    first.send(&[b"still here"]);
    assert_eq!(other.receive(), [b"still here"]);

    let relay = Relay::start(&["--handover"]);
    let mut first = Client::join(relay.endpoint(), b"same");
    relay.wait_for(r#"joined "same""#);
    let _second = Client::join(relay.endpoint(), b"same");
    relay.wait_for(r#"left "same""#);
    relay.wait_for(r#"joined "same""#);
    assert_eq!(first.read_to_end(), b"");
}

#[test]
fn a_client_over_the_message_limit_is_cut_off_and_the_reason_told() {
    let relay = Relay::start(&["--max-message", "1KiB"]);
    let mut one = Client::join(relay.endpoint(), b"one");
    let mut two = Client::join(relay.endpoint(), b"two");
    relay.wait_for(r#"joined "two""#);
    one.send(&[&[0; 900]]);
    assert_eq!(two.receive(), [[0; 900]]);
    one.send(&[&[0; 2000]]);
    assert_eq!(one.read_to_end(), b"");
    let line = relay.wait_for(r#"left "one""#);
    assert!(line.contains("1024"), "{line}");
}

#[test]
fn clients_of_one_address_beyond_their_number_are_refused() {
    let relay = Relay::start(&["--max-per-address", "1"]);
    let mut one = Client::join(relay.endpoint(), b"one");
    for _ in 0..3 {
        let refused = TcpStream::connect(relay.endpoint().trim_start_matches("tcp://")).unwrap();
        refused.set_read_timeout(Some(DEADLINE)).unwrap();
        match (&refused).read(&mut [0; 1]) {
            Ok(octets) => assert_eq!(octets, 0, "it was greeted"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    let line = relay.wait_for("refused 127.0.0.1:");
    assert!(line.ends_with("no more than 1 clients of one address"), "{line}");
    one.send(&[b"to nobody"]);
    drop(one);
    relay.wait_for(r#"left "one""#);
    Client::join(relay.endpoint(), b"next");
}

#[test]
fn with_heartbeats_a_silent_client_is_pinged_and_then_cut_off() {
    let relay = Relay::start(&["--heartbeat", "0.1"]);
    let mut silent = Client::join(relay.endpoint(), b"silent");
    let (flags, ping) = silent.frame();
    assert_eq!((flags, &ping[..5]), (4, &b"\x04PING"[..]));
    let line = relay.wait_for(r#"left "silent""#);
    assert!(line.contains("heartbeat"), "{line}");
}

#[test]
fn clients_that_announce_3_0_are_pinged_if_so_told() {
    for (options, pinged) in [(&["--heartbeat", "0.1"][..], false), (&["--heartbeat", "0.1", "--ping-all"], true)] {
        let relay = Relay::start(options);
        let mut old = Client::connect(relay.endpoint());
        old.greet_as(0, b"old");
        old.frame();
        let silent = Client::join(relay.endpoint(), b"silent");
        relay.wait_for(if pinged { r#"left "old""# } else { r#"left "silent""# });
        drop(silent);
        if pinged {
            assert_eq!(&old.frame().1[..5], b"\x04PING");
        } else {
            Client::join(relay.endpoint(), b"next").send(&[b"no PING before this"]);
            assert_eq!(old.frame(), (0, b"no PING before this".to_vec()));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_stops_neither_relay_nor_demo() {
    let relay = Relay::start(&["--stats", "0.01"]);
    let endpoint = relay.endpoint().to_owned();
    let mut child = relay.close_output();
    let mut one = Client::join(&endpoint, b"one");
    let mut two = Client::join(&endpoint, b"two");
    // Nobody tells us now when both have joined: send until it arrives, as a newcomer gets what comes later.
    two.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let end = Instant::now() + DEADLINE;
    while two.stream.peek(&mut [0]).is_err() {
        assert!(Instant::now() < end, "the relay stopped");
        one.send(&[b"hello"]);
    }
    assert_eq!(two.receive(), [b"hello"]);
    signal(&child, "TERM");
    assert_eq!(wait(&mut child.0), Some(0));

    let mut demo = Guard(zmio().arg("demo").stdout(Stdio::piped()).spawn().unwrap());
    drop(demo.0.stdout.take());
    assert_eq!(wait(&mut demo.0), Some(0));
}

#[cfg(unix)]
#[test]
fn a_standard_output_that_nobody_reads_does_not_hold_up_the_relay() {
    let mut command = zmio();
    command.args(["relay", "--bind", "tcp://127.0.0.1:0", "--stats", "0.001"]).stdout(Stdio::piped());
    let mut child = Guard(command.spawn().unwrap());
    // Read until both clients have joined, and no more.
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let endpoint = first.strip_prefix("listening on ").unwrap();
    // Long names fill the pipe soon: half a second of reports is more than it holds.
    let mut one = Client::join(endpoint, &[b'1'; 200]);
    let mut two = Client::join(endpoint, &[b'2'; 200]);
    assert_eq!(lines.by_ref().filter(|line| line.starts_with("joined")).take(2).count(), 2);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        one.send(&[b"ping"]);
        assert_eq!(two.receive(), [b"ping"]);
        two.send(&[b"pong"]);
        assert_eq!(one.receive(), [b"pong"]);
    }
    signal(&child, "TERM");
    assert_eq!(wait(&mut child.0), Some(0));
}

/// Those that are `cargo` are CI's to run; those that are ours are run here, and there are no others.
#[test]
fn every_command_of_the_readme_works() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: Vec<&str> = blocks.flat_map(str::lines).collect();
    let (cargo, own): (Vec<&str>, Vec<&str>) = commands.iter().partition(|line| line.starts_with("cargo "));
    assert_eq!(
        cargo,
        [
            "cargo run --release --features cli -- demo",
            "cargo test --all-features",
            "cargo install --path . --features cli"
        ]
    );
    assert_eq!(own, ["zmio relay", "zmio client tcp://localhost:5557"]);
    // Its port may be taken here, so that it listens at another one; and the client finds it there by name.
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let port = relay.endpoint().rsplit(':').next().unwrap();
    let mut client = zmio();
    client.args(["client", &format!("tcp://localhost:{port}")]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut client = Guard(client.spawn().unwrap());
    client.0.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(other.receive(), [&b""[..], b"hello"]);
    assert_eq!(wait(&mut client.0), Some(0));
}

// ---- running the command

/// The command, or a failure: a test that needs it must not vanish when it is not built.
fn zmio() -> Command {
    let built = option_env!("CARGO_BIN_EXE_zmio").filter(|_| cfg!(feature = "cli"));
    let path = built.expect("the command `zmio` is not built: run these tests with `cargo test --all-features`");
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// Runs to its end, within the deadline.
fn run(arguments: &[&str]) -> Output {
    let mut command = zmio();
    command.args(arguments);
    finish(command)
}

fn finish(mut command: Command) -> Output {
    let mut guard = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    // What these runs print fits into the pipes, so waiting first cannot block them.
    wait(&mut guard.0);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    guard.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    guard.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: guard.0.wait().unwrap(), stdout, stderr }
}

/// Waits for the end, and returns the exit code.
fn wait(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < end, "the command does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end, and returns the exit code and what it said on standard error.
fn end(child: &mut Child) -> (Option<i32>, String) {
    let status = wait(child);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status, said)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("what is printed is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("what is printed is UTF-8")
}

/// Standard error, which must be one line.
fn only_line(output: &Output) -> String {
    let text = stderr(output);
    assert!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {text:?}");
    text
}

/// A child that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `zmio relay` on a free port of loopback.
struct Relay {
    child: Guard,
    lines: Receiver<String>,
    reader: JoinHandle<()>,
    endpoints: Vec<String>,
}

impl Relay {
    fn start(options: &[&str]) -> Relay {
        Relay::start_by(zmio(), options)
    }

    /// Starts it by a command that ends in the arguments of `zmio`.
    fn start_by(mut command: Command, options: &[&str]) -> Relay {
        command.args(["relay", "--bind", "tcp://127.0.0.1:0"]).args(options).stdout(Stdio::piped());
        let mut child = Guard(command.spawn().unwrap());
        let stdout = child.0.stdout.take().unwrap();
        let (sender, lines) = channel();
        // Ends when nobody wants lines any more, and closes the pipe then.
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.expect("what is printed is UTF-8")).is_err() {
                    break;
                }
            }
        });
        let mut relay = Relay { child, lines, reader, endpoints: Vec::new() };
        for _ in 0..1 + options.iter().filter(|option| **option == "--bind").count() {
            let line = relay.wait_until(|_| true);
            let endpoint = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not an endpoint: {line}"));
            relay.endpoints.push(endpoint.to_owned());
        }
        relay
    }

    fn endpoint(&self) -> &str {
        &self.endpoints[0]
    }

    /// The next line that begins with `start`.
    fn wait_for(&self, start: &str) -> String {
        self.wait_until(|line| line.starts_with(start))
    }

    /// The next line that is the right one.
    fn wait_until(&self, is_it: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        let mut passed = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if is_it(&line) => return line,
                Ok(line) => passed.push(line),
                Err(error) => panic!("{error}; the line did not come, only {passed:#?}"),
            }
        }
    }

    fn status(&mut self) -> Option<i32> {
        wait(&mut self.child.0)
    }

    /// Closes the pipe that the relay prints to.
    fn close_output(self) -> Guard {
        drop(self.lines);
        self.reader.join().unwrap();
        self.child
    }
}

// ---- a client by hand

/// A DEALER on a bare stream.
struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects and completes the handshake.
    fn join(endpoint: &str, identity: &[u8]) -> Client {
        let mut client = Client::connect(endpoint);
        client.greet(identity);
        let (flags, ready) = client.frame();
        assert_eq!((flags, &ready[..6]), (4, &b"\x05READY"[..]));
        client
    }

    fn connect(endpoint: &str) -> Client {
        let stream = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// Sends greeting and READY, and takes the relay's greeting.
    fn greet(&mut self, identity: &[u8]) {
        self.greet_as(1, identity);
    }

    /// The same, as a peer of ZMTP 3.`minor`.
    fn greet_as(&mut self, minor: u8, identity: &[u8]) {
        let mut greeting = [0; 64];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[11] = minor;
        greeting[12..16].copy_from_slice(b"NULL");
        let mut ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0".to_vec();
        ready.push(u8::try_from(identity.len()).unwrap());
        ready.extend(identity);
        let mut octets = greeting.to_vec();
        octets.extend([4, u8::try_from(ready.len()).unwrap()]);
        octets.extend(ready);
        self.stream.write_all(&octets).unwrap();
        self.stream.read_exact(&mut greeting).unwrap();
        assert_eq!((greeting[0], greeting[9], greeting[10]), (0xff, 0x7f, 3));
    }

    fn send(&mut self, frames: &[&[u8]]) {
        let mut octets = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            let more = u8::from(index + 1 < frames.len());
            match u8::try_from(frame.len()) {
                Ok(size) => octets.extend([more, size]),
                Err(_) => {
                    octets.push(more | 2);
                    octets.extend((frame.len() as u64).to_be_bytes());
                }
            }
            octets.extend(*frame);
        }
        self.stream.write_all(&octets).unwrap();
    }

    /// The next message.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let (flags, body) = self.frame();
            assert_eq!(flags & 4, 0, "a command instead of a message: {body:?}");
            frames.push(body);
            if flags & 1 == 0 {
                return frames;
            }
        }
    }

    /// The next frame: its flags without LONG, and its body.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let [flags] = self.octets();
        let size = match flags & 2 {
            0 => u64::from(u8::from_be_bytes(self.octets())),
            _ => u64::from_be_bytes(self.octets()),
        };
        let mut body = vec![0; usize::try_from(size).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (flags & !2, body)
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.stream.read_exact(&mut octets).expect("the relay has more to say");
        octets
    }

    /// What comes until the relay ends the connection.
    fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the connection ends in order");
        rest
    }
}

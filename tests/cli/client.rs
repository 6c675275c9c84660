//! `zmio client`, against a relay and peers by hand.

use std::net::TcpListener;
use std::process::ChildStdin;

use super::*;

/// A running `zmio client`.
struct Person {
    child: Guard,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Person {
    fn start(endpoint: &str, options: &[&str]) -> Person {
        let mut command = zmio();
        command.args(["client", endpoint]).args(options).stdin(Stdio::piped());
        let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let input = child.0.stdin.take();
        let output = BufReader::new(child.0.stdout.take().unwrap());
        let (line, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Person { child, input, lines }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn reads(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }

    /// Closes its input, waits for its end, and returns the exit code and standard error.
    fn leaves(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        end(&mut self.child.0)
    }
}

#[test]
fn lines_go_out_behind_an_empty_frame_and_messages_come_as_lines() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut person = Person::start(relay.endpoint(), &["--identity", "bob"]);
    relay.wait_for(r#"joined "bob""#);
    person.types("hello");
    person.types("");
    assert_eq!(other.receive(), [&b""[..], b"hello"]);
    assert_eq!(other.receive(), [&b""[..], b""]);
    other.send(&[b"", "grün".as_bytes()]);
    other.send(&[b"two", b"frames"]);
    other.send(&[b"", b"\x1b[2J\xff"]);
    assert_eq!(person.reads(), "grün");
    assert_eq!(person.reads(), "two\tframes");
    assert_eq!(person.reads(), r"\u{1b}[2J\xff");
    let (status, said) = person.leaves();
    assert_eq!(status, Some(0));
    assert!(said.contains(&format!("connected to {}", relay.endpoint().trim_start_matches("tcp://"))), "{said}");
}

#[test]
fn bare_lines_and_messages_are_what_they_are() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut person = Person::start(relay.endpoint(), &["--bare", "--quiet", "--identity", "bob"]);
    relay.wait_for(r#"joined "bob""#);
    person.types("hello");
    assert_eq!(other.receive(), [b"hello"]);
    other.send(&[b"", b"hi"]);
    assert_eq!(person.reads(), "\thi");
    assert_eq!(person.leaves(), (Some(0), String::new()));
}

#[test]
fn it_leaves_after_the_count_though_there_may_be_more_input() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut person = Person::start(relay.endpoint(), &["--count", "2", "--identity", "bob"]);
    relay.wait_for(r#"joined "bob""#);
    for body in [b"one", b"two"] {
        other.send(&[b"", body]);
    }
    assert_eq!([person.reads(), person.reads()], ["one", "two"]);
    assert_eq!(wait(&mut person.child.0), Some(0));
}

#[test]
fn with_a_count_the_end_of_input_is_not_the_end() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut person = Person::start(relay.endpoint(), &["--count", "1", "--identity", "bob"]);
    person.types("any news?");
    drop(person.input.take());
    assert_eq!(other.receive(), [&b""[..], b"any news?"]);
    other.send(&[b"", b"none"]);
    assert_eq!(person.reads(), "none");
    assert_eq!(person.leaves().0, Some(0));
}

#[test]
fn everything_typed_before_the_end_of_input_is_sent() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut person = Person::start(relay.endpoint(), &[]);
    for number in 0..5_000 {
        person.types(&number.to_string());
    }
    assert_eq!(person.leaves().0, Some(0));
    for number in 0..5_000 {
        assert_eq!(other.receive(), [&b""[..], number.to_string().as_bytes()]);
    }
}

#[test]
fn what_could_not_be_sent_is_a_failure_that_says_how_much() {
    // It listens and never answers.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    let mut person = Person::start(&endpoint, &["--quiet", "--linger", "0.2"]);
    person.types("one");
    person.types("two");
    let (status, said) = person.leaves();
    assert_eq!(status, Some(1));
    assert!(said.contains("not sent: 2"), "{said}");
}

#[cfg(unix)]
#[test]
fn input_that_cannot_be_read_is_a_failure_that_says_so() {
    let relay = Relay::start(&[]);
    for options in [&["--quiet"][..], &["--quiet", "--count", "1"]] {
        let mut client = zmio();
        let directory = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
        client.args(["client", relay.endpoint()]).args(options).stdin(directory);
        let output = finish(client);
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        assert!(only_line(&output).starts_with("zmio: cannot read input: "), "{}", stderr(&output));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure_that_says_so() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut client = zmio();
    client.args(["client", relay.endpoint(), "--quiet", "--count", "10"]).stderr(Stdio::piped());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut client = Guard(client.stdout(full).spawn().unwrap());
    relay.wait_until(|line| line.starts_with("joined") && !line.contains("other"));
    other.send(&[b"", b"hello"]);
    let (status, said) = end(&mut client.0);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("zmio: cannot write output: "), "{said}");
}

#[test]
fn it_leaves_in_good_order_when_nobody_reads_on() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    let mut client = zmio();
    client.args(["client", relay.endpoint(), "--quiet", "--count", "10"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Guard(client.spawn().unwrap());
    drop(client.0.stdout.take());
    relay.wait_until(|line| line.starts_with("joined") && !line.contains("other"));
    other.send(&[b"", b"hello"]);
    assert_eq!(end(&mut client.0), (Some(0), String::new()));
}

#[test]
fn a_server_that_refuses_it_is_the_end_and_its_reason_is_escaped() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", server.local_addr().unwrap());
    let person = Person::start(&endpoint, &["--quiet", "--count", "1"]);
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut peer = Client { stream };
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    peer.stream.write_all(&greeting).unwrap();
    peer.stream.write_all(b"\x04\x0f\x05ERROR\x08go \"away").unwrap();
    peer.read_to_end();
    let (status, said) = person.leaves();
    assert_eq!(status, Some(1));
    assert!(said.contains(r#"go \"away"#), "{said}");
}

#[test]
fn a_bad_argument_is_one_line_that_names_it() {
    let long = "x".repeat(256);
    for (arguments, named) in [
        (&["client"][..], "ENDPOINT"),
        (&["client", "localhost:5557"], "tcp://"),
        (&["client", "tcp://*:5557"], "*"),
        (&["client", "tcp://localhost:5557", "--identity", &long], "255"),
        (&["client", "tcp://localhost:5557", "--count", "0"], "--count"),
        (&["client", "tcp://localhost:5557", "--linger", "x"], "--linger"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let line = only_line(&output);
        assert!(line.contains(named), "{arguments:?}: {line}");
    }
}

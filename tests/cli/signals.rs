//! What signals do to the commands.

use super::*;

#[test]
fn ctrl_c_and_sigterm_end_the_relay_with_a_summary_and_status_0() {
    for name in ["INT", "TERM"] {
        let mut relay = Relay::start(&[]);
        let mut one = Client::join(relay.endpoint(), b"one");
        let mut two = Client::join(relay.endpoint(), b"two");
        relay.wait_for(r#"joined "two""#);
        one.send(&[b"hello"]);
        assert_eq!(two.receive(), [b"hello"]);
        signal(&relay.child, name);
        let summary = relay.wait_for("stopped after");
        assert!(summary.contains("2 clients"), "{summary}");
        assert!(summary.contains("1 message in"), "{summary}");
        assert!(summary.contains("1 out"), "{summary}");
        assert_eq!(relay.status(), Some(0), "after SIG{name}");
        assert_eq!(one.read_to_end(), b"", "the connection ends in order");
    }
}

#[test]
fn ctrl_c_and_sigterm_end_the_client_before_the_end_of_input() {
    let relay = Relay::start(&[]);
    for name in ["INT", "TERM"] {
        let mut client = zmio();
        client.args(["client", relay.endpoint(), "--quiet"]).stdin(Stdio::piped());
        let mut client = Guard(client.spawn().unwrap());
        relay.wait_for("joined");
        signal(&client, name);
        // Its input is still open.
        assert_eq!(wait(&mut client.0), Some(0), "after SIG{name}");
    }
}

#[test]
fn ctrl_c_and_sigterm_end_a_client_whose_output_nobody_reads() {
    let relay = Relay::start(&[]);
    let mut other = Client::join(relay.endpoint(), b"other");
    for name in ["INT", "TERM"] {
        let mut client = zmio();
        client
            .args(["client", relay.endpoint(), "--identity", "bob", "--count", "1", "--quiet"])
            .stdout(Stdio::piped());
        let mut client = Guard(client.spawn().unwrap());
        let mut output = client.0.stdout.take().unwrap();
        relay.wait_for(r#"joined "bob""#);
        // More than a pipe holds: once it has begun it cannot come to the end of the line.
        other.send(&[&[b'x'; 2 << 20]]);
        output.read_exact(&mut [0]).unwrap();
        signal(&client, name);
        assert_eq!(wait(&mut client.0), Some(130), "after SIG{name}");
    }
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let mut nohup = Command::new("sh");
    nohup.args(["-c", r#"trap "" HUP && exec "$0" "$@""#]).arg(zmio().get_program()).stdin(Stdio::null());
    let mut relay = Relay::start_by(nohup, &["--stats", "0.01"]);
    signal(&relay.child, "HUP");
    // Time to stop, if it would.
    for _ in 0..20 {
        relay.wait_for("stats of all");
    }
    let mut one = Client::join(relay.endpoint(), b"one");
    let mut two = Client::join(relay.endpoint(), b"two");
    relay.wait_for(r#"joined "two""#);
    one.send(&[b"still here"]);
    assert_eq!(two.receive(), [b"still here"]);
    signal(&relay.child, "TERM");
    assert_eq!(relay.status(), Some(0));
}

/// Sends a signal by its name. `kill` is part of every shell, and std has no call for it.
pub(super) fn signal(child: &Guard, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.0.id())]).status().unwrap();
    assert!(sent.success());
}

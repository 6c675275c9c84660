//! What a peer costs is given back, and is no more than `SECURITY.md` says. Memory and descriptors are those of the
//! process, so each of these tests runs itself in a process of its own.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use zmio::{Limits, Mark, Options};

use crate::host::{Host, handshake};
use crate::support::PATIENCE;
use crate::support::octets::{LONG, frame, header};
use crate::support::raw::Raw;

const ALONE: &str = "ZMIO_TEST_ALONE";

/// True in a process where the named test is alone. Else makes such a one, after the shell command `first`, and fails if it
/// does.
#[track_caller]
pub(crate) fn is_alone(name: &str, first: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .args(["-c", &format!("{first} && exec \"$0\" --exact \"$1\"")])
        .arg(std::env::current_exe().expect("this program"))
        .arg(name)
        .env(ALONE, "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    false
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// What is resident now, in octets.
fn resident() -> u64 {
    memory("VmRSS:")
}

/// The most that ever was.
fn peak() -> u64 {
    memory("VmHWM:")
}

fn memory(which: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a line for it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[test]
fn descriptors_and_memory_are_back_after_each_storm() {
    if !is_alone("memory::descriptors_and_memory_are_back_after_each_storm", "true") {
        return;
    }
    let host = Host::new(Options::new());
    let before = descriptors();
    let storm = || {
        for number in 0..300 {
            let mut raw = Raw::connect(&host.endpoint);
            match number % 3 {
                0 => raw.write(b"GET / HTTP/1.1\r\n\r\n"),
                1 => raw.write(&handshake(b"")[..70]),
                _ => raw.write(&[handshake(b""), frame(0, &[0; 50_000]), header(LONG, 1 << 20)].concat()),
            }
            raw.reset();
            if number % 50 == 0 {
                host.exchange();
            }
        }
        host.assert_unharmed();
        let deadline = Instant::now() + PATIENCE;
        while descriptors() > before {
            host.exchange();
            assert!(Instant::now() < deadline, "{} descriptors, {before} before", descriptors());
        }
    };
    // The first one lets buffers and the allocator grow to their size.
    storm();
    let after_one = resident();
    for _ in 0..3 {
        storm();
    }
    let grown = resident().saturating_sub(after_one);
    assert!(grown < 4 << 20, "{grown} octets more after three more storms");
}

/// The sum for peers that send: R + 2 M + one read.
#[test]
fn what_waits_and_what_is_under_way_keep_to_their_sum() {
    const PEERS: u64 = 32;
    const MESSAGE: u64 = 2 << 20;
    const RECEIVE: u64 = 1 << 20;
    const READ: u64 = 256 << 10;
    if !is_alone("memory::what_waits_and_what_is_under_way_keep_to_their_sum", "true") {
        return;
    }
    let mut limits = Limits::default();
    limits.message_octets = MESSAGE;
    let mark = Mark { messages: None, octets: Some(RECEIVE) };
    let host = Host::new(Options::new().limits(limits).receive_mark(mark));
    let mut raws: Vec<Raw> = (0..PEERS).map(|_| Raw::connect(&host.endpoint).handshake("DEALER", b"")).collect();
    let peers: Vec<_> = raws.iter().map(|raw| host.connected(raw.address())).collect();
    // Just below the mark, and then all of a message but its end. It is kept here once for all.
    let waits = frame(0, &[0; 1_000]).repeat(900);
    let body = MESSAGE - 9;
    let begun = [header(LONG, body), vec![0; body as usize - 1]].concat();
    let before = resident();
    host.node.while_held(|| {
        for raw in &mut raws {
            raw.write(&waits);
            raw.write(&begun);
        }
        // All of it is taken in, or this would show nothing.
        let deadline = Instant::now() + PATIENCE;
        while resident() < before + PEERS * MESSAGE {
            assert!(Instant::now() < deadline, "{} octets more: it is not held", resident().saturating_sub(before));
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    for (raw, peer) in raws.iter_mut().zip(peers) {
        raw.write(b"!");
        host.wait_until_heard(peer, 901);
    }
    let grown = peak().saturating_sub(before);
    let sum = PEERS * (RECEIVE + 2 * MESSAGE + READ) + MESSAGE;
    assert!(grown <= sum, "{grown} octets; the sum is {sum}");
    drop(raws);
    host.assert_unharmed();
}

//! A blocking handle that has nothing to do does nothing. In a process of its own: it looks at all I/O threads there are.
#![cfg(all(feature = "net", target_os = "linux"))]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use support::PATIENCE;
use support::raw::Raw;
use zmio::{Dealer, Router};

/// How long nothing may happen.
const IDLE: Duration = Duration::from_secs(10);

/// How often each I/O thread has slept and how long it has worked, in ticks of 10 ms.
fn io_threads() -> BTreeMap<String, (u64, u64)> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").map(|task| task.expect("a task").path());
    let io = tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "zmio-io"));
    let look = |task: std::path::PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let times: Vec<u64> = stat.rsplit(") ").next()?.split(' ').skip(11).take(2).flat_map(str::parse).collect();
        let status = fs::read_to_string(task.join("status")).ok()?;
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task.display().to_string(), (switches.trim().parse().ok()?, times.iter().sum())))
    };
    io.filter_map(look).collect()
}

/// Waits until all I/O threads sleep: they do not wake while we look, over and over.
fn settled() -> BTreeMap<String, (u64, u64)> {
    let end = Instant::now() + PATIENCE;
    let mut before = io_threads();
    let mut calm = 0;
    while calm < 50 {
        assert!(Instant::now() < end, "they never come to rest: {before:?}");
        thread::sleep(Duration::from_millis(2));
        let now = io_threads();
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
    }
    before
}

#[test]
fn idle_handles_never_wake() {
    // One that nobody came to.
    let _alone = Router::bind("tcp://127.0.0.1:0").expect("a free port");

    // Two that have talked, with an event and a message that nobody takes.
    let router = Router::bind("tcp://127.0.0.1:0").expect("a free port");
    let endpoint = router.local_endpoints().expect("it is open")[0].to_string();
    let dealer = Dealer::connect(&endpoint).expect("an endpoint");
    dealer.send("hello").expect("it is open");
    let (from, _) = router.recv_timeout(PATIENCE).expect("it comes");
    router.send(&from, "hello").expect("it is there");

    // One with a peer that has sent more than anybody takes.
    let mut chatty = Raw::connect(&endpoint).handshake("DEALER", b"chatty");
    (0..10).for_each(|_| chatty.write(&support::octets::message(&["not received"]).repeat(500)));

    // One with a thread that waits for room, and one that lingers: their peers do not read.
    let silent = Router::bind("tcp://127.0.0.1:0").expect("a free port");
    let endpoint = silent.local_endpoints().expect("it is open")[0].to_string();
    let _silent = ["full", "slow"].map(|name| Raw::connect(&endpoint).handshake("DEALER", name.as_bytes()));
    let waiting = silent.clone();
    thread::spawn(move || while waiting.send_timeout("full", vec![0; 1 << 20], Duration::MAX).is_ok() {});
    let lingering = Dealer::bind("tcp://127.0.0.1:0").expect("a free port");
    let endpoint = lingering.local_endpoints().expect("it is open")[0].to_string();
    let _stuck = Raw::connect(&endpoint).handshake("ROUTER", b"stuck");
    lingering.send(vec![0; 50 << 20]).expect("it has a peer");
    thread::spawn(move || lingering.close(None));

    let before = settled();
    assert_eq!(before.len(), 5, "a thread each");
    thread::sleep(IDLE);
    assert_eq!(io_threads(), before, "sleeps and ticks of each");
}

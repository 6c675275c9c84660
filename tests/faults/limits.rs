//! Limits on what many peers take together, reached by those who mean to reach them.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::{Duration, Instant};

use zmio::{Event, Limits, Options};

use crate::host::{Host, handshake};
use crate::memory::is_alone;
use crate::support::PATIENCE;
use crate::support::octets::{LONG, header, message};
use crate::support::raw::Raw;

/// E45: one host dials more often than it may; another one, the good client's, does not notice.
#[test]
fn an_address_takes_its_places_and_no_more() {
    const PLACES: usize = 10;
    let host = Host::new(Options::new().max_per_address(Some(PLACES)));
    let greedy = |host: &Host| Raw::connect_from("127.0.0.2", &host.endpoint);
    let mut let_in: Vec<Raw> = (0..PLACES).map(|_| greedy(&host).handshake("DEALER", b"")).collect();
    for _ in 0..100 {
        let mut refused = greedy(&host);
        assert!(refused.read_to_end().is_empty(), "it was greeted");
    }
    host.exchange();
    assert_eq!(host.node.with(|engine| engine.socket().refused_by_address()), 100);
    let told = |event: &Event| matches!(event, Event::AddressFull { allowed: PLACES, .. }).then_some(());
    host.node.wait_for("that its address is full", told);
    assert_eq!(host.node.wait_within(Duration::ZERO, told), None, "told more than once");
    // Those that are in are served, and their places are free when they leave.
    let mut last = let_in.pop().expect("ten");
    last.write(&message(&["ask", "me too"]));
    last.read_frames_until(|frame| frame.body == b"me too");
    drop(last);
    host.node.until("a place to be free", |engine| engine.connections() == PLACES);
    drop(greedy(&host).handshake("DEALER", b""));
    drop(let_in);
    host.assert_unharmed();
}

/// E22, E23: messages that are begun and not ended, by more peers than the limit for all admits.
#[test]
fn of_messages_that_never_end_those_that_take_most_go() {
    const PEERS: usize = 40;
    const LIMIT: u64 = 16 << 20;
    let mut limits = Limits::default();
    limits.message_octets = 4 << 20;
    let host = Host::new(Options::new().limits(limits).unfinished_octets(Some(LIMIT)));
    let mut raws: Vec<Raw> = (0..PEERS).map(|_| Raw::connect(&host.endpoint).handshake("DEALER", b"")).collect();
    for raw in &mut raws {
        raw.write(&header(LONG, 3 << 20));
    }
    let sum = |host: &Host| host.node.with(|engine| engine.socket().unfinished_octets());
    let mut most = 0;
    for _ in 0..20 {
        for raw in &mut raws {
            raw.write(&[0; 100_000]);
        }
        host.exchange();
        let sum = sum(&host);
        assert!(sum <= LIMIT, "{sum} octets are under way");
        most = most.max(sum);
    }
    assert!(most > LIMIT / 2, "only {most} octets were ever under way: the limit was not reached");
    let mut closed = 0;
    let deadline = Instant::now() + PATIENCE;
    // Each of them holds 2 MB at least in the end.
    while closed < PEERS - (LIMIT / 2_000_000) as usize {
        let end = host.node.wait_for("an end", |event| match event {
            Event::Disconnected(end) => Some(end.cause.to_string()),
            _ => None,
        });
        assert!(end.contains("passed the limit of 16777216 octets"), "{end}");
        closed += 1;
        host.exchange();
        assert!(Instant::now() < deadline, "only {closed} were closed");
    }
    drop(raws);
    host.assert_unharmed();
    assert_eq!(sum(&host), 0);
}

/// E47: while there are no descriptors the process does next to nothing, the good client is served, and one event says so.
/// Then all goes on.
#[test]
fn without_descriptors_the_engine_waits_and_does_not_spin() {
    if !is_alone("limits::without_descriptors_the_engine_waits_and_does_not_spin", "ulimit -n 100") {
        return;
    }
    let host = Host::new(Options::new());
    let endpoint = host.endpoint.clone();
    // Opened now: later there is no descriptor for it.
    let mut stat = File::open("/proc/self/stat").expect("Linux");
    // While the engine's thread does this it accepts nobody, and then it has descriptors for few of them.
    let mut raws = host.node.with(move |_| {
        let mut raws: Vec<Raw> = Vec::new();
        while let Some(raw) = Raw::try_connect(&endpoint) {
            raws.push(raw);
        }
        raws.truncate(raws.len() - 4);
        raws
    });
    let told = |event: &Event| match event {
        Event::AcceptFailed { reason } => Some(reason.to_string()),
        _ => None,
    };
    let reason = host.node.wait_for("that there are no descriptors", told);
    assert!(reason.contains("Too many open files"), "{reason}");
    host.exchange();
    let before = processor_time(&mut stat);
    // The time over which it is measured.
    std::thread::sleep(Duration::from_secs(2));
    let spent = processor_time(&mut stat) - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} of two seconds were spent");
    host.exchange();
    assert_eq!(host.node.wait_within(Duration::ZERO, told), None, "told more than once");
    raws.truncate(raws.len() / 4);
    drop(Raw::connect(&host.endpoint).handshake("DEALER", b""));
    // The newcomer of the next call takes more than one.
    drop(raws);
    host.assert_unharmed();
}

/// What the process has spent on the processor so far.
fn processor_time(file: &mut File) -> Duration {
    let mut stat = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut stat)).expect("Linux");
    // The name of the program is in parentheses, and may hold anything; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
    // USER_HZ is 100 wherever Linux runs.
    Duration::from_millis(10 * ticks)
}

/// E45, E46: connections that are reset as soon as they are there, as fast as loopback makes them.
#[test]
fn a_storm_of_resets_leaves_nothing_behind() {
    const STORM: usize = 20_000;
    let host = Host::new(Options::new());
    let whole = [handshake(b""), message(&["hello"])].concat();
    let start = Instant::now();
    for number in 0..STORM {
        let mut raw = Raw::connect(&host.endpoint);
        if number % 4 == 0 {
            raw.write(&whole[..number / 4 % whole.len()]);
        }
        raw.reset();
        if number % 200 == 0 {
            host.exchange();
        }
    }
    println!("{STORM} in {:?}", start.elapsed());
    host.assert_unharmed();
}

/// E45: whoever is closed and does not go takes a descriptor for a second or two, and not all of them.
#[test]
fn connections_that_linger_after_their_end_are_bounded() {
    const LINGERING: usize = 1_024;
    if !is_alone("limits::connections_that_linger_after_their_end_are_bounded", "ulimit -n 4000") {
        return;
    }
    let host = Host::new(Options::new());
    let connect = |_| Raw::connect(&host.endpoint).handshake("DEALER", b"");
    let mut raws: Vec<Raw> = (0..LINGERING + 200).map(connect).collect();
    let peers: Vec<_> = raws.iter().map(|raw| host.connected(raw.address())).collect();
    let linger = host.node.with(move |engine| {
        peers.into_iter().for_each(|peer| engine.disconnect(peer));
        engine.flush();
        engine.connections() - 1
    });
    assert_eq!(linger, LINGERING);
    for raw in &mut raws {
        assert!(raw.read_to_end().is_empty());
    }
    // None of them went by itself.
    host.assert_unharmed();
    drop(raws);
}

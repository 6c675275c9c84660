//! What a peer costs is given back, and is no more than `SECURITY.md` says. Memory and descriptors are those of the
//! process, so each of these tests runs itself in a process of its own.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zmio::{Limits, Mark, Message, Options, PeerId, RelayEvent, RelayOptions, SendError};

use crate::host::{Host, handshake};
use crate::support::PATIENCE;
use crate::support::node;
use crate::support::octets::{COMMAND, LONG, MORE, command, frame, greeting, header};
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
        // What the engine counts as its connections is what it has of descriptors.
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

/// What is resident besides the terms of the sums: the read buffer, one turn of broadcasts and a block for the next, blocks
/// for what comes, memory of what was sent, and what the allocator and this program keep.
const FIXED: u64 = 14 << 20;

/// What is resident at most from here on.
struct Growth {
    before: u64,
}

impl Growth {
    fn from_here() -> Growth {
        Growth { before: resident() }
    }

    /// Has it come to so much? Waits for it, or the test would show nothing.
    #[track_caller]
    fn wait_for(&self, octets: u64) {
        let deadline = Instant::now() + PATIENCE;
        while resident() < self.before + octets {
            assert!(
                Instant::now() < deadline,
                "{} octets more: it is not held",
                resident().saturating_sub(self.before)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// At no time was more than this resident in addition.
    #[track_caller]
    fn assert_within(&self, sum: u64) {
        let grown = peak().saturating_sub(self.before);
        println!("{grown} octets; the sum is {sum}");
        assert!(grown <= sum, "{grown} octets; the sum is {sum}");
    }
}

/// What one peer may have kept back of a read (K).
fn kept_back(receive: u64) -> u64 {
    (1 << 20).min(receive + (16 << 10))
}

fn limits(message: u64) -> Limits {
    let mut limits = Limits::default();
    limits.message_octets = message;
    limits
}

fn octets(octets: u64) -> Mark {
    Mark { messages: None, octets: Some(octets) }
}

/// Those peers, connected, with their addresses.
fn peers(host: &Host, count: u64, connect: fn(&str) -> Raw) -> (Vec<Raw>, Vec<PeerId>) {
    let raws: Vec<Raw> = (0..count).map(|_| connect(&host.endpoint).handshake("DEALER", b"")).collect();
    let peers = raws.iter().map(|raw| host.connected(raw.address())).collect();
    (raws, peers)
}

/// The sum for peers that send: R + 2 M + K for each. While nothing is taken from the socket there is no service.
#[test]
fn what_waits_and_what_is_under_way_keep_to_their_sum() {
    const PEERS: u64 = 32;
    const MESSAGE: u64 = 2 << 20;
    const RECEIVE: u64 = 1 << 20;
    if !is_alone("memory::what_waits_and_what_is_under_way_keep_to_their_sum", "true") {
        return;
    }
    let host = Host::new(Options::new().limits(limits(MESSAGE)).receive_mark(octets(RECEIVE)));
    let (mut raws, peers) = peers(&host, PEERS, Raw::connect);
    // Just below the mark, and then all of a message but its end. It is kept here once for all.
    let waits = frame(0, &[0; 1_000]).repeat(900);
    let body = MESSAGE - 9;
    let begun = [header(LONG, body), vec![0; body as usize - 1]].concat();
    let growth = Growth::from_here();
    host.node.while_held(|| {
        for raw in &mut raws {
            raw.write(&waits);
            raw.write(&begun);
        }
        growth.wait_for(PEERS * MESSAGE);
    });
    for (raw, peer) in raws.iter_mut().zip(peers) {
        raw.write(b"!");
        host.wait_until_heard(peer, 901);
    }
    growth.assert_within(PEERS * (RECEIVE + 2 * MESSAGE + kept_back(RECEIVE)) + MESSAGE);
    drop(raws);
    host.assert_unharmed();
}

/// R and K: as much as peers send while the application takes nothing. Small messages cost more than their octets, and so
/// they count more.
#[test]
fn floods_that_nobody_receives_keep_to_the_receive_mark_and_a_read() {
    const PEERS: u64 = 48;
    const RECEIVE: u64 = 512 << 10;
    if !is_alone("memory::floods_that_nobody_receives_keep_to_the_receive_mark_and_a_read", "true") {
        return;
    }
    let host = Host::new(Options::new().limits(limits(64 << 10)).receive_mark(octets(RECEIVE)));
    let (raws, _) = peers(&host, PEERS, Raw::connect);
    // Single messages, each in a run of its own between commands that nobody keeps: up to the mark and beyond. Messages that
    // take a block each and leave much of it empty. And large ones.
    let tiny = [frame(0, b"m"), command(b"X", b"")].concat();
    let floods = [
        tiny.repeat(7_800),
        tiny.repeat(20_000),
        frame(0, &[0; 12_400]).repeat(130),
        frame(0, &[0; 40_000]).repeat(40),
    ];
    let floods = floods.map(Arc::new);
    let growth = Growth::from_here();
    let writers: Vec<_> = host.node.while_held(|| {
        let write = |(mut raw, flood): (Raw, &Arc<Vec<u8>>)| {
            let flood = Arc::clone(flood);
            std::thread::spawn(move || {
                raw.write(&flood);
                raw
            })
        };
        let writers = raws.into_iter().zip(floods.iter().cycle()).map(write).collect();
        growth.wait_for(PEERS * RECEIVE * 8 / 10);
        writers
    });
    let raws: Vec<Raw> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
    host.exchange();
    growth.assert_within(PEERS * (RECEIVE + 2 * (64 << 10) + kept_back(RECEIVE)) + FIXED);
    drop(raws);
    host.assert_unharmed();
}

/// 2 M: multiparts without end, in frames as small as they come.
#[test]
fn endless_multiparts_keep_to_twice_the_largest_message() {
    const PEERS: u64 = 24;
    const MESSAGE: u64 = 1 << 20;
    if !is_alone("memory::endless_multiparts_keep_to_twice_the_largest_message", "true") {
        return;
    }
    let mut limits = limits(MESSAGE);
    limits.message_frames = u32::MAX;
    let host = Host::new(Options::new().limits(limits));
    let (mut raws, _) = peers(&host, PEERS, Raw::connect);
    let frames = frame(MORE, b"x").repeat(MESSAGE as usize / 3 / 10);
    let growth = Growth::from_here();
    for _ in 0..9 {
        for raw in &mut raws {
            raw.write(&frames);
        }
        host.exchange();
    }
    growth.wait_for(PEERS * MESSAGE * 8 / 10);
    for raw in &mut raws {
        raw.write(&frames);
        raw.write(&frames);
        host.end_of(raw.address()).assert(true, "the limit is 1048576");
    }
    growth.assert_within(PEERS * 2 * MESSAGE + FIXED);
    host.assert_unharmed();
}

/// T: the same, by so many peers that not all may be in the middle of a message.
#[test]
fn the_messages_under_way_of_all_peers_keep_to_their_limit() {
    const PEERS: u64 = 64;
    const MESSAGE: u64 = 2 << 20;
    const ALL: u64 = 24 << 20;
    if !is_alone("memory::the_messages_under_way_of_all_peers_keep_to_their_limit", "true") {
        return;
    }
    let host = Host::new(Options::new().limits(limits(MESSAGE)).unfinished_octets(Some(ALL)));
    let (mut raws, _) = peers(&host, PEERS, Raw::connect);
    let begun = header(LONG, MESSAGE - 9);
    raws.iter_mut().for_each(|raw| raw.write(&begun));
    let piece = vec![0; 50_000];
    let growth = Growth::from_here();
    for _ in 0..40 {
        raws.iter_mut().for_each(|raw| raw.write(&piece));
        host.exchange();
    }
    growth.wait_for(ALL / 2);
    growth.assert_within(ALL + 2 * MESSAGE + FIXED);
    drop(raws);
    host.assert_unharmed();
}

/// E22: what was only announced takes nothing.
#[test]
fn announced_gigabytes_are_not_resident() {
    const PEERS: u64 = 200;
    if !is_alone("memory::announced_gigabytes_are_not_resident", "true") {
        return;
    }
    let host = Host::new(Options::new().limits(limits(2 << 30)));
    let (mut raws, _) = peers(&host, PEERS, Raw::connect);
    let growth = Growth::from_here();
    raws.iter_mut().for_each(|raw| raw.write(&header(LONG, 1 << 30)));
    for _ in 0..10 {
        raws.iter_mut().for_each(|raw| raw.write(b"x"));
        host.exchange();
    }
    growth.assert_within(PEERS * 1_024 + FIXED);
    drop(raws);
    host.assert_unharmed();
}

/// S: messages for peers that never read.
#[test]
fn what_is_sent_to_peers_that_never_read_keeps_to_the_send_mark() {
    const PEERS: u64 = 32;
    const SEND: u64 = 1 << 20;
    if !is_alone("memory::what_is_sent_to_peers_that_never_read_keeps_to_the_send_mark", "true") {
        return;
    }
    let host = Host::new(Options::new().send_mark(octets(SEND)));
    let (raws, peers) = peers(&host, PEERS, Raw::connect_narrow);
    let growth = Growth::from_here();
    // Small ones to some: each costs more than its octets.
    for (at, peer) in peers.into_iter().enumerate() {
        let size = if at % 2 == 0 { 20_000 } else { 40 };
        let full = host.node.with(move |engine| {
            for number in 0..1_000_000 {
                let sent = engine.socket_mut().send(peer, Message::from(vec![0; size]));
                if matches!(sent, Err(SendError::Full(_))) {
                    return true;
                }
                if number % 1_000 == 0 {
                    engine.flush();
                }
            }
            false
        });
        assert!(full);
        host.exchange();
    }
    growth.wait_for(PEERS * SEND / 3);
    growth.assert_within(PEERS * SEND + FIXED);
    drop(raws);
    host.assert_unharmed();
}

/// B: broadcasts of a relay to clients that never read, while one who does gets every one of them.
#[test]
fn broadcasts_to_clients_that_never_read_keep_to_the_limit_for_all() {
    if is_alone("memory::broadcasts_to_clients_that_never_read_keep_to_the_limit_for_all", "true") {
        keep_to_the_limit_for_all(8 << 20, 1);
    }
}

/// The same, where much comes at once.
#[test]
fn broadcasts_of_what_comes_at_once_keep_to_the_limit_for_all() {
    if is_alone("memory::broadcasts_of_what_comes_at_once_keep_to_the_limit_for_all", "true") {
        keep_to_the_limit_for_all(16 << 20, 50);
    }
}

/// So many messages come one behind the other.
fn keep_to_the_limit_for_all(broadcasts: u64, at_once: u32) {
    const PEERS: u64 = 40;
    const MESSAGES: u32 = 1_500;
    // The mark of each would admit far more.
    let options = RelayOptions::new().mark_octets(1 << 30);
    let relay = node::relay_with(options, Options::new().broadcast_octets(Some(broadcasts)));
    let endpoint = relay.bind();
    let raws: Vec<Raw> = (0..PEERS).map(|_| Raw::connect_narrow(&endpoint).handshake("DEALER", b"")).collect();
    let mut talker = Raw::connect(&endpoint).handshake("DEALER", b"");
    let mut good = Raw::connect(&endpoint).handshake("DEALER", b"");
    for _ in 0..PEERS + 2 {
        relay.wait_for("Joined", |event| matches!(event, RelayEvent::Joined { .. }).then_some(()));
    }
    let growth = Growth::from_here();
    for number in (0..MESSAGES).step_by(at_once as usize) {
        let messages = number..number + at_once;
        let octets: Vec<u8> =
            messages.flat_map(|number| frame(0, &[&number.to_be_bytes()[..], &[0; 40_000]].concat())).collect();
        talker.write(&octets);
        assert!(good.read_until(|read| read.len() >= octets.len()), "closed");
        assert!(good.read_at_most(usize::MAX) == octets, "not what was sent");
    }
    let totals = relay.with_app(|engine, _| engine.socket().totals());
    assert!(totals.dropped > 0, "the limit was not reached: {totals:?}");
    growth.wait_for(broadcasts / 2);
    growth.assert_within(2 * broadcasts + PEERS * (64 << 10) + FIXED);
    drop(raws);
}

/// E16: U handshakes that are never finished, first with nothing but a greeting, then with all the metadata that they may
/// announce.
#[test]
fn thousands_of_half_open_handshakes_cost_what_they_may_and_no_more() {
    const HALF_OPEN: u64 = 5_000;
    const METADATA: u64 = 8 << 10;
    /// A place in the socket, a place in the engine, and what is queued for it. As slabs grow, they are there twice.
    const PLACE: u64 = 2 << 10;
    // Both ends of each are in this process.
    if !is_alone("memory::thousands_of_half_open_handshakes_cost_what_they_may_and_no_more", "ulimit -n 10500") {
        return;
    }
    let options = Options::new().max_handshakes(Some(HALF_OPEN as usize)).max_per_address(None);
    let host = Host::new(options.handshake_timeout(Duration::from_secs(600)));
    let growth = Growth::from_here();
    let mut raws: Vec<Raw> = (0..HALF_OPEN)
        .map(|number| {
            let mut raw = Raw::connect(&host.endpoint);
            raw.write(&greeting());
            if number % 500 == 0 {
                host.exchange();
            }
            raw
        })
        .collect();
    let all = HALF_OPEN as usize + 1;
    host.node.until("all to be accepted", move |engine| engine.connections() == all);
    growth.assert_within(HALF_OPEN * PLACE + FIXED);
    let ready = [header(COMMAND | LONG, METADATA), vec![0; METADATA as usize - 1]].concat();
    for (number, raw) in raws.iter_mut().enumerate() {
        raw.write(&ready);
        if number % 500 == 0 {
            host.exchange();
        }
    }
    growth.wait_for(HALF_OPEN * METADATA);
    growth.assert_within(HALF_OPEN * (2 * METADATA + PLACE) + FIXED);
    assert_eq!(host.node.with(|engine| engine.connections()), all, "all of them stay until one more comes");
    drop(raws);
    host.assert_unharmed();
}

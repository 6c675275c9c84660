//! Reads that a relay passes on as they lie in memory: nobody can tell the difference.

use alloc::vec;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::harness::{Rig, wire};
use crate::conn::Mark;
use crate::rand::Rng;
use crate::socket::{Event, Options, PeerId, Router};
use crate::wire::{FrameHeader, FrameKind, encode};

const UNLIMITED: Mark = Mark { messages: None, octets: None };
const READ: usize = 256 * 1024;

fn forwarding() -> Options {
    Options::new().deliver_runs(true).send_mark(UNLIMITED)
}

/// Passes on what came, as a relay does.
fn forward(rig: &mut Rig<Router>) -> Vec<(PeerId, *const u8)> {
    let mut places = Vec::new();
    while let Some(event) = rig.socket.poll_event() {
        if let Event::Run { peer, run } = event {
            places.push((peer, run.octets().as_ptr()));
            rig.socket.broadcast_run_except(Some(peer), &run);
        }
    }
    rig.turn();
    places
}

/// Reads `octets`, which fill the memory in part or whole; what was not taken.
fn read(rig: &mut Rig<Router>, peer: PeerId, memory: &mut BytesMut, octets: &[u8]) -> Vec<u8> {
    memory[..octets.len()].copy_from_slice(octets);
    let rest = rig.socket.handle_read(rig.now, peer, memory, octets.len());
    assert_eq!(memory.len(), READ);
    rest.to_vec()
}

fn large_messages(octets: usize) -> Vec<u8> {
    wire(vec![7; 20_000]).repeat(octets / 20_009)
}

#[test]
fn what_fills_a_read_stays_where_it_is_and_what_does_not_is_copied() {
    let mut rig = Rig::router(forwarding());
    let [a, _] = ["a", "b"].map(|identity| rig.client(identity));
    forward(&mut rig);
    let mut memory = BytesMut::zeroed(READ);
    for (filled, is_copied) in [(READ, false), (READ / 2 - 20_009, true), (READ / 2 + 20_009, false)] {
        let place = memory.as_ptr();
        assert!(read(&mut rig, a, &mut memory, &large_messages(filled)).is_empty());
        assert_eq!(memory.as_ptr() == place, is_copied);
        let runs = forward(&mut rig);
        assert_eq!(runs.len(), filled / 20_009);
        assert_eq!(runs[0].1 == place, !is_copied);
    }
}

#[test]
fn a_read_is_copied_where_messages_are_taken_one_by_one_or_little_may_be_held_back() {
    let little = forwarding().broadcast_octets(Some(4 * READ as u64 - 1));
    for options in [forwarding().deliver_runs(false), little] {
        let mut rig = Rig::router(options);
        let peer = rig.client("a");
        let mut memory = BytesMut::zeroed(READ);
        let place = memory.as_ptr();
        assert!(read(&mut rig, peer, &mut memory, &large_messages(READ)).is_empty());
        assert_eq!(memory.as_ptr(), place);
    }
    let mut rig = Rig::dealer(Options::new().deliver_runs(true));
    let peer = rig.server();
    let mut memory = BytesMut::from(&[&large_messages(READ)[..], &[0; 20_009]].concat()[..READ]);
    let place = memory.as_ptr();
    assert!(rig.socket.handle_read(rig.now, peer, &mut memory, READ / 2).is_empty());
    assert_eq!(memory.as_ptr(), place);
}

#[test]
fn a_client_that_stands_still_in_a_read_costs_a_copy_and_only_while_it_does() {
    let mut rig = Rig::router(forwarding().broadcast_octets(Some(4 * READ as u64)));
    let [a, stuck, reads] = ["a", "stuck", "reads"].map(|identity| rig.client(identity));
    forward(&mut rig);
    rig.limit(stuck, 10);
    let mut memory = BytesMut::zeroed(READ);
    let octets = large_messages(READ);
    let mut is_copied = |rig: &mut Rig<Router>| {
        let place = memory.as_ptr();
        assert!(read(rig, a, &mut memory, &octets).is_empty());
        let runs = forward(rig);
        assert!(rig.written(reads) == octets);
        runs[0].1 != place
    };
    assert!(!is_copied(&mut rig));
    assert!(is_copied(&mut rig) && is_copied(&mut rig));
    rig.limit(stuck, usize::MAX);
    rig.turn();
    assert!(rig.written(stuck) == octets.repeat(3));
    assert!(!is_copied(&mut rig));
}

#[test]
fn what_came_before_a_fault_in_the_same_read_is_passed_on() {
    let mut rig = Rig::router(forwarding());
    let [a, b] = ["a", "b"].map(|identity| rig.client(identity));
    forward(&mut rig);
    let whole = large_messages(READ - 20_009);
    let mut memory = BytesMut::zeroed(READ);
    let place = memory.as_ptr();
    assert!(read(&mut rig, a, &mut memory, &[&whole[..], b"\xff\x00", &whole[..100]].concat()).is_empty());
    assert_ne!(memory.as_ptr(), place);
    assert!(!rig.socket.peer(a).unwrap().is_connected());
    forward(&mut rig);
    assert!(rig.written(b) == whole);
}

#[test]
fn who_lags_in_a_read_holds_back_all_of_it_and_lets_go_of_all_of_it() {
    let mut rig = Rig::router(forwarding().broadcast_octets(Some(8 * READ as u64)));
    let [a, late, reads] = ["a", "late", "reads"].map(|identity| rig.client(identity));
    forward(&mut rig);
    rig.limit(late, 0);
    let octets = large_messages(READ);
    let mut memory = BytesMut::zeroed(READ);
    let mut sent = 0;
    while rig.socket.full_peers().next().is_none() {
        assert!(read(&mut rig, a, &mut memory, &octets).is_empty());
        forward(&mut rig);
        assert!(rig.written(reads) == octets);
        sent += octets.len();
    }
    assert!(sent > 8 * READ, "{sent} octets were too much");
    assert_eq!(rig.socket.full_peers().collect::<Vec<_>>(), [late]);
    rig.socket.discard_queue(late);
    assert_eq!(rig.socket.full_peers().next(), None);
    // Its reads are free again.
    let place = memory.as_ptr();
    assert!(read(&mut rig, a, &mut memory, &octets).is_empty());
    assert_ne!(memory.as_ptr(), place);
}

/// What a sender may send: messages of all sizes, some with an empty delimiter, and commands between them.
fn traffic(rng: &mut Rng, octets: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < octets {
        let most = [40, 300, 3_000, 12_000, 70_000, 300_000][rng.up_to(5) as usize];
        for _ in 0..rng.up_to(30) {
            if rng.up_to(3) == 0 {
                encode::frame(&mut all, FrameKind::More, b"");
            }
            let first = rng.next_u32() as u8;
            let body: Vec<u8> = (0..rng.up_to(most)).map(|n| first.wrapping_add(n as u8)).collect();
            encode::frame(&mut all, FrameKind::Last, &body);
            if rng.up_to(9) == 0 {
                // One that is not answered: an answer goes out between two entries, and those differ.
                encode::pong(&mut all, b"?");
            }
        }
    }
    all
}

/// The frames of messages in wire form, commands left out.
fn messages(octets: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = octets;
    while let Some((header, size)) = FrameHeader::parse(rest).unwrap() {
        let (frame, behind) = rest.split_at(size + header.size as usize);
        if header.kind != FrameKind::Command {
            frames.push(frame);
        }
        rest = behind;
    }
    frames
}

#[test]
fn everybody_gets_the_same_octets_as_if_all_of_them_were_copied() {
    let mut kept = 0;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mark = Mark { messages: None, octets: Some(1 << (14 + rng.up_to(7))) };
        let options = forwarding().receive_mark(mark).broadcast_octets(None);
        let mut rigs = [options.clone(), options].map(Rig::router);
        let peers = [0; 3].map(|_| rigs.each_mut().map(|rig| rig.client("")));
        rigs.iter_mut().for_each(|rig| drop(forward(rig)));
        let sent = [0; 2].map(|_| traffic(&mut rng, 3 * READ));
        let (mut at, mut got) = ([0; 2], [const { Vec::new() }; 3]);
        let mut memory = BytesMut::zeroed(READ);
        while at != sent.each_ref().map(Vec::len) {
            let from = rng.up_to(1) as usize;
            let most = [READ, READ, READ / 2, 5_000, 100][rng.up_to(4) as usize];
            let rest = &sent[from][at[from]..];
            let octets = &rest[..most.min(rest.len())];
            let place = memory.as_ptr();
            let left = read(&mut rigs[0], peers[from][0], &mut memory, octets);
            kept += u32::from(memory.as_ptr() != place);
            let taken = rigs[1].socket.handle_input(rigs[1].now, peers[from][1], octets);
            assert!(left == octets[taken..], "seed {seed}: {taken} were taken");
            at[from] += taken;
            for (who, peer) in peers.iter().enumerate() {
                // Some stand still for a while.
                if rng.up_to(2) == 0 {
                    let room = [0, 10, 50_000, usize::MAX][rng.up_to(3) as usize];
                    rigs.iter_mut().zip(peer).for_each(|(rig, peer)| rig.limit(*peer, room));
                }
                let written = [0, 1].map(|n| rigs[n].written(peer[n]));
                assert!(written[0] == written[1], "seed {seed}: client {who} got something else");
                got[who].extend(&written[0]);
            }
            if rng.up_to(2) > 0 {
                for rig in &mut rigs {
                    forward(rig);
                }
            }
        }
        for (n, rig) in rigs.iter_mut().enumerate() {
            forward(rig);
            peers.iter().for_each(|peer| rig.limit(peer[n], usize::MAX));
        }
        for (peer, got) in peers.iter().zip(&mut got) {
            let written = [0, 1].map(|n| rigs[n].written(peer[n]));
            assert!(written[0] == written[1], "seed {seed}");
            got.extend(&written[0]);
        }
        let sent = sent.each_ref().map(|octets| messages(octets));
        assert!(messages(&got[0]) == sent[1] && messages(&got[1]) == sent[0], "seed {seed}");
        assert_eq!(messages(&got[2]).len(), sent[0].len() + sent[1].len());
    }
    assert!(kept > 100, "only {kept} reads were kept");
}

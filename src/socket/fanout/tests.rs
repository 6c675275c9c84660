use alloc::vec;

use super::*;
use crate::conn::{Mark, Packs};
use crate::socket::Address;
use crate::socket::peers::Peers;
use crate::wire::{FrameKind, encode};

const UNLIMITED: Mark = Mark { messages: None, octets: None };

fn wire(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, FrameKind::Last, body);
    octets
}

/// A run of small messages, in storage of its own.
fn run(bodies: &[&[u8]]) -> Run {
    let octets: Vec<u8> = bodies.iter().flat_map(|body| wire(body)).collect();
    Run::from_wire(Bytes::from(octets), bodies.len() as u32)
}

fn large(octet: u8, octets: usize) -> Run {
    Run::from_wire(Bytes::from(wire(&vec![octet; octets])), 1)
}

fn ids<const N: usize>() -> [PeerId; N] {
    let mut peers = Peers::default();
    core::array::from_fn(|_| peers.insert(Address::Unnamed, None, None))
}

/// What a queue holds: all octets, and all messages.
fn queued(queue: &mut SendQueue) -> (Vec<u8>, u64) {
    let mut octets = Vec::new();
    loop {
        let mut slices = [&[][..]; 4];
        let filled = queue.gather(&mut slices);
        let some = slices[..filled].concat();
        if some.is_empty() {
            return (octets, queue.messages_sent());
        }
        queue.sent(some.len(), &mut Packs::default());
        octets.extend(some);
    }
}

fn delivered(fanout: &Fanout, own: &Own) -> SendQueue {
    let mut queue = SendQueue::new(UNLIMITED);
    fanout.deliver(&mut queue, own);
    assert_eq!(queue.messages(), fanout.messages_for(own));
    queue
}

#[test]
fn each_peer_gets_all_but_its_own_in_order() {
    let [a, b] = ids();
    let (mut of_a, mut of_b) = (Own::default(), Own::default());
    let mut fanout = Fanout::default();
    let all: [(u8, Run); 9] = [
        (0, run(&[b"a1", b"a2"])),
        (0, run(&[b"a3"])),
        (1, run(&[b"b1"])),
        (0, run(&[b"a4"])),
        (9, run(&[b"all"])),
        (1, large(2, 20_000)),
        (1, run(&[b"b2"])),
        (0, large(3, 70_000)),
        (0, run(&[&[4; 60_000], &[5; 4_000]])),
    ];
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for (who, run) in all {
        for (index, expected) in expected.iter_mut().enumerate() {
            if who as usize != index {
                expected.extend_from_slice(run.octets());
            }
        }
        match who {
            0 => fanout.stage(&run, Some(a), Some(&mut of_a)),
            1 => fanout.stage(&run, Some(b), Some(&mut of_b)),
            _ => fanout.stage(&run, None, None),
        }
    }
    fanout.seal();
    for (own, expected) in [of_a, of_b, Own::default()].iter().zip(expected) {
        assert!(queued(&mut delivered(&fanout, own)).0 == expected);
    }
}

#[test]
fn ones_own_pieces_are_one_only_if_they_lie_next_to_each_other_in_one_part() {
    let [a] = ids();
    let mut own = Own::default();
    let mut fanout = Fanout::default();
    (0..2).for_each(|_| fanout.stage(&run(&[b"mine"]), Some(a), Some(&mut own)));
    assert_eq!(fanout.pieces.len(), 1);
    // A part of its own; then in the next part at the place where the piece in the first part ends.
    fanout.stage(&large(1, SHARE_OCTETS), None, None);
    fanout.stage(&run(&[b"them", b"them"]), None, None);
    fanout.stage(&run(&[b"mine"]), Some(a), Some(&mut own));
    fanout.seal();
    assert_eq!(fanout.pieces.len(), 2);
    let expected = [wire(&[1; SHARE_OCTETS]), wire(b"them"), wire(b"them")].concat();
    assert!(queued(&mut delivered(&fanout, &own)) == (expected, 3));
}

#[test]
fn an_entry_is_no_larger_than_a_part_and_blocks_are_numbered_in_their_order() {
    let mut fanout = Fanout::default();
    (0..400).for_each(|_| fanout.stage(&run(&[&[1; 998]]), None, None));
    fanout.seal();
    assert!(fanout.parts.iter().all(|part| part.octets.len() <= PART_OCTETS));
    assert!(fanout.parts.is_sorted_by(|one, next| one.block < next.block), "a part fills its block");
    fanout.stage(&large(1, SHARE_OCTETS), None, None);
    fanout.stage(&large(2, SHARE_OCTETS), None, None);
    let [.., before, one, two] = &fanout.parts[..] else { panic!("three parts") };
    assert!(before.block < one.block && one.block < two.block);
}

#[test]
fn many_messages_of_others_are_one_slice() {
    let [a] = ids();
    let mut own = Own::default();
    let mut fanout = Fanout::default();
    (0..100).for_each(|_| fanout.stage(&run(&[b"others"]), None, None));
    fanout.stage(&run(&[b"mine"]), Some(a), Some(&mut own));
    (0..100).for_each(|_| fanout.stage(&run(&[b"others"]), None, None));
    fanout.seal();
    let mut slices = [&[][..]; 8];
    assert_eq!(delivered(&fanout, &Own::default()).gather(&mut slices), 1);
    let mut slices = [&[][..]; 8];
    assert_eq!(delivered(&fanout, &own).gather(&mut slices), 2);
}

#[test]
fn a_turn_of_ones_own_alone_is_nothing() {
    let [a] = ids();
    let mut own = Own::default();
    let mut fanout = Fanout::default();
    fanout.stage(&run(&[b"1", b"2"]), Some(a), Some(&mut own));
    fanout.seal();
    assert!(delivered(&fanout, &own).is_empty());
}

#[test]
fn a_turn_is_forgotten_with_its_owners() {
    let [a, b] = ids();
    let (mut of_a, mut of_b) = (Own::default(), Own::default());
    let mut fanout = Fanout::default();
    fanout.stage(&run(&[b"1"]), Some(a), Some(&mut of_a));
    fanout.stage(&run(&[b"2"]), Some(b), Some(&mut of_b));
    fanout.seal();
    assert_eq!(fanout.clear().collect::<Vec<_>>(), [a, b]);
    assert!(fanout.is_empty());
    fanout.stage(&run(&[b"3"]), None, None);
    fanout.seal();
    assert_eq!(queued(&mut delivered(&fanout, &Own::default())), (wire(b"3"), 1));
}

#[test]
fn a_large_message_is_not_copied_if_nobody_else_holds_it() {
    let mut fanout = Fanout::default();
    let alone = large(1, SHARE_OCTETS);
    let address = alone.octets().as_ptr();
    fanout.stage(&alone, None, None);
    let held_elsewhere = large(2, SHARE_OCTETS);
    let kept = held_elsewhere.octets().clone();
    fanout.stage(&held_elsewhere, None, None);
    fanout.seal();
    let queue = delivered(&fanout, &Own::default());
    let mut slices = [&[][..]; 4];
    assert_eq!(queue.gather(&mut slices), 2);
    assert_eq!(slices[0].as_ptr(), address);
    assert_ne!(slices[1].as_ptr(), kept.as_ptr());
}

/// One turn of `run` for one reader, who keeps it.
fn turn(fanout: &mut Fanout, run: &Run, reader: &mut SendQueue) {
    fanout.stage(run, None, None);
    fanout.seal();
    fanout.deliver(reader, &Own::default());
    fanout.clear().for_each(drop);
}

#[test]
fn what_is_held_is_what_some_peer_still_has_to_read() {
    let mut fanout = Fanout::default();
    let mut reader = SendQueue::new(UNLIMITED);
    (0..10).for_each(|n| turn(&mut fanout, &large(n, 100_000 - 9), &mut reader));
    assert!(fanout.holds_more_than(999_999) && !fanout.holds_more_than(1_000_000));
    queued(&mut reader);
    assert!(!fanout.holds_more_than(0));
}

#[test]
fn a_turn_does_not_count_before_it_is_over() {
    let mut fanout = Fanout::default();
    let mut reader = SendQueue::new(UNLIMITED);
    fanout.stage(&large(1, 1_000_000), None, None);
    fanout.seal();
    assert!(!fanout.holds_more_than(0));
    fanout.deliver(&mut reader, &Own::default());
    fanout.clear().for_each(drop);
    assert!(fanout.holds_more_than(999_999));
}

#[test]
fn blocks_that_were_read_are_used_again() {
    let mut fanout = Fanout::default();
    let mut addresses = Vec::new();
    for n in 0..50 {
        let mut reader = SendQueue::new(UNLIMITED);
        turn(&mut fanout, &run(&[&[n; 10_000]]), &mut reader);
        let mut slices = [&[][..]; 1];
        assert_eq!(reader.gather(&mut slices), 1);
        addresses.push(slices[0].as_ptr() as usize);
        assert_eq!(slices[0][100], n);
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert!(addresses.len() <= 2 * PART_OCTETS / 10_000, "{} places", addresses.len());
    assert!(fanout.blocks.octets <= 2 * PART_OCTETS as u64, "{} octets", fanout.blocks.octets);
}

#[test]
fn what_nobody_reads_any_more_is_let_go_even_if_nobody_asks_how_much_it_is() {
    let mut fanout = Fanout::default();
    for n in 0..100 {
        turn(&mut fanout, &large(n, 100_000), &mut SendQueue::new(UNLIMITED));
    }
    assert!(fanout.blocks.octets <= 2 * SWEEP_OCTETS, "{}", fanout.blocks.octets);
}

#[test]
fn a_large_block_is_not_used_again_as_a_small_one() {
    let mut fanout = Fanout::default();
    turn(&mut fanout, &large(1, 8 << 20), &mut SendQueue::new(UNLIMITED));
    turn(&mut fanout, &run(&[b"small"]), &mut SendQueue::new(UNLIMITED));
    assert!(fanout.stage.capacity() <= PART_OCTETS, "{}", fanout.stage.capacity());
}

#[test]
fn memory_of_a_large_message_is_lent_when_all_have_read_it() {
    let mut fanout = Fanout::default();
    let mut reader = SendQueue::new(UNLIMITED);
    turn(&mut fanout, &large(1, 100_000), &mut reader);
    let mut slices = [&[][..]; 1];
    assert_eq!(reader.gather(&mut slices), 1);
    let (place, octets) = (slices[0].as_ptr(), slices[0].len());
    assert_eq!(fanout.lend(octets), None, "it is not read");
    reader.sent(octets, &mut Packs::default());
    let lent = fanout.lend(octets).expect("it is read");
    assert_eq!((lent.as_ptr(), lent.len()), (place, 0));
    assert_eq!(fanout.blocks.octets, 0);
    assert_eq!(fanout.lend(octets), None);
}

#[test]
fn memory_is_lent_also_while_older_blocks_of_other_sizes_stay() {
    let mut fanout = Fanout::default();
    // This one is being filled from now on.
    turn(&mut fanout, &run(&[b"small"]), &mut SendQueue::new(UNLIMITED));
    let octets = large(1, 100_000).octets().len();
    let mut place = None;
    for n in 0..10 {
        let memory = fanout.lend(octets);
        assert!(place.is_none() || memory.as_ref().map(|memory| memory.as_ptr()) == place, "it is used again");
        let mut memory = memory.unwrap_or_default();
        memory.extend_from_slice(large(n, 100_000).octets());
        place = Some(memory.as_ptr());
        turn(&mut fanout, &Run::from_wire(memory.into(), 1), &mut SendQueue::new(UNLIMITED));
    }
}

#[test]
fn who_lags_by_a_large_message_lags_more_than_who_lags_by_what_came_behind_it() {
    let mut fanout = Fanout::default();
    let [mut all, mut behind, mut last] = [(); 3].map(|()| SendQueue::new(UNLIMITED));
    turn(&mut fanout, &run(&[b"opens a block"]), &mut SendQueue::new(UNLIMITED));
    turn(&mut fanout, &large(1, 100_000), &mut all);
    turn(&mut fanout, &run(&[b"into the open block"]), &mut behind);
    turn(&mut fanout, &run(&[b"likewise"]), &mut last);
    let lags = [all, behind, last].map(|queue| queue.oldest_block().expect("it lags"));
    assert!(lags[0] < lags[1] && lags[1] == lags[2], "{lags:?}");
}

/// A read that the log has taken over, with these messages and then nothing, as runs of one each.
fn read(fanout: &mut Fanout, bodies: &[Vec<u8>]) -> Vec<Run> {
    let octets: Vec<u8> = bodies.iter().flat_map(|body| wire(body)).collect();
    let read = fanout.reads_mut().keep(&mut BytesMut::from(&octets[..]), octets.len(), None).unwrap();
    let mut at = 0;
    let run = |body: &Vec<u8>| {
        let start = at;
        at += wire(body).len();
        Run::from_wire(read.slice(start..at), 1)
    };
    bodies.iter().map(run).collect()
}

#[test]
fn what_lies_in_a_read_is_not_copied_and_one_part_as_far_as_it_may_be() {
    let mut fanout = Fanout::default();
    let bodies: Vec<Vec<u8>> = (0..20).map(|n| vec![n; 10_000]).collect();
    let runs = read(&mut fanout, &bodies);
    runs.iter().for_each(|run| fanout.stage(run, None, None));
    fanout.seal();
    let queue = delivered(&fanout, &Own::default());
    let mut slices = [&[][..]; 8];
    assert_eq!(queue.gather(&mut slices), 4, "six of them are no larger than a part");
    assert_eq!(slices[0].len(), 6 * runs[0].octets().len());
    for (slice, first) in slices.iter().zip([0, 6, 12, 18]) {
        assert_eq!(slice.as_ptr(), runs[first].octets().as_ptr());
    }
}

#[test]
fn what_lies_in_a_read_keeps_its_place_among_the_others_and_does_not_go_back_to_its_owner() {
    let [a, b] = ids();
    let (mut of_a, mut of_b) = (Own::default(), Own::default());
    let mut fanout = Fanout::default();
    let sizes = [10_000, 12_000, 30, 9_000, 9_000, 70_000, 20_000, 8_500];
    let bodies: Vec<Vec<u8>> = sizes.iter().zip(1..).map(|(size, n)| vec![n; *size]).collect();
    let mut runs = read(&mut fanout, &bodies);
    // Another's comes between; and one of the read that is next to the one before, but is staged later.
    let later = runs.remove(4);
    runs.insert(5, run(&[b"other"]));
    runs.push(later);
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for (n, run) in runs.iter().enumerate() {
        let of_other = run.octets().len() < 10;
        let (who, owner, own) = if of_other { (1, b, &mut of_b) } else { (0, a, &mut of_a) };
        fanout.stage(run, Some(owner), Some(own));
        // Staged by nobody in particular, too.
        if n == 2 {
            fanout.stage(&runs[1], None, None);
        }
        for (index, expected) in expected.iter_mut().enumerate() {
            if index != who {
                expected.extend_from_slice(run.octets());
            }
            if n == 2 {
                expected.extend_from_slice(runs[1].octets());
            }
        }
    }
    fanout.seal();
    for (own, expected) in [of_a, of_b, Own::default()].iter().zip(expected) {
        assert!(queued(&mut delivered(&fanout, own)).0 == expected);
    }
    assert!(fanout.parts.is_sorted_by(|one, next| one.block < next.block));
}

#[test]
fn a_read_is_held_until_all_have_passed_it_and_counts_whole() {
    let mut fanout = Fanout::default();
    let mut reader = SendQueue::new(UNLIMITED);
    let runs = read(&mut fanout, &[vec![1; 10_000], vec![2; 90_000]]);
    let octets = runs.iter().map(|run| run.octets().len() as u64).sum::<u64>();
    fanout.stage(&runs[0], None, None);
    drop(runs);
    fanout.seal();
    fanout.deliver(&mut reader, &Own::default());
    assert!(!fanout.holds_more_than(0), "the turn is not over");
    fanout.clear().for_each(drop);
    assert!(fanout.holds_more_than(octets - 1) && !fanout.holds_more_than(octets));
    // What is copied counts besides.
    turn(&mut fanout, &run(&[b"small"]), &mut reader);
    assert!(fanout.holds_more_than(octets) && !fanout.holds_more_than(octets + PART_OCTETS as u64));
    queued(&mut reader);
    assert!(!fanout.holds_more_than(PART_OCTETS as u64));
}

#[test]
fn the_pieces_of_several_owners_in_one_part_of_a_read_are_told_apart() {
    let [a, b] = ids();
    let mut own = [Own::default(), Own::default()];
    let mut fanout = Fanout::default();
    let runs = read(&mut fanout, &[vec![1; 10_000], vec![2; 10_000], vec![3; 10_000], vec![4; 10_000]]);
    for (run, n) in runs.iter().zip([0, 1, 0, 1]) {
        fanout.stage(run, Some([a, b][n]), Some(&mut own[n]));
    }
    fanout.seal();
    assert_eq!(fanout.parts.len(), 1);
    let of = |n: usize| [&runs[n].octets()[..], &runs[n + 2].octets()[..]].concat();
    for (n, own) in own.iter().enumerate() {
        assert!(queued(&mut delivered(&fanout, own)) == (of(1 - n), 2));
    }
}

use alloc::vec;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::entry::PACKED_OCTETS;
use super::*;
use crate::message::Message;
use crate::wire::{FrameKind, encode};

const UNLIMITED: Mark = Mark { messages: None, octets: None };

fn queue() -> SendQueue {
    SendQueue::new(UNLIMITED)
}

fn wire(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, FrameKind::Last, body);
    octets
}

fn push(queue: &mut SendQueue, body: &[u8]) {
    assert!(queue.push(&mut body.into(), &mut Packs::default()), "there is room");
}

fn ping(queue: &mut SendQueue) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::ping(&mut octets, 0, b"");
    queue.control().extend_from_slice(&octets);
    octets
}

/// What is to be written, up to so many slices.
fn shown(queue: &SendQueue, slices: usize) -> Vec<u8> {
    let mut all = vec![&[][..]; slices];
    let filled = queue.gather(&mut all);
    assert!(all[..filled].iter().all(|slice| !slice.is_empty()), "no slice is empty");
    all[..filled].concat()
}

/// Writes everything, so many octets at a time.
fn written(queue: &mut SendQueue, at_once: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let next = shown(queue, 3);
        if next.is_empty() {
            assert!(queue.is_empty());
            return all;
        }
        let n = next.len().min(at_once);
        all.extend_from_slice(&next[..n]);
        queue.sent(n, &mut Packs::default());
    }
}

fn one_of_each(queue: &mut SendQueue) -> Vec<u8> {
    let large = Message::builder().frame("head").frame(vec![5; 9_000]).frame("tail").finish();
    let block = [wire(b"b1"), wire(b"b2")].concat();
    push(queue, b"small");
    push(queue, b"");
    assert!(queue.push(&mut large.clone().into(), &mut Packs::default()));
    queue.push_block(Bytes::from(block.clone()), 2, 1);
    push(queue, &[3; 2_600]);
    let mut all = [wire(b"small"), wire(b"")].concat();
    large.wire().pieces().iter().for_each(|piece| all.extend_from_slice(piece));
    [all, block, wire(&[3; 2_600])].concat()
}

#[test]
fn entries_go_out_in_the_order_of_the_calls_however_little_is_written() {
    for at_once in [1, 2, 7, 1_000, usize::MAX] {
        let mut queue = queue();
        let all = one_of_each(&mut queue);
        assert_eq!(queue.messages(), 6);
        assert!(written(&mut queue, at_once) == all, "{at_once} at once");
        assert_eq!((queue.messages(), queue.charged(), queue.messages_sent()), (0, 0, 6));
    }
}

#[test]
fn a_command_goes_before_what_waits_and_never_inside_what_was_begun() {
    let all = one_of_each(&mut queue());
    let packed = wire(b"small").len() + wire(b"").len();
    let last = wire(&[3; 2_600]).len();
    let large = all.len() - packed - wire(b"b1").len() - wire(b"b2").len() - last;
    let ends = [0, packed, packed + large, all.len() - last, all.len()];
    for begun in (0..40).chain((40..all.len() - 400).step_by(499)).chain(all.len() - 400..all.len()) {
        let mut queue = queue();
        one_of_each(&mut queue);
        let mut octets = Vec::new();
        while octets.len() < begun {
            let next = shown(&queue, 2);
            let n = next.len().min(begun - octets.len());
            octets.extend_from_slice(&next[..n]);
            queue.sent(n, &mut Packs::default());
        }
        let ping = ping(&mut queue);
        octets.extend(written(&mut queue, 1_000));
        let at = *ends.iter().find(|end| **end >= begun).expect("an entry ends");
        assert_eq!(octets.splice(at..at + ping.len(), []).collect::<Vec<u8>>(), ping, "{begun} begun");
        assert!(octets == all, "nothing else has changed");
    }
}

#[test]
fn small_messages_that_wait_are_packed_into_one_slice() {
    let mut queue = queue();
    (0..10).for_each(|n| push(&mut queue, &[n; 10]));
    let mut slices = [&[][..]; 8];
    assert_eq!(queue.gather(&mut slices), 1);
    assert_eq!(queue.messages(), 10);
    assert_eq!(queue.charged(), 10 * 12 + ENTRY_OCTETS as u64);
}

#[test]
fn a_message_that_is_not_small_stays_where_it_is() {
    let mut queue = queue();
    let message = Message::from(vec![1; 3_000]);
    assert!(queue.push(&mut message.clone().into(), &mut Packs::default()));
    push(&mut queue, b"small");
    let mut slices = [&[][..]; 8];
    assert_eq!(queue.gather(&mut slices), 2);
    assert_eq!(slices[0].as_ptr(), message.wire().pieces()[0].as_ptr());
}

#[test]
fn a_small_message_goes_out_behind_one_that_was_begun() {
    let mut queue = queue();
    push(&mut queue, b"begun");
    queue.sent(3, &mut Packs::default());
    push(&mut queue, b"next");
    assert_eq!(written(&mut queue, 1), [&wire(b"begun")[3..], &wire(b"next")].concat());
    assert_eq!((queue.messages(), queue.charged(), queue.messages_sent()), (0, 0, 2));
}

#[test]
fn a_packed_entry_does_not_grow_without_end() {
    let mut queue = queue();
    (0..1_000).for_each(|_| push(&mut queue, &[1; 98]));
    assert!(queue.entries.iter().all(|entry| entry.octets <= PACKED_OCTETS));
    assert_eq!(queue.entries.len(), 1_000usize.div_ceil(PACKED_OCTETS / 100));
}

#[test]
fn the_mark_counts_messages_and_octets_and_an_empty_queue_takes_any_one() {
    let mut queue = SendQueue::new(Mark { messages: Some(2), octets: Some(1_000) });
    push(&mut queue, &[0; 5_000]);
    assert!(!queue.push(&mut "more".into(), &mut Packs::default()));
    written(&mut queue, usize::MAX);
    push(&mut queue, &[0; 300]);
    assert!(!queue.push(&mut vec![0; 700].into(), &mut Packs::default()), "the octets would be too many");
    assert!(!queue.is_full());
    push(&mut queue, &[0; 300]);
    assert!(queue.is_full() && !queue.has_room());
    assert!(!queue.push(&mut "".into(), &mut Packs::default()), "the messages would be too many");
}

#[test]
fn what_is_written_first_does_not_make_a_queue_full_however_large_it_is() {
    let mut queue = SendQueue::new(Mark { messages: None, octets: Some(10_000) });
    let block = |queue: &mut SendQueue, octets: usize| queue.push_block(wire(&vec![1; octets]).into(), 1, 1);
    block(&mut queue, 50_000);
    block(&mut queue, 8_000);
    assert!(!queue.is_full());
    queue.sent(40_000, &mut Packs::default());
    assert!(!queue.is_full());
    block(&mut queue, 2_000);
    assert!(queue.is_full());
    queue.sent(11_000, &mut Packs::default());
    assert!(!queue.is_full());
}

#[test]
fn broadcasts_are_given_up_without_what_is_begun_and_without_messages_for_this_peer_alone() {
    let mut queue = queue();
    let block = |queue: &mut SendQueue, body: &[u8]| queue.push_block(wire(body).into(), 1, 1);
    block(&mut queue, b"begun");
    push(&mut queue, b"for it alone");
    block(&mut queue, b"for all");
    queue.sent(1, &mut Packs::default());
    assert_eq!(queue.begun_block(), Some((1, wire(b"begun").len())));
    assert_eq!((queue.discard_broadcasts(), queue.messages()), (1, 2));
    assert_eq!(written(&mut queue, 100), [&wire(b"begun")[1..], &wire(b"for it alone")].concat());
    assert_eq!((queue.begun_block(), queue.charged()), (None, 0));
}

#[test]
fn there_is_room_again_at_half_of_the_mark() {
    let mut queue = SendQueue::new(Mark { messages: Some(4), octets: None });
    (0..4).for_each(|_| push(&mut queue, &[0; 3_000]));
    let octets = wire(&[0; 3_000]).len();
    let room: Vec<bool> = (0..4)
        .map(|_| {
            queue.sent(octets, &mut Packs::default());
            queue.has_room()
        })
        .collect();
    assert_eq!(room, [false, false, true, true]);
}

#[test]
fn what_was_not_begun_comes_back_whole_and_in_order() {
    let bodies: [&[u8]; 5] = [b"one", b"two", &[3; 2_600], b"four", b"five"];
    let all: Vec<u8> = bodies.iter().flat_map(|body| wire(body)).collect();
    let ends: Vec<usize> = bodies
        .iter()
        .scan(0, |end, body| {
            *end += wire(body).len();
            Some(*end)
        })
        .collect();
    for sent in 0..=all.len() {
        let mut queue = queue();
        bodies.iter().for_each(|body| push(&mut queue, body));
        queue.sent(sent, &mut Packs::default());
        queue.settle();
        let whole = ends.iter().filter(|end| **end <= sent).count();
        let begun = usize::from(sent > 0 && !ends.contains(&sent));
        assert_eq!(queue.messages_sent(), whole as u64, "{sent} sent");
        assert_eq!(queue.messages(), (bodies.len() - whole) as u64, "{sent} sent");
        let unsent: Vec<Message> = queue.into_unsent().flat_map(Entry::into_messages).collect();
        let expected: Vec<Message> = bodies[whole + begun..].iter().map(|body| Message::from(*body)).collect();
        assert_eq!(unsent, expected, "{sent} sent");
    }
}

#[test]
fn discarding_leaves_what_was_begun_and_counts_the_rest() {
    let mut queue = queue();
    push(&mut queue, &[1; 3_000]);
    push(&mut queue, &[2; 3_000]);
    queue.push_block(Bytes::from(wire(b"3")), 1, 1);
    queue.sent(1, &mut Packs::default());
    assert_eq!(queue.discard_unsent(), 2);
    assert_eq!(queue.messages(), 1);
    assert_eq!(written(&mut queue, usize::MAX), wire(&[1; 3_000])[1..]);
    assert_eq!(queue.charged(), 0);
}

#[test]
fn only_a_block_that_can_be_given_up_counts_as_held() {
    let mut queue = queue();
    push(&mut queue, &[1; 3_000]);
    assert_eq!(queue.oldest_block(), None);
    queue.push_block(Bytes::from(wire(b"2")), 1, 7);
    queue.push_block(Bytes::from(wire(b"3")), 1, 8);
    assert_eq!(queue.oldest_block(), Some(7));
    queue.sent(wire(&[1; 3_000]).len() + 1, &mut Packs::default());
    assert_eq!(queue.oldest_block(), Some(8));
    queue.discard_unsent();
    assert_eq!(queue.oldest_block(), None);
    let mut queue = self::queue();
    queue.push_block(Bytes::from(wire(b"4")), 1, 9);
    assert_eq!(queue.oldest_block(), Some(9));
}

#[test]
fn last_words_are_the_commands_unless_a_message_was_begun() {
    let mut idle = queue();
    let ping_octets = ping(&mut idle);
    idle.sent(2, &mut Packs::default());
    push(&mut idle, b"never sent");
    assert_eq!(idle.take_last_words(), ping_octets[2..]);

    let mut busy = queue();
    push(&mut busy, b"begun");
    busy.sent(1, &mut Packs::default());
    ping(&mut busy);
    assert_eq!(busy.take_last_words(), b""[..]);
}

#[test]
fn an_empty_queue_holds_no_memory_to_speak_of_and_enough_for_a_steady_flow() {
    let mut queue = queue();
    push(&mut queue, &[1; 3_000]);
    written(&mut queue, 10_000);
    assert_eq!(queue.entries.capacity(), KEPT_ENTRIES);
    (0..1_000).for_each(|_| push(&mut queue, &[1; 3_000]));
    ping(&mut queue);
    written(&mut queue, 10_000);
    assert!(queue.entries.capacity() <= KEPT_ENTRIES);
    assert_eq!(queue.control.capacity(), 0);
    (0..1_000).for_each(|_| push(&mut queue, &[1; 3_000]));
    queue.sent(1, &mut Packs::default());
    queue.discard_unsent();
    assert!(queue.entries.capacity() <= 2 * KEPT_ENTRIES);
}

/// Queues messages of these sizes, and says where the octets lie that are to be written.
fn fill(queue: &mut SendQueue, sizes: impl IntoIterator<Item = usize>, packs: &mut Packs) -> Vec<*const u8> {
    sizes.into_iter().for_each(|size| assert!(queue.push(&mut vec![1; size].into(), packs), "there is room"));
    let mut slices = [&[][..]; 8];
    let filled = queue.gather(&mut slices);
    slices[..filled].iter().map(|slice| slice.as_ptr()).collect()
}

#[test]
fn the_memory_of_packed_messages_that_were_sent_is_used_again() {
    // Of one size, and of many.
    for sizes in [[98; 300], core::array::from_fn(|n| n * 7 % 200)] {
        let (mut queue, mut packs) = (queue(), Packs::default());
        let mut places = fill(&mut queue, sizes, &mut packs);
        assert_eq!(places.len(), 2);
        for _ in 0..3 {
            queue.sent(usize::MAX, &mut packs);
            let mut again = fill(&mut queue, sizes, &mut packs);
            places.sort();
            again.sort();
            assert_eq!(again, places);
        }
    }
}

/// The memory of what is packed.
fn capacity(entry: &Entry) -> usize {
    match &entry.body {
        Body::Packed(packed) => packed.capacity(),
        _ => 0,
    }
}

#[test]
fn the_entry_behind_a_full_one_has_room_for_as_much_at_once() {
    let (mut queue, mut packs) = (queue(), Packs::default());
    fill(&mut queue, [98; PACKED_OCTETS / 100 + 1], &mut packs);
    let capacities: Vec<usize> = queue.entries.iter().map(capacity).collect();
    assert_eq!(capacities, [PACKED_OCTETS; 2]);
    // One that is not small stays where it is.
    queue.sent(usize::MAX, &mut packs);
    fill(&mut queue, vec![98; PACKED_OCTETS / 100], &mut packs);
    fill(&mut queue, [3_000], &mut packs);
    assert_eq!(queue.entries.iter().map(capacity).collect::<Vec<_>>(), [PACKED_OCTETS, 0]);
}

#[test]
fn a_queue_takes_no_more_than_four_times_what_it_counts() {
    let (mut queue, mut packs) = (queue(), Packs::default());
    let flow = [98; 1_000];
    fill(&mut queue, flow, &mut packs);
    queue.sent(usize::MAX, &mut packs);
    assert!(packs.octets() > 5 * PACKED_OCTETS, "there is much to be given");
    // Two small ones between large ones are never more than two.
    for _ in 0..20 {
        fill(&mut queue, [3, 3, 3_000], &mut packs);
    }
    assert!(queue.entries.iter().all(|entry| capacity(entry) as u64 <= 4 * entry.charge()));
    assert!(queue.entries.iter().any(|entry| capacity(entry) > 0));
}

#[test]
fn no_more_memory_is_kept_than_of_64_entries() {
    let (mut queue, mut packs) = (queue(), Packs::default());
    fill(&mut queue, vec![98; 100 * (PACKED_OCTETS / 100)], &mut packs);
    assert_eq!(packs.octets(), 0);
    queue.sent(usize::MAX, &mut packs);
    assert_eq!(packs.octets(), 64 * PACKED_OCTETS);
}

#[cfg(feature = "net")]
#[test]
fn memory_goes_from_one_to_another_as_far_as_that_has_a_place_for_it() {
    let (mut queue, mut packs, mut other) = (queue(), Packs::default(), Packs::default());
    for packs in [&mut packs, &mut other] {
        fill(&mut queue, vec![98; 40 * (PACKED_OCTETS / 100)], &mut Packs::default());
        queue.sent(usize::MAX, packs);
        assert_eq!(packs.octets(), 40 * PACKED_OCTETS);
    }
    other.take(&mut packs);
    assert_eq!((other.octets(), packs.octets()), (64 * PACKED_OCTETS, 16 * PACKED_OCTETS));
    other = Packs::default();
    other.take(&mut packs);
    assert_eq!((other.octets(), packs.octets()), (16 * PACKED_OCTETS, 0));
}

/// The bodies of what is queued, in order.
fn bodies(queue: SendQueue) -> Vec<Vec<u8>> {
    queue
        .into_unsent()
        .flat_map(Entry::into_messages)
        .map(|message| message.frames().flatten().copied().collect())
        .collect()
}

/// Messages of which no two are alike.
fn different(sizes: &[usize]) -> Vec<Vec<u8>> {
    let body = |(n, size): (usize, &usize)| [&(n as u32).to_be_bytes()[..], &vec![7; *size]].concat();
    sizes.iter().enumerate().map(body).collect()
}

proptest! {
    #[test]
    fn as_many_messages_move_to_another_queue_as_there_is_room_for(
        before in vec(0..3_000_usize, 0..5),
        waiting in vec(prop_oneof![8 => 0..60_usize, 1 => 2_000..3_000_usize], 1..1_500),
        messages in option::of(1..2_000_u32),
        octets in option::of(1..100_000_u64),
    ) {
        let mut packs = Packs::default();
        let sizes = [&before[..], &waiting].concat();
        let all = different(&sizes);
        let (mut queue, mut from) = (queue(), queue());
        all[..before.len()].iter().for_each(|body| push(&mut queue, body));
        all[before.len()..].iter().for_each(|body| push(&mut from, body));
        queue.mark = Mark { messages, octets };

        from.move_to(&mut queue, &mut packs);
        prop_assert_eq!(queue.messages() + from.messages(), all.len() as u64);
        for queue in [&queue, &from] {
            prop_assert_eq!(queue.charged(), queue.entries.iter().map(Entry::charge).sum::<u64>());
        }
        let moved = queue.messages() as usize;
        let next = all.get(moved).map(|body| wire(body).len() + ENTRY_OCTETS);
        let room = next.is_some_and(|octets| queue.mark.admits(queue.messages, queue.charged, 1, octets as u64));
        prop_assert!(!room, "only {moved} were moved");
        let one_alone = before.is_empty() && moved == 1;
        if moved > before.len() && !one_alone {
            prop_assert!(messages.is_none_or(|mark| moved <= mark as usize) && octets.is_none_or(|mark| queue.charged() <= mark));
        }
        for entry in queue.entries.iter().chain(&from.entries) {
            prop_assert!(capacity(entry) as u64 <= 4 * entry.charge());
        }
        prop_assert_eq!([bodies(queue), bodies(from)].concat(), all);
    }

    #[test]
    fn what_is_put_back_comes_before_the_others_and_counts_as_before(sizes in vec(0..3_000_usize, 1..40), at in 0..40_usize) {
        let all = different(&sizes);
        let mut waiting = queue();
        all.iter().for_each(|body| push(&mut waiting, body));
        let before = (waiting.messages(), waiting.charged());
        let front = waiting.take_front().expect("there are some");
        let (messages, mut packs) = (front.into_messages(), Packs::default());
        // Some of them were passed on.
        let passed = at % messages.len();
        waiting.put_back(Entry::of_all(messages.into_iter().skip(passed), &mut packs).into_iter());
        prop_assert_eq!(waiting.messages(), before.0 - passed as u64);
        prop_assert!(waiting.charged() <= before.1);
        prop_assert_eq!(waiting.charged(), waiting.entries.iter().map(Entry::charge).sum::<u64>());
        prop_assert_eq!(bodies(waiting), &all[passed..]);
    }
}

//! How often memory is allocated once everything runs steadily. Counted, not timed: it is the same on every machine.
//!
//! What is not zero is what it costs now, as a bound: whoever makes it less may lower it.

#[path = "../benches/support/mod.rs"]
mod support;

use support::loads::{self, Load, TURN_OCTETS};

/// What a run, and an entry of packed messages, holds at most.
const RUN_OCTETS: usize = 16 * 1024;

/// Enough to go through the largest block that is used again more than once.
const TURNS: usize = 40;

/// The allocations of each turn, after some to get used to the load.
fn per_turn(mut load: Load) -> u64 {
    for _ in 0..4 {
        load.turn();
    }
    let turns: Vec<u64> = (0..TURNS).map(|_| allocation_counter::measure(|| load.turn()).count_total).collect();
    assert!(turns.iter().all(|turn| *turn == turns[0]), "not steady: {turns:?}");
    turns[0]
}

#[track_caller]
fn at_most(bound: u64, name: &str, load: Load) {
    let counted = per_turn(load);
    assert!(counted <= bound, "{name}: {counted} allocations per turn, and it may be {bound}");
}

#[test]
fn what_is_counted_is_what_is_allocated() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7)))).count_total, 1);
}

#[test]
fn a_relay_forwards_without_an_allocation() {
    for octets in [16, 64, 1000] {
        for senders in [1, 8, 64] {
            let load = loads::relay(64, senders, octets, TURN_OCTETS);
            at_most(0, &format!("{senders} of 64 send {octets} octets"), load);
        }
    }
}

/// An inbox that was empty, and a send queue, keep room for four entries. A turn of 1 MiB brings 65 runs into the one and
/// 17 blocks into the other.
#[test]
fn a_relay_that_reads_a_mebibyte_at_once_allocates_as_often_as_its_queues_take_to_grow() {
    let (inbox, send_queue, receivers) = (6, 4, 63);
    for octets in [16, 64, 1000] {
        let load = loads::relay(64, 1, octets, 1 << 20);
        at_most(inbox + send_queue * receivers, &format!("1 MiB of {octets} octets each"), load);
    }
}

#[test]
fn a_broadcast_allocates_nothing() {
    for octets in [16, 64, 1024] {
        for senders in [1, 64] {
            at_most(0, &format!("{senders} of 64 send {octets} octets"), loads::fan_out(64, senders, octets));
        }
    }
}

#[test]
fn a_router_receives_nearly_full_runs_without_an_allocation() {
    // Of the smallest, more would pass the receive mark.
    for (octets, turn_octets) in [(16, RUN_OCTETS), (64, TURN_OCTETS), (1000, TURN_OCTETS)] {
        for peers in [1, 8] {
            let load = loads::router_receive(peers, octets, turn_octets);
            at_most(0, &format!("{octets} octets from each of {peers}"), load);
        }
    }
}

/// Its own memory, and the count of those who hold a part of it.
#[test]
fn a_router_allocates_twice_for_a_run_that_would_leave_much_of_a_block_empty() {
    for octets in [16, 64, 1000] {
        for peers in [1, 8] {
            let load = loads::router_receive(peers, octets, RUN_OCTETS / 2);
            at_most(2 * peers as u64, &format!("{octets} octets from each of {peers}"), load);
        }
    }
}

/// What grows is the memory of the first entry: from 256 octets to 4 KiB. Then it is of one size and used again.
#[test]
fn small_messages_are_sent_with_three_allocations_per_queue() {
    for octets in [16, 64] {
        for peers in [1, 8] {
            for load in [loads::dealer_send(peers, octets), loads::router_send(peers, octets)] {
                at_most(3 * peers as u64, &format!("{octets} octets to each of {peers}"), load);
            }
            // A message is made of the first of each queue.
            let load = loads::dealer_send_octets(peers, octets);
            at_most(4 * peers as u64, &format!("as octets, {octets} to each of {peers}"), load);
        }
    }
}

/// The first entry begins with 4 KiB for two; and the queue has room for 4 entries, and then for 8.
#[test]
fn messages_of_a_kibibyte_are_sent_with_three_allocations_per_queue() {
    for peers in [1, 8] {
        for load in [loads::dealer_send(peers, 1024), loads::router_send(peers, 1024)] {
            at_most(3 * peers as u64, &format!("1024 octets to each of {peers}"), load);
        }
    }
}

/// What grows is the queue: each message is an entry, and an empty queue keeps room for few.
#[test]
fn larger_messages_are_sent_with_as_many_allocations_as_the_queue_takes_to_grow() {
    for peers in [1, 8] {
        for load in [loads::dealer_send(peers, 3_000), loads::router_send(peers, 3_000)] {
            let doublings = (load.messages / peers).div_ceil(4).next_power_of_two().ilog2() + 1;
            at_most(u64::from(doublings) * peers as u64, &format!("3,000 octets to each of {peers}"), load);
        }
    }
}

#[test]
fn a_message_is_made_with_a_few_allocations() {
    for octets in [16, 64, 1024] {
        let of_turn = |each: u64, load: Load| (each * load.messages as u64, load);
        let (bound, load) = of_turn(1, loads::make_from_slice(octets));
        at_most(bound, "one frame", load);
        let (bound, load) = of_turn(3, loads::make_multipart(octets));
        at_most(bound, "an empty frame and another", load);
    }
    let load = loads::make_with_builder(1 << 20);
    at_most(5 * load.messages as u64, "an empty frame and a large one that is not copied", load);
}

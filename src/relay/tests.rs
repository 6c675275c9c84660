use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::socket::Closed;
use crate::socket::tests::harness::{Rig, wire};

/// A relay on a socket whose peers are scripted.
struct Room {
    rig: Rig<Router>,
    relay: Relay,
}

impl Room {
    fn new(options: RelayOptions, socket: Options) -> Room {
        Room { rig: Rig::router(options.apply(socket)), relay: Relay::new(options) }
    }

    fn join(&mut self, identity: &str) -> PeerId {
        let peer = self.rig.client(identity);
        self.turn();
        peer
    }

    /// One turn of the loop, and what is due at once.
    fn turn(&mut self) {
        loop {
            self.rig.came = false;
            self.relay.drive(self.rig.now, &mut self.rig.socket);
            self.rig.turn();
            if !self.rig.came && self.relay.poll_timeout(&self.rig.socket).is_none_or(|at| at > self.rig.now) {
                return;
            }
        }
    }

    fn says(&mut self, peer: PeerId, body: impl AsRef<[u8]>) {
        self.rig.offer(peer, &wire(body));
        self.turn();
    }

    fn events(&mut self) -> Vec<String> {
        core::iter::from_fn(|| self.relay.poll_event())
            .map(|event| match event {
                RelayEvent::Joined { peer, .. } => alloc::format!("{} joined", peer.index()),
                RelayEvent::Left(gone) => alloc::format!("{} left: {}", gone.peer.index(), gone.cause),
                other => alloc::format!("{other:?}"),
            })
            .collect()
    }
}

fn default_room() -> Room {
    Room::new(RelayOptions::new(), Options::new())
}

#[test]
fn what_one_client_sends_every_other_one_gets_as_it_came() {
    let mut room = default_room();
    let [a, b, c] = ["a", "b", "c"].map(|identity| room.join(identity));
    // An empty delimiter, and a header in its long form: both pass.
    let message = [&[1, 0][..], &[2, 0, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']].concat();
    room.rig.feed(a, &message);
    room.turn();
    assert_eq!(room.rig.written(b), message);
    assert_eq!(room.rig.written(c), message);
    assert_eq!(room.rig.written(a), b"");
}

#[test]
fn a_socket_that_gives_messages_and_not_runs_does_too() {
    let mut room = Room { rig: Rig::router(Options::new()), relay: Relay::new(RelayOptions::new()) };
    let [a, b] = ["a", "b"].map(|identity| room.join(identity));
    room.says(a, "one");
    room.says(a, vec![2; 50_000]);
    assert_eq!(room.rig.written(b), [wire("one"), wire(vec![2; 50_000])].concat());
    assert_eq!(room.rig.written(a), b"");
}

#[test]
fn who_joins_later_gets_what_comes_later() {
    let mut room = default_room();
    let a = room.join("a");
    room.rig.feed(a, &wire("before"));
    room.relay.drive(room.rig.now, &mut room.rig.socket);
    // Staged, and not written yet.
    let b = room.rig.accept();
    room.rig.feed(b, &crate::socket::tests::harness::hello(crate::wire::SocketType::Dealer, b"b"));
    room.turn();
    let before = wire("before");
    assert!(!room.rig.written(b).windows(before.len()).any(|octets| octets == before));
    room.says(a, "after");
    assert_eq!(room.rig.written(b), wire("after"));
}

#[test]
fn what_a_client_sent_before_it_left_still_goes_out() {
    let mut room = default_room();
    let [a, b] = ["a", "b"].map(|identity| room.join(identity));
    room.rig.feed(a, &wire("last words"));
    room.rig.socket.handle_closed(room.rig.now, a, Closed::Eof);
    room.turn();
    assert_eq!(room.rig.written(b), wire("last words"));
    assert_eq!(room.events(), ["0 joined", "1 joined", "0 left: closed by the peer"]);
    assert!(room.rig.socket.peer(a).is_none(), "its slot is free again");
}

#[test]
fn a_slot_that_is_used_again_in_the_same_turn_gets_nothing_of_before_and_loses_nothing_of_after() {
    let mut room = default_room();
    let [a, b] = ["a", "b"].map(|identity| room.join(identity));
    room.rig.feed(a, &wire("of a"));
    room.rig.socket.handle_closed(room.rig.now, a, Closed::Eof);
    room.relay.drive(room.rig.now, &mut room.rig.socket);
    let c = room.rig.client("c");
    assert_eq!((c.index(), c == a), (a.index(), false));
    room.says(b, "of b");
    assert_eq!(room.rig.written(b), wire("of a"));
    assert_eq!(room.rig.written(c), wire("of b"));
}

#[test]
fn a_full_client_loses_only_its_own_copy() {
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000), Options::new());
    let [a, slow, b] = ["a", "slow", "b"].map(|identity| room.join(identity));
    room.rig.limit(slow, 0);
    for n in 0..10u8 {
        room.says(a, [n; 500]);
    }
    let all: Vec<u8> = (0..10u8).flat_map(|n| wire([n; 500])).collect();
    assert_eq!(room.rig.written(b), all);
    let counts = room.rig.socket.peer(slow).unwrap().counts();
    // Two behind the one that is written first.
    assert_eq!((counts.queued, counts.dropped), (3, 7));
    assert!(room.rig.socket.peer(slow).unwrap().is_connected());
    assert_eq!(room.rig.socket.totals().dropped, 7);
}

#[test]
fn waiting_loses_nothing_even_if_a_turn_passes_what_all_may_hold_back() {
    let options = RelayOptions::new().mark_octets(100 << 20).slow(Slow::Wait { patience: Duration::from_secs(60) });
    let mut room = Room::new(options, Options::new().broadcast_octets(Some(1 << 20)));
    let [a, slow, b] = ["a", "slow", "b"].map(|identity| room.join(identity));
    room.rig.limit(slow, 10);
    let message = wire(vec![1; 50_000]);
    let mut sent = 0;
    // Until the relay does not read any more.
    while room.rig.socket.handle_input(room.rig.now, a, &message) == message.len() {
        sent += 1;
        room.turn();
        assert!(sent < 1_000);
    }
    assert!(sent > 20);
    // The last one taken waits in part.
    room.rig.limit(slow, usize::MAX);
    room.turn();
    let at_slow = room.rig.written(slow);
    assert_eq!(at_slow.len(), room.rig.written(b).len());
    assert!(at_slow.len() >= sent * message.len());
    assert_eq!(room.rig.socket.totals().dropped, 0);
}

#[test]
fn a_client_that_has_no_room_for_the_patience_is_disconnected_and_the_others_go_on() {
    let patience = Duration::from_secs(5);
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000).slow(Slow::Wait { patience }), Options::new());
    let [a, slow, b] = ["a", "slow", "b"].map(|identity| room.join(identity));
    room.rig.limit(slow, 0);
    (0..4u8).for_each(|n| room.says(a, [n; 500]));
    assert_eq!(room.rig.written(b).len(), 3 * wire([0; 500]).len());
    assert_eq!(room.relay.poll_timeout(&room.rig.socket), Some(room.rig.now + patience));
    room.rig.now = room.rig.now + patience;
    room.turn();
    assert_eq!(room.rig.written(b).len(), wire([0; 500]).len());
    assert_eq!(room.events().last().unwrap(), "1 left: it reads too slowly");
}

#[test]
fn a_client_that_makes_room_in_time_loses_nothing() {
    let patience = Duration::from_secs(5);
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000).slow(Slow::Wait { patience }), Options::new());
    let [a, slow] = ["a", "slow"].map(|identity| room.join(identity));
    room.rig.limit(slow, 0);
    (0..6u8).for_each(|n| room.says(a, [n; 500]));
    room.rig.now = room.rig.now + patience / 2;
    room.rig.limit(slow, usize::MAX);
    assert_eq!(room.relay.poll_timeout(&room.rig.socket), Some(Instant::ZERO), "there is room");
    room.turn();
    room.rig.now = room.rig.now + patience;
    room.turn();
    assert_eq!(room.rig.written(slow).len(), 6 * wire([0; 500]).len());
    assert!(room.rig.socket.peer(slow).is_some());
}

#[test]
fn a_client_that_leaves_is_waited_for_no_longer() {
    let slow = Slow::Wait { patience: Duration::from_secs(60) };
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000).slow(slow), Options::new());
    let [a, slow, b] = ["a", "slow", "b"].map(|identity| room.join(identity));
    room.rig.limit(slow, 0);
    (0..4u8).for_each(|n| room.says(a, [n; 500]));
    assert!(room.rig.written(b).len() < 4 * 500);
    room.rig.socket.handle_closed(room.rig.now, slow, Closed::Eof);
    assert_eq!(room.relay.poll_timeout(&room.rig.socket), Some(Instant::ZERO));
    room.turn();
    assert!(room.rig.written(b).ends_with(&wire([3; 500])));
}

#[test]
fn a_full_client_is_disconnected_at_once_if_so_told() {
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000).slow(Slow::Disconnect), Options::new());
    let [a, slow, b] = ["a", "slow", "b"].map(|identity| room.join(identity));
    room.rig.limit(slow, 0);
    (0..4u8).for_each(|n| room.says(a, [n; 500]));
    assert_eq!(room.rig.written(b).len(), 4 * wire([0; 500]).len());
    assert_eq!(room.events().last().unwrap(), "1 left: it reads too slowly");
}

#[test]
fn who_reads_a_large_message_is_not_slow_however_large_it_is() {
    let patience = Duration::from_secs(1);
    let policies = [Slow::Disconnect, Slow::Wait { patience }, Slow::Drop];
    for (slow, begun) in policies.into_iter().flat_map(|slow| [(slow, 0), (slow, 1)]) {
        let socket = Options::new().broadcast_octets(Some(2 << 20));
        let mut room = Room::new(RelayOptions::new().mark_octets(100_000).slow(slow), socket);
        let [a, b] = ["a", "b"].map(|identity| room.join(identity));
        // More than its mark, and more than all may hold back.
        let large = wire(vec![1; 3 << 20]);
        room.rig.limit(b, begun);
        room.rig.offer(a, &large);
        room.turn();
        let mut expected = large;
        for n in 0..12u8 {
            room.rig.limit(b, 250_000);
            room.rig.now = room.rig.now + patience / 2;
            room.says(a, [n; 500]);
            expected.extend(wire([n; 500]));
        }
        room.rig.limit(b, usize::MAX);
        assert_eq!(room.rig.written(b), expected, "{slow:?}, {begun} octets begun");
        assert_eq!((room.events().len(), room.rig.socket.totals().dropped), (2, 0), "{slow:?}, {begun} octets begun");
    }
}

#[test]
fn who_is_in_the_middle_of_a_large_message_is_not_waited_for_when_another_comes_into_the_middle_of_the_next() {
    let slow = Slow::Wait { patience: Duration::from_secs(60) };
    let mut room = Room::new(
        RelayOptions::new().mark_octets(100 << 20).slow(slow),
        Options::new().broadcast_octets(Some(1 << 20)),
    );
    let [a, ahead, behind] = ["a", "ahead", "behind"].map(|identity| room.join(identity));
    // Neither alone is too much beside one that is begun.
    let [first, second] = [1 << 20, 2 << 20].map(|octets| wire(vec![1; octets + 1_000]));
    room.rig.limit(behind, 1);
    room.rig.limit(ahead, 1);
    [&first, &second].iter().for_each(|message| room.rig.offer(a, message));
    room.turn();
    room.turn();
    room.rig.limit(ahead, first.len());
    room.says(a, "on");
    room.rig.limit(ahead, usize::MAX);
    assert!(room.rig.written(ahead).ends_with(&wire("on")), "nobody waits for the one behind");
}

#[test]
fn when_the_one_that_held_back_most_is_gone_nobody_is_waited_for_who_does_not() {
    let patience = Duration::from_secs(5);
    let options = RelayOptions::new().mark_octets(100 << 20).slow(Slow::Wait { patience });
    let mut room = Room::new(options, Options::new().broadcast_octets(Some(100_000)));
    let [a, slow, slower, b] = ["a", "slow", "slower", "b"].map(|identity| room.join(identity));
    let [first, large, last] = [20_000, 90_000, 20_000].map(|octets| wire(vec![1; octets]));
    room.rig.limit(slower, 0);
    room.rig.limit(slow, first.len() + large.len());
    room.rig.offer(a, &[&first[..], &large, &last].concat());
    room.turn();
    room.turn();
    // Now it has the large one to finish, and the last as the other one has. Both are to be waited for.
    room.rig.now = room.rig.now + patience * 4 / 5;
    room.rig.limit(slower, first.len() + 10);
    room.turn();
    room.rig.now = room.rig.now + patience / 5;
    room.says(a, "on");
    assert_eq!(room.events().last().unwrap(), "2 left: it reads too slowly");
    assert!(room.rig.written(b).ends_with(&wire("on")));
    assert!(room.rig.socket.peer(slow).is_some());
}

#[test]
fn of_several_that_lag_too_much_none_is_left_with_a_gap() {
    let options = RelayOptions::new().mark_octets(100 << 20).slow(Slow::Disconnect);
    let mut room = Room::new(options, Options::new().broadcast_octets(Some(100_000)));
    let [a, slow, slower, b] = ["a", "slow", "slower", "b"].map(|identity| room.join(identity));
    room.rig.limit(slower, 0);
    room.says(a, [1; 50_000]);
    room.rig.limit(slow, 0);
    let at_slow = room.rig.written(slow).len();
    room.says(a, vec![2; 500_000]);
    // When the slower one is gone, the slow one still holds back too much.
    room.says(a, [3; 500]);
    assert_eq!(at_slow, wire([1; 50_000]).len());
    assert_eq!(room.events()[4..], ["2 left: it reads too slowly", "1 left: it reads too slowly"]);
    assert_eq!(room.rig.socket.totals().dropped, 0, "the slow one was to go on, with a gap");
    assert!(room.rig.written(b).ends_with(&wire([3; 500])));
}

#[test]
fn a_turn_passes_on_so_much_and_the_rest_is_due_at_once() {
    let mut room = default_room();
    let [a, b] = ["a", "b"].map(|identity| room.join(identity));
    let reader = room.join("reader");
    let message = wire(vec![1; 50_000]);
    for peer in [a, b] {
        room.rig.feed(peer, &message.repeat(20));
    }
    room.relay.drive(room.rig.now, &mut room.rig.socket);
    let passed = room.rig.written(reader).len();
    assert!((TURN_OCTETS..TURN_OCTETS + message.len()).contains(&passed), "{passed}");
    assert_eq!(room.relay.poll_timeout(&room.rig.socket), Some(room.rig.now));
    room.turn();
    assert_eq!(passed + room.rig.written(reader).len(), 40 * message.len());
    assert_eq!(room.relay.poll_timeout(&room.rig.socket), None);
}

#[test]
fn a_client_is_read_by_octets_and_not_while_the_relay_waits() {
    let slow = Slow::Wait { patience: Duration::from_secs(60) };
    let mut room = Room::new(RelayOptions::new().mark_octets(1_000).slow(slow), Options::new());
    let [a, slow] = ["a", "slow"].map(|identity| room.join(identity));
    let flood = wire("many").repeat(500_000);
    let take = |room: &mut Room| {
        let taken = room.rig.socket.handle_input(room.rig.now, a, &flood);
        let _ = room.rig.told();
        taken as u64
    };
    let free = take(&mut room);
    assert!((RECEIVE_OCTETS / 2..=RECEIVE_OCTETS).contains(&free), "{free}");
    room.turn();
    room.rig.limit(slow, 0);
    (0..4).for_each(|_| room.says(a, [0; 500]));
    assert_eq!(take(&mut room), 0);
}

#[test]
fn what_concerns_no_client_is_told_too() {
    let mut room = default_room();
    let stranger = room.rig.accept();
    room.rig.feed(stranger, b"GET / HTTP/1.1");
    room.rig.socket.handle_accept_failed(room.rig.now, "too many open files");
    room.rig.socket.close(room.rig.now, None);
    room.turn();
    let events: Vec<RelayEvent> = core::iter::from_fn(|| room.relay.poll_event()).collect();
    assert_eq!(events.len(), 3);
    assert!(events.iter().any(|event| matches!(event, RelayEvent::Rejected(rejected) if rejected.peer == stranger)));
    assert!(events.iter().any(|event| matches!(event, RelayEvent::AcceptFailed { reason } if reason.contains("open"))));
    assert!(events.iter().any(|event| matches!(event, RelayEvent::Closed { unsent: 0 })));
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let mut room = default_room();
    for n in 0..2 * MAX_EVENTS {
        let peer = room.join(&alloc::format!("{n}"));
        room.rig.socket.handle_closed(room.rig.now, peer, Closed::Eof);
        room.turn();
    }
    assert_eq!(room.events().len(), MAX_EVENTS);
    assert_eq!(room.rig.socket.peers().len(), 0);
}

#[test]
fn the_totals_count_a_client_that_is_gone_before_the_relay_has_heard_of_it() {
    let mut room = Room::new(RelayOptions::new(), Options::new());
    let [a, b] = ["a", "b"].map(|identity| room.join(identity));
    room.says(a, "one");
    let before = room.rig.socket.totals();
    assert_eq!((before.received, before.sent), (1, 1));
    for gone in [a, b] {
        let now = room.rig.now;
        room.rig.socket.handle_closed(now, gone, crate::socket::Closed::Eof);
        assert_eq!(room.rig.socket.totals(), before);
    }
    room.turn();
    assert_eq!(room.rig.socket.totals(), before);
}

//! Each deadline, in each state that has one: it fires, to the microsecond, once. And where there is none, nothing does.

use std::time::Duration;

use zmio::conn::{Error, Timeout};
use zmio::socket::{Dealer, Router};
use zmio::{Cause, Heartbeat, Mark, Options};

use crate::link::{Climate, Fault, Side};
use crate::pair::{HANDSHAKE, MILLI, PairWorld, SECOND, Timing};
use crate::raw::Plan;
use crate::relay_world::{Policy, RelayWorld, TARGET};

/// That it is read again, a socket is told in the next turn, which is a microsecond later.
const TURN: u64 = 1;

type World = PairWorld<Dealer, Router>;

fn one_message() -> Mark {
    Mark { messages: Some(1), octets: None }
}

fn heartbeat((interval, timeout): (u64, u64)) -> Heartbeat {
    Heartbeat::every(Duration::from_micros(interval)).timeout(Duration::from_micros(timeout))
}

/// A pair with heartbeats on both sides.
fn with_heartbeat(timing: (u64, u64)) -> World {
    let options = Options::new().heartbeat(heartbeat(timing));
    let mut world = World::new(options.clone(), options, &[]);
    world.dialler.driver.ping_every = Some(timing.0);
    world.listener.driver.ping_every = Some(timing.0);
    world
}

fn is_heartbeat(cause: &Cause) -> bool {
    matches!(cause, Cause::Protocol(Error::Timeout(Timeout::Heartbeat)))
}

#[test]
fn a_link_that_falls_silent_at_any_time_is_noticed_at_the_timeout_of_the_first_ping_without_an_echo() {
    for (interval, timeout) in [(200, 300), (300, 200), (200, 200), (70, 500)].map(|(i, t)| (i * MILLI, t * MILLI)) {
        let timing = Timing { heartbeat: Some((interval, timeout)), ..Timing::NONE };
        for silent in (2 * MILLI..3 * (interval + timeout)).step_by(6_700) {
            for sides in [&[Side::Dialler][..], &[Side::Listener], &[Side::Dialler, Side::Listener]] {
                let mut world = with_heartbeat((interval, timeout));
                world.run_until(silent);
                sides.iter().for_each(|&side| world.net.silence(0, side));
                world.run_for(interval + 2 * timeout + MILLI);
                let now = world.net.now;
                world.dialler.check_ends(now, timing);
                world.listener.check_ends(now, timing);
                for ends in [&world.dialler.app.ends, &world.listener.app.ends] {
                    assert_eq!(ends.len(), 1, "silent from {silent}: {ends:?}");
                }
                world.run_for(2 * SECOND);
                world.let_arrive();
                world.check_settled();
                assert_eq!(world.dialler.driver.taps.len(), 2, "silent from {silent}");
            }
        }
    }
}

#[test]
fn a_peer_that_asked_for_it_is_given_up_when_its_ttl_is_over_and_one_that_had_not_yet_is_not() {
    let ttl = 500 * MILLI;
    for silent in (2 * MILLI..SECOND).step_by(3_300) {
        let asks = heartbeat((200 * MILLI, 5 * SECOND)).ttl(Duration::from_micros(ttl));
        let mut world = World::new(Options::new().heartbeat(asks), Options::new(), &[]);
        world.run_until(silent);
        world.net.silence(0, Side::Dialler);
        world.run_for(4 * SECOND);
        world.listener.check_ends(world.net.now, Timing { ttl: Some(ttl), ..Timing::NONE });
        let tap = &world.listener.driver.taps[0];
        let asked = silent > tap.since + 200 * MILLI + MILLI;
        let causes: Vec<_> = world.listener.app.ends.iter().map(|end| end.cause.clone()).collect();
        let expected = [Cause::Protocol(Error::Timeout(Timeout::Ttl))];
        assert_eq!(causes, if asked { &expected[..] } else { &[] }, "silent from {silent}");
    }
}

/// The application sleeps from the first message on, so the link is not read, and goes silent before or after the PING
/// of this time is answered. The answer is unread then, and is what comes first when reading goes on.
#[test]
fn the_deadline_of_a_peer_that_is_not_read_stands_still_until_it_is_read_again() {
    let (interval, timeout) = (200 * MILLI, 300 * MILLI);
    for answered in [false, true] {
        for awake in (10 * MILLI..2 * SECOND).step_by(13_700) {
            let options = Options::new().heartbeat(heartbeat((interval, timeout))).receive_mark(one_message());
            let mut world = World::new(Options::new(), options, &[]);
            world.listener.app.asleep = Some((1, awake));
            let silent = if answered { 210 * MILLI } else { 5 * MILLI };
            world.run_until(silent.min(awake - MILLI));
            let peer = world.listener.driver.taps[0].peer;
            assert_eq!(world.listener.driver.socket.peer(peer).map(|peer| peer.unreceived()), Some(1));
            if answered && awake < silent {
                continue;
            }
            world.net.silence(0, Side::Dialler);
            world.run_until(awake - 1);
            assert_eq!(world.listener.app.ends.len(), 0, "cut off while it was not read, awake at {awake}");
            world.run_for(2 * SECOND);
            let tap = &world.listener.driver.taps[0];
            let ready = tap.ready_at.expect("a READY");
            let pings = (1..).map(|n| ready + n * interval);
            let expected = match answered {
                // The time for its answer began with the end of the pause, or else with the PING.
                false => (awake + TURN).max(ready + interval) + timeout,
                true => pings.into_iter().find(|&at| at > awake).expect("no end") + timeout,
            };
            let ends: Vec<u64> = world.listener.app.ends.iter().map(|end| end.at).collect();
            assert_eq!(ends[..1], [expected], "awake at {awake}, answered: {answered}");
            assert!(is_heartbeat(&world.listener.app.ends[0].cause));
        }
    }
}

#[test]
fn a_ttl_stands_still_too_while_its_peer_is_not_read() {
    let ttl = 500 * MILLI;
    for awake in (260 * MILLI..2 * SECOND).step_by(17_300) {
        let asks = heartbeat((200 * MILLI, 5 * SECOND)).ttl(Duration::from_micros(ttl));
        let options = Options::new().receive_mark(one_message());
        let mut world = World::new(Options::new().heartbeat(asks), options, &[]);
        world.dialler.app.talk = 0;
        world.dialler.app.says_at = Some(240 * MILLI);
        world.listener.app.asleep = Some((1, awake));
        world.run_until(250 * MILLI);
        world.net.silence(0, Side::Dialler);
        world.run_until(awake - 1);
        assert_eq!(world.listener.app.ends.len(), 0, "cut off while it was not read");
        world.run_for(2 * SECOND);
        let ends = &world.listener.app.ends;
        let last = *world.listener.driver.taps[0].heard_at.last().expect("something was heard");
        // All of the TTL is left, but for the time that it took to hand in what came last.
        assert_eq!(last, 240 * MILLI + 100);
        assert_eq!(ends.iter().map(|end| end.at).collect::<Vec<_>>()[..1], [awake + TURN + ttl], "awake at {awake}");
        assert_eq!(ends[0].cause, Cause::Protocol(Error::Timeout(Timeout::Ttl)));
    }
}

#[test]
fn a_peer_that_is_not_reached_is_dialled_at_the_end_of_each_wait_and_at_no_other_time() {
    for unanswered in [false, true] {
        let mut world = World::new(Options::new(), Options::new(), &[]);
        match unanswered {
            true => world.net.climate.refusals = 100,
            false => world.stop_listening(),
        }
        world.run_until(500);
        assert_eq!(world.dialler.driver.socket.poll_timeout(), None, "a dial has no deadline here");
        world.run_until(300 * SECOND);
        let log = &world.dialler.app;
        let waits: Vec<u64> = log.retries.iter().map(|&(at, after)| at + after).collect();
        let dials = &world.dialler.driver.dialled_at;
        let due = waits.iter().take_while(|&&at| at <= world.net.now).count();
        assert!(dials.len() > 10, "{dials:?}");
        assert_eq!(dials[1..], waits[..due]);
        for (number, &(_, after)) in log.retries.iter().enumerate() {
            let bound = ((100 * MILLI) << number.min(20)).min(30 * SECOND);
            assert!(after <= bound, "{after} after {number} failures");
        }
        assert!(log.ends.is_empty() && log.connects == 0);
    }
}

/// A socket is closed in each state, with and without something to send.
#[test]
fn a_close_is_over_at_once_with_nothing_to_send_and_else_at_the_end_of_the_linger() {
    let stuck = |octets| Some((Side::Listener, octets, Fault::Hole));
    let states = [
        ("dialling", 500, None, true),
        ("waiting to dial", 1_001, None, false),
        ("no greeting", 10 * MILLI, stuck(0), true),
        ("half a greeting", 10 * MILLI, stuck(30), true),
        ("no READY", 10 * MILLI, stuck(64), true),
        ("half a READY", 10 * MILLI, stuck(80), true),
    ];
    for (state, at, fault, listens) in states {
        for early in [0, 3] {
            for linger in [Some(0), Some(1), Some(50), Some(50 * MILLI), Some(40 * SECOND), None] {
                let faults: Vec<_> = fault.into_iter().collect();
                let mut world = World::new(Options::new(), Options::new(), &faults);
                if !listens {
                    world.stop_listening();
                }
                world.dialler.app.early = early;
                world.dialler.app.close = Some((at, linger));
                world.run_for(100 * SECOND);
                let log = &world.dialler.app;
                let due = at + linger.unwrap_or(u64::MAX / 2);
                let heard = world.listener.app.got.len() as u64;
                match log.closed {
                    Some((closed, 0)) if early == 0 => assert_eq!(closed, at, "{state}, {linger:?}"),
                    // It got through in time: by this dial, or by the next.
                    Some((closed, 0)) => {
                        assert!(closed < due && heard == 3, "{state}, {linger:?}: closed at {closed}");
                        assert!(closed < at + 10 * MILLI || closed > HANDSHAKE, "{state}, {linger:?}");
                    }
                    Some((closed, unsent)) => {
                        assert_eq!((closed, unsent + heard), (due, 3), "{state}, {linger:?}");
                        // What is left of a dial is none of the socket's business.
                        assert!(state != "dialling" || linger < Some(2 * MILLI), "{state}, {linger:?}");
                    }
                    None => assert!(!listens && linger.is_none() && early > 0, "{state}, {linger:?}: never closed"),
                }
                if log.closed.is_some() {
                    assert!(world.dialler.driver.socket.is_closed() && world.dialler.driver.connections() == 0);
                    assert_eq!(world.dialler.driver.socket.poll_timeout(), None, "{state}, {linger:?}");
                }
            }
        }
    }
}

#[test]
fn a_close_over_a_peer_that_does_not_read_ends_with_its_linger_to_the_microsecond() {
    for linger in [0, 1, 777, 50 * MILLI, 3 * SECOND] {
        for heartbeats in [false, true] {
            let mut options = Options::new();
            if heartbeats {
                options = options.heartbeat(heartbeat((SECOND, SECOND)));
            }
            let mut world = World::new(options, Options::new().receive_mark(one_message()), &[]);
            world.net.climate.narrow = 200;
            world.dialler.app.talk = 20;
            world.listener.app.asleep = Some((1, 60 * SECOND));
            let at = 100 * MILLI;
            world.dialler.app.close = Some((at, Some(linger)));
            world.run_until(10 * SECOND);
            let (closed, unsent) = world.dialler.app.closed.expect("a close ends");
            assert_eq!(closed, at + linger);
            assert!(unsent > 0, "nothing was left, so nothing was shown");
            world.run_until(70 * SECOND);
            let heard = world.listener.app.got.len() as u64;
            // A PONG to one that is gone brings a reset, and that destroys what is not read yet.
            assert!(heard + unsent == 20 || heartbeats, "{unsent} were said to be unsent, and {heard} came");
        }
    }
}

#[test]
fn a_close_without_a_linger_waits_for_a_slow_reader_and_no_longer() {
    let mut world = World::new(Options::new(), Options::new().receive_mark(one_message()), &[]);
    world.net.climate.narrow = 200;
    world.dialler.app.talk = 20;
    world.listener.app.asleep = Some((1, 60 * SECOND));
    world.dialler.app.close = Some((100 * MILLI, None));
    world.run_until(60 * SECOND - 1);
    assert_eq!(world.dialler.app.closed, None, "not everything can have been written");
    world.run_until(61 * SECOND);
    assert!(matches!(world.dialler.app.closed, Some((_, 0))), "{:?}", world.dialler.app.closed);
    assert_eq!(world.listener.app.got.len(), 20);
}

/// A wait without a linger ends with the connection all the same, when a heartbeat finds that the peer is dead.
#[test]
fn a_close_without_a_linger_does_not_wait_for_a_peer_that_fell_silent() {
    let mut world = with_heartbeat((200 * MILLI, 300 * MILLI));
    world.net.climate.narrow = 200;
    world.dialler.app.talk = 20;
    world.listener.app.asleep = Some((1, 60 * SECOND));
    world.run_until(1_250);
    world.net.silence(0, Side::Dialler);
    world.net.silence(0, Side::Listener);
    world.stop_listening();
    let linger = 20 * SECOND;
    world.dialler.app.close = Some((10 * MILLI, Some(linger)));
    world.net.wake(0, 10 * MILLI);
    world.run_for(60 * SECOND);
    assert!(
        world.dialler.app.closed.is_some_and(|(at, _)| at <= 10 * MILLI + linger),
        "{:?}",
        world.dialler.app.closed
    );
}

#[test]
fn the_oldest_handshakes_make_room_at_once_and_the_last_ends_at_its_deadline() {
    for allowed in 1..4 {
        let options = Options::new().max_handshakes(Some(allowed));
        let mut world = RelayWorld::new(1, Climate::EXACT, Policy::Drop, 100_000, options, Mark::default());
        world.relay.driver.make_exact();
        for number in 0..6 {
            world.add_raw(Plan { start: number * 10 * MILLI, mute: true, ..Plan::new(TARGET) });
        }
        world.add_raw(Plan { start: 70 * MILLI, messages: 1, ..Plan::new(TARGET) });
        world.run_for(HANDSHAKE + SECOND);
        let taps = &world.relay.driver.taps;
        for (number, tap) in taps[..6].iter().enumerate() {
            let expected = taps.get(number + allowed).map_or(tap.since + HANDSHAKE, |newer| newer.since);
            assert_eq!(tap.over_at, Some(expected), "number {number} of those that say nothing, {allowed} allowed");
        }
        assert!(taps[6].ready.is_some() && taps[6].over.is_none(), "the newest is not at fault for the others");
        crate::relay_oracle::check(&world);
    }
}

/// How long a slow client is waited for is held against a second count, in [`crate::relay_world::RelayApp`].
#[test]
fn a_slow_client_is_out_at_the_end_of_the_patience_and_the_others_go_on_at_once() {
    for at in [SECOND, SECOND + 1, 2 * SECOND - 1] {
        let climate = Climate { narrow: 300, ..Climate::EXACT };
        let mut world = RelayWorld::new(1, climate, Policy::Wait, 500, Options::new(), Mark::default());
        world.relay.driver.make_exact();
        world.add_raw(Plan { stall: Some((at, u64::MAX)), ..Plan::new(TARGET) });
        for _ in 0..3 {
            world.add_raw(Plan { messages: 60, start: SECOND / 2, gap: (MILLI, 100 * MILLI), ..Plan::new(TARGET) });
        }
        world.run_for(60 * SECOND);
        let app = &world.relay.app;
        let [(since, out)] = app.too_slow[..] else { panic!("{:?}", app.too_slow) };
        assert_eq!(out, since + 5 * SECOND);
        assert_eq!(app.causes, [Cause::TooSlow]);
        crate::relay_oracle::check(&world);
    }
}

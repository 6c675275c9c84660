//! Situations that chance alone brings about too seldom.

use std::time::Duration;

use zmio::conn::{Error, Timeout};
use zmio::socket::Duplicates;
use zmio::{Cause, Heartbeat, Identity, Mark, Options};

use crate::dealer::DealerNode;
use crate::echo_world::{EchoWorld, target};
use crate::for_seeds;
use crate::link::Climate;
use crate::raw::Plan;
use crate::relay_world::{Policy, RelayWorld, TARGET};

const MILLI: u64 = 1000;
const SECOND: u64 = 1000 * MILLI;

/// A little late is no fault: drivers and applications are lazy, and the network takes its time.
const SLACK: u64 = 100 * MILLI;

/// How long it takes to notice that a link froze. At worst it froze right after a PING went out and something came:
/// that PING runs out, and the next one too, which comes up to an interval later.
const DEATH: u64 = 300 * MILLI + 200 * MILLI + 300 * MILLI + SLACK;

fn heartbeat() -> Heartbeat {
    Heartbeat::every(Duration::from_millis(200)).timeout(Duration::from_millis(300))
}

fn is_heartbeat(cause: &Cause) -> bool {
    matches!(cause, Cause::Protocol(Error::Timeout(Timeout::Heartbeat)))
}

fn one(messages: u32) -> Mark {
    Mark { messages: Some(messages), octets: None }
}

#[test]
fn a_link_that_froze_is_noticed_by_heartbeat_on_both_ends_and_replaced() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        world.add_router(Options::new().heartbeat(heartbeat()), seed);
        for at in 0..3 {
            world.add_dealer(Options::new().heartbeat(heartbeat()), seed + at, &[0], 5, (0, SECOND));
        }
        world.run_for(5 * SECOND);
        assert!(world.dealers.iter().all(|dealer| dealer.app.connects == 1 && dealer.app.causes.is_empty()));
        let frozen = world.dealers[0].driver.taps[0].link;
        world.net.freeze(frozen);
        world.run_for(DEATH);
        let causes = &world.dealers[0].app.causes;
        assert!(matches!(&causes[..], [cause] if is_heartbeat(cause)), "{causes:?}");
        let causes = &world.routers[0].app.causes;
        assert!(matches!(&causes[..], [cause] if is_heartbeat(cause)), "{causes:?}");
        world.run_for(5 * SECOND);
        assert_eq!(world.dealers[0].app.connects, 2);
        assert!(world.dealers[1..].iter().all(|dealer| dealer.app.causes.is_empty()), "others were cut off too");
        assert_eq!(world.routers[0].app.connected.len(), 3);
    });
}

#[test]
fn a_slow_link_that_lives_is_never_cut_off() {
    for_seeds(50, |seed| {
        let climate = Climate { stalls: 100, stall: 40 * MILLI, narrow: 60, ..Climate::FAIR };
        let mut world = EchoWorld::new(seed, climate);
        let heartbeat = heartbeat().timeout(Duration::from_secs(2)).ttl(Duration::from_secs(2));
        world.add_router(Options::new().heartbeat(heartbeat.clone()), seed);
        for at in 0..3 {
            world.add_dealer(Options::new().heartbeat(heartbeat.clone()), seed + at, &[0], 15, (0, SECOND));
        }
        world.run_for(30 * SECOND);
        for dealer in &world.dealers {
            assert!(dealer.app.causes.is_empty(), "{:?}", dealer.app.causes);
            assert!(dealer.driver.taps[0].pings > 20, "there were no heartbeats to speak of");
        }
        world.check();
    });
}

#[test]
fn a_peer_that_the_router_does_not_read_is_not_taken_for_dead_until_it_is_read_again() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        world.add_router(Options::new().heartbeat(heartbeat()).receive_mark(one(2)), seed);
        for at in 0..3 {
            world.add_dealer(Options::new(), seed + at, &[0], 20, (0, 20 * MILLI));
        }
        world.routers[0].app.sleep = (100 * MILLI, 5 * SECOND);
        world.run_for(20 * SECOND);
        assert!(world.routers[0].app.causes.is_empty(), "{:?}", world.routers[0].app.causes);
        world.check();
        let frozen = world.dealers[0].driver.taps[0].link;
        world.net.freeze(frozen);
        world.run_for(DEATH);
        let causes = &world.routers[0].app.causes;
        assert!(matches!(&causes[..], [cause] if is_heartbeat(cause)), "{causes:?}");
    });
}

#[test]
fn a_dealer_that_closes_patiently_sends_everything_first() {
    for_seeds(50, |seed| {
        let climate = Climate { refusals: 50, narrow: 60, ..Climate::FAIR };
        let mut world = EchoWorld::new(seed, climate);
        world.add_router(Options::new().receive_mark(one(3)), seed);
        world.add_dealer(Options::new(), seed, &[0], 20, (0, 0));
        world.dealers[0].app.close = Some((seed % 50 * MILLI, None));
        world.run_for(100 * SECOND);
        let (dealer, router) = (&world.dealers[0], &world.routers[0]);
        assert_eq!(dealer.app.unsent, Some(0), "it did not close, or not patiently");
        assert_eq!(router.app.got.len(), dealer.app.accepted as usize);
        assert!(dealer.driver.socket.is_closed() && dealer.driver.connections() == 0);
        assert_eq!(dealer.driver.socket.poll_timeout(), None);
    });
}

#[test]
fn a_dealer_that_runs_out_of_patience_knows_how_much_it_did_not_send() {
    for_seeds(100, |seed| {
        let climate = Climate { stalls: 300, stall: 50 * MILLI, narrow: 20, ..Climate::FAIR };
        let mut world = EchoWorld::new(seed, climate);
        world.add_router(Options::new().receive_mark(one(3)), seed);
        world.add_dealer(Options::new().send_mark(one(10)), seed, &[0], 20, (0, 10 * MILLI));
        let (at, linger) = (seed % 300 * MILLI, Duration::from_millis(seed % 7 * 30));
        world.dealers[0].app.close = Some((at, Some(linger)));
        world.run_for(at + linger.as_micros() as u64 + SLACK);
        let dealer = &world.dealers[0];
        let unsent = dealer.app.unsent.expect("closed in time");
        assert!(dealer.driver.socket.is_closed() && dealer.driver.connections() == 0);
        world.run_for(20 * SECOND);
        let sent = u64::from(world.dealers[0].app.accepted) - unsent;
        assert_eq!(world.routers[0].app.got.len() as u64, sent, "{unsent} were said to be unsent");
    });
}

#[test]
fn of_peers_with_one_identity_the_first_stays_under_reject_new_until_it_leaves() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        world.add_router(Options::new(), seed);
        let me = Options::new().identity(Identity::new("me").expect("a legal identity"));
        for at in 0..3 {
            world.add_dealer(me.clone(), seed + at, &[0], 5, (0, 300 * MILLI));
        }
        world.run_for(20 * SECOND);
        let first = *world.routers[0].app.connected.keys().next().expect("one is connected");
        let causes = world.routers[0].app.causes.clone();
        assert!(causes.iter().all(|cause| *cause == Cause::DuplicateIdentity), "{causes:?}");
        assert!((2..40).contains(&causes.len()), "{}: the others ask more and more seldom", causes.len());
        // Each of them gets in when those before it have left.
        for left in 0..3 {
            let router = &world.routers[0];
            assert_eq!(router.app.connected.len(), 1, "after {left} have left");
            assert_eq!(router.app.connected.contains_key(&first), left == 0);
            let now = world.net.now;
            let is_in = |dealer: &DealerNode| !dealer.app.connected.is_empty();
            let at = world.dealers.iter().position(is_in).expect("it knows");
            world.dealers[at].app.close = Some((now, None));
            // The router is the first host.
            world.net.wake(1 + at, now);
            world.run_for(40 * SECOND);
        }
        world.check();
    });
}

#[test]
fn of_peers_with_one_identity_the_last_stays_under_handover() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        world.add_router(Options::new().duplicates(Duplicates::Handover), seed);
        let me = Options::new().identity(Identity::new("me").expect("a legal identity"));
        for at in 0..2 {
            world.add_dealer(me.clone(), seed + at, &[0], 30, (0, 100 * MILLI));
        }
        // They take the identity from each other for ever.
        world.run_for(3 * SECOND);
        let router = &world.routers[0];
        assert!(router.driver.socket.peers().count() <= 1);
        assert!(router.app.causes.iter().filter(|cause| matches!(cause, Cause::HandedOver { .. })).count() > 3);
        world.net.stop_listening(&target(0));
        world.run_for(20 * SECOND);
        let (peers, heirs): (Vec<_>, Vec<_>) = {
            let socket = &world.routers[0].driver.socket;
            (socket.peers().collect(), socket.peer_by_identity(b"me").into_iter().collect())
        };
        assert_eq!(peers, heirs);
        assert_eq!(peers.len(), 1, "the last to come is there");
    });
}

#[test]
fn messages_go_to_several_routers_in_turn() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        (0..3).for_each(|at| world.add_router(Options::new(), seed + at));
        world.add_dealer(Options::new(), seed, &[0, 1, 2], 3 * 7, (30 * MILLI, 50 * MILLI));
        world.run_for(20 * SECOND);
        let counts: Vec<usize> = world.routers.iter().map(|router| router.app.got.len()).collect();
        assert_eq!(counts, [7, 7, 7]);
        world.check();
    });
}

#[test]
fn a_router_that_is_away_for_a_while_is_found_again_with_nothing_lost_that_was_not_begun() {
    for_seeds(50, |seed| {
        let mut world = EchoWorld::new(seed, Climate::FAIR);
        world.add_router(Options::new(), seed);
        for at in 0..4 {
            world.add_dealer(Options::new(), seed + at, &[0], 40, (0, 500 * MILLI));
        }
        world.run_for(2 * SECOND);
        world.net.stop_listening(&target(0));
        let peers: Vec<_> = world.routers[0].driver.socket.peers().collect();
        for peer in peers {
            let now = world.net.instant();
            world.routers[0].driver.socket.disconnect(now, peer);
        }
        world.net.wake(0, 0);
        world.run_for(5 * SECOND);
        assert!(world.dealers.iter().all(|dealer| dealer.app.connected.is_empty()));
        world.net.listen(&target(0), 0);
        world.run_for(60 * SECOND);
        assert!(world.dealers.iter().all(|dealer| dealer.app.connected.len() == 1));
        world.check();
    });
}

#[test]
fn a_client_that_never_reads_is_cut_off_when_the_patience_is_over_and_nobody_else_loses_anything() {
    for_seeds(50, |seed| {
        let mut world = RelayWorld::new(
            seed,
            Climate { narrow: 100, ..Climate::FAIR },
            Policy::Wait,
            500,
            Options::new(),
            Mark::default(),
        );
        let quiet = Plan::new(TARGET);
        world.add_raw(Plan { stall: Some((SECOND, u64::MAX)), ..quiet.clone() });
        for _ in 0..3 {
            world.add_raw(Plan { messages: 20, start: SECOND / 2, gap: (0, 100 * MILLI), ..quiet.clone() });
        }
        world.run_for(3 * SECOND);
        assert!(world.relay.app.causes.is_empty(), "cut off too early");
        world.run_for(60 * SECOND);
        assert_eq!(world.relay.app.causes, [Cause::TooSlow]);
        crate::relay_oracle::check(&world);
    });
}

#[test]
fn a_client_that_never_reads_loses_its_own_copies_only() {
    for_seeds(50, |seed| {
        let mut world = RelayWorld::new(seed, Climate::FAIR, Policy::Drop, 20_000, Options::new(), Mark::default());
        let quiet = Plan::new(TARGET);
        world.add_raw(Plan { stall: Some((SECOND, 20 * SECOND)), ..quiet.clone() });
        for _ in 0..3 {
            world.add_raw(Plan { messages: 150, start: SECOND / 2, gap: (5 * MILLI, 30 * MILLI), ..quiet.clone() });
        }
        world.run_for(60 * SECOND);
        assert!(world.relay.app.causes.is_empty());
        let mut dropped: Vec<u64> = crate::relay_oracle::clients(&world).map(|(_, counts)| counts.dropped).collect();
        dropped.sort_unstable();
        assert!(dropped[3] > 0, "the one that did not read lost nothing");
        assert_eq!(dropped[..3], [0; 3], "another client lost something");
        crate::relay_oracle::check(&world);
    });
}

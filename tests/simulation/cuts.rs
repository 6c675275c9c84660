//! Every link breaks, in every way, after every octet.

use std::time::Duration;

use zmio::conn::Identity;
use zmio::socket::{Dealer, Router};
use zmio::{Heartbeat, Mark, Options};

use crate::link::{Climate, Ending, Fault, Side};
use crate::pair::{HANDSHAKE, MILLI, PairWorld, SECOND, Speaks, Timing};
use crate::raw::Plan;
use crate::relay_world::{Policy, RelayWorld, TARGET};

const SIDES: [Side; 2] = [Side::Dialler, Side::Listener];
const ENDS: [Fault; 3] = [Fault::Cut(Ending::Eof), Fault::Cut(Ending::Reset), Fault::Half];
const SILENCES: [Fault; 2] = [Fault::Hole, Fault::Freeze];

/// After each octet that either side writes on a whole link, handshake and message, and after none.
fn each_octet<P: Speaks, Q: Speaks>(
    options: [&Options; 2],
    faults: &[Fault],
    run: impl Fn(PairWorld<P, Q>, u64, Fault, [u64; 2]),
) {
    let world = |faults: &[_]| PairWorld::<P, Q>::new(options[0].clone(), options[1].clone(), faults);
    let mut whole = world(&[]);
    whole.run_for(SECOND / 10);
    whole.check_settled();
    let written = SIDES.map(|side| whole.net.written(0, side));
    assert!(written.iter().all(|&octets| octets > 64 + 30), "no handshake: {written:?}");
    for side in SIDES {
        for after in 0..=written[side as usize] {
            for &fault in faults {
                let _place = Place { side, after, fault };
                run(world(&[(side, after, fault)]), after, fault, written);
            }
        }
    }
}

/// Says where it failed.
struct Place {
    side: Side,
    after: u64,
    fault: Fault,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {:?} after {} octets of the {:?}", self.fault, self.after, self.side);
        }
    }
}

fn ends_after_each_octet<P: Speaks, Q: Speaks>() {
    each_octet::<P, Q>([&Options::new(), &Options::new()], &ENDS, |mut world, _, _, _| {
        world.run_for(2 * SECOND);
        world.check_settled();
        assert_eq!(world.dialler.driver.taps.len(), 2, "one link was to break");
        world.dialler.check_ends(world.net.now, Timing::NONE);
        world.listener.check_ends(world.net.now, Timing::NONE);
        // Nothing is left of the handshake deadlines when they have passed.
        world.run_for(HANDSHAKE + SECOND);
        assert_eq!(world.dialler.driver.socket.poll_timeout(), None);
        assert_eq!(world.listener.driver.socket.poll_timeout(), None);
        world.check_settled();
    });
}

#[test]
fn a_dealer_and_a_router_survive_an_end_after_any_octet() {
    ends_after_each_octet::<Dealer, Router>();
}

#[test]
fn a_router_that_dials_a_dealer_survives_an_end_after_any_octet() {
    ends_after_each_octet::<Router, Dealer>();
}

#[test]
fn two_dealers_survive_an_end_after_any_octet() {
    ends_after_each_octet::<Dealer, Dealer>();
}

#[test]
fn two_routers_survive_an_end_after_any_octet() {
    ends_after_each_octet::<Router, Router>();
}

/// A handshake that falls silent, wherever it stands, ends at its deadline on each side that waits for the other; one
/// that was complete for a side lasts there until that side hears of an end, or for ever.
fn silence_after_each_octet<P: Speaks, Q: Speaks>() {
    each_octet::<P, Q>([&Options::new(), &Options::new()], &SILENCES, |mut world, _, _, _| {
        world.run_for(HANDSHAKE + 5 * SECOND);
        let now = world.net.now;
        world.dialler.check_ends(now, Timing::NONE);
        world.listener.check_ends(now, Timing::NONE);
        let retries = &world.dialler.app.retries;
        let dials: Vec<u64> = retries.iter().map(|&(at, after)| at + after).collect();
        assert_eq!(dials, world.dialler.driver.dialled_at[1..], "a dial too early, too late, or too many");
        if world.dialler.driver.taps.len() > 1 {
            assert_eq!(world.dialler.app.connected.len(), 1, "the second link is whole");
        }
        world.run_for(HANDSHAKE);
        let waiting = [world.dialler.driver.socket.poll_timeout(), world.listener.driver.socket.poll_timeout()];
        assert_eq!(waiting, [None; 2], "a deadline is left");
    });
}

#[test]
fn a_dealer_and_a_router_give_up_a_silent_handshake_at_its_deadline() {
    silence_after_each_octet::<Dealer, Router>();
}

#[test]
fn a_router_that_dials_a_dealer_gives_up_a_silent_handshake_at_its_deadline() {
    silence_after_each_octet::<Router, Dealer>();
}

#[test]
fn two_dealers_give_up_a_silent_handshake_at_its_deadline() {
    silence_after_each_octet::<Dealer, Dealer>();
}

#[test]
fn two_routers_give_up_a_silent_handshake_at_its_deadline() {
    silence_after_each_octet::<Router, Router>();
}

/// With heartbeats on both sides, both notice on their own, at their own deadline, and are together again.
#[test]
fn a_dealer_and_a_router_with_heartbeats_notice_silence_after_any_octet_at_the_deadline() {
    let heartbeat = Heartbeat::every(Duration::from_millis(200)).timeout(Duration::from_millis(300));
    let options = Options::new().heartbeat(heartbeat).handshake_timeout(Duration::from_secs(1));
    let timing = Timing { handshake: SECOND, heartbeat: Some((200 * MILLI, 300 * MILLI)), ttl: None };
    each_octet::<Dealer, Router>([&options, &options], &SILENCES, |mut world, _, _, _| {
        world.dialler.driver.handshake = SECOND;
        world.listener.driver.handshake = SECOND;
        world.dialler.driver.ping_every = Some(200 * MILLI);
        world.listener.driver.ping_every = Some(200 * MILLI);
        world.run_for(3 * SECOND);
        world.let_arrive();
        world.check_settled();
        let now = world.net.now;
        world.dialler.check_ends(now, timing);
        world.listener.check_ends(now, timing);
        assert_eq!(world.dialler.driver.taps.len(), 2, "silence was not noticed, or more than once");
    });
}

/// A link to a relay breaks after each octet, while another client is there.
fn relay_after_each_octet(add: impl Fn(&mut RelayWorld)) {
    let world = |fault| {
        let (mark, receive) = (100_000, Mark::default());
        let mut world = RelayWorld::new(1, Climate::EXACT, Policy::Wait, mark, Options::new(), receive);
        world.net.faults.extend(fault);
        world.relay.driver.make_exact();
        add(&mut world);
        world.add_raw(Plan { start: 10 * MILLI, messages: 3, gap: (MILLI, MILLI), ..Plan::new(TARGET) });
        world
    };
    let mut whole = world(None);
    whole.run_for(SECOND);
    let written = SIDES.map(|side| whole.net.written(0, side));
    assert!(written.iter().all(|&octets| octets > 64 + 30), "no handshake: {written:?}");
    for side in SIDES {
        for after in 0..=written[side as usize] {
            for fault in ENDS.into_iter().chain(SILENCES) {
                let _place = Place { side, after, fault };
                let mut world = world(Some((side, after, fault)));
                world.run_for(SECOND);
                if SILENCES.contains(&fault) {
                    world.run_for(HANDSHAKE);
                    // As TCP does in the end.
                    let now = world.net.now;
                    world.net.end_silence(0, now);
                    world.run_for(2 * SECOND);
                }
                crate::relay_oracle::check(&world);
                world.leave();
                crate::relay_oracle::check_empty(&world);
            }
        }
    }
}

#[test]
fn a_relay_survives_an_end_and_silence_after_any_octet_of_a_client_by_hand() {
    relay_after_each_octet(|world| {
        let plan = Plan { messages: 2, returns: 1, pings: true, identity: b"A".to_vec(), ..Plan::new(TARGET) };
        world.add_raw(plan);
    });
}

#[test]
fn a_relay_survives_an_end_and_silence_after_any_octet_of_a_dealer() {
    relay_after_each_octet(|world| {
        let options = Options::new().identity(Identity::new("dealer").expect("a legal identity"));
        world.add_dealer_with(options, 7, 2, (0, 0));
    });
}

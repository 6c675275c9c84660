//! Whole relays, routers and dealers over a simulated network in virtual time: no sockets, no sleep, no luck.
//!
//! Every run follows from its seed. `ZMIO_SEED=17 cargo test --test simulation` replays one seed, with a line for
//! every step; `ZMIO_SEEDS=100000` runs that many in place of a thousand, for which `--release` is the place. Random
//! worlds stand for what nobody thought of; what can be counted is done exhaustively, in `cuts.rs` and `deadlines.rs`.

mod cuts;
mod deadlines;
mod dealer;
mod driver;
mod echo_world;
mod link;
mod net;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/octets.rs"]
mod octets;
mod pair;
mod payload;
mod raw;
mod relay_oracle;
mod relay_world;
mod rng;
mod router;
mod scenes;
#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/stream.rs"]
mod stream;
mod tap;

use echo_world::EchoWorld;
use relay_world::{Policy, RelayWorld};

/// Says which seed failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} failed; replay it with ZMIO_SEED={0}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Runs `run` for every seed that `share` of a thousand stands for, or for the one that was asked for.
fn for_seeds(share: u64, run: impl Fn(u64)) {
    let seeds = match number("ZMIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(number("ZMIO_SEEDS").unwrap_or(1000) * share).div_ceil(1000),
    };
    for seed in seeds {
        let _reporter = Seed(seed);
        run(seed);
    }
}

#[test]
fn a_relay_that_drops_loses_nothing_but_what_it_counts() {
    for_seeds(400, |seed| RelayWorld::random(seed, Policy::Drop).live());
}

#[test]
fn a_relay_that_waits_loses_nothing() {
    for_seeds(400, |seed| RelayWorld::random(seed, Policy::Wait).live());
}

#[test]
fn a_relay_that_disconnects_leaves_no_gap() {
    for_seeds(200, |seed| RelayWorld::random(seed, Policy::Disconnect).live());
}

#[test]
fn dealers_that_ask_routers_get_their_answers() {
    for_seeds(400, |seed| EchoWorld::random(seed).live());
}

/// What many seeds found, one of each kind.
#[test]
fn seeds_that_failed_once_pass() {
    // Of two clients that lagged too much, only one was disconnected, and the other had a gap.
    RelayWorld::random(10_462, Policy::Disconnect).live();
    // A queue was discarded while it was being written.
    RelayWorld::random(568, Policy::Drop).live();
    // Large messages went through the eye of a needle.
    RelayWorld::random(9_171, Policy::Wait).live();
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let relay = |seed| {
        let mut world = RelayWorld::random(seed, Policy::Wait);
        world.live();
        world.net.hash()
    };
    let echo = |seed| {
        let mut world = EchoWorld::random(seed);
        world.live();
        world.net.hash()
    };
    for seed in 0..5 {
        assert_eq!(relay(seed), relay(seed));
        assert_eq!(echo(seed), echo(seed));
    }
    assert_ne!(relay(0), relay(1));
}

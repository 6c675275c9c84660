//! The same octets to libzmq's ROUTER and to ours. What comes of them is the same, or stands in these tables with both
//! outcomes and the reason.
//!
//! An outcome is one line: the messages that were delivered, each in brackets; what was answered besides greeting and
//! READY; and the end. `serves` (with the name of the peer, if it has one): a message and a PING were taken at the end.
//! `deaf`: the PING was answered and the message not delivered. `closed`, `timed out`: by the server, and where.
//! `over`: by the script. `died`: the whole process, which none does now. Each script has a socket of its own, and after
//! each a well-behaved client is served.
#![cfg(feature = "net")]

#[path = "../support/mod.rs"]
mod support;

mod child;
mod clerk;
mod commands;
mod endings;
mod framing;
mod greetings;
mod handshakes;
mod play;
mod script;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use child::Libzmq;
use clerk::Clerk;
use play::{Chunks, outcome};
use script::{Expected, HURRY, Script};
use support::{PATIENCE, node};
use zmio::{Limits, Options};

/// The largest frame that either takes.
const MESSAGE_OCTETS: u64 = 100_000;

/// Most of the time is spent waiting.
const WORKERS: usize = 8;

/// Scripts of more octets are not sent octet by octet.
const FEW_OCTETS: usize = 1_500;

/// After so many faults no more scripts are played: each may wait in vain for long.
const ENOUGH: usize = 16;

/// Plays all of them, whole and octet by octet, and fails with every outcome that is not as it stands there.
fn compare(scripts: &[Script]) {
    let names: BTreeSet<&str> = scripts.iter().map(|script| &script.name[..]).collect();
    assert_eq!(names.len(), scripts.len(), "each script has a name of its own");

    let mut jobs = Vec::new();
    for script in scripts {
        jobs.push((script, Chunks::Whole));
        if !script.whole_only && script.octets().len() <= FEW_OCTETS {
            jobs.push((script, Chunks::Octets));
        }
    }
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(jobs.len()) {
            scope.spawn(|| {
                let mut libzmq = Libzmq::start();
                while let Some((script, chunks)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(fault) = fault_of(script, *chunks, &mut libzmq) {
                        let mut faults = faults.lock().expect("no panic");
                        faults.push(fault);
                        if faults.len() == ENOUGH {
                            next.store(jobs.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("no panic");
    faults.sort();
    assert!(faults.is_empty(), "{} outcomes are not as stated:\n{}", faults.len(), faults.join("\n"));
}

fn fault_of(script: &Script, chunks: Chunks, libzmq: &mut Libzmq) -> Option<String> {
    let by_libzmq = with_libzmq(script, chunks, libzmq);
    let by_us = with_ours(script, chunks);
    let (theirs, ours, why) = match &script.expected {
        Expected::Same(outcome) => (outcome, outcome, None),
        Expected::Differ { theirs, ours, why } => (theirs, ours, Some(*why)),
    };
    if why.is_some() && theirs == ours {
        return Some(format!("{}: no difference any more", script.name));
    }
    if (theirs, ours) == (&by_libzmq, &by_us) {
        return None;
    }
    let why = why.map(|why| format!("\n   stated reason: {why}")).unwrap_or_default();
    Some(format!(
        "{}, {chunks:?}:\n   libzmq   {by_libzmq}\n   stated   {theirs}\n   ours     {by_us}\n   stated   {ours}{why}",
        script.name
    ))
}

fn with_libzmq(script: &Script, chunks: Chunks, libzmq: &mut Libzmq) -> String {
    let play = || outcome(script, chunks, &libzmq.open(deadline(script)));
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let death = libzmq.death();
        *libzmq = Libzmq::start();
        death.map_or_else(|| words(&*panic), |status| format!("died, {status}"))
    })
}

fn with_ours(script: &Script, chunks: Chunks) -> String {
    let mut limits = Limits::default();
    // Ours counts headers too.
    limits.message_octets = MESSAGE_OCTETS + 9;
    let options = Options::new().limits(limits).handshake_timeout(deadline(script));
    let play = || {
        let node = node::router_with(options, Clerk::default());
        outcome(script, chunks, &node.bind())
    };
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| words(&*panic))
}

fn deadline(script: &Script) -> Duration {
    if script.is_hurried { HURRY } else { 2 * PATIENCE }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("failed: {}", text.unwrap_or_default())
}

//! The blocking handles, by behaviour: over real TCP, with each other, with raw peers and with libzmq.
#![cfg(feature = "net")]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod libzmq;
mod peers;
mod receiving;
mod sending;

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use support::raw::Raw;
use support::{PATIENCE, octets};
use zmio::net::{HandleEvent, HandleOptions, PeerSummary};
use zmio::{Dealer, Event, Identity, Mark, Message, Options, Router};

/// Where a ROUTER listens, for somebody to dial.
fn at(router: &Router) -> String {
    router.local_endpoints().expect("it is open").first().expect("it listens").to_string()
}

fn router() -> Router {
    Router::bind("tcp://127.0.0.1:0").expect("a free port")
}

fn router_with(options: Options) -> Router {
    let router = Router::open(HandleOptions::new().socket(options)).expect("a thread");
    router.listen("tcp://127.0.0.1:0").expect("a free port");
    router
}

fn dealer(router: &Router) -> Dealer {
    Dealer::connect(&at(router)).expect("an endpoint")
}

fn dealer_with(router: &Router, options: Options) -> Dealer {
    let dealer = Dealer::open(HandleOptions::new().socket(options)).expect("a thread");
    dealer.dial(&at(router)).expect("an endpoint");
    dealer
}

fn id(name: &str) -> Identity {
    Identity::new(name.to_owned()).expect("a name")
}

/// So many messages, and as many octets as they have.
fn mark(messages: u32) -> Mark {
    Mark { messages: Some(messages), octets: None }
}

fn number(message: &Message) -> u32 {
    let body = message.frame(message.frame_count() - 1).expect("a frame");
    u32::from_be_bytes(body[..4].try_into().expect("a number"))
}

fn numbered(n: u32) -> Message {
    Message::from(&n.to_be_bytes())
}

/// The next event that `wanted` knows; others are passed over.
#[track_caller]
fn event<T>(router: &Router, wanted: impl Fn(&HandleEvent) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = router.event_timeout(left).expect("the event comes in time");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

/// Waits until a peer is connected; who it is.
#[track_caller]
fn connected(router: &Router) -> Identity {
    event(router, |event| match event {
        HandleEvent::Socket(Event::Connected { info, .. }) => Some(info.identity.clone()),
        _ => None,
    })
}

/// Waits until a peer is gone; who it was.
#[track_caller]
fn disconnected(router: &Router) -> Identity {
    event(router, |event| match event {
        HandleEvent::Socket(Event::Disconnected(gone)) => Some(gone.identity.clone()),
        _ => None,
    })
}

/// Calls `act` until it gives something. What it asks takes its time, so this does not spin.
#[track_caller]
fn eventually<T>(what: &str, mut act: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = act() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        thread::yield_now();
    }
}

fn peer(router: &Router, identity: &Identity) -> Option<PeerSummary> {
    router.peers().expect("it is open").into_iter().find(|peer| peer.identity == *identity)
}

/// Large enough that what the system buffers is soon used up.
fn large() -> Message {
    Message::from(vec![7; 256 * 1024])
}

/// Sends to a peer that does not read until neither it nor the system takes any more; how many messages were accepted.
#[track_caller]
fn fill_peer(router: &Router, to: &Identity, mark: u64) -> u64 {
    fill(mark, || router.send(to, large()).is_ok(), || Some(peer(router, to)?.counts.queued))
}

/// Writes more than the handle takes over before anybody receives, and less than the system buffers besides; so that the peer is at
/// its mark, and more of it waits to be read.
#[track_caller]
fn talk(raw: &mut Raw, router: &Router, to: &Identity) {
    raw.write(&octets::frame(0, &[0; 256 * 1024]).repeat(16));
    let (mut before, mut stable) = (0, 0);
    eventually("nothing more is read", || {
        let received = peer(router, to)?.counts.received;
        stable = if received > 0 && received == before { stable + 1 } else { 0 };
        before = received;
        (stable == 200).then_some(())
    });
}

#[track_caller]
fn fill(mark: u64, send: impl Fn() -> bool, queued: impl Fn() -> Option<u64>) -> u64 {
    // The system moves octets from one of its buffers to the other for a while.
    const STABLE: u32 = 200;
    let (mut accepted, mut stable) = (0, 0);
    eventually("the mark is reached", || {
        stable += 1;
        while send() {
            accepted += 1;
            stable = 0;
        }
        if queued() != Some(mark) {
            stable = 0;
        }
        (stable >= STABLE).then_some(accepted)
    })
}

/// A call that runs on a thread of its own.
struct Call<T>(Receiver<T>);

fn call<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Call<T> {
    let (outcome, waiting) = mpsc::channel();
    let (started, running) = mpsc::channel();
    thread::spawn(move || {
        started.send(()).expect("the test waits");
        let _ = outcome.send(act());
    });
    running.recv().expect("it starts");
    Call(waiting)
}

impl<T> Call<T> {
    #[track_caller]
    fn returns(self) -> T {
        self.0.recv_timeout(PATIENCE).expect("the call returns")
    }
}

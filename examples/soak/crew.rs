//! Some of the clients, all of one make, driven by one thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::report::{Deeds, Ending, PATIENCE, Report, Statement};
use crate::tally::Tally;

/// Chance strikes so often.
const TICK: Duration = Duration::from_millis(20);

/// After all has come, how long to look for what should not.
const AFTERMATH: Duration = Duration::from_millis(200);

/// How often something happens, as a mean.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) messages: f64,
    pub(crate) floods: f64,
    pub(crate) leaves: f64,
    pub(crate) crashes: f64,
    pub(crate) stalls: f64,
    pub(crate) garbage: f64,
}

impl Rates {
    /// Per tick, for a crew with this share of all clients.
    pub(crate) fn shared(share: f64) -> Self {
        let per_second = |rate: f64| rate * TICK.as_secs_f64() * share;
        Self {
            messages: per_second(1_500.0),
            floods: per_second(0.5),
            leaves: per_second(2.0),
            crashes: per_second(2.0),
            stalls: per_second(3.0),
            garbage: per_second(4.0),
        }
    }
}

pub(crate) trait Crew {
    /// One tick: whoever is missing joins, and chance has its way with the others.
    fn act(&mut self);

    /// Moves octets until then.
    fn serve(&mut self, until: Instant);

    /// Nobody stalls any more or begins anything. Returns whether all of them are connected, all is written, and whoever was
    /// leaving is gone.
    fn calm_down(&mut self) -> bool;

    fn members(&mut self) -> impl Iterator<Item = &mut Member>;

    /// All of them leave, as they do it.
    fn dismiss(&mut self);
}

/// What every client has, of whatever make.
pub(crate) struct Member {
    pub(crate) number: u32,
    pub(crate) written: u32,
    /// Of those, settled.
    settled: u32,
    pub(crate) tally: Tally,
}

/// What every crew shares with the others.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) deeds: Arc<Deeds>,
    pub(crate) reports: Sender<Report>,
    numbers: Arc<AtomicU32>,
}

impl Common {
    pub(crate) fn new(deeds: Arc<Deeds>, reports: Sender<Report>) -> Self {
        Self { deeds, reports, numbers: Arc::default() }
    }

    /// A newcomer, with a number that nobody else ever has. It is its identity too.
    pub(crate) fn member(&self) -> Member {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Member { number, written: 0, settled: 0, tally: Tally::new(number) }
    }

    pub(crate) fn state(&self, member: &mut Member, ending: Ending) {
        let written = u64::from(member.written - member.settled);
        member.settled = member.written;
        self.report(Report::Statement(Statement { written, tally: member.tally.close(), ending }));
    }

    pub(crate) fn report(&self, report: Report) {
        self.reports.send(report).expect("the judge listens");
    }
}

pub(crate) enum Order {
    /// Fall silent, and say [`Report::Quiet`].
    Hush,
    /// Wait until so many messages have come to each; then state what came.
    State(Arc<HashMap<u32, u64>>),
    Resume,
    /// Instead: leave, all of you.
    Dismiss,
}

/// The thread of a crew, seen from outside.
pub(crate) struct Crewed {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Crewed {
    pub(crate) fn start<C: Crew>(common: Common, make: impl FnOnce(Common) -> C + Send + 'static) -> Self {
        let (orders, inbox) = channel();
        // Not every crew can be sent to another thread.
        let thread = std::thread::spawn(move || work(&mut make(common.clone()), &common, &inbox));
        Self { orders, thread }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).expect("the crew works");
    }

    pub(crate) fn end(self) {
        self.order(Order::Dismiss);
        self.thread.join().expect("the crew does not panic");
    }
}

fn work(crew: &mut impl Crew, common: &Common, orders: &Receiver<Order>) {
    loop {
        match orders.try_recv() {
            Err(_) => {
                let until = Instant::now() + TICK;
                crew.act();
                crew.serve(until);
            }
            Ok(Order::Hush) => {
                serve_until(crew, |crew| crew.calm_down());
                let written = crew.members().map(|member| (member.number, u64::from(member.written)));
                common.report(Report::Quiet(written.collect()));
                if settle(crew, common, orders) {
                    crew.dismiss();
                    serve_until(crew, |crew| crew.calm_down());
                    return;
                }
            }
            Ok(_) => unreachable!("not hushed"),
        }
    }
}

/// What is to be done while nobody writes. Returns whether this is the end.
fn settle(crew: &mut impl Crew, common: &Common, orders: &Receiver<Order>) -> bool {
    loop {
        match orders.try_recv() {
            Err(_) => crew.serve(Instant::now() + TICK),
            Ok(Order::State(sent)) => {
                let has_all =
                    |member: &mut Member| sent.get(&member.number).is_none_or(|sent| member.tally.arrived >= *sent);
                let in_time = serve_until(crew, |crew| crew.members().all(has_all));
                crew.serve(Instant::now() + AFTERMATH);
                crew.members().for_each(|member| common.state(member, Ending::Stays));
                common.report(Report::Stated { in_time });
            }
            Ok(order) => return matches!(order, Order::Dismiss),
        }
    }
}

/// Serves until it is so, or for as long as anything may take; the judge sees to the rest. Returns whether it is so.
fn serve_until<C: Crew>(crew: &mut C, is: impl Fn(&mut C) -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is(crew) {
        if Instant::now() > deadline {
            return false;
        }
        crew.serve(Instant::now() + TICK);
    }
    true
}

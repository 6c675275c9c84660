//! A relay among hundreds of clients that join, leave, crash, stall, flood and send garbage, with every delivery
//! accounted for: `cargo run --release --example soak -- --seconds 600 --seed 7 --clients 300`.
//!
//! Some clients are raw TCP, some are our DEALERs, some libzmq's. Each message carries its sender and number; each client checks
//! what it is delivered ([`tally`]). A ledger beside the relay says what each client was owed ([`ledger`]). From time to
//! time all fall silent, everything queued is delivered, and the two are compared ([`judge`]). The exit status is 0 only
//! if nothing was lost but to full queues, nothing came twice, back, out of order or altered, and the relay's memory and all
//! descriptors are back where they were. The relay is a process of its own, so that this can be told ([`hub`]). Linux only.

mod child;
mod crew;
mod dice;
mod engines;
mod garbage;
mod hub;
mod judge;
mod ledger;
mod libzmq;
mod octets;
mod raw;
mod report;
mod tally;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use zmio::net::Endpoint;

use crate::child::Hub;
use crate::crew::{Common, Crewed, Order, Rates};
use crate::engines::Engines;
use crate::judge::Judge;
use crate::libzmq::Libzmqs;
use crate::raw::Raws;
use crate::report::{Deeds, PATIENCE, Report, Summary, descriptors, resident};

/// Memory, in KiB, that the relay may hold more of at the end than after it has warmed up. What it holds when all is silent
/// varies by less; a leak of an octet per delivery is twenty times this in ten minutes.
const GROWTH_KIB: u64 = 16 << 10;

struct Arguments {
    seconds: u64,
    seed: u64,
    clients: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, option, seed] = &words[..] {
        if option == child::RELAY {
            hub::run(seed.parse().expect("a seed"));
            return ExitCode::SUCCESS;
        }
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("soak: {error}\nusage: soak [--seconds N] [--seed N] [--clients N]");
            return ExitCode::from(2);
        }
    };
    if soak(&arguments) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { seconds: 60, seed: 1, clients: 300 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{value} is no number"))?;
        match &word[..] {
            "--seconds" => arguments.seconds = number.max(1),
            "--seed" => arguments.seed = number,
            "--clients" if (30..=3_000).contains(&number) => arguments.clients = number as usize,
            "--clients" => return Err("from 30 to 3000 clients".into()),
            _ => return Err(format!("there is no option {word}")),
        }
    }
    Ok(arguments)
}

/// One run, with its report. Returns whether all is well.
fn soak(arguments: &Arguments) -> bool {
    let &Arguments { seconds, seed, clients } = arguments;
    let start = Instant::now();
    let (reports, inbox) = channel();
    let descriptors_before = descriptors();
    let hub = Hub::start(seed, reports.clone());

    let deeds = Arc::new(Deeds::default());
    let common = Common::new(Arc::clone(&deeds), reports);
    let makes = [clients - clients / 15 - clients / 10, clients / 15, clients / 10];
    let crews = crews(&common, &hub.endpoint, seed, makes);
    let mut court = Court { hub, crews, inbox, judge: Judge::default() };

    // Whenever all are silent, what is left should be the same.
    let rounds = (seconds / 10).clamp(2, 10) as u32;
    let mut memory = Vec::new();
    for round in 1..=rounds {
        court.listen_until(start + Duration::from_secs(seconds) * round / rounds);
        memory.push(court.settle());
        let sums = &court.judge.sums;
        eprintln!(
            "{:>5.0} s: {} delivered, {} dropped, the relay has {} KiB, the clients {}",
            start.elapsed().as_secs_f64(),
            sums.delivered,
            sums.dropped,
            memory.last().unwrap_or(&0),
            resident()
        );
        if round < rounds {
            court.crews.iter().for_each(|crew| crew.order(Order::Resume));
        }
    }
    let elapsed = start.elapsed();

    let summary = court.end();
    let Court { hub, mut judge, .. } = court;
    hub.wait();
    judge.rest(true);
    if summary.left_over > 0 {
        judge.stuck(&format!("{} clients are left at the relay", summary.left_over));
    }
    let ours = [judge.sums.received, judge.sums.sent, judge.sums.dropped];
    if [summary.received, summary.sent, summary.dropped] != ours {
        judge.stuck(&format!("the totals of the socket, in {summary:?}, are not the sums of its clients, {ours:?}"));
    }
    // The reader of the relay's reports ends with the relay.
    let deadline = Instant::now() + PATIENCE;
    while descriptors() > descriptors_before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ends = [summary.descriptors, (descriptors_before as u64, descriptors() as u64)];

    let (warm, last) = (memory[0], memory[memory.len() - 1]);
    let grown = last > warm + GROWTH_KIB;
    let leaked = ends.iter().any(|(before, after)| after > before);
    let passed = judge.faults.are_none() && !grown && !leaked;

    judge.complaints.iter().for_each(|complaint| println!("- {complaint}"));
    println!("soak: {}", if passed { "passed" } else { "FAILED" });
    println!(
        "  {:.0} s, seed {seed}, {clients} clients: {} raw, {} zmio, {} libzmq",
        elapsed.as_secs_f64(),
        makes[0],
        makes[1],
        makes[2]
    );
    print_deeds(&deeds, &summary);
    print_sums(&judge, &summary, elapsed);
    let mark = |bad| if bad { "  <-- back it is not" } else { "" };
    println!("  resident, of the relay: {warm} KiB when warm, {last} KiB at the end{}", mark(grown));
    let [(relay, relay_after), (clients, clients_after)] = ends;
    println!(
        "  descriptors: of the relay {relay} and {relay_after}, of the clients {clients} and {clients_after}{}",
        mark(leaked)
    );
    passed
}

fn crews(common: &Common, endpoint: &Endpoint, seed: u64, makes: [usize; 3]) -> Vec<Crewed> {
    let all: usize = makes.iter().sum();
    let rates = makes.map(|clients| Rates::shared(clients as f64 / all as f64));
    let seeds = [1, 2, 3].map(|crew| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(crew));
    let address = endpoint.to_string().trim_start_matches("tcp://").parse().expect("an address");
    let (ours, theirs) = (endpoint.clone(), endpoint.to_string());
    vec![
        Crewed::start(common.clone(), move |common| Raws::new(common, seeds[0], address, makes[0], rates[0])),
        Crewed::start(common.clone(), move |common| Engines::new(common, seeds[1], ours, makes[1], rates[1])),
        Crewed::start(common.clone(), move |common| Libzmqs::new(common, seeds[2], theirs, makes[2], rates[2])),
    ]
}

/// All who have a say.
struct Court {
    hub: Hub,
    crews: Vec<Crewed>,
    inbox: Receiver<Report>,
    judge: Judge,
}

impl Court {
    fn listen_until(&mut self, until: Instant) {
        while let Ok(report) = self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            hear(&mut self.judge, report);
        }
    }

    /// All fall silent, all is delivered, and everybody's account is judged. Returns the memory of the relay.
    fn settle(&mut self) -> u64 {
        self.crews.iter().for_each(|crew| crew.order(Order::Hush));
        let mut written = HashMap::new();
        for _ in 0..self.crews.len() {
            let quiet = self.wait_for(|report| match report {
                Report::Quiet(written) => Ok(written),
                other => Err(other),
            });
            written.extend(quiet.unwrap_or_default());
        }
        self.hub.settle(&written);
        let settled = self.wait_for(|report| match report {
            Report::Settled { sent, in_time, resident } => Ok((sent, in_time, resident)),
            other => Err(other),
        });
        let (sent, in_time, resident) = settled.unwrap_or_default();
        if !in_time {
            self.judge.stuck("the relay has not come to rest");
        }
        let sent = Arc::new(sent);
        self.crews.iter().for_each(|crew| crew.order(Order::State(Arc::clone(&sent))));
        for _ in 0..self.crews.len() {
            let in_time = self.wait_for(|report| match report {
                Report::Stated { in_time } => Ok(in_time),
                other => Err(other),
            });
            if in_time == Some(false) {
                self.judge.stuck("what was sent has not come; below, it counts as lost");
            }
        }
        self.judge.rest(false);
        resident
    }

    /// Everybody leaves.
    fn end(&mut self) -> Summary {
        self.crews.drain(..).for_each(Crewed::end);
        self.hub.end();
        let summary = self.wait_for(|report| match report {
            Report::Ended(summary) => Ok(summary),
            other => Err(other),
        });
        summary.unwrap_or_default()
    }

    fn wait_for<T>(&mut self, pick: impl Fn(Report) -> Result<T, Report>) -> Option<T> {
        let deadline = Instant::now() + 2 * PATIENCE;
        while let Ok(report) = self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            match pick(report) {
                Ok(picked) => return Some(picked),
                Err(other) => hear(&mut self.judge, other),
            }
        }
        self.judge.stuck("no answer");
        None
    }
}

fn hear(judge: &mut Judge, report: Report) {
    match report {
        Report::Account(account) => judge.hear_relay(account),
        Report::Statement(statement) => judge.hear_client(statement),
        _ => judge.stuck("an answer that nobody waits for"),
    }
}

fn print_deeds(deeds: &Deeds, summary: &Summary) {
    let Deeds { joins, leaves, crashes, stalls, floods, garbage } = deeds;
    let [joins, leaves, crashes, stalls, floods, garbage] =
        [joins, leaves, crashes, stalls, floods, garbage].map(|deed| deed.load(Ordering::Relaxed));
    println!(
        "  {joins} joins, {leaves} leaves, {crashes} crashes, {stalls} stalls, {floods} floods, {garbage} pieces of garbage"
    );
    println!("  the relay let {} in and turned {} away", summary.joined, summary.rejected);
}

fn print_sums(judge: &Judge, summary: &Summary, elapsed: Duration) {
    let (sums, faults) = (&judge.sums, &judge.faults);
    let rate = sums.delivered as f64 / elapsed.as_secs_f64();
    println!("  sent                                  {:>12}", sums.written);
    println!("  passed on                             {:>12}", summary.relayed);
    println!("  owed                                  {:>12}", sums.owed);
    println!("    delivered                           {:>12}  ({rate:.0} per s)", sums.delivered);
    println!("    lost to full queues (relay's count) {:>12}", sums.dropped);
    println!("    queued for those who left           {:>12}", sums.queued);
    println!("    on the way to those who cut it off  {:>12}", sums.cut);
    for (what, count) in [
        ("lost otherwise", faults.lost),
        ("doubled", faults.doubled),
        ("self-echoed", faults.echoed),
        ("out of order", faults.disordered),
        ("altered", faults.corrupt),
        ("not owed", faults.not_owed),
        ("differences in the books", faults.unbalanced),
        ("clients thrown out", faults.thrown_out),
        ("stuck, or known to one side only", faults.stuck),
    ] {
        println!("  {what:<37} {count:>12}{}", if count > 0 { "  <-- must be 0" } else { "" });
    }
}

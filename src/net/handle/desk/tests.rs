//! The desk under a checker that tries many orders of the steps of all threads. A wake-up that gets lost shows as a
//! deadlock: some thread waits and none can end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use shuttle::thread;

use super::*;
use crate::conn::Mark;
use crate::net::handle::dealer;
use crate::net::handle::router::Load;
use crate::socket::Dealer;

const RANDOM_RUNS: usize = 1_000;
const ORDERED_RUNS: usize = 1_000;

/// How many forced changes of thread a run of the ordered kind has.
const DEPTH: usize = 4;

fn check(world: fn()) {
    shuttle::check_random(world, RANDOM_RUNS);
    shuttle::check_pct(world, ORDERED_RUNS, DEPTH);
}

/// What the I/O thread sleeps at: as the poll of the system, it remembers that it was rung.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    came: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.came.notify_all();
    }

    fn poll(&self, sleep: bool) {
        let mut rung = lock(&self.rung);
        while sleep && !*rung {
            rung = self.came.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }
}

/// An I/O thread with a socket that writes one message in each turn, and has some from its peers.
struct Io {
    desk: Arc<Desk<Dealer>>,
    bell: Arc<Bell>,
    queue: VecDeque<Message>,
    written: Vec<Message>,
    incoming: VecDeque<Message>,
    closing: bool,
}

fn io(mark: u32) -> Io {
    let bell = Arc::new(Bell::default());
    let ring = Arc::clone(&bell);
    let mut ledger = dealer::Ledger::new(Mark { messages: Some(mark), octets: None });
    ledger.reachable = true;
    let desk = Arc::new(Desk::new(ledger, Box::new(move || ring.ring())));
    Io { desk, bell, queue: VecDeque::new(), written: Vec::new(), incoming: VecDeque::new(), closing: false }
}

impl Io {
    /// Works as `Worker` does, until it is closed and all is written; returns what was.
    fn run(mut self) -> Vec<Message> {
        let mut batch = Vec::new();
        let mut orders = Vec::new();
        let mut ready = VecDeque::new();
        let mut idle = false;
        while !self.closing || !self.queue.is_empty() {
            self.bell.poll(idle);
            if idle {
                orders = self.desk.exchange(&mut batch, &mut Packs::default(), |_| false);
            }
            // Nothing else is ordered here.
            self.closing |= !orders.is_empty();
            let taken: Vec<_> = batch.drain(..).flat_map(|((), entry)| entry.into_messages()).collect();
            let before = self.load(self.queue.len() + taken.len());
            self.queue.extend(taken);
            self.written.extend(self.queue.pop_front());
            let after = self.load(self.queue.len());
            let settle = |ledger: &mut dealer::Ledger| ledger.load.settle(before, after);
            orders = self.desk.exchange(&mut batch, &mut Packs::default(), settle);

            let mut appetite = self.desk.appetite();
            // In runs of two, and one that is alone.
            while appetite > 0 && !self.incoming.is_empty() {
                let messages: Vec<_> = self.incoming.drain(..2.min(self.incoming.len())).collect();
                let run = run(&messages);
                appetite = appetite.saturating_sub(charge(&run));
                ready.push_back(((), run));
            }
            let more = !self.incoming.is_empty();
            let room = self.desk.lay_out(&mut ready, &mut Vec::new(), more);
            idle = batch.is_empty() && orders.is_empty() && self.queue.is_empty() && !room;
        }
        self.desk.end(Ok(self.incoming.len() as u64));
        self.desk.finish();
        self.written
    }

    fn load(&self, messages: usize) -> Load {
        Load { messages: messages as u64, octets: 0 }
    }
}

fn run(messages: &[Message]) -> Run {
    let pieces: Vec<_> = messages.iter().flat_map(|message| message.wire().pieces()).flatten().copied().collect();
    Run::from_wire(pieces.into(), messages.len() as u32)
}

fn send(desk: &Desk<Dealer>, text: &str) -> Result<(), SendError> {
    desk.send(text.into(), Wait::Forever, dealer::Ledger::reserve)
}

#[test]
fn senders_that_wait_for_room_all_get_it() {
    check(|| {
        let io = io(1);
        let desk = Arc::clone(&io.desk);
        let worker = thread::spawn(move || io.run());
        let senders = ["a", "b"].map(|text| {
            let desk = Arc::clone(&desk);
            thread::spawn(move || (0..3).for_each(|_| send(&desk, text).expect("room comes")))
        });
        senders.into_iter().for_each(|sender| sender.join().expect("it sends"));
        assert_eq!(desk.close(None), Ok(0));
        let written = worker.join().expect("it works");
        assert_eq!(written.len(), 6);
        assert_eq!(written.iter().filter(|message| **message == Message::from("a")).count(), 3);
    });
}

#[test]
fn receivers_get_each_message_once_however_slow_they_are() {
    check(|| {
        let mut io = io(1);
        io.incoming = (0..11_u8).map(|n| Message::from(&[n])).collect();
        let desk = Arc::clone(&io.desk);
        let worker = thread::spawn(move || io.run());
        let left = Arc::new(AtomicU64::new(11));
        let receivers = [(); 2].map(|()| {
            let (desk, left) = (Arc::clone(&desk), Arc::clone(&left));
            thread::spawn(move || {
                let mut received = vec![];
                while let Ok(((), message)) = desk.receive(Wait::Forever) {
                    received.push(message.frame(0).and_then(|body| body.first().copied()));
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        // The other one still waits, and is to be woken by the end.
                        assert_eq!(desk.close(None), Ok(0));
                    }
                }
                received
            })
        });
        let received = receivers.map(|receiver| receiver.join().expect("it receives"));
        assert!(received.iter().all(|received| received.is_sorted()));
        let mut all = received.concat();
        all.sort();
        assert_eq!(all, (0..11_u8).map(Some).collect::<Vec<_>>());
        worker.join().expect("it works");
    });
}

#[test]
fn a_close_ends_every_wait_and_loses_no_message_that_was_taken() {
    check(|| {
        let io = io(1);
        let desk = Arc::clone(&io.desk);
        let worker = thread::spawn(move || io.run());
        let on = |act: fn(&Desk<Dealer>) -> usize| {
            let desk = Arc::clone(&desk);
            thread::spawn(move || act(&desk))
        };
        let sender = on(|desk| (0..4).take_while(|_| send(desk, "x").is_ok()).count());
        let receiver = on(|desk| usize::from(desk.receive(Wait::Forever) == Err(RecvError::Closed)));
        let watcher = on(|desk| usize::from(desk.event(Wait::Forever).is_err()));
        let closers = [(); 2].map(|()| on(|desk| usize::from(desk.close(None) == Ok(0))));

        let sent = sender.join().expect("it returns");
        assert_eq!(worker.join().expect("it works").len(), sent);
        for waiter in [receiver, watcher].into_iter().chain(closers) {
            assert_eq!(waiter.join().expect("it returns"), 1);
        }
        assert!(matches!(send(&desk, "x"), Err(SendError::Closing(_))));
    });
}

#[test]
fn a_failure_of_the_io_thread_ends_every_wait() {
    check(|| {
        let io = io(1);
        let desk = Arc::clone(&io.desk);
        let worker = thread::spawn(move || {
            let mut batch = Vec::new();
            let orders = io.desk.exchange(&mut batch, &mut Packs::default(), |_| false);
            io.bell.poll(batch.is_empty() && orders.is_empty());
            io.desk.finish();
        });
        let sender = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || while send(&desk, "x").is_ok() {})
        };
        assert_eq!(desk.receive(Wait::Forever), Err(RecvError::Closed));
        assert_eq!(desk.close(None), Err(CloseError));
        sender.join().expect("it returns");
        worker.join().expect("it ends");
    });
}

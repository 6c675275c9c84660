//! The desk between the program's threads and the I/O thread: each side leaves batches for the other.
//!
//! Two trays, each behind its own lock, which is held for moments only; and behind a third what receivers have taken over.
//! The other side is woken when a tray that was
//! empty is not any more, and only if somebody waits for it.

use std::boxed::Box;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::sync::{Condvar, Mutex, MutexGuard};
use super::worker::Side;
use super::{CloseError, HandleEvent, RecvError, until};
use crate::conn::{ENTRY_OCTETS, Entry, Packs};
use crate::message::{Message, Outgoing, Run};
use crate::net::Engine;
use crate::socket::SendError;

/// How much lies ready for the program, besides the rest of a run, in octets with [`ENTRY_OCTETS`] for each run. The others
/// wait in the socket, where they count for their peer. Little under the checker, so that it meets the limit.
const READY_OCTETS: usize = if cfg!(test) { 2 * ENTRY_OCTETS } else { 1 << 20 };

/// Events that nobody takes are forgotten beyond this, the oldest first.
const EVENTS: usize = 1_024;

/// Something that the I/O thread is to do, and what it is to say when the turn is over.
pub(super) type Order<S> = Box<dyn FnOnce(&mut Engine<S>) -> Answer + Send>;

pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    Not,
    Until(Instant),
    Forever,
}

pub(super) struct Desk<S: Side> {
    out: Mutex<Out<S>>,
    /// There is room again for somebody who waits to send, or the end has come.
    room: Condvar,
    /// What those who receive have taken over and not given out yet. Locked before `ready`, and never while somebody
    /// waits. As they came: split by the thread that receives, since one that shares a block with another thread pays for
    /// it with each message.
    taken: Mutex<Runs<S>>,
    ready: Mutex<Ready<S>>,
    /// There is something for somebody who waits to receive, or the end has come.
    came: Condvar,
    /// Wakes the I/O thread from its poll, or keeps it from falling asleep.
    ring: Box<dyn Fn() + Send + Sync>,
}

type Runs<S> = VecDeque<(<S as Side>::From, Run)>;

/// What the program leaves for the I/O thread.
pub(super) struct Out<S: Side> {
    /// Small ones are packed at once: the thread that made them frees them, which costs another one much more.
    pub(super) entries: Vec<(S::To, Entry)>,
    packs: Packs,
    pub(super) orders: Vec<Order<S>>,
    /// How much may still be sent to whom.
    pub(super) ledger: S::Ledger,
    /// The I/O thread found nothing here and may wait in its poll: it has to be woken.
    asleep: bool,
    waiting: usize,
    /// Nothing more is taken from the program.
    closing: bool,
    /// The socket has come to its end: with so many messages not sent, or by a failure of the I/O thread.
    end: Option<Result<u64, CloseError>>,
    /// The last connection is gone too, and with it the I/O thread.
    finished: bool,
}

/// Why there is no place for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    /// It is not known yet: the I/O thread has still to pass on what was sent before.
    Ahead,
    NoSuchPeer,
}

/// What the I/O thread leaves for the program.
struct Ready<S: Side> {
    runs: Runs<S>,
    /// What they count.
    octets: usize,
    events: VecDeque<HandleEvent>,
    /// How many events were forgotten before the first of them.
    missed: u64,
    /// The I/O thread has more than there was room for.
    stalled: bool,
    waiting: usize,
    ended: bool,
}

/// What a run counts while it lies ready.
pub(super) fn charge(run: &Run) -> usize {
    run.octets().len() + ENTRY_OCTETS
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it held it only to move things.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `condition`, no longer than `wait` allows; whether it may have come true.
fn pause<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>, wait: Wait) -> (MutexGuard<'a, T>, bool) {
    match wait {
        Wait::Not => (guard, false),
        Wait::Forever => (condition.wait(guard).unwrap_or_else(PoisonError::into_inner), true),
        Wait::Until(end) => {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (guard, false);
            }
            let (guard, _) = condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
            (guard, true)
        }
    }
}

impl<S: Side> Desk<S> {
    pub(super) fn new(ledger: S::Ledger, ring: Box<dyn Fn() + Send + Sync>) -> Desk<S> {
        Desk {
            out: Mutex::new(Out {
                entries: Vec::new(),
                packs: Packs::default(),
                orders: Vec::new(),
                ledger,
                asleep: false,
                waiting: 0,
                closing: false,
                end: None,
                finished: false,
            }),
            room: Condvar::new(),
            taken: Mutex::new(VecDeque::new()),
            ready: Mutex::new(Ready {
                runs: VecDeque::new(),
                octets: 0,
                events: VecDeque::new(),
                missed: 0,
                stalled: false,
                waiting: 0,
                ended: false,
            }),
            came: Condvar::new(),
            ring,
        }
    }

    /// Leaves a message for the I/O thread, as soon as `reserve` finds that there is room for its octets. Who does not wait for
    /// room waits for the I/O thread all the same.
    pub(super) fn send(
        &self,
        mut message: Outgoing<'_>,
        wait: Wait,
        reserve: impl Fn(&mut S::Ledger, usize) -> Result<S::To, Refusal>,
    ) -> Result<(), SendError> {
        let octets = message.wire_len();
        // What is not packed is a large copy, if it is one: not under the lock.
        if !Entry::packs(octets) {
            message = message.take().into();
        }
        let mut out = lock(&self.out);
        let to = loop {
            if out.closing || out.end.is_some() {
                return Err(SendError::Closing(message.take()));
            }
            let wait = match (reserve(&mut out.ledger, octets), wait) {
                (Ok(to), _) => break to,
                (Err(Refusal::NoSuchPeer), _) => return Err(SendError::NoSuchPeer(message.take())),
                (Err(Refusal::Ahead), Wait::Not) => Wait::Forever,
                (Err(Refusal::Ahead | Refusal::Full), wait) => wait,
            };
            out.waiting += 1;
            let again;
            (out, again) = pause(&self.room, out, wait);
            out.waiting -= 1;
            if !again {
                return Err(SendError::Full(message.take()));
            }
        };
        let Out { entries, packs, .. } = &mut *out;
        let last = entries.last_mut().and_then(|(last, entry)| S::joins(last, &to).then_some(entry));
        if let Some(entry) = Entry::add(last, &mut message, octets, packs) {
            entries.push((to, entry));
        }
        self.wake(out);
        Ok(())
    }

    /// Leaves an order for the I/O thread; not if that has ended.
    pub(super) fn order(&self, order: Order<S>) -> bool {
        let mut out = lock(&self.out);
        if out.end.is_some() {
            return false;
        }
        out.orders.push(order);
        self.wake(out);
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        let out = lock(&self.out);
        out.closing || out.end.is_some()
    }

    /// Wakes the I/O thread if it sleeps; once per sleep.
    fn wake(&self, mut out: MutexGuard<'_, Out<S>>) {
        let asleep = mem::replace(&mut out.asleep, false);
        drop(out);
        if asleep {
            (self.ring)();
        }
    }

    /// Tells the I/O thread to close, waits for its end, and says how many messages were not sent. What is written by then
    /// may need longer to end in good order than `linger` allows; that is not waited for. A later call may have
    /// less patience, with the messages or with that.
    pub(super) fn close(&self, linger: Option<Duration>) -> Result<u64, CloseError> {
        let wait = linger.map_or(Wait::Forever, until);
        let mut out = lock(&self.out);
        if !out.finished {
            out.closing = true;
            // Behind the messages that were left before, and before none.
            out.orders.push(Box::new(move |engine| {
                engine.close(linger);
                Box::new(|| ())
            }));
            self.room.notify_all();
            if mem::replace(&mut out.asleep, false) {
                (self.ring)();
            }
        }
        loop {
            // The socket itself keeps to the linger.
            let wait = if out.end.is_some() { wait } else { Wait::Forever };
            let again;
            (out, again) = if out.finished { (out, false) } else { pause(&self.room, out, wait) };
            if let (Some(end), false) = (out.end, again) {
                return end;
            }
        }
    }

    /// The next message.
    pub(super) fn receive(&self, wait: Wait) -> Result<(S::From, Message), RecvError> {
        let mut taken = lock(&self.taken);
        loop {
            if let Some((from, run)) = taken.front_mut() {
                let from = from.clone();
                let message = run.pop();
                if run.messages() == 0 {
                    taken.pop_front();
                }
                // Before the message moves: a move loads it in larger pieces than it was just stored in, which the processor
                // cannot forward. After the unlock its stores are done.
                drop(taken);
                return Ok((from, message));
            }
            let ready = lock(&self.ready);
            if ready.runs.is_empty() {
                drop(taken);
                self.await_news(ready, wait)?;
                taken = lock(&self.taken);
            } else {
                self.take_over(&mut taken, ready);
            }
        }
    }

    /// Takes all runs that are ready, which makes room for as many.
    fn take_over(&self, taken: &mut Runs<S>, mut ready: MutexGuard<'_, Ready<S>>) {
        mem::swap(taken, &mut ready.runs);
        ready.octets = 0;
        let stalled = mem::take(&mut ready.stalled);
        drop(ready);
        if stalled {
            self.wake(lock(&self.out));
        }
    }

    /// The next event that is not a message.
    pub(super) fn event(&self, wait: Wait) -> Result<HandleEvent, RecvError> {
        loop {
            let mut ready = lock(&self.ready);
            let missed = mem::take(&mut ready.missed);
            if missed > 0 {
                return Ok(HandleEvent::Missed { events: missed });
            }
            if let Some(event) = ready.events.pop_front() {
                return Ok(event);
            }
            self.await_news(ready, wait)?;
        }
    }

    /// Waits until there may be something new.
    fn await_news(&self, mut ready: MutexGuard<'_, Ready<S>>, wait: Wait) -> Result<(), RecvError> {
        if ready.ended {
            return Err(RecvError::Closed);
        }
        ready.waiting += 1;
        let (mut ready, again) = pause(&self.came, ready, wait);
        ready.waiting -= 1;
        if again { Ok(()) } else { Err(RecvError::Timeout) }
    }

    // The side of the I/O thread.

    /// All that the I/O thread has to do here in a turn, with one lock: corrects the ledger, where `settle` says whether anybody
    /// has room who had none, and takes what the program has left, with the empty `entries` in its place and memory for more.
    /// If that is nothing, the I/O thread may fall asleep: whoever leaves something from now on rings.
    pub(super) fn exchange(
        &self,
        entries: &mut Vec<(S::To, Entry)>,
        packs: &mut Packs,
        settle: impl FnOnce(&mut S::Ledger) -> bool,
    ) -> Vec<Order<S>> {
        let mut out = lock(&self.out);
        let awaited = settle(&mut out.ledger) && out.waiting > 0;
        if out.end.is_none() {
            out.packs.take(packs);
        }
        mem::swap(entries, &mut out.entries);
        let orders = mem::take(&mut out.orders);
        out.asleep = entries.is_empty() && orders.is_empty();
        // Who is woken needs the lock.
        drop(out);
        if awaited {
            self.room.notify_all();
        }
        orders
    }

    /// How much the program takes now, as [`charge`] counts.
    pub(super) fn appetite(&self) -> usize {
        READY_OCTETS.saturating_sub(lock(&self.ready).octets)
    }

    /// Lays runs and events ready. If there are `more`, the I/O thread is to be woken when there is room; says whether there
    /// is some now.
    pub(super) fn lay_out(&self, runs: &mut Runs<S>, events: &mut Vec<HandleEvent>, more: bool) -> bool {
        let news = !runs.is_empty() || !events.is_empty();
        let mut ready = lock(&self.ready);
        ready.octets += runs.iter().map(|(_, run)| charge(run)).sum::<usize>();
        if ready.runs.is_empty() {
            mem::swap(&mut ready.runs, runs);
        } else {
            ready.runs.append(runs);
        }
        for event in events.drain(..) {
            if ready.events.len() == EVENTS {
                ready.events.pop_front();
                ready.missed += 1;
            }
            ready.events.push_back(event);
        }
        ready.stalled = more;
        let room = more && ready.runs.is_empty();
        let awaited = ready.waiting > 0;
        drop(ready);
        // Those who wait for a message and those who wait for an event wait at the same place.
        if awaited && news {
            self.came.notify_all();
        }
        room
    }

    /// The socket is at its end: every call that waits returns, and none waits any more. Orders are still carried out: one may be a
    /// close with less patience for the connections.
    pub(super) fn end(&self, end: Result<u64, CloseError>) {
        let mut out = lock(&self.out);
        out.end.get_or_insert(end);
        (out.entries, out.packs) = (Vec::new(), Packs::default());
        drop(out);
        lock(&self.ready).ended = true;
        self.room.notify_all();
        self.came.notify_all();
    }

    /// The I/O thread has ended.
    pub(super) fn finish(&self) {
        self.end(Err(CloseError));
        let mut out = lock(&self.out);
        out.finished = true;
        // Whoever asked something is told by the loss of the question.
        let orders = mem::take(&mut out.orders);
        drop(out);
        drop(orders);
        self.room.notify_all();
    }
}

impl<S: Side> fmt::Debug for Desk<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

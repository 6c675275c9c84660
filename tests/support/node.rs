//! Our side: an engine on a thread of its own, driven by closures, its events read with a deadline.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use zmio::net::TcpOptions;
use zmio::socket::{Dealer, Pattern, PeerInfo, Router};
use zmio::{Cause, Engine, Event, Message, Options, PeerId, Relay, RelayEvent, RelayOptions, Socket};

use super::{ANY_PORT, PATIENCE};

/// What a node does with its engine in each turn.
pub(crate) trait App<P: Pattern>: 'static {
    type Event: Send + std::fmt::Debug + 'static;

    /// After the input of a turn, before its output.
    fn turn(&mut self, engine: &mut Engine<P>);

    fn poll_event(&mut self, engine: &mut Engine<P>) -> Option<Self::Event>;

    fn timeout(&self, engine: &Engine<P>) -> Option<Duration>;
}

/// A socket whose events go to the test as they are.
pub(crate) struct Plain;

impl<P: Pattern> App<P> for Plain {
    type Event = Event;

    fn turn(&mut self, _: &mut Engine<P>) {}

    fn poll_event(&mut self, engine: &mut Engine<P>) -> Option<Event> {
        engine.poll_event()
    }

    fn timeout(&self, engine: &Engine<P>) -> Option<Duration> {
        engine.timeout()
    }
}

impl App<Router> for Relay {
    type Event = RelayEvent;

    fn turn(&mut self, engine: &mut Engine<Router>) {
        let now = engine.now();
        self.drive(now, engine.socket_mut());
    }

    fn poll_event(&mut self, _: &mut Engine<Router>) -> Option<RelayEvent> {
        Relay::poll_event(self)
    }

    fn timeout(&self, engine: &Engine<Router>) -> Option<Duration> {
        let patience = self.poll_timeout(engine.socket()).map(|at| at.saturating_duration_since(engine.now()));
        match (engine.timeout(), patience) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Called once per turn until it says that it is done.
type Command<P, A> = Box<dyn FnMut(&mut Engine<P>, &mut A) -> bool + Send>;

/// An engine and the thread that runs it. Dropping it drops the engine: its ports and connections are then closed.
pub(crate) struct Node<P: Pattern, A: App<P> = Plain> {
    commands: Option<Sender<Command<P, A>>>,
    waker: Arc<Waker>,
    held: Arc<AtomicBool>,
    events: Receiver<A::Event>,
    // Events that a wait passed over, oldest first.
    passed: RefCell<VecDeque<A::Event>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn router(options: Options) -> Node<Router> {
    Node::start(move || (Socket::router(options, seed()), Plain))
}

/// As `router`, driven by an application of the test's own.
pub(crate) fn router_with<A: App<Router> + Send>(options: Options, app: A) -> Node<Router, A> {
    Node::start(move || (Socket::router(options, seed()), app))
}

pub(crate) fn dealer(options: Options) -> Node<Dealer> {
    Node::start(move || (Socket::dealer(options, seed()), Plain))
}

pub(crate) fn relay(options: RelayOptions) -> Node<Router, Relay> {
    relay_with(options, Options::new())
}

/// As `relay`, on a socket with options of its own.
pub(crate) fn relay_with(options: RelayOptions, socket: Options) -> Node<Router, Relay> {
    Node::start(move || {
        let socket = Socket::router(options.apply(socket), seed());
        (socket, Relay::new(options))
    })
}

/// Identities are drawn from it, so no two nodes may have the same one.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

impl<P: Pattern + 'static, A: App<P>> Node<P, A> {
    /// `make` runs on the thread of the node, so that nothing has to be `Send`.
    fn start(make: impl FnOnce() -> (Socket<P>, A) + Send + 'static) -> Self {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let held = Arc::new(AtomicBool::new(false));
        let (commands, inbox) = channel();
        let (outbox, events) = channel();
        let hold = Arc::clone(&held);
        let thread = std::thread::spawn(move || {
            let (socket, app) = make();
            run(poll, socket, app, &inbox, &outbox, &hold);
        });
        Node {
            commands: Some(commands),
            waker: Arc::new(waker),
            held,
            events,
            passed: RefCell::default(),
            thread: Some(thread),
        }
    }

    /// Runs `what` on the engine, between two of its turns, and returns its result.
    #[track_caller]
    pub(crate) fn with<R: Send + 'static>(&self, what: impl FnOnce(&mut Engine<P>) -> R + Send + 'static) -> R {
        self.with_app(|engine, _| what(engine))
    }

    /// As `with`, and with what drives the engine.
    #[track_caller]
    pub(crate) fn with_app<R: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Engine<P>, &mut A) -> R + Send + 'static,
    ) -> R {
        let mut what = Some(what);
        self.ask("an answer of the engine's thread", move |engine, app| what.take().map(|what| what(engine, app)))
    }

    /// Waits until a turn of the engine leaves it as `is` says.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Engine<P>) -> bool + Send + 'static) {
        self.ask(what, move |engine, _| is(engine).then_some(()));
    }

    /// Runs `what` after each turn until it has an answer.
    #[track_caller]
    fn ask<R: Send + 'static>(
        &self,
        name: &str,
        mut what: impl FnMut(&mut Engine<P>, &mut A) -> Option<R> + Send + 'static,
    ) -> R {
        let (answer, result) = channel();
        let command: Command<P, A> = Box::new(move |engine, app| match what(engine, app) {
            Some(result) => {
                let _ = answer.send(result);
                true
            }
            None => false,
        });
        let commands = self.commands.as_ref().expect("not stopped");
        let sent = commands.send(command).is_ok();
        self.waker.wake().expect("a waker that works");
        match result.recv_timeout(PATIENCE) {
            Ok(result) if sent => result,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} in vain for {name}"),
            _ => panic!("the engine's thread ended"),
        }
    }

    /// Runs `what` while no event is taken from the socket: an application that does not receive.
    pub(crate) fn while_held<R>(&self, what: impl FnOnce() -> R) -> R {
        self.held.store(true, Ordering::SeqCst);
        let result = what();
        self.held.store(false, Ordering::SeqCst);
        self.waker.wake().expect("a waker that works");
        result
    }

    #[track_caller]
    pub(crate) fn bind(&self) -> String {
        self.bind_to(ANY_PORT)
    }

    #[track_caller]
    pub(crate) fn bind_to(&self, endpoint: &str) -> String {
        let endpoint = endpoint.parse().expect("an endpoint");
        match self.with(move |engine| engine.bind(&endpoint)) {
            Ok(bound) => bound.to_string(),
            Err(error) => panic!("cannot bind: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn connect(&self, endpoint: &str) -> PeerId {
        let endpoint = endpoint.parse().expect("an endpoint");
        match self.with(move |engine| engine.connect(&endpoint)) {
            Ok(peer) => peer,
            Err(error) => panic!("cannot connect: {error}"),
        }
    }

    /// The first event that `pick` takes; those before it stay for later waits.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, pick: impl FnMut(&A::Event) -> Option<T>) -> T {
        match self.wait_within(PATIENCE, pick) {
            Some(found) => found,
            None => panic!("waited {PATIENCE:?} in vain for {what}; seen: {:?}", self.passed.borrow()),
        }
    }

    /// As `wait_for`, but `None` when it did not come within `patience`.
    #[track_caller]
    pub(crate) fn wait_within<T>(&self, patience: Duration, mut pick: impl FnMut(&A::Event) -> Option<T>) -> Option<T> {
        let mut passed = self.passed.borrow_mut();
        for at in 0..passed.len() {
            if let Some(found) = pick(&passed[at]) {
                passed.remove(at);
                return Some(found);
            }
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => match pick(&event) {
                    Some(found) => return Some(found),
                    None => passed.push_back(event),
                },
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the engine's thread ended"),
            }
        }
    }

    /// Fails if an event that `pick` takes has come or comes while `quiet` passes.
    #[track_caller]
    pub(crate) fn expect_none<T: std::fmt::Debug>(
        &self,
        what: &str,
        quiet: Duration,
        pick: impl FnMut(&A::Event) -> Option<T>,
    ) {
        if let Some(found) = self.wait_within(quiet, pick) {
            panic!("{what}: {found:?}");
        }
    }
}

impl<P: Pattern + 'static> Node<P> {
    #[track_caller]
    pub(crate) fn connected(&self) -> (PeerId, PeerInfo) {
        self.wait_for("Connected", |event| match event {
            Event::Connected { peer, info } => Some((*peer, PeerInfo::clone(info))),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn message(&self) -> (PeerId, Vec<Vec<u8>>) {
        self.wait_for("a message", |event| match event {
            Event::Message { peer, message } => Some((*peer, frames(message))),
            _ => None,
        })
    }

    /// The cause for which `peer` was disconnected.
    #[track_caller]
    pub(crate) fn disconnected(&self, peer: PeerId) -> Cause {
        self.wait_for("Disconnected", |event| match event {
            Event::Disconnected(end) if end.peer == peer => Some(end.cause.clone()),
            _ => None,
        })
    }

    /// The cause for which some connection ended before its handshake was complete.
    #[track_caller]
    pub(crate) fn rejected(&self) -> Cause {
        self.wait_for("Rejected", |event| match event {
            Event::Rejected(end) => Some(end.cause.clone()),
            _ => None,
        })
    }

    /// Fails if a connection is lost while `quiet` passes.
    #[track_caller]
    pub(crate) fn expect_no_loss(&self, quiet: Duration) {
        self.expect_none("lost a connection", quiet, |event| match event {
            Event::Disconnected(end) => Some(end.cause.clone()),
            Event::Rejected(end) => Some(end.cause.clone()),
            _ => None,
        });
    }
}

impl Node<Router> {
    #[track_caller]
    pub(crate) fn send<F: AsRef<[u8]>>(&self, peer: PeerId, frames: &[F]) {
        let message = Message::multipart(frames);
        let sent = self.with(move |engine| engine.socket_mut().send(peer, message));
        assert!(sent.is_ok(), "our ROUTER cannot send: {sent:?}");
    }
}

impl Node<Dealer> {
    #[track_caller]
    pub(crate) fn send<F: AsRef<[u8]>>(&self, frames: &[F]) {
        let message = Message::multipart(frames);
        let sent = self.with(move |engine| engine.socket_mut().send(message));
        assert!(sent.is_ok(), "our DEALER cannot send: {sent:?}");
    }
}

impl<P: Pattern, A: App<P>> Drop for Node<P, A> {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.waker.wake();
        let thread = self.thread.take().expect("dropped once");
        if let Err(panic) = thread.join() {
            if !std::thread::panicking() {
                resume_unwind(panic);
            }
        }
    }
}

/// The frames of a message as libzmq's binding has them.
pub(crate) fn frames(message: &Message) -> Vec<Vec<u8>> {
    message.frames().map(<[u8]>::to_vec).collect()
}

fn run<P: Pattern, A: App<P>>(
    mut poll: Poll,
    socket: Socket<P>,
    mut app: A,
    inbox: &Receiver<Command<P, A>>,
    outbox: &Sender<A::Event>,
    held: &AtomicBool,
) {
    let mut events = Events::with_capacity(256);
    let mut commands: Vec<Command<P, A>> = Vec::new();
    let tokens = 1..usize::MAX;
    let mut engine = Engine::new(poll.registry(), tokens, socket, TcpOptions::new()).expect("an engine");
    loop {
        match poll.poll(&mut events, app.timeout(&engine)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("poll: {error}"),
            _ => {}
        }
        engine.process(&events);
        loop {
            match inbox.try_recv() {
                Ok(command) => commands.push(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        commands.retain_mut(|command| !command(&mut engine, &mut app));
        app.turn(&mut engine);
        while !held.load(Ordering::SeqCst) {
            let Some(event) = app.poll_event(&mut engine) else { break };
            // The test may have ended already.
            let _ = outbox.send(event);
        }
        engine.flush();
    }
}

//! What holds for one connection, whatever octets come and however they are cut into pieces.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use zmio::conn::{Config, Connection, Credit, Error, Event, SendError};
use zmio::{Heartbeat, Instant, Mark, Message, SocketType};

#[allow(dead_code, reason = "shared with other tests, which use other parts")]
#[path = "../support/octets.rs"]
mod octets;
#[path = "../support/stream.rs"]
mod stream;

mod conversation;

use conversation::{body, conversation, fault};
use stream::{Decoder, Item};

type Frames = Vec<Vec<u8>>;

/// What a user of the connection sees, in an order of its own.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Ready(Vec<u8>),
    Message(Frames),
    Failed(Error),
}

struct Watched {
    connection: Connection,
    seen: Vec<Seen>,
    error: Option<Error>,
}

impl Watched {
    fn new(config: Config) -> Self {
        Self { connection: Connection::new(Arc::new(config), Instant::ZERO), seen: Vec::new(), error: None }
    }

    fn feed(&mut self, mut input: &[u8], credit: Credit) {
        while !input.is_empty() {
            match self.connection.handle_input(Instant::ZERO, input, credit) {
                Ok(step) => {
                    assert!(self.error.is_none(), "a failed connection came back to life");
                    assert!(step.taken > 0 || step.event.is_some(), "no step forward");
                    assert!(step.taken <= input.len(), "more octets taken than there were");
                    match step.event {
                        None => {}
                        Some(Event::Ready(info)) => self.seen.push(Seen::Ready(info.identity.to_vec())),
                        Some(Event::Message(message)) => self.saw(&message),
                        Some(Event::Run(run)) => {
                            assert!(run.messages() <= credit.messages.max(1), "more messages than credit");
                            let messages: Vec<Message> = run.to_run().iter().collect();
                            assert_eq!(messages.len(), run.messages() as usize);
                            messages.iter().for_each(|message| self.saw(message));
                        }
                    }
                    input = &input[step.taken..];
                }
                Err(error) => {
                    match &self.error {
                        Some(first) => assert_eq!(first, &error, "the first error did not stick"),
                        None => self.seen.push(Seen::Failed(error.clone())),
                    }
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    fn saw(&mut self, message: &Message) {
        assert!(self.connection.is_ready() || self.error.is_some(), "a message before READY");
        self.seen.push(Seen::Message(message.frames().map(<[u8]>::to_vec).collect()));
    }

    /// All that is to be written, in pieces of at most `piece` octets.
    fn written(&mut self, piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut slices = [&[][..]; 3];
            let filled = self.connection.gather(&mut slices);
            let mut octets = slices[..filled].concat();
            if octets.is_empty() {
                return all;
            }
            octets.truncate(piece);
            self.connection.sent(octets.len());
            all.extend(octets);
        }
    }
}

/// Cuts `octets` into pieces whose sizes are taken from `sizes`, over and over.
fn pieces<'a>(octets: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = octets;
    sizes.iter().cycle().map_while(move |&size| {
        let (piece, left) = rest.split_at(size.min(rest.len()));
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

fn router() -> Config {
    Config::new(SocketType::Router)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_chunking_gives_the_events_and_the_answers_of_one_chunk(
        (octets, said) in conversation(),
        sizes in vec(prop_oneof![1..4_usize, 1..100_usize, Just(5000_usize)], 1..20),
        messages in 1..5_u32,
    ) {
        let mut whole = Watched::new(router());
        whole.feed(&octets, Credit::UNLIMITED);
        let messages_seen = whole.seen.iter().filter_map(|seen| match seen {
            Seen::Message(frames) => Some(frames),
            _ => None,
        });
        prop_assert!(messages_seen.take(said.len()).eq(&said), "{:?} is not what was said", whole.seen);
        let mut cut = Watched::new(router());
        for piece in pieces(&octets, &sizes) {
            cut.feed(piece, Credit { messages, octets: 1000 });
        }
        prop_assert_eq!(&whole.seen, &cut.seen);
        prop_assert_eq!(whole.written(usize::MAX), cut.written(7));
    }

    #[test]
    fn a_conversation_that_breaks_off_gives_a_beginning_of_its_events((octets, _) in conversation(), at in any::<prop::sample::Index>()) {
        let mut whole = Watched::new(router());
        whole.feed(&octets, Credit::UNLIMITED);
        let mut begun = Watched::new(router());
        begun.feed(&octets[..at.index(octets.len())], Credit::UNLIMITED);
        prop_assert!(whole.seen.starts_with(&begun.seen), "{:?} does not begin with {:?}", whole.seen, begun.seen);
    }

    #[test]
    fn no_octets_and_no_order_of_calls_make_it_panic_and_the_first_error_sticks(
        greeted in 0..3_u8,
        operations in vec((0..9_u8, vec(any::<u8>(), 0..80), 0..2000_u64), 1..60),
    ) {
        let heartbeat = Heartbeat::every(Duration::from_millis(300)).ttl(Duration::from_secs(1));
        let mut watched = Watched::new(Config { heartbeat: Some(heartbeat), ..router() });
        let mut now = Instant::ZERO;
        if greeted > 0 {
            watched.feed(&octets::greeting(), Credit::UNLIMITED);
        }
        if greeted > 1 {
            watched.feed(&octets::ready("DEALER", b""), Credit::UNLIMITED);
        }
        for (operation, octets, number) in operations {
            match operation {
                0..=2 => watched.feed(&octets, Credit { messages: 2, octets: number as usize }),
                3 => {
                    now = now + Duration::from_millis(number);
                    if let Err(error) = watched.connection.handle_timeout(now) {
                        let first = watched.error.get_or_insert_with(|| error.clone());
                        prop_assert_eq!(&*first, &error);
                    }
                    let next = watched.connection.poll_timeout();
                    prop_assert!(next.is_none_or(|due| due > now), "{:?} is past at {:?}", next, now);
                }
                4 => drop(watched.written(number as usize + 1)),
                5 => {
                    let sent = watched.connection.send(Message::from(octets));
                    prop_assert_eq!(sent.is_ok(), watched.connection.is_ready());
                }
                6 => watched.connection.pause(now),
                7 => watched.connection.resume(now),
                _ => watched.feed(&octets::ping(number as u16, &octets[..octets.len().min(16)]), Credit::UNLIMITED),
            }
            prop_assert!(!(watched.error.is_some() && watched.connection.is_ready()));
        }
        let first = watched.error.clone();
        watched.feed(b"more", Credit::UNLIMITED);
        prop_assert!(first.is_none() || watched.error == first);
    }

    #[test]
    fn what_is_sent_comes_out_whole_and_in_order_with_answers_only_between_messages(
        operations in vec((0..3_u8, vec(body(), 1..4), 1..3000_usize), 1..60),
    ) {
        let mut watched = Watched::new(router());
        watched.feed(&octets::greeting(), Credit::UNLIMITED);
        watched.feed(&octets::ready("DEALER", b""), Credit::UNLIMITED);
        let mut accepted: Vec<Frames> = Vec::new();
        let (mut pinged, mut out) = (Vec::new(), Vec::new());
        for (operation, frames, piece) in operations {
            match operation {
                0 => {
                    watched.connection.send(Message::multipart(&frames)).expect("far below the mark");
                    accepted.push(frames);
                }
                1 => {
                    let context = vec![pinged.len() as u8; piece % 17];
                    watched.feed(&octets::ping(0, &context), Credit::UNLIMITED);
                    pinged.push(context);
                }
                _ => {
                    let mut slices = [&[][..]; 4];
                    let filled = watched.connection.gather(&mut slices);
                    let octets = slices[..filled].concat();
                    let octets = &octets[..piece.min(octets.len())];
                    watched.connection.sent(octets.len());
                    out.extend_from_slice(octets);
                }
            }
        }
        out.extend(watched.written(1000));
        let (mut messages, mut pongs) = (Vec::new(), Vec::new());
        let mut decoder = Decoder::default();
        decoder.feed(&out);
        while let Some(item) = decoder.next().expect("well-formed output") {
            match item {
                Item::Message(frames) => messages.push(frames),
                Item::Command { name, body } if name == b"PONG" => {
                    prop_assert!(!decoder.inside_message(), "a PONG inside a message");
                    pongs.push(body);
                }
                _ => {}
            }
        }
        prop_assert!(decoder.at_boundary());
        prop_assert_eq!(messages, accepted);
        // Of a flood some may go unanswered; those that are answered are in order.
        let mut asked = pinged.iter();
        prop_assert!(pongs.iter().all(|pong| asked.any(|ping| ping == pong)));
        prop_assert!(pinged.len() > 16 || pongs.len() == pinged.len());
    }

    #[test]
    fn the_last_words_follow_what_was_written_without_a_seam(
        frames in vec(body(), 1..3),
        written in 0..700_usize,
        fault in fault(),
    ) {
        let mut watched = Watched::new(router());
        watched.feed(&octets::greeting(), Credit::UNLIMITED);
        watched.feed(&octets::ready("DEALER", b""), Credit::UNLIMITED);
        watched.connection.send(Message::multipart(&frames)).expect("the queue is empty");
        watched.feed(&octets::ping(0, b"?"), Credit::UNLIMITED);
        let mut slices = [&[][..]; 8];
        let filled = watched.connection.gather(&mut slices);
        let mut out = slices[..filled].concat();
        out.truncate(written);
        watched.connection.sent(out.len());
        watched.feed(&fault, Credit::UNLIMITED);
        let last = watched.connection.into_last_words();
        let mut decoder = Decoder::default();
        decoder.feed(&out);
        decoder.feed(&last);
        while decoder.next().expect("well-formed output").is_some() {}
        // A message that was begun breaks off there; nothing may come after it.
        prop_assert!(decoder.at_boundary() || last.is_empty());
    }

    #[test]
    fn any_octet_is_a_sign_of_life_and_silence_is_none(
        gaps in vec(1..250_u64, 1..40),
        pause in prop::option::of(0..5000_u64),
    ) {
        let millis = Duration::from_millis;
        let heartbeat = Heartbeat::every(millis(200)).timeout(millis(300));
        let mut watched = Watched::new(Config { heartbeat: Some(heartbeat), ..router() });
        watched.feed(&octets::greeting(), Credit::UNLIMITED);
        watched.feed(&octets::ready("DEALER", b""), Credit::UNLIMITED);
        let connection = &mut watched.connection;
        let mut now = Instant::ZERO;
        // Lets time pass up to `end` and says when it was given up.
        let pass = |connection: &mut Connection, end: Instant| {
            while let Some(due) = connection.poll_timeout().filter(|&due| due <= end) {
                if connection.handle_timeout(due).is_err() {
                    return Some(due);
                }
                connection.sent(usize::MAX);
            }
            None
        };
        for gap in gaps {
            now = now + millis(gap);
            prop_assert_eq!(pass(connection, now), None, "given up though it talks");
            // One octet of a long message, and never a PONG.
            let octet: &[u8] = if now == Instant::from_millis(gap) { &[2] } else { &[0] };
            let _ = connection.handle_input(now, octet, Credit::UNLIMITED);
        }
        if let Some(pause) = pause {
            connection.pause(now);
            now = now + millis(pause);
            prop_assert_eq!(pass(connection, now), None, "given up though nobody reads it");
            connection.resume(now);
        }
        // At worst the peer fell silent right after a PING of which it was then heard: that one runs out, and the
        // next one too, which comes up to an interval later.
        let given_up = pass(connection, now + Duration::from_secs(60));
        prop_assert!(given_up.is_some_and(|at| at <= now + millis(300 + 200 + 300)), "{:?} at {:?}", given_up, now);
    }

    #[test]
    fn a_queue_never_passes_its_mark(
        messages in 1..6_u32,
        octets in 100..2000_u64,
        sends in vec((body(), 0..400_usize), 1..40),
    ) {
        let mark = Mark { messages: Some(messages), octets: Some(octets) };
        let mut watched = Watched::new(Config { send_mark: mark, ..router() });
        watched.feed(&octets::greeting(), Credit::UNLIMITED);
        watched.feed(&octets::ready("DEALER", b""), Credit::UNLIMITED);
        watched.written(1000);
        let mut queued = 0_usize;
        let mut waiting: Vec<usize> = Vec::new();
        for (body, write) in sends {
            let message = Message::from(body);
            let size = message.wire_len();
            match watched.connection.send(message.clone()) {
                Ok(()) => {
                    waiting.push(size);
                    prop_assert!(waiting.len() == 1 || waiting.len() <= messages as usize);
                    prop_assert!(waiting.len() == 1 || waiting.iter().sum::<usize>() as u64 <= octets);
                }
                Err(SendError::Full(back)) => {
                    prop_assert_eq!(back, message);
                    prop_assert!(!waiting.is_empty(), "an empty queue takes any one message");
                }
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
            let mut slices = [&[][..]; 8];
            let filled = watched.connection.gather(&mut slices);
            let written = slices[..filled].iter().map(|slice| slice.len()).sum::<usize>().min(write);
            watched.connection.sent(written);
            queued += written;
            while waiting.first().is_some_and(|&first| first <= queued) {
                queued -= waiting.remove(0);
            }
        }
    }
}

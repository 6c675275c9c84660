//! What is measured: something that is done over and over, each time to the same end.

use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use zmio::message::Run;
use zmio::{Event, Message, Options, Relay, RelayOptions, Slow};

use super::{NOW, dealer, join, message, receive, router, runs, wire, write_all, write_pending};

/// What comes or goes in one turn for each peer, or from all senders to all others.
pub(crate) const TURN_OCTETS: usize = 64 * 1024;

/// What a read takes of a message that is larger.
const READ_OCTETS: usize = 64 * 1024;

/// What fits into one TCP segment on Ethernet.
const SEGMENT_OCTETS: usize = 1_448;

/// So many messages are made in a turn where nothing else bounds it.
const MADE: usize = 64;

/// A turn that can be taken again and again.
pub(crate) struct Load {
    /// The messages of a turn, or deliveries where one message goes to many.
    pub(crate) messages: usize,
    turn: Box<dyn FnMut() -> usize>,
}

impl Load {
    /// `turn` says how many messages or deliveries came of it. It is taken once here, so that no later one is the first.
    fn new(messages: usize, turn: impl FnMut() -> usize + 'static) -> Load {
        let mut load = Load { messages, turn: Box::new(turn) };
        load.turn();
        load
    }

    pub(crate) fn turn(&mut self) {
        assert_eq!((self.turn)(), self.messages, "messages or deliveries in a turn");
    }
}

/// Where input is cut into pieces.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// Nowhere.
    Nowhere,
    /// After each TCP segment.
    Segments,
    /// In the middle of each message.
    Messages,
}

/// A connection takes messages; those that come whole are not copied.
pub(crate) fn decode(octets: usize, delimited: bool, cut: Cut) -> Load {
    let message = wire(&message(octets, delimited));
    let messages = messages_in(TURN_OCTETS, message.len());
    let input = message.repeat(messages);
    let pieces = pieces(input.len(), message.len(), cut);
    let mut router = join().router;
    Load::new(messages, move || pieces.iter().map(|piece| receive(&mut router, &input[piece.clone()])).sum())
}

fn pieces(octets: usize, message: usize, cut: Cut) -> Vec<Range<usize>> {
    let (first, step) = match cut {
        Cut::Nowhere => (octets, octets),
        Cut::Segments => (SEGMENT_OCTETS, SEGMENT_OCTETS),
        Cut::Messages => (message / 2, message),
    };
    let starts = std::iter::once(0).chain((first..octets).step_by(step));
    let ends = (first..octets).step_by(step).chain([octets]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// Messages are made of a body that is copied.
pub(crate) fn make_from_slice(octets: usize) -> Load {
    let body = vec![b'x'; octets];
    make(move || Message::from(black_box(&body[..])))
}

/// Messages are made of an empty frame and a body that is copied.
pub(crate) fn make_multipart(octets: usize) -> Load {
    let body = vec![b'x'; octets];
    make(move || Message::multipart(black_box([&[], &body[..]])))
}

/// Messages are made of an empty frame and a body that is given away.
pub(crate) fn make_with_builder(octets: usize) -> Load {
    let body = Bytes::from(vec![b'x'; octets]);
    make(move || Message::builder().frame("").frame(black_box(&body).clone()).finish())
}

fn make(message: impl Fn() -> Message + 'static) -> Load {
    Load::new(MADE, move || (0..MADE).map(|_| drop(black_box(message()))).count())
}

/// A connection sends messages that are there already.
pub(crate) fn connection_send(octets: usize) -> Load {
    let message = message(octets, false);
    let messages = messages_in(TURN_OCTETS, message.wire_len()).min(500);
    let mut dealer = join().dealer;
    Load::new(messages, move || {
        for _ in 0..messages {
            dealer.send(message.clone()).expect("room");
        }
        write_pending(&mut dealer) / message.wire_len()
    })
}

/// A ROUTER passes what some clients sent on to all others. Counts deliveries.
pub(crate) fn fan_out(clients: usize, senders: usize, octets: usize) -> Load {
    let message = wire(&message(octets, false));
    let messages = messages_in(TURN_OCTETS / senders, message.len());
    let runs: Vec<Run> = runs(&message.repeat(messages));
    // With a relay's marks: no turn reaches them.
    let (mut socket, peers) = router(RelayOptions::new().apply(Options::new()), clients);
    Load::new(senders * messages * (clients - 1), move || {
        for peer in &peers[..senders] {
            for run in &runs {
                socket.broadcast_run_except(Some(*peer), run);
            }
        }
        write_all(&mut socket) / message.len()
    })
}

/// A ROUTER receives from some peers, up to so many octets of each in a turn, or one message if that is larger. Each
/// message is dropped before the next is taken.
pub(crate) fn router_receive(peers: usize, octets: usize, turn_octets: usize) -> Load {
    let message = wire(&message(octets, false));
    let messages = messages_in(turn_octets, message.len());
    let input = message.repeat(messages);
    let (mut socket, peers) = router(Options::new(), peers);
    let mut taken = vec![0; peers.len()];
    Load::new(peers.len() * messages, move || {
        let mut received = 0;
        taken.fill(0);
        while taken.iter().any(|taken| *taken < input.len()) {
            for (peer, taken) in peers.iter().zip(&mut taken) {
                let end = input.len().min(*taken + READ_OCTETS);
                *taken += socket.handle_input(NOW, *peer, &input[*taken..end]);
            }
            while let Some(event) = socket.poll_event() {
                if let Event::Message { message, .. } = event {
                    received += 1;
                    drop(black_box(message));
                }
            }
            // A peer at its mark pauses and goes on.
            write_all(&mut socket);
        }
        received
    })
}

/// A DEALER sends messages that are there already to its peers in turn.
pub(crate) fn dealer_send(peers: usize, octets: usize) -> Load {
    let message = message(octets, false);
    let messages = peers * messages_in(TURN_OCTETS, message.wire_len()).min(500);
    let (mut socket, _) = dealer(Options::new(), peers);
    Load::new(messages, move || {
        for _ in 0..messages {
            socket.send(message.clone()).expect("room");
        }
        write_all(&mut socket) / message.wire_len()
    })
}

/// A DEALER sends octets, of which no message was made, to its peers in turn.
pub(crate) fn dealer_send_octets(peers: usize, octets: usize) -> Load {
    let body = vec![b'x'; octets];
    let size = Message::from(&body[..]).wire_len();
    let messages = peers * messages_in(TURN_OCTETS, size).min(500);
    let (mut socket, _) = dealer(Options::new(), peers);
    Load::new(messages, move || {
        for _ in 0..messages {
            socket.send(&black_box(&body)[..]).expect("room");
        }
        write_all(&mut socket) / size
    })
}

/// A ROUTER sends messages that are there already to its peers in turn.
pub(crate) fn router_send(peers: usize, octets: usize) -> Load {
    let message = message(octets, false);
    let messages = messages_in(TURN_OCTETS, message.wire_len()).min(500);
    let (mut socket, peers) = router(Options::new(), peers);
    Load::new(peers.len() * messages, move || {
        for _ in 0..messages {
            for peer in &peers {
                socket.send(*peer, message.clone()).expect("room");
            }
        }
        write_all(&mut socket) / message.wire_len()
    })
}

/// A relay takes in what some clients sent, up to so many octets in a turn or one message of each, and passes it on to all
/// others. Counts deliveries.
pub(crate) fn relay(clients: usize, senders: usize, octets: usize, turn_octets: usize) -> Load {
    let message = wire(&message(octets, false));
    let messages = messages_in(turn_octets / senders, message.len());
    let input = message.repeat(messages);
    let options = RelayOptions::new().slow(Slow::Wait { patience: Duration::from_secs(10) });
    let (mut socket, peers) = router(options.apply(Options::new()), clients);
    let mut relay = Relay::new(options);
    Load::new(senders * messages * (clients - 1), move || {
        for peer in &peers[..senders] {
            assert_eq!(socket.handle_input(NOW, *peer, &input), input.len());
        }
        relay.drive(NOW, &mut socket);
        assert!(relay.poll_event().is_none());
        write_all(&mut socket) / message.len()
    })
}

/// How many whole messages so many octets have room for; one in any case.
fn messages_in(octets: usize, message: usize) -> usize {
    (octets / message).max(1)
}

//! Frames and commands after the handshake: what ends a connection, and what must not.

use zmio::Message;

use crate::support::octets::{self, COMMAND, LONG, MORE, command, frame, header, message, ping};
use crate::victim::{self, Bad, CHUNKS, MESSAGE_LIMIT, bad, good_handshake};

fn framing() -> Vec<Bad> {
    let mut cases: Vec<Bad> =
        [8, 16, 32, 64, 128].map(|bit| bad("a reserved bit", frame(bit, b"hello"), "reserved")).into();
    cases.extend([
        bad("a reserved bit and MORE", frame(MORE | 8, b"hello"), "reserved"),
        bad("all bits", [0xff, 5], "reserved"),
        bad("COMMAND with MORE", frame(COMMAND | MORE, b"\x04PING\0\0"), "more frames"),
        bad("a size of 2^63", header(LONG, 1 << 63), "9223372036854775808"),
        bad("a size of 2^64-1", header(LONG, u64::MAX), "18446744073709551615"),
        bad("a size of 2^63-1", header(LONG, (1 << 63) - 1), "limit"),
        bad("a size of 2^32", header(LONG, 1 << 32), "limit"),
        bad("a size of 2^31", header(LONG, 1 << 31), "limit"),
        bad("a message above the limit", header(LONG, MESSAGE_LIMIT as u64 + 1), "limit"),
    ]);
    cases
}

fn endless() -> Vec<Bad> {
    let many = |body: &[u8], count: usize| frame(MORE, body).repeat(count);
    let near_limit = [frame(MORE, &vec![1; MESSAGE_LIMIT - 100]), frame(MORE, &[1; 200])].concat();
    vec![
        bad("endless MORE with empty frames", many(b"", 8_193), "frames"),
        bad("endless MORE with one octet each", many(b"x", 8_193), "frames"),
        bad("endless MORE with 1 KiB each", many(&[0; 1024], 200), "limit"),
        bad("two frames above the limit together", near_limit, "limit"),
    ]
}

fn commands() -> Vec<Bad> {
    vec![
        bad("a second READY", octets::ready("DEALER", b""), "a second READY"),
        bad("ERROR", octets::error(b"enough"), "\"enough\""),
        bad("ERROR with control octets", octets::error(b"\0"), "0x00"),
        bad("an empty command", frame(COMMAND, b""), "empty"),
        bad("a command without a name", frame(COMMAND, &[0]), "name"),
        bad("a name that overruns", frame(COMMAND, b"\x05PING"), "name"),
        bad("PING of 5 octets", frame(COMMAND, b"\x04PING"), "5 octets"),
        bad("PING of 6 octets", frame(COMMAND, b"\x04PING\0"), "6 octets"),
        bad("PING with 17 octets of context", ping(0, &[b'c'; 17]), "17 octets"),
        bad("PING with 255 octets of context", ping(0, &[b'c'; 255]), "255 octets"),
        bad("PONG with 17 octets of context", octets::pong(&[b'c'; 17]), "17 octets"),
        bad("a command above 64 KiB", header(COMMAND | LONG, (64 << 10) + 1), "limit"),
        bad("a command of 16 MiB", header(COMMAND | LONG, 16 << 20), "limit"),
    ]
}

/// After a handshake and one good message; the case is the last that is heard.
fn assert_disconnected(cases: &[Bad], chunks: &[usize]) {
    for Bad { name, octets, cause } in cases {
        for chunk in chunks {
            let mut victim = victim::router();
            let bystander = victim.assert_serves("nothing");
            let peer = victim.accept();
            let input = [&good_handshake(), &message(&["good"]), octets, &message(&["too late"])[..]].concat();
            victim.feed(peer, &input, *chunk);
            let (connected, words) = victim.end(peer).unwrap_or_else(|| panic!("{name}: nobody was told"));
            assert!(connected, "{name}: was never connected: {words}");
            assert!(words.contains(cause), "{name}: the cause says «{words}», not «{cause}»");
            assert!(victim.has_closed(peer), "{name}: left open");
            assert_eq!(victim.messages(peer), [Message::from("good")], "{name}: R5, A2.6");
            assert!(victim.end(bystander).is_none(), "{name}: hit another peer");
            victim.assert_serves(name);
        }
    }
}

#[test]
fn bad_framing_disconnects() {
    assert_disconnected(&framing(), &CHUNKS);
}

#[test]
fn messages_without_end_disconnect() {
    assert_disconnected(&endless(), &[usize::MAX, 64, 4096]);
}

#[test]
fn bad_commands_disconnect() {
    assert_disconnected(&commands(), &CHUNKS);
}

#[test]
fn a_dealer_disconnects_over_the_same() {
    for Bad { name, octets, cause } in framing().into_iter().chain(commands()) {
        let mut victim = victim::dealer();
        let peer = victim.accept();
        victim.feed(peer, &[good_handshake(), octets].concat(), usize::MAX);
        let (connected, words) = victim.end(peer).unwrap_or_else(|| panic!("{name}: nobody was told"));
        assert!(connected && words.contains(cause), "{name}: «{words}», not «{cause}»");
        victim.assert_serves(name);
    }
}

/// Between the frames of a message too: commands neither end nor join it.
#[test]
fn commands_that_mean_nothing_to_us_are_passed_over() {
    let commands = [
        command(b"UNHEARD-OF", b"\0\xff"),
        command(b"X", b""),
        command(&[0xfe; 255], b""),
        command(b"ping", b""),
        command(b"SUBSCRIBE", b"A"),
        command(b"CANCEL", b"A"),
        command(b"JOIN", b"A"),
        command(b"LEAVE", b"A"),
        octets::pong(b"never asked"),
        octets::pong(&[0; 16]),
        ping(0, b""),
        ping(0, &[0; 16]),
        [header(COMMAND | LONG, 7), b"\x04PING\0\0".to_vec()].concat(),
        command(b"BIG", &[0; 60_000]),
    ];
    for octets in &commands {
        let around = [octets, &frame(MORE, b"one"), octets, &frame(MORE, b""), octets, &frame(0, b"three")[..]];
        let input = [&good_handshake()[..], &around.concat(), octets].concat();
        for chunk in CHUNKS {
            let mut victim = victim::router();
            let peer = victim.accept();
            victim.feed(peer, &input, chunk);
            assert_eq!(victim.end(peer), None);
            let whole = Message::multipart(["one", "", "three"]);
            assert_eq!(victim.messages(peer), [whole]);
        }
    }
}

#[test]
fn legal_frames_of_every_form_are_delivered() {
    let exactly = vec![7; MESSAGE_LIMIT - 9];
    let cases: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![
        (frame(0, b""), vec![vec![]]),
        (header(LONG, 0), vec![vec![]]),
        ([header(LONG, 2), b"hi".to_vec()].concat(), vec![b"hi".to_vec()]),
        ([header(LONG | MORE, 1), b"a".to_vec(), frame(0, b"b")].concat(), vec![b"a".to_vec(), b"b".to_vec()]),
        (frame(0, &[1; 255]), vec![vec![1; 255]]),
        (frame(0, &[1; 256]), vec![vec![1; 256]]),
        (frame(MORE, b"").repeat(8_191).into_iter().chain([0, 0]).collect(), vec![vec![]; 8_192]),
        (frame(0, &exactly), vec![exactly]),
    ];
    for (octets, frames) in cases {
        for chunk in CHUNKS {
            let mut victim = victim::router();
            let peer = victim.accept();
            victim.feed(peer, &[good_handshake(), octets.clone()].concat(), chunk);
            assert_eq!(victim.end(peer), None);
            assert!(victim.messages(peer) == [Message::multipart(&frames)], "{} frames", frames.len());
        }
    }
}

/// Whatever comes: no panic, one end at most, and the next is served.
#[test]
fn noise_after_any_beginning_harms_nobody() {
    let beginnings = [
        vec![],
        octets::greeting(),
        good_handshake(),
        [&good_handshake()[..], &frame(MORE, b"begun"), &header(LONG, 300)].concat(),
        [good_handshake(), header(COMMAND | LONG, 300)].concat(),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |octets: usize| -> Vec<u8> {
        let random = std::iter::repeat_with(|| {
            // xorshift64: the same octets in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        });
        // Small numbers are likelier to be legal flags and sizes, and lead deeper.
        random.take(octets).map(|n| if n & 0x300 == 0 { n as u8 } else { n as u8 & 7 }).collect()
    };
    for beginning in beginnings {
        let mut victim = victim::router();
        for _ in 0..300 {
            let peer = victim.accept();
            let input = [beginning.clone(), noise(400)].concat();
            victim.feed(peer, &input, 64);
            if victim.end(peer).is_none() {
                victim.eof(peer);
            }
            assert!(victim.end(peer).is_some(), "neither closed nor able to end");
        }
        victim.assert_serves("noise");
    }
}

/// A2.6, E27: the end may come after each octet; what is not whole is never delivered.
#[test]
fn an_end_in_the_middle_delivers_whole_messages_only() {
    let first = message(&["first"]);
    let second = message(&["the", "", "second"]);
    let input = [&good_handshake()[..], &first, &second].concat();
    let start = good_handshake().len();
    for end in 0..=input.len() {
        let mut victim = victim::router();
        let peer = victim.accept();
        victim.feed(peer, &input[..end], usize::MAX);
        victim.eof(peer);
        let whole = usize::from(end >= start + first.len()) + usize::from(end == input.len());
        assert_eq!(victim.messages(peer).len(), whole, "after {end} octets");
        let (connected, _) = victim.end(peer).expect("one event at the end");
        assert_eq!(connected, end >= start, "after {end} octets");
    }
}

/// PONGs wait to be sent in bounded memory: a flood that does not read its answers is closed, or some are left out.
#[test]
fn a_flood_of_pings_whose_answers_are_never_read_is_bounded() {
    let mut victim = victim::router();
    let peer = victim.accept();
    victim.feed(peer, &good_handshake(), usize::MAX);
    victim.written(peer);
    let flood = ping(0, &[b'c'; 16]).repeat(100_000);
    victim.feed(peer, &flood, 4096);
    if victim.end(peer).is_none() {
        let pending = victim.written(peer).len();
        assert!(pending < 100_000, "{pending} octets of PONGs");
    }
    victim.assert_serves("a flood of PINGs");
}

//! Every vector of the protocol document (A10): read whole, read from every prefix, and written where we write the
//! same. Those with a star were captured from libzmq 4.3.5.
//!
//! The octets stand here as in that document: hex digits, `xx*n` for n times the octet xx, blanks and `+` for the eye.

use zmio::wire::{
    Command, CommandError, FrameError, FrameHeader, FrameKind, Greeting, GreetingError, MechanismName, Properties,
    SocketType, Version, encode,
};

struct Vector {
    name: &'static str,
    octets: &'static str,
    means: Means,
}

enum Means {
    /// A greeting, with zeros for the role. `Ours` is written exactly so, `Theirs` has other padding.
    Greets(Whose, Version, MechanismName),
    /// No greeting, which is known from so many octets on.
    BadGreeting(usize, GreetingError),
    /// A handshake with this socket type and identity.
    Ready(SocketType, Option<&'static [u8]>),
    Error(&'static str),
    Ping(u16, &'static [u8]),
    Pong(&'static [u8]),
    /// A command that peers send and we do not.
    Other(Command<'static>),
    /// A sound frame with a body that is no command.
    BadCommand(CommandError),
    /// Message frames. `Ours` is in the shortest form.
    Frames(Whose, &'static [(FrameKind, &'static [u8])]),
    /// A header without the body that it announces.
    Header(FrameKind, u64),
    /// No frame, which is known from so many octets on.
    BadFrame(usize, FrameError),
}

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Ours,
    Theirs,
}

use FrameKind::{Last, More};
use Means::*;
use Whose::{Ours, Theirs};

const NULL: MechanismName = MechanismName::NULL;
const ZMTP_2_0: Version = Version { major: 1, minor: 0 };
const IDENTITY_OF_255: &[u8] = &[b'i'; 255];

/// Keeps the table below narrow.
const fn v(name: &'static str, octets: &'static str, means: Means) -> Vector {
    Vector { name, octets, means }
}

#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    v("greeting NULL 3.0", "ff00000000000000007f0300 4e554c4c + 00*48", Greets(Ours, Version::V3_0, NULL)),
    v("greeting NULL 3.1", "ff00000000000000007f0301 4e554c4c + 00*48", Greets(Ours, Version::V3_1, NULL)),
    v("libzmq 3.1 no id *", "ff00000000000000017f0301 4e554c4c + 00*48", Greets(Theirs, Version::V3_1, NULL)),
    v("libzmq id ABC *", "ff00000000000000047f0301 4e554c4c + 00*48", Greets(Theirs, Version::V3_1, NULL)),
    v("NetMQ 3.0 no id", "ff00000000000000017f0300 4e554c4c + 00*48", Greets(Theirs, Version::V3_0, NULL)),
    v("greeting PLAIN 3.1", "ff00000000000000007f0301 504c41494e + 00*47", Greets(Ours, Version::V3_1, MechanismName::PLAIN)),
    v("greeting CURVE 3.1", "ff00000000000000007f0301 4355525645 + 00*47", Greets(Ours, Version::V3_1, MechanismName::CURVE)),
    v("ZMTP 2.0 DEALER no id", "ff00000000000000007f01050000", BadGreeting(11, GreetingError::Version(ZMTP_2_0))),
    v("ZMTP 1.0 anonymous", "0100", BadGreeting(1, GreetingError::NotZmtp { offset: 0, octet: 1 })),

    v("READY DEALER no Identity", "041c0552454144590b536f636b65742d54797065000000064445414c4552", Ready(SocketType::Dealer, None)),
    v("READY DEALER empty Id *", "04290552454144590b536f636b65742d54797065000000064445414c4552084964656e7469747900000000", Ready(SocketType::Dealer, Some(b""))),
    v("READY DEALER Id ABC *", "042c0552454144590b536f636b65742d54797065000000064445414c4552084964656e7469747900000003414243", Ready(SocketType::Dealer, Some(b"ABC"))),
    v("READY DEALER Id 255 x i", "060000000000000128 0552454144590b536f636b65742d54797065000000064445414c4552 084964656e74697479000000ff + 69*255", Ready(SocketType::Dealer, Some(IDENTITY_OF_255))),
    v("READY ROUTER (RFC)", "041c0552454144590b536f636b65742d5479706500000006524f55544552", Ready(SocketType::Router, None)),
    v("READY ROUTER empty Id *", "04290552454144590b536f636b65742d5479706500000006524f55544552084964656e7469747900000000", Ready(SocketType::Router, Some(b""))),
    v("READY REQ empty Id", "04260552454144590b536f636b65742d5479706500000003524551084964656e7469747900000000", Ready(SocketType::Req, Some(b""))),
    v("READY REP", "04190552454144590b536f636b65742d5479706500000003524550", Ready(SocketType::Rep, None)),

    v("ERROR Invalid socket type", "041a054552524f5213496e76616c696420736f636b65742074797065", Error("Invalid socket type")),
    v("ERROR 400", "040a054552524f5203343030", Error("400")),
    v("ERROR empty", "0407054552524f5200", Error("")),

    v("PING ttl=100 abc", "040a0450494e470064616263", Ping(100, b"abc")),
    v("PONG abc *", "040804504f4e47616263", Pong(b"abc")),
    v("PING ttl=0", "04070450494e470000", Ping(0, b"")),
    v("PONG empty *", "040504504f4e47", Pong(b"")),
    v("PING ttl=10 ctx 00..0f", "04170450494e47000a000102030405060708090a0b0c0d0e0f", Ping(10, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
    v("bad PING (5)", "04050450494e47", BadCommand(CommandError::PingTooShort { octets: 5 })),
    v("bad PING (6)", "04060450494e4700", BadCommand(CommandError::PingTooShort { octets: 6 })),

    v("SUBSCRIBE A 3.1", "040b0953554253435249424541", Other(Command::Subscribe(b"A"))),
    v("CANCEL A", "04080643414e43454c41", Other(Command::Cancel(b"A"))),
    v("3.0 subscription", "00020141", Frames(Ours, &[(Last, b"\x01A")])),
    v("3.0 unsubscription", "00020041", Frames(Ours, &[(Last, b"\x00A")])),

    v("hello", "000568656c6c6f", Frames(Ours, &[(Last, b"hello")])),
    v("empty", "0000", Frames(Ours, &[(Last, b"")])),
    v("empty, hi", "010000026869", Frames(Ours, &[(More, b""), (Last, b"hi")])),
    v("a, b, c", "010161010162000163", Frames(Ours, &[(More, b"a"), (More, b"b"), (Last, b"c")])),
    v("Bonsai DEALER empty, hello", "0100000568656c6c6f", Frames(Ours, &[(More, b""), (Last, b"hello")])),
    v("255-octet header", "00ff", Header(Last, 255)),
    v("256", "020000000000000100", Header(Last, 256)),
    v("256 MORE", "030000000000000100", Header(More, 256)),
    v("65536", "020000000000010000", Header(Last, 65536)),
    v("LONG hi", "0200000000000000026869", Frames(Theirs, &[(Last, b"hi")])),
    v("size top bit", "028000000000000000", BadFrame(9, FrameError::SizeTopBit(1 << 63))),
    v("reserved bit", "080568656c6c6f", BadFrame(1, FrameError::ReservedFlags(0x08))),
];

#[test]
fn every_vector_means_what_the_document_says() {
    for Vector { name, octets, means } in VECTORS {
        let octets = octets_of(octets);
        match means {
            Greets(_, version, mechanism) => {
                let greeting = Greeting { version: *version, mechanism: *mechanism, as_server: false };
                assert_eq!(Greeting::parse(&octets), Ok(Some(greeting)), "{name}");
            }
            BadGreeting(_, error) => assert_eq!(Greeting::parse(&octets), Err(error.clone()), "{name}"),
            Ready(socket_type, identity) => {
                let body = command_body(name, &octets);
                let Ok(Command::Ready(metadata)) = Command::parse(body) else { panic!("{name}: {body:02x?}") };
                let properties = Properties::parse(metadata, 64).expect(name);
                let announced = properties.get("Socket-Type").expect(name);
                assert_eq!(SocketType::parse(announced), Some(*socket_type), "{name}");
                assert_eq!(properties.get("Identity"), *identity, "{name}");
                assert_eq!(properties.iter().count(), 1 + identity.iter().count(), "{name}");
            }
            Error(reason) => {
                let body = command_body(name, &octets);
                assert_eq!(Command::parse(body), Ok(Command::Error(reason.as_bytes())), "{name}");
            }
            Ping(ttl, context) => {
                let body = command_body(name, &octets);
                assert_eq!(Command::parse(body), Ok(Command::Ping { ttl: *ttl, context }), "{name}");
            }
            Pong(context) => {
                assert_eq!(Command::parse(command_body(name, &octets)), Ok(Command::Pong { context }), "{name}");
            }
            Other(command) => assert_eq!(Command::parse(command_body(name, &octets)), Ok(*command), "{name}"),
            BadCommand(error) => {
                assert_eq!(Command::parse(command_body(name, &octets)), Err(error.clone()), "{name}");
            }
            Frames(_, frames) => {
                let (read, rest) = whole_frames(&octets).expect(name);
                assert_eq!(read, *frames, "{name}");
                assert!(rest.is_empty(), "{name}");
            }
            Header(kind, size) => {
                let header = FrameHeader { kind: *kind, size: *size };
                assert_eq!(FrameHeader::parse(&octets), Ok(Some((header, octets.len()))), "{name}");
            }
            BadFrame(_, error) => assert_eq!(FrameHeader::parse(&octets), Err(error.clone()), "{name}"),
        }
    }
}

#[test]
fn every_vector_that_is_ours_is_written_so() {
    let mut ours = 0;
    for Vector { name, octets, means } in VECTORS {
        let mut written = Vec::new();
        match means {
            Greets(Ours, version, mechanism) => {
                let greeting = Greeting { version: *version, mechanism: *mechanism, as_server: false };
                written.extend(greeting.encode());
            }
            Ready(socket_type, identity) => encode::ready(&mut written, *socket_type, *identity),
            Error(reason) => encode::error(&mut written, reason),
            Ping(ttl, context) => encode::ping(&mut written, *ttl, context),
            Pong(context) => encode::pong(&mut written, context),
            Frames(Ours, frames) => {
                for (kind, body) in *frames {
                    encode::frame(&mut written, *kind, body);
                }
            }
            Header(kind, size) => {
                written.extend_from_slice(&FrameHeader { kind: *kind, size: *size }.encode());
            }
            Greets(Theirs, ..) | Frames(Theirs, _) => continue,
            BadGreeting(..) | BadCommand(_) | BadFrame(..) | Other(_) => continue,
        }
        assert_eq!(written, octets_of(octets), "{name}");
        ours += 1;
    }
    assert_eq!(ours, 31, "vectors that we write ourselves");
}

#[test]
fn every_prefix_of_a_vector_asks_for_more_or_errs_as_the_whole_does() {
    for Vector { name, octets, means } in VECTORS {
        let octets = octets_of(octets);
        for length in 0..octets.len() {
            let prefix = &octets[..length];
            let at = format!("{name}, {length} octets");
            match means {
                Greets(..) => assert_eq!(Greeting::parse(prefix), Ok(None), "{at}"),
                BadGreeting(from, error) => {
                    let expected = if length < *from { Ok(None) } else { Err(error.clone()) };
                    assert_eq!(Greeting::parse(prefix), expected, "{at}");
                }
                BadFrame(from, error) => {
                    let expected = if length < *from { Ok(None) } else { Err(error.clone()) };
                    assert_eq!(FrameHeader::parse(prefix), expected, "{at}");
                }
                Header(..) => assert_eq!(FrameHeader::parse(prefix), Ok(None), "{at}"),
                Frames(_, frames) => {
                    let (read, rest) = whole_frames(prefix).expect(&at);
                    assert!(read.len() < frames.len(), "{at}: the last frame cannot be whole");
                    assert!(frames.starts_with(&read), "{at}");
                    assert!(octets[length - rest.len()..].starts_with(rest), "{at}");
                }
                Ready(..) | Error(_) | Ping(..) | Pong(_) | Other(_) | BadCommand(_) => {
                    let (read, _) = whole_frames(prefix).expect(&at);
                    assert_eq!(read, [], "{at}: a command is not whole before its last octet");
                }
            }
        }
    }
}

#[test]
fn a_vector_split_in_two_reads_as_if_whole() {
    for Vector { name, octets, means } in VECTORS {
        if !matches!(means, Ready(..) | Error(_) | Ping(..) | Pong(_) | Other(_) | BadCommand(_) | Frames(..)) {
            continue;
        }
        let octets = octets_of(octets);
        let (whole, _) = whole_frames(&octets).expect(name);
        for split in 0..=octets.len() {
            let (first, rest) = whole_frames(&octets[..split]).expect(name);
            let (second, _) = whole_frames(&octets[split - rest.len()..]).expect(name);
            assert_eq!([first, second].concat(), whole, "{name}, split at {split}");
        }
    }
}

/// A frame says how long its command is, so a body that is cut is a peer's mistake. It must be found or mean less; it
/// must not be read beyond its end.
#[test]
fn a_command_cut_short_within_its_frame_is_no_other_command() {
    for Vector { name, octets, means } in VECTORS {
        let whole = octets_of(octets);
        if !matches!(means, Ready(..) | Error(_) | Ping(..) | Pong(_) | Other(_)) {
            continue;
        }
        let whole = command_body(name, &whole);
        let same_name = Command::parse(whole).expect(name).name();
        for length in 0..whole.len() {
            if let Ok(command) = Command::parse(&whole[..length]) {
                assert_eq!(command.name(), same_name, "{name}, {length} octets");
                assert!(!matches!(command, Command::Error(_)), "{name}, {length} octets: a reason has its length");
                if let Command::Ready(metadata) = command {
                    // A cut between two properties is one that cannot be seen.
                    let between = metadata.is_empty() || metadata.ends_with(b"DEALER") || metadata.ends_with(b"ROUTER");
                    let between = between || metadata.ends_with(b"\x03REQ");
                    assert_eq!(Properties::parse(metadata, 64).is_ok(), between, "{name}, {length} octets");
                }
            }
        }
    }
}

#[test]
fn every_vector_has_a_name_of_its_own() {
    for (index, vector) in VECTORS.iter().enumerate() {
        assert!(VECTORS[..index].iter().all(|earlier| earlier.name != vector.name), "{}", vector.name);
    }
}

type Frame<'a> = (FrameKind, &'a [u8]);

/// The frames that are whole at the front of `stream`, and what is left of it.
fn whole_frames(stream: &[u8]) -> Result<(Vec<Frame<'_>>, &[u8]), FrameError> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while let Some((header, octets)) = FrameHeader::parse(rest)? {
        let size = usize::try_from(header.size).expect("vectors are short");
        let Some((body, next)) = rest[octets..].split_at_checked(size) else { break };
        frames.push((header.kind, body));
        rest = next;
    }
    Ok((frames, rest))
}

/// The body of the one command frame that `octets` are.
fn command_body<'a>(name: &str, octets: &'a [u8]) -> &'a [u8] {
    let (frames, rest) = whole_frames(octets).expect(name);
    assert_eq!(rest, b"", "{name}");
    match frames[..] {
        [(FrameKind::Command, body)] => body,
        _ => panic!("{name}: not one command but {frames:?}"),
    }
}

fn octets_of(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in text.split_whitespace().filter(|word| *word != "+") {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        assert_eq!(digits.len() % 2, 0, "{word}");
        let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
        let run: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect(word)).collect();
        octets.extend(run.repeat(times.parse().expect(word)));
    }
    octets
}

//! What holds for any octets and any values on the wire.
//!
//! A failure writes its seed to `tests/wire_properties.regressions`, which belongs into the repository: those cases
//! run first from then on. `PROPTEST_CASES` sets how many cases run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use zmio::wire::{
    Command, Escaped, FrameHeader, FrameKind, Greeting, MAX_HEADER_OCTETS, MechanismName, MetadataError, Properties,
    SocketType, Version, encode,
};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_greeting_reads_back(greeting in greetings(), after in vec(any::<u8>(), 0..10)) {
        let stream = [&greeting.encode()[..], &after].concat();
        prop_assert_eq!(Greeting::parse(&stream), Ok(Some(greeting)));
    }

    #[test]
    fn a_header_reads_back_in_the_shortest_form(header in headers(), after in vec(any::<u8>(), 0..10)) {
        let encoded = header.encode();
        prop_assert_eq!(encoded.len(), if header.size < 256 { 2 } else { MAX_HEADER_OCTETS });
        let stream = [&encoded, &after[..]].concat();
        prop_assert_eq!(FrameHeader::parse(&stream), Ok(Some((header, encoded.len()))));
    }

    #[test]
    fn a_header_reads_back_in_the_long_form(header in headers()) {
        let octets = long_form(header);
        prop_assert_eq!(FrameHeader::parse(&octets), Ok(Some((header, octets.len()))));
    }

    #[test]
    fn frames_read_back(frames in vec((kinds(), vec(any::<u8>(), 0..600)), 0..8)) {
        let mut stream = Vec::new();
        for (kind, body) in &frames {
            encode::frame(&mut stream, *kind, body);
        }
        prop_assert_eq!(frames_of(&stream), frames);
    }

    #[test]
    fn ready_reads_back(socket_type in socket_types(), identity in proptest::option::of(vec(any::<u8>(), 0..=255))) {
        let body = written(|out| encode::ready(out, socket_type, identity.as_deref()));
        let Ok(Command::Ready(metadata)) = Command::parse(&body) else {
            return Err(TestCaseError::fail(format!("{:?}", Command::parse(&body))));
        };
        let properties = Properties::parse(metadata, 2).unwrap();
        prop_assert_eq!(properties.get("Socket-Type").and_then(SocketType::parse), Some(socket_type));
        prop_assert_eq!(properties.get("Identity"), identity.as_deref());
    }

    #[test]
    fn an_error_reads_back_if_it_can_be_sent(reason in "[ -~]{0,255}") {
        let body = written(|out| encode::error(out, &reason));
        prop_assert_eq!(Command::parse(&body), Ok(Command::Error(reason.as_bytes())));
    }

    #[test]
    fn any_reason_is_sent_as_a_legal_one(reason in any::<String>()) {
        let body = written(|out| encode::error(out, &reason));
        prop_assert!(matches!(Command::parse(&body), Ok(Command::Error(_))));
    }

    #[test]
    fn ping_and_pong_read_back(ttl: u16, context in vec(any::<u8>(), 0..=16)) {
        let ping = written(|out| encode::ping(out, ttl, &context));
        prop_assert_eq!(Command::parse(&ping), Ok(Command::Ping { ttl, context: &context }));
        let pong = written(|out| encode::pong(out, &context));
        prop_assert_eq!(Command::parse(&pong), Ok(Command::Pong { context: &context }));
    }

    #[test]
    fn any_other_command_reads_back(name in vec(any::<u8>(), 1..=255), data in vec(any::<u8>(), 0..300)) {
        let body = [&[name.len() as u8], &name[..], &data].concat();
        if let Ok(command) = Command::parse(&body) {
            prop_assert_eq!(command.name(), &name[..]);
        } else {
            prop_assert!([&b"ERROR"[..], b"PING", b"PONG"].contains(&&name[..]), "only these can be wrong");
        }
    }

    #[test]
    fn metadata_reads_back(properties in vec(properties(), 0..20)) {
        let octets: Vec<u8> = properties.iter().flat_map(|(name, value)| property(name, value)).collect();
        let read = Properties::parse(&octets, properties.len()).unwrap();
        let expected: Vec<_> = properties.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        for (name, _) in &properties {
            let first = properties.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
            prop_assert_eq!(read.get(&name.to_ascii_uppercase()), Some(&first.1[..]));
        }
        if let Some(max) = properties.len().checked_sub(1) {
            prop_assert_eq!(Properties::parse(&octets, max), Err(MetadataError::TooMany { max }));
        }
    }

    #[test]
    fn accepted_metadata_is_read_to_its_last_octet(octets in damaged(metadata()), max in 0..30_usize) {
        if let Ok(read) = Properties::parse(&octets, max) {
            let again: Vec<u8> = read.iter().flat_map(|(name, value)| property_of(name, value)).collect();
            prop_assert_eq!(again, octets);
            prop_assert!(read.iter().count() <= max);
        }
    }

    #[test]
    fn no_octets_make_any_reader_panic(octets in vec(any::<u8>(), 0..300), max in 0..5_usize) {
        let _ = Greeting::parse(&octets);
        let _ = FrameHeader::parse(&octets);
        let _ = Command::parse(&octets);
        let _ = Properties::parse(&octets, max);
        let _ = SocketType::parse(&octets);
        let _ = frames_of(&octets);
    }

    #[test]
    fn no_damage_to_a_command_makes_its_reader_panic(body in damaged(commands())) {
        if let Ok(Command::Ready(metadata)) = Command::parse(&body) {
            let _ = Properties::parse(metadata, 64);
        }
    }

    #[test]
    fn more_octets_never_change_what_a_greeting_is(stream in damaged(greetings().prop_map(|it| it.encode().to_vec()))) {
        settles(&stream, |prefix| Greeting::parse(prefix).transpose())?;
    }

    #[test]
    fn more_octets_never_change_what_a_header_is(header in headers(), long: bool, after in vec(any::<u8>(), 0..10)) {
        let encoded = if long { long_form(header).to_vec() } else { header.encode().to_vec() };
        settles(&[encoded, after].concat(), |prefix| FrameHeader::parse(prefix).transpose())?;
    }

    #[test]
    fn more_octets_never_change_what_arbitrary_octets_are(octets in vec(any::<u8>(), 0..80)) {
        settles(&octets, |prefix| Greeting::parse(prefix).transpose())?;
        settles(&octets, |prefix| FrameHeader::parse(prefix).transpose())?;
    }

    #[test]
    fn escaped_text_is_printable_and_short(octets in vec(any::<u8>(), 0..1000)) {
        for shown in [Escaped(&octets).to_string(), format!("{:?}", Escaped(&octets))] {
            prop_assert!(shown.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
            prop_assert!(shown.len() <= 64 * r"\x00".len() + 40);
        }
    }

    #[test]
    fn different_short_octets_never_look_alike(one in vec(any::<u8>(), 0..6), other in vec(any::<u8>(), 0..6)) {
        prop_assert_eq!(one == other, Escaped(&one).to_string() == Escaped(&other).to_string());
    }
}

/// Reads every prefix of `stream`: first nothing for a while, then one answer, for ever the same.
fn settles<T: PartialEq + std::fmt::Debug>(
    stream: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<(), TestCaseError> {
    let mut answer = None;
    for length in 0..=stream.len() {
        let now = read(&stream[..length]);
        if answer.is_some() {
            prop_assert_eq!(&now, &answer, "changed at {} octets", length);
        }
        answer = now;
    }
    Ok(())
}

/// Octets with up to three of them changed, and cut or prolonged.
fn damaged(octets: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..=3);
    let after = vec(any::<u8>(), 0..10);
    let cut = proptest::option::of(any::<prop::sample::Index>());
    (octets, changes, after, cut).prop_map(|(mut octets, changes, after, cut)| {
        octets.extend(after);
        if octets.is_empty() {
            return octets;
        }
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        octets
    })
}

prop_compose! {
    fn greetings()(major in 3_u8.., minor: u8, mechanism in mechanisms(), as_server: bool) -> Greeting {
        Greeting { version: Version { major, minor }, mechanism, as_server }
    }
}

fn mechanisms() -> impl Strategy<Value = MechanismName> {
    "[A-Z0-9_.+-]{1,20}".prop_map(|name| MechanismName::new(&name).expect("it keeps to the grammar"))
}

prop_compose! {
    fn headers()(kind in kinds(), size in sizes()) -> FrameHeader {
        FrameHeader { kind, size }
    }
}

/// All of them, and often those at which something changes.
fn sizes() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 254, 255, 256, 257, u64::from(u32::MAX), 1 << 32, (1 << 63) - 1];
    prop_oneof![prop::sample::select(edges.to_vec()), 0_u64..1000, 0_u64..1 << 63]
}

fn kinds() -> impl Strategy<Value = FrameKind> {
    prop::sample::select(&[FrameKind::Last, FrameKind::More, FrameKind::Command][..])
}

fn socket_types() -> impl Strategy<Value = SocketType> {
    let common = [SocketType::Req, SocketType::Rep, SocketType::Dealer, SocketType::Router, SocketType::Channel];
    prop::sample::select(common.to_vec())
}

/// The bodies of commands that have rules of their own.
fn commands() -> impl Strategy<Value = Vec<u8>> {
    let with = |name: &'static [u8], data: BoxedStrategy<Vec<u8>>| data.prop_map(move |data| [name, &data].concat());
    prop_oneof![
        with(b"\x05READY", metadata().boxed()),
        with(
            b"\x05ERROR",
            "[ -~]{0,40}".prop_map(|reason| [&[reason.len() as u8], reason.as_bytes()].concat()).boxed()
        ),
        with(b"\x04PING", vec(any::<u8>(), 0..20).boxed()),
        with(b"\x04PONG", vec(any::<u8>(), 0..20).boxed()),
    ]
}

fn metadata() -> impl Strategy<Value = Vec<u8>> {
    vec(properties(), 0..6).prop_map(|all| all.iter().flat_map(|(name, value)| property(name, value)).collect())
}

/// Any but the defined ones, which may come only once.
fn properties() -> impl Strategy<Value = (String, Vec<u8>)> {
    ("X-[a-zA-Z0-9_.+-]{0,10}|[a-z]{1,3}", vec(any::<u8>(), 0..40))
}

fn property(name: &str, value: &[u8]) -> Vec<u8> {
    property_of(name.as_bytes(), value)
}

fn property_of(name: &[u8], value: &[u8]) -> Vec<u8> {
    let size = u32::try_from(value.len()).unwrap().to_be_bytes();
    [&[u8::try_from(name.len()).unwrap()], name, &size, value].concat()
}

fn long_form(header: FrameHeader) -> [u8; MAX_HEADER_OCTETS] {
    let mut octets = [0; MAX_HEADER_OCTETS];
    octets[0] = match header.kind {
        FrameKind::Last => 2,
        FrameKind::More => 3,
        FrameKind::Command => 6,
    };
    octets[1..].copy_from_slice(&header.size.to_be_bytes());
    octets
}

/// The body of the one command that `write` writes.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut stream = Vec::new();
    write(&mut stream);
    match frames_of(&stream).pop() {
        Some((FrameKind::Command, body)) => body,
        other => panic!("no command: {other:?}"),
    }
}

/// The frames that are whole at the front of `stream`, up to the first error.
fn frames_of(stream: &[u8]) -> Vec<(FrameKind, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while let Ok(Some((header, octets))) = FrameHeader::parse(rest) {
        let body = usize::try_from(header.size).ok().and_then(|size| rest[octets..].split_at_checked(size));
        let Some((body, next)) = body else { break };
        frames.push((header.kind, body.to_vec()));
        rest = next;
    }
    frames
}

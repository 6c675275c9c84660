//! Greetings, READYs and their metadata: what is refused, and what is odd and legal.

use zmio::socket::Pattern;

use crate::support::octets::{
    self, COMMAND, LONG, MORE, command, frame, greeting, greeting_with, header, property, ready,
};
use crate::victim::{self, Bad, CHUNKS, Victim, bad};

/// After a good greeting.
fn greeted(name: &'static str, octets: impl AsRef<[u8]>, cause: &'static str) -> Bad {
    bad(name, [&greeting()[..], octets.as_ref()].concat(), cause)
}

/// A READY that begins well and ends in `metadata`.
fn metadata(name: &'static str, metadata: &[u8], cause: &'static str) -> Bad {
    let all = [&property(b"Socket-Type", b"DEALER")[..], metadata].concat();
    greeted(name, command(b"READY", &all), cause)
}

fn not_zmtp() -> Vec<Bad> {
    let mut octet_9 = greeting();
    octet_9[9] = 0x7e;
    vec![
        bad("HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not ZMTP"),
        bad("TLS", [0x16, 3, 1, 2, 0, 1, 0], "not ZMTP"),
        bad("SSH", "SSH-2.0-OpenSSH_9.6\r\n", "not ZMTP"),
        bad("ZMTP 1.0", [1, 0], "not ZMTP"),
        bad("zeros", [0; 64], "not ZMTP"),
        bad("octet 9 is 7e", octet_9, "not ZMTP"),
        bad("only FF", [0xff; 64], "not ZMTP"),
    ]
}

fn versions() -> Vec<Bad> {
    let zmtp_2 = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 5][..], &[0, 0]].concat();
    vec![
        bad("version 0", greeting_with(0, 0, b"NULL"), "ZMTP 0"),
        bad("version 1", greeting_with(1, 0, b"NULL"), "ZMTP 1"),
        bad("version 2", greeting_with(2, 0, b"NULL"), "ZMTP 2"),
        bad("a ZMTP 2.0 peer", zmtp_2, "ZMTP 1"),
    ]
}

fn mechanisms() -> Vec<Bad> {
    let with = |name, mechanism: &[u8], cause| bad(name, greeting_with(3, 1, mechanism), cause);
    vec![
        with("PLAIN", b"PLAIN", "mechanism is PLAIN, ours is NULL"),
        with("CURVE", b"CURVE", "mechanism is CURVE, ours is NULL"),
        with("lower case", b"null", "mechanism is null, ours is NULL"),
        with("a longer name", b"NULLS", "mechanism is NULLS, ours is NULL"),
        with("no name", b"", "mechanism is"),
        with("garbage after the NUL", b"NULL\0x", "ours is NULL"),
        with("twenty octets", b"ABCDEFGHIJKLMNOPQRST", "mechanism is ABCDEFGHIJKLMNOPQRST"),
    ]
}

fn first_frames() -> Vec<Bad> {
    let body = octets::command_body(b"READY", &property(b"Socket-Type", b"DEALER"));
    vec![
        greeted("a message before READY", frame(0, b"hello"), "a message before READY"),
        greeted("an empty message before READY", frame(0, b""), "a message before READY"),
        greeted("a first frame before READY", frame(MORE, b"hello"), "a message before READY"),
        greeted("PING before READY", octets::ping(0, b""), "\"PING\""),
        greeted("an unknown command before READY", command(b"HELLO", b""), "\"HELLO\""),
        greeted("a name in lower case", command(b"ready", b""), "\"ready\""),
        greeted("an empty command", frame(COMMAND, b""), "empty"),
        greeted("a command without a name", frame(COMMAND, &[0, 1, 2]), "name"),
        greeted("a name that overruns", frame(COMMAND, b"\x09READY"), "name"),
        greeted("READY as a message", frame(0, &body), "a message before READY"),
        greeted("READY with MORE", frame(COMMAND | MORE, &body), "more frames"),
        greeted("a reserved bit", frame(COMMAND | 8, &body), "reserved"),
        greeted("ERROR", octets::error(b"go away"), "\"go away\""),
        greeted("ERROR without a reason", octets::error(b""), "refused by the peer"),
        greeted("ERROR with control octets", octets::error(b"\x1b[31m"), "0x1b"),
        greeted("ERROR that overruns", command(b"ERROR", b"\x09short"), "announces 9"),
        greeted("ERROR with a tail", command(b"ERROR", b"\x01ab"), "announces 1"),
        greeted("ERROR of nothing", command(b"ERROR", b""), "reason"),
    ]
}

fn properties() -> Vec<Bad> {
    let named = |name: &[u8]| property(name, b"DEALER");
    let announced = |size: u32| [&b"\x01x"[..], &size.to_be_bytes(), b"some"].concat();
    let many: Vec<u8> = (0..100).flat_map(|n| property(format!("X-{n}").as_bytes(), b"")).collect();
    vec![
        metadata("a name of no octets", &[0, 0, 0, 0, 0], "name of no octets"),
        metadata("a name that overruns", b"\x20Identity", "name of 32"),
        metadata("a value that overruns", &announced(5), "value of 5"),
        metadata("a size that is cut off", b"\x01x\0\0\0", "3 of the 4"),
        metadata("a value of 2^31", &announced(1 << 31), "2147483648"),
        metadata("a value of 2^32-1", &announced(u32::MAX), "4294967295"),
        metadata("a trailing octet", &[7], "name of 7"),
        metadata("Socket-Type twice", &named(b"Socket-Type"), "twice"),
        metadata("Socket-Type twice, in another case", &named(b"SOCKET-TYPE"), "twice"),
        metadata("Identity twice", &[named(b"Identity"), named(b"identity")].concat(), "twice"),
        metadata("Resource twice", &[named(b"Resource"), named(b"resource")].concat(), "twice"),
        metadata("too many properties", &many, "properties"),
    ]
}

fn sizes() -> Vec<Bad> {
    let big = vec![b'x'; 9_000];
    let huge = header(COMMAND | LONG, 1 << 20);
    vec![
        metadata("a READY above the limit", &property(b"X-big", &big), "limit"),
        greeted("a READY that announces 1 MiB", huge, "limit"),
        greeted("a size of 2^31", header(COMMAND | LONG, 1 << 31), "limit"),
        greeted("a size of 2^32", header(COMMAND | LONG, 1 << 32), "limit"),
        greeted("a size of 2^63-1", header(COMMAND | LONG, (1 << 63) - 1), "limit"),
        greeted("a size of 2^63", header(COMMAND | LONG, 1 << 63), "9223372036854775808"),
        greeted("a size of 2^64-1", header(COMMAND | LONG, u64::MAX), "18446744073709551615"),
    ]
}

fn socket_types() -> Vec<Bad> {
    let strangers = [
        "REP", "PUB", "XPUB", "SUB", "XSUB", "PUSH", "PULL", "PAIR", "CLIENT", "SERVER", "RADIO", "DISH", "SCATTER",
        "GATHER", "PEER", "CHANNEL",
    ];
    let mut cases: Vec<Bad> =
        strangers.iter().map(|name| greeted(name, ready(name, b""), "cannot talk to a ROUTER")).collect();
    cases.push(greeted("a type in lower case", ready("dealer", b""), "\"dealer\""));
    cases.push(greeted("a type of no octets", ready("", b""), "socket type"));
    cases.push(greeted("an unknown type", ready("DEALER ", b""), "\"DEALER \""));
    let not_text = command(b"READY", &property(b"Socket-Type", &[0xff, 0xfe]));
    cases.push(greeted("a type that is no text", not_text, "socket type"));
    cases
}

fn identities() -> Vec<Bad> {
    let as_one = |name, identity: &[u8]| greeted(name, ready("DEALER", identity), "identity");
    vec![
        as_one("an identity of 256 octets", &[b'i'; 256]),
        as_one("an identity of 4,000 octets", &[b'i'; 4_000]),
        as_one("an identity of one zero", &[0]),
        as_one("an identity as we assign them", &[0, 1, 2, 3, 4]),
        greeted("an identity of 64 KiB", ready("DEALER", &vec![b'i'; 65_536]), "limit"),
    ]
}

/// Each case alone against a socket, whole and in pieces; and a good client after each.
fn assert_rejected<P: Pattern>(cases: &[Bad], victim: impl Fn() -> Victim<P>) {
    for Bad { name, octets, cause } in cases {
        for chunk in CHUNKS {
            let mut victim = victim();
            let peer = victim.accept();
            victim.feed(peer, octets, chunk);
            let (connected, words) = victim.end(peer).unwrap_or_else(|| panic!("{name}: nobody was told"));
            assert!(!connected, "{name}: was connected, then: {words}");
            assert!(words.contains(cause), "{name}: the cause says «{words}», not «{cause}»");
            assert!(victim.has_closed(peer), "{name}: left open");
            assert!(victim.messages(peer).is_empty(), "{name}: delivered something");
            victim.assert_serves(name);
        }
    }
}

/// Gives each table a test for either pattern.
macro_rules! rejected {
    ($($table:ident => $router:ident, $dealer:ident;)*) => {$(
        #[test]
        fn $router() {
            assert_rejected(&$table(), victim::router);
        }

        #[test]
        fn $dealer() {
            assert_rejected(&$table(), victim::dealer);
        }
    )*};
}

rejected! {
    not_zmtp => what_is_not_zmtp_is_closed_by_a_router, what_is_not_zmtp_is_closed_by_a_dealer;
    versions => versions_before_3_are_closed_by_a_router, versions_before_3_are_closed_by_a_dealer;
    mechanisms => another_mechanism_is_closed_by_a_router, another_mechanism_is_closed_by_a_dealer;
    first_frames => what_is_not_ready_is_closed_by_a_router, what_is_not_ready_is_closed_by_a_dealer;
    properties => malformed_metadata_is_closed_by_a_router, malformed_metadata_is_closed_by_a_dealer;
    sizes => an_oversized_ready_is_closed_by_a_router, an_oversized_ready_is_closed_by_a_dealer;
}

#[test]
fn socket_types_that_no_router_talks_to_are_told_so() {
    let cases = socket_types();
    assert_rejected(&cases, victim::router);
    assert_error_is_sent(&cases);
}

#[test]
fn a_dealer_refuses_what_no_dealer_talks_to() {
    let strangers = ["REQ", "PUB", "SUB", "PUSH", "PULL", "PAIR"];
    let cases = strangers.map(|name| greeted(name, ready(name, b""), "cannot talk to a DEALER"));
    assert_rejected(&cases, victim::dealer);
}

#[test]
fn illegal_identities_are_refused_by_a_router() {
    let cases = identities();
    assert_rejected(&cases, victim::router);
    assert_error_is_sent(&cases[..4]);
}

#[test]
fn an_identity_in_use_is_refused_and_its_owner_stays() {
    let mut victim = victim::router();
    let owner = victim.accept();
    let named = [greeting(), ready("DEALER", b"mine")].concat();
    victim.feed(owner, &named, usize::MAX);
    assert!(victim.is_connected(owner));
    for chunk in CHUNKS {
        let twin = victim.accept();
        victim.feed(twin, &named, chunk);
        let (connected, words) = victim.end(twin).expect("an end");
        assert!(!connected && words.contains("identity"), "{words}");
        assert_has_error(victim.last_octets(twin), "the same identity");
        assert_eq!(victim.socket.peer_by_identity(b"mine"), Some(owner));
    }
    victim.feed(owner, &octets::message(&["still me"]), usize::MAX);
    assert_eq!(victim.messages(owner).len(), 1);
    victim.assert_serves("the same identity");
}

/// A3: ERROR, flush, close.
fn assert_error_is_sent(cases: &[Bad]) {
    for Bad { name, octets, .. } in cases {
        let mut victim = victim::router();
        let peer = victim.accept();
        victim.feed(peer, octets, usize::MAX);
        assert_has_error(victim.last_octets(peer), name);
    }
}

/// The last octets may begin with what else was not yet written: our greeting and READY.
#[track_caller]
fn assert_has_error(last: &[u8], name: &str) {
    let after_greeting = if last.first() == Some(&0xff) { &last[64..] } else { last };
    let (frames, used) = octets::frames(after_greeting);
    assert_eq!(used, after_greeting.len(), "{name}: half a frame at the end");
    let end = frames.last().unwrap_or_else(|| panic!("{name}: closed without a word"));
    assert!(end.is_command(b"ERROR"), "{name}: {end:?}");
}

/// Odd, and every one of them legal.
fn legal() -> Vec<(&'static str, Vec<u8>)> {
    let dealer = ready("DEALER", b"");
    let mut cases = Vec::new();
    let mut case = |name, greeting: Vec<u8>, ready: &[u8]| cases.push((name, [&greeting[..], ready].concat()));
    for (name, major, minor) in [("3.0", 3, 0), ("3.255", 3, 255), ("4.0", 4, 0), ("255.255", 255, 255)] {
        case(name, greeting_with(major, minor, b"NULL"), &dealer);
    }
    let altered = |range: std::ops::Range<usize>, octet| {
        let mut greeting = greeting();
        greeting[range].fill(octet);
        greeting
    };
    case("padding of libzmq", altered(8..9, 1), &dealer);
    case("random padding", altered(1..9, 0xa5), &dealer);
    case("as-server is 1", altered(32..33, 1), &dealer);
    case("as-server is 255", altered(32..33, 255), &dealer);
    case("random filler", altered(33..64, 0x5a), &dealer);

    let short = dealer[2..].to_vec();
    let long = [header(COMMAND | LONG, short.len() as u64), short].concat();
    case("READY in the long form", greeting(), &long);
    case("READY without metadata", greeting(), &command(b"READY", b""));
    let only_type = command(b"READY", &property(b"Socket-Type", b"DEALER"));
    case("READY without Identity", greeting(), &only_type);
    let lower = [property(b"socket-type", b"DEALER"), property(b"IDENTITY", b"me")].concat();
    case("names in another case", greeting(), &command(b"READY", &lower));
    let extra = [
        property(b"X-Colour", &[0xff, 0]),
        property(b"Unheard-Of", b""),
        property(b"Resource", b"service/7"),
        property(b"Socket-Type", b"DEALER"),
    ];
    case("more properties", greeting(), &command(b"READY", &extra.concat()));
    case("an identity of one octet", greeting(), &ready("DEALER", b"1"));
    case("an identity of 255 octets", greeting(), &ready("DEALER", &[b'i'; 255]));
    cases
}

#[test]
fn odd_and_legal_handshakes_are_accepted() {
    for (name, handshake) in legal() {
        // The first message in the same segment: fact 1.
        let input = [handshake, octets::message(&["", "hi"])].concat();
        for chunk in CHUNKS {
            let mut victim = victim::router();
            let peer = victim.accept();
            victim.feed(peer, &input, chunk);
            assert_eq!(victim.end(peer), None, "{name}");
            assert!(victim.is_connected(peer), "{name}");
            assert_eq!(victim.messages(peer).len(), 1, "{name}");
        }
    }
}

/// A5: the identity is significant to a ROUTER only.
#[test]
fn a_dealer_never_closes_over_an_identity() {
    for identity in [&[0, 1, 2, 3, 4][..], &[0], &[b'i'; 256]] {
        let mut victim = victim::dealer();
        let peer = victim.accept();
        victim.feed(peer, &[greeting(), ready("DEALER", identity)].concat(), usize::MAX);
        assert!(victim.is_connected(peer), "{identity:?}");
    }
}

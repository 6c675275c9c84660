//! A3 to A6: READY, its metadata, identities and socket types, and what comes in its place.

use crate::compare;
use crate::script::{Script, Step, greeted, script};
use crate::support::octets::{
    self, COMMAND, LONG, MORE, command, command_body, frame, greeting, header, property, ready,
};

const FORM: &str = "RFC 37: READY is a command; libzmq looks at the name in the body alone";
const METADATA: &str = "RFC 37, grammar of metadata; libzmq does not check it";
const CUT: &str = "A4: libzmq does not notice that a property ends early if no octet is left";
const TWICE: &str = "A4: a defined property that is there twice would mean two things; libzmq takes the last";
const CASE: &str = "RFC 37: the case of names is not significant; libzmq compares with case";
const LIMIT: &str = "our limits for metadata; libzmq has one for all frames";
const SAYS_WHY: &str = "RFC 37 wants an ERROR for a socket type that does not fit; libzmq closes without a word";
const IDENTITY: &str = "RFC 37: 255 octets, the first not zero; libzmq takes any";
const IN_USE: &str = "R2: we refuse an identity in use; libzmq completes the handshake and ignores the peer";

const REFUSED: &str = "closed in the handshake";

/// A READY that begins well and ends in `metadata`.
fn metadata(name: &str, metadata: &[u8]) -> Script {
    greeted(name, command(b"READY", &[&property(b"Socket-Type", b"DEALER")[..], metadata].concat()))
}

fn forms() -> Vec<Script> {
    let body = command_body(b"READY", &property(b"Socket-Type", b"DEALER"));
    let long = |flags| [header(flags | LONG, body.len() as u64), body.clone()].concat();
    vec![
        greeted("READY", ready("DEALER", b"")).same("serves"),
        greeted("READY in the long form", long(COMMAND)).same("serves"),
        greeted("READY as a message", frame(0, &body)).differ("serves", REFUSED, FORM),
        greeted("READY with MORE", frame(COMMAND | MORE, &body)).differ("serves", REFUSED, FORM),
        greeted("READY with a reserved bit", frame(COMMAND | 8, &body)).differ("serves", REFUSED, FORM),
        greeted("READY and a message in one segment", [ready("DEALER", b""), octets::message(&["", "hi"])].concat())
            .same("['' hi], serves"),
    ]
}

fn instead() -> Vec<Script> {
    vec![
        greeted("a message", frame(0, b"hello")).same(REFUSED),
        greeted("an empty message", frame(0, b"")).same(REFUSED),
        greeted("a first frame", frame(MORE, b"hello")).same(REFUSED),
        greeted("PING", octets::ping(0, b"")).same(REFUSED),
        greeted("PONG", octets::pong(b"")).same(REFUSED),
        greeted("SUBSCRIBE", command(b"SUBSCRIBE", b"A")).same(REFUSED),
        greeted("HELLO of PLAIN", command(b"HELLO", b"\x05admin\x06secret")).same(REFUSED),
        greeted("a name in lower case", command(b"ready", b"")).same(REFUSED),
        greeted("an empty command", frame(COMMAND, b"")).same(REFUSED),
        greeted("a command without a name", frame(COMMAND, &[0, 1, 2])).same(REFUSED),
        greeted("a name that overruns", frame(COMMAND, b"\x09READY")).same(REFUSED),
        greeted("READY, cut short", frame(COMMAND, b"\x05READ")).same(REFUSED),
        greeted("ERROR", octets::error(b"Invalid socket type")).same(REFUSED),
        greeted("ERROR 400", octets::error(b"400")).same(REFUSED),
        greeted("ERROR without a reason", octets::error(b"")).same(REFUSED),
        greeted("ERROR with control octets", octets::error(b"\x1b[31m")).same(REFUSED),
        greeted("ERROR that overruns", command(b"ERROR", b"\x09short")).same(REFUSED),
        greeted("ERROR with a tail", command(b"ERROR", b"\x01ab")).same(REFUSED),
        greeted("ERROR of nothing", command(b"ERROR", b"")).same(REFUSED),
        greeted("a size of 2^63", header(COMMAND | LONG, 1 << 63)).same(REFUSED),
        greeted("a size of 2^64-1", header(COMMAND | LONG, u64::MAX)).same(REFUSED),
        greeted("a size of 2^32", header(COMMAND | LONG, 1 << 32)).same(REFUSED),
    ]
}

fn properties() -> Vec<Script> {
    let announced = |size: u32| [&b"\x01x"[..], &size.to_be_bytes(), b"some"].concat();
    let bare = |size: u32| [&b"\x01x"[..], &size.to_be_bytes()].concat();
    let many: Vec<u8> = (0..100).flat_map(|n| property(format!("X-{n}").as_bytes(), b"")).collect();
    let identity = |name: &[u8], value: &[u8]| [property(b"Socket-Type", b"DEALER"), property(name, value)].concat();
    vec![
        greeted("no metadata", command(b"READY", b"")).same("serves"),
        greeted("no Identity", command(b"READY", &property(b"Socket-Type", b"DEALER"))).same("serves"),
        greeted("ROUTER without Identity", command(b"READY", &property(b"Socket-Type", b"ROUTER"))).same("serves"),
        greeted("no Socket-Type", command(b"READY", &property(b"Identity", b"me"))).same("serves me"),
        greeted(
            "Identity first",
            command(b"READY", &[property(b"Identity", b"me"), property(b"Socket-Type", b"REQ")].concat()),
        )
        .same("serves me"),
        greeted("Socket-Type in lower case", command(b"READY", &property(b"socket-type", b"DEALER"))).same("serves"),
        greeted("socket-type that does not fit", command(b"READY", &property(b"socket-type", b"PUB"))).differ(
            "serves",
            format!("ERROR, {REFUSED}"),
            CASE,
        ),
        greeted("Identity in upper case", command(b"READY", &identity(b"IDENTITY", b"me"))).differ(
            "serves",
            "serves me",
            CASE,
        ),
        metadata("X- properties", &[property(b"X-Colour", &[0xff, 0]), property(b"x-empty", b"")].concat())
            .same("serves"),
        metadata("an unknown property", &property(b"Unheard-Of", b"value")).same("serves"),
        metadata("an unknown property twice", &property(b"X-Twice", b"value").repeat(2)).same("serves"),
        metadata("Resource", &property(b"Resource", b"service/7")).same("serves"),
        metadata("Resource that is no path", &property(b"Resource", b"//\0")).same("serves"),
        metadata("all letters of a name", &property(b"aZ09-_.+", b"")).same("serves"),
        metadata("a name of 255 octets", &property(&[b'n'; 255], b"v")).same("serves"),
        metadata("a name with a blank", &property(b"a b", b"")).differ("serves", REFUSED, METADATA),
        metadata("a name with a NUL", &property(b"a\0", b"")).differ("serves", REFUSED, METADATA),
        metadata("a name of no octets", &property(b"", b"")).differ("serves", REFUSED, METADATA),
        metadata("a name that overruns", b"\x20Identity").same(REFUSED),
        metadata("a name without a size", b"\x01x").differ("serves", REFUSED, CUT),
        metadata("a size that is cut off", b"\x01x\0\0\0").same(REFUSED),
        metadata("a value that overruns", &announced(5)).same(REFUSED),
        metadata("a value of which nothing is there", &bare(5)).differ("serves", REFUSED, CUT),
        metadata("a value of 2^31", &announced(1 << 31)).same(REFUSED),
        metadata("a value of 2^32-1", &announced(u32::MAX)).same(REFUSED),
        metadata("a value of 2^31 of which nothing is there", &bare(1 << 31)).differ("serves", REFUSED, CUT),
        metadata("a trailing octet", &[7]).same(REFUSED),
        metadata("a trailing zero", &[0]).same(REFUSED),
        metadata("Socket-Type twice", &property(b"Socket-Type", b"DEALER")).differ("serves", REFUSED, TWICE),
        metadata("Socket-Type twice, the second does not fit", &property(b"Socket-Type", b"PUB")).same(REFUSED),
        metadata("Identity twice", &[property(b"Identity", b"a"), property(b"Identity", b"b")].concat())
            .differ("serves b", REFUSED, TWICE),
        metadata("Resource twice", &property(b"Resource", b"a").repeat(2)).differ("serves", REFUSED, TWICE),
        metadata("64 properties", &many[..property(b"X-0", b"").len() * 10 + property(b"X-10", b"").len() * 53])
            .same("serves"),
        metadata("101 properties", &many).differ("serves", REFUSED, LIMIT),
        metadata("a READY of 8 KiB", &property(b"X-Big", &[b'x'; 8_144])).same("serves"),
        metadata("a READY of 9 KiB", &property(b"X-Big", &[b'x'; 9_000])).differ("serves", REFUSED, LIMIT),
        metadata("a READY above all limits", &property(b"X-Big", &[b'x'; 100_001])).same(REFUSED),
    ]
}

fn socket_types() -> Vec<Script> {
    let strangers = [
        "REP", "PUB", "XPUB", "SUB", "XSUB", "PUSH", "PULL", "PAIR", "CLIENT", "SERVER", "RADIO", "DISH", "SCATTER",
        "GATHER", "PEER", "CHANNEL", "STREAM", "dealer", "", "DEALER ", "DEALE",
    ];
    let friends = ["REQ", "DEALER", "ROUTER"].map(|name| greeted(name, ready(name, b"")).same("serves"));
    let named = ["REQ", "DEALER", "ROUTER"]
        .map(|name| greeted(format!("{name} with a name"), ready(name, b"me")).same("serves me"));
    let refused =
        |name| greeted(format!("«{name}»"), ready(name, b"")).differ(REFUSED, format!("ERROR, {REFUSED}"), SAYS_WHY);
    let no_text = greeted("no text", command(b"READY", &property(b"Socket-Type", &[0xff, 0]))).differ(
        REFUSED,
        format!("ERROR, {REFUSED}"),
        SAYS_WHY,
    );
    friends.into_iter().chain(named).chain(strangers.map(refused)).chain([no_text]).collect()
}

fn identities() -> Vec<Script> {
    let of = |name, identity: &[u8]| greeted(name, ready("DEALER", identity));
    let refused = format!("ERROR, {REFUSED}");
    vec![
        of("ABC", b"ABC").same("serves ABC"),
        of("one octet", b"1").same("serves 1"),
        of("five octets", b"12345").same("serves 12345"),
        of("not text", &[0xff, 0, 10]).same(r"serves \xff\x00\n"),
        of("255 octets", &[b'i'; 255]).same("serves i*255"),
        of("256 octets", &[b'i'; 256]).differ("serves i*256", &refused, IDENTITY),
        of("4,000 octets", &[b'i'; 4_000]).differ("serves i*4000", &refused, IDENTITY),
        of("one zero", &[0]).differ(r"serves \x00", &refused, IDENTITY),
        of("as ROUTERs assign them", &[0, 1, 2, 3, 4]).differ("serves", &refused, IDENTITY),
        script(
            "in use",
            [Step::Twin(b"mine"), Step::Send(greeting()), Step::AwaitReady, Step::Send(ready("DEALER", b"mine"))],
        )
        .differ("deaf", &refused, IN_USE),
    ]
}

#[test]
fn forms_of_ready_agree() {
    compare(&forms());
}

#[test]
fn what_comes_instead_of_ready_agrees() {
    compare(&instead());
}

#[test]
fn properties_agree() {
    compare(&properties());
}

#[test]
fn socket_types_agree() {
    compare(&socket_types());
}

#[test]
fn identities_agree() {
    compare(&identities());
}

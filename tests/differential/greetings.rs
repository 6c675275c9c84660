//! A1: greetings of all versions and mechanisms, what is none, and silence.

use std::time::Duration;

use crate::compare;
use crate::script::{Script, Step, greeted, greeting_is, script};
use crate::support::PATIENCE;
use crate::support::octets::{self, LONG, MORE, frame, greeting, greeting_with, header, message, ready};

const OLDER: &str = "A1.5: we speak nothing older than 3.0, and say so; RFC 37 leaves the downgrade to the peer";
const NOT_ZMTP: &str = "A1.4: libzmq takes what has no signature for ZMTP 1.0, and waits for the rest of an identity";
const SIGNATURE: &str = "A1.4: libzmq looks at one bit of octet 9, RFC 37 names all eight";
const EARLY: &str = "libzmq closes on a peer that does not wait for its READY; we take what came in one segment";

fn altered(range: std::ops::Range<usize>, octet: u8) -> Vec<u8> {
    let mut greeting = greeting();
    greeting[range].fill(octet);
    greeting
}

/// Beyond the greeting nothing is of ZMTP 3.
fn raw(name: &str, octets: impl Into<Vec<u8>>) -> Script {
    script(name, [Step::Send(octets.into())])
}

fn versions() -> Vec<Script> {
    let version = |name: &str, major, minor| greeting_is(name, greeting_with(major, minor, b"NULL"));
    let of_2_0 = |minor| [&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, minor][..]].concat();
    vec![
        version("3.0", 3, 0).same("serves"),
        version("3.1", 3, 1).same("serves"),
        version("3.2", 3, 2).same("serves"),
        version("3.255", 3, 255).same("serves"),
        version("4.0", 4, 0).same("serves"),
        version("255.255", 255, 255).same("serves"),
        version("2.0 in the form of 3.0", 2, 0).differ("serves", "closed in the greeting", OLDER),
        raw("a DEALER of 2.0", [of_2_0(5), message(&[""]), message(&["", "hi"])].concat())
            .probed_by(message(&["probe"]))
            .differ("['' hi], speaks 2.0, serves", "closed in the greeting", OLDER),
        raw("a DEALER of 2.0 with an identity", [of_2_0(5), message(&["ABC"])].concat())
            .probed_by(message(&["probe"]))
            .differ("speaks 2.0, serves ABC", "closed in the greeting", OLDER),
        raw("a DEALER of 2.0 with half an identity", [of_2_0(5), frame(MORE, b"ABC"), message(&["", "hi"])].concat())
            .probed_by(message(&["probe"]))
            .differ("['' hi], speaks 2.0, serves ABC", "closed in the greeting", OLDER),
        raw("a DEALER of 2.0 with a size of 2^63", [of_2_0(5), header(LONG, 1 << 63)].concat())
            .same("closed in the greeting"),
        raw("a DEALER of 2.0 that has nothing to say", [of_2_0(5), message(&["ABC"])].concat())
            .then(Step::Quiet(PATIENCE))
            .hurried()
            .differ("timed out in the greeting", "closed in the greeting", OLDER),
        raw("a SUB of 2.0", [of_2_0(2), message(&[""])].concat()).probed_by(message(&["probe"])).differ(
            "speaks 2.0, serves",
            "closed in the greeting",
            OLDER,
        ),
        raw("a DEALER of 1.0", b"\x01\x00\x03\x00hi".to_vec()).probed_by(*b"\x06\x00probe").differ(
            "[hi], speaks 1.0, serves",
            "closed in the greeting",
            OLDER,
        ),
        raw("a DEALER of 1.0 with an identity", b"\x04\x00ABC\x01\x01\x03\x00hi".to_vec())
            .probed_by(*b"\x06\x00probe")
            .differ("['' hi], speaks 1.0, serves ABC", "closed in the greeting", OLDER),
        raw("1.0 by its version", [&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0, 5][..], &[1, 0, 3, 0], b"hi"].concat())
            .probed_by(*b"\x06\x00probe")
            .differ("[hi], speaks 2.0, serves", "closed in the greeting", OLDER),
    ]
}

fn mechanisms() -> Vec<Script> {
    let mechanism = |name, mechanism: &[u8]| greeting_is(name, greeting_with(3, 1, mechanism));
    vec![
        mechanism("PLAIN", b"PLAIN").same("closed in the greeting"),
        mechanism("CURVE", b"CURVE").same("closed in the greeting"),
        mechanism("GSSAPI", b"GSSAPI").same("closed in the greeting"),
        mechanism("null", b"null").same("closed in the greeting"),
        mechanism("NULLS", b"NULLS").same("closed in the greeting"),
        mechanism("no mechanism", b"").same("closed in the greeting"),
        mechanism("garbage after the NUL", b"NULL\0x").same("closed in the greeting"),
        mechanism("garbage in the last octet", b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x").same("closed in the greeting"),
        mechanism("twenty octets", b"ABCDEFGHIJKLMNOPQRST").same("closed in the greeting"),
        greeting_is("PLAIN of 3.0", greeting_with(3, 0, b"PLAIN")).same("closed in the greeting"),
    ]
}

fn insignificant() -> Vec<Script> {
    vec![
        greeting_is("padding of libzmq without an identity", altered(8..9, 1)).same("serves"),
        greeting_is("padding of libzmq with an identity of 3", altered(8..9, 4)).same("serves"),
        greeting_is("NetMQ without an identity", [&altered(8..9, 1)[..11], &[0], &greeting()[12..]].concat())
            .same("serves"),
        greeting_is("padding of ff", altered(1..9, 0xff)).same("serves"),
        greeting_is("as-server 1", altered(32..33, 1)).same("serves"),
        greeting_is("as-server 255", altered(32..33, 255)).same("serves"),
        greeting_is("filler of ff", altered(33..64, 0xff)).same("serves"),
        greeting_is("octet 9 is ff", altered(9..10, 0xff)).differ("serves", "closed in the greeting", SIGNATURE),
        greeting_is("octet 9 is 01", altered(9..10, 0x01)).differ("serves", "closed in the greeting", SIGNATURE),
    ]
}

fn not_zmtp() -> Vec<Script> {
    let http = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: a/1\r\nConnection: close\r\n\r\n";
    vec![
        raw("HTTP, short", "GET / HTTP/1.1\r\nHost: a\r\n\r\n").hurried().differ(
            "timed out in the greeting",
            "closed in the greeting",
            NOT_ZMTP,
        ),
        raw("HTTP", http).hurried().differ("timed out in the greeting", "closed in the greeting", NOT_ZMTP),
        raw("TLS", [0x16, 3, 1, 2, 0, 1, 0]).hurried().differ(
            "timed out in the greeting",
            "closed in the greeting",
            NOT_ZMTP,
        ),
        raw("SSH", "SSH-2.0-OpenSSH_9.6\r\n").hurried().differ(
            "timed out in the greeting",
            "closed in the greeting",
            NOT_ZMTP,
        ),
        raw("zeros", [0; 64]).same("closed in the greeting"),
        raw("only ff", [0xff; 64]).same("closed in the greeting"),
        raw("octet 0 is fe", altered(0..1, 0xfe)).hurried().differ(
            "timed out in the greeting",
            "closed in the greeting",
            NOT_ZMTP,
        ),
        raw("octet 9 is 7e", altered(9..10, 0x7e)).same("closed in the greeting"),
    ]
}

fn silence() -> Vec<Script> {
    let after = |octets: usize| {
        let name = format!("silence after {octets} octets");
        let steps = [Step::Send(greeting()[..octets].to_vec()), Step::AwaitReady];
        script(name, steps).hurried().same("timed out in the greeting")
    };
    let mut scripts: Vec<Script> = [0, 1, 9, 10, 11, 12, 32, 63].map(after).into();
    let trickle = Step::Trickle(greeting(), Duration::from_millis(50));
    scripts.extend([
        script("a trickle", [trickle]).hurried().same("timed out in the greeting"),
        greeted("silence after the greeting", [])
            .then(Step::Quiet(PATIENCE))
            .hurried()
            .same("timed out in the handshake"),
        greeted("silence in READY", &ready("DEALER", b"")[..20])
            .then(Step::Quiet(PATIENCE))
            .hurried()
            .same("timed out in the handshake"),
    ]);
    scripts
}

fn segments() -> Vec<Script> {
    let all = [greeting(), ready("DEALER", b""), message(&["early"])].concat();
    let stage = |octets: std::ops::Range<usize>| Step::Send(greeting()[octets].to_vec());
    // As libzmq dials: each waits for what the other side has to say by then.
    let stages = [stage(0..10), Step::Await(10), stage(10..11), Step::Await(11), stage(11..64), Step::AwaitReady];
    vec![
        script(
            "greeting and READY in one segment",
            [Step::Send([greeting(), ready("DEALER", b"")].concat()), Step::AwaitReady],
        )
        .same("serves"),
        script("all in one segment", [Step::Send(all)]).whole().differ(
            "closed in the greeting",
            "[early], serves",
            EARLY,
        ),
        script("in stages of 10, 1 and 53", stages).then(Step::Send(ready("DEALER", b""))).same("serves"),
        script(
            "greeting and ERROR in one segment",
            [Step::Send([greeting(), octets::error(b"no")].concat()), Step::AwaitReady, Step::Quiet(PATIENCE)],
        )
        .hurried()
        .differ(
            "timed out in the handshake",
            "closed in the handshake",
            "RFC 37: an ERROR is fatal; libzmq overlooks one that comes before it has sent its READY",
        ),
    ]
}

#[test]
fn versions_agree() {
    compare(&versions());
}

#[test]
fn mechanisms_agree() {
    compare(&mechanisms());
}

#[test]
fn what_is_not_significant_in_a_greeting_agrees() {
    compare(&insignificant());
}

#[test]
fn what_is_not_zmtp_agrees() {
    compare(&not_zmtp());
}

#[test]
fn silence_agrees() {
    compare(&silence());
}

#[test]
fn segments_agree() {
    compare(&segments());
}

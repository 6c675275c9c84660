//! A3, A7: commands after the handshake, between messages and inside of them, and the time to live of a PING.

use std::time::Duration;

use crate::compare;
use crate::script::{Script, Step, connected};
use crate::support::octets::{self, COMMAND, LONG, MORE, command, frame, header, message, ping, pong, ready};

const MALFORMED: &str = "A3: a malformed command is closed; libzmq passes over it";
const SHORT: &str = "A7: a PING has a time to live; libzmq reads beyond the end of one that has none";
const CONTEXT: &str = "RFC 37: a context has at most 16 octets; libzmq cuts it";
const DELIVERED: &str = "A3: these are not for a ROUTER; libzmq delivers them as messages, even within another";
const AGAIN: &str = "A3: the handshake is over; libzmq passes over what belongs to it";
const LIMIT: &str = "our limit for commands is 64 KiB; libzmq has one for all frames";
const OVERFLOW: &str = "RFC 37: up to 6553.5 s; libzmq counts milliseconds in 16 bits";
const STANDS: &str =
    "RFC 37: dead without traffic for the time of the last PING; libzmq forgets it at the next message";
const LIFE: &str = "RFC 37: any traffic is a sign of life; libzmq counts whole frames alone";

const CLOSED: &str = "[good], closed in traffic";
const SERVES: &str = "[good], serves";

fn pings() -> Vec<Script> {
    let context: Vec<u8> = (0..16).collect();
    let long = [header(COMMAND | LONG, 10), b"\x04PING\0\0abc".to_vec()].concat();
    vec![
        connected("abc", ping(100, b"abc")).same("[good], PONG abc, serves"),
        connected("without a context", ping(0, b"")).same("[good], PONG '', serves"),
        connected("16 octets", ping(100, &context))
            .same(r"[good], PONG \x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f, serves"),
        connected("17 octets", ping(0, b"seventeen octets.")).differ(
            "[good], PONG seventeen octets, serves",
            CLOSED,
            CONTEXT,
        ),
        connected("248 octets", ping(0, &[b'c'; 248])).differ("[good], PONG c*16, serves", CLOSED, CONTEXT),
        connected("in the long form", long).same("[good], PONG abc, serves"),
        connected("three", [ping(0, b"one"), ping(0, b"two"), ping(0, b"three")].concat())
            .same("[good], PONG one, PONG two, PONG three, serves"),
        connected("between messages", [message(&["x"]), ping(0, b"abc"), message(&["y"])].concat())
            .same("[good], [x], [y], PONG abc, serves"),
        connected("within a message", [frame(MORE, b"x"), ping(0, b"abc"), frame(0, b"y")].concat())
            .same("[good], [x y], PONG abc, serves"),
        connected("of 5 octets", frame(COMMAND, b"\x04PING")).differ(
            "[good], PONG with 16 octets that nobody sent, serves",
            CLOSED,
            SHORT,
        ),
        connected("of 6 octets", frame(COMMAND, b"\x04PING\0")).differ(
            "[good], PONG with 16 octets that nobody sent, serves",
            CLOSED,
            SHORT,
        ),
        connected("in lower case", command(b"ping", b"\0\0abc")).same(SERVES),
        connected("as a message", frame(0, b"\x04PING\0\0abc")).same(r"[good], [\x04PING\x00\x00abc], serves"),
        connected("PONG", pong(b"")).same(SERVES),
        connected("PONG with a context", pong(b"never asked")).same(SERVES),
        connected("PONG with 17 octets", pong(&[b'c'; 17])).differ(SERVES, CLOSED, CONTEXT),
    ]
}

fn unknown() -> Vec<Script> {
    let inside = |name, octets: &[u8]| connected(name, [&frame(MORE, b"x")[..], octets, &frame(0, b"y")].concat());
    let whole = "[good], [x y], serves";
    vec![
        inside("an unknown command", &command(b"UNHEARD-OF", b"\0\xff")).same(whole),
        inside("a name of one octet", &command(b"X", b"")).same(whole),
        inside("a name of 255 octets", &command(&[0xfe; 255], b"")).same(whole),
        inside("JOIN", &command(b"JOIN", b"A")).same(whole),
        inside("LEAVE", &command(b"LEAVE", b"A")).same(whole),
        inside("60,000 octets", &command(b"BIG", &[0; 60_000])).same(whole),
        inside("70,000 octets", &command(b"BIG", &[0; 70_000])).differ(whole, CLOSED, LIMIT),
        inside("above all limits", &command(b"BIG", &[0; 100_001])).same(CLOSED),
        inside("an empty command", &frame(COMMAND, b"")).differ(whole, CLOSED, MALFORMED),
        inside("a command without a name", &frame(COMMAND, b"\0PING")).differ(whole, CLOSED, MALFORMED),
        inside("a name that overruns", &frame(COMMAND, b"\x05PING")).differ(whole, CLOSED, MALFORMED),
        inside("a second READY", &ready("DEALER", b"")).differ(whole, CLOSED, AGAIN),
        inside("a second READY with another name", &ready("DEALER", b"other")).differ(whole, CLOSED, AGAIN),
        inside("ERROR", &octets::error(b"enough")).differ(whole, CLOSED, AGAIN),
        inside("ERROR that overruns", &command(b"ERROR", b"\x09short")).differ(whole, CLOSED, AGAIN),
    ]
}

fn subscriptions() -> Vec<Script> {
    let within = |name, octets: Vec<u8>, theirs| {
        let around = [frame(MORE, b"x"), octets, frame(0, b"y")].concat();
        connected(name, around).differ(theirs, "[good], [x y], serves", DELIVERED)
    };
    vec![
        connected("SUBSCRIBE", command(b"SUBSCRIBE", b"A")).differ(
            r"[good], [\tSUBSCRIBEA], serves",
            SERVES,
            DELIVERED,
        ),
        connected("CANCEL", command(b"CANCEL", b"A")).differ(r"[good], [\x06CANCELA], serves", SERVES, DELIVERED),
        within("SUBSCRIBE within a message", command(b"SUBSCRIBE", b"A"), r"[good], [x \tSUBSCRIBEA], [y], serves"),
        within("CANCEL within a message", command(b"CANCEL", b""), r"[good], [x \x06CANCEL], [y], serves"),
    ]
}

fn times_to_live() -> Vec<Script> {
    let quiet = |name, octets: Vec<u8>, millis| {
        connected(name, octets).then(Step::Quiet(Duration::from_millis(millis))).whole()
    };
    let patient = |name, octets| quiet(name, octets, 600);
    let message_after = [ping(2, b"abc"), message(&["x"])].concat();
    // One frame, whose octets come for longer than the time to live, each well within it.
    let trickle = message(&[[b'x'; 20]]);
    vec![
        patient("0", ping(0, b"abc")).same("[good], PONG abc, serves"),
        quiet("1", ping(1, b"abc"), 20_000).same("[good], PONG abc, closed in traffic"),
        patient("655", ping(655, b"abc")).same("[good], PONG abc, serves"),
        patient("656", ping(656, b"abc")).differ(
            "[good], PONG abc, closed in traffic",
            "[good], PONG abc, serves",
            OVERFLOW,
        ),
        patient("65535", ping(65_535, b"abc")).same("[good], PONG abc, serves"),
        patient("taken back", [ping(2, b"abc"), ping(0, b"abc")].concat()).same("[good], PONG abc, PONG abc, serves"),
        quiet("a message after it", message_after, 2_000).differ(
            "[good], [x], PONG abc, serves",
            "[good], [x], PONG abc, closed in traffic",
            STANDS,
        ),
        connected("a trickle", ping(10, b"abc"))
            .then(Step::Trickle(trickle, Duration::from_millis(100)))
            .whole()
            .differ("[good], PONG abc, closed in traffic", "[good], [x*20], PONG abc, serves", LIFE),
    ]
}

#[test]
fn pings_agree() {
    compare(&pings());
}

#[test]
fn commands_that_mean_nothing_agree() {
    compare(&unknown());
}

#[test]
fn subscriptions_agree() {
    compare(&subscriptions());
}

#[test]
fn times_to_live_agree() {
    compare(&times_to_live());
}

//! A2: frames of every form and size, after a good handshake and a message that is delivered.

use crate::compare;
use crate::script::{Script, connected};
use crate::support::octets::{COMMAND, LONG, MORE, frame, header, message};

const RESERVED: &str = "RFC 37: bits 7-3 must be zero; libzmq does not look at them";
const COMMAND_MORE: &str = "RFC 37: a command is one frame, its MORE is zero; libzmq does not look at it";
const WHOLE: &str = "A2.6: our limits are for whole messages, so that an endless one ends; libzmq's is for a frame";

const CLOSED: &str = "[good], closed in traffic";

fn frames() -> Vec<Script> {
    let long = |flags, body: &[u8]| [header(flags | LONG, body.len() as u64), body.to_vec()].concat();
    vec![
        connected("hello", message(&["hello"])).same("[good], [hello], serves"),
        connected("empty", message(&[""])).same("[good], [''], serves"),
        connected("empty, hi", message(&["", "hi"])).same("[good], ['' hi], serves"),
        connected("hi, empty", message(&["hi", ""])).same("[good], [hi ''], serves"),
        connected("a, b, c", message(&["a", "b", "c"])).same("[good], [a b c], serves"),
        connected("only empty frames", message(&["", "", ""])).same("[good], ['' '' ''], serves"),
        connected("100 empty frames", message(&[""; 100])).same("[good], [100 of ''], serves"),
        connected("three messages", [message(&["one"]), message(&["", "two"]), message(&[""])].concat())
            .same("[good], [one], ['' two], [''], serves"),
        connected("LONG hi", long(0, b"hi")).same("[good], [hi], serves"),
        connected("LONG empty", long(0, b"")).same("[good], [''], serves"),
        connected("LONG with MORE", [long(MORE, b"a"), long(MORE, b""), frame(0, b"c")].concat())
            .same("[good], [a '' c], serves"),
        connected("a subscription of 3.0", *b"\x00\x02\x01A").same(r"[good], [\x01A], serves"),
        connected("255 octets", message(&[[b'x'; 255]])).same("[good], [x*255], serves"),
        connected("256 octets", message(&[[b'x'; 256]])).same("[good], [x*256], serves"),
        connected("255 octets in the long form", long(0, &[b'x'; 255])).same("[good], [x*255], serves"),
        connected("256 octets with MORE", message(&[&[b'x'; 256][..], b"end"])).same("[good], [x*256 end], serves"),
        connected("65,536 octets", message(&[vec![b'x'; 65_536]])).same("[good], [x*65536], serves"),
        connected("exactly the limit", message(&[vec![b'x'; 100_000]])).same("[good], [x*100000], serves"),
    ]
}

fn reserved() -> Vec<Script> {
    let bit = |bit: u8| {
        connected(format!("bit {bit:#04x}"), frame(bit, b"x")).differ("[good], [x], serves", CLOSED, RESERVED)
    };
    let mut scripts: Vec<Script> = [8, 16, 32, 64, 128].map(bit).into();
    scripts.extend([
        connected("all reserved bits", frame(0xf8, b"x")).differ("[good], [x], serves", CLOSED, RESERVED),
        connected("a reserved bit with MORE", [frame(MORE | 8, b"x"), frame(0, b"y")].concat()).differ(
            "[good], [x y], serves",
            CLOSED,
            RESERVED,
        ),
        connected("a reserved bit on a later frame", [frame(MORE, b"x"), frame(16, b"y")].concat()).differ(
            "[good], [x y], serves",
            CLOSED,
            RESERVED,
        ),
        connected("a reserved bit on a command", frame(COMMAND | 8, b"\x04PING\0\0abc")).differ(
            "[good], PONG abc, serves",
            CLOSED,
            RESERVED,
        ),
        connected("COMMAND with MORE", frame(COMMAND | MORE, b"\x04PING\0\0abc")).differ(
            "[good], PONG abc, serves",
            CLOSED,
            COMMAND_MORE,
        ),
        connected("an unknown command with MORE", frame(COMMAND | MORE, b"\x01X")).differ(
            "[good], serves",
            CLOSED,
            COMMAND_MORE,
        ),
        connected(
            "COMMAND with MORE in a message",
            [frame(MORE, b"x"), frame(COMMAND | MORE, b"\x01X"), frame(0, b"y")].concat(),
        )
        .differ("[good], [x y], serves", CLOSED, COMMAND_MORE),
    ]);
    scripts
}

fn sizes() -> Vec<Script> {
    let announced = |name, size| connected(name, header(LONG, size)).same(CLOSED);
    let near_limit = [frame(MORE, &[b'x'; 60_000]), frame(0, &[b'y'; 60_000])].concat();
    vec![
        announced("one above the limit", 100_001),
        announced("2^31", 1 << 31),
        announced("2^32", 1 << 32),
        announced("2^63-1", (1 << 63) - 1),
        announced("2^63", 1 << 63),
        announced("2^64-1", u64::MAX),
        connected("2^63 with MORE", header(LONG | MORE, 1 << 63)).same(CLOSED),
        connected("2^63 as a command", header(LONG | COMMAND, 1 << 63)).same(CLOSED),
        connected("a message and 2^63", [message(&["last"]), header(LONG, 1 << 63)].concat())
            .same("[good], [last], closed in traffic"),
        connected("half a message and 2^63", [frame(MORE, b"half"), header(LONG, 1 << 63)].concat()).same(CLOSED),
        connected("two frames above the limit together", near_limit).differ(
            "[good], [x*60000 y*60000], serves",
            CLOSED,
            WHOLE,
        ),
        connected("8,192 frames", message(&[""; 8_192])).whole().same("[good], [8192 of ''], serves"),
        connected("8,193 frames", message(&[""; 8_193])).whole().differ("[good], [8193 of ''], serves", CLOSED, WHOLE),
    ]
}

#[test]
fn frames_agree() {
    compare(&frames());
}

#[test]
fn reserved_bits_agree() {
    compare(&reserved());
}

#[test]
fn sizes_agree() {
    compare(&sizes());
}

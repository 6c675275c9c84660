//! A2.6: the peer leaves after any octet, by FIN or by a reset. What is whole is delivered, and nothing else.

use crate::compare;
use crate::script::{Script, Step, connected, greeted, script};
use crate::support::octets::{COMMAND, LONG, MORE, frame, greeting, header, message, ping, ready};

fn handshakes() -> Vec<Script> {
    let after = |octets: usize| {
        script(format!("FIN after {octets} octets"), [Step::Send(greeting()[..octets].to_vec()), Step::Fin])
            .same("over")
    };
    let in_ready = |octets: usize| {
        greeted(format!("FIN after {octets} octets of READY"), &ready("DEALER", b"me")[..octets])
            .then(Step::Fin)
            .same("over")
    };
    let ready_octets = ready("DEALER", b"me").len();
    let first = |octets: &[u8]| [ready("DEALER", b"me"), octets.to_vec()].concat();
    let mut scripts: Vec<Script> = [0, 1, 9, 10, 11, 12, 63, 64].map(after).into();
    scripts.extend([1, 2, 8, 20, ready_octets - 1, ready_octets].map(in_ready));
    scripts.extend([
        greeted("FIN after a message", first(&message(&["bye"]))).then(Step::Fin).same("[bye], over"),
        greeted("FIN after half a message", first(&frame(MORE, b"bye"))).then(Step::Fin).same("over"),
    ]);
    scripts
}

fn messages() -> Vec<Script> {
    let (first, second) = (message(&["first"]), [frame(MORE, b"the"), ping(0, b"abc"), message(&["", "end"])].concat());
    let both = [first.clone(), second].concat();
    let after = |octets: usize| {
        let outcome = match octets {
            n if n == both.len() => "[good], [first], [the '' end], PONG abc, over",
            n if n >= first.len() + 5 + ping(0, b"abc").len() => "[good], [first], PONG abc, over",
            n if n >= first.len() => "[good], [first], over",
            _ => "[good], over",
        };
        connected(format!("FIN after {octets} octets"), &both[..octets]).then(Step::Fin).whole().same(outcome)
    };
    (0..=both.len()).map(after).collect()
}

fn resets() -> Vec<Script> {
    // What came before the PING is read when its PONG is there; what comes after it may be lost with the reset.
    let reset = |name, octets: Vec<u8>| connected(name, octets).then(Step::Reset).whole().same("[good], over");
    vec![
        reset("a reset", vec![]),
        reset("a reset within a header", vec![LONG]),
        reset("a reset within a frame", header(LONG, 300)),
        reset("a reset within a command", header(LONG | COMMAND, 300)),
        reset("a reset within a message", frame(MORE, b"half")),
    ]
}

#[test]
fn an_end_in_the_handshake_agrees() {
    compare(&handshakes());
}

#[test]
fn an_end_after_each_octet_agrees() {
    compare(&messages());
}

#[test]
fn resets_agree() {
    compare(&resets());
}

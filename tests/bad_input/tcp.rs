//! A handful of the same over real TCP, with libzmq as the good client that must still be served.

use std::time::Duration;

use zmio::{Cause, Event, Options};

use crate::support::libzmq::Libzmq;
use crate::support::node;
use crate::support::octets::{
    self, COMMAND, LONG, MORE, command, frame, greeting, greeting_with, header, property, ready,
};
use crate::support::raw::Raw;

/// The end of the only bad connection, before or after its handshake.
fn cause_of_end(event: &Event) -> Option<Cause> {
    match event {
        Event::Rejected(end) => Some(end.cause.clone()),
        Event::Disconnected(end) => Some(end.cause.clone()),
        _ => None,
    }
}

#[test]
fn after_hostile_octets_libzmq_is_still_served() {
    let after = |octets: Vec<u8>| [greeting(), ready("DEALER", b""), octets].concat();
    let first = |octets: Vec<u8>| [greeting(), octets].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "not ZMTP"),
        (vec![0x16, 3, 1, 2, 0, 1, 0], "not ZMTP"),
        (greeting_with(2, 0, b"NULL"), "ZMTP 2"),
        (greeting_with(3, 1, b"CURVE"), "mechanism"),
        (first(frame(0, b"too early")), "before READY"),
        (first(ready("PUB", b"")), "cannot talk"),
        (first(ready("DEALER", &[0, 1])), "identity"),
        (first(octets::error(b"no, you go away")), "no, you go away"),
        (first(command(b"READY", &[property(b"Socket-Type", b"DEALER"), vec![9]].concat())), "property"),
        (after(ready("DEALER", b"")), "second READY"),
        (after(frame(8, b"")), "reserved"),
        (after(frame(COMMAND | MORE, b"\x04PING\0\0")), "more frames"),
        (after(header(LONG, u64::MAX)), "announces"),
        (after(header(LONG, 1 << 40)), "limit"),
        (after(frame(COMMAND, b"\x04PING")), "PING"),
        (after(frame(MORE, b"").repeat(9_000)), "frames"),
    ];

    let ours = node::router(Options::new());
    let endpoint = ours.bind();
    let lasting = Libzmq::dealer();
    lasting.connect(&endpoint);
    lasting.send(&["here first"]);
    let (peer, _) = ours.message();
    for (octets, cause) in cases {
        let mut raw = Raw::connect(&endpoint);
        raw.write(&octets);
        let words = ours.wait_for(cause, cause_of_end).to_string();
        assert!(words.contains(cause), "the cause says «{words}», not «{cause}»");
        raw.read_to_end();

        let newcomer = Libzmq::dealer();
        newcomer.connect(&endpoint);
        newcomer.send(&["new here"]);
        assert_eq!(ours.message().1, [b"new here"], "after {cause}");
        ours.send(peer, &["and you"]);
        assert_eq!(lasting.recv(), [b"and you"], "after {cause}");
        drop(newcomer);
        ours.wait_for("the newcomer's end", cause_of_end);
    }
}

/// A reset destroys what is on its way: the ERROR must arrive though the peer had more to say.
#[test]
fn the_error_arrives_though_the_peer_still_talks() {
    let ours = node::router(Options::new());
    let mut raw = Raw::connect(&ours.bind());
    raw.write(&greeting());
    raw.write(&ready("PUB", b""));
    raw.write(&frame(0, &[0; 10_000]));
    raw.read_greeting();
    assert!(raw.read_frame().is_command(b"READY"));
    let last = raw.read_frame();
    assert!(last.is_command(b"ERROR"), "{last:?}");
    assert!(raw.read_to_end().is_empty());
}

#[test]
fn silence_in_the_handshake_is_cut_off_and_the_others_stay() {
    let ours = node::router(Options::new().handshake_timeout(Duration::from_millis(300)));
    let endpoint = ours.bind();
    let good = Libzmq::dealer();
    good.connect(&endpoint);
    let (peer, _) = ours.connected();
    for octets in [0, 10, 63, 64] {
        let mut raw = Raw::connect(&endpoint);
        raw.write(&greeting()[..octets]);
        let words = ours.rejected().to_string();
        assert!(words.contains("handshake"), "{words}");
        raw.read_to_end();
    }
    ours.send(peer, &["unharmed"]);
    assert_eq!(good.recv(), [b"unharmed"]);
    ours.expect_no_loss(Duration::ZERO);
}

/// libzmq's `test_stream_timeout` in the other role: whom we dialled is silent.
#[test]
fn our_dealer_gives_up_on_a_silent_listener_and_dials_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let ours = node::dealer(Options::new().handshake_timeout(Duration::from_millis(300)));
    ours.connect(&format!("tcp://{address}"));
    let mut first = Raw::accept(&listener);
    first.read_greeting();
    let words = ours.wait_for("Retrying", |event| match event {
        Event::Retrying { cause, .. } => Some(cause.to_string()),
        _ => None,
    });
    assert!(words.contains("handshake"), "{words}");
    let _second = Raw::accept(&listener).handshake("ROUTER", b"");
    ours.connected();
}

/// A3: the same credentials would be refused again.
#[test]
fn our_dealer_does_not_dial_again_after_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let ours = node::dealer(Options::new());
    let peer = ours.connect(&format!("tcp://{address}"));
    let mut raw = Raw::accept(&listener);
    raw.write(&greeting());
    raw.write(&octets::error(b"not you\x7e"));
    let words = ours.wait_for("GaveUp", |event| match event {
        Event::GaveUp { peer: whom, cause } if *whom == peer => Some(cause.to_string()),
        _ => None,
    });
    assert!(words.contains("not you~"), "{words}");
    ours.expect_none("dialled again", Duration::from_millis(300), |event| match event {
        Event::Retrying { after, .. } => Some(*after),
        _ => None,
    });
}

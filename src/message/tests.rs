use alloc::format;
use alloc::vec;

use super::*;

fn flat(message: &Message) -> Vec<u8> {
    message.wire().pieces().concat()
}

#[test]
fn a_message_has_the_wire_form_of_the_vectors() {
    assert_eq!(flat(&Message::from("hello")), b"\x00\x05hello");
    assert_eq!(flat(&Message::multipart(["", "hi"])), b"\x01\x00\x00\x02hi");
    assert_eq!(flat(&Message::multipart(["a", "b", "c"])), b"\x01\x01a\x01\x01b\x00\x01c");
    assert_eq!(flat(&Message::from(vec![7; 256]))[..9], [2, 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn whatever_octets_come_in_makes_the_same_message() {
    for size in [0, 5, 256, SEGMENT_OCTETS] {
        let (text, array) = ("x".repeat(size), [b'x'; 5]);
        let (octets, expected) = (text.clone().into_bytes(), Message::single(text.as_bytes()));
        let messages = [
            Message::from(&octets),
            Message::from(octets.as_slice()),
            Message::from(&text),
            Message::from(text.as_str()),
            Message::from(text.clone()),
            Message::from(octets.clone()),
            Message::from(Bytes::from(octets.clone())),
        ];
        assert!(messages.iter().all(|message| *message == expected));
        let outgoing: [Outgoing<'_>; 9] = [
            (&octets).into(),
            octets.as_slice().into(),
            (&text).into(),
            text.as_str().into(),
            text.clone().into(),
            octets.clone().into(),
            Bytes::from(octets.clone()).into(),
            (&expected).into(),
            expected.clone().into(),
        ];
        for outgoing in outgoing {
            let mut appended = Vec::new();
            outgoing.append(&mut appended);
            assert_eq!((appended.len(), &appended), (outgoing.wire_len(), &flat(&expected)));
            assert_eq!(Message::from(outgoing), expected);
        }
        assert_eq!(Message::from(&array), Message::from(Outgoing::from(&array)));
    }
}

#[test]
fn no_frame_at_all_is_the_empty_message() {
    for empty in [Message::builder().finish(), Message::multipart([""; 0])] {
        assert_eq!(flat(&empty), [0, 0]);
        assert_eq!(empty.frame_count(), 1);
        assert_eq!(empty.frame(0), Some(&[][..]));
    }
}

#[test]
fn frames_come_back_wherever_large_ones_stand() {
    let large = |octet: u8| vec![octet; SEGMENT_OCTETS + 1];
    let bodies = [large(1), vec![], vec![2], large(3), large(4), vec![5; 300]];
    for from in 0..bodies.len() {
        for to in from + 1..=bodies.len() {
            let bodies = &bodies[from..to];
            let built = bodies.iter().fold(Message::builder(), |b, body| b.frame(body.clone())).finish();
            let copied = Message::multipart(bodies);
            assert_eq!(built.frame_count(), bodies.len());
            assert!(built.frames().eq(bodies.iter()));
            assert_eq!(built, copied);
            assert_eq!(flat(&built), flat(&copied));
            for (index, body) in bodies.iter().enumerate() {
                assert_eq!(built.frame_bytes(index).as_deref(), Some(&body[..]));
            }
            assert_eq!(built.frame_bytes(bodies.len()), None);
        }
    }
}

#[test]
fn a_large_body_is_not_copied() {
    let body = Bytes::from(vec![9; SEGMENT_OCTETS]);
    let message = Message::builder().frame("").frame(body.clone()).finish();
    assert_eq!(message.frame(1).map(<[u8]>::as_ptr), Some(body.as_ptr()));
}

#[test]
fn a_detached_message_is_equal_and_stands_alone() {
    let block = Bytes::from_static(b"\x00\x01a\x01\x01b\x00\x01c");
    let mut run = Run::from_wire(block.clone(), 2);
    let first = run.pop();
    let detached = first.clone().detach();
    assert_eq!(detached, first);
    assert!(!block.as_ptr_range().contains(&detached.frame(0).unwrap().as_ptr()));
}

#[test]
fn a_detached_message_leaves_the_block_of_what_was_wrapped_too() {
    let mut wire = Vec::new();
    encode::frame(&mut wire, FrameKind::Last, &[7; 2 * SEGMENT_OCTETS]);
    let block = Bytes::from(wire);
    let wrapped = Envelope::new().wrap(Run::from_wire(block.clone(), 1).pop());
    let detached = wrapped.clone().detach();
    assert_eq!(detached, wrapped);
    drop(wrapped);
    assert!(block.is_unique());
}

#[test]
fn a_run_splits_into_its_messages() {
    let run = Run::from_wire(Bytes::from_static(b"\x00\x01a\x01\x01b\x00\x01c"), 2);
    let messages: Vec<Message> = run.iter().collect();
    assert_eq!(messages, [Message::from("a"), Message::multipart(["b", "c"])]);
    assert_eq!(run.messages(), 2);
}

#[test]
fn a_longer_header_than_needed_does_not_make_another_message() {
    let long = Message::from_wire(Bytes::from_static(b"\x02\x00\x00\x00\x00\x00\x00\x00\x02hi"), 1);
    assert_eq!(long, Message::from("hi"));
    assert_eq!(long.wire_len(), 11);
}

#[test]
fn a_message_is_shown_without_control_characters() {
    assert!(!format!("{:?}", Message::from("\x1b[2J")).contains('\x1b'));
}

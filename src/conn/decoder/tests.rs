use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::message::{Run, Wire};
use crate::wire::encode;

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, kind, body);
    octets
}

/// All that the pieces amount to, message by message and command by command.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Result<Vec<String>, Error> {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let (taken, item) = decoder.decode(rest, Expect::Traffic, limits, Credit::UNLIMITED, &mut |_| None)?;
            assert!(taken > 0 || item.is_some(), "it goes on");
            rest = &rest[taken..];
            match item {
                Some(Item::Run { octets, messages }) => {
                    let run = Run::from_wire(Bytes::copy_from_slice(octets), messages);
                    assert_eq!(run.iter().count(), messages as usize);
                    said.extend(run.iter().map(|message| alloc::format!("{message:?}")));
                }
                Some(Item::Message(message)) => said.push(alloc::format!("{message:?}")),
                Some(Item::Command(body)) => said.push(String::from_utf8_lossy(&body).to_string()),
                None => {}
            }
        }
    }
    Ok(said)
}

fn everything() -> (Vec<u8>, Vec<&'static str>) {
    let octets = [
        frame(FrameKind::Last, b""),
        frame(FrameKind::Command, b"\x01x"),
        frame(FrameKind::More, b"a"),
        frame(FrameKind::Command, b"\x01y"),
        alloc::vec![2, 0, 0, 0, 0, 0, 0, 0, 1, b'b'],
        frame(FrameKind::More, b""),
        frame(FrameKind::More, b""),
        frame(FrameKind::Command, b"\x01z"),
        frame(FrameKind::Last, b""),
        frame(FrameKind::Last, b"end"),
    ];
    let said = alloc::vec!["[\"\"]", "\u{1}x", "\u{1}y", "[\"a\", \"b\"]", "\u{1}z", "[\"\", \"\", \"\"]", "[\"end\"]"];
    (octets.concat(), said)
}

#[test]
fn any_split_in_three_gives_the_same_items() {
    let (octets, said) = everything();
    for first in 0..=octets.len() {
        for second in first..=octets.len() {
            let pieces = [&octets[..first], &octets[first..second], &octets[second..]];
            assert_eq!(decode(pieces, &Limits::default()).unwrap(), said, "split at {first} and {second}");
        }
    }
}

#[test]
fn one_octet_at_a_time_gives_the_same_items() {
    let (octets, said) = everything();
    assert_eq!(decode(octets.chunks(1), &Limits::default()).unwrap(), said);
}

#[test]
fn whole_messages_are_one_slice_of_the_input() {
    let octets = [frame(FrameKind::Last, b"1"), frame(FrameKind::More, b"2"), frame(FrameKind::Last, b"3")].concat();
    let mut decoder = Decoder::default();
    let (taken, item) =
        decoder.decode(&octets, Expect::Traffic, &Limits::default(), Credit::UNLIMITED, &mut |_| None).unwrap();
    assert_eq!(taken, octets.len());
    let Some(Item::Run { octets: run, messages: 2 }) = item else { panic!("{item:?}") };
    assert_eq!(run.as_ptr(), octets.as_ptr());
    assert_eq!(decoder.partial.capacity(), 0, "nothing is held for a peer that is between two messages");
}

#[test]
fn a_run_ends_before_it_is_too_large_and_at_the_credit() {
    let octets = frame(FrameKind::Last, &[7; 98]).repeat(1_000);
    let taken = |credit| {
        let mut decoder = Decoder::default();
        decoder.decode(&octets, Expect::Traffic, &Limits::default(), credit, &mut |_| None).unwrap().0
    };
    assert_eq!(taken(Credit::UNLIMITED), RUN_OCTETS / 100 * 100);
    assert_eq!(taken(Credit { messages: 3, octets: usize::MAX }), 300);
    assert_eq!(taken(Credit { messages: u32::MAX, octets: 300 }), 300);
    assert_eq!(taken(Credit { messages: 0, octets: 0 }), 100, "one is always taken");
}

#[test]
fn a_run_of_messages_that_are_not_small_reaches_the_credit_and_does_not_pass_it() {
    let octets = frame(FrameKind::Last, &[7; 991]).repeat(10);
    let taken = |octets_of_credit| {
        let credit = Credit { messages: u32::MAX, octets: octets_of_credit };
        Decoder::default().decode(&octets, Expect::Traffic, &Limits::default(), credit, &mut |_| None).unwrap().0
    };
    assert_eq!([2_999, 3_000, 3_001].map(taken), [2_000, 3_000, 3_000]);
}

#[test]
fn small_messages_are_taken_as_all_others_are() {
    // Below this limit the short way for small messages is not taken.
    let general = |limits: &Limits| Limits { message_octets: SMALL_OCTETS - 1, ..limits.clone() };
    let kinds = [
        frame(FrameKind::Last, b""),
        frame(FrameKind::Last, &[7; 200]),
        [frame(FrameKind::More, b""), frame(FrameKind::Last, b"payload")].concat(),
        [frame(FrameKind::More, b"a"), frame(FrameKind::Last, b"b")].concat(),
        [frame(FrameKind::More, b""), frame(FrameKind::More, b""), frame(FrameKind::Last, b"")].concat(),
        alloc::vec![2, 0, 0, 0, 0, 0, 0, 0, 1, b'b'],
        [frame(FrameKind::More, b""), alloc::vec![2, 0, 0, 0, 0, 0, 0, 0, 1, b'b']].concat(),
    ];
    for pick in 0..7_usize.pow(3) {
        let octets = [&kinds[pick % 7][..], &kinds[pick / 7 % 7], &kinds[pick / 49]].concat();
        for end in 0..=octets.len() {
            let decode = |limits: &Limits, credit: Credit| {
                let mut decoder = Decoder::default();
                let decoded = decoder.decode(&octets[..end], Expect::Traffic, limits, credit, &mut |_| None);
                alloc::format!("{decoded:?} {decoder:?}")
            };
            for (message_frames, credit) in [
                (8_192, Credit::UNLIMITED),
                (8_192, Credit { messages: 2, octets: usize::MAX }),
                (8_192, Credit { messages: 0, octets: 9 }),
                (8_192, Credit { messages: 9, octets: 202 }),
                (2, Credit::UNLIMITED),
                (1, Credit::UNLIMITED),
            ] {
                let limits = Limits { message_frames, ..Limits::default() };
                assert_eq!(decode(&limits, credit), decode(&general(&limits), credit), "{octets:?}, up to {end}");
            }
        }
    }
}

#[test]
fn a_message_that_is_larger_than_a_run_is_one() {
    let octets = frame(FrameKind::Last, &alloc::vec![7; 3 * RUN_OCTETS]);
    let mut decoder = Decoder::default();
    let (taken, item) =
        decoder.decode(&octets, Expect::Traffic, &Limits::default(), Credit::UNLIMITED, &mut |_| None).unwrap();
    assert_eq!(taken, octets.len());
    assert!(matches!(item, Some(Item::Run { messages: 1, .. })));
}

#[test]
fn messages_before_a_fault_come_out_first() {
    let octets = [frame(FrameKind::Last, b"good"), alloc::vec![0x80, 0]].concat();
    let mut decoder = Decoder::default();
    let limits = Limits::default();
    let (taken, item) = decoder.decode(&octets, Expect::Traffic, &limits, Credit::UNLIMITED, &mut |_| None).unwrap();
    assert!(matches!(item, Some(Item::Run { messages: 1, .. })));
    let error =
        decoder.decode(&octets[taken..], Expect::Traffic, &limits, Credit::UNLIMITED, &mut |_| None).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)));
}

#[test]
fn limits_hold_to_the_octet_and_frame_whole_or_in_pieces() {
    let limits = Limits { message_octets: 20, message_frames: 3, command_octets: 5, ..Limits::default() };
    let message = |frames: usize, octets: usize| {
        let mut wire = Vec::new();
        for n in 1..frames {
            let _ = n;
            encode::frame(&mut wire, FrameKind::More, b"");
        }
        encode::frame(&mut wire, FrameKind::Last, &alloc::vec![7; octets - 2 * frames]);
        wire
    };
    let cases = [
        (message(1, 20), None),
        (message(1, 21), Some(Violation::MessageOctets { octets: 21, limit: 20 })),
        (message(3, 20), None),
        (message(3, 21), Some(Violation::MessageOctets { octets: 21, limit: 20 })),
        (message(4, 10), Some(Violation::MessageFrames { limit: 3 })),
        (frame(FrameKind::Command, b"\x04abcd"), None),
        (frame(FrameKind::Command, b"\x05abcde"), Some(Violation::CommandOctets { octets: 6, limit: 5 })),
    ];
    for (octets, violation) in cases {
        let expected = violation.map(Error::Violation);
        assert_eq!(decode([&octets[..]], &limits).err(), expected, "{octets:02x?}");
        assert_eq!(decode(octets.chunks(1), &limits).err(), expected, "{octets:02x?}");
    }
}

#[test]
fn a_size_is_judged_before_its_octets_come_and_nothing_is_reserved_for_it() {
    for size in [1u64 << 31, 1 << 32, (1 << 63) - 1] {
        let header = FrameHeader { kind: FrameKind::Last, size }.encode();
        assert!(matches!(
            decode([&header[..]], &Limits::default()),
            Err(Error::Violation(Violation::MessageOctets { .. }))
        ));
    }
    let mut decoder = Decoder::default();
    let header = FrameHeader { kind: FrameKind::Last, size: 60 << 20 }.encode();
    let _ = decoder.decode(&header, Expect::Traffic, &Limits::default(), Credit::UNLIMITED, &mut |_| None).unwrap();
    assert!(decoder.partial.capacity() <= 1_024, "{}", decoder.partial.capacity());
}

#[test]
fn a_message_before_the_handshake_is_over_is_refused_by_its_flags() {
    let mut decoder = Decoder::default();
    let error = decoder
        .decode(
            &frame(FrameKind::Last, b"early"),
            Expect::Handshake,
            &Limits::default(),
            Credit::UNLIMITED,
            &mut |_| None,
        )
        .unwrap_err();
    assert_eq!(error, Violation::MessageBeforeReady.into());
}

#[test]
fn a_gathered_message_takes_exactly_its_size() {
    let mut decoder = Decoder::default();
    let octets = frame(FrameKind::Last, &alloc::vec![7; 100_000]);
    let mut message = None;
    for piece in octets.chunks(1_460) {
        if let (_, Some(Item::Message(whole))) =
            decoder.decode(piece, Expect::Traffic, &Limits::default(), Credit::UNLIMITED, &mut |_| None).unwrap()
        {
            message = Some(whole);
        }
    }
    let Wire::One(bytes) = message.unwrap().wire().clone() else { panic!("one piece") };
    let memory: Vec<u8> = bytes.into();
    assert!(memory.capacity() <= octets.len() + 64, "{}", memory.capacity());
    assert_eq!(decoder.partial.capacity(), 0);
}

#[test]
fn many_small_frames_do_not_move_the_message_each_time() {
    let mut decoder = Decoder::default();
    let limits = Limits::default();
    let more = frame(FrameKind::More, &[7; 100]);
    let mut moves = 0;
    for _ in 0..8_000 {
        let before = decoder.partial.capacity();
        let (taken, item) = decoder.decode(&more, Expect::Traffic, &limits, Credit::UNLIMITED, &mut |_| None).unwrap();
        assert!(taken == more.len() && item.is_none());
        moves += usize::from(decoder.partial.capacity() != before);
        assert!(decoder.partial.capacity() <= 2 * decoder.partial.len() + FIRST_RESERVE);
    }
    assert!(moves <= 20, "{moves}");
}

#[test]
fn a_message_of_many_frames_keeps_no_memory_that_it_does_not_need() {
    let octets = [frame(FrameKind::More, &[7; 100]).repeat(700), frame(FrameKind::Last, b"")].concat();
    let mut decoder = Decoder::default();
    let mut message = None;
    for piece in octets.chunks(1_460) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (taken, item) =
                decoder.decode(rest, Expect::Traffic, &Limits::default(), Credit::UNLIMITED, &mut |_| None).unwrap();
            rest = &rest[taken..];
            if let Some(Item::Message(whole)) = item {
                message = Some(whole);
            }
        }
    }
    let Wire::One(bytes) = message.unwrap().wire().clone() else { panic!("one piece") };
    let memory: Vec<u8> = bytes.into();
    assert!(memory.capacity() <= octets.len() + octets.len() / 8, "{}", memory.capacity());
}

proptest! {
    #[test]
    fn what_is_under_way_takes_no_more_than_twice_what_may_come(
        frames in vec((0..3_u8, 0..300_usize), 1..40),
        pieces in vec(1..400_usize, 1..40),
    ) {
        let limits = Limits { message_octets: 1_000, command_octets: 300, ..Limits::default() };
        let kinds = [FrameKind::More, FrameKind::Last, FrameKind::Command];
        let octets: Vec<u8> = frames
            .into_iter()
            .flat_map(|(kind, size)| frame(kinds[usize::from(kind)], &alloc::vec![7; size]))
            .collect();
        let mut decoder = Decoder::default();
        let mut rest = &octets[..];
        for piece in pieces.into_iter().cycle() {
            let mut input = &rest[..piece.min(rest.len())];
            rest = &rest[input.len()..];
            while !input.is_empty() {
                let Ok((taken, _)) = decoder.decode(input, Expect::Traffic, &limits, Credit::UNLIMITED, &mut |_| None) else {
                    return Ok(());
                };
                prop_assert!(decoder.held() <= 2 * (1_000 + 300) + FIRST_RESERVE, "{} octets", decoder.held());
                input = &input[taken..];
            }
            if rest.is_empty() {
                break;
            }
        }
    }
}

#[test]
fn a_large_message_is_gathered_in_memory_that_is_lent() {
    let mut asked = Vec::new();
    let octets = [frame(FrameKind::More, b""), frame(FrameKind::Last, &[7; 50_000])].concat();
    let memory = Vec::with_capacity(octets.len());
    let place = memory.as_ptr();
    let mut memory = Some(memory);
    let mut decoder = Decoder::default();
    let mut said = None;
    for piece in octets.chunks(20_000) {
        let mut rest = piece;
        while !rest.is_empty() {
            let mut lend = |octets| {
                asked.push(octets);
                memory.take()
            };
            let limits = Limits::default();
            let (taken, item) = decoder.decode(rest, Expect::Traffic, &limits, Credit::UNLIMITED, &mut lend).unwrap();
            rest = &rest[taken..];
            if let Some(Item::Message(message)) = item {
                said = Some(message);
            }
        }
    }
    // What is only announced takes no memory.
    let mut lend = |_| panic!("it is too early");
    let limits = Limits::default();
    let mut rest = &octets[..6_000];
    while !rest.is_empty() {
        let decoded = decoder.decode(rest, Expect::Traffic, &limits, Credit::UNLIMITED, &mut lend);
        rest = &rest[decoded.unwrap().0..];
    }
    assert!(decoder.held() < 2 * 6_000);
    let said = said.expect("the message is whole");
    assert_eq!(said.frame(1), Some(&[7; 50_000][..]));
    assert_eq!(said.wire().pieces()[0].as_ptr(), place);
    assert_eq!(asked, [octets.len()]);
}

#[test]
#[cfg(feature = "net")]
fn it_says_what_is_missing_of_a_large_message_and_of_no_other() {
    for (body, expected) in [(100, 0), (RUN_OCTETS - 10, 0), (50_000, 49_991)] {
        let octets = frame(FrameKind::Last, &[7].repeat(body));
        let mut decoder = Decoder::default();
        let mut decode = |octets: &[u8]| {
            let limits = Limits::default();
            decoder.decode(octets, Expect::Traffic, &limits, Credit::UNLIMITED, &mut |_| None).unwrap();
            decoder.missing_of_large()
        };
        assert_eq!(decode(&octets[..18]), expected, "{body}");
        assert_eq!(decode(&octets[18..]), 0, "{body}");
    }
}

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::wire::encode;

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode::frame(&mut octets, kind, body);
    octets
}

#[test]
fn many_small_frames_do_not_move_the_message_each_time() {
    let mut decoder = Decoder::default();
    let limits = Limits::default();
    let more = frame(FrameKind::More, &[7; 100]);
    let mut moves = 0;
    for _ in 0..8_000 {
        let before = decoder.partial.capacity();
        let (taken, item) = decoder.decode(&more, Expect::Traffic, &limits, Credit::UNLIMITED).unwrap();
        assert!(taken == more.len() && item.is_none());
        moves += usize::from(decoder.partial.capacity() != before);
        assert!(decoder.partial.capacity() <= 2 * decoder.partial.len() + FIRST_RESERVE);
    }
    assert!(moves <= 20, "{moves}");
}

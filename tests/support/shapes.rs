//! Messages of every shape that framing could get wrong.

/// Frames of one message.
pub(crate) type Frames = Vec<Vec<u8>>;

pub(crate) const MIB: usize = 1 << 20;

/// A body whose octets repeat with a prime period, so that a shifted or repeated piece shows.
pub(crate) fn body(octets: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let mut body = period.repeat(octets / 251 + 1);
    body.truncate(octets);
    body
}

/// Messages of up to 64 KiB: frame counts, empty frames, and sizes on both sides of each boundary of the encoding.
pub(crate) fn small() -> Vec<Frames> {
    let mut messages: Vec<Frames> = vec![
        vec![b"hello".to_vec()],
        vec![vec![]],
        vec![vec![], b"hi".to_vec()],
        vec![b"hi".to_vec(), vec![]],
        vec![vec![], vec![], vec![]],
        vec![b"a".to_vec(), vec![], b"c".to_vec()],
        vec![vec![0], vec![0xff; 3], body(256), vec![], body(255)],
        (0..100).map(|n| body(n * 7)).collect(),
        vec![vec![]; 100],
    ];
    for octets in [1, 254, 255, 256, 257, 65_535, 65_536] {
        messages.push(vec![body(octets)]);
        messages.push(vec![body(octets), body(octets)]);
    }
    messages
}

/// Messages above every buffer on the way.
pub(crate) fn large() -> Vec<Frames> {
    vec![vec![body(MIB)], vec![b"head".to_vec(), body(MIB), vec![], body(MIB + 1)], vec![body(16 * MIB)]]
}

/// Fails with something readable when two messages differ: a 16 MiB body is not worth printing.
#[track_caller]
pub(crate) fn assert_same(received: &[Vec<u8>], sent: &[Vec<u8>], at: &str) {
    let sizes = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(received), sizes(sent), "{at}: the sizes of the frames");
    assert!(received == sent, "{at}: the octets of the frames differ");
}

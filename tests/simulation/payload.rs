//! Messages that prove where they come from: all of their octets follow from sender and sequence number.

use crate::rng::Rng;

/// Names one message of one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) who: u32,
    pub(crate) seq: u32,
}

/// Senders with this bit in their number send large messages now and then.
pub(crate) const LARGE: u32 = 1 << 31;

/// Frames of about these sizes are read in another way, or at the border of a block.
const BORDERS: [u64; 12] = [9, 254, 255, 256, 257, 259, 260, 512, 1024, 2_039, 2_048, 2_049];
const LARGE_BORDERS: [u64; 7] = [16_374, 16_383, 16_384, 16_385, 65_527, 65_535, 65_537];

impl Id {
    /// The frames of this message. Most are in Bonsai's framing: an empty frame, then the payload.
    pub(crate) fn frames(self) -> Vec<Vec<u8>> {
        let mut rng = Rng::new((u64::from(self.who) << 32) | u64::from(self.seq));
        let mut frames = Vec::new();
        if rng.percent(75) {
            frames.push(Vec::new());
        }
        let size = match rng.below(20) {
            0 => rng.within((1000, 3000)),
            // Around the border between the short and the long form of a frame.
            1 | 2 => rng.within((238, 252)),
            7..=9 => rng.pick(&BORDERS) - 8,
            10 | 11 if self.who & LARGE != 0 => rng.pick(&LARGE_BORDERS) - 8,
            3..=6 => 0,
            _ => rng.below(120),
        };
        let mut payload = Vec::with_capacity(size as usize + 8);
        payload.extend_from_slice(&self.who.to_be_bytes());
        payload.extend_from_slice(&self.seq.to_be_bytes());
        let pattern: [u8; 256] = std::array::from_fn(|at| (u64::from(self.seq) * 31 + at as u64 * 7) as u8);
        while payload.len() < size as usize + 8 {
            payload.extend_from_slice(&pattern[..pattern.len().min(size as usize + 8 - payload.len())]);
        }
        frames.push(payload);
        for _ in 0..rng.below(6).saturating_sub(3) {
            let size = if rng.percent(20) { rng.pick(&BORDERS) } else { rng.below(40) };
            frames.push(vec![self.seq as u8; size as usize]);
        }
        frames
    }

    /// Reads the name back. Panics unless every frame is as it was sent.
    pub(crate) fn of<T: AsRef<[u8]>>(frames: &[T]) -> Self {
        let named = frames.iter().map(AsRef::as_ref).find(|f| !f.is_empty());
        let named = named.expect("a message of empty frames only was never sent");
        assert!(named.len() >= 8, "a payload without a name: {named:02x?}");
        let number = |at: usize| u32::from_be_bytes(named[at..at + 4].try_into().unwrap());
        let id = Self { who: number(0), seq: number(4) };
        let sent = id.frames();
        let same = sent.len() == frames.len() && sent.iter().zip(frames).all(|(sent, got)| sent == got.as_ref());
        assert!(same, "{id:?} was corrupted or cut into pieces: {:?} came of {:?}", summary(frames), summary(&sent));
        id
    }
}

/// Size and first octets of each frame.
fn summary<T: AsRef<[u8]>>(frames: &[T]) -> Vec<(usize, &[u8])> {
    frames.iter().map(AsRef::as_ref).map(|frame| (frame.len(), &frame[..frame.len().min(12)])).collect()
}

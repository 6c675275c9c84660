//! Chance, from a seed.

use std::time::Duration;

/// SplitMix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number of `least..=most`.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.roll() % (most - least + 1) as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.between(0, from.len() - 1)])
    }

    /// A whole number with this mean: how often something happens that happens so often.
    pub(crate) fn times(&mut self, mean: f64) -> usize {
        let rest = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        mean as usize + usize::from(rest < mean.fract())
    }

    pub(crate) fn millis(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis(self.between(least, most) as u64)
    }

    /// The octets of an ordinary payload: most are small, one in a hundred has some KiB, one in a thousand up to 100.
    pub(crate) fn size(&mut self) -> usize {
        match self.between(0, 999) {
            0 => self.between(8 << 10, 100 << 10),
            1..=10 => self.between(200, 8 << 10),
            _ => self.between(crate::tally::LEAST, 200),
        }
    }

    /// How many messages a flood has, and the octets that each has at most: some large ones, or many small ones.
    pub(crate) fn flood(&mut self, large: bool) -> (usize, usize) {
        if large { (self.between(100, 250), 64 << 10) } else { (self.between(1_000, 20_000), 100) }
    }
}

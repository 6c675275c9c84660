//! An input as a list of choices.

/// Reads choices off an input. At its end every choice is zero. Octets for a peer stand in it as they are, so that a
/// dictionary and what libFuzzer learns from comparisons fit.
pub(super) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A length in one octet, then so many octets; fewer at the end.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.octet());
        self.take(length)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

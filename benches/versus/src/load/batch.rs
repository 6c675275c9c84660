//! What a sender offers to its socket.

use crate::wire::{self, HEAD, PADDING};

/// Octets offered by one write, or one message.
const WRITE: usize = 32 * 1024;

/// The octets that a sender offers next, made anew for each write in one place that stays in the cache.
pub struct Batch {
    octets: Vec<u8>,
    pub stride: usize,
    head: usize,
}

impl Batch {
    pub fn new(octets: usize, delimiter: bool) -> Batch {
        let mut message = wire::envelope(octets, delimiter);
        let head = message.len();
        message.resize(head + octets, PADDING);
        let stride = message.len();
        // One more message for what an earlier write left of the first.
        Batch { octets: message.repeat((WRITE / stride).max(1) + 1), stride, head }
    }

    /// The stream of a sender from octet `sent` on, up to `end` at most.
    pub fn fill(&mut self, sender: u32, sent: u64, end: u64) -> &[u8] {
        let begun = (sent % self.stride as u64) as usize;
        let left = usize::try_from(end - sent).unwrap_or(usize::MAX);
        let len = (self.octets.len() - begun).min(left);
        let first = sent / self.stride as u64;
        for (i, message) in self.octets[..begun + len].chunks_mut(self.stride).enumerate() {
            // The end is a message's end, so only an empty piece is shorter than a message.
            let Some(body) = message.get_mut(self.head..self.head + HEAD) else { break };
            body[..4].copy_from_slice(&sender.to_le_bytes());
            body[4..].copy_from_slice(&(first + i as u64).to_le_bytes());
        }
        &self.octets[begun..begun + len]
    }
}

//! Messages in their wire form: one or more frames, validated once, cheap to clone.

mod envelope;
mod outgoing;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub use envelope::Envelope;
pub use outgoing::Outgoing;

use crate::wire::{Escaped, FrameHeader, FrameKind, encode};

/// A frame given by the user that is at least so large stays a segment of its own instead of being copied behind
/// its header: above it the copy costs more than the extra slice in a vectored write and a second reference count.
const SEGMENT_OCTETS: usize = 8 * 1024;

/// A message: one or more frames (RFC 37, "Message"), delivered whole or not at all.
///
/// It is kept as the octets that go over the wire, headers included, in reference-counted storage. So a clone copies
/// no frame, a relay forwards a message without encoding it again, and [`frames`](Message::frames) only walks the
/// headers, which were validated when the message came in.
///
/// ```
/// use zmio::Message;
///
/// let moved = Message::multipart(["", "MOVE 3 4"]);
/// assert_eq!(moved.frame_count(), 2);
/// assert_eq!(moved.frame(1), Some(&b"MOVE 3 4"[..]));
///
/// let hello = Message::from("hello");
/// assert!(hello.frames().eq([b"hello"]));
/// ```
///
/// # Memory
///
/// Messages that came in one read share one block. Call [`detach`](Message::detach) on a small message that you keep
/// for long, so that it does not keep its neighbours' octets alive.
#[derive(Clone)]
pub struct Message {
    wire: Wire,
    frames: u32,
}

/// Octets in wire form. Where there are several pieces, a frame's header lies whole in one piece, and its body either
/// follows in the same piece or is the whole next one.
#[derive(Clone)]
pub(crate) enum Wire {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Wire {
    pub(crate) fn pieces(&self) -> &[Bytes] {
        match self {
            Wire::One(piece) => core::slice::from_ref(piece),
            Wire::Many(pieces) => pieces,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }
}

impl Message {
    /// Starts a message that is put together frame by frame.
    ///
    /// ```
    /// let message = zmio::Message::builder().frame("").frame(vec![1, 2, 3]).finish();
    /// assert_eq!(message.frame_count(), 2);
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The message with this one frame, in a block of exactly the size that it takes. [`encode::frame`], which grows what it is
    /// given, takes a third more instructions.
    fn single(body: &[u8]) -> Message {
        let header = FrameHeader { kind: FrameKind::Last, size: body.len() as u64 }.encode();
        let mut octets = Vec::with_capacity(header.len() + body.len());
        header.append(&mut octets);
        octets.extend_from_slice(body);
        Message::from_wire(Bytes::from(octets), 1)
    }

    /// The message with these frames, which are copied; [`builder`](Message::builder) takes large ones without a
    /// copy. No frame at all gives the empty message: one empty frame, since a message has at least one.
    pub fn multipart<I>(frames: I) -> Message
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut frames = frames.into_iter().peekable();
        let mut builder = Builder::default();
        while let Some(frame) = frames.next() {
            let kind = if frames.peek().is_some() { FrameKind::More } else { FrameKind::Last };
            builder.push(kind, frame.as_ref());
        }
        if builder.frames == 0 {
            builder.push(FrameKind::Last, &[]);
        }
        builder.into_message()
    }

    /// A message of `frames` frames in `octets`, which the caller has validated.
    pub(crate) fn from_wire(octets: Bytes, frames: u32) -> Message {
        Message { wire: Wire::One(octets), frames }
    }

    /// Appends its octets in wire form.
    pub(crate) fn append(&self, octets: &mut Vec<u8>) {
        self.wire.pieces().iter().for_each(|piece| octets.extend_from_slice(piece));
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A run of this one message. A message in several pieces is joined, since a run is one block.
    pub(crate) fn into_run(self) -> Run {
        let octets = match self.wire {
            Wire::One(octets) => octets,
            Wire::Many(pieces) => Bytes::from(pieces.concat()),
        };
        Run { octets, messages: 1 }
    }

    /// The bodies of the frames, first to last.
    pub fn frames(&self) -> Frames<'_> {
        Frames { pieces: self.wire.pieces(), piece: 0, at: 0, left: self.frames }
    }

    /// The body of one frame, counted from 0.
    pub fn frame(&self, index: usize) -> Option<&[u8]> {
        self.frames().nth(index)
    }

    /// The body of one frame, counted from 0, as reference-counted octets: no copy is made.
    pub fn frame_bytes(&self, index: usize) -> Option<Bytes> {
        let body = self.frames().nth(index)?;
        if body.is_empty() {
            return Some(Bytes::new());
        }
        // Found by address, since a body is always a part of exactly one piece.
        let holder = self.wire.pieces().iter().find(|piece| piece.as_ptr_range().contains(&body.as_ptr()))?;
        Some(holder.slice_ref(body))
    }

    /// The number of frames, at least one.
    pub fn frame_count(&self) -> usize {
        self.frames as usize
    }

    /// The octets that the message takes on the wire with NULL security, headers included.
    pub fn wire_len(&self) -> usize {
        self.wire.len()
    }

    /// The same message in storage of its own, exactly as large as it needs: one copy of all its octets.
    #[must_use]
    pub fn detach(self) -> Message {
        let mut octets = Vec::with_capacity(self.wire_len());
        self.append(&mut octets);
        Message::from_wire(octets.into(), self.frames)
    }
}

impl PartialEq for Message {
    /// Compares the frames; the same frame may have a longer header on the wire (RFC 37 allows it).
    fn eq(&self, other: &Message) -> bool {
        self.frames == other.frames && self.frames().eq(other.frames())
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for frame in self.frames() {
            list.entry(&format_args!("\"{}\"", Escaped(frame)));
        }
        list.finish()
    }
}

macro_rules! from_one_frame {
    ($($source:ty),+) => {$(
        impl From<$source> for Message {
            /// A message of one frame.
            fn from(body: $source) -> Message {
                if body.len() < SEGMENT_OCTETS {
                    return Message::single(body.as_ref());
                }
                Message::builder().frame(body).finish()
            }
        }
    )+};
}
from_one_frame!(Vec<u8>, String, Bytes);

macro_rules! from_copied {
    ($($source:ty),+) => {$(
        impl From<&$source> for Message {
            /// A message of one frame, a copy of `body`.
            fn from(body: &$source) -> Message {
                Message::single(body.as_ref())
            }
        }
    )+};
}
from_copied!([u8], str, Vec<u8>, String);

impl<const N: usize> From<&[u8; N]> for Message {
    /// A message of one frame, a copy of `body`.
    fn from(body: &[u8; N]) -> Message {
        Message::single(body)
    }
}

/// The bodies of a message's frames; made by [`Message::frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    pieces: &'a [Bytes],
    piece: usize,
    at: usize,
    left: u32,
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let mut rest = self.pieces.get(self.piece)?.get(self.at..)?;
        if rest.is_empty() {
            self.piece += 1;
            self.at = 0;
            rest = self.pieces.get(self.piece)?;
        }
        let (header, octets) = FrameHeader::parse(rest).ok()??;
        let size = header.size as usize;
        self.left -= 1;
        if let Some(body) = rest.get(octets..octets + size) {
            self.at += octets + size;
            return Some(body);
        }
        self.piece += 1;
        self.at = size;
        self.pieces.get(self.piece).map(|body| &body[..])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Frames<'_> {}

/// Puts a [`Message`] together frame by frame; made by [`Message::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    pieces: Vec<Bytes>,
    packed: Vec<u8>,
    frames: u32,
    /// The frame that came last: only when the next one comes is it known whether it has MORE.
    last: Option<Bytes>,
}

impl Builder {
    /// Appends a frame. A body of 8 KiB or more that can become [`Bytes`] without a copy is not copied.
    #[must_use]
    pub fn frame(mut self, body: impl Into<Bytes>) -> Builder {
        if let Some(before) = self.last.replace(body.into()) {
            self.push_owned(FrameKind::More, before);
        }
        self
    }

    /// The message. Without any frame it is the empty message: one empty frame.
    pub fn finish(mut self) -> Message {
        let last = self.last.take().unwrap_or_default();
        self.push_owned(FrameKind::Last, last);
        self.into_message()
    }

    fn push_owned(&mut self, kind: FrameKind, body: Bytes) {
        if body.len() < SEGMENT_OCTETS {
            return self.push(kind, &body);
        }
        FrameHeader { kind, size: body.len() as u64 }.encode().append(&mut self.packed);
        self.frames = self.frames.saturating_add(1);
        self.pieces.push(Bytes::from(core::mem::take(&mut self.packed)));
        self.pieces.push(body);
    }

    fn push(&mut self, kind: FrameKind, body: &[u8]) {
        encode::frame(&mut self.packed, kind, body);
        self.frames = self.frames.saturating_add(1);
    }

    fn into_message(mut self) -> Message {
        let last = Bytes::from(self.packed);
        if self.pieces.is_empty() {
            return Message { wire: Wire::One(last), frames: self.frames };
        }
        if !last.is_empty() {
            self.pieces.push(last);
        }
        Message { wire: Wire::Many(self.pieces.into()), frames: self.frames }
    }
}

/// Consecutive whole messages of one peer, as they came: what a relay forwards without looking at each.
///
/// A run has at most 16 KiB, or holds one message that is larger. See
/// [`Options::deliver_runs`](crate::socket::Options::deliver_runs).
#[derive(Clone)]
pub struct Run {
    octets: Bytes,
    messages: u32,
}

impl Run {
    /// `messages` whole messages in `octets`, which the caller has validated.
    pub(crate) fn from_wire(octets: Bytes, messages: u32) -> Run {
        Run { octets, messages }
    }

    /// The number of messages in it, at least one.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// The octets of its frames, headers included.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// Its messages, first to last. They share the storage of the run.
    pub fn iter(&self) -> impl Iterator<Item = Message> + use<> {
        let mut rest = self.clone();
        core::iter::from_fn(move || (rest.messages > 0).then(|| rest.pop()))
    }

    /// Takes the first message off; there must be one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Message {
        debug_assert!(self.messages > 0, "a message is to be taken off");
        let (octets, frames) = first_message(&self.octets).unwrap_or_default();
        self.messages = self.messages.saturating_sub(1);
        Message::from_wire(self.octets.split_to(octets), frames)
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("messages", &self.messages).field("octets", &self.octets.len()).finish()
    }
}

/// The octets and the frames of the message that `octets`, validated before, begins with.
pub(crate) fn first_message(octets: &[u8]) -> Option<(usize, u32)> {
    let mut at = 0;
    let mut frames = 0;
    loop {
        let (header, header_octets) = FrameHeader::parse(octets.get(at..)?).ok()??;
        at += header_octets + header.size as usize;
        frames += 1;
        if header.kind == FrameKind::Last {
            return (at <= octets.len()).then_some((at, frames));
        }
    }
}

#[cfg(test)]
mod tests;

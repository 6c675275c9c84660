//! From a stream of octets to whole messages and commands.
//!
//! The usual case copies nothing: whole messages that lie in the input are handed out as one slice of it, a run. What
//! the input breaks off in the middle of is gathered here, in memory that grows with what has come, never with what
//! was announced.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::conn::{Error, Limits, Violation};
use crate::message::Message;
use crate::wire::{COMMAND, FrameHeader, FrameKind, MORE, Malformed};

/// A run ends at the first message boundary at which it would grow beyond this: what goes into a send queue as one
/// piece delays a PONG by at most so much, and a message alone may be larger. Blocks for what was received have this
/// size.
pub(crate) const RUN_OCTETS: usize = 16 * 1024;

/// Memory that was used before is taken for at most so many times what has come.
const LENT_AHEAD: usize = 8;

/// The first piece of memory for a message that does not come whole.
const FIRST_RESERVE: usize = 512;

/// The flags of a short frame that is the last of its message.
const LAST: u8 = 0;

/// The most that [`small_messages`] takes as one message.
const SMALL_OCTETS: u64 = 4 + 255;
const SMALL_FRAMES: u32 = 2;

/// Asked for memory for so many octets: some that was used before, if there is any of that size.
pub(crate) type Lend<'l> = dyn FnMut(usize) -> Option<Vec<u8>> + 'l;

/// How much the receiver of messages takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// In messages; at least one is taken whatever is said here.
    pub messages: u32,
    /// In octets; the message that reaches it is still taken.
    pub octets: usize,
}

impl Credit {
    /// As much as comes.
    pub const UNLIMITED: Credit = Credit { messages: u32::MAX, octets: usize::MAX };
}

#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// Whole messages, next to each other.
    Run { octets: &'a [u8], messages: u32 },
    /// A message that did not come in one piece.
    Message(Message),
    /// The body of a command.
    Command(Cow<'a, [u8]>),
}

/// What may come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Commands only: the handshake.
    Handshake,
    /// Messages, and commands between frames.
    Traffic,
}

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The octets of a message or command that is not whole: whole frames up to `boundary`, then a part of one.
    partial: Vec<u8>,
    boundary: usize,
    /// The whole frames in `partial`.
    frames: u32,
    /// What the frame at the boundary still lacks, as far as its header is known.
    missing: usize,
}

impl Decoder {
    /// Takes octets up to the next item, and says how many. Without an item the rest is to be offered again; once
    /// none is left, more input is needed.
    pub(crate) fn decode<'a>(
        &mut self,
        input: &'a [u8],
        expect: Expect,
        limits: &Limits,
        credit: Credit,
        lend: &mut Lend<'_>,
    ) -> Result<(usize, Option<Item<'a>>), Error> {
        if self.partial.is_empty() {
            self.decode_whole(input, expect, limits, credit, lend)
        } else {
            self.decode_pieces(input, expect, limits, lend)
        }
    }

    /// At a message boundary: whatever is whole is taken from the input as it lies there.
    fn decode_whole<'a>(
        &mut self,
        input: &'a [u8],
        expect: Expect,
        limits: &Limits,
        credit: Credit,
        lend: &mut Lend<'_>,
    ) -> Result<(usize, Option<Item<'a>>), Error> {
        let mark = RUN_OCTETS.min(credit.octets);
        let small_are_allowed = limits.message_octets >= SMALL_OCTETS && limits.message_frames >= SMALL_FRAMES;
        let takes_small = small_are_allowed && expect == Expect::Traffic;
        let mut run = 0;
        let mut messages = 0;
        // The message under way: where its next frame starts, and how many frames it has so far.
        let mut at = 0;
        let mut frames = 0;
        let fault = loop {
            if takes_small && frames == 0 {
                let rest = input.get(at..).unwrap_or_default();
                let (octets, n) =
                    small_messages(rest, mark.saturating_sub(at), credit.messages.saturating_sub(messages));
                at += octets;
                messages += n;
                if n > 0 {
                    run = at;
                    if messages >= credit.messages || at >= mark {
                        break None;
                    }
                }
            }
            let rest = input.get(at..).unwrap_or_default();
            let (header, octets) = match FrameHeader::parse(rest) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break None,
                Err(error) => break Some(Error::Malformed(error.into())),
            };
            let size = match admit(header, octets, at - run, frames, expect, limits) {
                Ok(size) => size,
                Err(error) => break Some(error.into()),
            };
            let end = at.saturating_add(octets).saturating_add(size);
            if header.kind == FrameKind::Command {
                if messages == 0 && frames == 0 {
                    if let Some(body) = input.get(at + octets..end) {
                        return Ok((end, Some(Item::Command(Cow::Borrowed(body)))));
                    }
                }
                break None;
            }
            if end > input.len() {
                break None;
            }
            if header.kind == FrameKind::Last {
                if messages > 0 && end > mark {
                    break None;
                }
                run = end;
                messages += 1;
                frames = 0;
                if messages >= credit.messages || end >= mark {
                    break None;
                }
            } else {
                frames += 1;
            }
            at = end;
        };
        // What came whole before a fault is delivered first; the fault is met again at the start of the next call.
        if let (true, Some(octets)) = (messages > 0, input.get(..run)) {
            return Ok((run, Some(Item::Run { octets, messages })));
        }
        if let Some(error) = fault {
            return Err(error);
        }
        // Up to the frame that is not whole, or the command that stands between two frames of this message.
        self.partial.extend_from_slice(input.get(..at).unwrap_or_default());
        self.boundary = at;
        self.frames = frames;
        if at == 0 {
            return self.decode_pieces(input, expect, limits, lend);
        }
        Ok((at, None))
    }

    /// In the middle of a message or command: gathers frame by frame.
    fn decode_pieces<'a>(
        &mut self,
        input: &'a [u8],
        expect: Expect,
        limits: &Limits,
        lend: &mut Lend<'_>,
    ) -> Result<(usize, Option<Item<'a>>), Error> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok((taken, None));
            }
            let Some((header, octets)) = self.header(rest, &mut taken)? else {
                return Ok((taken, None));
            };
            let size = admit(header, octets, self.boundary, self.frames, expect, limits)?;
            let rest = input.get(taken..).unwrap_or_default();
            let gathered = self.partial.len() - self.boundary;
            if gathered == 0 && header.kind == FrameKind::Command {
                let end = octets.saturating_add(size);
                if let Some(body) = rest.get(octets..end) {
                    return Ok((taken + end, Some(Item::Command(Cow::Borrowed(body)))));
                }
            }
            let missing = octets.saturating_add(size) - gathered;
            let piece = rest.get(..missing).unwrap_or(rest);
            self.gather(piece, missing, header.kind, lend);
            taken += piece.len();
            self.missing = missing - piece.len();
            if self.missing > 0 {
                return Ok((taken, None));
            }
            match header.kind {
                FrameKind::Command => return Ok((taken, Some(Item::Command(Cow::Owned(self.take_command(octets)))))),
                FrameKind::Last => return Ok((taken, Some(Item::Message(self.take_message())))),
                FrameKind::More => {
                    self.boundary = self.partial.len();
                    self.frames += 1;
                }
            }
        }
    }

    /// The header of the frame at the boundary: from the input if nothing of it was gathered, else from what was
    /// gathered, to which octets are added one by one until it is complete.
    fn header(&mut self, rest: &[u8], taken: &mut usize) -> Result<Option<(FrameHeader, usize)>, Malformed> {
        if self.boundary == self.partial.len() {
            let parsed = FrameHeader::parse(rest)?;
            if parsed.is_none() {
                self.partial.extend_from_slice(rest);
                *taken += rest.len();
            }
            return Ok(parsed);
        }
        let mut rest = rest.iter();
        loop {
            let gathered = self.partial.get(self.boundary..).unwrap_or_default();
            if let Some(parsed) = FrameHeader::parse(gathered)? {
                return Ok(Some(parsed));
            }
            let Some(&octet) = rest.next() else {
                return Ok(None);
            };
            self.partial.push(octet);
            *taken += 1;
        }
    }

    /// Appends `piece`; `missing` octets complete the frame. Memory at most doubles, unless some is to be used again.
    /// The last step is exact, and only that one: to be exact for each of many frames would move the whole message each
    /// time.
    fn gather(&mut self, piece: &[u8], missing: usize, kind: FrameKind, lend: &mut Lend<'_>) {
        let whole = self.partial.len() + missing;
        // What is announced takes no memory, or a few octets of each of many peers would take all there is.
        let has_come = LENT_AHEAD.saturating_mul(self.partial.len() + piece.len()) >= whole;
        let lacks = self.partial.capacity() < whole && missing >= RUN_OCTETS;
        if lacks && has_come && kind != FrameKind::Command {
            if let Some(mut memory) = lend(whole) {
                memory.extend_from_slice(&self.partial);
                self.partial = memory;
            }
        }
        if missing <= self.partial.len().max(FIRST_RESERVE) {
            match kind {
                FrameKind::More => self.partial.reserve(missing),
                FrameKind::Last | FrameKind::Command => self.partial.reserve_exact(missing),
            }
        }
        self.partial.extend_from_slice(piece);
    }

    /// Does `input`, which is not empty, go on with a message, and not with a command?
    pub(crate) fn is_message_next(&self, input: &[u8]) -> bool {
        let flags = self.partial.get(self.boundary).or(input.first());
        flags.is_none_or(|flags| flags & COMMAND == 0)
    }

    /// How many octets are missing of a frame that has begun, if with them there is a large message.
    #[cfg(feature = "net")]
    pub(crate) fn missing_of_large(&self) -> usize {
        if self.partial.len() + self.missing < RUN_OCTETS { 0 } else { self.missing }
    }

    /// The memory of what is not whole, in octets.
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity()
    }

    fn take_message(&mut self) -> Message {
        let frames = self.frames + 1;
        self.frames = 0;
        self.boundary = 0;
        let mut octets = core::mem::take(&mut self.partial);
        if octets.capacity() > octets.len() + octets.len() / 8 {
            // It is counted by its octets from here on, and may wait for long.
            octets.shrink_to_fit();
        }
        Message::from_wire(Bytes::from(octets), frames)
    }

    fn take_command(&mut self, header_octets: usize) -> Vec<u8> {
        let mut frame = self.partial.split_off(self.boundary);
        if self.partial.is_empty() {
            // A peer that is idle holds no memory.
            self.partial = Vec::new();
        }
        frame.drain(..header_octets.min(frame.len()));
        frame
    }
}

/// The whole small messages that `input` begins with, up to `most` and within `room` octets: their octets and number.
/// Most messages are such: one short frame, or an empty one before it. The general way gives the same at three times
/// the cost.
fn small_messages(input: &[u8], room: usize, most: u32) -> (usize, u32) {
    let input = input.get(..room).unwrap_or(input);
    let mut at = 0;
    let mut messages = 0;
    while messages < most {
        let octets = match input.get(at..) {
            Some(&[LAST, size, ..]) => 2 + usize::from(size),
            Some(&[MORE, 0, LAST, size, ..]) => 4 + usize::from(size),
            _ => break,
        };
        if octets > input.len() - at {
            break;
        }
        at += octets;
        messages += 1;
    }
    (at, messages)
}

/// Holds a frame against what is expected and against the limits, by its header alone. The size is compared as `u64`
/// and before any cast (A2.2): the result fits, whatever the width of `usize`.
fn admit(
    header: FrameHeader,
    header_octets: usize,
    before: usize,
    frames: u32,
    expect: Expect,
    limits: &Limits,
) -> Result<usize, Violation> {
    if header.kind == FrameKind::Command {
        let limit = match expect {
            Expect::Handshake => limits.metadata_octets,
            Expect::Traffic => limits.command_octets,
        };
        return match usize::try_from(header.size) {
            Ok(size) if header.size <= u64::from(limit) => Ok(size),
            _ => Err(Violation::CommandOctets { octets: header.size, limit }),
        };
    }
    if expect == Expect::Handshake {
        return Err(Violation::MessageBeforeReady);
    }
    if frames >= limits.message_frames {
        return Err(Violation::MessageFrames { limit: limits.message_frames });
    }
    let octets = (before as u64 + header_octets as u64).saturating_add(header.size);
    match usize::try_from(header.size) {
        Ok(size) if octets <= limits.message_octets && usize::try_from(octets).is_ok() => Ok(size),
        _ => Err(Violation::MessageOctets { octets, limit: limits.message_octets }),
    }
}

#[cfg(test)]
mod tests;

//! The envelope of a request, and of the reply to it (RFC 28, "REQ" and "REP").

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::{Message, SEGMENT_OCTETS, Wire};
use crate::wire::{Escaped, FrameKind, encode};

/// What comes before the body of a request or a reply: the addresses of those who passed it on, and an empty frame, the
/// delimiter.
///
/// REQ and REP sockets put it there and take it off on their own. A ROUTER or a DEALER that talks to one sees it, and has to
/// give it back with the reply exactly as it came with the request, or send one with a request of its own.
///
/// ```
/// use zmio::{Envelope, Message};
///
/// // What a ROUTER receives from a REQ, here one that a proxy stands before.
/// let request = Message::multipart(["who", "", "6 * 7"]);
/// let (envelope, question) = request.split_envelope().map_err(|_| "no delimiter")?;
/// assert_eq!(question, Message::from("6 * 7"));
/// assert_eq!(envelope.wrap("42"), Message::multipart(["who", "", "42"]));
///
/// // What a DEALER sends to a REP.
/// assert_eq!(Envelope::new().wrap("6 * 7"), Message::multipart(["", "6 * 7"]));
/// # Ok::<(), &str>(())
/// ```
///
/// An envelope has storage of its own, so one that is kept until the reply is ready does not keep the request alive.
#[derive(Clone)]
pub struct Envelope {
    /// Frames in wire form, all with MORE, the last one empty.
    octets: Bytes,
    frames: u32,
}

/// An empty frame with MORE.
const DELIMITER: &[u8] = &[1, 0];

impl Envelope {
    /// The one that a REQ makes: the delimiter alone.
    pub const fn new() -> Envelope {
        Envelope { octets: Bytes::from_static(DELIMITER), frames: 1 }
    }

    /// One with these addresses, the last hop first, as a ROUTER that asks through other ROUTERs needs it. They are copied. An
    /// empty address would be taken for the delimiter, so none may be empty; those that are, are left out.
    pub fn through<I>(addresses: I) -> Envelope
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut octets = Vec::new();
        let mut frames = 1;
        for address in addresses {
            let address = address.as_ref();
            if !address.is_empty() {
                encode::frame(&mut octets, FrameKind::More, address);
                frames += 1;
            }
        }
        octets.extend_from_slice(DELIMITER);
        Envelope { octets: octets.into(), frames }
    }

    /// The addresses, that of the last hop first; none if the request came straight from a REQ.
    pub fn addresses(&self) -> impl Iterator<Item = &[u8]> {
        let addresses = self.frames as usize - 1;
        let pieces = core::slice::from_ref(&self.octets);
        super::Frames { pieces, piece: 0, at: 0, left: self.frames }.take(addresses)
    }

    /// The message with this envelope before `body`, whose large frames are not copied.
    pub fn wrap(&self, body: impl Into<Message>) -> Message {
        let Message { wire, frames } = body.into();
        let frames = frames.saturating_add(self.frames);
        let size = self.octets.len() + wire.len();
        if size < SEGMENT_OCTETS {
            let mut octets = Vec::with_capacity(size);
            octets.extend_from_slice(&self.octets);
            wire.pieces().iter().for_each(|piece| octets.extend_from_slice(piece));
            return Message { wire: Wire::One(octets.into()), frames };
        }
        let pieces = [&self.octets].into_iter().chain(wire.pieces());
        Message { wire: Wire::Many(pieces.cloned().collect()), frames }
    }
}

impl Message {
    /// Takes the envelope off: all frames up to the first empty one, and that. What is left is the body, in the storage of the
    /// whole.
    ///
    /// # Errors
    ///
    /// The message as it was, if it has no empty frame or nothing behind that: then no REQ or REP has sent it.
    pub fn split_envelope(self) -> Result<(Envelope, Message), Message> {
        let mut frames = self.frames();
        if !frames.any(<[u8]>::is_empty) || frames.left == 0 {
            return Err(self);
        }
        let (piece, at, left) = (frames.piece, frames.at, frames.left);
        let pieces = self.wire.pieces();
        let (before, behind) = pieces.split_at(piece.min(pieces.len()));
        let (Some(split), rest) = (behind.first(), behind.get(1..).unwrap_or_default()) else {
            return Err(self);
        };
        let mut octets = Vec::with_capacity(before.iter().map(Bytes::len).sum::<usize>() + at);
        before.iter().for_each(|piece| octets.extend_from_slice(piece));
        octets.extend_from_slice(split.get(..at).unwrap_or_default());
        let frames = self.frames - left;
        let octets = if octets == DELIMITER { Bytes::from_static(DELIMITER) } else { octets.into() };

        let split = split.slice(at.min(split.len())..);
        let wire = match (split.is_empty(), rest) {
            (false, []) => Wire::One(split),
            (true, [one]) => Wire::One(one.clone()),
            (true, rest) => Wire::Many(rest.into()),
            (false, rest) => Wire::Many([&split].into_iter().chain(rest).cloned().collect()),
        };
        Ok((Envelope { octets, frames }, Message { wire, frames: left }))
    }
}

impl Default for Envelope {
    fn default() -> Envelope {
        Envelope::new()
    }
}

impl PartialEq for Envelope {
    /// Compares the addresses; the same frame may have a longer header on the wire (RFC 37 allows it).
    fn eq(&self, other: &Envelope) -> bool {
        self.addresses().eq(other.addresses())
    }
}

impl Eq for Envelope {}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for address in self.addresses() {
            list.entry(&format_args!("\"{}\"", Escaped(address)));
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn split(frames: &[&str]) -> Option<(Vec<Vec<u8>>, Message)> {
        let (envelope, body) = Message::multipart(frames).split_envelope().ok()?;
        Some((envelope.addresses().map(<[u8]>::to_vec).collect(), body))
    }

    #[test]
    fn all_up_to_the_first_empty_frame_is_the_envelope() {
        assert_eq!(split(&["", "body"]), Some((vec![], "body".into())));
        assert_eq!(split(&["a", "b", "", "body"]), Some((vec![b"a".to_vec(), b"b".to_vec()], "body".into())));
        assert_eq!(split(&["", "", "body"]), Some((vec![], Message::multipart(["", "body"]))));
        assert_eq!(split(&["", ""]), Some((vec![], "".into())));
    }

    #[test]
    fn a_message_without_delimiter_or_without_body_stays_whole() {
        for frames in [&["body"][..], &["a", "b"], &[""], &["a", ""]] {
            let message = Message::multipart(frames);
            assert_eq!(message.clone().split_envelope().err(), Some(message));
        }
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let large = Bytes::from(vec![7; 1 << 20]);
        let message = Envelope::through(["proxy"]).wrap(large.clone());
        let (envelope, body) = message.split_envelope().expect("it has one");
        assert_eq!(body.frame_bytes(0).expect("one frame").as_ptr(), large.as_ptr());
        let again = envelope.wrap(body);
        assert_eq!(again.frame_bytes(2).expect("three frames").as_ptr(), large.as_ptr());
    }

    #[test]
    fn an_empty_address_is_left_out() {
        assert_eq!(Envelope::through(["", "a", ""]), Envelope::through(["a"]));
        assert_eq!(Envelope::through::<[&str; 0]>([]), Envelope::new());
    }

    /// Frames on both sides of what is kept as a segment of its own.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => Just(0),
            3 => 1..10_usize,
            1 => SEGMENT_OCTETS - 20..SEGMENT_OCTETS + 20,
        ]
        .prop_map(|octets| vec![3; octets])
    }

    proptest! {
        #[test]
        fn what_is_split_and_wrapped_again_is_what_it_was(frames in prop::collection::vec(frame(), 1..8), owned: bool) {
            let builder = || frames.iter().cloned().fold(Message::builder(), |message, frame| message.frame(frame));
            let message = if owned { builder().finish() } else { Message::multipart(&frames) };
            let delimiter = frames.iter().position(Vec::is_empty).filter(|place| place + 1 < frames.len());
            match message.clone().split_envelope() {
                Ok((envelope, body)) => {
                    let place = delimiter.expect("there is a delimiter with something behind it");
                    prop_assert!(envelope.addresses().eq(&frames[..place]));
                    prop_assert!(body.frames().eq(&frames[place + 1..]));
                    prop_assert_eq!(body.frame_count(), frames.len() - place - 1);
                    prop_assert_eq!(envelope.wrap(body).wire().pieces().concat(), message.wire().pieces().concat());
                }
                Err(whole) => {
                    prop_assert_eq!(delimiter, None);
                    prop_assert_eq!(whole, message);
                }
            }
        }
    }
}

//! What is to be sent, before it is known whether a message has to be made of it.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Message;
use crate::wire::{EncodedHeader, FrameHeader, FrameKind};

/// What can be sent: a [`Message`], or octets that are to be a message of one frame, borrowed or owned.
///
/// Up to 2 KiB, headers included, are copied next to those that wait to be written. So it is best to send octets as they
/// are, without making a message of them first. What comes back with an error is a message, made then.
///
/// ```no_run
/// use zmio::{Dealer, Message};
///
/// let dealer = Dealer::connect("tcp://localhost:5557")?;
/// dealer.send("ready")?;
/// dealer.send(&[0; 16])?;
/// dealer.send(vec![7; 1_000_000])?; // not copied
/// dealer.send(Message::multipart(["MOVE", "3 4"]))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Outgoing<'a>(Form<'a>);

#[derive(Debug)]
enum Form<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Shared(Bytes),
    Message(Message),
}

impl Outgoing<'_> {
    /// The octets that it takes on the wire with NULL security, headers included.
    #[inline]
    pub(crate) fn wire_len(&self) -> usize {
        match self.frame() {
            Ok(body) => header(body).len() + body.len(),
            Err(message) => message.wire_len(),
        }
    }

    /// Appends it in wire form.
    #[inline]
    pub(crate) fn append(&self, octets: &mut Vec<u8>) {
        match self.frame() {
            Ok(body) => {
                header(body).append(octets);
                octets.extend_from_slice(body);
            }
            Err(message) => message.append(octets),
        }
    }

    /// The message. What is left is one empty frame.
    pub(crate) fn take(&mut self) -> Message {
        Message::from(core::mem::replace(self, Outgoing(Form::Borrowed(&[]))))
    }

    #[inline]
    fn frame(&self) -> Result<&[u8], &Message> {
        match &self.0 {
            Form::Borrowed(body) => Ok(body),
            Form::Owned(body) => Ok(body),
            Form::Shared(body) => Ok(body),
            Form::Message(message) => Err(message),
        }
    }
}

#[inline]
fn header(body: &[u8]) -> EncodedHeader {
    FrameHeader { kind: FrameKind::Last, size: body.len() as u64 }.encode()
}

impl From<Outgoing<'_>> for Message {
    fn from(outgoing: Outgoing<'_>) -> Message {
        match outgoing.0 {
            Form::Borrowed(body) => Message::from(body),
            Form::Owned(body) => Message::from(body),
            Form::Shared(body) => Message::from(body),
            Form::Message(message) => message,
        }
    }
}

impl From<&Message> for Outgoing<'_> {
    /// A clone, which shares its octets: for one message to several peers.
    #[inline]
    fn from(message: &Message) -> Self {
        Outgoing(Form::Message(message.clone()))
    }
}

impl From<Message> for Outgoing<'_> {
    #[inline]
    fn from(message: Message) -> Self {
        Outgoing(Form::Message(message))
    }
}

macro_rules! from_borrowed {
    ($($source:ty),+) => {$(
        impl<'a> From<&'a $source> for Outgoing<'a> {
            /// A message of one frame.
            #[inline]
            fn from(body: &'a $source) -> Self {
                Outgoing(Form::Borrowed(body.as_ref()))
            }
        }
    )+};
}
from_borrowed!([u8], str, Vec<u8>, String);

impl<'a, const N: usize> From<&'a [u8; N]> for Outgoing<'a> {
    /// A message of one frame.
    #[inline]
    fn from(body: &'a [u8; N]) -> Self {
        Outgoing(Form::Borrowed(body))
    }
}

impl From<Vec<u8>> for Outgoing<'_> {
    /// A message of one frame.
    #[inline]
    fn from(body: Vec<u8>) -> Self {
        Outgoing(Form::Owned(body))
    }
}

impl From<String> for Outgoing<'_> {
    /// A message of one frame.
    #[inline]
    fn from(body: String) -> Self {
        Outgoing(Form::Owned(body.into_bytes()))
    }
}

impl From<Bytes> for Outgoing<'_> {
    /// A message of one frame.
    #[inline]
    fn from(body: Bytes) -> Self {
        Outgoing(Form::Shared(body))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn forms(body: &[u8]) -> [Outgoing<'_>; 4] {
        [body.into(), body.to_vec().into(), Bytes::copy_from_slice(body).into(), Message::from(body).into()]
    }

    #[test]
    fn whatever_it_is_it_has_the_wire_form_of_the_message() {
        for size in [0, 1, 255, 256, 2_047, 9_000] {
            let body = vec![7; size];
            let message = Message::from(&body[..]);
            let mut expected = Vec::new();
            message.append(&mut expected);
            for outgoing in forms(&body) {
                let mut octets = b"before".to_vec();
                outgoing.append(&mut octets);
                assert_eq!(octets, [b"before", &expected[..]].concat());
                assert_eq!(outgoing.wire_len(), expected.len());
                assert_eq!(Message::from(outgoing), message);
            }
        }
    }

    #[test]
    fn owned_octets_that_are_large_are_not_copied() {
        let body = vec![7; 100_000];
        let place = body.as_ptr();
        let message = Message::from(Outgoing::from(body));
        assert_eq!(message.frame(0).map(<[u8]>::as_ptr), Some(place));
        let body = message.frame_bytes(0).unwrap();
        assert_eq!(Message::from(Outgoing::from(body)).frame(0).map(<[u8]>::as_ptr), Some(place));
    }

    #[test]
    fn what_is_taken_is_taken_once() {
        for mut outgoing in forms(b"once") {
            assert_eq!(outgoing.take(), Message::from("once"));
            assert_eq!(outgoing.take(), Message::from(""));
        }
    }
}

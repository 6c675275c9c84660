//! What ZMTP 3.1 puts on the wire: octets to values and back.
//!
//! Everything here is a pure function of its input. There is no I/O, no clock and no state, and only
//! [`Properties`] and [`encode`] allocate. The connection decides what a value means and which limits apply;
//! this module decides whether octets are well formed.
//!
//! Three habits hold throughout:
//!
//! - A parser of a stream takes whatever has arrived. `Ok(None)` means that more octets are needed. An error is
//!   given as soon as the octet that proves it is there, and more octets never take it back.
//! - A value is checked once, when it is parsed. Its accessors cannot fail afterwards.
//! - An error names what was wrong. Text of a peer passes through [`Escaped`] before anybody sees it.
//!
//! The clauses are those of RFC 37 (ZMTP 3.1, <https://rfc.zeromq.org/spec/37/>), which contains all of RFC 23
//! (ZMTP 3.0) that matters here.
//!
//! # Example
//!
//! One frame out of a receive buffer:
//!
//! ```
//! use zmio::wire::{FrameHeader, FrameKind};
//!
//! let received = b"\x00\x05hello\x00";
//! let (header, octets) = FrameHeader::parse(received)?.expect("both octets of the header are there");
//! assert_eq!(header, FrameHeader { kind: FrameKind::Last, size: 5 });
//! assert_eq!(&received[octets..octets + 5], b"hello");
//!
//! // The next header has only begun.
//! assert_eq!(FrameHeader::parse(&received[octets + 5..])?, None);
//! # Ok::<(), zmio::wire::FrameError>(())
//! ```

pub mod encode;

mod command;
mod error;
mod escaped;
mod frame;
mod greeting;
mod metadata;
mod socket_type;

pub use command::{Command, CommandError, MAX_CONTEXT_OCTETS};
pub use error::Malformed;
pub use escaped::Escaped;
pub(crate) use escaped::SHOWN_OCTETS;
pub(crate) use frame::{COMMAND, MORE};
pub use frame::{EncodedHeader, FrameError, FrameHeader, FrameKind, MAX_HEADER_OCTETS};
pub use greeting::{GREETING_OCTETS, Greeting, GreetingError, MechanismName, Version};
pub use metadata::{MetadataError, Properties};
pub use socket_type::SocketType;

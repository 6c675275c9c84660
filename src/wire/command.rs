use super::Escaped;

/// The most octets that the context of a PING or PONG may have. RFC 37, "Connection Heartbeating".
pub const MAX_CONTEXT_OCTETS: usize = 16;

/// A command: what peers say to each other besides messages. RFC 37, `command`.
///
/// Which command is welcome when is for the connection to decide.
///
/// ```
/// use zmio::wire::Command;
///
/// assert_eq!(Command::parse(b"\x04PING\x00\x64abc")?, Command::Ping { ttl: 100, context: b"abc" });
/// assert_eq!(Command::parse(b"\x04WAVEtwice")?, Command::Unknown { name: b"WAVE", body: b"twice" });
/// # Ok::<(), zmio::wire::CommandError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// The handshake is done: RFC 37, `ready`. The metadata is not checked yet, since what may be spent on it
    /// depends on the mechanism; see [`Properties::parse`](super::Properties::parse).
    Ready(&'a [u8]),
    /// The peer refuses, for this reason: RFC 37, `error`. It is 0 to 255 octets of printable ASCII.
    Error(&'a [u8]),
    /// Asks for a PONG: RFC 37, `ping`.
    Ping {
        /// Without a further octet for so many tenths of a second, the peer wants to be taken for dead.
        /// 0 asks for nothing.
        ttl: u16,
        /// To be sent back as it is, at most [`MAX_CONTEXT_OCTETS`].
        context: &'a [u8],
    },
    /// Answers a PING: RFC 37, `pong`.
    Pong {
        /// That of the PING, at most [`MAX_CONTEXT_OCTETS`].
        context: &'a [u8],
    },
    /// Asks for what begins with this prefix: RFC 37, `subscribe`.
    Subscribe(&'a [u8]),
    /// Takes one subscription of this prefix back: RFC 37, `cancel`.
    Cancel(&'a [u8]),
    /// Joins a group: RFC 37, `join`. What a group's name may be is for a RADIO to check.
    Join(&'a [u8]),
    /// Leaves a group: RFC 37, `leave`. What a group's name may be is for a RADIO to check.
    Leave(&'a [u8]),
    /// A well-formed command of any other name: of a mechanism, an extension, or a later version.
    ///
    /// The name is not held to the letters of the grammar. It decides nothing, and mechanisms "MAY use any
    /// command names". Show it through [`Escaped`].
    Unknown {
        /// 1 to 255 octets.
        name: &'a [u8],
        /// All that follows the name.
        body: &'a [u8],
    },
}

impl<'a> Command<'a> {
    /// Reads a command from the whole body of its frame. Names are compared with case.
    ///
    /// # Errors
    ///
    /// The body is not what its name promises: [`CommandError`].
    pub fn parse(body: &'a [u8]) -> Result<Command<'a>, CommandError> {
        let (&announced, rest) = body.split_first().ok_or(CommandError::Empty)?;
        if announced == 0 {
            return Err(CommandError::NameEmpty);
        }
        let (name, data) = rest
            .split_at_checked(usize::from(announced))
            .ok_or(CommandError::NameOverrun { announced, left: rest.len() })?;

        Ok(match name {
            b"READY" => Command::Ready(data),
            b"ERROR" => Command::Error(reason(data)?),
            b"PING" => {
                let (&ttl, rest) =
                    data.split_first_chunk::<2>().ok_or(CommandError::PingTooShort { octets: body.len() })?;
                Command::Ping { ttl: u16::from_be_bytes(ttl), context: context("PING", rest)? }
            }
            b"PONG" => Command::Pong { context: context("PONG", data)? },
            b"SUBSCRIBE" => Command::Subscribe(data),
            b"CANCEL" => Command::Cancel(data),
            b"JOIN" => Command::Join(data),
            b"LEAVE" => Command::Leave(data),
            _ => Command::Unknown { name, body: data },
        })
    }

    /// The name on the wire, without its length.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Command::Ready(_) => b"READY",
            Command::Error(_) => b"ERROR",
            Command::Ping { .. } => b"PING",
            Command::Pong { .. } => b"PONG",
            Command::Subscribe(_) => b"SUBSCRIBE",
            Command::Cancel(_) => b"CANCEL",
            Command::Join(_) => b"JOIN",
            Command::Leave(_) => b"LEAVE",
            Command::Unknown { name, .. } => name,
        }
    }
}

/// Why the body of a command frame is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no name, not even its length. RFC 37, `command-body`.
    #[error("a command is empty, without a name")]
    Empty,
    /// The name has no octet. RFC 37, `command-name`.
    #[error("a command has a name of no octets")]
    NameEmpty,
    /// The name ends beyond the command. RFC 37, `command-name`.
    #[error("the name of a command announces {announced} octets, and {left} follow")]
    NameOverrun {
        /// What the length octet says.
        announced: u8,
        /// What follows it.
        left: usize,
    },
    /// A PING has no room for its time to live. RFC 37, `ping`.
    #[error("a PING has {octets} octets, and the shortest has 7")]
    PingTooShort {
        /// The octets of the whole body, name included.
        octets: usize,
    },
    /// The context is too long. RFC 37, `ping-context`.
    #[error("a {command} has a context of {octets} octets, and the longest has {MAX_CONTEXT_OCTETS}")]
    ContextTooLong {
        /// `PING` or `PONG`.
        command: &'static str,
        /// The octets of the context.
        octets: usize,
    },
    /// An ERROR does not say how long its reason is. RFC 37, `error-reason`.
    #[error("an ERROR has no reason, not even an empty one")]
    ErrorReasonMissing,
    /// The reason of an ERROR does not end where the command does. RFC 37, `error-reason`.
    #[error("the reason of an ERROR announces {announced} octets, and {left} follow")]
    ErrorReasonLength {
        /// What the length octet says.
        announced: u8,
        /// What follows it.
        left: usize,
    },
    /// The reason of an ERROR has an octet that is not printable ASCII. RFC 37, `error-reason`.
    #[error("the reason of an ERROR contains the octet {octet:#04x} ('{}')", Escaped(&[*octet]))]
    ErrorReasonOctet {
        /// The first such octet.
        octet: u8,
    },
}

/// The grammar says `VCHAR`, which has no space. Real reasons have ("Invalid socket type"), so a space is printable
/// here.
fn reason(data: &[u8]) -> Result<&[u8], CommandError> {
    let (&announced, reason) = data.split_first().ok_or(CommandError::ErrorReasonMissing)?;
    if reason.len() != usize::from(announced) {
        return Err(CommandError::ErrorReasonLength { announced, left: reason.len() });
    }
    match reason.iter().find(|octet| !matches!(octet, b' '..=b'~')) {
        Some(&octet) => Err(CommandError::ErrorReasonOctet { octet }),
        None => Ok(reason),
    }
}

fn context<'a>(command: &'static str, context: &'a [u8]) -> Result<&'a [u8], CommandError> {
    if context.len() > MAX_CONTEXT_OCTETS {
        return Err(CommandError::ContextTooLong { command, octets: context.len() });
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn error_with(reason: &[u8]) -> Vec<u8> {
        [&b"\x05ERROR"[..], reason].concat()
    }

    #[test]
    fn each_name_gives_its_command_and_back() {
        let data = b"data";
        for (body, command) in [
            (&b"\x05READYdata"[..], Command::Ready(data)),
            (b"\x05ERROR\x04data", Command::Error(data)),
            (b"\x04PING\x01\x02data", Command::Ping { ttl: 0x0102, context: data }),
            (b"\x04PONGdata", Command::Pong { context: data }),
            (b"\x09SUBSCRIBEdata", Command::Subscribe(data)),
            (b"\x06CANCELdata", Command::Cancel(data)),
            (b"\x04JOINdata", Command::Join(data)),
            (b"\x05LEAVEdata", Command::Leave(data)),
            (b"\x05HELLOdata", Command::Unknown { name: b"HELLO", body: data }),
        ] {
            assert_eq!(Command::parse(body), Ok(command));
            assert_eq!(command.name(), &body[1..][..usize::from(body[0])]);
        }
    }

    #[test]
    fn a_name_counts_with_its_case_and_as_a_whole() {
        for name in [&b"ready"[..], b"Ready", b"READ", b"READYX", b"PING\0"] {
            let body = [&[name.len() as u8], name].concat();
            assert_eq!(Command::parse(&body), Ok(Command::Unknown { name, body: b"" }));
        }
    }

    #[test]
    fn a_name_has_1_to_255_octets_and_ends_within_the_command() {
        assert_eq!(Command::parse(b""), Err(CommandError::Empty));
        assert_eq!(Command::parse(b"\0"), Err(CommandError::NameEmpty));
        assert_eq!(Command::parse(b"\0READY"), Err(CommandError::NameEmpty));
        assert_eq!(Command::parse(b"\x05READ"), Err(CommandError::NameOverrun { announced: 5, left: 4 }));
        assert_eq!(Command::parse(b"\xff"), Err(CommandError::NameOverrun { announced: 255, left: 0 }));

        let mut body = [b'X'; 256];
        body[0] = 255;
        assert_eq!(Command::parse(&body), Ok(Command::Unknown { name: &[b'X'; 255], body: b"" }));
    }

    #[test]
    fn a_ping_has_a_time_to_live() {
        // A7
        assert_eq!(Command::parse(b"\x04PING"), Err(CommandError::PingTooShort { octets: 5 }));
        assert_eq!(Command::parse(b"\x04PING\0"), Err(CommandError::PingTooShort { octets: 6 }));
        for ttl in [0, 1, 655, 656, 65535_u16] {
            let body = [&b"\x04PING"[..], &ttl.to_be_bytes()].concat();
            assert_eq!(Command::parse(&body), Ok(Command::Ping { ttl, context: b"" }));
        }
    }

    #[test]
    fn a_context_has_at_most_16_octets() {
        // A7
        for octets in [0, 1, 16] {
            let context = &[7; 16][..octets];
            let ping = [b"\x04PING\0\0", context].concat();
            assert_eq!(Command::parse(&ping), Ok(Command::Ping { ttl: 0, context }));
            let pong = [b"\x04PONG", context].concat();
            assert_eq!(Command::parse(&pong), Ok(Command::Pong { context }));
        }
        for octets in [17, 255, 65535] {
            let context = alloc::vec![7; octets];
            let ping = [b"\x04PING\0\0", &context[..]].concat();
            assert_eq!(Command::parse(&ping), Err(CommandError::ContextTooLong { command: "PING", octets }));
            let pong = [b"\x04PONG", &context[..]].concat();
            assert_eq!(Command::parse(&pong), Err(CommandError::ContextTooLong { command: "PONG", octets }));
        }
    }

    #[test]
    fn a_reason_ends_exactly_where_its_command_does() {
        // A3
        assert_eq!(Command::parse(&error_with(b"")), Err(CommandError::ErrorReasonMissing));
        assert_eq!(
            Command::parse(&error_with(b"\x04no")),
            Err(CommandError::ErrorReasonLength { announced: 4, left: 2 })
        );
        assert_eq!(
            Command::parse(&error_with(b"\x01no")),
            Err(CommandError::ErrorReasonLength { announced: 1, left: 2 })
        );
        assert_eq!(Command::parse(&error_with(b"\0")), Ok(Command::Error(b"")));

        let mut longest = [b'x'; 256];
        longest[0] = 255;
        assert_eq!(Command::parse(&error_with(&longest)), Ok(Command::Error(&longest[1..])));
    }

    #[test]
    fn a_reason_is_printable() {
        // A3
        for octet in 0..=255 {
            let parsed = error_with(&[1, octet]);
            let parsed = Command::parse(&parsed);
            if (0x20..=0x7e).contains(&octet) {
                assert_eq!(parsed, Ok(Command::Error(&[octet])));
            } else {
                assert_eq!(parsed, Err(CommandError::ErrorReasonOctet { octet }));
            }
        }
        let error = CommandError::ErrorReasonOctet { octet: 0x1b };
        assert_eq!(error.to_string(), r"the reason of an ERROR contains the octet 0x1b ('\x1b')");
    }
}

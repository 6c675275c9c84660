use super::{CommandError, FrameError, GreetingError, MetadataError};

/// Octets that are not ZMTP.
///
/// Whoever sent them is broken, hostile, or speaks something else. There is no way back into step with such a
/// stream: the connection closes. A peer that speaks well but has nothing in common with us (an older version,
/// another mechanism or socket type) is no case of this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The stream does not begin with the signature of a greeting; see [`GreetingError::NotZmtp`].
    #[error("{}", GreetingError::NotZmtp { offset: *offset, octet: *octet })]
    NotZmtp {
        /// Where in the greeting, from 0.
        offset: u8,
        /// What was there.
        octet: u8,
    },
    /// The header of a frame is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body of a command is wrong.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The metadata of a handshake is wrong.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_text_is_that_of_what_was_wrong() {
        let signature = GreetingError::NotZmtp { offset: 9, octet: 0 };
        assert_eq!(Malformed::NotZmtp { offset: 9, octet: 0 }.to_string(), signature.to_string());
        assert_eq!(Malformed::from(FrameError::CommandWithMore).to_string(), FrameError::CommandWithMore.to_string());
        assert_eq!(Malformed::from(CommandError::Empty).to_string(), CommandError::Empty.to_string());
        let twice = MetadataError::Duplicate { name: "Identity" };
        assert_eq!(Malformed::from(twice.clone()).to_string(), twice.to_string());
    }
}

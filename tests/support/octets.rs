//! ZMTP octets made by hand, so that the crate under test has no say in them.

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

/// A greeting of ZMTP 3.1 with the NULL mechanism.
pub(crate) fn greeting() -> Vec<u8> {
    greeting_with(3, 1, b"NULL")
}

pub(crate) fn greeting_with(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, major, minor];
    octets.extend_from_slice(mechanism);
    octets.resize(64, 0);
    octets
}

/// A frame in its shortest form.
pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = match u8::try_from(body.len()) {
        Ok(size) => vec![flags, size],
        Err(_) => header(flags | LONG, body.len() as u64),
    };
    octets.extend_from_slice(body);
    octets
}

/// Flags and an announced size of eight octets.
pub(crate) fn header(flags: u8, size: u64) -> Vec<u8> {
    let mut octets = vec![flags];
    octets.extend_from_slice(&size.to_be_bytes());
    octets
}

/// The frames of one message.
pub(crate) fn message<F: AsRef<[u8]>>(frames: &[F]) -> Vec<u8> {
    let last = frames.len() - 1;
    let more = |at| if at < last { MORE } else { 0 };
    let framed = |(at, body): (usize, &F)| frame(more(at), body.as_ref());
    frames.iter().enumerate().flat_map(framed).collect()
}

/// The body of a command: its name, then what belongs to it.
pub(crate) fn command_body(name: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    [&[length], name, rest].concat()
}

pub(crate) fn command(name: &[u8], rest: &[u8]) -> Vec<u8> {
    frame(COMMAND, &command_body(name, rest))
}

pub(crate) fn property(name: &[u8], value: &[u8]) -> Vec<u8> {
    let name_length = u8::try_from(name.len()).expect("a short name");
    let value_length = u32::try_from(value.len()).expect("a short value");
    [&[name_length], name, &value_length.to_be_bytes(), value].concat()
}

/// READY as libzmq sends it: `Socket-Type`, then `Identity`.
pub(crate) fn ready(socket_type: &str, identity: &[u8]) -> Vec<u8> {
    let metadata = [property(b"Socket-Type", socket_type.as_bytes()), property(b"Identity", identity)];
    command(b"READY", &metadata.concat())
}

pub(crate) fn ping(ttl: u16, context: &[u8]) -> Vec<u8> {
    command(b"PING", &[&ttl.to_be_bytes(), context].concat())
}

pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    command(b"PONG", context)
}

pub(crate) fn error(reason: &[u8]) -> Vec<u8> {
    let length = u8::try_from(reason.len()).expect("a short reason");
    command(b"ERROR", &[&[length], reason].concat())
}

/// One frame as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) flags: u8,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn is_command(&self, name: &[u8]) -> bool {
        self.flags & COMMAND != 0 && self.body.starts_with(&command_body(name, &[]))
    }
}

/// Every complete frame of `octets`, and how many octets they take.
pub(crate) fn frames(octets: &[u8]) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some((frame, size)) = first_frame(&octets[at..]) {
        frames.push(frame);
        at += size;
    }
    (frames, at)
}

fn first_frame(octets: &[u8]) -> Option<(Frame, usize)> {
    let flags = *octets.first()?;
    let (head, size): (usize, usize) = if flags & LONG == 0 {
        (2, usize::from(*octets.get(1)?))
    } else {
        let size = octets.get(1..9)?.try_into().expect("eight octets");
        (9, usize::try_from(u64::from_be_bytes(size)).expect("a size that fits"))
    };
    let body = octets.get(head..head.checked_add(size)?)?.to_vec();
    let flags = flags & !LONG;
    Some((Frame { flags, body }, head + size))
}

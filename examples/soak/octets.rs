//! ZMTP 3.1 with NULL security as a client needs it, written by hand: what is checked here is not checked by itself.

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

pub(crate) fn greeting(major: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, major, 1];
    octets.extend_from_slice(mechanism);
    octets.resize(64, 0);
    octets
}

/// Flags and an announced size of eight octets.
pub(crate) fn header(flags: u8, size: u64) -> Vec<u8> {
    [&[flags | LONG][..], &size.to_be_bytes()].concat()
}

/// Appends a frame in its shortest form.
pub(crate) fn push_frame(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(size) => out.extend_from_slice(&[flags, size]),
        Err(_) => out.extend_from_slice(&header(flags, body.len() as u64)),
    }
    out.extend_from_slice(body);
}

/// Appends a message as Bonsai's Dealer sends it: an empty frame, then the payload.
pub(crate) fn push_message(out: &mut Vec<u8>, payload: &[u8]) {
    push_frame(out, MORE, b"");
    push_frame(out, 0, payload);
}

pub(crate) fn command(name: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    push_frame(&mut octets, COMMAND, &[&[name.len() as u8], name, rest].concat());
    octets
}

pub(crate) fn property(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name, &(value.len() as u32).to_be_bytes(), value].concat()
}

pub(crate) fn ready(socket_type: &[u8], identity: &[u8]) -> Vec<u8> {
    command(b"READY", &[property(b"Socket-Type", socket_type), property(b"Identity", identity)].concat())
}

pub(crate) enum Item<'a> {
    Ready,
    /// With its context.
    Ping(&'a [u8]),
    /// The payload of a message of two frames, the first of them empty.
    Message(&'a [u8]),
    /// Anything else.
    Odd,
}

/// What comes, cut into pieces.
#[derive(Default)]
pub(crate) struct Reader {
    /// What was not whole.
    kept: Vec<u8>,
    greeted: bool,
    /// The empty frame of a message has come.
    delimited: bool,
}

impl Reader {
    pub(crate) fn read(&mut self, octets: &[u8], mut take: impl FnMut(Item<'_>)) {
        let mut kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            let read = self.cut(octets, &mut take);
            kept.extend_from_slice(&octets[read..]);
        } else {
            kept.extend_from_slice(octets);
            let read = self.cut(&kept, &mut take);
            kept.drain(..read);
        }
        if !kept.is_empty() {
            self.kept = kept;
        }
    }

    /// How many octets were whole.
    fn cut(&mut self, octets: &[u8], take: &mut impl FnMut(Item<'_>)) -> usize {
        let mut at = 0;
        if !self.greeted {
            if octets.len() < 64 {
                return 0;
            }
            self.greeted = true;
            at = 64;
        }
        while let Some((flags, body, size)) = frame(&octets[at..]) {
            at += size;
            let delimited = std::mem::take(&mut self.delimited);
            match (flags & !LONG, delimited) {
                (MORE, false) if body.is_empty() => self.delimited = true,
                (0, true) => take(Item::Message(body)),
                (COMMAND, false) if body.starts_with(b"\x05READY") => take(Item::Ready),
                (COMMAND, false) if body.starts_with(b"\x04PING") => {
                    take(Item::Ping(body.get(7..).unwrap_or_default()))
                }
                _ => take(Item::Odd),
            }
        }
        at
    }
}

/// The flags and the body of the frame at the front, and how much it takes.
fn frame(octets: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&flags, rest) = octets.split_first()?;
    let (size, header) = match flags & LONG {
        0 => (usize::from(*rest.first()?), 2),
        _ => (usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)).ok()?, 9),
    };
    Some((flags, octets.get(header..header + size)?, header + size))
}

//! A second, naive reader of ZMTP, written apart from the crate, so that a mistake there is not repeated here.

/// One thing on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Greeting { minor: u8 },
    Command { name: Vec<u8>, body: Vec<u8> },
    Message(Vec<Vec<u8>>),
}

/// Reads one direction of a connection, strictly.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    read: usize,
    greeted: bool,
    frames: Vec<Vec<u8>>,
    /// Messages of which at least one octet came.
    pub(crate) begun: u64,
    counted: bool,
}

impl Decoder {
    pub(crate) fn feed(&mut self, octets: &[u8]) {
        if self.read > 4096 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole thing, `None` when more octets are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, String> {
        if !self.greeted {
            return self.greeting();
        }
        loop {
            let rest = &self.buffer[self.read..];
            let Some(&flags) = rest.first() else {
                return Ok(None);
            };
            if flags & 0b1111_1000 != 0 || flags & 0b101 == 0b101 {
                return Err(format!("flags {flags:02x}"));
            }
            if flags & 4 == 0 && !self.counted {
                self.counted = true;
                self.begun += 1;
            }
            let (header, size) = if flags & 2 == 0 {
                match rest.get(1) {
                    Some(&size) => (2, u64::from(size)),
                    None => return Ok(None),
                }
            } else {
                match rest.get(1..9) {
                    Some(size) => (9, u64::from_be_bytes(size.try_into().unwrap())),
                    None => return Ok(None),
                }
            };
            if size > 1 << 20 {
                return Err(format!("a frame of {size} octets"));
            }
            let Some(body) = rest.get(header..header + size as usize) else {
                return Ok(None);
            };
            let body = body.to_vec();
            self.read += header + body.len();
            if flags & 4 != 0 {
                return command(&body).map(Some);
            }
            self.frames.push(body);
            if flags & 1 == 0 {
                self.counted = false;
                return Ok(Some(Item::Message(std::mem::take(&mut self.frames))));
            }
        }
    }

    /// True between two messages, with nothing half read.
    pub(crate) fn at_boundary(&self) -> bool {
        self.read == self.buffer.len() && self.frames.is_empty()
    }

    /// In the middle of a message.
    pub(crate) fn inside_message(&self) -> bool {
        !self.frames.is_empty()
    }

    fn greeting(&mut self) -> Result<Option<Item>, String> {
        let rest = &self.buffer[self.read..];
        if rest.len() < 64 {
            return Ok(None);
        }
        if rest[0] != 0xff || rest[9] != 0x7f || rest[10] != 3 || !rest[12..].starts_with(b"NULL\0") {
            return Err(format!("greeting {:02x?}", &rest[..64]));
        }
        let minor = rest[11];
        self.read += 64;
        self.greeted = true;
        Ok(Some(Item::Greeting { minor }))
    }
}

fn command(body: &[u8]) -> Result<Item, String> {
    let wrong = || format!("command {body:02x?}");
    let (&length, rest) = body.split_first().ok_or_else(wrong)?;
    let name = rest.get(..usize::from(length)).ok_or_else(wrong)?;
    Ok(Item::Command { name: name.to_vec(), body: rest[usize::from(length)..].to_vec() })
}

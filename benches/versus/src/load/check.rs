//! What every client must receive: from each sender, each client but the sender gets every message once and in order.

use super::Options;
use crate::wire::{self, HEAD, PADDING, PROBE};

/// Every so many messages the padding is looked at too.
const SAMPLE: u64 = 256;

/// What every client has received so far.
pub struct Check {
    pub senders: usize,
    /// What comes before each body of the load.
    envelope: Vec<u8>,
    stride: usize,
    /// For each client and sender the number of the message that comes next.
    next: Vec<u64>,
    pub received: u64,
    /// Messages that did not come, where that is allowed.
    pub lost: u64,
    lossy: bool,
    /// A probe was among what was taken.
    pub probed: bool,
}

impl Check {
    pub fn new(options: &Options, stride: usize) -> Check {
        Check {
            senders: options.senders,
            envelope: wire::envelope(options.octets, options.delimiter),
            stride,
            next: vec![0; options.clients * options.senders],
            received: 0,
            lost: 0,
            lossy: options.lossy,
            probed: false,
        }
    }

    /// Deliveries of each sender's messages.
    pub fn by_sender(&self) -> Vec<u64> {
        let mut sums = vec![0; self.senders];
        for row in self.next.chunks_exact(self.senders) {
            sums.iter_mut().zip(row).for_each(|(sum, next)| *sum += next);
        }
        sums
    }

    /// For each sender the number of the message that comes next to a client.
    pub fn next(&self, client: usize) -> &[u64] {
        &self.next[client * self.senders..][..self.senders]
    }

    /// Takes the complete messages that one client has received, and returns how many octets they are.
    pub fn take(&mut self, client: usize, octets: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            // The length is given as a constant, so that comparing the envelope is one instruction or two.
            at += match self.envelope.len() {
                2 => self.take_load::<2>(client, &octets[at..])?,
                4 => self.take_load::<4>(client, &octets[at..])?,
                9 => self.take_load::<9>(client, &octets[at..])?,
                _ => self.take_load::<11>(client, &octets[at..])?,
            };
            match self.take_other(client, &octets[at..])? {
                0 => return Ok(at),
                taken => at += taken,
            }
        }
    }

    /// Messages of the load, up to the first thing that is none.
    fn take_load<const ENVELOPE: usize>(&mut self, client: usize, octets: &[u8]) -> Result<usize, String> {
        let Some(envelope) = self.envelope.first_chunk::<ENVELOPE>() else { return Ok(0) };
        let row = &mut self.next[client * self.senders..][..self.senders];
        let mut taken = 0;
        for message in octets.chunks_exact(self.stride) {
            let Some((start, rest)) = message.split_first_chunk::<ENVELOPE>() else { break };
            let Some((sender, rest)) = rest.split_first_chunk() else { break };
            let Some((number, padding)) = rest.split_first_chunk() else { break };
            if start != envelope {
                break;
            }
            let sender = u32::from_le_bytes(*sender);
            let number = u64::from_le_bytes(*number);
            let next = match row.get_mut(sender as usize) {
                Some(next) if *next == number && sender as usize != client => next,
                Some(next) if self.lossy && *next < number && sender as usize != client => {
                    self.lost += number - *next;
                    *next = number;
                    next
                }
                next => return Err(wrong(client, sender, number, next.copied())),
            };
            if number % SAMPLE == 0 && padding.iter().any(|&octet| octet != PADDING) {
                return Err(format!("client {client}: message {number} of sender {sender} was damaged"));
            }
            *next += 1;
            taken += 1;
        }
        self.received += taken;
        Ok(taken as usize * self.stride)
    }

    /// One probe or command, if there is one and it is complete.
    fn take_other(&mut self, client: usize, octets: &[u8]) -> Result<usize, String> {
        let mut len = 0;
        loop {
            let Some((flags, header, body)) = wire::frame_header(&octets[len..]) else { return Ok(0) };
            let Some(octets) = octets.get(len + header..len + header + body) else { return Ok(0) };
            len += header + body;
            if flags & 4 != 0 {
                return Ok(len);
            }
            if flags & 1 == 0 {
                self.probed |= octets.len() == HEAD && octets.starts_with(&PROBE.to_le_bytes());
                return match self.probed {
                    true => Ok(len),
                    false => Err(format!("client {client}: got a message of {body} octets that nobody sent")),
                };
            }
        }
    }
}

fn wrong(client: usize, sender: u32, number: u64, next: Option<u64>) -> String {
    let what = match next {
        None => "there is no such sender".into(),
        Some(_) if sender as usize == client => "which is its own".into(),
        Some(next) if number > next => format!("but {} before it were lost or come later", number - next),
        Some(next) => format!("which is doubled or late: {next} was due"),
    };
    format!("client {client}: got message {number} of sender {sender}, {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch::Batch;

    fn options(octets: usize, delimiter: bool) -> Options {
        Options {
            address: String::new(),
            clients: 3,
            senders: 3,
            octets,
            seconds: 0.0,
            warm_up: 0.0,
            warm_up_octets: 0,
            drain: 0.0,
            delimiter,
            pid: None,
            tally: None,
            rate: None,
            idle: 0,
            laggard: None,
            lossy: false,
            sndbuf: None,
            rcvbuf: None,
        }
    }

    /// Messages of the load as (sender, number).
    fn stream(options: &Options, messages: &[(u32, u64)]) -> Vec<u8> {
        let mut batch = Batch::new(options.octets, options.delimiter);
        let stride = batch.stride as u64;
        let one = |&(sender, number)| batch.fill(sender, number * stride, (number + 1) * stride).to_vec();
        messages.iter().flat_map(one).collect()
    }

    fn take(messages: &[(u32, u64)]) -> Result<u64, String> {
        let options = options(64, false);
        let mut check = Check::new(&options, 66);
        let octets = stream(&options, messages);
        check.take(0, &octets).map(|taken| {
            assert_eq!(taken, octets.len());
            check.received
        })
    }

    #[test]
    fn each_message_once_and_in_order_is_right() {
        assert_eq!(take(&[(1, 0), (2, 0), (1, 1), (1, 2), (2, 1)]), Ok(5));
    }

    #[test]
    fn a_lost_a_doubled_a_late_an_own_and_a_strange_message_are_noticed() {
        assert!(take(&[(1, 0), (1, 2)]).unwrap_err().contains("lost"));
        assert!(take(&[(1, 0), (1, 0)]).unwrap_err().contains("doubled"));
        assert!(take(&[(1, 1), (1, 0)]).unwrap_err().contains("come later"));
        assert!(take(&[(0, 0)]).unwrap_err().contains("its own"));
        assert!(take(&[(7, 0)]).unwrap_err().contains("no such sender"));
    }

    #[test]
    fn what_a_server_may_drop_is_counted_and_nothing_else_is_allowed() {
        let options = Options { lossy: true, ..options(64, false) };
        let mut check = Check::new(&options, 66);
        check.take(0, &stream(&options, &[(1, 0), (1, 3), (2, 1)])).unwrap();
        assert_eq!((check.received, check.lost), (3, 3));
        assert!(check.take(0, &stream(&options, &[(1, 3)])).unwrap_err().contains("doubled"));
    }

    #[test]
    fn damaged_octets_are_noticed() {
        let options = options(64, false);
        let mut octets = stream(&options, &[(1, 0)]);
        *octets.last_mut().unwrap() = 0;
        assert!(Check::new(&options, 66).take(0, &octets).unwrap_err().contains("damaged"));
        assert!(Check::new(&options, 66).take(0, b"\x00\x02hi").unwrap_err().contains("nobody sent"));
    }

    #[test]
    fn every_envelope_is_understood_at_every_cut_with_probes_and_commands_between() {
        for (octets, delimiter) in [(16, false), (16, true), (300, false), (300, true)] {
            let options = options(octets, delimiter);
            let mut all = wire::probe(1, delimiter);
            all.extend(stream(&options, &[(1, 0), (2, 0)]));
            all.extend_from_slice(b"\x04\x07\x04PING\0\0");
            all.extend(stream(&options, &[(2, 1)]));
            let stride = Batch::new(options.octets, options.delimiter).stride;
            for cut in 0..all.len() {
                let mut check = Check::new(&options, stride);
                let first = check.take(0, &all[..cut]).unwrap();
                let second = check.take(0, &all[first..]).unwrap();
                assert_eq!((first + second, check.received, check.probed), (all.len(), 3, true), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_stream_goes_on_where_the_last_write_ended() {
        let options = options(64, false);
        let whole = stream(&options, &[(1, 0), (1, 1), (1, 2)]);
        let mut batch = Batch::new(options.octets, options.delimiter);
        for cut in 0..whole.len() {
            assert_eq!(batch.fill(1, cut as u64, whole.len() as u64), &whole[cut..]);
        }
    }
}

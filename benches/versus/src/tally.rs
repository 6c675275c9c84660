//! How a server says what it has received: a count in a file that both processes have mapped.
//!
//! A store to memory per message is next to nothing, and whoever measures reads it at the moment of its choice, while
//! an answer on the wire would come behind all that is still on its way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::{HEAD, PADDING};

/// Every so many messages the padding is looked at too.
const SAMPLE: u64 = 256;
/// Senders are numbered from 0 and are fewer than this: a larger number is no message of ours.
const SENDERS: usize = 1 << 16;

/// A count that two processes share. It stays mapped until the process ends.
pub struct Tally(NonNull<AtomicU64>);

impl Tally {
    /// Makes the file, with a count of zero.
    pub fn create(path: &Path) -> io::Result<Tally> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(size_of::<AtomicU64>() as u64)?;
        Tally::map(&file)
    }

    pub fn open(path: &Path) -> io::Result<Tally> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() < size_of::<AtomicU64>() as u64 {
            return Err(io::Error::other("the tally is too short"));
        }
        Tally::map(&file)
    }

    fn map(file: &File) -> io::Result<Tally> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let len = size_of::<AtomicU64>();
        // SAFETY: a new mapping at a place that the system chooses, of a file that is long enough.
        let place = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if place == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(place.cast()).map(Tally).ok_or_else(|| io::Error::other("mapped at null"))
    }

    fn count(&self) -> &AtomicU64 {
        // SAFETY: mapped, page-aligned, never unmapped, and only ever used as an atomic.
        unsafe { self.0.as_ref() }
    }

    pub fn get(&self) -> u64 {
        self.count().load(Ordering::Relaxed)
    }

    pub fn set(&self, count: u64) {
        self.count().store(count, Ordering::Relaxed);
    }
}

/// Counts and checks what a sink receives: from each sender every message once and in order.
pub struct Intake {
    tally: Tally,
    octets: usize,
    /// For each sender the number of the message that comes next.
    next: Vec<u64>,
    received: u64,
}

impl Intake {
    pub fn new(tally: Tally, octets: usize) -> Intake {
        Intake { tally, octets, next: Vec::new(), received: 0 }
    }

    /// Takes the body of one message.
    #[inline]
    pub fn take(&mut self, body: &[u8]) -> Result<(), String> {
        let parts = body.split_first_chunk().and_then(|(sender, rest)| Some((sender, rest.split_first_chunk()?)));
        let Some((sender, (number, padding))) = parts.filter(|_| body.len() == self.octets) else {
            return Err(format!("got a message of {} octets that nobody sent", body.len()));
        };
        let number = u64::from_le_bytes(*number);
        if self.starts(u32::from_le_bytes(*sender), number)? && padding.iter().any(|&octet| octet != PADDING) {
            return Err("a message was damaged".into());
        }
        self.ends();
        Ok(())
    }

    /// The first octets of a message, for who gets it piece by piece. Whether to look at its padding.
    #[inline]
    pub fn starts(&mut self, sender: u32, number: u64) -> Result<bool, String> {
        let sender = sender as usize;
        if sender >= SENDERS {
            return Err("got a message that nobody sent".into());
        }
        if sender >= self.next.len() {
            self.next.resize(sender + 1, 0);
        }
        let next = &mut self.next[sender];
        if *next != number {
            return Err(format!("got message {number} of sender {sender}, while {next} was due"));
        }
        *next += 1;
        Ok(number % SAMPLE == 0)
    }

    /// A message has come whole.
    #[inline]
    pub fn ends(&mut self) {
        self.received += 1;
        self.tally.set(self.received);
    }
}

/// What a sender sends: messages in the form of the load, each made in the same place.
pub struct Supply {
    body: Vec<u8>,
    number: u64,
}

impl Supply {
    pub fn new(octets: usize) -> Supply {
        Supply { body: vec![PADDING; octets.max(HEAD)], number: 0 }
    }

    /// The body of the next message, of sender 0.
    #[inline]
    pub fn next(&mut self) -> &[u8] {
        self.body[..4].copy_from_slice(&0u32.to_le_bytes());
        self.body[4..HEAD].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    fn body(sender: u32, number: u64) -> Vec<u8> {
        let mut body = vec![PADDING; 64];
        body[..4].copy_from_slice(&sender.to_le_bytes());
        body[4..12].copy_from_slice(&number.to_le_bytes());
        body
    }

    fn intake(name: &str) -> (Intake, Tally) {
        let path = env::temp_dir().join(format!("versus-test-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        let ours = Tally::create(&path).unwrap();
        let theirs = Tally::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (Intake::new(theirs, 64), ours)
    }

    #[test]
    fn each_message_once_and_in_order_is_counted_where_the_other_side_sees_it() {
        let (mut intake, tally) = intake("right");
        for (sender, number) in [(0, 0), (7, 0), (0, 1), (7, 1)] {
            intake.take(&body(sender, number)).unwrap();
        }
        assert_eq!(tally.get(), 4);
        let mut supply = Supply::new(64);
        assert_eq!(supply.next(), body(0, 0));
        assert_eq!(supply.next(), body(0, 1));
    }

    #[test]
    fn a_lost_a_doubled_a_damaged_and_a_strange_message_are_noticed() {
        let (mut intake, _tally) = intake("wrong");
        assert!(intake.take(&body(0, 1)).unwrap_err().contains("0 was due"));
        intake.take(&body(0, 0)).unwrap();
        assert!(intake.take(&body(0, 0)).unwrap_err().contains("1 was due"));
        let mut damaged = body(1, 0);
        damaged[63] = 0;
        assert!(intake.take(&damaged).unwrap_err().contains("damaged"));
        assert!(intake.take(b"hi").unwrap_err().contains("nobody sent"));
    }
}

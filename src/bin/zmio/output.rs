//! Lines on standard output that never hold up the relay.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Blocks of text that may wait for the terminal. What comes beyond is counted, not kept.
const WAITING: usize = 64;
/// Lines a second about clients that come and go. Peers decide how often that happens; they shall not fill a disk.
const NOTES_A_SECOND: u32 = 50;

/// Standard output, written by a thread of its own.
///
/// A pipe that nobody reads or a terminal on hold would otherwise stop the relay for all its clients. A closed
/// pipe is no error: the relay goes on without output.
pub(crate) struct Output {
    blocks: SyncSender<String>,
    last: Sender<String>,
    finished: Receiver<()>,
    left_out: u64,
    notes_left: u32,
    second: Instant,
}

impl Output {
    /// Starts the writing thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (blocks, to_write) = sync_channel::<String>(WAITING);
        let (last, last_to_write) = channel::<String>();
        let (finish, finished) = channel();
        thread::Builder::new().name("zmio-output".into()).spawn(move || {
            for block in to_write.into_iter().chain(last_to_write) {
                let mut out = io::stdout().lock();
                let _ = out.write_all(block.as_bytes()).and_then(|()| out.flush());
            }
            let _ = finish.send(());
        })?;
        Ok(Self { blocks, last, finished, left_out: 0, notes_left: NOTES_A_SECOND, second: Instant::now() })
    }

    /// Prints whole lines. Never blocks: lines that find no room are left out and counted.
    pub(crate) fn print(&mut self, lines: &str) {
        let mut block = String::with_capacity(lines.len() + 1);
        if self.left_out > 0 {
            block = format!("({} lines left out)\n", self.left_out);
        }
        block.push_str(lines);
        block.push('\n');
        match self.blocks.try_send(block) {
            Ok(()) => self.left_out = 0,
            Err(_) => self.left_out += lines.lines().count() as u64,
        }
    }

    /// Prints one line about something that a peer caused, unless there were too many of them this second.
    pub(crate) fn note(&mut self, line: &str) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.notes_left = NOTES_A_SECOND;
        }
        match self.notes_left.checked_sub(1) {
            Some(left) => {
                self.notes_left = left;
                self.print(line);
            }
            None => self.left_out += 1,
        }
    }

    /// Prints what must not be left out, and waits until all is written: for a second at most.
    pub(crate) fn finish(self, lines: &str) {
        drop(self.blocks);
        // Fails only if the thread is gone; then there is nothing to wait for either.
        let _ = self.last.send(format!("{lines}\n"));
        drop(self.last);
        let _ = self.finished.recv_timeout(Duration::from_secs(1));
    }
}

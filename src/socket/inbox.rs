//! What came from one peer and waits for the application, in order.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::conn::{Credit, Mark};
use crate::message::{Message, Run};
use crate::socket::{Event, PeerId};

/// What an entry counts besides its octets: about what it takes in memory.
const ENTRY_OCTETS: u64 = 64;

/// Room for so many entries is kept when it runs empty.
const KEPT_ENTRIES: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    entries: VecDeque<Entry>,
    messages: u64,
    /// Octets as they are held: a block counts until its last message is taken.
    octets: u64,
    notices: usize,
}

#[derive(Debug)]
enum Entry {
    Run {
        run: Run,
        octets: u64,
    },
    Message(Message),
    /// What happened to the peer, between its messages.
    Notice(Box<Event>),
}

impl Inbox {
    /// `held` is how much memory the run keeps, in octets.
    pub(crate) fn push_run(&mut self, run: Run, held: usize) {
        let octets = held as u64 + ENTRY_OCTETS;
        self.messages += u64::from(run.messages());
        self.octets += octets;
        self.entries.push_back(Entry::Run { run, octets });
    }

    pub(crate) fn push_message(&mut self, message: Message) {
        self.messages += 1;
        self.octets += message.wire_len() as u64 + ENTRY_OCTETS;
        self.entries.push_back(Entry::Message(message));
    }

    /// A notice takes the place of one of its kind that was not read and has nothing behind it.
    pub(crate) fn push_notice(&mut self, notice: Event) {
        if let (Some(Entry::Notice(last)), Event::Retrying { .. }) = (self.entries.back_mut(), &notice) {
            if matches!(**last, Event::Retrying { .. }) {
                **last = notice;
                return;
            }
        }
        self.notices += 1;
        self.entries.push_back(Entry::Notice(Box::new(notice)));
    }

    /// The next message, or run if those are wanted, or notice.
    pub(crate) fn pop(&mut self, peer: PeerId, runs: bool) -> Option<Event> {
        if let (Some(Entry::Run { run, .. }), false) = (self.entries.front_mut(), runs) {
            if run.messages() > 1 {
                self.messages -= 1;
                return Some(Event::Message { peer, message: run.pop() });
            }
        }
        let entry = self.entries.pop_front()?;
        if self.entries.is_empty() && self.entries.capacity() > KEPT_ENTRIES {
            self.entries = VecDeque::new();
        }
        match entry {
            Entry::Run { mut run, octets } => {
                self.octets -= octets;
                self.messages -= u64::from(run.messages());
                if runs {
                    return Some(Event::Run { peer, run });
                }
                Some(Event::Message { peer, message: run.pop() })
            }
            Entry::Message(message) => {
                self.messages -= 1;
                self.octets -= message.wire_len() as u64 + ENTRY_OCTETS;
                if runs {
                    return Some(Event::Run { peer, run: message.into_run() });
                }
                Some(Event::Message { peer, message })
            }
            Entry::Notice(notice) => {
                self.notices -= 1;
                Some(*notice)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A notice is next, and no message of its peer is before it.
    #[cfg(feature = "net")]
    pub(crate) fn starts_with_notice(&self) -> bool {
        matches!(self.entries.front(), Some(Entry::Notice(_)))
    }

    pub(crate) fn notices(&self) -> usize {
        self.notices
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    pub(crate) fn is_full(&self, mark: &Mark) -> bool {
        mark.is_reached(self.messages, self.octets)
    }

    /// How much more it takes before it is full.
    pub(crate) fn credit(&self, mark: &Mark) -> Credit {
        let messages = mark.messages.map_or(u64::MAX, u64::from).saturating_sub(self.messages);
        let octets = mark.octets.unwrap_or(u64::MAX).saturating_sub(self.octets);
        Credit {
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            octets: usize::try_from(octets).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Address;
    use crate::socket::peers::Peers;

    #[test]
    fn an_empty_inbox_holds_no_memory_to_speak_of_and_enough_for_a_steady_flow() {
        let peer = Peers::default().insert(Address::Unnamed, None, None);
        let mut inbox = Inbox::default();
        for messages in [1, 1_000] {
            (0..messages).for_each(|_| inbox.push_message("x".into()));
            (0..messages).for_each(|_| assert!(inbox.pop(peer, false).is_some()));
            assert!(inbox.is_empty());
            assert_eq!(inbox.entries.capacity(), if messages == 1 { KEPT_ENTRIES } else { 0 });
        }
    }
}

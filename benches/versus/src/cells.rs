//! What is measured: rows of cells, their names, and who takes part in each.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::load::LaggardKind;
use crate::peers::Peer;

/// One kind of load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Row {
    Relay,
    Paced,
    Sink,
    Pair,
    Echo,
    Idle,
    Slow,
}

impl Row {
    /// The headings of what tells its cells apart.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Row::Relay => &["clients", "senders", "octets"],
            Row::Paced => &["clients", "octets", "messages/s"],
            Row::Sink => &["senders", "octets", "idle"],
            Row::Pair | Row::Echo => &["octets"],
            Row::Idle => &["clients"],
            Row::Slow => &["policy", "load", "laggard"],
        }
    }

    /// The cells that are measured unless others are named. A cell comes after the one that it is compared with.
    fn cells(self, quick: bool) -> &'static [&'static str] {
        match (self, quick) {
            (Row::Relay, true) => &["64x1x64", "64xallx64", "64xallx1024", "1000xallx64"],
            (Row::Relay, false) => &[
                "64x1x16",
                "64xallx16",
                "64x1x64",
                "64xallx64",
                "64x1x1024",
                "64xallx1024",
                "64x1x65536",
                "64xallx65536",
                "8x1x16",
                "8xallx16",
                "8x1x64",
                "8xallx64",
                "8x1x1024",
                "8xallx1024",
                "8x1x65536",
                "8xallx65536",
                "1000x1x16",
                "1000xallx16",
                "1000x1x64",
                "1000xallx64",
                "1000x1x1024",
                "1000xallx1024",
                "1000x1x65536",
                "1000xallx65536",
            ],
            (Row::Paced, _) => &["64x64x1000"],
            (Row::Sink, true) => &["1x64x0", "8x64x0", "1x65536x0"],
            (Row::Sink, false) => &[
                "1x16x0",
                "8x16x0",
                "1x64x0",
                "8x64x0",
                "1x1024x0",
                "8x1024x0",
                "1x65536x0",
                "8x65536x0",
                "1x1048576x0",
                "8x1048576x0",
                "64x64x0",
                "64x64x10000",
            ],
            (Row::Pair, true) => &["64"],
            (Row::Pair, false) => &["16", "64", "256", "1024"],
            (Row::Echo, _) => &["64"],
            (Row::Idle, true) => &["2000"],
            (Row::Idle, false) => &["10000"],
            (Row::Slow, true) => &["drop-full-none", "drop-full-deaf", "wait-full-deaf"],
            (Row::Slow, false) => &[
                "drop-full-none",
                "drop-full-deaf",
                "drop-full-trickle",
                "drop-paced-none",
                "drop-paced-deaf",
                "drop-paced-trickle",
                "wait-full-none",
                "wait-full-deaf",
                "wait-full-trickle",
            ],
        }
    }
}

/// Clients, senders and so on of one kind of load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cell {
    Relay { clients: usize, senders: usize, octets: usize },
    Paced { clients: usize, octets: usize, rate: usize },
    Sink { senders: usize, octets: usize, idle: usize },
    Pair { octets: usize },
    Echo { octets: usize },
    Idle { clients: usize },
    Slow { policy: Policy, paced: bool, laggard: Option<Laggard> },
}

/// What a relay does about a client that does not read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Policy {
    Drop,
    Wait,
}

pub type Laggard = LaggardKind;

impl Cell {
    pub fn row(self) -> Row {
        match self {
            Cell::Relay { .. } => Row::Relay,
            Cell::Paced { .. } => Row::Paced,
            Cell::Sink { .. } => Row::Sink,
            Cell::Pair { .. } => Row::Pair,
            Cell::Echo { .. } => Row::Echo,
            Cell::Idle { .. } => Row::Idle,
            Cell::Slow { .. } => Row::Slow,
        }
    }

    /// What tells it apart in its row, in the order of `Row::keys`.
    pub fn values(self) -> Vec<String> {
        match self {
            Cell::Relay { clients, senders, octets } => numbers(&[clients, senders, octets]),
            Cell::Paced { clients, octets, rate } => numbers(&[clients, octets, rate]),
            Cell::Sink { senders, octets, idle } => numbers(&[senders, octets, idle]),
            Cell::Pair { octets } | Cell::Echo { octets } => numbers(&[octets]),
            Cell::Idle { clients } => numbers(&[clients]),
            Cell::Slow { policy, paced, laggard } => {
                let laggard = laggard.map_or("none".into(), |laggard| value_name(&laggard));
                vec![value_name(&policy), if paced { "paced" } else { "full" }.into(), laggard]
            }
        }
    }

    /// Octets of a body, where the rate in octets means something.
    pub fn octets(self) -> Option<usize> {
        match self {
            Cell::Relay { octets, .. } | Cell::Sink { octets, .. } | Cell::Pair { octets } => Some(octets),
            _ => None,
        }
    }

    /// The cell that it is compared with: fewer clients, no idle ones, no laggard.
    pub fn base(self) -> Option<Cell> {
        let base = match self {
            Cell::Relay { senders, octets, clients } if clients > 64 => {
                Cell::Relay { clients: 64, senders: if senders == clients { 64 } else { senders }, octets }
            }
            Cell::Sink { senders, octets, .. } => Cell::Sink { senders, octets, idle: 0 },
            Cell::Slow { policy, paced, .. } => Cell::Slow { policy, paced, laggard: None },
            _ => return None,
        };
        (base != self).then_some(base)
    }

    /// Who takes part, in the order in which they run.
    pub fn peers(self) -> Vec<Peer> {
        let mut peers = match self {
            Cell::Relay { .. } | Cell::Paced { .. } | Cell::Idle { .. } => vec![Peer::Libzmq, Peer::Zmio, Peer::Tcp],
            Cell::Sink { .. } | Cell::Echo { .. } => vec![Peer::Libzmq, Peer::Zmio, Peer::ZmioHandle, Peer::Tcp],
            Cell::Pair { .. } => vec![Peer::Libzmq, Peer::LibzmqPush, Peer::Zmio, Peer::ZmioHandle],
            // The bare loop has no policy, and libzmq no waiting one.
            Cell::Slow { policy: Policy::Drop, .. } => vec![Peer::Libzmq, Peer::Zmio],
            Cell::Slow { policy: Policy::Wait, .. } => vec![Peer::Zmio],
        };
        #[cfg(feature = "field")]
        peers.extend_from_slice(match self {
            // A ROUTER of monocoque is one connection and knows of no other.
            Cell::Relay { .. } | Cell::Paced { .. } | Cell::Idle { .. } => &[Peer::Omq],
            Cell::Sink { .. } | Cell::Echo { .. } | Cell::Pair { .. } => &[Peer::Omq, Peer::Monocoque],
            Cell::Slow { .. } => &[],
        });
        peers.sort();
        peers
    }

    fn parse(row: Row, text: &str) -> Option<Cell> {
        if row == Row::Slow {
            let mut parts = text.split('-');
            let policy = Policy::from_str(parts.next()?, false).ok()?;
            let paced = match parts.next()? {
                "paced" => true,
                "full" => false,
                _ => return None,
            };
            let laggard = match parts.next()? {
                "none" => None,
                kind => Some(Laggard::from_str(kind, false).ok()?),
            };
            return parts.next().is_none().then_some(Cell::Slow { policy, paced, laggard });
        }
        let mut first = None;
        let number = |part: &str| {
            let number = if part == "all" { first } else { part.parse().ok() };
            first = first.or(number);
            number
        };
        let numbers: Vec<usize> = text.split('x').map(number).collect::<Option<_>>()?;
        Some(match (row, numbers.as_slice()) {
            (Row::Relay, &[clients, senders, octets]) => Cell::Relay { clients, senders, octets },
            (Row::Paced, &[clients, octets, rate]) => Cell::Paced { clients, octets, rate },
            (Row::Sink, &[senders, octets, idle]) => Cell::Sink { senders, octets, idle },
            (Row::Pair, &[octets]) => Cell::Pair { octets },
            (Row::Echo, &[octets]) => Cell::Echo { octets },
            (Row::Idle, &[clients]) => Cell::Idle { clients },
            _ => return None,
        })
    }
}

fn numbers(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(usize::to_string).collect()
}

/// As the command line has it.
pub fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl fmt::Display for Cell {
    /// As it is written in `--cells`, but with numbers for `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.row() == Row::Slow { "-" } else { "x" };
        write!(f, "{}/{}", value_name(&self.row()), self.values().join(between))
    }
}

/// What the user asks for: a whole row, or a cell by its name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Choice {
    Row(Row),
    Cell(Cell),
}

impl Choice {
    pub fn cells(self, quick: bool) -> Vec<Cell> {
        match self {
            Choice::Cell(cell) => vec![cell],
            Choice::Row(row) => row.cells(quick).iter().filter_map(|text| Cell::parse(row, text)).collect(),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let (row, cell) = text.split_once('/').map_or((text, None), |(row, cell)| (row, Some(cell)));
        let row = Row::from_str(row, false).map_err(|_| format!("there is no row {row:?}"))?;
        let Some(cell) = cell else { return Ok(Choice::Row(row)) };
        let cell = Cell::parse(row, cell);
        cell.map(Choice::Cell).ok_or_else(|| format!("{text:?} is no cell; one is {:?}", row.cells(false)[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_that_is_named_here_is_one_and_comes_after_what_it_is_compared_with() {
        for &row in Row::value_variants() {
            for quick in [true, false] {
                let cells = Choice::Row(row).cells(quick);
                assert_eq!(cells.len(), row.cells(quick).len(), "{row:?}");
                for (i, &cell) in cells.iter().enumerate() {
                    assert_eq!(cell.to_string().parse(), Ok(Choice::Cell(cell)));
                    assert_eq!(cell.values().len(), row.keys().len());
                    let compared = |base| quick || cells[..i].contains(&base);
                    assert!(cell.base().is_none_or(compared), "{cell}");
                }
            }
        }
    }

    #[test]
    fn all_means_as_many_as_there_are_clients() {
        assert_eq!("relay/64xallx16".parse(), "relay/64x64x16".parse::<Choice>());
        assert!("relay/64x16".parse::<Choice>().is_err());
        assert!("64x1x16".parse::<Choice>().is_err());
    }
}

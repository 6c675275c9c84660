//! Tables and charts of runs that were measured before.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum as _};

use crate::cells::{Cell, Choice};
use crate::chart;
use crate::figures::Figures;
use crate::peers::Peer;
use crate::table::{self, Outcomes};

#[derive(Args)]
pub struct Options {
    /// What `run --csv` wrote; the runs of all files count together
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Write all these runs here, and charts beside it
    #[arg(long)]
    csv: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut outcomes = Outcomes::new();
    let mut csv = format!("{}\n", table::csv_header());
    for file in &options.files {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for (line, place) in text.lines().zip(1..) {
            if line != table::csv_header() {
                let (cell, peer, figures) =
                    parse(line).map_err(|error| format!("{} line {place}: {error}", file.display()))?;
                outcomes.entry((cell, peer)).or_default().add(cell.row(), figures);
                // As it was written: each measurement counts its own runs.
                csv.extend([line, "\n"]);
            }
        }
    }
    let mut cells: Vec<Cell> = outcomes.keys().map(|(cell, _)| *cell).collect();
    cells.dedup();
    let mut row = None;
    for cell in cells {
        if row.replace(cell.row()) != Some(cell.row()) {
            table::print_header(cell.row());
        }
        table::print(cell, &outcomes);
    }
    let Some(path) = &options.csv else { return Ok(()) };
    fs::write(path, csv)?;
    chart::write(path, &outcomes)
}

/// The inverse of [`table::csv_line`].
fn parse(line: &str) -> Result<(Cell, Peer, Figures), String> {
    let mut fields = line.split(',');
    let mut next = || fields.next().unwrap_or_default();
    let (row, cell, peer, _) = (next(), next(), next(), next());
    let Choice::Cell(cell) = format!("{row}/{cell}").parse()? else { return Err("no cell".into()) };
    let peer = Peer::from_str(peer, false).map_err(|_| format!("there is no peer {peer:?}"))?;
    Ok((cell, peer, Figures::from_fields(fields)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_csv_gives_the_run_back() {
        let Ok(Choice::Cell(cell)) = "slow/drop-full-deaf".parse() else { panic!("a cell") };
        let mut figures = Figures::default();
        figures.set("events_per_s", 12.5);
        figures.set("idle_connect_s", 0.25);
        let line = table::csv_line(cell, Peer::Zmio, 3, &figures);
        let (of, peer, read) = parse(&line).unwrap();
        assert_eq!((of, peer, read.to_string()), (cell, Peer::Zmio, figures.to_string()));
        assert!(parse(&line.replace("12.5", "fast")).unwrap_err().contains("fast"));
        assert!(parse(&line.replace("zmio", "nobody")).unwrap_err().contains("nobody"));
        assert!(parse(&format!("{line},1")).is_err());
        assert!(parse("slow,drop-full-deaf,zmio,3,12.5").is_err());
    }
}

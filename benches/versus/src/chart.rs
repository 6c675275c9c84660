//! One SVG for each row: its main figure as bars, by cell and peer.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::cells::{Cell, Row, value_name};
use crate::peers::Peer;
use crate::table::Outcomes;

const BAR: f64 = 0.8;
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x8c, 0x8c, 0x8c),
    RGBColor(0xbd, 0xbd, 0xbd),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

/// Writes `FIGURES-ROW.svg` beside `FIGURES.csv` for each row that was measured.
pub fn write(csv: &Path, outcomes: &Outcomes) -> Result<(), Box<dyn Error>> {
    let rows: BTreeSet<Row> = outcomes.keys().map(|(cell, _)| cell.row()).collect();
    for row in rows {
        draw(row, outcomes, &path(csv, row))?;
    }
    Ok(())
}

fn path(csv: &Path, row: Row) -> PathBuf {
    let stem = csv.file_stem().unwrap_or_default().to_string_lossy();
    csv.with_file_name(format!("{stem}-{}.svg", value_name(&row)))
}

fn draw(row: Row, outcomes: &Outcomes, path: &Path) -> Result<(), Box<dyn Error>> {
    let (name, unit, scale) = row.main_figure();
    let of_row = || outcomes.iter().filter(|((cell, _), _)| cell.row() == row);
    let cells: Vec<Cell> = of_row().map(|((cell, _), _)| *cell).collect::<BTreeSet<_>>().into_iter().collect();
    let peers: Vec<Peer> = of_row().map(|((_, peer), _)| *peer).collect::<BTreeSet<_>>().into_iter().collect();
    let mut bars = Vec::new();
    for ((cell, peer), outcome) in of_row() {
        let value = outcome.median(name) * scale;
        let (Ok(at), Ok(beside)) = (cells.binary_search(cell), peers.binary_search(peer)) else { continue };
        // A logarithmic scale has no zero.
        if value.is_finite() && value > 0.0 {
            bars.push((at, beside, value));
        }
    }
    if bars.is_empty() {
        return Ok(());
    }
    let least = bars.iter().map(|bar| bar.2).fold(f64::INFINITY, f64::min);
    let most = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);

    let width = 160 + 28 * (cells.len() * (peers.len() + 1)) as u32;
    let area: DrawingArea<SVGBackend, Shift> = SVGBackend::new(path, (width.max(640), 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let labels: Vec<String> = cells.iter().map(|cell| cell.values().join(" x ")).collect();
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: {unit}", value_name(&row)), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0f64..cells.len() as f64, (least / 2.0..most * 4.0).log_scale())?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().y_label_formatter(&|value| format!("{value}")).draw()?;
    for (beside, peer) in peers.iter().enumerate() {
        let colour = COLOURS[*peer as usize % COLOURS.len()];
        let wide = BAR / peers.len() as f64;
        let of_peer = bars.iter().filter(|bar| bar.1 == beside);
        let rectangles = of_peer.map(|&(at, _, value)| {
            let left = at as f64 + (1.0 - BAR) / 2.0 + wide * beside as f64;
            Rectangle::new([(left, least / 2.0), (left + wide * 0.95, value)], colour.filled())
        });
        chart
            .draw_series(rectangles)?
            .label(peer.to_string())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    // The names of the cells below their bars.
    let style = ("sans-serif", 11).into_text_style(&area);
    let style = style.pos(plotters::style::text_anchor::Pos::new(
        plotters::style::text_anchor::HPos::Center,
        plotters::style::text_anchor::VPos::Top,
    ));
    for (at, label) in labels.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(at as f64 + 0.5, least / 2.0));
        area.draw_text(label, &style, (x, y + 8))?;
    }
    area.present()?;
    Ok(())
}

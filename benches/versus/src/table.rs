//! Medians and ratios.

use crate::load::Figures;
use crate::run::{Cell, Peer};

pub const CSV_HEADER: &str = "peer,clients,senders,octets,run,deliveries_per_s,relay_ns_per_delivery,relay_cores,\
                              load_cores,other_cores,peak_kib,fairness,complete,silence_ms";

/// What one peer has shown in one cell.
pub struct Row {
    pub peer: Peer,
    pub calm: Vec<Figures>,
    /// Runs during which something else kept the machine busy.
    pub disturbed: Vec<Figures>,
}

impl Row {
    /// The runs that count: the calm ones, or all if there are none.
    fn runs(&self) -> &[Figures] {
        if self.calm.is_empty() { &self.disturbed } else { &self.calm }
    }

    fn median(&self, field: impl Fn(&Figures) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs().iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        }
    }

    fn rate(&self) -> f64 {
        self.median(|figures| figures.deliveries_per_second)
    }

    fn cost(&self) -> f64 {
        self.median(|figures| figures.relay_ns_per_delivery)
    }

    /// Who was busy all the time, and so set the rate.
    fn limit(&self) -> &'static str {
        let relay = self.median(|figures| figures.relay_cores);
        let load = self.median(|figures| figures.load_cores);
        match (relay >= 0.9, load >= 0.9) {
            (true, true) => "both",
            (true, false) => "relay",
            (false, true) => "load",
            (false, false) if relay + load + self.median(|figures| figures.other_cores) > 1.85 => "cores",
            (false, false) => "-",
        }
    }
}

pub fn print_header() {
    println!();
    println!(
        "| clients | senders | octets | peer | M/s | x libzmq | x tcp | ns/delivery | x tcp | peak MiB | relay, load, other cores | limit | fair | runs |"
    );
    println!("|-:|-:|-:|:-|-:|-:|-:|-:|-:|-:|:-:|:-:|-:|:-|");
}

pub fn print(cell: Cell, rows: &[Row]) {
    let of = |peer| rows.iter().find(move |row| row.peer == peer);
    let rate_over =
        |row: &Row, peer| of(peer).map_or("".into(), |other: &Row| format!("{:.2}", row.rate() / other.rate()));
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {:.2} | {} | {} | {:.1} | {} | {:.1} | {:.2} {:.2} {:.2} | {} | {:.2} | {} |",
            cell.clients,
            cell.senders,
            cell.octets,
            row.peer,
            row.rate() / 1e6,
            rate_over(row, Peer::Libzmq),
            rate_over(row, Peer::Tcp),
            row.cost(),
            of(Peer::Tcp).map_or("".into(), |tcp| format!("{:.2}", row.cost() / tcp.cost())),
            row.median(|figures| figures.peak_kib as f64) / 1024.0,
            row.median(|figures| figures.relay_cores),
            row.median(|figures| figures.load_cores),
            row.median(|figures| figures.other_cores),
            row.limit(),
            row.median(|figures| figures.fairness),
            if row.calm.is_empty() { format!("{} disturbed", row.disturbed.len()) } else { row.calm.len().to_string() },
        );
    }
}

pub fn csv_line(peer: Peer, cell: Cell, run: usize, figures: &Figures) -> String {
    let Figures { deliveries_per_second, relay_ns_per_delivery, relay_cores, load_cores, other_cores, .. } = figures;
    let Figures { peak_kib, fairness, complete, silence_ms, .. } = figures;
    format!(
        "{peer},{},{},{},{run},{deliveries_per_second:.0},{relay_ns_per_delivery:.3},{relay_cores:.3},{load_cores:.3},\
         {other_cores:.3},{peak_kib},{fairness:.3},{complete},{silence_ms:.1}",
        cell.clients, cell.senders, cell.octets
    )
}

//! What each layer costs by itself, without sockets of the system. `cargo bench --bench micro`.

mod support;

use std::time::Duration;

use criterion::{Criterion, Throughput};
use support::loads::{self, Cut, Load, TURN_OCTETS};

fn main() {
    // The loads are even, so little time is enough for each of many rows.
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    decode(&mut criterion);
    encode(&mut criterion);
    fan_out(&mut criterion);
    sockets(&mut criterion);
    criterion.final_summary();
}

/// One row. Its throughput is in messages, or in deliveries where one message goes to many.
fn row(criterion: &mut Criterion, group: &str, case: &str, mut load: Load) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(load.messages as u64));
    group.bench_function(case, |bencher| bencher.iter(|| load.turn()));
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    for octets in [16, 64, 1024, 65_536] {
        row(criterion, "decode", &format!("{octets}"), loads::decode(octets, false, Cut::Nowhere));
        row(criterion, "decode", &format!("{octets}-delimited"), loads::decode(octets, true, Cut::Nowhere));
        row(criterion, "decode", &format!("{octets}-in-segments"), loads::decode(octets, false, Cut::Segments));
        row(criterion, "decode", &format!("{octets}-in-halves"), loads::decode(octets, false, Cut::Messages));
    }
}

fn encode(criterion: &mut Criterion) {
    for octets in [16, 64, 1024, 65_536] {
        row(criterion, "encode", &format!("from-slice-{octets}"), loads::make_from_slice(octets));
        row(criterion, "encode", &format!("multipart-{octets}"), loads::make_multipart(octets));
        row(criterion, "encode", &format!("send-{octets}"), loads::connection_send(octets));
    }
    for octets in [65_536, 1 << 20] {
        row(criterion, "encode", &format!("builder-{octets}"), loads::make_with_builder(octets));
    }
}

/// Named as those of `versus`: clients, senders, octets.
fn fan_out(criterion: &mut Criterion) {
    for clients in [8, 64, 1000] {
        for octets in [16, 64, 1024] {
            row(criterion, "fan-out", &format!("{clients}x1x{octets}"), loads::fan_out(clients, 1, octets));
            row(criterion, "fan-out", &format!("{clients}xallx{octets}"), loads::fan_out(clients, clients, octets));
        }
    }
}

/// Named by peers and octets, the relay's as those of the fan-out.
fn sockets(criterion: &mut Criterion) {
    for peers in [1, 8] {
        for octets in [16, 64, 1024, 65_536, 1 << 20] {
            let load = loads::router_receive(peers, octets, TURN_OCTETS);
            row(criterion, "router-receive", &format!("{peers}x{octets}"), load);
        }
        for octets in [16, 64, 1024] {
            row(
                criterion,
                "dealer-send-octets",
                &format!("{peers}x{octets}"),
                loads::dealer_send_octets(peers, octets),
            );
        }
        for octets in [16, 64, 1024, 65_536] {
            row(criterion, "dealer-send", &format!("{peers}x{octets}"), loads::dealer_send(peers, octets));
        }
    }
    for octets in [16, 64, 1024] {
        row(criterion, "relay", &format!("64x1x{octets}"), loads::relay(64, 1, octets, TURN_OCTETS));
        row(criterion, "relay", &format!("64xallx{octets}"), loads::relay(64, 64, octets, TURN_OCTETS));
    }
}

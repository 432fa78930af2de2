//! Taking times, and printing what came out.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The latencies of many operations, in nanoseconds.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds make sense"))
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }
}

/// Does `operation` for each of `items` and notes how long each took: one look at the clock for each. Returns the
/// time for all.
pub(crate) fn each<T>(
    items: impl Iterator<Item = T>,
    latencies: &mut Latencies,
    mut operation: impl FnMut(T),
) -> Duration {
    let begin = Instant::now();
    let mut before = begin;
    for item in items {
        operation(item);
        let now = Instant::now();
        latencies.record(now - before);
        before = now;
    }
    before - begin
}

/// The average time of `count` calls of `operation`.
pub(crate) fn average_ns(count: u64, mut operation: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    for n in 0..count {
        operation(n);
    }
    begin.elapsed().as_nanos() as f64 / count as f64
}

/// Figures by name, printed as they come, and once more on one line if asked for.
pub(crate) struct Report {
    json: bool,
    figures: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, figures: Vec::new() }
    }

    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        let name = name.into();
        let decimals = if value < 100.0 { 2 } else { 0 };
        println!("{name:<44} {value:>14.decimals$} {unit}");
        self.figures.push((format!("{name}, {unit}"), value));
    }

    /// Time per operation of one thread, operations of all, and the latencies.
    pub(crate) fn operations(&mut self, name: &str, wall: Duration, threads: u64, latencies: &Latencies) {
        let count = latencies.0.len() as f64;
        self.figure(name, wall.as_nanos() as f64 * threads as f64 / count, "ns per operation and thread");
        self.figure(name, count / wall.as_secs_f64(), "operations per second");
        for (percentile, label) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (99.99, "p99.99")] {
            self.figure(format!("{name} {label}"), latencies.0.value_at_percentile(percentile) as f64, "ns");
        }
        self.figure(format!("{name} max"), latencies.0.max() as f64, "ns");
    }

    pub(crate) fn finish(self) {
        if self.json {
            let figures: Vec<_> =
                self.figures.iter().map(|(name, value)| format!("\"{name}\":{value:.3}")).collect();
            println!("{{{}}}", figures.join(","));
        }
    }
}

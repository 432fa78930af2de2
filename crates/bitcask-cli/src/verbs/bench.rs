//! `bench`: how fast this machine puts and gets, with percentiles.
//!
//! The times are those of single calls, as an embedder sees them: no network, no batches. Keys are scattered so that
//! neither puts nor gets profit from their order.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bitcask::{Bitcask, Durability, MergeOptions, OpenMode};
use data_encoding::HEXLOWER;
use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::{counted, per_second, with_writer};
use crate::cli::BenchArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;

const KEY_LEN: usize = 16;
/// Odd, so that multiplying by it maps indices to distinct keys; its bits are those of the golden ratio, which scatters
/// neighbours.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
const DEFAULT_KEYS: u64 = 1_000_000;
/// A put that waits for the disk takes a thousand times as long.
const DEFAULT_SYNCED_KEYS: u64 = 10_000;

#[derive(Serialize)]
struct Report {
    keys: u64,
    value_bytes: u64,
    threads: u16,
    durability: String,
    phases: Vec<Phase>,
    /// How long the sync after the puts took: what they left to it.
    sync_seconds: f64,
}

#[derive(Serialize)]
struct Phase {
    name: &'static str,
    ops: u64,
    seconds: f64,
    ops_per_second: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

/// What all threads share.
struct Work<'a> {
    store: &'a Bitcask,
    keys: u64,
    value_len: usize,
    threads: u16,
}

pub(super) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    refuse_data(&args.dir)?;
    let (keys, value_len) = sizes(args)?;
    // As a program that embeds the store has it.
    let options = args.writer.options(OpenMode::Create).merge(MergeOptions::new());
    let report = with_writer(&args.dir, options, |store| {
        let work = Work { store, keys, value_len, threads: args.threads };
        let put = work.run("put", put_all)?;
        let began = Instant::now();
        store.sync()?;
        let sync_seconds = began.elapsed().as_secs_f64();
        let get = work.run("get", get_all)?;
        Ok(Report {
            keys,
            value_bytes: args.value_size,
            threads: args.threads,
            durability: durability_name(args.writer.durability),
            phases: vec![put, get],
            sync_seconds,
        })
    })?;
    print_report(args.json.form(), &report, table(&report).lines())?;
    Ok(Exit::Done)
}

/// Nobody wants a million made-up keys among real ones.
fn refuse_data(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir).map(|mut names| names.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Incomplete(format!(
            "{} is not empty: bench fills a store with made-up keys, so give it a new directory",
            dir.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Failure::io("read", dir, source)),
    }
}

fn sizes(args: &BenchArgs) -> Result<(u64, usize), Failure> {
    let default = match args.writer.durability {
        Durability::Always => DEFAULT_SYNCED_KEYS.saturating_mul(u64::from(args.threads)),
        _ => DEFAULT_KEYS,
    };
    let value_len = usize::try_from(args.value_size)
        .ok()
        .filter(|_| args.value_size <= args.writer.max_value_size)
        .ok_or_else(|| Failure::Usage("--value-size is larger than --max-value-size".to_owned()))?;
    Ok((args.keys.unwrap_or(default), value_len))
}

impl Work<'_> {
    /// Lets all threads do their share and measures them together.
    fn run(
        &self,
        name: &'static str,
        share: fn(&Self, u16) -> Result<Histogram<u64>, Failure>,
    ) -> Result<Phase, Failure> {
        let began = Instant::now();
        let shares: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> =
                (0..self.threads).map(|thread| scope.spawn(move || share(self, thread))).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let elapsed = began.elapsed();
        let mut times = histogram()?;
        for share in shares {
            times.add(share?).map_err(measuring)?;
        }
        Ok(Phase {
            name,
            ops: times.len(),
            seconds: elapsed.as_secs_f64(),
            ops_per_second: per_second(times.len(), elapsed),
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            p999_ns: times.value_at_quantile(0.999),
            max_ns: times.max(),
        })
    }

    /// The indices that one thread works on: every n-th.
    fn share(&self, thread: u16) -> impl Iterator<Item = u64> + use<> {
        (u64::from(thread)..self.keys).step_by(usize::from(self.threads))
    }
}

fn put_all(work: &Work<'_>, thread: u16) -> Result<Histogram<u64>, Failure> {
    let mut times = histogram()?;
    let mut value = vec![0; work.value_len];
    // Bytes that do not compress.
    fastrand::Rng::with_seed(u64::from(thread)).fill(&mut value);
    for index in work.share(thread) {
        let key = key(index);
        stamp(&mut value, index);
        let began = Instant::now();
        work.store.put(key, &value)?;
        record(&mut times, began.elapsed());
    }
    Ok(times)
}

fn get_all(work: &Work<'_>, thread: u16) -> Result<Histogram<u64>, Failure> {
    let mut times = histogram()?;
    let mut random = fastrand::Rng::with_seed(u64::from(thread));
    for _ in work.share(thread) {
        let index = random.u64(0..work.keys);
        let key = key(index);
        let began = Instant::now();
        let value = work.store.get(key)?;
        record(&mut times, began.elapsed());
        if !value.is_some_and(|value| value.len() == work.value_len && is_stamped(&value, index)) {
            return Err(Failure::Incomplete(format!("the store lost or changed the value of key {index}")));
        }
    }
    Ok(times)
}

fn key(index: u64) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    HEXLOWER.encode_mut(&index.wrapping_mul(SCATTER).to_be_bytes(), &mut key);
    key
}

/// Marks the value as that of a key, where it is long enough.
fn stamp(value: &mut [u8], index: u64) {
    if let Some(front) = value.first_chunk_mut() {
        *front = index.to_le_bytes();
    }
}

fn is_stamped(value: &[u8], index: u64) -> bool {
    value.first_chunk().is_none_or(|front| *front == index.to_le_bytes())
}

/// From a nanosecond to an hour, to three digits.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).map_err(measuring)
}

fn record(times: &mut Histogram<u64>, elapsed: Duration) {
    times.saturating_record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
}

fn measuring(error: impl std::fmt::Display) -> Failure {
    Failure::Incomplete(format!("cannot measure times: {error}"))
}

fn durability_name(durability: Durability) -> String {
    match durability {
        Durability::Always => "always".to_owned(),
        Durability::Interval(interval) => format!("interval:{}", humantime::format_duration(interval)),
        Durability::Os => "os".to_owned(),
    }
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{} of {KEY_LEN} bytes, values of {} bytes, threads: {}, durability: {}\n\n{:<6} {:>12} {:>12} {:>12} {:>12} {:>12}\n",
        counted(report.keys, "key", "keys"),
        report.value_bytes,
        report.threads,
        report.durability,
        "",
        "OPS/S",
        "P50",
        "P99",
        "P99.9",
        "MAX"
    );
    for phase in &report.phases {
        let times = [phase.p50_ns, phase.p99_ns, phase.p999_ns, phase.max_ns].map(shown);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<6} {:>12} {:>12} {:>12} {:>12} {:>12}",
            phase.name,
            HumanCount(phase.ops_per_second).to_string(),
            times[0],
            times[1],
            times[2],
            times[3]
        );
    }
    let _ = writeln!(
        text,
        "\nsync after the puts: {}",
        shown_duration(Duration::from_secs_f64(report.sync_seconds))
    );
    text
}

fn shown(nanoseconds: u64) -> String {
    shown_duration(Duration::from_nanos(nanoseconds))
}

fn shown_duration(duration: Duration) -> String {
    format!("{duration:.1?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct() {
        let keys: std::collections::HashSet<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn a_value_too_short_for_a_stamp_has_none() {
        let mut value = [1, 2, 3];
        stamp(&mut value, u64::MAX);
        assert_eq!(value, [1, 2, 3]);
        assert!(is_stamped(&value, 7));
    }
}

//! A large merge under load: how long it takes, what space it needs besides, and what puts and gets feel of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitcask::{Bitcask, MergeOptions, MergePolicy};

use crate::arguments::Arguments;
use crate::measure::{self, Latencies, Report};
use crate::workload::{self, Values};

const MIB: f64 = (1 << 20) as f64;
/// What a record takes besides its value: the fixed part and the key.
const RECORD_FRONT: u64 = 40;

pub(crate) fn run(arguments: &mut Arguments) {
    let bytes = arguments.number("mib", 5_120_u64) << 20;
    let dead_percent = arguments.number("dead", 80_u64).min(99);
    let rate = arguments.number("rate-mib", 0_u64) << 20;
    let load = Load {
        per_second: arguments.number("load", 20_000_u32).max(1),
        values: Values::new(arguments.number("value-size", 1_000)),
        keys: 0,
        bytes_put: AtomicU64::new(0),
    };
    let seconds = arguments.number("seconds", 20_u64);
    let directory = arguments.directory();
    let path = directory.path().join("store");
    let mut report = Report::new(arguments.has("json"));

    let merge = MergeOptions::new().policy(MergePolicy::Never).rate(rate);
    let db = bitcask::open(&path, arguments.options().merge(merge)).expect("a store can be made");
    let load = Load { keys: fill(&db, bytes, dead_percent, &load.values), ..load };
    let status = db.status();
    println!("{} keys, {:.0} MiB, {:?}", status.keys, status.data_bytes as f64 / MIB, status.io);
    report.figure("dead before", 100.0 * status.dead_bytes as f64 / status.data_bytes as f64, "%");

    let alone = load.run_during(&db, || thread::sleep(Duration::from_secs(seconds)));
    alone.report("without merge", &mut report);
    let mut took = Duration::ZERO;
    let mut extra = 0;
    let beside = load.run_during(&db, || {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| most_space_besides(&path, &load, &done));
            let begin = Instant::now();
            let merged = db.merge().expect("the merge works");
            took = begin.elapsed();
            done.store(true, Ordering::Relaxed);
            extra = watch.join().expect("the watch ends");
            let moved = (merged.bytes_before + merged.bytes_after) as f64 / MIB;
            report.figure("merge", took.as_secs_f64(), "s");
            report.figure("merge, files", merged.inputs as f64, "inputs");
            report.figure("merge, read and written", moved / took.as_secs_f64(), "MiB per second");
        });
    });
    if rate > 0 {
        report.figure("merge, rate asked for", rate as f64 / MIB, "MiB per second");
    }
    report.figure("merge, most space besides", extra as f64 / MIB, "MiB");
    beside.report("during merge", &mut report);
    let status = db.status();
    report.figure("data after", status.data_bytes as f64 / MIB, "MiB");
    report.figure("dead after", 100.0 * status.dead_bytes as f64 / status.data_bytes as f64, "%");
    report.finish();
}

/// Writes keys so often that the share of dead bytes is `dead_percent`; gives their count.
fn fill(db: &Bitcask, bytes: u64, dead_percent: u64, values: &Values) -> u32 {
    let records = bytes / (values.get(0).len() as u64 + RECORD_FRONT);
    let keys = (records * (100 - dead_percent) / 100).max(1);
    let count = u32::try_from(keys).expect("fewer than 2^32 keys are asked for");
    for round in 0..records / keys {
        for number in workload::shuffled(count, round) {
            db.put(workload::key(number), values.get(number)).expect("a put works");
        }
    }
    count
}

/// One thread that puts and one that gets, each at a steady pace.
struct Load {
    per_second: u32,
    keys: u32,
    values: Values,
    bytes_put: AtomicU64,
}

struct Felt {
    puts: (Duration, Latencies),
    gets: (Duration, Latencies),
}

impl Load {
    fn run_during(&self, db: &Bitcask, work: impl FnOnce()) -> Felt {
        let done = AtomicBool::new(false);
        let seed = AtomicU64::new(100);
        let at_pace = |operation: &(dyn Fn(u32) + Sync)| {
            let mut latencies = Latencies::new();
            let begin = Instant::now();
            let mut count = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let order = workload::shuffled(self.keys.min(100_000), seed.fetch_add(1, Ordering::Relaxed));
                for piece in order.chunks(20) {
                    measure::each(piece.iter(), &mut latencies, |&number| operation(number));
                    count += u32::try_from(piece.len()).unwrap_or(0);
                    let due = Duration::from_secs(1) / self.per_second * count;
                    thread::sleep(due.saturating_sub(begin.elapsed()));
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
            (begin.elapsed(), latencies)
        };
        thread::scope(|scope| {
            let puts = scope.spawn(|| {
                at_pace(&|number| {
                    let value = self.values.get(number);
                    db.put(workload::key(number), value).expect("a put works");
                    self.bytes_put.fetch_add(value.len() as u64 + RECORD_FRONT, Ordering::Relaxed);
                })
            });
            let gets = scope.spawn(|| {
                at_pace(&|number| {
                    drop(db.get(workload::key(number)).expect("a get works").expect("it is there"))
                })
            });
            work();
            done.store(true, Ordering::Relaxed);
            let joined = "no thread panicked";
            Felt { puts: puts.join().expect(joined), gets: gets.join().expect(joined) }
        })
    }
}

impl Felt {
    fn report(&self, when: &str, report: &mut Report) {
        for (name, (wall, latencies)) in [("put", &self.puts), ("get", &self.gets)] {
            report.operations(&format!("{name} {when}"), *wall, 1, latencies);
        }
    }
}

/// How much longer all data files together ever were than at the beginning, but for what was put meanwhile.
fn most_space_besides(path: &Path, load: &Load, done: &AtomicBool) -> u64 {
    let begin = (data_len(path), load.bytes_put.load(Ordering::Relaxed));
    let mut most = 0;
    while !done.load(Ordering::Relaxed) {
        let put = load.bytes_put.load(Ordering::Relaxed) - begin.1;
        most = most.max(data_len(path).saturating_sub(begin.0 + put));
        thread::sleep(Duration::from_millis(20));
    }
    most
}

fn data_len(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_data = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".data");
    entries.filter(is_data).filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

//! Puts that wait for the disk, and how many threads share a sync.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bitcask::Durability;

use crate::arguments::Arguments;
use crate::measure::{self, Latencies, Report};
use crate::positioned;
use crate::workload::{self, Values};

pub(crate) fn run(arguments: &mut Arguments) {
    let seconds = Duration::from_secs_f64(arguments.number("seconds", 3.0_f64).clamp(0.1, 600.0));
    let values = Values::new(100);
    let directory = arguments.directory();
    let mut report = Report::new(arguments.has("json"));
    floor(directory.path(), seconds.min(Duration::from_secs(1)), &mut report);
    for threads in arguments.text("threads").unwrap_or("1,8,64").split(',') {
        let threads: u64 = threads.parse().expect("--threads is a list of numbers");
        let options = arguments.options().durability(Durability::Always);
        let path = directory.path().join(threads.to_string());
        let db = bitcask::open(path, options).expect("a store can be made");
        let next = AtomicU32::new(0);
        let begin = Instant::now();
        let work = || {
            let mut latencies = Latencies::new();
            let numbers = std::iter::from_fn(|| {
                (begin.elapsed() < seconds).then(|| next.fetch_add(1, Ordering::Relaxed))
            });
            measure::each(numbers, &mut latencies, |number| {
                db.put(workload::key(number), values.get(number)).expect("a put works");
            });
            latencies
        };
        let latencies = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Latencies::new();
            for thread in running {
                all.add(&thread.join().expect("no thread panicked"));
            }
            all
        });
        report.operations(&format!("synced put, {threads} threads"), begin.elapsed(), threads, &latencies);
        db.close().expect("the store closes");
    }
    println!(
        "to count the syncs: strace -f -c -e trace=fdatasync,fsync TARGET/release/deps/figures-HASH sync ..."
    );
    report.finish();
}

/// What one write and one sync cost in a file whose space is there.
fn floor(directory: &Path, time: Duration, report: &mut Report) {
    const RECORD_LEN: usize = 140;
    const FILE_LEN: usize = 16 << 20;
    let path = directory.join("ordinary");
    let file = OpenOptions::new().create_new(true).write(true).open(path).expect("a file can be made");
    positioned::write(&file, &vec![1; FILE_LEN], 0).and_then(|()| file.sync_all()).expect("a write works");
    let record = [7; RECORD_LEN];
    let begin = Instant::now();
    let offsets = (0..FILE_LEN / RECORD_LEN).map(|number| (number * RECORD_LEN) as u64);
    let offsets = offsets.take_while(|_| begin.elapsed() < time);
    let mut latencies = Latencies::new();
    let wall = measure::each(offsets, &mut latencies, |offset| {
        positioned::write(&file, &record, offset).and_then(|()| file.sync_data()).expect("a sync works");
    });
    report.operations("floor: write and fdatasync", wall, 1, &latencies);
}

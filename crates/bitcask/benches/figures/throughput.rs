//! Every key put once, then got once, each time in another random order.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use bitcask::Bitcask;

use crate::arguments::Arguments;
use crate::floors;
use crate::measure::{self, Latencies, Report};
use crate::workload::{self, Values};

pub(crate) fn run(arguments: &mut Arguments) {
    let count = arguments.number("keys", 5_000_000_u32);
    let threads = arguments.number("threads", 1_usize).max(1);
    let values = Values::new(arguments.number("value-size", 100));
    let directory = arguments.directory();
    let mut report = Report::new(arguments.has("json"));

    let db = bitcask::open(directory.path().join("store"), arguments.options()).expect("a store can be made");
    println!("{count} keys, {threads} threads, {:?}", db.status().io);
    let order = workload::shuffled(count, 1);
    let put = |number: u32| db.put(workload::key(number), values.get(number)).expect("a put works");
    let (wall, latencies) = by_all(threads, &order, put);
    report.operations("put", wall, threads as u64, &latencies);

    let order = workload::shuffled(count, 2);
    let get = |number: u32| {
        let value = db.get(workload::key(number)).expect("a get works");
        assert_eq!(value.as_deref(), Some(values.get(number)));
    };
    let (wall, latencies) = by_all(threads, &order, get);
    report.operations("get", wall, threads as u64, &latencies);
    close(&db, &mut report);
    drop(db);

    floors::measure(directory.path(), count, &values, &mut report);
    report.finish();
}

fn close(db: &Bitcask, report: &mut Report) {
    let begin = Instant::now();
    db.close().expect("the store closes");
    report.figure("close", begin.elapsed().as_secs_f64() * 1e3, "ms");
}

/// Divides `order` among threads. Returns the time until the last was ready.
fn by_all(threads: usize, order: &[u32], operation: impl Fn(u32) + Sync) -> (Duration, Latencies) {
    let start = Barrier::new(threads);
    let (start, operation) = (&start, &operation);
    let work = move |part: &[u32]| {
        let mut latencies = Latencies::new();
        start.wait();
        let wall = measure::each(part.iter(), &mut latencies, |&number| operation(number));
        (wall, latencies)
    };
    let parts = order.chunks(order.len().div_ceil(threads).max(1));
    std::thread::scope(|scope| {
        let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let mut all = (Duration::ZERO, Latencies::new());
        for thread in running {
            let (wall, latencies) = thread.join().expect("no thread panicked");
            all.0 = all.0.max(wall);
            all.1.add(&latencies);
        }
        all
    })
}

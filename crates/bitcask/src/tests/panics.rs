//! A panic at the n-th call of the file system, for every n, in whichever thread makes it: the store is poisoned where
//! something was left half-way, nobody waits for ever, reads are right, and the next open finds what was acknowledged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bitcask_testing::{Sweep, Tier};

use super::ledger::{self, Ledger, STORE, State, Write};
use super::ways::Way;
use crate::options::Maintenance;
use crate::vfs::sim::{CrashModel, Failure, OpKind, Random, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, LogFormat, MergeOptions, Options, Result};

const KEYS: usize = 4;
const STEPS: usize = 40;
/// Far more than a case takes on any machine. Who is not done by then waits for ever.
const HANG: Duration = Duration::from_secs(120);

/// What became of something that may panic.
enum Done<T> {
    Returned(Result<T>),
    Panicked,
}

fn watched<T>(act: impl FnOnce() -> Result<T>) -> Done<T> {
    catch_unwind(AssertUnwindSafe(act)).map_or(Done::Panicked, Done::Returned)
}

/// One who uses the store. Nobody else writes the keys that begin with its name.
struct Caller<'a> {
    name: usize,
    db: &'a Bitcask,
    durability: Durability,
    random: Random,
    ledger: Ledger,
    is_in_doubt: bool,
}

fn keys(caller: usize) -> impl Iterator<Item = String> {
    (0..KEYS).map(move |n| format!("{caller}-{n}"))
}

impl Caller<'_> {
    fn some_key(&mut self) -> String {
        format!("{}-{}", self.name, self.random.index(KEYS))
    }

    fn live(mut self) -> Ledger {
        for n in 0..STEPS {
            let key = self.some_key();
            let value = format!("{key} at {n} {}", "x".repeat(self.random.index(40)));
            match n % 8 {
                2 => self.write(vec![(key, None)]),
                3 => {
                    let mut batch: Vec<Write> = keys(self.name).map(|key| (key, None)).collect();
                    batch[self.random.index(KEYS)].1 = Some(value.clone());
                    batch[self.random.index(KEYS)].1 = Some(value);
                    self.write(batch);
                }
                6 if self.name == 0 => self.merge(),
                6 => self.iterate(),
                7 => self.sync(),
                _ => self.write(vec![(key, Some(value))]),
            }
            self.get();
        }
        self.ledger
    }

    fn is_poisoned(&self) -> bool {
        self.db.status().poisoned.is_some()
    }

    fn write(&mut self, writes: Vec<Write>) {
        let db = self.db;
        let done = watched(|| match &writes[..] {
            [(key, Some(value))] => db.put(key, value),
            [(key, None)] => db.delete(key).map(drop),
            writes => {
                let mut batch = db.batch();
                for (key, value) in writes {
                    match value {
                        Some(value) => batch.put(key, value),
                        None => batch.delete(key),
                    };
                }
                batch.commit().map(|written| assert!(written))
            }
        });
        match done {
            Done::Returned(Ok(())) => {
                assert!(!self.is_in_doubt, "a poisoned store acknowledges nothing");
                self.ledger.acknowledged_all(writes);
                self.all_durable_if(Durability::Always);
            }
            Done::Returned(Err(error)) => {
                assert!(error.is_poisoned(), "{error}");
                self.doubt(writes);
            }
            Done::Panicked if self.is_poisoned() => self.doubt(writes),
            Done::Panicked => self.settle(writes),
        }
    }

    /// A write has failed that may be in the log. Those after it never are.
    fn doubt(&mut self, writes: Vec<Write>) {
        if !self.is_in_doubt {
            self.ledger.in_doubt(writes);
            self.is_in_doubt = true;
        }
    }

    /// The store goes on after a panic in a write: it was written, or not, and everybody can see which.
    fn settle(&mut self, writes: Vec<Write>) {
        let found = keys(self.name).filter_map(|key| {
            let value = self.db.get(&key).unwrap();
            value.map(|value| (key, String::from_utf8(value.into_vec()).unwrap()))
        });
        let found: State = found.collect();
        if found != self.ledger.state() {
            self.ledger.acknowledged_all(writes);
            assert_eq!(found, self.ledger.state(), "a write is there or not");
            self.all_durable_if(Durability::Always);
        }
    }

    fn all_durable_if(&mut self, durability: Durability) {
        if self.durability == durability {
            self.ledger.all_durable();
        }
    }

    fn merge(&mut self) {
        match watched(|| self.db.merge()) {
            Done::Returned(Ok(_)) => {}
            Done::Returned(Err(error)) => assert!(error.is_poisoned(), "{error}"),
            Done::Panicked => assert!(self.is_poisoned(), "a panic in a merge poisons"),
        }
    }

    fn sync(&mut self) {
        match watched(|| self.db.sync()) {
            Done::Returned(Ok(())) => {
                assert!(!self.is_in_doubt, "a poisoned store acknowledges nothing");
                self.ledger.all_durable();
            }
            Done::Returned(Err(error)) => assert!(error.is_poisoned(), "{error}"),
            Done::Panicked => assert!(self.is_poisoned(), "a panic in a sync poisons"),
        }
    }

    fn get(&mut self) {
        let key = self.some_key();
        match watched(|| self.db.get(&key)) {
            Done::Returned(Ok(value)) => {
                let text = value.map(|value| String::from_utf8(value.into_vec()).unwrap());
                assert!(self.ledger.allows(&key, text.as_deref()), "{key} has {text:?}");
            }
            Done::Returned(Err(error)) => self.judge_read_error(&error),
            Done::Panicked => {}
        }
    }

    /// Only a read that waits for a sync which never comes may fail.
    fn judge_read_error(&self, error: &crate::Error) {
        assert!(error.is_poisoned() && self.durability == Durability::Always, "{error}");
    }

    fn iterate(&mut self) {
        let prefix = format!("{}-", self.name);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = watched(|| {
            self.db
                .prefix(prefix)
                .map(|entry| entry.map(|(key, value)| (text(&key), text(&value))))
                .collect::<Result<State>>()
        });
        match all {
            Done::Returned(Ok(found)) => assert!(self.ledger.is_state(&found), "{found:?}"),
            Done::Returned(Err(error)) => self.judge_read_error(&error),
            Done::Panicked => {}
        }
    }
}

/// A way to use a store.
#[derive(Clone, Copy)]
struct Usage {
    way: Way,
    durability: Durability,
    maintenance: Maintenance,
    callers: usize,
}

impl Usage {
    /// The first ones do the same every time; the others do not.
    fn all() -> Vec<Self> {
        let often = Durability::Interval(Duration::from_micros(50));
        let mut all = Vec::new();
        for (maintenance, callers) in [(Maintenance::Callers, 1), (Maintenance::Threads, 2)] {
            for (way, durability) in
                [(Way::MAPPED, Durability::Always), (Way::SYSCALL, often), (Way::JSON, Durability::Always)]
            {
                all.push(Self { way, durability, maintenance, callers });
            }
        }
        all
    }

    fn options(self) -> Options {
        let merge = MergeOptions::new().fragmentation_trigger(30).fragmentation_threshold(20);
        let file_size = if self.way.format == LogFormat::Binary { 400 } else { 1_100 };
        let options = self.way.options().max_file_size(file_size).durability(self.durability);
        options.maintenance(self.maintenance).merge(merge)
    }

    fn open(self, disk: &SimDisk) -> Result<Bitcask> {
        let clock = std::sync::Arc::new(SimClock::new(1_000_000));
        Bitcask::open_on(&*disk.vfs(), clock, STORE.as_ref(), self.options())
    }
}

/// What became of a store: in which thread it panicked, if any did, and whether that poisoned it.
struct Fate {
    thread: Option<String>,
    poisoned: bool,
    operations: u64,
}

/// Which calls may panic.
type Which = fn(OpKind) -> bool;

/// The threads of a store that use the disk without being asked.
const THREADS: [(&str, Which); 4] = [
    ("bitcask-sync", |_| is_here("bitcask-sync")),
    ("bitcask-prepare", |_| is_here("bitcask-prepare")),
    ("bitcask-seal", |_| is_here("bitcask-seal")),
    ("bitcask-merge", |_| is_here("bitcask-merge")),
];

fn is_here(name: &str) -> bool {
    thread::current().name() == Some(name)
}

/// The first call that panics: from this number on, and in some thread.
#[derive(Clone, Copy)]
struct Panics {
    from: u64,
    only: Which,
}

/// The life of a store in which one call panics.
fn live(usage: Usage, panics: Option<Panics>, seed: u64) -> Fate {
    let disk = usage.way.disk();
    if let Some(Panics { from, only }) = panics {
        disk.inject(from, only, Failure::Panic, Repeat::Once);
    }
    let db = match watched(|| usage.open(&disk)) {
        Done::Returned(db) => db.unwrap(),
        // Nothing is left of that, and the next open goes well.
        Done::Panicked => usage.open(&disk).unwrap(),
    };
    let mut ledgers: Vec<Ledger> = thread::scope(|scope| {
        let callers = (0..usage.callers).map(|name| {
            let (random, ledger) = (Random::new(seed.wrapping_add(name as u64)), Ledger::default());
            let caller =
                Caller { name, db: &db, durability: usage.durability, random, ledger, is_in_doubt: false };
            thread::Builder::new().name("caller".to_owned()).spawn_scoped(scope, || caller.live()).unwrap()
        });
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|caller| caller.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let closed = watched(|| db.close());
    let operations = disk.operations();
    disk.clear_faults();
    let poisoned = db.status().poisoned.is_some();
    match closed {
        Done::Returned(Ok(())) => {
            assert!(!poisoned, "a poisoned store acknowledges nothing");
            ledgers.iter_mut().for_each(Ledger::all_durable);
        }
        Done::Returned(Err(error)) => assert!(poisoned && error.is_poisoned(), "{error}"),
        Done::Panicked => assert!(poisoned, "a panic in a close poisons"),
    }
    let thread = disk.fault_fired_in();
    if thread.as_ref().is_some_and(|name| name.starts_with("bitcask-")) {
        assert!(poisoned, "a panic in {thread:?} poisons");
    }
    drop(db);
    check_left(&disk.crash(seed, CrashModel::Clean), usage, &ledgers, Ledger::settle_after_crash);
    check_left(&disk, usage, &ledgers, Ledger::settle_after_exit);
    Fate { thread, poisoned, operations }
}

/// Opens what is left, and judges what each caller finds there.
fn check_left(disk: &SimDisk, usage: Usage, ledgers: &[Ledger], settle: fn(&mut Ledger, &State)) {
    let db = ledger::open(disk, &usage.options()).unwrap_or_else(|error| panic!("it does not open: {error}"));
    let all = ledger::read_all(&db, (0..ledgers.len()).flat_map(keys)).unwrap();
    for (name, ledger) in ledgers.iter().enumerate() {
        let mut found = all.clone();
        found.retain(|key, _| key.starts_with(&format!("{name}-")));
        settle(&mut ledger.clone(), &found);
    }
    super::harness::check_sound(disk);
}

/// The same in a thread of its own, which must come to an end.
fn live_or_hang(usage: Usage, panics: Option<Panics>, seed: u64) -> Fate {
    let (done, end) = mpsc::channel();
    let life = move || done.send(catch_unwind(|| live(usage, panics, seed)));
    let case = thread::Builder::new().name("case".to_owned()).spawn(life).unwrap();
    match end.recv_timeout(HANG) {
        Ok(fate) => {
            case.join().unwrap().unwrap();
            fate.unwrap_or_else(|panic| resume_unwind(panic))
        }
        Err(_) => panic!("the store hangs"),
    }
}

/// A thread that panicked left its work undone and nobody said so: an interval store was never synced again, a merge that
/// had replaced the manifest stopped in the middle. Who panicked under the writer lock poisoned the store, but whoever waited
/// for the lock at that moment went on with what was left.
#[test]
fn wherever_a_thread_panics_the_store_is_poisoned_or_goes_on_and_nobody_hangs() {
    let sweep = Sweep::new("wherever_a_thread_panics_the_store_is_poisoned_or_goes_on_and_nobody_hangs");
    let mut fates: BTreeMap<(Option<String>, bool), u64> = BTreeMap::new();
    let mut case = |name: String, usage, panics| {
        if let Some(fate) = sweep.case(name, |seed| live_or_hang(usage, Some(panics), seed)) {
            *fates.entry((fate.thread, fate.poisoned)).or_default() += 1;
        }
    };
    for (number, usage) in (0..).zip(Usage::all()) {
        let seed = sweep.seed_of(number);
        let calls = live_or_hang(usage, None, seed).operations;
        let every = |step: u64| (seed % step..calls).step_by(usize::try_from(step).unwrap());
        for from in every(Tier::pick(if usage.callers == 1 { 7 } else { 17 }, 1, 1)) {
            case(format!("{number}-{from}"), usage, Panics { from, only: |_| true });
        }
        if usage.maintenance == Maintenance::Callers {
            continue;
        }
        for (thread, only) in THREADS {
            for from in every(Tier::pick(61, 5, 1)) {
                case(format!("{number}-{from}-{thread}"), usage, Panics { from, only });
            }
        }
    }
    for ((thread, poisoned), count) in &fates {
        println!("{count} in {thread:?}, poisoned: {poisoned}");
    }
    let threads = ["caller", "case"].into_iter().chain(THREADS.map(|(name, _)| name));
    for name in threads.filter(|_| sweep.is_whole()) {
        assert!(fates.contains_key(&(Some(name.to_owned()), true)), "none in {name}");
    }
    sweep.finish(Tier::pick(900, 8_000, 20_000));
}

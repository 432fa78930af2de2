//! The n-th call fails, for every n: the operation that meets the failure says so, nothing else is harmed, and the
//! next open shows every acknowledged write.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcask_testing::{Sweep, Tier};

use super::ledger::{self, Ledger};
use super::ways::Way;
use crate::vfs::sim::{Calls, CrashModel, DirOrder, Failure, OpKind, Random, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, LogFormat, Options, PutOptions, Update};

const KEYS: usize = 10;
const WRITES: usize = 60;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("k{n}"))
}

const DURABILITIES: [Durability; 3] =
    [Durability::Always, Durability::Interval(Duration::from_secs(1)), Durability::Os];

/// EIO, ENOSPC, EINTR, EMFILE, EACCES, EROFS, EDQUOT as Linux numbers them, and a bad page under a map.
const FAILURES: [Failure; 8] = [
    Failure::Os(5),
    Failure::Os(28),
    Failure::Os(4),
    Failure::Os(24),
    Failure::Os(13),
    Failure::Os(30),
    Failure::Os(122),
    Failure::Map,
];
const EINTR: Failure = Failure::Os(4);

/// One run: which call fails, how, and in which way of working.
#[derive(Clone, Copy)]
struct Case {
    way: usize,
    durability: usize,
    failure: usize,
    repeat: Repeat,
    number: u64,
    /// Decides what is done to the store.
    chance: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repeat = u8::from(self.repeat == Repeat::Forever);
        write!(f, "{}-{}-{}-{repeat}-{}", self.way, self.durability, self.failure, self.number)
    }
}

impl Case {
    /// One for each way of I/O and each durability of which a sweep wants cases; all do the same to their stores.
    fn bases(sweep: &Sweep) -> impl Iterator<Item = Self> {
        let ways = (0..Way::ALL.len()).filter(|&way| sweep.wants(way as u64));
        let pairs = ways.flat_map(|way| (0..DURABILITIES.len()).map(move |durability| (way, durability)));
        pairs.map(|(way, durability)| Self {
            way,
            durability,
            failure: 0,
            repeat: Repeat::Once,
            number: 0,
            chance: sweep.seed_of(0),
        })
    }

    fn way(&self) -> Way {
        Way::ALL[self.way]
    }

    fn options(&self) -> Options {
        // A few records in each file, whatever their form.
        let file_size = if self.way().format == LogFormat::Binary { 600 } else { 1800 };
        self.way().options().max_file_size(file_size).durability(DURABILITIES[self.durability])
    }

    /// With every commit the durabilities, and the ways that take turns, share the calls.
    fn has_turn(&self, number: u64) -> bool {
        let count = DURABILITIES.len() as u64;
        let has_turn = number % count == self.durability as u64 && self.way().has_turn(number / count);
        Tier::pick(has_turn, true, true)
    }
}

/// How a call may fail. An interruption that never ends is no fault that a loop could leave.
fn failures() -> Vec<(usize, Repeat)> {
    (0..FAILURES.len())
        .flat_map(|failure| [(failure, Repeat::Once), (failure, Repeat::Forever)])
        .filter(|&(failure, repeat)| FAILURES[failure] != EINTR || repeat == Repeat::Once)
        .collect()
}

/// A store at work, and what is known of it.
struct Run<'a> {
    disk: &'a SimDisk,
    options: Options,
    clock: Arc<SimClock>,
    ledger: Ledger,
    db: Option<Bitcask>,
    random: Random,
}

impl<'a> Run<'a> {
    fn new(disk: &'a SimDisk, case: &Case) -> Self {
        Self {
            disk,
            options: case.options(),
            clock: Arc::new(SimClock::new(1_000_000)),
            ledger: Ledger::default(),
            db: None,
            random: Random::new(case.chance),
        }
    }

    /// Opens, writes, reads, closes, opens again, and so on. Where an open fails the rest is left out.
    fn workload(&mut self) {
        if !self.open() {
            return;
        }
        for n in 0..WRITES {
            self.step(n);
        }
        self.read_all();
        self.close();
        if !self.open() {
            return;
        }
        self.read_all();
        for n in WRITES..WRITES + 6 {
            self.step(n);
        }
        self.read_all();
        self.close();
    }

    /// Does something, and tells whether a fault hit it.
    fn watched<T>(&self, act: impl FnOnce(&Bitcask) -> Result<T, Error>) -> (Result<T, Error>, bool) {
        let before = self.disk.faults_fired();
        let result = act(self.db.as_ref().expect("the store is open"));
        (result, self.disk.faults_fired() > before)
    }

    fn poisoned(&self) -> Option<String> {
        self.db.as_ref().and_then(|db| db.status().poisoned)
    }

    fn open(&mut self) -> bool {
        self.db = None;
        let before = self.disk.faults_fired();
        match ledger::open_at(self.disk, &self.options, &self.clock) {
            Ok(db) => self.db = Some(db),
            Err(error) => {
                assert!(self.disk.faults_fired() > before, "open fails without a fault: {error}");
                assert!(!error.is_corruption(), "a failed call is not corruption: {error}");
                return false;
            }
        }
        // What a failed close left open is decided by what the next open finds.
        let found = self.watched(|db| ledger::read_all(db, keys())).0;
        match found {
            Ok(found) => {
                self.ledger.settle_after_exit(&found);
                true
            }
            Err(error) => {
                assert!(self.disk.faults_fired() > before, "{error}");
                false
            }
        }
    }

    fn step(&mut self, n: usize) {
        self.clock.advance(Duration::from_millis(300));
        let key = format!("k{}", self.random.index(KEYS));
        if n % 13 == 12 {
            self.sync();
        } else if n % 4 == 3 {
            self.delete(&key);
        } else if n % 11 == 10 {
            self.expire(&key);
        } else if n % 9 == 8 {
            self.append(&key, n);
        } else if n % 7 == 6 {
            self.batch(n);
        } else {
            let value = format!("{key} at {n} {}", "x".repeat(self.random.index(60)));
            // So far ahead that the value does not expire: what matters here is that its record has to be read.
            let lifetime = Duration::from_secs(1 << 30);
            let options = PutOptions::new();
            self.put(&key, &value, if n.is_multiple_of(3) { options.expires_in(lifetime) } else { options });
        }
        let key = format!("k{}", self.random.index(KEYS));
        self.get(&key);
    }

    fn put(&mut self, key: &str, value: &str, options: PutOptions) {
        let was_poisoned = self.poisoned();
        let (result, hit) = self.watched(|db| db.put_with(key, value, &options));
        self.written(key, Some(value), was_poisoned, result.map(drop), hit);
    }

    /// Several writes at once, some of them long.
    fn batch(&mut self, n: usize) {
        let value = |key: &str| format!("{key} in the batch {n} {}", "b".repeat(n * 37 % 400));
        let first = self.random.index(KEYS);
        let mut writes: Vec<ledger::Write> = (0..2 + self.random.index(3))
            .map(|at| format!("k{}", (first + at) % KEYS))
            .map(|key| (key.clone(), Some(value(&key))))
            .collect();
        writes[1].1 = None;
        let was_poisoned = self.poisoned();
        let (result, hit) = self.watched(|db| {
            let mut batch = db.batch();
            for (key, value) in &writes {
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                };
            }
            batch.commit()
        });
        self.written_all(writes, was_poisoned, result.map(|written| assert!(written)), hit);
    }

    /// The value and something more, if there is one.
    fn append(&mut self, key: &str, n: usize) {
        let value = self.ledger.state().get(key).map(|value| format!("{value} and {n}"));
        let was_poisoned = self.poisoned();
        let (result, hit) = self.watched(|db| {
            db.update(key, |old| match old {
                Some(old) => Update::Put([old, format!(" and {n}").as_bytes()].concat()),
                None => Update::Keep,
            })
        });
        self.written_if_there(key, value, was_poisoned, result, hit);
    }

    /// The same value once more, with another expiry.
    fn expire(&mut self, key: &str) {
        let value = self.ledger.state().get(key).cloned();
        let was_poisoned = self.poisoned();
        let (result, hit) = self.watched(|db| db.expire_in(key, Duration::from_secs(1 << 31)));
        self.written_if_there(key, value, was_poisoned, result, hit);
    }

    /// Judges the outcome of a write that gives the key `value`, or does nothing when the key is absent.
    fn written_if_there(
        &mut self,
        key: &str,
        value: Option<String>,
        was_poisoned: Option<String>,
        result: Result<bool, Error>,
        hit: bool,
    ) {
        match (result, value) {
            (Ok(was_there), value) if was_poisoned.is_none() && value.is_none() => assert!(!was_there),
            (result, Some(value)) => {
                assert!(!matches!(result, Ok(false)), "{key} is there");
                self.written(key, Some(&value), was_poisoned, result.map(drop), hit);
            }
            (result, None) => assert!(hit || was_poisoned.is_some(), "{result:?}"),
        }
    }

    fn delete(&mut self, key: &str) {
        let was_there = self.ledger.state().contains_key(key);
        let was_poisoned = self.poisoned();
        let (result, hit) = self.watched(|db| db.delete(key));
        if let Ok(found) = result {
            assert_eq!(found, was_there, "delete of {key}");
            if !found {
                return;
            }
        }
        if was_there || was_poisoned.is_some() {
            self.written(key, None, was_poisoned, result.map(drop), hit);
        }
    }

    /// Judges the outcome of a write.
    fn written(
        &mut self,
        key: &str,
        value: Option<&str>,
        was_poisoned: Option<String>,
        result: Result<(), Error>,
        hit: bool,
    ) {
        let write = (key.to_owned(), value.map(str::to_owned));
        self.written_all(vec![write], was_poisoned, result, hit);
    }

    /// Judges the outcome of writes that happen together.
    fn written_all(
        &mut self,
        writes: Vec<ledger::Write>,
        was_poisoned: Option<String>,
        result: Result<(), Error>,
        hit: bool,
    ) {
        if let Some(cause) = was_poisoned {
            let error = result.expect_err("a poisoned store acknowledges nothing");
            assert!(matches!(&error, Error::Poisoned { cause: named } if *named == cause), "{error}");
            return;
        }
        match result {
            Ok(()) => {
                self.ledger.acknowledged_all(writes);
                if self.options.durability == Durability::Always {
                    self.ledger.all_durable();
                }
            }
            Err(error) => {
                assert!(hit, "a write fails without a fault: {error}");
                assert!(!error.is_corruption(), "a failed call is not corruption: {error}");
                if self.poisoned().is_some() {
                    self.ledger.in_doubt(writes);
                }
            }
        }
    }

    fn sync(&mut self) {
        let was_poisoned = self.poisoned().is_some();
        let (result, hit) = self.watched(Bitcask::sync);
        match result {
            Ok(()) => {
                assert!(!was_poisoned, "a poisoned store acknowledges nothing");
                self.ledger.all_durable();
            }
            Err(error) if was_poisoned => assert!(error.is_poisoned(), "{error}"),
            Err(error) => {
                assert!(hit, "a sync fails without a fault: {error}");
                let cause = self.poisoned().expect("a failed sync poisons");
                assert_eq!(cause, error.to_string());
            }
        }
    }

    /// Whether a read may fail: it was hit itself, or nobody knows whether what it would show is durable.
    fn judge_read_error(&self, error: &Error, hit: bool) {
        let unsure = self.options.durability == Durability::Always && self.poisoned().is_some();
        assert!(hit || unsure && error.is_poisoned(), "a read fails without a fault: {error}");
        assert!(!error.is_corruption(), "a failed call is not corruption: {error}");
    }

    fn get(&mut self, key: &str) {
        let (result, hit) = self.watched(|db| db.get(key));
        match result {
            Ok(value) => {
                let text = value.map(|value| String::from_utf8(value.into_vec()).unwrap());
                assert!(self.ledger.allows(key, text.as_deref()), "{key} has {text:?}");
            }
            Err(error) => self.judge_read_error(&error, hit),
        }
    }

    fn read_all(&mut self) {
        for key in keys() {
            self.get(&key);
        }
        let fired = self.disk.faults_fired();
        let mut seen = 0;
        for entry in self.db.as_ref().expect("the store is open").iter() {
            match entry {
                Ok((key, value)) => {
                    let (key, value) =
                        (std::str::from_utf8(&key).unwrap(), std::str::from_utf8(&value).unwrap());
                    assert!(self.ledger.allows(key, Some(value)), "{key} has {value:?}");
                    seen += 1;
                }
                Err(error) => self.judge_read_error(&error, self.disk.faults_fired() > fired),
            }
        }
        let exact = self.disk.faults_fired() == fired && self.poisoned().is_none();
        assert!(!exact || seen == self.ledger.state().len(), "iteration misses keys");
    }

    fn close(&mut self) {
        let was_poisoned = self.poisoned().is_some();
        let (result, hit) = self.watched(Bitcask::close);
        match result {
            Ok(()) => {
                assert!(!was_poisoned, "a poisoned store acknowledges nothing");
                self.ledger.all_durable();
            }
            Err(error) if was_poisoned => assert!(error.is_poisoned(), "{error}"),
            Err(error) => assert!(hit, "a close fails without a fault: {error}"),
        }
    }
}

/// Opens what a process or a power cut left, checks it, writes on, cuts the power, and checks again.
fn check_survivor(disk: &SimDisk, options: &Options, mut ledger: Ledger, was_crash: bool, seed: u64) {
    let options = options.clone().durability(Durability::Always);
    let read = |disk: &SimDisk| {
        let db = ledger::open(disk, &options).unwrap_or_else(|error| panic!("it does not open: {error}"));
        let state = ledger::read_all(&db, keys()).unwrap();
        (db, state)
    };
    let (db, state) = read(disk);
    if was_crash {
        ledger.settle_after_crash(&state)
    } else {
        ledger.settle_after_exit(&state)
    };
    for n in 0..12 {
        let (key, value) = (format!("k{}", n % 5), format!("k{} afterwards {n} {}", n % 5, "y".repeat(40)));
        db.put(&key, &value).unwrap();
        ledger.acknowledged(&key, Some(&value));
        ledger.all_durable();
        if n == 1 {
            let (_, state) = read(&disk.crash(seed, CrashModel::Clean));
            ledger.clone().settle_after_crash(&state);
        }
    }
    let (_, state) = read(&disk.crash(seed, CrashModel::Random(DirOrder::AnySubset)));
    ledger.clone().settle_after_crash(&state);
    drop(db);
    let (_, state) = read(disk);
    ledger.settle_after_exit(&state);
}

/// How many calls the workload makes when none fails.
fn calls(case: &Case) -> u64 {
    let disk = case.way().disk();
    let mut run = Run::new(&disk, case);
    run.workload();
    assert_eq!(run.poisoned(), None);
    disk.operations()
}

/// Runs a case, and looks at what is left by the way that chance decides. Returns whether a call failed.
fn run_case(case: &Case, seed: u64) -> bool {
    let disk = case.way().disk();
    disk.fail_at(case.number, FAILURES[case.failure], case.repeat);
    run_with_faults(case, &disk, seed)
}

/// Runs the workload on a disk that has been told to fail, and judges what is left of it.
fn run_with_faults(case: &Case, disk: &SimDisk, seed: u64) -> bool {
    let mut run = Run::new(disk, case);
    run.workload();
    if disk.faults_fired() == 0 {
        return false;
    }
    let survivor = |disk: SimDisk, was_crash| {
        check_survivor(&disk, &run.options, run.ledger.clone(), was_crash, seed);
    };
    let models = Tier::pick(1, CrashModel::ALL.len(), CrashModel::ALL.len());
    let first = usize::try_from(case.number).unwrap() % CrashModel::ALL.len();
    for model in CrashModel::ALL.into_iter().cycle().skip(first).take(models) {
        survivor(disk.crash(seed, model), true);
    }
    let killed = disk.fork();
    killed.clear_faults();
    survivor(killed, false);
    disk.clear_faults();
    run.db = None;
    check_survivor(disk, &run.options, run.ledger.clone(), false, seed);
    true
}

#[test]
fn whichever_call_fails_it_fails_cleanly_and_nothing_acknowledged_is_lost() {
    let sweep = Sweep::new("whichever_call_fails_it_fails_cleanly_and_nothing_acknowledged_is_lost");
    let failures = failures();
    let failures_per_call = Tier::pick(1, failures.len(), failures.len());
    let (mut cases, mut fired) = (0_u64, 0_u64);
    for base in Case::bases(&sweep) {
        for number in (0..calls(&base)).filter(|&number| base.has_turn(number)) {
            let first = usize::try_from(number).unwrap() * 7 + base.way + base.durability;
            for turn in 0..failures_per_call {
                let (failure, repeat) = failures[(first + turn) % failures.len()];
                let case = Case { failure, repeat, number, ..base };
                let has_fired = sweep.case(case, |seed| run_case(&case, seed));
                cases += 1;
                fired += u64::from(has_fired == Some(true));
            }
        }
    }
    println!("in {fired} of {cases} cases a call failed");
    assert!(!sweep.is_whole() || fired > cases / 2);
    sweep.finish(Tier::pick(3_000, 200_000, 200_000));
}

/// After the first call that fails comes another one, of any kind and perhaps much later.
#[test]
fn whichever_two_calls_fail_nothing_acknowledged_is_lost() {
    let sweep = Sweep::new("whichever_two_calls_fail_nothing_acknowledged_is_lost");
    let failures = failures();
    let pairs_of_each = Tier::pick(20, 2_000, 100_000);
    for base in Case::bases(&sweep) {
        let calls = calls(&base);
        for pair in 0..pairs_of_each {
            let name = format!("{}-{}-{pair}", base.way, base.durability);
            sweep.case(name, |seed| {
                let mut random = Random::new(seed);
                let disk = base.way().disk();
                let first = random.below(calls);
                // Half of the second ones come while the engine is still busy with the first.
                let second =
                    if random.one_in(2) { first + 1 + random.below(12) } else { random.below(calls) };
                for number in [first, second] {
                    let (failure, repeat) = failures[random.index(failures.len())];
                    disk.fail_at(number, FAILURES[failure], repeat);
                }
                run_with_faults(&Case { number: first, ..base }, &disk, random.next())
            });
        }
    }
    sweep.finish(12 * pairs_of_each);
}

#[test]
fn a_failed_sync_is_never_tried_again_on_the_same_data() {
    let sweep = Sweep::new("a_failed_sync_is_never_tried_again_on_the_same_data");
    let (mut cases, mut poisoned) = (0_u64, 0_u64);
    for base in Case::bases(&sweep) {
        let turns = usize::try_from(base.way().turn().0).unwrap();
        for number in (0..calls(&base)).step_by(Tier::pick(5 * turns, 1, 1)) {
            let case = Case { number, ..base };
            cases += 1;
            poisoned += u64::from(sweep.case(case, |_| fail_one_sync(&case)) == Some(true));
        }
    }
    println!("in {poisoned} of {cases} cases the store was poisoned");
    assert!(!sweep.is_whole() || poisoned > cases / 10);
    sweep.finish(Tier::pick(1_800, 15_000, 15_000));
}

/// Fails the first sync from a call on, and judges by the trace what the engine does afterwards. Returns whether that
/// poisoned the store.
fn fail_one_sync(case: &Case) -> bool {
    let disk = case.way().disk();
    disk.inject(case.number, OpKind::is_sync, FAILURES[case.failure], Repeat::Once);
    let mut run = Run::new(&disk, case);
    if !run.open() {
        return false;
    }
    for n in 0..WRITES {
        run.step(n);
        let Some(cause) = run.poisoned() else { continue };
        assert!(cause.starts_with("cannot sync "), "the poison names its cause: {cause}");
        let before = disk.trace().len();
        for n in 0..10 {
            run.step(n);
        }
        run.sync();
        run.read_all();
        run.close();
        let again = disk.trace().into_iter().skip(before).find(|operation| operation.kind.is_sync());
        assert_eq!(again, None, "a sync after the failed one: {cause}");
        assert_eq!(run.poisoned(), Some(cause));
        return true;
    }
    false
}

#[test]
fn short_and_interrupted_calls_change_nothing() {
    let sweep = Sweep::new("short_and_interrupted_calls_change_nothing");
    let count = Tier::pick(20, 500, 5_000);
    for base in Case::bases(&sweep) {
        for number in (0..count).filter(|&number| base.way().has_turn(number)) {
            let case = Case { failure: 2, number, ..base };
            sweep.case(case, |seed| {
                let disk = case.way().disk();
                disk.set_calls(Calls::Short { seed });
                let mut run = Run::new(&disk, &case);
                run.workload();
                assert!(run.db.is_some() && run.poisoned().is_none());
                let survivor = disk.crash(seed, CrashModel::Random(DirOrder::AnySubset));
                survivor.set_calls(Calls::Short { seed });
                check_survivor(&survivor, &run.options, run.ledger.clone(), true, seed);
            });
        }
    }
    sweep.finish(Tier::pick(120, 12 * count, 12 * count));
}

/// Acknowledged when durable, in files of this size.
fn always(way: Way, max_file_size: u64) -> Options {
    way.options().max_file_size(max_file_size).durability(Durability::Always)
}

fn put_numbered(db: &Bitcask, numbers: std::ops::Range<usize>) {
    for n in numbers {
        db.put(format!("k{n}"), format!("value {n} {}", "z".repeat(40))).unwrap();
    }
}

fn assert_numbered(db: &Bitcask, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let value = db.get(format!("k{n}")).unwrap().expect("it was acknowledged");
        assert!(value.starts_with(format!("value {n} ").as_bytes()));
    }
}

/// An open took the empty successor that it found as starting at byte 0, not behind its header. When the log
/// rotated into it, the link went over the header, and the next open refused the whole store.
#[test]
fn a_log_goes_on_in_the_successor_of_the_process_before() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = ledger::open(&disk, &always(way, 600)).unwrap();
        put_numbered(&db, 0..10);
        db.close().unwrap();
        let db = ledger::open(&disk, &always(way, 600)).unwrap();
        put_numbered(&db, 10..30);
        drop(db);
        assert_numbered(&ledger::open(&disk, &always(way, 600)).unwrap(), 0..30);
    }
}

/// The manifest that listed a new file was renamed into place, and the sync of the directory failed. The next open
/// read it, took it for durable, and went on in the file that it lists. After a power cut the manifest before it was
/// back, and the open refused a store with records in a file that is not listed.
#[test]
fn a_manifest_whose_directory_sync_failed_is_written_again() {
    for way in Way::ALL {
        let whole = way.disk();
        drop(ledger::open(&whole, &always(way, 600)));
        for number in 0..whole.operations() {
            let disk = way.disk();
            disk.inject(number, |kind| kind == OpKind::SyncDir, Failure::Os(5), Repeat::Once);
            let _ = ledger::open(&disk, &always(way, 600));
            disk.clear_faults();
            let db = ledger::open(&disk, &always(way, 600)).unwrap();
            put_numbered(&db, 0..20);
            for model in CrashModel::ALL {
                assert_numbered(&ledger::open(&disk.crash(number, model), &always(way, 600)).unwrap(), 0..20);
            }
        }
    }
}

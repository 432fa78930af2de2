//! The disk fills up at every byte: the write that finds no room says so, reads go on, nothing acknowledged is lost,
//! and writes work again by themselves when there is room.

use std::time::Duration;

use bitcask_testing::{Sweep, Tier};

use super::ledger::{self, State};
use super::ways::Way;
use crate::vfs::sim::{CrashModel, DirOrder, SimDisk};
use crate::{Bitcask, Durability, LogFormat, Options, PutOptions};

const KEYS: usize = 10;
const WRITES: usize = 40;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("k{n}"))
}

fn put(db: &Bitcask, state: &mut State, n: usize) -> bool {
    let entry = |n: usize| (format!("k{}", n % KEYS), format!("value {n} {}", "f".repeat(n % 50)));
    // Every fifth time several at once.
    let entries: Vec<_> = (n..n + if n.is_multiple_of(5) { 4 } else { 1 }).map(entry).collect();
    let mut batch = db.batch();
    for (key, value) in &entries {
        // So far ahead that it does not expire: its record is longer, and a merge has to look at it.
        let lifetime = Duration::from_secs(1 << 30);
        let options = PutOptions::new();
        let options = if n.is_multiple_of(3) { options.expires_in(lifetime) } else { options };
        batch.put_with(key, value, &options);
    }
    match batch.commit() {
        Ok(written) => {
            assert!(written);
            state.extend(entries);
            true
        }
        Err(error) => {
            assert!(error.is_full(), "{error}");
            assert_eq!(db.status().poisoned, None, "a full disk is no reason to give up");
            false
        }
    }
}

/// Merges, and returns whether there was room for it. Without room nothing but the merge is given up.
fn merge(db: &Bitcask, state: &State) -> bool {
    let merged = db.merge();
    assert_eq!(db.status().poisoned, None, "a full disk is no reason to give up");
    assert_eq!(ledger::read_all(db, keys()).unwrap(), *state);
    match merged {
        Ok(report) => assert!(report.quarantined.is_empty(), "{report:?}"),
        Err(error) => {
            assert!(error.is_full(), "{error}");
            return false;
        }
    }
    true
}

/// Fills a disk of `capacity` bytes. Returns whether it was too small.
fn fill(way: Way, options: &Options, capacity: u64, seed: u64) -> bool {
    let disk = way.disk();
    disk.set_capacity(Some(capacity));
    let db = match ledger::open(&disk, options) {
        Ok(db) => db,
        Err(error) => {
            assert!(error.is_full(), "{error}");
            disk.set_capacity(None);
            assert!(ledger::open(&disk, options).unwrap().is_empty());
            return true;
        }
    };
    let mut state = State::new();
    let mut was_full = false;
    for n in 0..WRITES {
        was_full |= !put(&db, &mut state, n);
        if n % 16 == 15 {
            was_full |= !merge(&db, &state);
        }
        if was_full && n % 8 == 0 {
            assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
        }
    }
    assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
    reopen_while_full(&disk, options, &state);
    // Somebody makes room.
    disk.set_capacity(None);
    for n in WRITES..WRITES + 12 {
        assert!(put(&db, &mut state, n));
    }
    assert!(merge(&db, &state));
    db.sync().unwrap();
    let crashed = disk.crash(seed, CrashModel::Random(DirOrder::AnySubset));
    assert_eq!(ledger::read_all(&ledger::open(&crashed, options).unwrap(), keys()).unwrap(), state);
    db.close().unwrap();
    drop(db);
    let db = ledger::open(&disk, options).unwrap();
    assert!(db.status().recovery.clean);
    assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
    was_full
}

/// After kill -9 and with the disk still full: reading works, and opening for writing works or changes nothing that
/// matters.
fn reopen_while_full(disk: &SimDisk, options: &Options, state: &State) {
    let disk = disk.fork();
    let read = |disk: &SimDisk, options: &Options| {
        ledger::open(disk, options).map(|db| ledger::read_all(&db, keys()).unwrap())
    };
    assert_eq!(read(&disk, &Options::read_only()).unwrap(), *state);
    for _ in 0..2 {
        match read(&disk, options) {
            Ok(found) => assert_eq!(found, *state),
            Err(error) => assert!(error.is_full(), "{error}"),
        }
        assert_eq!(read(&disk, &Options::read_only()).unwrap(), *state);
    }
    disk.set_capacity(None);
    assert_eq!(read(&disk, options).unwrap(), *state);
}

#[test]
fn a_disk_that_fills_up_at_any_byte_loses_nothing_and_recovers_by_itself() {
    let sweep = Sweep::new("a_disk_that_fills_up_at_any_byte_loses_nothing_and_recovers_by_itself");
    for (number, way) in Way::numbered(&sweep) {
        for (level, durability) in [Durability::Always, Durability::Os].into_iter().enumerate() {
            // A few records in each file, whatever their form.
            let file_size = if way.format == LogFormat::Binary { 500 } else { 1500 };
            let options = way.options().max_file_size(file_size).durability(durability).space_reserve(0);
            // With every commit the ways that take turns share the capacities, and each seed has others.
            let step = Tier::pick(29 * way.turn().0, 1, 1);
            let first = sweep.seed_of(number) % step;
            for capacity in (first..).step_by(usize::try_from(step).unwrap()) {
                let was_full = sweep
                    .case(format!("{number}-{level}-{capacity}"), |seed| fill(way, &options, capacity, seed));
                // A single case may be one of any capacity below this.
                if was_full.unwrap_or(capacity < 1 << 20) {
                    continue;
                }
                break;
            }
        }
    }
    sweep.finish(Tier::pick(1_000, 80_000, 80_000));
}

//! Restoring: a damaged backup is refused or its damage is harmless, and nothing is left that looks like a store.

use std::path::Path;
use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness::Crash;
use super::ledger::{self, STORE, State};
use super::ways::{Way, is_data_file};
use crate::backup::restore_on;
use crate::options::Maintenance;
use crate::vfs::sim::{Failure, OpKind, Random, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, Options, RestoreReport, Result};

pub(super) const BACKUP: &str = "backup";
pub(super) const RESTORED: &str = "restored";
const KEYS: usize = 9;

pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

pub(super) fn open_at(disk: &SimDisk, path: &str, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(path), options.maintenance(Maintenance::Callers))
}

pub(super) fn restore(disk: &SimDisk) -> Result<RestoreReport> {
    restore_on(&*disk.vfs(), Path::new(BACKUP), Path::new(RESTORED), &mut |_| ())
}

pub(super) fn state_at(disk: &SimDisk, path: &str) -> Result<State> {
    ledger::read_all(&open_at(disk, path, Options::new().durability(Durability::Os))?, keys())
}

pub(super) fn files_in(disk: &SimDisk, path: &str) -> Vec<String> {
    let prefix = format!("{path}/");
    disk.files().into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

/// A disk with a backup of a few files that shares nothing with a store, and what it holds.
pub(super) fn sample(way: Way) -> (SimDisk, State) {
    let disk = way.disk();
    let mut state = State::new();
    let db = open_at(&disk, STORE, way.small_files()).unwrap();
    for n in 0..30 {
        let key = format!("key{}", n * 7 % KEYS);
        if n % 6 == 5 {
            db.delete(&key).unwrap();
            state.remove(&key);
        } else {
            let value = format!("{key} at {n} {}", "v".repeat(n % 9));
            db.put(&key, &value).unwrap();
            state.insert(key, value);
        }
    }
    disk.inject(0, |kind| kind == OpKind::Link, Failure::Os(18), Repeat::Forever);
    db.backup_on(&*disk.vfs(), Path::new(BACKUP), &mut |_| ()).unwrap();
    db.close().unwrap();
    disk.clear_faults();
    (disk, state)
}

/// Nothing is left but the lock, and a store can be restored there later.
fn assert_nothing_left(disk: &SimDisk, what: &str) {
    let left = files_in(disk, RESTORED);
    assert!(left.iter().all(|name| name.ends_with("/LOCK")), "{what}: {left:?}");
}

#[test]
fn a_restored_store_is_what_the_backup_was_and_shares_nothing_with_it() {
    for way in Way::ALL {
        let (disk, state) = sample(way);
        let before: Vec<_> = files_in(&disk, BACKUP).iter().map(|name| disk.read_file(name)).collect();
        let report = restore(&disk).unwrap();
        assert_eq!(report.files, files_in(&disk, BACKUP).iter().filter(|it| is_data_file(it)).count() as u64);
        assert!(!disk.exists("restored/BACKUP"));
        let db = open_at(&disk, RESTORED, way.small_files()).unwrap();
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
        let recovery = db.status().recovery;
        assert!(recovery.clean && recovery.hints_loaded == report.files - 2, "{recovery:?}");
        db.put("key0", "anew").unwrap();
        db.close().unwrap();
        let after: Vec<_> = files_in(&disk, BACKUP).iter().map(|name| disk.read_file(name)).collect();
        assert_eq!(after, before);
        let error = restore(&disk).unwrap_err();
        assert!(
            matches!(&error, Error::UnfitTarget { reason, .. } if reason.contains("not empty")),
            "{error}"
        );
        let inside = restore_on(&*disk.vfs(), Path::new(BACKUP), Path::new("backup/inside"), &mut |_| ());
        assert!(matches!(inside, Err(Error::UnfitTarget { .. })));
        // A store that was closed can be restored from too; one that is at work cannot.
        let from_store = |target| restore_on(&*disk.vfs(), Path::new(STORE), Path::new(target), &mut |_| ());
        from_store("second").unwrap();
        assert_eq!(state_at(&disk, "second").unwrap(), state);
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        db.put("key0", "unfinished").unwrap();
        assert!(from_store("third").unwrap_err().is_corruption());
        assert_eq!(files_in(&disk, "third"), ["third/LOCK"]);
    }
}

#[test]
fn progress_counts_each_byte_when_it_is_copied_and_when_it_is_checked() {
    for way in Way::ALL {
        let (disk, _) = sample(way);
        let mut seen = Vec::new();
        let report = restore_on(&*disk.vfs(), Path::new(BACKUP), Path::new(RESTORED), &mut |progress| {
            seen.push((progress.done, progress.total));
        })
        .unwrap();
        assert!(seen.is_sorted() && seen.len() > 4);
        assert_eq!(seen.first(), Some(&(0, report.bytes * 2)));
        assert_eq!(seen.last(), Some(&(report.bytes * 2, report.bytes * 2)));
        let mut seen = Vec::new();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let report = db.backup_on(&*disk.vfs(), Path::new("new"), &mut |progress| {
            seen.push((progress.done, progress.total));
        });
        let bytes = report.unwrap().bytes;
        assert_eq!((seen.first(), seen.last()), (Some(&(0, bytes)), Some(&(bytes, bytes))));
    }
}

/// Unlike in a store at work, no end of a backup can be lost unnoticed: its last file claims all before, and holds nothing.
#[test]
fn a_backup_with_any_bit_flipped_or_any_file_cut_is_refused_or_restored_whole() {
    let sweep = Sweep::new("a_backup_with_any_bit_flipped_or_any_file_cut_is_refused_or_restored_whole");
    let (mut cases, mut refused) = (0_u64, 0_u64);
    for (number, way) in Way::numbered(&sweep) {
        let (sample, state) = sample(way);
        let mut judge = |case: String, damage: &dyn Fn(&SimDisk), may_be_no_store: bool| {
            let is_refused = sweep.case(case, |_| {
                let disk = sample.fork();
                damage(&disk);
                let restored = restore(&disk);
                if let Err(error) = &restored {
                    let names_the_file = matches!(
                        error,
                        Error::Corruption { .. } | Error::Newer { .. } | Error::ForeignFile { .. }
                    );
                    assert!(names_the_file || may_be_no_store, "{error}");
                    assert_nothing_left(&disk, "after damage");
                } else {
                    assert_eq!(state_at(&disk, RESTORED).unwrap(), state);
                }
                restored.is_err()
            });
            cases += 1;
            refused += u64::from(is_refused == Some(true));
        };
        for (index, file) in files_in(&sample, BACKUP).into_iter().enumerate() {
            let bytes = sample.read_file(&file);
            let may_be_no_store = file.ends_with("MANIFEST");
            let needed = !["LOCK", "BACKUP"].iter().any(|name| file.ends_with(name));
            let step = if needed { Tier::pick(5, 1, 1) } else { 1 };
            let first = usize::try_from(sweep.seed_of(index as u64)).unwrap() % step;
            for byte in (first..bytes.len()).step_by(step) {
                let bit = (byte * 8 + byte % 8) as u64;
                judge(
                    format!("{number}-{index}-flip-{bit}"),
                    &|disk| disk.flip_bit(&file, bit),
                    may_be_no_store,
                );
                let cut = |disk: &SimDisk| disk.write_file(&file, &bytes[..byte]);
                judge(format!("{number}-{index}-cut-{byte}"), &cut, may_be_no_store);
            }
            judge(format!("{number}-{index}-missing"), &|disk| disk.remove_file(&file), may_be_no_store);
        }
    }
    println!("{refused} of {cases} refused");
    assert!(!sweep.is_whole() || refused > cases / 2);
    sweep.finish(Tier::pick(8_000, 40_000, 40_000));
}

#[test]
fn a_crash_at_any_moment_leaves_a_whole_store_or_none() {
    let sweep = Sweep::new("a_crash_at_any_moment_leaves_a_whole_store_or_none");
    let crashes_each = Crash::COUNT * Tier::pick(1, 8, 40);
    for (number, way) in Way::numbered(&sweep) {
        let (disk, state) = sample(way);
        disk.keep_snapshots();
        restore(&disk).unwrap();
        let mut moments = disk.take_snapshots();
        moments.push((disk.operations(), disk.fork()));
        let (mut none, mut whole) = (0, 0);
        for (operation, moment) in &moments {
            for crash in 0..crashes_each {
                let is_whole = sweep.case(format!("{number}-{operation}-{crash}"), |seed| {
                    let left = Crash::number(crash).strike(moment, &mut Random::new(seed));
                    match open_at(&left, RESTORED, Options::read_only()) {
                        Ok(db) => {
                            assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
                            assert_eq!(state_at(&left, RESTORED).unwrap(), state);
                            true
                        }
                        Err(error) => {
                            assert!(matches!(error, Error::NotAStore { .. }), "{error}");
                            false
                        }
                    }
                });
                none += u64::from(is_whole == Some(false));
                whole += u64::from(is_whole == Some(true));
            }
        }
        assert!(!sweep.is_whole() || none > 20 && whole >= Crash::COUNT, "{none} {whole}");
    }
    sweep.finish(100 * crashes_each);
}

#[test]
fn whichever_call_fails_nothing_is_left_that_looks_like_a_store() {
    let sweep = Sweep::new("whichever_call_fails_nothing_is_left_that_looks_like_a_store");
    let failures = [Failure::Os(5), Failure::Os(28), Failure::Os(13)];
    for (number, way) in Way::numbered(&sweep) {
        let (sample, state) = sample(way);
        let calls = {
            let disk = sample.fork();
            let before = disk.operations();
            restore(&disk).unwrap();
            disk.operations() - before
        };
        let mut failed = 0;
        for call in 0..calls {
            for turn in 0..Tier::pick(1, 3, 3) {
                let failure = failures[usize::try_from((call + turn) % 3).unwrap()];
                let has_failed = sweep.case(format!("{number}-{call}-{turn}"), |_| {
                    let disk = sample.fork();
                    disk.fail_at(disk.operations() + call, failure, Repeat::Once);
                    let restored = restore(&disk);
                    if let Err(error) = &restored {
                        assert!(matches!(error, Error::Io { .. } | Error::NotAStore { .. }), "{error}");
                        assert_nothing_left(&disk, "after an error");
                        restore(&disk).unwrap();
                    }
                    assert_eq!(state_at(&disk, RESTORED).unwrap(), state);
                    restored.is_err()
                });
                failed += u64::from(has_failed == Some(true));
            }
        }
        assert!(!sweep.is_whole() || failed > calls / 2, "{failed} of {calls}");
    }
    sweep.finish(400);
}

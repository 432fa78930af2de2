//! Restoring: a damaged backup is refused or its damage is harmless, and nothing is left that looks like a store.

use std::path::Path;
use std::sync::Arc;

use bitcask_testing::Tier;

use super::harness::Crash;
use super::ledger::{self, STORE, State};
use super::ways::{Way, is_data_file};
use crate::backup::restore_on;
use crate::options::Maintenance;
use crate::vfs::sim::{Failure, OpKind, Random, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, Options, RestoreReport, Result};

const BACKUP: &str = "backup";
const RESTORED: &str = "restored";
const KEYS: usize = 9;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

fn open_at(disk: &SimDisk, path: &str, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(path), options.maintenance(Maintenance::Callers))
}

fn restore(disk: &SimDisk) -> Result<RestoreReport> {
    restore_on(&*disk.vfs(), Path::new(BACKUP), Path::new(RESTORED), &mut |_| ())
}

fn state_at(disk: &SimDisk, path: &str) -> Result<State> {
    ledger::read_all(&open_at(disk, path, Options::new().durability(Durability::Os))?, keys())
}

fn files_in(disk: &SimDisk, path: &str) -> Vec<String> {
    let prefix = format!("{path}/");
    disk.files().into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

/// A disk with a backup of a few files that shares nothing with a store, and what it holds.
fn sample(way: Way) -> (SimDisk, State) {
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
    let (mut cases, mut refused) = (0_u64, 0_u64);
    for way in Way::ALL {
        let (sample, state) = sample(way);
        let mut judge = |disk: &SimDisk, what: &str| {
            cases += 1;
            match restore(disk) {
                Ok(_) => assert_eq!(state_at(disk, RESTORED).unwrap(), state, "{what}"),
                Err(error) => {
                    refused += 1;
                    let names_the_file = matches!(
                        error,
                        Error::Corruption { .. } | Error::Newer { .. } | Error::ForeignFile { .. }
                    );
                    assert!(names_the_file || what.contains("MANIFEST"), "{what}: {error}");
                    assert_nothing_left(disk, what);
                }
            }
        };
        for file in files_in(&sample, BACKUP) {
            let bytes = sample.read_file(&file);
            let needed = !["LOCK", "BACKUP"].iter().any(|name| file.ends_with(name));
            for byte in (0..bytes.len()).step_by(if needed { Tier::pick(5, 1, 1) } else { 1 }) {
                let disk = sample.fork();
                disk.flip_bit(&file, (byte * 8 + byte % 8) as u64);
                judge(&disk, &format!("{way:?}: a bit of byte {byte} of {file}"));
                let disk = sample.fork();
                disk.write_file(&file, &bytes[..byte]);
                judge(&disk, &format!("{way:?}: {file} cut to {byte} bytes"));
            }
            let disk = sample.fork();
            disk.remove_file(&file);
            judge(&disk, &format!("{way:?}: {file} missing, MANIFEST or not"));
        }
    }
    println!("{cases} cases, {refused} refused");
    assert!(refused > cases / 2);
}

#[test]
fn a_crash_at_any_moment_leaves_a_whole_store_or_none() {
    for way in Way::ALL {
        let (disk, state) = sample(way);
        disk.keep_snapshots();
        restore(&disk).unwrap();
        let mut moments = disk.take_snapshots();
        moments.push((disk.operations(), disk.fork()));
        let (mut none, mut whole) = (0, 0);
        for (operation, moment) in &moments {
            for crash in 0..Crash::COUNT * Tier::pick(1, 8, 40) {
                let left = Crash::number(crash).strike(moment, &mut Random::new(operation * 100 + crash));
                let what = format!("{way:?}, crash {crash} before {operation}");
                match open_at(&left, RESTORED, Options::read_only()) {
                    Ok(db) => {
                        assert_eq!(ledger::read_all(&db, keys()).unwrap(), state, "{what}");
                        assert_eq!(state_at(&left, RESTORED).unwrap(), state, "{what}");
                        whole += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::NotAStore { .. }), "{what}: {error}");
                        none += 1;
                    }
                }
            }
        }
        assert!(none > 20 && whole >= Crash::COUNT, "{none} {whole}");
    }
}

#[test]
fn whichever_call_fails_nothing_is_left_that_looks_like_a_store() {
    for way in Way::ALL {
        let (sample, state) = sample(way);
        let calls = {
            let disk = sample.fork();
            let before = disk.operations();
            restore(&disk).unwrap();
            disk.operations() - before
        };
        let mut failed = 0;
        for call in 0..calls {
            let disk = sample.fork();
            let failure =
                [Failure::Os(5), Failure::Os(28), Failure::Os(13)][usize::try_from(call % 3).unwrap()];
            disk.fail_at(disk.operations() + call, failure, Repeat::Once);
            let what = format!("{way:?}, call {call}, {failure:?}");
            match restore(&disk) {
                Ok(_) => assert_eq!(state_at(&disk, RESTORED).unwrap(), state, "{what}"),
                Err(error) => {
                    failed += 1;
                    assert!(matches!(error, Error::Io { .. } | Error::NotAStore { .. }), "{what}: {error}");
                    assert_nothing_left(&disk, &what);
                    restore(&disk).unwrap();
                    assert_eq!(state_at(&disk, RESTORED).unwrap(), state, "{what}");
                }
            }
        }
        assert!(failed > calls / 2, "{failed} of {calls}");
    }
}

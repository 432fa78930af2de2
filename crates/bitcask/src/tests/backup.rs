//! Backups on the simulated disk: what is in them, what a crash or a failed call leaves, and what is never touched.

use std::path::Path;
use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness::Crash;
use super::ledger::{self, STORE, State};
use super::ways::{Way, is_data_file};
use crate::backup::{BackupReport, restore_on};
use crate::options::Maintenance;
use crate::vfs::DirAccess;
use crate::vfs::sim::{CrashModel, DirOrder, Failure, OpKind, Random, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, Options, RestoreReport, Result, verify};

pub(super) const BACKUP: &str = "backup";
const KEYS: usize = 12;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

pub(super) fn open_at(disk: &SimDisk, path: &str, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(path), options.maintenance(Maintenance::Callers))
}

pub(super) fn backup(db: &Bitcask, disk: &SimDisk) -> Result<BackupReport> {
    backup_to(db, disk, BACKUP)
}

fn backup_to(db: &Bitcask, disk: &SimDisk, path: &str) -> Result<BackupReport> {
    db.backup_on(&*disk.vfs(), Path::new(path), &mut |_| ())
}

fn restore(disk: &SimDisk, path: &str) -> Result<RestoreReport> {
    restore_on(&*disk.vfs(), Path::new(BACKUP), Path::new(path), &mut |_| ())
}

/// Puts and deletes, and what is there afterwards.
fn write(db: &Bitcask, state: &mut State, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let key = format!("key{}", n * 7 % KEYS);
        if n % 6 == 5 {
            db.delete(&key).unwrap();
            state.remove(&key);
        } else {
            let value = format!("{key} at {n} {}", "v".repeat(n % 40));
            db.put(&key, &value).unwrap();
            state.insert(key, value);
        }
    }
}

/// What a directory holds when it is opened to be read.
pub(super) fn state_at(disk: &SimDisk, path: &str) -> Result<State> {
    ledger::read_all(&open_at(disk, path, Options::read_only())?, keys())
}

/// The files of one directory, with their bytes.
pub(super) fn content(disk: &SimDisk, path: &str) -> Vec<(String, Vec<u8>)> {
    let prefix = format!("{path}/");
    let names = disk.files().into_iter().filter(|name| match path == STORE {
        true => !name.contains('/'),
        false => name.starts_with(&prefix),
    });
    names.map(|name| (name.clone(), disk.read_file(&name))).collect()
}

/// Verification finds nothing, and the log ends as a close leaves it.
fn assert_sound(disk: &SimDisk, path: &str) {
    let dir = disk.vfs().open_dir(Path::new(path), DirAccess::ReadOnly).unwrap();
    let report = verify::verify_dir(&*dir, &mut |_| ()).unwrap().unwrap();
    assert_eq!((report.damage, report.torn_tail), (Vec::new(), None));
    assert!(open_at(disk, path, Options::read_only()).unwrap().status().recovery.clean);
}

fn assert_unfinished(error: &Error) {
    assert!(
        matches!(error, Error::NotAStore { reason, .. } if reason.contains("never finished"))
            || matches!(error, Error::NotAStore { reason, .. } if reason.contains("no MANIFEST")),
        "{error}"
    );
}

#[test]
fn a_backup_is_the_store_at_that_moment_and_links_what_is_complete() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..60);
        let report = backup(&db, &disk).unwrap();
        assert!(report.linked > 3 && report.copied == 2 && report.kept == 0, "{report:?}");
        assert_eq!(report.files, report.linked + report.copied);
        let then = state.clone();
        write(&db, &mut state, 60..100);
        assert_eq!(state_at(&disk, BACKUP).unwrap(), then);
        assert_sound(&disk, BACKUP);
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
        // The complete files come with their hint files.
        let db = open_at(&disk, BACKUP, Options::read_only()).unwrap();
        assert_eq!(db.status().recovery.hints_loaded, report.linked);
        for (name, _) in content(&disk, BACKUP) {
            assert!(disk.is_name_durable(&name) && !name.ends_with(".tmp"), "{name}");
        }
    }
}

#[test]
fn a_store_without_records_and_one_without_files_can_be_backed_up() {
    for way in Way::ALL {
        let disk = way.disk();
        disk.keep_snapshots();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        backup(&db, &disk).unwrap();
        assert_eq!(state_at(&disk, BACKUP).unwrap(), State::new());
        assert_sound(&disk, BACKUP);
        restore(&disk, "restored").unwrap();
        let mut empty = 0;
        for (_, moment) in disk.take_snapshots() {
            let Ok(reader) = open_at(&moment, STORE, Options::read_only()) else { continue };
            if reader.status().files.is_empty() {
                backup_to(&reader, &moment, "early").unwrap();
                assert_eq!(state_at(&moment, "early").unwrap(), State::new());
                assert_eq!(open_at(&moment, "early", way.small_files()).unwrap().len(), 0);
                empty += 1;
            }
        }
        assert!(empty > 0);
    }
}

#[test]
fn a_later_backup_keeps_what_is_there_and_brings_what_is_new() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        let mut last = BackupReport::default();
        for round in 0..5 {
            write(&db, &mut state, round * 40..(round + 1) * 40);
            let report = backup(&db, &disk).unwrap();
            assert_eq!(report.kept, last.kept + last.linked, "all that was complete is kept: {report:?}");
            assert!(report.linked > 0 && report.copied == 2, "{report:?}");
            assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
            assert_sound(&disk, BACKUP);
            last = report;
        }
        let nothing_new = backup(&db, &disk).unwrap();
        assert_eq!((nothing_new.kept, nothing_new.linked), (last.kept + last.linked, 0));
        assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
    }
}

#[test]
fn a_later_backup_follows_the_merges_of_the_store() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        for round in 0..4 {
            write(&db, &mut state, round * 60..(round + 1) * 60);
            let before = backup(&db, &disk).unwrap();
            let merged = db.merge().unwrap();
            assert!(merged.inputs > merged.outputs, "{merged:?}");
            let after = backup(&db, &disk).unwrap();
            assert!(after.files < before.files, "{before:?} {after:?}");
            assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
            assert_sound(&disk, BACKUP);
            // Nothing that was merged away is left, and nothing in it keeps its space.
            let names =
                |path| content(&disk, path).into_iter().filter(|(name, _)| is_data_file(name)).count();
            assert_eq!(names(BACKUP), usize::try_from(after.files).unwrap());
        }
    }
}

#[test]
fn where_links_cannot_be_made_everything_is_copied() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..60);
        const EXDEV: Failure = Failure::Os(18);
        disk.inject(0, |kind| kind == OpKind::Link, EXDEV, Repeat::Forever);
        let report = backup(&db, &disk).unwrap();
        assert_eq!((report.linked, report.kept, report.copied), (0, 0, report.files));
        assert_eq!(report.copied_bytes, report.bytes);
        assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
        assert_sound(&disk, BACKUP);
        let hints = content(&disk, BACKUP).iter().filter(|(name, _)| name.ends_with(".hint")).count();
        assert_eq!(u64::try_from(hints).unwrap(), report.files - 2);
        // Nothing is shared: the original can rot away.
        for (name, _) in
            content(&disk, STORE).iter().filter(|(name, bytes)| name != "LOCK" && !bytes.is_empty())
        {
            disk.flip_bit(name, 3);
        }
        assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
        assert_sound(&disk, BACKUP);
        // With links again, what was copied is kept.
        disk.clear_faults();
        let again =
            backup_to(&open_at(&disk, BACKUP, Options::read_only()).unwrap(), &disk, "second").unwrap();
        assert_eq!(again.linked, report.files - 2);
    }
}

#[test]
fn working_in_a_backup_leaves_the_store_as_it_was_and_ends_the_backup() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..60);
        backup(&db, &disk).unwrap();
        let before = content(&disk, STORE);
        let linked: Vec<String> =
            before.iter().map(|(name, _)| name.clone()).filter(|name| is_data_file(name)).collect();
        let mut other = state.clone();
        let traced = disk.operations();
        for round in 0..3 {
            let copy = open_at(&disk, BACKUP, way.small_files()).unwrap();
            assert_eq!(ledger::read_all(&copy, keys()).unwrap(), other, "round {round}");
            write(&copy, &mut other, 100 * round..100 * round + 30);
            copy.close().unwrap();
        }
        // All but the store's active file and its successor are links.
        let shared = &linked[..linked.len() - 2];
        let written = disk.trace().into_iter().filter(|it| it.number >= traced).find(|it| {
            let writes =
                matches!(it.kind, OpKind::WriteAt | OpKind::CopyIn | OpKind::Truncate | OpKind::Allocate);
            writes && shared.iter().any(|name| **name == *it.name)
        });
        assert_eq!(written, None, "a file that the store shares is written to");
        // Once it goes on from a kill.
        let copy = open_at(&disk, BACKUP, way.small_files()).unwrap();
        write(&copy, &mut other, 300..330);
        let killed = disk.fork().kill();
        for _ in 0..3 {
            let copy = open_at(&killed, BACKUP, way.small_files()).unwrap();
            assert_eq!(ledger::read_all(&copy, keys()).unwrap(), other);
            write(&copy, &mut other, 400..430);
        }
        assert_eq!(content(&killed, STORE), before);
        drop(copy);
        assert_eq!(content(&disk, STORE), before);
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
        let error = backup(&db, &disk).unwrap_err();
        assert!(
            matches!(&error, Error::UnfitTarget { reason, .. } if reason.contains("no backup")),
            "{error}"
        );
    }
}

/// A backup that was opened for writing lost power: whatever it acknowledged as durable must not be replaced by a later
/// backup, so the mark must be gone as durably.
#[test]
fn what_was_written_in_a_backup_is_never_replaced_by_the_next_one() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        write(&db, &mut State::new(), 0..60);
        backup(&db, &disk).unwrap();
        disk.keep_snapshots();
        let copy = open_at(&disk, BACKUP, way.small_files().durability(Durability::Always)).unwrap();
        copy.put("key1", "written in the backup").unwrap();
        let acknowledged = disk.clone();
        for seed in 0..40 {
            let left = acknowledged.crash(seed, CrashModel::ALL[usize::try_from(seed).unwrap() % 5]);
            assert!(!left.exists("backup/BACKUP"), "seed {seed}");
            let db = open_at(&left, STORE, way.small_files()).unwrap();
            assert!(matches!(backup(&db, &left), Err(Error::UnfitTarget { .. })), "seed {seed}");
        }
        // An open that got not so far has written nothing either.
        for (operation, moment) in disk.take_snapshots() {
            for crash in 0..Crash::COUNT {
                let left = Crash::number(crash).strike(&moment, &mut Random::new(operation));
                let state = state_at(&left, BACKUP).unwrap();
                let is_new = state.get("key1").is_some_and(|value| value == "written in the backup");
                assert!(!(is_new && left.exists("backup/BACKUP")), "before {operation}");
            }
        }
    }
}

#[test]
fn a_directory_that_is_no_backup_of_this_store_is_refused_untouched() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        write(&db, &mut State::new(), 0..60);
        let other = open_at(&disk, "other", way.small_files()).unwrap();
        other.put("a", "b").unwrap();
        backup_to(&other, &disk, "other-backup").unwrap();
        other.close().unwrap();
        disk.write_file("notes/notes.txt", b"mine");
        disk.write_file("lost/0000000001.data", b"what is left of a store");
        disk.write_file("staged/0000000001.data.tmp", b"nobody's");
        let own_copy = open_at(&disk, "own-copy", way.small_files()).unwrap();
        own_copy.close().unwrap();
        let before = content(&disk, "");
        for path in [STORE, "store/inside", "other", "other-backup", "notes", "lost", "staged", "own-copy"] {
            let everything: Vec<_> =
                disk.files().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect();
            let error = backup_to(&db, &disk, path).unwrap_err();
            assert!(matches!(error, Error::UnfitTarget { .. }), "{path}: {error}");
            let after: Vec<_> =
                disk.files().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect();
            assert_eq!(after, everything, "{path}");
        }
        assert_eq!(content(&disk, ""), before);
        // Under the lock of another backup.
        let report = backup(&db, &disk).unwrap();
        let dir = disk.vfs().open_dir(Path::new(BACKUP), DirAccess::ReadWrite).unwrap();
        let lock = dir.lock("LOCK").unwrap().unwrap();
        assert!(backup(&db, &disk).unwrap_err().is_locked());
        drop(lock);
        assert_eq!(backup(&db, &disk).unwrap().files, report.files);
        // A reader of the closed store holds no lock that would keep it out of its own directory.
        db.close().unwrap();
        let reader = open_at(&disk, STORE, Options::read_only()).unwrap();
        assert!(matches!(backup_to(&reader, &disk, STORE), Err(Error::UnfitTarget { .. })));
        assert!(matches!(backup(&db, &disk), Err(Error::Closed)));
    }
}

#[test]
fn a_reader_backs_up_what_it_sees() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..60);
        // Beside a writer.
        let reader = open_at(&disk, STORE, Options::read_only()).unwrap();
        let seen = state.clone();
        write(&db, &mut state, 60..119);
        backup(&reader, &disk).unwrap();
        assert_eq!(state_at(&disk, BACKUP).unwrap(), seen);
        assert_sound(&disk, BACKUP);
        // After a kill, with a torn tail.
        let killed = disk.fork().kill();
        let (name, mut bytes) = content(&killed, STORE)
            .into_iter()
            .rfind(|(name, bytes)| is_data_file(name) && bytes.windows(4).any(|window| window == b" at "))
            .unwrap();
        let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        bytes.truncate(last);
        killed.write_file(&name, &bytes);
        let reader = open_at(&killed, STORE, Options::read_only()).unwrap();
        assert!(reader.status().recovery.torn_tail.is_some());
        let seen = ledger::read_all(&reader, keys()).unwrap();
        backup(&reader, &killed).unwrap();
        assert_eq!(state_at(&killed, BACKUP).unwrap(), seen);
        assert_sound(&killed, BACKUP);
        // After a close, and once more from the backup itself.
        db.close().unwrap();
        let reader = open_at(&disk, STORE, Options::read_only()).unwrap();
        backup(&reader, &disk).unwrap();
        assert_eq!(state_at(&disk, BACKUP).unwrap(), state);
        let reader = open_at(&disk, BACKUP, Options::read_only()).unwrap();
        backup_to(&reader, &disk, "second").unwrap();
        assert_eq!(state_at(&disk, "second").unwrap(), state);
        assert_sound(&disk, "second");
    }
}

/// After a recovery the log of a reader may end in a complete file, which is linked; what is written behind it in the
/// backup goes into a file of the backup's own.
#[test]
fn a_log_that_ends_in_a_complete_file_is_backed_up_with_a_file_of_its_own_behind() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..60);
        let killed = disk.kill();
        drop(db);
        killed.keep_snapshots();
        drop(open_at(&killed, STORE, way.small_files()).unwrap());
        let mut found = 0;
        for (_, moment) in killed.take_snapshots() {
            let reader = open_at(&moment, STORE, Options::read_only()).unwrap();
            let report = backup(&reader, &moment).unwrap();
            assert_eq!(state_at(&moment, BACKUP).unwrap(), state);
            assert_sound(&moment, BACKUP);
            found += u64::from(report.copied == 1);
            let before = content(&moment, STORE);
            open_at(&moment, BACKUP, way.small_files()).unwrap().put("key1", "elsewhere").unwrap();
            assert_eq!(content(&moment, STORE), before);
        }
        assert!(found > 0, "no log of a reader ends in a complete file");
    }
}

/// A store with a first backup and writes behind it, on a disk that is about to see a second backup.
pub(super) struct Second {
    way: Way,
    pub(super) disk: SimDisk,
    pub(super) db: Bitcask,
    pub(super) old: Option<State>,
    pub(super) new: State,
}

impl Second {
    pub(super) fn new(way: Way, has_first: bool) -> Self {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..50);
        if has_first {
            backup(&db, &disk).unwrap();
        }
        let old = has_first.then(|| state.clone());
        write(&db, &mut state, 50..85);
        // Files that the first backup has are gone, and one with a higher id stands in their place.
        assert!(db.merge_chosen(|_| 1..4).unwrap().runs == 1);
        // What the backup itself does not change is not to be in doubt.
        db.sync().unwrap();
        Self { way, disk, db, old, new: state }
    }

    /// The target is the backup before, the new one, or says that it is not finished; in any case the next backup
    /// makes it whole, and so it does where the store is.
    pub(super) fn check(&self, left: &SimDisk, what: &str) -> Outcome {
        let outcome = match state_at(left, BACKUP) {
            Ok(state) => {
                assert_sound(left, BACKUP);
                match (&self.old, state) {
                    (_, state) if state == self.new => Outcome::New,
                    (Some(old), state) if state == *old => Outcome::Old,
                    (_, state) => panic!("{what}: {state:?}"),
                }
            }
            Err(error @ Error::NotAStore { .. }) => {
                // There is no such directory as long as nobody has made it.
                if !error.to_string().contains("no such directory") {
                    assert_unfinished(&error);
                    let refused = restore(left, "restored").unwrap_err();
                    assert!(matches!(refused, Error::NotAStore { .. }), "{what}: {refused}");
                }
                Outcome::Unfinished
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let db =
            open_at(left, STORE, self.way.small_files()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), self.new, "{what}");
        backup(&db, left).unwrap_or_else(|error| panic!("{what}: the next backup: {error}"));
        assert_eq!(state_at(left, BACKUP).unwrap(), self.new, "{what}");
        assert_sound(left, BACKUP);
        let strangers =
            content(left, BACKUP).into_iter().map(|(name, _)| name).find(|name| name.ends_with(".tmp"));
        assert_eq!(strangers, None, "{what}");
        outcome
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Old,
    New,
    Unfinished,
}

#[test]
fn a_crash_at_any_moment_leaves_the_old_backup_the_new_one_or_an_unfinished_one() {
    let sweep = Sweep::new("a_crash_at_any_moment_leaves_the_old_backup_the_new_one_or_an_unfinished_one");
    let crashes_each = Tier::pick(1, 4, 40) * Crash::COUNT;
    for (number, way) in Way::numbered(&sweep) {
        for (kind, (has_first, has_links)) in [(false, true), (true, true), (true, false)].iter().enumerate()
        {
            let second = Second::new(way, *has_first);
            if !has_links {
                second.disk.inject(0, |kind| kind == OpKind::Link, Failure::Os(18), Repeat::Forever);
            }
            second.disk.keep_snapshots();
            backup(&second.db, &second.disk).unwrap();
            let mut moments = second.disk.take_snapshots();
            moments.push((second.disk.operations(), second.disk.fork()));
            let mut outcomes = Vec::new();
            for (operation, moment) in &moments {
                for crash in 0..crashes_each {
                    outcomes.extend(sweep.case(format!("{number}-{kind}-{operation}-{crash}"), |seed| {
                        let left = Crash::number(crash).strike(moment, &mut Random::new(seed));
                        second.check(&left, &format!("{way:?}, {crash} before {operation}"))
                    }));
                }
            }
            if sweep.is_whole() {
                // Once it has returned, it is there.
                assert_eq!(outcomes.last(), Some(&Outcome::New));
                assert_eq!(outcomes.contains(&Outcome::Old), *has_first);
                assert!(outcomes.contains(&Outcome::Unfinished) && outcomes.contains(&Outcome::New));
            }
        }
    }
    sweep.finish(1_000 * crashes_each);
}

/// A crash in the last step leaves everything that it takes to finish it, also without the store.
#[test]
fn a_backup_that_was_cut_short_in_its_last_step_is_finished_by_the_next_one() {
    for way in Way::ALL {
        let second = Second::new(way, true);
        second.disk.keep_snapshots();
        backup(&second.db, &second.disk).unwrap();
        let mut finished = 0;
        for (_, moment) in second.disk.take_snapshots() {
            let is_cut = moment.exists("backup/BACKUP") && !moment.exists("backup/MANIFEST");
            if !is_cut {
                continue;
            }
            let left = moment.crash(1, CrashModel::KeepAll);
            let db = open_at(&left, STORE, way.small_files()).unwrap();
            // The next backup fails at its first copy, as on a full disk, and yet has finished the one before.
            left.inject(left.operations(), |kind| kind == OpKind::Create, Failure::Os(28), Repeat::Forever);
            assert!(backup(&db, &left).unwrap_err().is_full());
            left.clear_faults();
            assert_eq!(state_at(&left, BACKUP).unwrap(), second.new);
            assert_sound(&left, BACKUP);
            finished += 1;
        }
        assert!(finished > 5, "{finished}");
    }
}

/// A backup was killed between giving its MANIFEST that name and syncing the directory, and then opened for writing. That
/// took the name for durable and removed `BACKUP`. When the power failed the removal was kept and the name was not, so
/// the directory was neither a backup that could be finished nor a store.
#[test]
fn a_backup_is_durable_before_an_open_makes_it_a_store_of_its_own() {
    let mut unfinished = 0;
    for way in Way::ALL {
        let second = Second::new(way, true);
        second.disk.keep_snapshots();
        backup(&second.db, &second.disk).unwrap();
        // The last change is that of the name.
        let killed = second.disk.take_snapshots().pop().unwrap().1;
        assert!(killed.exists("backup/MANIFEST"), "only the sync is missing");
        let killed = killed.kill();
        killed.keep_snapshots();
        drop(open_at(&killed, BACKUP, way.small_files()).unwrap());
        for (operation, moment) in killed.take_snapshots() {
            for seed in 0..12 {
                let left = moment.crash(seed, CrashModel::Random(DirOrder::AnySubset));
                match state_at(&left, BACKUP) {
                    Ok(state) => assert_eq!(state, second.new, "before {operation}, seed {seed}"),
                    Err(error) => {
                        assert_unfinished(&error);
                        unfinished += 1;
                    }
                }
            }
        }
    }
    assert!(unfinished > 3, "{unfinished}");
}

#[test]
fn whichever_call_fails_the_store_is_unharmed_and_the_backup_old_new_or_unfinished() {
    let sweep = Sweep::new("whichever_call_fails_the_store_is_unharmed_and_the_backup_old_new_or_unfinished");
    // EIO, ENOSPC, EINTR, EACCES.
    let failures = [Failure::Os(5), Failure::Os(28), Failure::Os(4), Failure::Os(13)];
    let (mut cases, mut failed, mut poisoned) = (0, 0, 0);
    for (number, way) in Way::numbered(&sweep) {
        for has_first in [false, true] {
            let calls = {
                let second = Second::new(way, has_first);
                let before = second.disk.operations();
                backup(&second.db, &second.disk).unwrap();
                second.disk.operations() - before
            };
            let step = Tier::pick(3, 1, 1);
            let first = (sweep.seed_of(number) + u64::from(has_first)) % step;
            for call in (first..calls).step_by(usize::try_from(step).unwrap()) {
                let failure = failures[usize::try_from(call).unwrap() % failures.len()];
                for repeat in [Repeat::Once, Repeat::Forever] {
                    if failure == Failure::Os(4) && repeat == Repeat::Forever {
                        continue;
                    }
                    let is_forever = u8::from(repeat == Repeat::Forever);
                    let name = format!("{number}-{}-{call}-{is_forever}", u8::from(has_first));
                    let outcome = sweep.case(name, |_| fail_one(way, has_first, call, failure, repeat));
                    cases += 1;
                    failed += u64::from(outcome.is_some_and(|outcome| outcome.failed));
                    poisoned += u64::from(outcome.is_some_and(|outcome| outcome.poisoned));
                }
            }
        }
    }
    println!("{cases} cases, {failed} failed, {poisoned} poisoned the store");
    assert!(!sweep.is_whole() || failed > cases / 2 && poisoned < cases / 4);
    sweep.finish(Tier::pick(1_000, 3_000, 3_000));
}

/// What a backup of which a call failed has come to.
#[derive(Clone, Copy)]
struct Failed {
    failed: bool,
    poisoned: bool,
}

/// Lets one call of a backup fail, and looks at what is left.
fn fail_one(way: Way, has_first: bool, call: u64, failure: Failure, repeat: Repeat) -> Failed {
    let second = Second::new(way, has_first);
    let first = second.disk.operations();
    second.disk.fail_at(first + call, failure, repeat);
    let result = backup(&second.db, &second.disk);
    assert!(second.disk.faults_fired() > 0);
    second.disk.clear_faults();
    let what = format!("{way:?}, {has_first}, call {call}, {failure:?}, {repeat:?}");
    if let Err(error) = &result {
        assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{what}: {error}");
    }
    let poisoned = second.db.status().poisoned.is_some();
    assert_eq!(ledger::read_all(&second.db, keys()).unwrap(), second.new, "{what}");
    if !poisoned {
        second.db.put("key0", second.new.get("key0").unwrap_or(&String::new())).unwrap();
    }
    if result.is_ok() {
        assert_eq!(state_at(&second.disk, BACKUP).unwrap(), second.new, "{what}");
        assert_sound(&second.disk, BACKUP);
    }
    if !second.new.contains_key("key0") && !poisoned {
        second.db.delete("key0").unwrap();
    }
    drop(second.db.close());
    let Second { way, disk, db, old, new } = second;
    drop(db);
    let db = open_at(&disk, STORE, way.small_files()).unwrap();
    let second = Second { way, disk: disk.clone(), db, old, new };
    second.db.close().unwrap();
    second.check(&disk, &what);
    Failed { failed: result.is_err(), poisoned }
}

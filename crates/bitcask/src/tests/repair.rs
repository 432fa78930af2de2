//! Repair: each way of it, with damage in values, headers, footers, manifests, missing files and torn tails.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness::{Crash, check_sound};
use super::ledger::{self, STORE, State};
use super::ways::{Way, is_data_file};
use crate::options::Maintenance;
use crate::repair::repair_on;
use crate::vfs::sim::{CrashModel, Failure, Random, Repeat, SimClock, SimDisk};
use crate::{
    Bitcask, Durability, Error, LogFormat, Options, PutOptions, Remedy, Repair, RepairReport, Result,
};

const SALVAGED: &str = "salvaged";
const KEYS: usize = 14;

pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

pub(super) fn open_at(disk: &SimDisk, path: &str, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(path), options.maintenance(Maintenance::Callers))
}

fn repair(disk: &SimDisk, how: &Repair) -> Result<RepairReport> {
    repair_at(disk, STORE, how)
}

pub(super) fn repair_at(disk: &SimDisk, path: &str, how: &Repair) -> Result<RepairReport> {
    repair_on(&*disk.vfs(), Arc::new(SimClock::new(1_000_000)), Path::new(path), how, &mut |_| ())
}

fn salvage() -> Repair {
    Repair::Salvage(PathBuf::from(SALVAGED))
}

pub(super) fn state_at(disk: &SimDisk, path: &str) -> State {
    ledger::read_all(&open_at(disk, path, Options::new()).unwrap(), keys()).unwrap()
}

pub(super) fn write(db: &Bitcask, state: &mut State, numbers: Range<usize>) {
    for n in numbers {
        let key = format!("key{}", n * 5 % KEYS);
        if n % 6 == 5 {
            db.delete(&key).unwrap();
            state.remove(&key);
        } else {
            let value = format!("{key} at {n} {}", "v".repeat(n % 30));
            db.put(&key, &value).unwrap();
            state.insert(key, value);
        }
    }
}

/// A store of several files, closed, and what it holds; with a merge output among them if wanted.
pub(super) fn sample(way: Way, is_merged: bool) -> (SimDisk, State) {
    let disk = way.disk();
    let mut state = State::new();
    let db = open_at(&disk, STORE, way.small_files()).unwrap();
    write(&db, &mut state, 0..60);
    if is_merged {
        assert_eq!(db.merge_chosen(|_| 2..5).unwrap().runs, 1);
        write(&db, &mut state, 60..80);
    }
    db.close().unwrap();
    (disk, state)
}

/// The files of the store, with their bytes.
fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.files().into_iter().filter(|name| !name.contains('/'));
    names.map(|name| (name.clone(), disk.read_file(&name))).collect()
}

/// The data files with values, in the order of their names.
fn data_files(disk: &SimDisk) -> Vec<String> {
    let has_values = |bytes: &[u8]| bytes.windows(4).any(|window| window == b" at ");
    let with_values = |(name, bytes): &(String, Vec<u8>)| is_data_file(name) && has_values(bytes);
    content(disk).into_iter().filter(with_values).map(|(name, _)| name).collect()
}

/// The listed files in log order.
fn listed(disk: &SimDisk) -> Vec<String> {
    let db = open_at(disk, STORE, Options::read_only()).unwrap();
    db.status().files.into_iter().filter(|file| file.len > 0).map(|file| file.name).collect()
}

/// How long the header of a data file is that these bytes begin with.
fn header_len(way: Way, bytes: &[u8]) -> usize {
    let line_ends = || bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match way.format {
        LogFormat::Binary => 68 + 8 * usize::from(bytes[60]),
        LogFormat::Json => line_ends().next().unwrap(),
        LogFormat::Csv => line_ends().nth(1).unwrap(),
    }
}

/// Where the value of the last write of `key` lies.
fn value_place(disk: &SimDisk, value: &str) -> (String, u64) {
    let find = |bytes: &[u8]| bytes.windows(value.len()).position(|window| window == value.as_bytes());
    let found = content(disk).into_iter().filter(|(name, _)| is_data_file(name));
    let places: Vec<_> = found.filter_map(|(name, bytes)| find(&bytes).map(|at| (name, at as u64))).collect();
    places[0].clone()
}

#[test]
fn a_sound_store_has_nothing_to_repair() {
    for way in Way::ALL {
        let (disk, state) = sample(way, true);
        let before = content(&disk);
        assert_eq!(repair(&disk, &Repair::Report).unwrap(), RepairReport::default());
        let error = repair(&disk, &Repair::Manifest).unwrap_err();
        assert!(matches!(&error, Error::UnfitTarget { reason, .. } if reason.contains("whole")), "{error}");
        assert_eq!(content(&disk), before);
        let report = repair(&disk, &salvage()).unwrap();
        assert_eq!((report.lost.len(), report.salvaged), (0, state.len() as u64));
        assert_eq!(content(&disk), before);
        assert_eq!(state_at(&disk, SALVAGED), state);
        assert_eq!(repair(&disk, &Repair::CutTail).unwrap(), RepairReport::default());
        assert_eq!(state_at(&disk, STORE), state);
    }
}

#[test]
fn what_writes_is_kept_out_by_the_lock_and_what_only_reads_is_not() {
    for way in Way::ALL {
        let (disk, _) = sample(way, false);
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        for how in [Repair::CutTail, Repair::Hints, Repair::Manifest] {
            assert!(repair(&disk, &how).unwrap_err().is_locked(), "{how:?}");
        }
        repair(&disk, &Repair::Report).unwrap();
        repair(&disk, &salvage()).unwrap();
        drop(db);
        assert!(matches!(repair_at(&disk, "nowhere", &Repair::Report), Err(Error::NotAStore { .. })));
        disk.write_file("empty/notes.txt", b"no store");
        for how in [Repair::Report, Repair::CutTail, Repair::Hints, Repair::Manifest, salvage()] {
            assert!(matches!(repair_at(&disk, "empty", &how), Err(Error::NotAStore { .. })), "{how:?}");
            assert!(!disk.exists("empty/LOCK"), "{how:?}");
        }
        for target in ["store/inside", STORE, SALVAGED] {
            let refused = repair(&disk, &Repair::Salvage(target.into()));
            assert!(matches!(refused, Err(Error::UnfitTarget { .. })), "{target}: {refused:?}");
        }
    }
}

/// A store of which a part of the last write is missing, and what else it holds.
pub(super) fn torn(way: Way) -> (SimDisk, State) {
    let disk = way.disk();
    let db = open_at(&disk, STORE, way.small_files()).unwrap();
    let mut state = State::new();
    write(&db, &mut state, 0..20);
    db.put("key0", "the last write, of which a part is missing").unwrap();
    let left = disk.crash(0, CrashModel::KeepAll);
    let (name, at) = value_place(&left, "the last write");
    let mut bytes = left.read_file(&name);
    bytes[usize::try_from(at).unwrap() + 20..].fill(0);
    left.write_file(&name, &bytes);
    (left, state)
}

#[test]
fn a_torn_tail_is_reported_then_cut() {
    for way in Way::ALL {
        let (left, whole) = torn(way);
        let before = content(&left);
        let found = repair(&left, &Repair::Report).unwrap();
        assert_eq!((&found.damage[..], &found.remedies[..]), (&[][..], &[Remedy::CutTail][..]));
        assert_eq!(content(&left), before);
        let cut = repair(&left, &Repair::CutTail).unwrap();
        assert!(cut.torn_tail.is_some() && cut.torn_tail == found.torn_tail, "{cut:?} {found:?}");
        assert_eq!(repair(&left, &Repair::Report).unwrap(), RepairReport::default());
        assert_eq!(state_at(&left, STORE), whole);
    }
}

#[test]
fn hint_files_are_made_again_and_damaged_data_files_get_none() {
    for way in Way::ALL {
        let (disk, state) = sample(way, true);
        let hints: Vec<String> = disk.files().into_iter().filter(|name| name.ends_with(".hint")).collect();
        let sound: Vec<_> = hints.iter().map(|name| disk.read_file(name)).collect();
        disk.remove_file(&hints[0]);
        disk.flip_bit(&hints[1], 700);
        disk.write_file(&hints[2], b"nothing of use");
        let report = repair(&disk, &Repair::Report).unwrap();
        assert_eq!((report.damage.len(), &report.remedies[..]), (2, &[Remedy::Hints][..]), "{report:?}");
        let report = repair(&disk, &Repair::Hints).unwrap();
        assert_eq!(usize::try_from(report.hints).unwrap(), hints.len());
        assert_eq!(hints.iter().map(|name| disk.read_file(name)).collect::<Vec<_>>(), sound);
        assert_eq!(repair(&disk, &Repair::Report).unwrap(), RepairReport::default());
        assert_eq!(state_at(&disk, STORE), state);
        let damaged = data_files(&disk)[0].clone();
        disk.flip_bit(&damaged, 8 * 150);
        disk.remove_file(&hints[0]);
        let report = repair(&disk, &Repair::Hints).unwrap();
        assert_eq!((report.damage.len(), usize::try_from(report.hints).unwrap()), (1, hints.len() - 1));
        assert_eq!(report.damage[0].file, damaged);
        assert!(!disk.exists(&hints[0]));
    }
}

#[test]
fn a_manifest_that_is_lost_or_damaged_is_made_again_from_the_headers() {
    for way in Way::ALL {
        for is_merged in [false, true] {
            for (is_damaged, has_backup) in [(false, true), (true, true), (true, false), (false, false)] {
                let (disk, state) = sample(way, is_merged);
                let order = listed(&disk);
                assert_eq!(
                    order.is_sorted(),
                    !is_merged,
                    "with a merge the ids are not in log order: {order:?}"
                );
                if is_damaged {
                    disk.flip_bit("MANIFEST", 777);
                } else {
                    disk.remove_file("MANIFEST");
                }
                if !has_backup {
                    disk.remove_file("MANIFEST.bak");
                }
                assert!(open_at(&disk, STORE, way.small_files()).is_err());
                let before = content(&disk);
                let report = repair(&disk, &Repair::Report).unwrap();
                assert_eq!(
                    report.remedies.first(),
                    Some(&if has_backup { Remedy::Manifest } else { Remedy::Hints })
                );
                assert_eq!(content(&disk), before);
                let report = repair(&disk, &Repair::Manifest).unwrap();
                assert_eq!(report.listed, order);
                assert_eq!(disk.exists("MANIFEST.damaged"), is_damaged);
                let db = open_at(&disk, STORE, way.small_files()).unwrap();
                assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
                let recovery = db.status().recovery;
                assert!(recovery.clean);
                // With the old secret the hint files are still of use.
                assert_eq!(recovery.hints_loaded > 0, has_backup, "{recovery:?}");
                db.put("key0", "life goes on").unwrap();
                for n in 0..40 {
                    db.put(format!("other{n}"), vec![1; 60]).unwrap();
                }
                db.close().unwrap();
                let value = open_at(&disk, STORE, way.small_files()).unwrap().get("key0").unwrap();
                assert_eq!(value.as_deref(), Some(&b"life goes on"[..]));
                check_sound(&disk);
            }
        }
    }
}

/// The manifest is lost at every moment of a life with merges, and while a merge is being installed inputs and output lie
/// side by side. What the files tell is what the manifest said.
#[test]
fn a_manifest_made_at_any_moment_gives_the_same_store() {
    let sweep = Sweep::new("a_manifest_made_at_any_moment_gives_the_same_store");
    for (number, way) in Way::numbered(&sweep) {
        let disk = way.disk();
        disk.keep_snapshots();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..40);
        db.merge_chosen(|_| 1..4).unwrap();
        write(&db, &mut state, 40..70);
        db.merge_chosen(|count| 0..count - 1).unwrap();
        write(&db, &mut state, 70..80);
        drop(db);
        for (operation, moment) in disk.take_snapshots() {
            let left = moment.kill();
            if !left.exists("MANIFEST") {
                continue;
            }
            sweep.case(format!("{number}-{operation}"), |_| {
                let expected = {
                    let fork = left.fork();
                    let db = open_at(&fork, STORE, way.small_files()).unwrap();
                    ledger::read_all(&db, keys()).unwrap()
                };
                left.remove_file("MANIFEST");
                if operation % 2 == 0 && left.exists("MANIFEST.bak") {
                    left.remove_file("MANIFEST.bak");
                }
                match repair(&left, &Repair::Manifest) {
                    Ok(_) => assert_eq!(state_at(&left, STORE), expected),
                    // The very first file was not made yet.
                    Err(Error::NotAStore { .. }) => assert_eq!(expected, State::new()),
                    Err(error) => panic!("{error}"),
                }
            });
        }
    }
    sweep.finish(2_000);
}

#[test]
fn a_crash_while_a_manifest_is_made_leaves_the_way_to_make_it_again() {
    let sweep = Sweep::new("a_crash_while_a_manifest_is_made_leaves_the_way_to_make_it_again");
    let crashes_each = Crash::COUNT * Tier::pick(2, 10, 40);
    for (number, way) in Way::numbered(&sweep) {
        let (disk, state) = sample(way, true);
        disk.flip_bit("MANIFEST", 555);
        disk.keep_snapshots();
        repair(&disk, &Repair::Manifest).unwrap();
        for (operation, moment) in disk.take_snapshots() {
            for crash in 0..crashes_each {
                sweep.case(format!("{number}-{operation}-{crash}"), |seed| {
                    let left = Crash::number(crash).strike(&moment, &mut Random::new(seed));
                    if open_at(&left, STORE, Options::read_only()).is_err() {
                        repair(&left, &Repair::Manifest).unwrap();
                    }
                    assert_eq!(state_at(&left, STORE), state);
                });
            }
        }
    }
    sweep.finish(20 * crashes_each);
}

#[test]
fn a_manifest_is_not_made_of_damaged_files_or_of_two_stores() {
    let (disk, _) = sample(Way::SYSCALL, false);
    disk.remove_file("MANIFEST");
    let files = data_files(&disk);
    let mixed = disk.fork();
    let (other, _) = sample(Way::SYSCALL, false);
    mixed.write_file(&files[1], &other.read_file(&files[1]));
    let headless = disk.fork();
    headless.flip_bit(&files[2], 8 * 33);
    let torn = disk.fork();
    torn.flip_bit(&files[1], 8 * 90);
    let bytes = torn.read_file(&files[1]);
    torn.write_file(&files[1], &bytes[..bytes.len() - 3]);
    for (disk, what) in
        [(mixed, "two stores"), (headless, "a header"), (torn, "records that a sync had covered")]
    {
        let before = content(&disk);
        let error = repair(&disk, &Repair::Manifest).unwrap_err();
        assert!(matches!(error, Error::Corruption { .. } | Error::ForeignFile { .. }), "{what}: {error}");
        assert_eq!(content(&disk), before, "{what}");
    }
}

/// An update of a backup that was cut short in its last step lacks nothing: it is finished without the store.
#[test]
fn an_unfinished_backup_is_finished_or_refused() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, 0..40);
        db.backup_on(&*disk.vfs(), Path::new("backup"), &mut |_| ()).unwrap();
        write(&db, &mut state, 40..70);
        db.merge_chosen(|_| 1..4).unwrap();
        disk.keep_snapshots();
        db.backup_on(&*disk.vfs(), Path::new("backup"), &mut |_| ()).unwrap();
        let mut finished = 0;
        for (_, moment) in disk.take_snapshots() {
            if moment.exists("backup/MANIFEST") {
                continue;
            }
            let left = moment.crash(3, CrashModel::KeepAll);
            repair_at(&left, "backup", &Repair::Manifest).unwrap();
            let db = open_at(&left, "backup", Options::read_only()).unwrap();
            assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
            finished += 1;
        }
        assert!(finished > 5);
        let first = way.disk();
        let db = open_at(&first, STORE, way.small_files()).unwrap();
        write(&db, &mut State::new(), 0..40);
        first.fail_at(first.operations() + 60, Failure::Os(28), Repeat::Forever);
        assert!(db.backup_on(&*first.vfs(), Path::new("backup"), &mut |_| ()).is_err());
        first.clear_faults();
        let refused = repair_at(&first, "backup", &Repair::Manifest);
        assert!(matches!(refused, Err(Error::NotAStore { .. })), "{refused:?}");
    }
}

#[test]
fn salvage_finds_all_but_what_is_damaged() {
    let sweep = Sweep::new("salvage_finds_all_but_what_is_damaged");
    let (mut cases, mut lost_keys) = (0_u64, 0_u64);
    for (number, way) in Way::numbered(&sweep) {
        let step = Tier::pick(if way.format == LogFormat::Binary { 5 } else { 29 }, 1, 1);
        for is_merged in [false, true] {
            let (sample, state) = sample(way, is_merged);
            for (index, name) in (0..).zip(data_files(&sample)) {
                let len = sample.read_file(&name).len();
                let first = 5 + usize::try_from(sweep.seed_of(index)).unwrap() % step;
                for byte in (first..len).step_by(step) {
                    let case = format!("{number}-{}-{index}-{byte}", u8::from(is_merged));
                    let lost = sweep.case(case, |_| salvage_with_a_flip(way, &sample, &state, &name, byte));
                    cases += 1;
                    lost_keys += lost.unwrap_or_default() as u64;
                }
            }
        }
    }
    println!("{cases} cases, {lost_keys} keys lost");
    assert!(!sweep.is_whole() || lost_keys > cases / 20);
    sweep.finish(Tier::pick(4_000, 30_000, 30_000));
}

/// Flips a bit of this byte, salvages, and checks that nothing else is lost. Returns how many keys are.
fn salvage_with_a_flip(way: Way, sample: &SimDisk, state: &State, name: &str, byte: usize) -> usize {
    let disk = sample.fork();
    let bytes = disk.read_file(name);
    disk.flip_bit(name, (byte * 8 + byte % 8) as u64);
    if byte.is_multiple_of(2) {
        disk.flip_bit("MANIFEST", 400);
    }
    let what = format!("{way:?}, byte {byte} of {name}");
    let before = content(&disk);
    let report = repair(&disk, &salvage()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(content(&disk), before, "{what}");
    if byte < header_len(way, &bytes) {
        let lost: Vec<_> = report.lost.iter().map(|it| (&it.file[..], it.offset, it.len)).collect();
        assert_eq!(lost, [(name, 0, bytes.len() as u64)], "{what}");
        return 0;
    }
    let covering: Vec<_> = report
        .lost
        .iter()
        .filter(|lost| (lost.offset..lost.offset + lost.len).contains(&(byte as u64)))
        .collect();
    assert!(report.lost.len() == 1 && covering.len() == 1, "{what}: {:?}", report.lost);
    assert_eq!(covering[0].file, name, "{what}");
    let salvaged = state_at(&disk, SALVAGED);
    assert_eq!(report.salvaged, salvaged.len() as u64);
    // One record is lost, or the two lines that ended and began here: no more keys differ.
    let is_line_end = way.format != LogFormat::Binary && bytes[byte] == b'\n';
    let differing: BTreeSet<_> = keys().filter(|key| salvaged.get(key) != state.get(key)).collect();
    assert!(differing.len() <= 1 + usize::from(is_line_end), "{what}: {differing:?}");
    differing.len()
}

#[test]
fn salvage_goes_on_behind_damage_of_any_length_and_files_that_are_missing() {
    for way in Way::ALL {
        let (sample, _) = sample(way, false);
        let files = data_files(&sample);
        let (name, whole) = (&files[2], sample.read_file(&files[2]));
        let at = header_len(way, &whole) as u64 + 50;
        // More than the longest record of the sample.
        let record_len = if way.format == LogFormat::Binary { 200 } else { 300 };
        for len in [1, 40, 100, 200] {
            let disk = sample.fork();
            let mut noise = vec![0; len];
            Random::new(len as u64).fill(&mut noise);
            disk.overwrite(name, at, &noise);
            let report = repair(&disk, &salvage()).unwrap();
            assert_eq!(report.lost.len(), 1, "{:?}", report.lost);
            let lost = &report.lost[0];
            assert!(lost.offset <= at && lost.offset + lost.len >= at + len as u64, "{lost:?}");
            assert!(lost.len < len as u64 + record_len, "it finds the next record: {lost:?}");
            // Everything that was written behind the damage is there.
            let later: Vec<String> = keys()
                .filter(|key| {
                    let text = format!("{key} at ");
                    let mut behind = files[3..].iter().map(|file| sample.read_file(file));
                    behind.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
                })
                .collect();
            let (salvaged, right) = (state_at(&disk, SALVAGED), state_at(&sample.fork(), STORE));
            assert!(!later.is_empty());
            for key in later {
                assert_eq!(salvaged.get(&key), right.get(&key), "{key}");
            }
        }
        let disk = sample.fork();
        disk.remove_file(name);
        let headless = &files[4];
        disk.flip_bit(headless, 8 * 44);
        let report = repair(&disk, &salvage()).unwrap();
        let lost: Vec<_> =
            report.lost.iter().map(|lost| (lost.file.clone(), lost.offset, lost.len)).collect();
        let headless_len = disk.read_file(headless).len() as u64;
        assert_eq!(lost, [(name.clone(), 0, 0), (headless.clone(), 0, headless_len)]);
        assert!(report.salvaged > 0 && !whole.is_empty());
    }
}

#[test]
fn salvage_does_not_fall_back_to_an_older_value_where_it_knows_the_key() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.small_files()).unwrap();
        let lifetime = std::time::Duration::from_secs(3600);
        db.put("key1", "older").unwrap();
        db.put_with("key2", "with an expiry", &PutOptions::new().expires_in(lifetime)).unwrap();
        let expires_at = db.metadata("key2").unwrap().unwrap().expires_at;
        db.put("key1", "newest").unwrap();
        db.put("key3", "deleted").unwrap();
        db.delete("key3").unwrap();
        db.close().unwrap();
        let (name, at) = value_place(&disk, "newest");
        disk.flip_bit(&name, at * 8);
        let report = repair(&disk, &salvage()).unwrap();
        let [lost] = &report.lost[..] else { panic!("{:?}", report.lost) };
        let db = open_at(&disk, SALVAGED, way.small_files()).unwrap();
        // A line that does not fit its checksum does not tell its key.
        let key_is_known = way.format == LogFormat::Binary;
        assert_eq!(lost.what.contains("\"key1\""), key_is_known, "{lost:?}");
        assert_eq!(db.get("key1").unwrap().as_deref(), (!key_is_known).then_some(&b"older"[..]));
        assert_eq!(db.len(), 1 + u64::from(!key_is_known));
        assert_eq!(db.metadata("key2").unwrap().unwrap().expires_at, expires_at);
    }
}

#[test]
fn a_salvage_that_fails_leaves_no_store() {
    let sweep = Sweep::new("a_salvage_that_fails_leaves_no_store");
    let (sample, state) = sample(Way::SYSCALL, false);
    let calls = {
        let disk = sample.fork();
        let before = disk.operations();
        repair(&disk, &salvage()).unwrap();
        disk.operations() - before
    };
    let step = Tier::pick(3, 1, 1);
    let mut failed = 0;
    for call in (sweep.seed_of(0) % step..calls).step_by(usize::try_from(step).unwrap()) {
        let has_failed = sweep.case(call, |_| {
            let disk = sample.fork();
            let before = content(&disk);
            disk.fail_at(disk.operations() + call, Failure::Os(5), Repeat::Once);
            let result = repair(&disk, &salvage());
            disk.clear_faults();
            assert_eq!(content(&disk), before);
            if let Err(error) = &result {
                assert!(
                    matches!(error, Error::Io { .. } | Error::Poisoned { .. } | Error::NotAStore { .. }),
                    "{error}"
                );
                assert!(open_at(&disk, SALVAGED, Options::read_only()).is_err());
                repair(&disk, &salvage()).unwrap();
            }
            assert_eq!(state_at(&disk, SALVAGED), state);
            result.is_err()
        });
        failed += u64::from(has_failed == Some(true));
    }
    assert!(!sweep.is_whole() || failed > 50, "{failed} of {calls}");
    sweep.finish(calls / step);
}

/// A store in which two batches follow each other, the second as the end of its log.
struct TwoBatches {
    disk: SimDisk,
    /// The file that they are in, and its bytes.
    name: String,
    bytes: Vec<u8>,
    /// Where the second lies: from within its first record to its end.
    second: Range<usize>,
    /// What the keys have before and after the second, which changes five.
    before: State,
    after: State,
}

impl TwoBatches {
    fn new(way: Way) -> Self {
        let disk = way.disk();
        let db = open_at(&disk, STORE, way.options().durability(Durability::Os)).unwrap();
        write(&db, &mut State::new(), 0..KEYS);
        let mut states = Vec::new();
        for (round, deleted) in [("first", "key7"), ("second", "key9")] {
            let mut batch = db.batch();
            for n in 0..4 {
                batch.put(format!("key{n}"), format!("of the {round} batch, {n}"));
            }
            batch.delete(deleted);
            assert!(batch.commit().unwrap());
            states.push(ledger::read_all(&db, keys()).unwrap());
        }
        let [before, after] = states.try_into().unwrap();
        let end = usize::try_from(db.status().files[0].len).unwrap();
        let disk = disk.kill();
        let (name, first_value) = value_place(&disk, "of the second batch, 0");
        let bytes = disk.read_file(&name);
        Self { disk, name, bytes, second: usize::try_from(first_value).unwrap()..end, before, after }
    }

    /// Flips a bit of this byte of the second batch, and salvages. Returns whether a part of the batch is there.
    fn salvage_with_a_flip(&self, byte: usize) -> bool {
        let Self { before, after, .. } = self;
        let disk = self.disk.fork();
        disk.flip_bit(&self.name, byte as u64 * 8);
        let report = repair(&disk, &salvage()).unwrap();
        let salvaged = state_at(&disk, SALVAGED);
        let lost = |key: &str| {
            let mut windows = self.bytes.windows(key.len());
            let place = windows.rposition(|window| window == key.as_bytes()).unwrap();
            report.lost.iter().any(|it| (it.offset..it.offset + it.len).contains(&(place as u64)))
        };
        assert_eq!(report.lost.len(), 1, "{:?}", report.lost);
        let (mut new, mut old) = (0, 0);
        for key in keys().filter(|key| before.get(key) != after.get(key)) {
            if lost(&key) {
                let found = salvaged.get(&key);
                assert!(found.is_none() || found == before.get(&key), "{key}");
                old += 1;
            } else {
                assert_eq!(salvaged.get(&key), after.get(&key), "{key}");
                new += 1;
            }
        }
        assert_eq!(new + old, 5);
        new > 0 && old > 0
    }

    /// Cuts the log within the second batch, and salvages. Returns whether the cut was between two records.
    fn salvage_with_a_cut(&self, cut: usize) -> bool {
        let disk = self.disk.fork();
        disk.write_file(&self.name, &self.bytes[..cut]);
        let report = repair(&disk, &salvage()).unwrap();
        let salvaged = state_at(&disk, SALVAGED);
        match &report.lost[..] {
            [] if cut == self.second.end => assert_eq!(salvaged, self.after),
            [] => {
                assert_eq!(salvaged, self.before);
                return true;
            }
            lost => {
                // Torn within a record: what stands before it is there, as before any damage.
                assert!(lost.len() == 1 && lost[0].offset + lost[0].len <= cut as u64, "{lost:?}");
                for key in keys() {
                    let found = salvaged.get(&key);
                    assert!(found == self.before.get(&key) || found == self.after.get(&key), "{key}");
                }
            }
        }
        false
    }
}

/// Each record of a batch is salvaged by itself: what can be read of it is there, whatever became of the rest.
#[test]
fn salvage_splits_a_batch_of_which_a_part_cannot_be_read() {
    let sweep = Sweep::new("salvage_splits_a_batch_of_which_a_part_cannot_be_read");
    for (number, way) in Way::numbered(&sweep) {
        let sample = TwoBatches::new(way);
        let mut split = 0;
        for byte in sample.second.clone().step_by(Tier::pick(5, 1, 1)) {
            let is_split = sweep.case(format!("{number}-{byte}"), |_| sample.salvage_with_a_flip(byte));
            split += u64::from(is_split == Some(true));
        }
        assert!(!sweep.is_whole() || split > 10, "{way:?}: {split}");
    }
    sweep.finish(Tier::pick(250, 1_250, 1_250));
}

/// A batch that the log ends in was never whole, and nobody was told that it is written.
#[test]
fn salvage_takes_nothing_of_a_batch_that_the_log_ends_in() {
    let sweep = Sweep::new("salvage_takes_nothing_of_a_batch_that_the_log_ends_in");
    for (number, way) in Way::numbered(&sweep) {
        let sample = TwoBatches::new(way);
        let mut between = 0;
        for cut in sample.second.start..=sample.second.end {
            let is_between = sweep.case(format!("{number}-{cut}"), |_| sample.salvage_with_a_cut(cut));
            between += u64::from(is_between == Some(true));
        }
        assert!(
            !sweep.is_whole() || between >= 5,
            "{way:?}: behind each record of the batch, and none behind its end"
        );
    }
    sweep.finish(1_300);
}

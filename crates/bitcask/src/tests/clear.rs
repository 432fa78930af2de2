//! Clearing: all keys go or none, whenever it stops and whatever fails, and snapshots see what they saw.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcask_testing::{Sweep, Tier};

use super::harness::{self, Crash};
use super::model::{Map, Stored};
use super::ways::{Way, is_data_file};
use crate::progress;
use crate::vfs::sim::{CrashModel, Failure, PendingBytes, Random, Repeat, SimClock, SimDisk, SyncMode};
use crate::{Bitcask, Durability, Error, MergeOptions, MergePolicy, Options, Snapshot};

fn options(way: Way) -> Options {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    way.options().max_file_size(700).durability(Durability::Os).merge(merge)
}

fn open(disk: &SimDisk, way: Way) -> Bitcask {
    open_at(disk, way, 1_000_000)
}

fn open_at(disk: &SimDisk, way: Way, now_us: u64) -> Bitcask {
    harness::open(disk, &Arc::new(SimClock::new(now_us)), &options(way)).unwrap()
}

fn put_all(db: &Bitcask, keys: std::ops::Range<u64>) {
    for n in keys {
        db.put(format!("key{n}"), format!("value of {n}")).unwrap();
    }
}

/// A store of several files, most of them complete and one not, with deletes and a batch.
fn sample(way: Way) -> SimDisk {
    let disk = way.disk();
    let db = open(&disk, way);
    put_all(&db, 0..40);
    for n in (0..40).step_by(3) {
        assert!(db.delete(format!("key{n}")).unwrap());
    }
    let mut batch = db.batch();
    batch.put("one", "1").put("two", "2").delete("key1");
    assert!(batch.commit().unwrap());
    db.close().unwrap();
    disk
}

fn data_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|name| is_data_file(name)).collect()
}

#[test]
fn a_clear_leaves_no_key_and_no_old_file_and_the_store_goes_on() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let (keys, files) = (db.len(), data_files(&disk));
        let newest = db.get_entry("one").unwrap().unwrap().timestamp_us;
        let report = db.clear().unwrap();
        assert_eq!(report.keys, keys);
        assert!(report.files + 2 > files.len() as u64 && report.bytes > 1_000, "{report:?}");
        assert_eq!(report.not_removed, [""; 0]);
        assert!(data_files(&disk).len() <= 2, "the active file and its successor: {:?}", disk.files());
        assert!(db.is_empty() && db.get("one").unwrap().is_none() && db.iter().next().is_none());
        assert!(!db.delete("one").unwrap());
        put_all(&db, 100..150);
        let expected = Map::of(&db);
        assert_eq!(expected.len(), 50);
        db.merge_chosen(|count| 0..count).unwrap();
        db.close().unwrap();
        // A clock that has gone back changes nothing: what is written later is newer.
        let db = open_at(&disk, way, 0);
        assert_eq!(Map::of(&db), expected);
        db.put("one", "again").unwrap();
        assert!(db.get_entry("one").unwrap().unwrap().timestamp_us > newest);
        assert_eq!(db.clear().unwrap().keys, 51);
        assert_eq!(db.clear().unwrap().keys, 0);
        db.close().unwrap();
        assert_eq!(db.clear().unwrap_err().to_string(), Error::Closed.to_string());
        let db = open(&disk, way);
        assert!(db.is_empty() && db.status().recovery.clean);
        harness::check_sound(&disk);
    }
}

/// The timestamp of a clear is in the manifest, and nowhere in the log.
#[test]
fn what_is_written_after_a_clear_a_crash_and_a_clock_that_goes_back_is_newer() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open_at(&disk, way, 5_000_000);
        db.put("key", "value").unwrap();
        let before = db.get_entry("key").unwrap().unwrap().timestamp_us;
        db.clear().unwrap();
        let left = disk.crash(1, CrashModel::Clean);
        let db = open_at(&left, way, 0);
        db.put("key", "value").unwrap();
        assert!(db.get_entry("key").unwrap().unwrap().timestamp_us > before + 1);
    }
}

#[test]
fn snapshots_and_iterations_see_what_was_there_before_each_clear() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let expect = |snapshot: &Snapshot, map: &Map| assert_eq!(Map::of_snapshot(snapshot), *map);
        let (first, first_map) = (db.snapshot(), Map::of(&db));
        db.put("one", "other").unwrap();
        put_all(&db, 200..230);
        let (second, second_map) = (db.snapshot(), Map::of(&db));
        let mut entries = db.iter();
        let begun = entries.by_ref().take(5).count();
        db.clear().unwrap();
        expect(&first, &first_map);
        expect(&second, &second_map);
        assert_eq!(begun + entries.map(Result::unwrap).count(), second_map.len());
        put_all(&db, 220..240);
        db.put("two", "again").unwrap();
        let (third, third_map) = (db.snapshot(), Map::of(&db));
        db.put("two", "and again").unwrap();
        db.delete("key225").unwrap();
        // The slots of the files that went must not be given to others.
        for _ in 0..4 {
            put_all(&db, 300..320);
            db.rotate().unwrap();
        }
        db.merge().unwrap();
        let last_map = Map::of(&db);
        expect(&first, &first_map);
        expect(&third, &third_map);
        db.clear().unwrap();
        put_all(&db, 0..10);
        for (snapshot, map) in [(&first, &first_map), (&second, &second_map), (&third, &third_map)] {
            expect(snapshot, map);
            for key in
                [first_map.keys(), second_map.keys(), third_map.keys(), last_map.keys()].into_iter().flatten()
            {
                let value = snapshot.get(key).unwrap();
                assert_eq!(value.as_deref(), map.get(key).map(|stored| &stored.value[..]));
            }
        }
        drop(first);
        expect(&second, &second_map);
        drop(second);
        expect(&third, &third_map);
        drop(third);
        assert_eq!(Map::of(&db).len(), 10);
    }
}

/// Stops a clear before each of its calls, in every way to stop.
#[test]
fn wherever_a_clear_stops_all_keys_are_there_or_none() {
    let sweep = Sweep::new("wherever_a_clear_stops_all_keys_are_there_or_none");
    let crashes_each = Tier::pick(1, 8, 40) * Crash::COUNT;
    let mut counts = [0_u64; 2];
    for (way_number, way) in Way::numbered(&sweep) {
        let disk = sample(way);
        let db = open(&disk, way);
        db.put("before", "and not synced").unwrap();
        db.sync().unwrap();
        let before = Map::of(&db);
        disk.keep_snapshots();
        db.clear().unwrap();
        let moments = disk.take_snapshots();
        assert!(moments.len() > 10);
        for (number, left) in (0..).zip(moments.into_iter().map(|(_, left)| left).chain([disk.fork()])) {
            for crash in 0..crashes_each {
                let is_cleared = sweep.case(format!("{way_number}-{number}-{crash}"), |seed| {
                    let left = Crash::number(crash).strike(&left, &mut Random::new(seed));
                    let db = open(&left, way);
                    let found = Map::of(&db);
                    let is_cleared = found.len() == 0;
                    assert!(is_cleared || found == before, "{found:?}");
                    put_all(&db, 500..503);
                    db.close().unwrap();
                    drop(db);
                    assert_eq!(Map::of(&open(&left, way)).len(), found.len() + 3);
                    harness::check_sound(&left);
                    if is_cleared {
                        assert!(data_files(&left).len() <= 3, "what is gone is removed: {:?}", left.files());
                    }
                    is_cleared
                });
                is_cleared.into_iter().for_each(|is_cleared| counts[usize::from(is_cleared)] += 1);
            }
        }
        let left = disk.crash(7, CrashModel::Clean);
        assert!(open(&left, way).is_empty(), "a clear that has returned is durable");
    }
    assert!(!sweep.is_whole() || counts.iter().all(|&count| count > 50), "{counts:?}");
    sweep.finish(60 * crashes_each);
}

/// A clear is in the manifest alone. A disk that loses one which it had confirmed, and loses the removals with it, but keeps what
/// was written later, brings the keys back, and nothing tells: found by the sweep over disks that lie about syncs. Nothing is
/// there that was not written for its key.
#[test]
fn a_disk_that_loses_the_manifest_of_a_clear_may_bring_the_keys_back() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let before = Map::of(&db);
        disk.set_sync_mode(SyncMode::Lies);
        db.clear().unwrap();
        // No more than the active file holds: the next one would be listed by a manifest that is lost as well.
        put_all(&db, 700..701);
        db.sync().unwrap();
        let after = Map::of(&db);
        let lost = disk.crash_with_names(&vec![false; disk.pending_names()], PendingBytes::Kept);
        let found = Map::of(&open(&lost, way));
        assert_eq!(found.len(), before.len() + after.len());
        for key in found.keys() {
            assert!(found.get(key) == before.get(key) || found.get(key) == after.get(key));
        }
        let kept = disk.crash_with_names(&vec![true; disk.pending_names()], PendingBytes::Kept);
        assert_eq!(Map::of(&open(&kept, way)), after);
    }
}

/// Lets call `number` of a clear fail; `None` when it has fewer, or else whether the store was poisoned.
fn fail_one(
    sample: &SimDisk,
    way: Way,
    number: u64,
    failure: Failure,
    repeat: Repeat,
    seed: u64,
) -> Option<bool> {
    let disk = sample.fork();
    let db = open(&disk, way);
    let before = Map::of(&db);
    let first = disk.operations();
    disk.fail_at(first + number, failure, repeat);
    let fired = disk.faults_fired();
    let cleared = db.clear();
    let hit = disk.faults_fired() > fired;
    let failed = disk.trace().into_iter().find(|operation| operation.number >= first + number);
    disk.clear_faults();
    let failed = failed?;
    if !hit {
        return Some(false);
    }
    let poisoned = db.status().poisoned.is_some();
    let found = Map::of(&db);
    match &cleared {
        Ok(_) => assert_eq!(found.len(), 0, "{failed}"),
        Err(error) => {
            assert!(!error.is_corruption(), "{failed}: {error}");
            assert_eq!(found, before, "{failed}: after an error all keys are there");
        }
    }
    for crash in 0..Crash::COUNT {
        let left = Crash::number(crash).strike(&disk, &mut Random::new(seed));
        let left = Map::of(&open(&left, way));
        assert!(left == found || (poisoned && left.len() == 0), "{failed}: after {:?}", Crash::number(crash));
    }
    let written = db.put("later", "value");
    assert_eq!(written.is_err(), poisoned, "{failed}: {written:?}");
    if !poisoned {
        let mut expected = found;
        expected.insert(b"later".to_vec(), Stored::forever("value"));
        assert_eq!(Map::of(&db), expected);
        db.close().unwrap();
        drop(db);
        let db = open(&disk, way);
        assert_eq!(Map::of(&db), expected, "{failed}: after opening again");
        db.clear().unwrap();
        assert!(db.is_empty());
        assert!(data_files(&disk).len() <= 2, "{failed}: {:?}", disk.files());
        harness::check_sound(&disk);
    }
    Some(poisoned)
}

#[test]
fn whichever_call_of_a_clear_fails_all_keys_are_there_or_none() {
    let sweep = Sweep::new("whichever_call_of_a_clear_fails_all_keys_are_there_or_none");
    let failures = [Failure::Os(5), Failure::Os(28), Failure::Os(24), Failure::Map];
    let mut counts = [0_u64; 2];
    for (way_number, way) in Way::numbered(&sweep) {
        let sample = sample(way);
        let calls = {
            let disk = sample.fork();
            let db = open(&disk, way);
            let _ = Map::of(&db);
            let first = disk.operations();
            db.clear().unwrap();
            disk.operations() - first
        };
        for (kind, failure) in failures.into_iter().enumerate() {
            for repeat in [Repeat::Once, Repeat::Forever] {
                for number in 0..calls {
                    let is_forever = u8::from(repeat == Repeat::Forever);
                    let poisoned = sweep.case(format!("{way_number}-{kind}-{is_forever}-{number}"), |seed| {
                        fail_one(&sample, way, number, failure, repeat, seed)
                    });
                    poisoned.flatten().into_iter().for_each(|poisoned| counts[usize::from(poisoned)] += 1);
                }
            }
        }
    }
    assert!(!sweep.is_whole() || counts.iter().all(|&count| count > 10), "{counts:?}");
    sweep.finish(1_000);
}

#[test]
fn a_reader_sees_the_store_as_it_was_and_may_not_clear_it() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let reader = harness::open(&disk, &Arc::new(SimClock::new(0)), &Options::read_only()).unwrap();
        let before = Map::of(&reader);
        assert!(matches!(reader.clear(), Err(Error::ReadOnly)));
        db.clear().unwrap();
        assert_eq!(Map::of(&reader), before);
        let reader = harness::open(&disk, &Arc::new(SimClock::new(0)), &Options::read_only()).unwrap();
        assert!(reader.is_empty());
    }
}

#[test]
fn a_follower_sees_a_clear_and_whoever_reads_changes_is_told_to_begin_anew() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let open_reader =
            || harness::open(&disk, &Arc::new(SimClock::new(0)), &Options::read_only()).unwrap();
        let follower = open_reader();
        let (before, before_map) = (follower.snapshot(), Map::of(&follower));
        let mut changes = db.changes(before.timestamp_us()).unwrap();
        db.clear().unwrap();
        assert!(follower.refresh().unwrap() && !follower.refresh().unwrap());
        assert!(follower.is_empty());
        assert_eq!(Map::of_snapshot(&follower.snapshot()).len(), 0);
        assert_eq!(Map::of_snapshot(&before), before_map);
        assert!(matches!(changes.next(), Some(Err(Error::ChangesMerged { .. }))));
        let position = db.snapshot().timestamp_us();
        assert_eq!(follower.snapshot().timestamp_us(), position);
        let reader = open_reader();
        let mut followed = [&db, &reader, &follower].map(|db| db.changes(position));
        put_all(&db, 0..3);
        db.sync().unwrap();
        // A marker, which tells readers of that sync, comes with the next write.
        db.put("last", "").unwrap();
        for changes in followed.iter_mut().map(|changes| changes.as_mut().unwrap()) {
            assert_eq!(changes.map(Result::unwrap).count(), 3);
        }
    }
}

#[test]
fn a_backup_after_a_clear_replaces_the_one_before_it() {
    for way in Way::ALL {
        let disk = sample(way);
        let db = open(&disk, way);
        let back_up = || db.backup_on(&*disk.vfs(), Path::new("backup"), &mut progress::unwatched).unwrap();
        let open_backup = || {
            let clock = Arc::new(SimClock::new(0));
            Bitcask::open_on(&*disk.vfs(), clock, Path::new("backup"), Options::read_only()).unwrap()
        };
        back_up();
        let before = Map::of(&db);
        db.clear().unwrap();
        assert_eq!(Map::of(&open_backup()), before);
        put_all(&db, 0..3);
        back_up();
        assert_eq!(Map::of(&open_backup()), Map::of(&db));
    }
}

#[test]
fn a_clear_rids_a_store_of_damage() {
    for way in Way::ALL {
        let disk = sample(way);
        let mut bytes = disk.read_file(&way.file(1));
        let at = bytes.windows(10).position(|window| window == b"value of 1").unwrap();
        bytes[at] ^= 1;
        disk.write_file(&way.file(1), &bytes);
        let db = open(&disk, way);
        db.clear().unwrap();
        harness::check_sound(&disk);
        put_all(&db, 0..5);
        assert_eq!(Map::of(&db).len(), 5);
    }
}

/// A merge that waits does not hold a clear up.
#[test]
fn a_clear_ends_the_merge_in_progress() {
    for way in Way::ALL {
        let disk = way.disk();
        // One byte in a second: it would take days.
        let slow = options(way).max_file_size(2 << 20).merge(MergeOptions::new().rate(1));
        let db = harness::open(&disk, &Arc::new(SimClock::new(1_000_000)), &slow).unwrap();
        for _ in 0..2 {
            db.put("large", vec![b'x'; 300 << 10]).unwrap();
            db.rotate().unwrap();
        }
        let files = data_files(&disk).len();
        std::thread::scope(|scope| {
            let merging = scope.spawn(|| db.merge());
            while data_files(&disk).len() == files {
                std::thread::yield_now();
            }
            assert_eq!(db.clear().unwrap().keys, 1);
            let report = merging.join().unwrap().unwrap();
            assert_eq!(report.runs, 0);
        });
        assert!(db.is_empty() && data_files(&disk).len() <= 2);
        db.put("small", "value").unwrap();
        db.rotate().unwrap();
        db.merge_chosen(|count| 0..count).unwrap();
        assert_eq!(db.get("small").unwrap().as_deref(), Some(&b"value"[..]));
    }
}

/// Numbers are put in order while others clear: of what is there a later number never lacks, whoever looks.
#[test]
fn among_threads_a_clear_comes_between_two_writes() {
    const COUNT: u64 = 3_000;
    for way in Way::ALL {
        let disk = way.disk();
        let db =
            harness::open(&disk, &Arc::new(SimClock::new(1_000_000)), &options(way).max_file_size(20_000));
        let db = db.unwrap();
        let is_over = AtomicBool::new(false);
        let numbers = |snapshot: &Snapshot| {
            let number = |key: Vec<u8>| String::from_utf8(key).unwrap().parse::<u64>().unwrap();
            let mut numbers: Vec<u64> = snapshot.keys().map(|key| number(key.unwrap())).collect();
            numbers.sort_unstable();
            numbers
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..COUNT {
                    db.put(n.to_string(), "value").unwrap();
                    // What was just put is there, unless a clear has come.
                    let (there, next) = (db.contains(n.to_string()).unwrap(), n + 1);
                    assert!(there || !db.contains(next.to_string()).unwrap());
                }
                is_over.store(true, Ordering::Release);
            });
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let seen = numbers(&db.snapshot());
                    let is_whole = seen.windows(2).all(|pair| pair[0] + 1 == pair[1]);
                    assert!(is_whole, "{way:?}: {seen:?}");
                }
            });
            while !is_over.load(Ordering::Acquire) {
                db.clear().unwrap();
            }
        });
        let seen = numbers(&db.snapshot());
        assert!(seen.is_empty() || *seen.last().unwrap() == COUNT - 1, "{seen:?}");
        harness::check_sound(&disk);
    }
}

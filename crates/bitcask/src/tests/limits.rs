//! Limits: what reaches one is refused with a clear error, what makes room goes on, and nothing is lost.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{self, STORE};
use super::model::Map;
use super::ways::{Way, is_data_file};
use crate::options::Maintenance;
use crate::vfs::sim::{Failure, OpKind, Repeat, SimClock, SimDisk};
use crate::vfs::{DirAccess, DiskSpace};
use crate::{
    Bitcask, Durability, Error, MergeOptions, MergePolicy, Options, PutOptions, Result, Update, opening,
};

const FILE: u64 = 3_000;
const LIMIT: u64 = 120_000;

fn options(way: Way) -> Options {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    way.options().max_file_size(FILE).durability(Durability::Os).merge(merge)
}

fn limited(way: Way) -> Options {
    options(way).max_store_bytes(LIMIT)
}

fn open(disk: &SimDisk, options: &Options) -> Bitcask {
    harness::open(disk, &Arc::new(SimClock::new(1_000_000)), options).unwrap()
}

fn key(n: usize) -> String {
    format!("key{n}")
}

fn put(db: &Bitcask, n: usize) -> Result<()> {
    db.put(key(n), format!("value {n} {}", "x".repeat(60)))
}

/// Puts until one is refused: how many were not, and why it was.
fn fill(db: &Bitcask) -> (usize, Error) {
    let filled = (0..100_000).try_fold(0, |_, n| match put(db, n) {
        Ok(()) => ControlFlow::Continue(n + 1),
        Err(error) => ControlFlow::Break((n, error)),
    });
    filled.break_value().expect("it is full at some time")
}

/// Bytes of all data files, as they lie on the disk.
fn bytes_on(disk: &SimDisk) -> u64 {
    disk.files().into_iter().filter(|name| is_data_file(name)).map(|name| disk.file_len(&name)).sum()
}

/// Does something, and looks at the disk before each of its calls.
fn below_limit<T>(way: Way, disk: &SimDisk, act: impl FnOnce() -> T) -> T {
    disk.keep_snapshots();
    let done = act();
    let moments = disk.take_snapshots().into_iter().map(|(_, moment)| moment).chain([disk.fork()]);
    // What is allocated ahead does not count, and cannot be told from records here.
    for moment in moments.filter(|_| way != Way::MAPPED) {
        assert!(bytes_on(&moment) <= LIMIT, "{way:?}: {} bytes", bytes_on(&moment));
    }
    done
}

#[test]
fn a_full_store_takes_deletes_and_a_merge_and_then_puts_again() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &limited(way));
        let (count, refused) = below_limit(way, &disk, || fill(&db));
        let Error::StoreFull { used, limit } = refused else { panic!("{way:?}: {refused}") };
        assert!(refused.is_full() && limit == LIMIT && used > LIMIT / 2 && used >= db.status().data_bytes);
        assert!(
            refused.to_string().contains("delete keys and merge, or raise `max_store_bytes`"),
            "{refused}"
        );
        assert_eq!(db.status().max_store_bytes, Some(LIMIT));
        let full = Map::of(&db);
        assert_eq!(full.len(), count);
        // Without a merge no put finds room, whatever was deleted.
        for n in 0..40 {
            assert!(below_limit(way, &disk, || db.delete(key(n)).unwrap()));
            assert!(matches!(put(&db, n), Err(Error::StoreFull { .. })));
        }
        below_limit(way, &disk, || db.merge().unwrap());
        (0..10).for_each(|n| put(&db, n).unwrap());
        let now = Map::of(&db);
        assert_eq!(now.len(), count - 30);
        db.close().unwrap();
        drop(db);
        let db = open(&disk, &limited(way));
        assert_eq!(Map::of(&db), now);
        harness::check_sound(&disk);
    }
}

/// Until deletes are refused as well, there is room for a merge, and each merge makes room for more deletes.
#[test]
fn deletes_and_merges_in_turn_empty_a_full_store_of_small_values() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &limited(way));
        let count = (0..).find(|n| db.put(key(*n), "").is_err()).unwrap();
        let (mut left, mut merges) = (0..count, 0);
        while let Some(n) = left.next() {
            while let Err(error) = below_limit(way, &disk, || db.delete(key(n))) {
                assert!(matches!(error, Error::StoreFull { .. }), "{error}");
                merges += 1;
                assert!(merges < 100, "{} keys are left", left.len());
                assert!(below_limit(way, &disk, || db.merge().unwrap()).runs > 0);
            }
        }
        assert!(db.is_empty() && merges > 0, "{way:?}: {merges} merges");
        below_limit(way, &disk, || db.merge().unwrap());
        assert!(fill(&db).0 > 50);
    }
}

#[test]
fn every_write_that_puts_is_refused_and_every_one_that_deletes_is_done() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &limited(way));
        db.put("number", "1").unwrap();
        let hour = Duration::from_secs(3600);
        db.put_with("mortal", "value", &PutOptions::new().expires_in(hour)).unwrap();
        let _ = fill(&db);
        while db.put("filler", "").is_ok() {}
        let before = Map::of(&db);
        let batch = |with_put: bool| {
            let mut batch = db.batch();
            batch.delete(key(0)).delete(key(1));
            if with_put {
                batch.put("new", "");
            }
            batch.commit().map(drop)
        };
        let refused = [
            db.put("new", ""),
            db.put_with("new", "", &PutOptions::new().if_absent()).map(drop),
            db.update("number", |_| Update::Put(b"2".to_vec())).map(drop),
            db.compare_and_swap("number", Some(b"1"), Some(b"2")).map(drop),
            db.increment("number", 1).map(drop),
            db.expire_in("number", hour).map(drop),
            db.persist("mortal").map(drop),
            batch(true),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Err(Error::StoreFull { .. })), "{way:?}: write {index}: {refused:?}");
        }
        assert_eq!(Map::of(&db), before);
        // What would write nothing is answered.
        assert!(!db.put_with("number", "", &PutOptions::new().if_absent()).unwrap());
        assert!(!db.compare_and_swap("number", Some(b"7"), Some(b"8")).unwrap());
        batch(false).unwrap();
        assert!(db.update("number", |_| Update::Delete).unwrap());
        assert!(db.compare_and_swap("mortal", Some(b"value"), None).unwrap());
        assert_eq!(Map::of(&db).len() + 4, before.len());
    }
}

#[test]
fn a_store_above_its_limit_is_opened_and_made_smaller() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &options(way));
        (0..2_000).for_each(|n| put(&db, n).unwrap());
        assert!(db.status().data_bytes > LIMIT * 3 / 2);
        db.close().unwrap();
        drop(db);
        let db = open(&disk, &limited(way));
        assert_eq!(db.len(), 2_000);
        assert!(matches!(put(&db, 2_000), Err(Error::StoreFull { .. })));
        for n in 0..1_990 {
            while let Err(error) = db.delete(key(n)) {
                assert!(matches!(error, Error::StoreFull { .. }), "{error}");
                assert!(db.merge().unwrap().runs > 0);
            }
        }
        db.merge().unwrap();
        put(&db, 2_000).unwrap();
        assert_eq!(Map::of(&db).len(), 11);
    }
}

/// A merge copies a live record whole, however long it is, so there must be room for it twice.
#[test]
fn a_record_that_is_longer_than_a_file_needs_its_room_twice() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &limited(way));
        assert!(matches!(db.put("long", vec![b'x'; 60_000]), Err(Error::StoreFull { .. })));
        below_limit(way, &disk, || db.put("long", vec![b'x'; 12_000]).unwrap());
        let _ = fill(&db);
        db.rotate().unwrap();
        below_limit(way, &disk, || {
            for index in 0..db.status().files.len() - 2 {
                db.merge_chosen(|_| index..index + 1).unwrap();
            }
        });
        assert_eq!(db.get("long").unwrap().unwrap().len(), 12_000);
    }
}

#[test]
fn a_store_that_refuses_puts_merges_what_is_worth_it_by_its_policy() {
    for way in Way::ALL {
        let disk = way.disk();
        // No trigger is ever reached.
        let merge = MergeOptions::new().policy(MergePolicy::Always).fragmentation_trigger(100);
        let merge =
            merge.fragmentation_threshold(100).dead_bytes_trigger(u64::MAX).dead_bytes_threshold(u64::MAX);
        let options = limited(way).merge(merge).maintenance(Maintenance::Callers);
        let clock = Arc::new(SimClock::new(1_000_000));
        let store = opening::open(&*disk.vfs(), clock, Path::new(STORE), options).unwrap();
        let put = |n: u32| store.put(&n.to_le_bytes(), &[b'x'; 60], &PutOptions::new());
        let count = (0..).find(|n| put(*n).is_err()).unwrap();
        for n in (0..40_u32).map(|n| 2 * n) {
            assert!(store.delete(&n.to_le_bytes(), &PutOptions::new()).unwrap());
        }
        let side = store.write_side().unwrap();
        assert!(matches!(put(count), Err(Error::StoreFull { .. })));
        let report = store.merge_by_policy(side).unwrap();
        assert!(report.runs > 0 && report.records_dropped > 0, "{report:?}");
        put(count).unwrap();
        assert_eq!(store.merge_by_policy(side).unwrap().runs, 0, "nothing was refused since");
    }
}

fn space(disk: &SimDisk) -> DiskSpace {
    disk.vfs().open_dir(Path::new(STORE), DirAccess::ReadOnly).unwrap().space().unwrap()
}

/// With room for a file and some tombstones in reserve, no call ever meets a full disk.
#[test]
fn a_disk_that_fills_up_refuses_puts_while_there_is_room_for_deletes_and_a_merge() {
    for way in Way::ALL {
        let reserve = 12_000;
        let options = options(way).space_reserve(reserve);
        for capacity in (30_000..60_000).step_by(1_313) {
            let disk = way.disk();
            disk.set_capacity(Some(capacity));
            let db = open(&disk, &options);
            let (count, refused) = fill(&db);
            let Error::DiskNearlyFull { free, reserve: kept } = refused else {
                panic!("{way:?}, {capacity}: {refused}")
            };
            assert!(refused.is_full() && free < kept && kept == reserve, "{refused}");
            // Measured in time: what is allocated at once is a file.
            assert!(free + FILE + 5_000 > reserve, "{way:?}, {capacity}: {free} bytes are free");
            let full = Map::of(&db);
            assert_eq!(full.len(), count);
            for n in 0..60 {
                assert!(db.delete(key(n)).unwrap(), "{way:?}, {capacity}: key {n} of {count}");
            }
            db.merge().unwrap();
            assert!(space(&disk).free > reserve, "{way:?}, {capacity}: {:?}", space(&disk));
            put(&db, 0).unwrap();
            let _ = fill(&db);
            disk.set_capacity(None);
            put(&db, count).unwrap();
            db.close().unwrap();
            harness::check_sound(&disk);
        }
    }
}

#[test]
fn without_a_reserve_puts_go_on_until_the_disk_is_full() {
    for way in Way::ALL {
        let disk = way.disk();
        disk.set_capacity(Some(40_000));
        let db = open(&disk, &options(way).space_reserve(0));
        let (_, error) = fill(&db);
        assert!(matches!(error, Error::Io { .. }) && error.is_full(), "{way:?}: {error}");
        assert!(space(&disk).free < FILE);
        let disk = way.disk();
        disk.set_capacity(Some(40_000));
        let db = open(&disk, &options(way));
        let (_, error) = fill(&db);
        assert!(matches!(error, Error::DiskNearlyFull { reserve: 2_000, .. }), "{way:?}: {error}");
    }
}

const KEYDIR: u64 = 3 << 20;

/// Puts keys that are numbers, as one batch.
fn put_numbers(db: &Bitcask, numbers: std::ops::Range<u64>, value: &str) -> Result<bool> {
    let mut batch = db.batch();
    for n in numbers {
        batch.put(n.to_string(), value);
    }
    batch.commit()
}

/// Puts new keys until one is refused: how many were not.
fn fill_keydir(db: &Bitcask) -> u64 {
    let mut count = 0;
    while put_numbers(db, count..count + 2_000, "").is_ok() {
        count += 2_000;
    }
    while db.put(count.to_string(), "").is_ok() {
        count += 1;
    }
    count
}

#[test]
fn a_full_keydir_refuses_new_keys_and_takes_overwrites_and_deletes_and_then_new_keys_again() {
    for way in Way::ALL {
        let disk = way.disk();
        let capped = way.options().durability(Durability::Os).max_file_size(1 << 20).max_keydir_bytes(KEYDIR);
        let db = open(&disk, &capped);
        let count = fill_keydir(&db);
        let status = db.status();
        assert!(count > 90_000 && db.len() == count, "{count}");
        assert!(status.keydir_bytes <= KEYDIR && status.max_keydir_bytes == Some(KEYDIR));
        let new = count.to_string();
        let written = status.data_bytes;
        for refused in [
            db.put(&new, ""),
            db.increment(&new, 1).map(drop),
            db.compare_and_swap(&new, None, Some(b"")).map(drop),
        ] {
            let Err(Error::KeydirFull { needed, limit: KEYDIR }) = refused else { panic!("{refused:?}") };
            assert!(needed > KEYDIR && needed < KEYDIR + (16 << 10), "{needed}");
        }
        assert_eq!(db.status().data_bytes, written, "nothing is written");
        assert!(put_numbers(&db, 0..1_000, "overwritten").unwrap());
        db.put("7", "overwritten again").unwrap();
        // One of each shard, most likely; the key that was refused is in one of them.
        for n in 1_000..8_000_u32 {
            assert!(db.delete(n.to_string()).unwrap());
        }
        db.put(&new, "").unwrap();
        assert!(db.status().keydir_bytes <= KEYDIR);
        db.close().unwrap();
        drop(db);
        // What fitted while it grew fits when it is opened, whatever was written twice.
        let db = open(&disk, &capped);
        assert_eq!(db.len(), count + 1 - 7_000);
        let mut refused = (count + 1..).filter_map(|n| db.put(n.to_string(), "").err());
        assert!(matches!(refused.next(), Some(Error::KeydirFull { .. })));
    }
}

#[test]
fn an_open_for_which_the_keydir_would_be_too_large_says_what_it_needs() {
    for way in Way::ALL {
        let disk = way.disk();
        let unlimited = way.options().durability(Durability::Os).max_file_size(1 << 20);
        let db = open(&disk, &unlimited);
        assert!(put_numbers(&db, 0..150_000, "").unwrap());
        db.close().unwrap();
        drop(db);
        let clock = Arc::new(SimClock::new(1_000_000));
        for options in [unlimited.clone(), Options::read_only()] {
            let open = |max: u64| harness::open(&disk, &clock, &options.clone().max_keydir_bytes(max));
            let Err(Error::KeydirFull { needed, limit: KEYDIR }) = open(KEYDIR) else { panic!("{way:?}") };
            assert!(needed > 150_000 * 20 && needed < 150_000 * 40, "{needed}");
            assert!(matches!(open(needed - 1), Err(Error::KeydirFull { .. })));
            let db = open(needed).unwrap();
            assert_eq!((db.len(), db.status().keydir_bytes), (150_000, needed));
        }
    }
}

/// The message says what to do, and that works.
#[test]
fn a_store_with_as_many_files_as_may_be_open_is_merged_and_goes_on() {
    for way in Way::ALL {
        let disk = way.disk();
        let options = options(way).max_open_files(6);
        let db = open(&disk, &options);
        // Few keys, so that a merge finds much that is dead.
        let refused = (0..10_000).find_map(|n| put(&db, n % 10).err()).unwrap();
        assert!(matches!(refused, Error::TooManyFiles { .. }) && refused.is_full(), "{way:?}: {refused}");
        assert!(refused.to_string().contains("at most 6 are allowed: merge the store"), "{refused}");
        assert_eq!((db.status().files.len(), db.status().poisoned), (5, None));
        let full = Map::of(&db);
        assert!(matches!(db.delete(key(0)), Err(Error::TooManyFiles { .. })) || full.len() == 10);
        disk.keep_snapshots();
        assert!(db.merge().unwrap().runs > 0);
        for (_, moment) in disk.take_snapshots() {
            let count = moment.files().iter().filter(|name| is_data_file(name)).count();
            // Inputs that are not listed any more are closed, and removed one by one.
            assert!(count <= 6, "{way:?}: {:?}", moment.files());
        }
        (0..10).for_each(|n| put(&db, n).unwrap());
        let now = Map::of(&db);
        db.close().unwrap();
        drop(db);
        assert_eq!(Map::of(&open(&disk, &options)), now);
        // As many as may be open, and clearing.
        let db = open(&disk, &options);
        while put(&db, 0).is_ok() {}
        db.clear().unwrap();
        put(&db, 0).unwrap();
        assert_eq!(db.len(), 1);
    }
}

#[test]
fn an_open_that_needs_more_files_than_it_may_changes_nothing() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &options(way));
        (0..300).for_each(|n| put(&db, n).unwrap());
        let (before, files) = (Map::of(&db), db.status().files.len() as u64);
        db.close().unwrap();
        drop(db);
        let clock = Arc::new(SimClock::new(1_000_000));
        for options in [options(way), Options::read_only()] {
            disk.keep_snapshots();
            let refused =
                harness::open(&disk, &clock, &options.clone().max_open_files(files - 1)).unwrap_err();
            assert!(refused.to_string().contains(&format!("{files} data files would be open")), "{refused}");
            assert_eq!(
                disk.take_snapshots().iter().filter(|(_, left)| left.files() != disk.files()).count(),
                0
            );
            let db = harness::open(&disk, &clock, &options.max_open_files(files)).unwrap();
            assert_eq!(Map::of(&db), before);
        }
    }
}

#[test]
fn a_system_without_more_descriptors_is_the_same_clear_error() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &options(way));
        for code in [23, 24] {
            let opens = |kind| matches!(kind, OpKind::Open | OpKind::Create);
            disk.inject(disk.operations(), opens, Failure::Os(code), Repeat::Forever);
            let refused = (0..1_000).find_map(|n| put(&db, n % 10).err()).unwrap();
            let opened =
                harness::open(&disk, &Arc::new(SimClock::new(0)), &Options::read_only()).unwrap_err();
            disk.clear_faults();
            for error in [refused, opened] {
                assert!(matches!(error, Error::TooManyFiles { .. }), "{way:?}: {error}");
                assert!(error.to_string().contains("ulimit -n"), "{error}");
            }
            put(&db, 0).unwrap();
        }
    }
}

//! What the engine does when nothing goes wrong, in both ways of I/O.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ways::Way;
use crate::options::Maintenance;
use crate::status::FileState;
use crate::vfs::sim::{CrashModel, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, LogFormat, OpenMode, Options, PutOptions, Result};

fn open(disk: &Disk, options: Options) -> Result<Bitcask> {
    open_at(disk, options, Arc::new(SimClock::new(1_000_000)))
}

fn open_at(disk: &Disk, options: Options, clock: Arc<SimClock>) -> Result<Bitcask> {
    let options = options.format(disk.way.format).maintenance(Maintenance::Callers);
    Bitcask::open_on(&*disk.disk.vfs(), clock, Path::new("store"), options)
}

/// A disk with a store of some format.
struct Disk {
    disk: SimDisk,
    way: Way,
}

impl Disk {
    fn kill(&self) -> Self {
        Self { disk: self.disk.kill(), way: self.way }
    }

    /// Loses all that was not synced.
    fn cut_power(&self) -> Self {
        Self { disk: self.disk.crash(1, CrashModel::Clean), way: self.way }
    }
}

/// Files so small that a few records fill one.
fn small_files() -> Options {
    Options::new().max_file_size(1024).durability(Durability::Os)
}

fn in_every_way(test: impl Fn(&Disk)) {
    for way in Way::ALL {
        test(&Disk { disk: way.disk(), way });
    }
}

fn contents(db: &Bitcask) -> BTreeMap<Vec<u8>, Vec<u8>> {
    db.iter().map(|entry| entry.map(|(key, value)| (key, value.into_vec()))).collect::<Result<_>>().unwrap()
}

#[test]
fn what_is_written_is_there_after_rotations_reopening_and_death() {
    in_every_way(|disk| {
        let db = open(disk, small_files()).unwrap();
        let mut expected = BTreeMap::new();
        for round in 0..3 {
            for n in 0..50 {
                let (key, value) = (format!("key{n}"), format!("value {n} of round {round}"));
                db.put(&key, &value).unwrap();
                expected.insert(key.into_bytes(), value.into_bytes());
            }
            assert!(db.delete(format!("key{round}")).unwrap());
            expected.remove(format!("key{round}").as_bytes());
        }
        let check = |db: &Bitcask| {
            assert_eq!(contents(db), expected);
            assert_eq!(db.len(), expected.len() as u64);
            for n in 0..50 {
                let key = format!("key{n}");
                let value = db.get(&key).unwrap().map(|value| value.into_vec());
                assert_eq!(value.as_ref(), expected.get(key.as_bytes()), "{key}");
                assert_eq!(db.contains(&key).unwrap(), value.is_some());
            }
        };
        check(&db);
        assert!(db.status().files.len() > 5);
        db.close().unwrap();

        let db = open(disk, small_files()).unwrap();
        let recovery = db.status().recovery;
        assert!(recovery.clean && recovery.hints_loaded > 4 && recovery.files_scanned == 1, "{recovery:?}");
        check(&db);
        drop(db);
        check(&open(disk, Options::read_only()).unwrap());

        let db = open(disk, small_files()).unwrap();
        db.put("key5", expected[&b"key5"[..]].clone()).unwrap();
        let disk = disk.kill();
        let db = open(&disk, small_files()).unwrap();
        assert!(!db.status().recovery.clean);
        check(&db);
    });
}

#[test]
fn keys_iter_prefix_and_fold_see_every_key_once() {
    in_every_way(|disk| {
        let db = open(disk, small_files()).unwrap();
        for n in 0..700 {
            db.put(format!("{}:{n}", if n % 7 == 0 { "week" } else { "day" }), n.to_string()).unwrap();
        }
        let mut keys = db.keys().collect::<Result<Vec<_>>>().unwrap();
        keys.sort();
        assert_eq!(keys, contents(&db).into_keys().collect::<Vec<_>>());
        assert_eq!(keys.len(), 700);
        let weeks = db.prefix("week:").collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(weeks.len(), 100);
        assert!(weeks.iter().all(|(key, _)| key.starts_with(b"week:")));
        let sum = db.fold(0, |sum, _, value| sum + String::from_utf8_lossy(value).parse::<u64>().unwrap());
        assert_eq!(sum.unwrap(), 699 * 700 / 2);
        assert_eq!(db.prefix("month").count(), 0);
    });
}

#[test]
fn an_iteration_visits_what_was_there_when_it_began_while_keys_come_and_go() {
    in_every_way(|disk| {
        let db = open(disk, small_files()).unwrap();
        for n in 0..1000 {
            db.put(format!("stays{n}"), "1").unwrap();
            db.put(format!("goes{n}"), "1").unwrap();
        }
        let mut visited = Vec::new();
        for (n, key) in db.keys().enumerate() {
            visited.push(key.unwrap());
            if n < 1000 {
                db.delete(format!("goes{n}")).unwrap();
                db.put(format!("comes{n}"), "1").unwrap();
                db.put(format!("stays{n}"), "2").unwrap();
            }
        }
        visited.retain(|key| key.starts_with(b"stays"));
        visited.sort();
        assert_eq!(visited.len(), 1000);
        visited.dedup();
        assert_eq!(visited.len(), 1000);
    });
}

#[test]
fn the_shortest_and_the_longest_keys_and_values_fit() {
    in_every_way(|disk| {
        let options = small_files().max_value_size(100_000);
        let long_key = vec![0xff; 65_535];
        let long_value = vec![7; 100_000];
        let db = open(disk, options.clone()).unwrap();
        db.put([0], []).unwrap();
        db.put(&long_key, &long_value).unwrap();
        db.put("after", "it").unwrap();
        let disk = disk.kill();
        let db = open(&disk, options).unwrap();
        assert_eq!(db.get([0]).unwrap().as_deref(), Some(&[][..]));
        assert_eq!(db.get(&long_key).unwrap().as_deref(), Some(&long_value[..]));
        assert_eq!(db.keys().collect::<Result<Vec<_>>>().unwrap().len(), 3);
        assert_eq!(db.get("after").unwrap().as_deref(), Some(&b"it"[..]));
    });
}

#[test]
fn what_no_record_can_hold_is_refused_before_anything_is_written() {
    in_every_way(|disk| {
        let db = open(disk, small_files().max_value_size(10)).unwrap();
        let written = db.status().data_bytes;
        assert!(matches!(db.put("", "v"), Err(Error::KeySize { len: 0 })));
        assert!(matches!(db.put(vec![1; 65_536], "v"), Err(Error::KeySize { len: 65_536 })));
        assert!(matches!(db.put("k", [0; 11]), Err(Error::ValueSize { len: 11, max: 10 })));
        assert!(matches!(db.get(""), Err(Error::KeySize { len: 0 })));
        assert!(matches!(db.delete(""), Err(Error::KeySize { len: 0 })));
        assert_eq!(db.status().data_bytes, written);
        assert!(db.is_empty());
    });
}

#[test]
fn a_read_only_handle_refuses_writes_and_a_closed_one_everything() {
    in_every_way(|disk| {
        assert!(matches!(open(disk, Options::read_only()), Err(Error::NotAStore { .. })));
        let db = open(disk, small_files()).unwrap();
        db.put("k", "v").unwrap();
        let reader = open(disk, Options::read_only()).unwrap();
        assert_eq!(reader.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        assert!(reader.put("k", "w").unwrap_err().is_read_only());
        assert!(reader.delete("k").unwrap_err().is_read_only());
        assert!(reader.sync().unwrap_err().is_read_only());

        let clone = db.clone();
        db.close().unwrap();
        db.close().unwrap();
        assert!(matches!(clone.put("k", "w"), Err(Error::Closed)));
        assert!(matches!(clone.get("k"), Err(Error::Closed)));
        assert!(matches!(clone.contains("k"), Err(Error::Closed)));
        assert!(matches!(clone.delete("k"), Err(Error::Closed)));
        assert!(matches!(clone.sync(), Err(Error::Closed)));
        assert!(matches!(clone.iter().next(), Some(Err(Error::Closed))));
    });
}

#[test]
fn only_one_handle_writes_and_the_mode_decides_about_making_a_store() {
    in_every_way(|disk| {
        let existing = || small_files().mode(OpenMode::Existing);
        assert!(matches!(open(disk, existing()), Err(Error::NotAStore { .. })));
        let db = open(disk, small_files()).unwrap();
        assert!(open(disk, small_files()).unwrap_err().is_locked());
        drop(db);
        open(disk, existing()).unwrap();
    });
}

#[test]
fn a_write_that_asks_for_it_is_durable_whatever_the_store_does() {
    in_every_way(|disk| {
        let db = open(disk, small_files()).unwrap();
        db.put("lost", "1").unwrap();
        db.put_with("kept", "1", &PutOptions::new().durability(Durability::Always)).unwrap();
        db.put("lost too", "1").unwrap();
        let disk = disk.cut_power();
        let db = open(&disk, small_files()).unwrap();
        // All that came before the durable write is durable with it.
        assert_eq!(contents(&db).into_keys().collect::<Vec<_>>(), [b"kept".to_vec(), b"lost".to_vec()]);
    });
}

#[test]
fn what_a_reader_of_an_always_store_has_seen_survives_power_loss() {
    in_every_way(|disk| {
        let options = || Options::new().durability(Durability::Always);
        let unsynced = PutOptions::new().durability(Durability::Os);
        let db = open(disk, options()).unwrap();
        db.put("old", "1").unwrap();
        db.put_with("new", "1", &unsynced).unwrap();
        assert!(!contents(&open(&disk.cut_power(), options()).unwrap()).contains_key(&b"new"[..]));
        assert!(db.get("new").unwrap().is_some());
        let after = open(&disk.cut_power(), options()).unwrap();
        assert!(after.contains("new").unwrap());

        db.delete_with("old", &unsynced).unwrap();
        assert!(open(&disk.cut_power(), options()).unwrap().contains("old").unwrap());
        assert!(!db.contains("old").unwrap());
        assert!(!open(&disk.cut_power(), options()).unwrap().contains("old").unwrap());
    });
}

#[test]
fn an_interval_store_syncs_when_its_time_has_come() {
    in_every_way(|disk| {
        let clock = Arc::new(SimClock::new(1_000_000));
        let options = Options::new().durability(Durability::Interval(Duration::from_secs(1)));
        let db = open_at(disk, options.clone(), Arc::clone(&clock)).unwrap();
        db.put("early", "1").unwrap();
        clock.advance(Duration::from_secs(1));
        db.put("in time", "1").unwrap();
        db.put("late", "1").unwrap();
        let disk = disk.cut_power();
        let db = open(&disk, options).unwrap();
        assert_eq!(contents(&db).into_keys().collect::<Vec<_>>(), [b"early".to_vec(), b"in time".to_vec()]);
    });
}

#[test]
fn a_large_active_file_is_sealed_at_close_so_that_the_next_open_reads_no_data() {
    in_every_way(|disk| {
        let options = || Options::new().durability(Durability::Os);
        let db = open(disk, options()).unwrap();
        for n in 0..17 {
            db.put([n], vec![n; 1 << 20]).unwrap();
        }
        db.close().unwrap();
        for round in 0..2 {
            let db = open(disk, options()).unwrap();
            let recovery = db.status().recovery;
            assert!(recovery.clean && recovery.hints_loaded == 1, "{recovery:?}");
            assert_eq!(recovery.files_scanned, round);
            assert_eq!(db.len(), 17 + round);
            assert_eq!(db.get([16]).unwrap().as_deref(), Some(&vec![16; 1 << 20][..]));
            db.put(format!("round {round}"), "1").unwrap();
        }
    });
}

#[test]
fn status_counts_live_and_dead_bytes_by_file() {
    in_every_way(|disk| {
        let db = open(disk, small_files()).unwrap();
        for _ in 0..3 {
            for n in 0..20 {
                db.put(format!("key{n}"), [0; 40]).unwrap();
            }
        }
        let check = |db: &Bitcask| {
            let status = db.status();
            assert_eq!(status.keys, 20);
            assert_eq!(status.files.iter().map(|file| file.live_keys).sum::<u64>(), 20);
            let record = match disk.way.format {
                LogFormat::Binary => 24 + 5 + 40,
                LogFormat::Json => 136,
                LogFormat::Csv => 89,
            };
            assert!(status.live_bytes >= 20 * record && status.live_bytes <= 21 * record, "{status:?}");
            assert_eq!(status.files.iter().filter(|file| file.state == FileState::Active).count(), 1);
            assert!(status.dead_bytes > 35 * record, "{status:?}");
            assert!(status.keydir_bytes >= 400);
            assert_eq!(status.poisoned, None);
        };
        check(&db);
        drop(db);
        check(&open(disk, small_files()).unwrap());
    });
}

#[test]
fn a_handle_can_be_shared_by_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Bitcask>();
    shared::<Error>();
}

//! What is read is not what was written: a disk that garbles a write and says nothing, a map that breaks, hints that were
//! changed.

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness;
use super::model::Map;
use super::story::in_every_way;
use super::ways::{Way, is_data_file};
use crate::vfs::sim::{Failure, OpKind, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, LogFormat, MergeOptions, MergePolicy, Options};

fn open(disk: &SimDisk, format: LogFormat) -> Result<Bitcask, Error> {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    let options = Options::new().format(format).max_file_size(700).durability(Durability::Os).merge(merge);
    harness::open(disk, &Arc::new(SimClock::new(1)), &options)
}

/// A store of several complete files with values, tombstones and what they supersede.
fn sample(way: Way) -> SimDisk {
    let disk = way.disk();
    let db = open(&disk, way.format).unwrap();
    for n in 0..40_u64 {
        let key = format!("key{}", n % 9);
        match n % 5 {
            0 => drop(db.delete(&key).unwrap()),
            _ => db.put(&key, format!("value {n} {}", "x".repeat(20))).unwrap(),
        }
    }
    db.close().unwrap();
    disk
}

fn merge(db: &Bitcask) -> Result<u64, Error> {
    db.merge_chosen(|count| 1..count).map(|report| report.outputs)
}

/// The calls of a merge that are writes.
fn writes_of_merge(sample: &SimDisk, way: Way) -> Vec<u64> {
    let disk = sample.fork();
    let db = open(&disk, way.format).unwrap();
    let first = disk.operations();
    assert_eq!(merge(&db).unwrap(), 1);
    let calls = disk.trace().into_iter().filter(|call| call.number >= first && call.kind == OpKind::WriteAt);
    calls.map(|call| call.number - first).collect()
}

/// Merges a copy of `sample` while the write with this number is garbled in one byte.
fn garble(sample: &SimDisk, way: Way, write: u64, place: usize) {
    let disk = sample.fork();
    let db = open(&disk, way.format).unwrap();
    let expected = Map::of(&db);
    let number = disk.operations() + write;
    disk.garble_write(number, place);
    let merged = merge(&db);
    assert_eq!(disk.faults_fired(), 1);
    let garbled = disk.trace().into_iter().find(|call| call.number == number).unwrap();
    disk.clear_faults();
    if is_data_file(&garbled.name) {
        let error = merged.expect_err("what does not come back is not installed");
        assert!(error.is_corruption(), "{garbled}: {error}");
    }
    assert_eq!(Map::of(&db), expected, "{garbled}: an answer changes");
    db.close().unwrap();
    drop(db);
    match open(&disk, way.format) {
        Ok(db) => assert_eq!(Map::of(&db), expected, "{garbled}: after opening again"),
        // It is written whole and never read back: the one before it is beside it.
        Err(error) => {
            let is_told = error.is_corruption() || matches!(error, Error::Newer { .. });
            assert!(garbled.name.starts_with("MANIFEST") && is_told, "{garbled}: {error}");
        }
    }
}

#[test]
fn a_merge_gives_up_nothing_for_a_write_that_the_disk_has_garbled() {
    let sweep = Sweep::new("a_merge_gives_up_nothing_for_a_write_that_the_disk_has_garbled");
    for (number, way) in Way::numbered(&sweep) {
        let sample = sample(way);
        for write in writes_of_merge(&sample, way) {
            for turn in 0..Tier::pick(30, 300, 3_000) {
                sweep.case(format!("{number}-{write}-{turn}"), |seed| {
                    garble(&sample, way, write, usize::try_from(seed % 100_000).unwrap());
                });
            }
        }
    }
    sweep.finish(Tier::pick(400, 3_000, 30_000));
}

/// What else it has lost nobody knows.
#[test]
fn a_write_into_a_map_that_breaks_poisons_the_store() {
    let disk = Way::MAPPED.disk();
    let db = open(&disk, LogFormat::Binary).unwrap();
    db.put("before", "1").unwrap();
    disk.inject(disk.operations(), |kind| kind == OpKind::CopyIn, Failure::Map, Repeat::Once);
    let error = db.put("in it", "2").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    for refused in [db.put("after", "3"), db.sync(), db.close()] {
        assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    }
    drop(db);
    let db = open(&disk, LogFormat::Binary).unwrap();
    assert_eq!(db.get("before").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(Map::of(&db).len(), 1);
}

/// Each entry is made one of another record, or of a tombstone, which leads to no damage that a read could find.
#[test]
fn hints_that_were_changed_hide_no_key_and_lead_to_no_other_record() {
    in_every_way(|mut story| {
        let keys: Vec<String> = (0..20).map(|n| format!("a key to look for {n:02}")).collect();
        for key in &keys {
            story.put(key, "older");
            story.put(key, "newer");
        }
        story.rotate();
        story.reopen();
        let name = story.disk.files().into_iter().find(|name| name.ends_with(".hint")).unwrap();
        let bytes = story.disk.read_file(&name);
        let expected = Map::of(story.db());
        assert_eq!(expected.len(), keys.len());
        let place = |key: &str| bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
        let is_answered = |changed: &[u8], what: &str| {
            let disk = story.disk.fork();
            disk.write_file(&name, changed);
            let db = harness::open(&disk, &story.clock, &Options::new()).unwrap();
            assert_eq!(Map::of(&db), expected, "{what}");
        };
        for key in &keys {
            let kind = place(key) - 2;
            assert_eq!(bytes[kind], 1, "a value");
            let mut changed = bytes.clone();
            changed[kind] = 2;
            is_answered(&changed, &format!("{key} is a tombstone"));
            let mut changed = bytes.clone();
            changed[place(key) + key.len() - 1] ^= 1;
            is_answered(&changed, &format!("{key} is another key"));
        }
    });
}

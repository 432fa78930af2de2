//! Values that are compressed: whoever reads gets what was put, whatever was chosen at which open; and what does not
//! decompress is damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::{STORE, open, open_at};
use super::ways::{Way, compressions, is_data_file};
use crate::backup::restore_on;
use crate::format::codec::{Codec, Prepared};
use crate::format::compression::Algorithm;
use crate::format::file_header::FileHeader;
use crate::format::record::{Kind, RecordHeader};
use crate::options::Maintenance;
use crate::repair::repair_on;
use crate::vfs::DirAccess;
use crate::vfs::sim::{Random, SimClock, SimDisk};
use crate::{
    Bitcask, Compression, Durability, Error, Options, PutOptions, Repair, Result, Update, VerifyReport,
    verify,
};

type Map = BTreeMap<String, Vec<u8>>;

fn options(way: Way, compression: Compression) -> Options {
    way.options().max_file_size(20_000).durability(Durability::Os).compression(compression)
}

/// Every kind of compression but none.
fn algorithms() -> impl Iterator<Item = Compression> {
    compressions().into_iter().filter(|&compression| compression != Compression::None)
}

fn open_dir(disk: &SimDisk, path: &str, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(path), options.maintenance(Maintenance::Callers))
}

fn verified(disk: &SimDisk, path: &str) -> VerifyReport {
    let dir = disk.vfs().open_dir(Path::new(path), DirAccess::ReadOnly).unwrap();
    verify::verify_dir(&*dir, &mut |_| {}).unwrap().unwrap()
}

fn text(len: usize) -> Vec<u8> {
    b"{\"name\":\"Ada\",\"born\":1815},".iter().copied().cycle().take(len).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut noise = vec![0; len];
    Random::new(7).fill(&mut noise);
    noise
}

/// Values short and long, text and not, some that compression helps and some that it does not.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one byte", b"x".to_vec()),
        ("too short", text(255)),
        ("just long enough", text(256)),
        ("text", text(5_000)),
        ("zeros", vec![0; 70_000]),
        ("noise", noise(5_000)),
        // As it is stored still longer than what a scan hands over.
        ("half noise", [noise(400_000), vec![b'-'; 400_000]].concat()),
    ]
}

fn put_all(db: &Bitcask, prefix: &str, map: &mut Map) {
    for (name, value) in values() {
        let key = format!("{prefix} {name}");
        db.put(&key, &value).unwrap();
        map.insert(key, value);
    }
}

/// Whoever reads, in whatever way, gets these values.
fn assert_holds(db: &Bitcask, map: &Map, message: &str) {
    let snapshot = db.snapshot();
    let mut buffer = b"before".to_vec();
    for (key, value) in map {
        let check = |found: Option<&[u8]>| assert!(found == Some(value), "{message}: {key}");
        check(db.get(key).unwrap().as_deref());
        check(db.get(key).unwrap().map(|found| found.into_vec()).as_deref());
        check(db.get_entry(key).unwrap().map(|entry| entry.value).as_deref());
        check(snapshot.get(key).unwrap().as_deref());
        check(snapshot.get_entry(key).unwrap().map(|entry| entry.value).as_deref());
        check(db.multi_get([key]).unwrap()[0].as_deref());
        assert!(db.get_into(key, &mut buffer).unwrap());
        check(Some(&buffer));
        assert_eq!(db.metadata(key).unwrap().unwrap().value_len, value.len() as u64, "{message}: {key}");
        assert!(db.contains(key).unwrap());
    }
    let sorted = |entries: crate::Iter| {
        entries
            .map(|entry| entry.map(|(key, value)| (String::from_utf8(key).unwrap(), value.into_vec())))
            .collect::<Result<Map>>()
            .unwrap()
    };
    assert!(sorted(db.iter()) == *map, "{message}");
    assert!(sorted(db.prefix("")) == *map, "{message}");
    assert!(sorted(snapshot.iter()) == *map, "{message}");
    assert_eq!(db.len(), map.len() as u64, "{message}");
}

/// How long the value of a key is on disk.
fn stored_len(db: &Bitcask, key: &str) -> u64 {
    db.metadata(key).unwrap().unwrap().stored_len
}

#[test]
fn every_value_comes_back_whatever_is_chosen_at_which_open() {
    for way in Way::ALL {
        let (disk, mut map) = (way.disk(), Map::new());
        for (round, compression) in compressions().into_iter().rev().enumerate() {
            let db = open(&disk, &options(way, compression)).unwrap();
            put_all(&db, &format!("round {round}"), &mut map);
            let mut batch = db.batch();
            batch.put("batch 1", text(900 + round)).put("batch 2", noise(900)).delete("round 0 text");
            assert!(batch.commit().unwrap());
            map.extend([("batch 1".to_owned(), text(900 + round)), ("batch 2".to_owned(), noise(900))]);
            map.remove("round 0 text");
            assert_holds(&db, &map, &format!("{way:?}, {compression:?}"));
            db.close().unwrap();
            drop(db);
            assert_eq!(verified(&disk, STORE).damage, []);
        }
        let reader = open(&disk, &Options::read_only()).unwrap();
        assert_holds(&reader, &map, "a reader, by hint files");
        for hint in disk.files().into_iter().filter(|file| file.ends_with(".hint")) {
            disk.remove_file(&hint);
        }
        assert_holds(&open(&disk, &options(way, Compression::None)).unwrap(), &map, "without hint files");
        assert_eq!(verified(&disk, STORE).damage, []);
    }
}

#[test]
fn a_value_is_compressed_from_the_chosen_length_on_where_it_helps() {
    for way in Way::ALL {
        for compression in algorithms() {
            let db = open(&way.disk(), &options(way, compression)).unwrap();
            put_all(&db, "k", &mut Map::new());
            for plain in ["empty", "one byte", "too short", "noise"] {
                let metadata = db.metadata(format!("k {plain}")).unwrap().unwrap();
                assert_eq!(metadata.stored_len, metadata.value_len, "{plain}");
            }
            for (compressed, most) in
                [("just long enough", 90), ("text", 120), ("zeros", 320), ("half noise", 404_000)]
            {
                let len = stored_len(&db, &format!("k {compressed}"));
                assert!(len < most, "{way:?}, {compression:?}: {compressed} has {len}");
            }
            db.close().unwrap();
        }
    }
    for compression in algorithms() {
        let all = options(Way::MAPPED, compression).compress_from(0);
        let db = open(&Way::MAPPED.disk(), &all).unwrap();
        db.put("text", text(100)).unwrap();
        assert!(stored_len(&db, "text") < 60);
        db.put("short", text(10)).unwrap();
        assert_eq!(stored_len(&db, "short"), 10);
    }
}

#[test]
fn the_longest_value_that_a_store_takes_is_judged_by_what_is_put() {
    for compression in algorithms() {
        let limited = options(Way::MAPPED, compression).max_value_size(1_000);
        let disk = Way::MAPPED.disk();
        let db = open(&disk, &limited).unwrap();
        db.put("k", text(1_000)).unwrap();
        assert!(matches!(db.put("k", text(1_001)), Err(Error::ValueSize { len: 1_001, max: 1_000 })));
        drop(db);
        // What is there already is read.
        let db = open(&disk, &limited.max_value_size(10)).unwrap();
        assert_eq!(db.get("k").unwrap().as_deref(), Some(&text(1_000)[..]));
    }
}

#[test]
fn a_merge_keeps_values_as_they_are_stored_whatever_is_chosen_then() {
    for way in Way::ALL {
        for compression in algorithms() {
            let (disk, mut map) = (way.disk(), Map::new());
            let db = open(&disk, &options(way, compression).max_file_size(4 << 20)).unwrap();
            db.put("seen", text(3_000)).unwrap();
            let seen = db.snapshot();
            assert!(db.delete("seen").unwrap());
            put_all(&db, "k", &mut map);
            db.put_with("gone", text(2_000), &PutOptions::new().expires_in(Duration::ZERO)).unwrap();
            let stored = |db: &Bitcask| map.keys().map(|key| stored_len(db, key)).collect::<Vec<_>>();
            let before = stored(&db);
            put_all(&db, "dead", &mut Map::new());
            for (name, _) in values() {
                assert!(db.delete(format!("dead {name}")).unwrap());
            }
            db.rotate().unwrap();
            let merged = db.merge().unwrap();
            assert!(merged.values_copied > values().len() as u64, "{merged:?}");
            assert_eq!(seen.get("seen").unwrap().as_deref(), Some(&text(3_000)[..]));
            drop(seen);
            assert_holds(&db, &map, "merged beside a snapshot");
            assert_eq!(stored(&db), before, "{way:?}, {compression:?}");
            db.close().unwrap();
            drop(db);

            let db = open(&disk, &options(way, Compression::None).max_file_size(4 << 20)).unwrap();
            assert!(db.delete("k zeros").unwrap() && db.delete("k half noise").unwrap());
            db.rotate().unwrap();
            let merged = db.merge().unwrap();
            assert!(merged.values_copied > 0 && merged.records_dropped > 0, "{merged:?}");
            assert_eq!(
                stored_len(&db, "k text"),
                before[map.keys().position(|key| key == "k text").unwrap()]
            );
            db.close().unwrap();
            assert_eq!(verified(&disk, STORE).damage, []);
        }
    }
}

#[test]
fn a_backup_a_restored_store_and_a_salvaged_one_have_values_as_they_were_stored() {
    for way in Way::ALL {
        for compression in algorithms() {
            let (disk, mut map) = (way.disk(), Map::new());
            let db = open(&disk, &options(way, compression)).unwrap();
            put_all(&db, "k", &mut map);
            let expires = PutOptions::new().expires_in(Duration::from_secs(3600));
            db.put_with("expires", text(700), &expires).unwrap();
            map.insert("expires".to_owned(), text(700));
            db.backup_on(&*disk.vfs(), Path::new("backup"), &mut |_| ()).unwrap();
            restore_on(&*disk.vfs(), Path::new("backup"), Path::new("restored"), &mut |_| ()).unwrap();
            let expected: Vec<_> = map.keys().map(|key| db.metadata(key).unwrap()).collect();
            db.close().unwrap();
            let salvage = Repair::Salvage(PathBuf::from("salvaged"));
            let clock = Arc::new(SimClock::new(1_000_000));
            let report = repair_on(&*disk.vfs(), clock, Path::new(STORE), &salvage, &mut |_| ()).unwrap();
            assert_eq!((report.lost, report.salvaged), (Vec::new(), map.len() as u64));
            for path in ["backup", "restored", "salvaged"] {
                let copy = open_dir(&disk, path, Options::read_only()).unwrap();
                assert_holds(&copy, &map, path);
                for (key, expected) in map.keys().zip(&expected) {
                    let (found, expected) =
                        (copy.metadata(key).unwrap().unwrap(), expected.as_ref().unwrap());
                    assert_eq!(found.stored_len, expected.stored_len, "{path}: {key}");
                    assert_eq!(found.expires_at, expected.expires_at, "{path}: {key}");
                }
                assert_eq!(verified(&disk, path).damage, []);
            }
        }
    }
}

#[test]
fn writes_that_depend_on_a_value_see_it_as_it_was_put() {
    for way in Way::ALL {
        for compression in algorithms() {
            let clock = Arc::new(SimClock::new(1_000_000));
            let options = options(way, compression).compress_from(0);
            let db = open_at(&way.disk(), &options, &clock).unwrap();
            db.put("k", text(1_000)).unwrap();
            let written = db.update("k", |old| {
                assert_eq!(old, Some(&text(1_000)[..]));
                Update::Put([old.unwrap(), &text(500)].concat())
            });
            assert!(written.unwrap());
            let now = [text(1_000), text(500)].concat();
            assert!(!db.compare_and_swap("k", Some(&text(1_000)), Some(b"no")).unwrap());
            assert!(db.compare_and_swap("k", Some(&now), Some(&text(3_000))).unwrap());
            let version = db.metadata("k").unwrap().unwrap().timestamp_us;
            assert!(db.put_with("k", text(2_000), &PutOptions::new().if_timestamp(version)).unwrap());
            assert!(!db.put_with("k", text(1), &PutOptions::new().if_absent()).unwrap());
            assert!(db.expire_in("k", Duration::from_secs(5)).unwrap());
            let entry = db.get_entry("k").unwrap().unwrap();
            assert!(entry.value[..] == text(2_000) && entry.expires_at.is_some());
            assert!(stored_len(&db, "k") < 100);
            assert!(db.persist("k").unwrap());
            assert_eq!(db.get("k").unwrap().as_deref(), Some(&text(2_000)[..]));
            // Not the text of one integer, but long enough to be compressed.
            db.put("n", [b'0'; 300]).unwrap();
            assert!(stored_len(&db, "n") < 50);
            assert!(matches!(db.increment("n", 1), Err(Error::NotAnInteger)));
            assert_eq!(db.increment("m", 41).unwrap(), 41);
            assert_eq!(db.increment("m", 1).unwrap(), 42);
            let mut batch = db.batch();
            batch.put_with("k", text(800), &PutOptions::new().if_present());
            batch.put_with("l", text(900), &PutOptions::new().if_absent().expires_in(Duration::from_secs(5)));
            assert!(batch.commit().unwrap());
            let found = db.multi_get(["k", "l"]).unwrap();
            assert_eq!(
                (found[0].as_deref(), found[1].as_deref()),
                (Some(&text(800)[..]), Some(&text(900)[..]))
            );
            clock.advance(Duration::from_secs(5));
            assert_eq!(db.get("l").unwrap(), None);
            assert!(db.delete("k").unwrap());
            assert_eq!(db.get("k").unwrap(), None);
        }
    }
}

const KEY: &str = "forged";

/// A store that was not closed, whose last record is a value of [`KEY`] that is stored as this, with checksums that fit.
/// Also the name of its file, and where the record starts.
fn with_forged(way: Way, algorithm: Algorithm, stored: &[u8]) -> (SimDisk, String, u64) {
    let disk = way.disk();
    let db = open(&disk, &options(way, Compression::None)).unwrap();
    db.put("sound", text(300)).unwrap();
    db.sync().unwrap();
    drop(db);
    let disk = disk.kill();
    let file = way.file(1);
    let mut bytes = disk.read_file(&file);
    let (header, first_record) = FileHeader::decode(way.format, &bytes).unwrap();
    let codec = Codec::new(way.format, header.salt);
    // Behind the last whole record: what follows is space that was allocated ahead.
    let mut end = usize::try_from(first_record).unwrap();
    while let Ok(record) = codec.decode(bytes[end..].to_vec(), end as u64) {
        end += match codec {
            Codec::Binary(_) => usize::try_from(record.header.record_len()).unwrap(),
            Codec::Text(_) => bytes[end..].iter().position(|&byte| byte == b'\n').unwrap() + 1,
        };
    }
    bytes.truncate(end);
    let prepared = Prepared::new(way.format, Kind::Value, KEY.as_bytes(), stored);
    let header = RecordHeader {
        kind: Kind::Value,
        timestamp: 2_000_000,
        expiry: None,
        in_batch: false,
        compression: Some(algorithm),
        key_size: u16::try_from(KEY.len()).unwrap(),
        value_size: u32::try_from(stored.len()).unwrap(),
        value_crc: prepared.value_crc,
    };
    let mut record = Vec::new();
    let rest = codec.encode(&header, end as u64, KEY.as_bytes(), stored, &prepared, &mut record);
    record.extend_from_slice(rest);
    bytes.extend_from_slice(&record);
    disk.write_file(&file, &bytes);
    (disk, file, end as u64)
}

#[test]
fn a_value_that_does_not_decompress_is_damage_with_its_place_and_loses_nothing_else() {
    let prefixed = |len: u32, rest: &[u8]| [&len.to_le_bytes()[..], rest].concat();
    // No byte of any value, and as many literals as there are bytes.
    let lz4 = [&[0x50][..], b"hello"].concat();
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x29, 0, 0][..], b"hello"].concat();
    for (algorithm, block) in [(Algorithm::Lz4, lz4), (Algorithm::Zstd, zstd)] {
        if !algorithm.is_built() {
            continue;
        }
        for way in Way::ALL {
            let (disk, ..) = with_forged(way, algorithm, &prefixed(5, &block));
            let db = open(&disk, &options(way, Compression::None)).unwrap();
            assert_eq!(db.get(KEY).unwrap().as_deref(), Some(&b"hello"[..]), "{way:?}, {algorithm:?}");
            assert_eq!(verified(&disk, STORE).damage, []);

            for stored in [
                Vec::new(),
                b"abc".to_vec(),
                prefixed(5, b""),
                prefixed(0, b"rest"),
                prefixed(4, &block),
                prefixed(6, &block),
                prefixed(u32::MAX, &block),
                prefixed(5, &block[..block.len() - 1]),
                prefixed(30, &[0xff; 30]),
            ] {
                let (disk, file, offset) = with_forged(way, algorithm, &stored);
                check_damaged(way, &disk, &file, offset);
            }
        }
    }
}

fn check_damaged(way: Way, disk: &SimDisk, file: &str, offset: u64) {
    let assert_damage = |result: Result<()>| match result {
        Err(Error::Corruption { file: found, offset: at, .. }) => assert_eq!((&*found, at), (file, offset)),
        other => panic!("{way:?}: {other:?}"),
    };
    assert_eq!(
        verified(disk, STORE).damage.iter().map(|it| (&*it.file, it.offset)).collect::<Vec<_>>(),
        [(file, offset)]
    );
    let db = open(&disk.fork(), &options(way, Compression::None)).unwrap();
    assert_damage(db.get(KEY).map(drop));
    assert_damage(db.get_entry(KEY).map(drop));
    assert_damage(db.get_into(KEY, &mut Vec::new()).map(drop));
    assert_damage(db.snapshot().get(KEY).map(drop));
    assert_damage(db.update(KEY, |_| unreachable!("there is no value to see")).map(drop));
    let (found, refused): (Vec<_>, Vec<_>) = db.iter().partition(Result::is_ok);
    assert_eq!((found.len(), refused.len()), (1, 1));
    refused.into_iter().for_each(|refused| assert_damage(refused.map(drop)));
    assert_eq!(db.get("sound").unwrap().as_deref(), Some(&text(300)[..]));
    assert_eq!(db.keys().count(), 2);
    drop(db);

    let salvage = Repair::Salvage(PathBuf::from("salvaged"));
    let clock = Arc::new(SimClock::new(1_000_000));
    let report = repair_on(&*disk.vfs(), clock, Path::new(STORE), &salvage, &mut |_| ()).unwrap();
    assert_eq!(report.lost.iter().map(|it| (&*it.file, it.offset)).collect::<Vec<_>>(), [(file, offset)]);
    let salvaged = open_dir(disk, "salvaged", Options::read_only()).unwrap();
    assert_holds(&salvaged, &Map::from([("sound".to_owned(), text(300))]), "salvaged");
}

#[test]
fn no_flipped_bit_of_a_compressed_value_gives_another_value() {
    for way in Way::ALL {
        for compression in algorithms() {
            let disk = way.disk();
            let db = open(&disk, &options(way, compression)).unwrap();
            db.put("k", text(400)).unwrap();
            let metadata = db.metadata("k").unwrap().unwrap();
            db.close().unwrap();
            drop(db);
            let file = disk.files().into_iter().find(|file| is_data_file(file)).unwrap();
            let bytes = disk.read_file(&file);
            let start = bytes.len() / 4;
            assert!(metadata.stored_len < 100);
            let mut damaged: u64 = 0;
            for bit in start * 8..bytes.len() * 8 {
                let disk = disk.fork();
                disk.flip_bit(&file, bit as u64);
                match open(&disk, &Options::read_only()).map(|db| db.get("k")) {
                    Ok(Ok(value)) => assert_eq!(value.as_deref(), Some(&text(400)[..]), "bit {bit}"),
                    Ok(Err(error)) | Err(error) => {
                        assert!(error.is_corruption() || matches!(error, Error::Newer { .. }), "{error}");
                        damaged += 1;
                    }
                }
            }
            assert!(damaged >= 8 * metadata.stored_len, "{way:?}: {damaged}");
        }
    }
}

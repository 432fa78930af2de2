//! Batches: all of their writes or none, for every reader and after every end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bitcask_testing::Sweep;

use super::ledger::open_at;
use super::ways::Way;
use crate::vfs::sim::{CrashModel, Failure, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, LogFormat, Options, PutOptions};

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options::new().max_file_size(600).durability(Durability::Os)
}

fn in_every_way(test: impl Fn(&SimDisk, &Arc<SimClock>)) {
    for way in Way::ALL {
        let (disk, clock) = (way.disk(), Arc::new(SimClock::new(1_000_000)));
        // A store that exists keeps its format.
        if way.format != LogFormat::Binary {
            drop(open_at(&disk, &options().format(way.format), &clock).unwrap());
        }
        test(&disk, &clock);
    }
}

fn contents(db: &Bitcask) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let found: BTreeMap<_, _> =
        db.iter().map(Result::unwrap).map(|(key, value)| (text(&key), text(&value))).collect();
    assert_eq!(db.len(), found.len() as u64);
    found
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_batch_happens_at_its_commit_and_the_last_call_for_a_key_stands() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("old", "1").unwrap();
        let mut batch = db.batch();
        assert!(batch.is_empty());
        batch.put("a", "1").put("b", "2").delete("old").put("a", "3").put("c", "4").delete("c");
        batch.put_with("b", "5", &PutOptions::new().expires_in(SECOND)).delete("never there");
        assert_eq!(batch.len(), 8);
        assert_eq!(contents(&db), map(&[("old", "1")]));
        assert!(batch.commit().unwrap());
        let check = |db: &Bitcask| {
            assert_eq!(contents(db), map(&[("a", "3"), ("b", "5")]));
            let [a, b] = ["a", "b"].map(|key| db.get_entry(key).unwrap().unwrap());
            assert_eq!(a.timestamp_us, b.timestamp_us, "a batch is one commit");
            assert_eq!((a.expires_at, b.expires_at), (None, Some(UNIX_EPOCH + 2 * SECOND)));
        };
        check(&db);
        let live_keys: u64 = db.status().files.iter().map(|file| file.live_keys).sum();
        assert_eq!(live_keys, 2);
        check(&open_at(disk, &Options::read_only(), clock).unwrap());
        db.close().unwrap();
        drop(db);
        let db = open_at(disk, &options(), clock).unwrap();
        check(&db);
        clock.advance(SECOND);
        assert!(!db.contains("b").unwrap());
    });
}

#[test]
fn batches_of_any_size_find_a_file_to_lie_in() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let mut expected = BTreeMap::new();
        let value = |n: usize, len: usize| format!("{n}{}", "x".repeat(len));
        // Far less than a file, about a file, many files, and values that are put in by themselves.
        for (round, (count, len)) in
            [(1, 10), (3, 20), (9, 30), (40, 90), (2, 40_000), (700, 500), (5, 0)].into_iter().enumerate()
        {
            let mut batch = db.batch();
            for n in 0..count {
                let (key, value) = (format!("{round} {n}"), value(n, len));
                batch.put(&key, &value);
                expected.insert(key, value);
            }
            assert!(batch.commit().unwrap());
            assert_eq!(contents(&db), expected);
        }
        let killed = disk.kill();
        let db = open_at(&killed, &options(), clock).unwrap();
        assert_eq!(contents(&db), expected);
        drop(db);
        assert_eq!(contents(&open_at(&killed, &options(), clock).unwrap()), expected);
    });
}

#[test]
fn an_empty_batch_writes_nothing_and_one_write_is_a_plain_record() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let written = db.status().data_bytes;
        assert!(db.batch().commit().unwrap());
        assert!(db.batch().commit_with(Durability::Always).unwrap());
        assert_eq!(db.status().data_bytes, written);
        let mut batch = db.batch();
        batch.put("k", "1").put("k", "22");
        assert!(batch.commit().unwrap());
        let one_record = db.status().data_bytes - written;
        assert!(db.status().format != LogFormat::Binary || one_record == 24 + 1 + 2);
        assert_eq!(db.get("k").unwrap().as_deref(), Some(&b"22"[..]));
    });
}

#[test]
fn what_no_record_can_hold_is_told_at_the_commit_and_nothing_is_written() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options().max_value_size(10), clock).unwrap();
        let written = db.status().data_bytes;
        let always = PutOptions::new().durability(Durability::Always);
        let refused = |fill: &dyn Fn(&mut crate::Batch<'_>)| {
            let mut batch = db.batch();
            batch.put("a", "1");
            fill(&mut batch);
            batch.put("b", "2").put("", "a later one");
            batch.commit().unwrap_err()
        };
        assert!(matches!(
            refused(&|batch| {
                batch.put("", "1");
            }),
            Error::KeySize { len: 0 }
        ));
        assert!(matches!(
            refused(&|batch| {
                batch.delete(vec![0; 65_536]);
            }),
            Error::KeySize { len: 65_536 }
        ));
        assert!(matches!(
            refused(&|batch| {
                batch.put("k", [0; 11]);
            }),
            Error::ValueSize { len: 11, max: 10 }
        ));
        let invalid = refused(&|batch| {
            batch.put_with("k", "1", &always);
        });
        assert!(matches!(invalid, Error::InvalidOptions { .. }));
        let expires = PutOptions::new().expires_in(SECOND);
        let invalid = refused(&|batch| {
            batch.delete_with("k", &expires);
        });
        assert!(matches!(invalid, Error::InvalidOptions { .. }));
        assert_eq!(db.status().data_bytes, written);
        assert!(db.is_empty());

        let mut batch = db.batch();
        batch.put("a", "1");
        db.close().unwrap();
        assert!(matches!(batch.commit(), Err(Error::Closed)));
        let reader = open_at(disk, &Options::read_only(), clock).unwrap();
        let mut batch = reader.batch();
        batch.put("a", "1");
        assert!(batch.commit().unwrap_err().is_read_only());
    });
}

#[test]
fn a_batch_is_written_if_all_its_conditions_hold_together() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("there", "1").unwrap();
        db.put_with("expires", "1", &PutOptions::new().expires_in(SECOND)).unwrap();
        let timestamp = db.metadata("there").unwrap().unwrap().timestamp_us;
        let commit = |conditions: &[(&str, PutOptions)]| {
            let mut batch = db.batch();
            batch.put("plain", "2");
            for (key, options) in conditions {
                batch.put_with(key, "2", options);
            }
            batch.commit().unwrap()
        };
        let (absent, present) = (PutOptions::new().if_absent(), PutOptions::new().if_present());
        let as_seen = PutOptions::new().if_timestamp(timestamp);
        let before = contents(&db);
        let written = db.status().data_bytes;
        for conditions in [
            vec![("there", absent.clone())],
            vec![("new", absent.clone()), ("there", absent.clone())],
            vec![("there", present.clone()), ("new", present.clone())],
            vec![("expires", absent.clone())],
            vec![("there", as_seen.clone()), ("expires", as_seen.clone())],
            vec![("there", PutOptions::new().if_timestamp(timestamp + 1))],
        ] {
            assert!(!commit(&conditions), "{conditions:?}");
        }
        assert_eq!(contents(&db), before);
        assert_eq!(db.status().data_bytes, written);
        let hold = [("there", as_seen.clone()), ("expires", present), ("new", absent.clone())];
        assert!(commit(&hold));
        let all = [("there", "2"), ("expires", "2"), ("new", "2"), ("plain", "2")];
        assert_eq!(contents(&db), map(&all));
        assert!(!commit(&[("there", as_seen)]));
        // A delete has conditions too.
        db.put_with("expires", "3", &PutOptions::new().expires_in(SECOND)).unwrap();
        clock.advance(SECOND);
        let mut batch = db.batch();
        batch.put_with("expires", "4", &absent).delete_with("there", &PutOptions::new().if_present());
        assert!(batch.commit().unwrap());
        assert_eq!(contents(&db), map(&[("expires", "4"), ("new", "2"), ("plain", "2")]));
    });
}

#[test]
fn a_refused_batch_waits_for_what_refused_it() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("k", "1").unwrap();
        let mut batch = db.batch();
        batch.put("a", "1").put_with("k", "2", &PutOptions::new().if_absent());
        assert!(!batch.commit_with(Durability::Always).unwrap());
        let cut = open_at(&disk.crash(1, CrashModel::Clean), &options(), clock).unwrap();
        assert_eq!(contents(&cut), map(&[("k", "1")]));
    });
}

/// A marker is due in front of each batch here; inside one it would be damage.
#[test]
fn a_sync_marker_comes_in_front_of_a_batch() {
    in_every_way(|disk, clock| {
        let options = || Options::new().durability(Durability::Always);
        let db = open_at(disk, &options(), clock).unwrap();
        let mut expected = BTreeMap::new();
        for n in 0..20 {
            let mut batch = db.batch();
            for key in ["a", "b", "c"] {
                batch.put(key, n.to_string());
                expected.insert(key.to_owned(), n.to_string());
            }
            batch.commit().unwrap();
            let cut = open_at(&disk.crash(n, CrashModel::Clean), &options(), clock).unwrap();
            assert_eq!(contents(&cut), expected);
        }
    });
}

/// Every write of a batch fails in turn, with values so large that a batch is many of them.
#[test]
fn a_batch_that_fails_in_the_middle_leaves_the_log_as_it_was() {
    let sweep = Sweep::new("a_batch_that_fails_in_the_middle_leaves_the_log_as_it_was");
    let mut failed = 0;
    for (number, way) in Way::numbered(&sweep) {
        for call in 0..60 {
            let has_failed = sweep.case(format!("{number}-{call}"), |_| fail_in_a_batch(way, call));
            failed += u64::from(has_failed == Some(true));
        }
    }
    assert!(!sweep.is_whole() || failed > 8, "only {failed} batches failed");
    sweep.finish(240);
}

/// Lets a call of a large batch find the disk full. Returns whether the batch failed.
fn fail_in_a_batch(way: Way, call: u64) -> bool {
    let disk = way.disk();
    let clock = Arc::new(SimClock::new(1_000_000));
    let db = open_at(&disk, &options().format(way.format), &clock).unwrap();
    db.put("a", "old").unwrap();
    let fill = |db: &Bitcask, byte: u8| {
        let mut batch = db.batch();
        for key in ["a", "b", "c", "d"] {
            batch.put(key, [byte; 20_000]);
        }
        batch.commit()
    };
    disk.inject(disk.operations() + call, |kind| !kind.is_sync(), Failure::Os(28), Repeat::Once);
    let result = fill(&db, 1);
    disk.clear_faults();
    let Err(error) = result else { return false };
    assert!(error.is_full(), "{error}");
    assert_eq!(contents(&db), map(&[("a", "old")]));
    assert_eq!(contents(&open_at(&disk.fork().kill(), &options(), &clock).unwrap()), map(&[("a", "old")]));
    if db.status().poisoned.is_some() {
        assert_eq!(way, Way::MAPPED, "what a broken map has lost nobody knows");
        return true;
    }
    assert!(fill(&db, 2).unwrap());
    let killed = open_at(&disk.fork().kill(), &options(), &clock).unwrap();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(killed.get(key).unwrap().as_deref(), Some(&[2; 20_000][..]));
    }
    true
}

/// Who has seen one write of a batch finds the others, or later ones.
#[test]
fn a_batch_becomes_visible_at_once() {
    const KEYS: usize = 40;
    const ROUNDS: u32 = 1_500;
    let dir = tempfile::tempdir().unwrap();
    let db = crate::open(dir.path(), Options::new().max_file_size(256 << 10)).unwrap();
    let key = |n: usize| format!("key {n}");
    let commit = |round: u32| {
        let mut batch = db.batch();
        (0..KEYS).for_each(|n| {
            batch.put(key(n), round.to_le_bytes());
        });
        // This one comes and goes.
        if round.is_multiple_of(2) {
            batch.put("even", "")
        } else {
            batch.delete("even")
        };
        batch.commit().unwrap();
    };
    commit(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader: usize| {
                let (db, done) = (db.clone(), &done);
                scope.spawn(move || {
                    let mut passes = 0_u32;
                    while !done.load(Ordering::Acquire) || passes == 0 {
                        let mut last = 0;
                        for n in 0..KEYS {
                            let n = (n * (2 * reader + 1)) % KEYS;
                            let value = db.get(key(n)).unwrap().unwrap();
                            let round = u32::from_le_bytes(value.into_vec().try_into().unwrap());
                            assert!(round >= last, "{round} after {last}");
                            last = round;
                        }
                        passes += 1;
                    }
                    passes
                })
            })
            .collect();
        (1..=ROUNDS).for_each(commit);
        done.store(true, Ordering::Release);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
    assert!(db.contains("even").unwrap());
    drop(db);
    let db = crate::open(dir.path(), Options::new()).unwrap();
    for n in 0..KEYS {
        assert_eq!(db.get(key(n)).unwrap().as_deref(), Some(&ROUNDS.to_le_bytes()[..]));
    }
}

#[test]
fn a_snapshot_sees_all_of_a_batch_or_none() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let commit = |value: &str| {
            let mut batch = db.batch();
            batch.put("a", value).put("b", value).delete("c").put(value, "");
            assert!(batch.commit().unwrap());
        };
        db.put("c", "0").unwrap();
        let before = db.snapshot();
        commit("1");
        let between = db.snapshot();
        commit("2");
        let text = |snapshot: &crate::Snapshot, key: &str| {
            let value = snapshot.get(key).unwrap();
            value.map(|value| String::from_utf8(value.into_vec()).unwrap())
        };
        let of = |snapshot| ["a", "b", "c", "1", "2"].map(|key| text(snapshot, key));
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(of(&before), [None, None, some("0"), None, None]);
        assert_eq!(of(&between), [some("1"), some("1"), None, some(""), None]);
        assert_eq!(of(&db.snapshot()), [some("2"), some("2"), None, some(""), some("")]);
    });
}

/// Two accounts and many who move between them, each by a batch that holds only if nobody came first.
#[test]
fn batches_with_conditions_lose_nothing_to_each_other() {
    const MOVES: u32 = 400;
    let dir = tempfile::tempdir().unwrap();
    let db = crate::open(dir.path(), Options::new().max_file_size(64 << 10)).unwrap();
    db.put("a", "100000").unwrap();
    db.put("b", "0").unwrap();
    let amount = |db: &Bitcask, key: &str| {
        let entry = db.get_entry(key).unwrap().unwrap();
        (std::str::from_utf8(&entry.value).unwrap().parse::<u32>().unwrap(), entry.timestamp_us)
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let db = db.clone();
            scope.spawn(move || {
                let mut moved = 0;
                while moved < MOVES {
                    let ((a, a_seen), (b, b_seen)) = (amount(&db, "a"), amount(&db, "b"));
                    let mut batch = db.batch();
                    batch.put_with("a", (a - 1).to_string(), &PutOptions::new().if_timestamp(a_seen));
                    batch.put_with("b", (b + 1).to_string(), &PutOptions::new().if_timestamp(b_seen));
                    moved += u32::from(batch.commit().unwrap());
                }
            });
        }
    });
    assert_eq!((amount(&db, "a").0, amount(&db, "b").0), (100_000 - 4 * MOVES, 4 * MOVES));
}

/// What passes every checksum but stands where no writer puts it: it is no record of the log.
mod forged {
    use super::*;
    use crate::format::batch::BatchEnd;
    use crate::format::codec::Codec;
    use crate::format::file_header::{FileHeader, LogFormat};
    use crate::format::record::{Kind, RecordHeader};

    const FILE: &str = "0000000001.data";

    enum Part {
        /// A record of this key, in a batch or not, at this timestamp later than the log's last.
        Record(&'static str, bool, u64),
        /// A batch end with this count, for a batch that starts at the first forged record.
        End(u64, u64),
        /// The same for a batch that starts so many bytes later.
        EndOf(u64, u64),
        Marker,
    }
    use Part::{End, EndOf, Marker, Record};

    /// A store with one durable key and these parts behind it.
    fn store_with(parts: &[Part]) -> SimDisk {
        let disk = Way::SYSCALL.disk();
        let clock = Arc::new(SimClock::new(1_000_000));
        let db = open_at(&disk, &options(), &clock).unwrap();
        db.put("k", "1").unwrap();
        db.sync().unwrap();
        drop(db);
        let disk = disk.kill();
        let mut bytes = disk.read_file(FILE);
        let header = FileHeader::decode(LogFormat::Binary, &bytes[..68]).unwrap().0;
        let codec = Codec::new(header.format, header.salt);
        // The last thing there is the close marker: it goes.
        bytes.truncate(bytes.len() - 40);
        let start = bytes.len() as u64;
        let later = |by: u64| 2_000_000 + by;
        for part in parts {
            let offset = bytes.len() as u64;
            match *part {
                Record(key, in_batch, by) => {
                    let prepared = crate::format::codec::Prepared::new(
                        LogFormat::Binary,
                        Kind::Value,
                        key.as_bytes(),
                        b"v",
                    );
                    let header = RecordHeader {
                        kind: Kind::Value,
                        timestamp: later(by),
                        expiry: None,
                        in_batch,
                        compression: None,
                        key_size: u16::try_from(key.len()).unwrap(),
                        value_size: 1,
                        value_crc: prepared.value_crc,
                    };
                    codec.encode(&header, offset, key.as_bytes(), b"v", &prepared, &mut bytes);
                }
                End(count, by) | EndOf(count, by) => {
                    let start = if matches!(part, EndOf(..)) { start + 26 } else { start };
                    let end = BatchEnd { count, start }.encode();
                    codec.encode_log(Kind::BatchEnd, later(by), offset, &end, &mut bytes);
                }
                Marker => {
                    let position = crate::format::position::LogPosition { file: header.id, offset: 68 };
                    codec.encode_log(Kind::SyncMarker, later(0), offset, &position.encode(), &mut bytes);
                }
            }
        }
        disk.write_file(FILE, &bytes);
        disk
    }

    fn keys_after(parts: &[Part]) -> Vec<String> {
        let disk = store_with(parts);
        let clock = Arc::new(SimClock::new(1_000_000));
        let seen = contents(&open_at(&disk, &Options::read_only(), &clock).unwrap());
        let found = contents(&open_at(&disk, &options(), &clock).unwrap());
        assert_eq!(seen, found);
        found.into_keys().collect()
    }

    #[test]
    fn a_whole_batch_counts() {
        let whole = [Record("a", true, 0), Record("b", true, 0), End(2, 0), Record("c", false, 1)];
        assert_eq!(keys_after(&whole), ["a", "b", "c", "k"]);
        assert_eq!(keys_after(&[Record("a", true, 0), End(1, 0)]), ["a", "k"]);
    }

    #[test]
    fn anything_but_a_whole_batch_ends_the_log_where_it_starts() {
        let cases: [(&str, &[Part]); 10] = [
            ("no end", &[Record("a", true, 0), Record("b", true, 0)]),
            ("another count", &[Record("a", true, 0), Record("b", true, 0), End(3, 0)]),
            ("another start", &[Record("a", true, 0), Record("b", true, 0), EndOf(1, 0)]),
            ("an end of another time", &[Record("a", true, 0), End(1, 1)]),
            ("a record of another time", &[Record("a", true, 0), Record("b", true, 1), End(2, 1)]),
            ("a plain record within", &[Record("a", true, 0), Record("b", false, 0), End(2, 0)]),
            ("a marker within", &[Record("a", true, 0), Marker, Record("b", true, 0), End(2, 0)]),
            ("an end by itself", &[End(0, 0)]),
            ("two ends", &[End(0, 0), End(0, 0)]),
            ("a plain record behind no end", &[Record("a", true, 0), Record("b", false, 1)]),
        ];
        for (what, parts) in cases {
            assert_eq!(keys_after(parts), ["k"], "{what}");
        }
        // An end too many cuts at itself.
        assert_eq!(keys_after(&[Record("a", true, 0), End(1, 0), End(1, 0)]), ["a", "k"]);
    }
}

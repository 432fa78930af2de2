//! Snapshots and scans while writes and merges go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::harness;
use super::ways::Way;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, MergeOptions, MergePolicy, Options, Result, Snapshot};

type Contents = BTreeMap<String, String>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that a snapshot sees, by every way to ask it.
fn seen(snapshot: &Snapshot, keys: impl IntoIterator<Item = String>) -> Contents {
    let iterated: Contents =
        snapshot.iter().map(|entry| entry.map(|(key, value)| (text(&key), text(&value))).unwrap()).collect();
    let mut looked_up = Contents::new();
    for key in keys {
        let value = snapshot.get(&key).unwrap();
        assert_eq!(snapshot.contains(&key).unwrap(), value.is_some(), "{key}");
        looked_up.extend(value.map(|value| (key, text(&value))));
    }
    assert_eq!(iterated, looked_up, "iteration and look-ups differ");
    let listed: BTreeSet<String> = snapshot.keys().map(|key| text(&key.unwrap())).collect();
    assert!(listed.iter().eq(iterated.keys()), "keys() differs from iter()");
    iterated
}

fn contents(pairs: &[(&str, &str)]) -> Contents {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn keys() -> Vec<String> {
    ["a", "b", "c", "d"].map(str::to_owned).to_vec()
}

struct Bench {
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
}

impl Bench {
    fn new(way: Way) -> Self {
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        let options = way.options().durability(Durability::Os).merge(merge);
        Self { disk: way.disk(), clock: Arc::new(SimClock::new(1_000_000)), options }
    }

    fn open(&self) -> Bitcask {
        harness::open(&self.disk, &self.clock, &self.options).unwrap()
    }
}

fn in_every_way(test: impl Fn(Bench)) {
    for way in Way::ALL {
        test(Bench::new(way));
    }
}

#[test]
fn a_snapshot_sees_one_moment_whatever_is_written_and_merged() {
    in_every_way(|bench| {
        let db = bench.open();
        db.put("a", "1").unwrap();
        db.put("b", "1").unwrap();
        let first = db.snapshot();
        db.put("a", "2").unwrap();
        db.delete("b").unwrap();
        db.put("c", "2").unwrap();
        let second = db.snapshot();
        for round in 3..6 {
            db.put("a", round.to_string()).unwrap();
            db.put("d", round.to_string()).unwrap();
            db.delete("c").unwrap();
            db.put("c", round.to_string()).unwrap();
            db.rotate().unwrap();
            db.merge().unwrap();
            assert_eq!(seen(&first, keys()), contents(&[("a", "1"), ("b", "1")]), "round {round}");
            assert_eq!(seen(&second, keys()), contents(&[("a", "2"), ("c", "2")]), "round {round}");
        }
        drop(first);
        db.merge_chosen(|count| 0..count).unwrap();
        assert_eq!(seen(&second, keys()), contents(&[("a", "2"), ("c", "2")]));
        drop(second);
        db.merge().unwrap();
        let status = db.status();
        assert_eq!((status.keys, status.files.iter().map(|file| file.live_keys).sum::<u64>()), (3, 3));
        assert!(status.dead_bytes * 10 < status.data_bytes, "{status:?}");
    });
}

#[test]
fn a_merge_keeps_what_snapshots_see_only_as_long_as_they_live() {
    in_every_way(|bench| {
        let db = bench.open();
        db.put("a", "a long value that only the snapshot sees").unwrap();
        let snapshot = db.snapshot();
        db.put("a", "new").unwrap();
        db.rotate().unwrap();
        let kept = db.merge_chosen(|_| 0..1).unwrap();
        assert_eq!(kept.values_copied, 2);
        // What is kept for it does not ask for merges that could not give it back.
        assert_eq!(db.status().dead_bytes, 0);
        assert_eq!(db.merge().unwrap().runs, 0);
        drop(snapshot);
        assert!(db.status().dead_bytes > 0);
        let given_back = db.merge().unwrap();
        assert_eq!((given_back.values_copied, given_back.records_dropped), (1, 1));
    });
}

/// A tombstone above a value that is kept for a snapshot may not leave, or the value would come back.
#[test]
fn a_value_kept_for_a_snapshot_does_not_outlive_its_tombstone() {
    in_every_way(|bench| {
        for together in [true, false] {
            let db = bench.open();
            db.put("a", "1").unwrap();
            let snapshot = db.snapshot();
            if !together {
                db.rotate().unwrap();
            }
            db.delete("a").unwrap();
            db.rotate().unwrap();
            if !together {
                db.merge_chosen(|count| count - 2..count - 1).unwrap();
            }
            db.merge_chosen(|count| count - 1..count).unwrap();
            assert_eq!(seen(&snapshot, keys()), contents(&[("a", "1")]));
            drop(snapshot);
            db.close().unwrap();
            let db = bench.open();
            assert_eq!(db.get("a").unwrap(), None, "together: {together}");
            db.merge().unwrap();
            db.close().unwrap();
            assert!(bench.open().is_empty());
        }
    });
}

#[test]
fn a_snapshot_of_a_closed_store_says_so() {
    let bench = Bench::new(Way::MAPPED);
    let db = bench.open();
    db.put("a", "1").unwrap();
    let snapshot = db.snapshot();
    db.close().unwrap();
    assert!(matches!(snapshot.get("a"), Err(Error::Closed)));
    assert!(matches!(snapshot.iter().next(), Some(Err(Error::Closed))));
}

#[test]
fn a_reader_has_snapshots_too() {
    let bench = Bench::new(Way::JSON);
    bench.open().put("a", "1").unwrap();
    let reader = harness::open(&bench.disk, &bench.clock, &Options::read_only()).unwrap();
    assert_eq!(seen(&reader.snapshot(), keys()), contents(&[("a", "1")]));
}

#[test]
fn iterations_agree_with_themselves_while_threads_write_and_merge() {
    let dir = tempfile::tempdir().unwrap();
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    let db = crate::open(dir.path(), Options::new().max_file_size(64 << 10).merge(merge)).unwrap();
    for n in 0..200 {
        db.put(format!("key{n}"), "0").unwrap();
    }
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|thread| {
                let (go, goes) = std::sync::mpsc::channel();
                let db = &db;
                scope.spawn(move || {
                    for round in goes.into_iter().flatten() {
                        for n in (thread..200).step_by(2) {
                            match round % 5 {
                                4 => drop(db.delete(format!("key{n}")).unwrap()),
                                _ => db.put(format!("key{n}"), format!("{round}")).unwrap(),
                            }
                        }
                    }
                });
                go
            })
            .collect();
        for step in 1..=20 {
            for writer in &writers {
                writer.send(step * 100..step * 100 + 60).unwrap();
            }
            let snapshot = db.snapshot();
            let keys = || (0..200).map(|n| format!("key{n}"));
            let before = seen(&snapshot, keys());
            // Rounds are written in the order of the keys: those of one thread differ by a step at most.
            for thread in 0..2 {
                let value_of = |n| before.get(&format!("key{n}")).map(|value| value.parse::<u64>().unwrap());
                let rounds: BTreeSet<u64> = (thread..200).step_by(2).filter_map(value_of).collect();
                let is_one_moment = rounds.iter().zip(rounds.iter().skip(1)).count() <= 1;
                assert!(is_one_moment, "rounds {rounds:?} at one moment");
            }
            db.merge().unwrap();
            assert_eq!(seen(&snapshot, keys()), before, "after a merge");
        }
    });
}

#[test]
fn a_scan_returns_every_key_that_stays_across_writes_merges_and_opening_again() {
    in_every_way(|bench| {
        let mut db = bench.open();
        for n in 0..2_000 {
            db.put(format!("stays{n}"), "1").unwrap();
            db.put(format!("goes{n}"), "1").unwrap();
        }
        let mut found = BTreeMap::<Vec<u8>, u32>::new();
        let (mut next, mut step) = (Some(0), 0);
        while let Some(cursor) = next {
            let page = db.scan(cursor, 100).unwrap();
            assert!(page.keys.len() < 110, "{}", page.keys.len());
            for key in page.keys {
                *found.entry(key).or_default() += 1;
            }
            next = page.next;
            for n in step * 50..step * 50 + 50 {
                db.delete(format!("goes{n}")).unwrap();
                db.put(format!("comes{n}"), "1").unwrap();
                db.put(format!("stays{}", n % 2_000), "2").unwrap();
            }
            match step % 10 {
                3 => drop(db.merge().unwrap()),
                7 => {
                    db.close().unwrap();
                    db = bench.open();
                }
                _ => {}
            }
            step += 1;
        }
        let stays = found.iter().filter(|(key, _)| key.starts_with(b"stays"));
        assert_eq!(stays.clone().count(), 2_000);
        assert!(found.values().all(|&times| times == 1), "no key comes twice");
        let all = db.scan(0, usize::MAX).unwrap();
        assert_eq!((all.keys.len() as u64, all.next), (db.len(), None));
        let keys: Result<Vec<_>> = db.keys().collect();
        assert_eq!(all.keys.len(), keys.unwrap().len());
    });
}

//! Whatever the schedule: a snapshot is one moment, what was acknowledged as durable survives a power cut, a close is the
//! end, and the threads of a store come to theirs.

use super::{Bench, explore, number, together, value};
use crate::options::Maintenance;
use crate::vfs::sim::CrashModel;
use crate::{Bitcask, Durability, Error};

type Thread = Box<dyn FnOnce() + Send>;

const KEYS: [&str; 3] = ["one", "two", "three"];

/// Gives all keys the same number at once.
fn put_all(db: &Bitcask, number: u64) {
    let mut batch = db.batch();
    for key in KEYS {
        batch.put(key, value(number));
    }
    assert!(batch.commit().unwrap());
}

/// What a snapshot shows, by iteration and by look-up, which must be one number for all keys.
fn moment(db: &Bitcask) -> u64 {
    let snapshot = db.snapshot();
    let all: Vec<_> = snapshot.iter().map(|entry| number(Some(entry.unwrap().1)).unwrap()).collect();
    assert_eq!(all.len(), KEYS.len(), "{all:?}");
    assert!(all.iter().all(|&found| found == all[0]), "a snapshot of several moments: {all:?}");
    for key in KEYS {
        assert_eq!(number(snapshot.get(key).unwrap()), Some(all[0]), "{key}");
    }
    all[0]
}

#[test]
fn a_snapshot_is_one_moment_in_every_schedule() {
    explore("a_snapshot_is_one_moment_in_every_schedule", |random| {
        let bench = Bench::new(random, Durability::Os, Maintenance::Callers);
        let db = bench.open();
        (0..4).for_each(|n| put_all(&db, n));
        let [writes, looks, reads, merges] = [(); 4].map(|()| db.clone());
        let threads: Vec<Thread> = vec![
            Box::new(move || (4..8).for_each(|n| put_all(&writes, n))),
            Box::new(move || {
                let (first, second) = (moment(&looks), moment(&looks));
                assert!(3 <= first && first <= second, "{first}, then {second}");
            }),
            Box::new(move || {
                // Who has seen one write of a batch sees the others, whatever merges move.
                let mut last = 3;
                for key in KEYS {
                    let found = number(reads.get(key).unwrap()).unwrap();
                    assert!(last <= found, "{key} has {found} after {last}");
                    last = found;
                }
            }),
            Box::new(move || {
                merges.merge().unwrap();
                merges.rotate().unwrap();
                merges.merge().unwrap();
            }),
        ];
        together(threads);
        assert_eq!(moment(&db), 7);
        db.close().unwrap();
        drop(db);
        assert_eq!(moment(&bench.open()), 7);
    });
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_in_every_schedule() {
    explore("what_was_acknowledged_survives_a_power_cut_in_every_schedule", |random| {
        let maintenance = if random.one_in(2) { Maintenance::Threads } else { Maintenance::Callers };
        let bench = Bench::new(random, Durability::Always, maintenance);
        let db = bench.open();
        let seed = random.next();
        let threads = KEYS.map(|key| {
            let (db, bench) = (db.clone(), bench.clone());
            Box::new(move || {
                let mut cuts = Vec::new();
                for n in 0..3 {
                    db.put(key, value(n)).unwrap();
                    cuts.push((key, n, bench.disk.crash(seed, CrashModel::Clean)));
                    // What was once seen must not be gone either.
                    let seen = KEYS.map(|key| number(db.get(key).unwrap()));
                    let disk = bench.disk.crash(seed, CrashModel::Clean);
                    cuts.extend(
                        KEYS.iter().zip(seen).filter_map(|(&key, seen)| Some((key, seen?, disk.fork()))),
                    );
                }
                cuts
            }) as Box<dyn FnOnce() -> Vec<_> + Send>
        });
        let cuts: Vec<_> = together(threads.into()).into_iter().flatten().collect();
        db.close().unwrap();
        drop(db);
        let some = random.index(3);
        for (key, at_least, disk) in cuts.iter().skip(some).step_by(5) {
            let found = number(bench.open_on(disk).get(key).unwrap());
            assert!(found >= Some(*at_least), "{key} had {at_least}, and {found:?} after a power cut");
        }
    });
}

#[test]
fn after_a_close_nothing_is_written_in_every_schedule() {
    explore("after_a_close_nothing_is_written_in_every_schedule", |random| {
        let maintenance = if random.one_in(2) { Maintenance::Threads } else { Maintenance::Callers };
        let bench = Bench::new(random, Durability::Os, maintenance);
        let db = bench.open();
        (0..6).for_each(|n| put_all(&db, n));
        // Each returns what its key has.
        let writers = KEYS.map(|key| {
            let db = db.clone();
            Box::new(move || {
                let mut last = 5;
                for n in 6..10 {
                    match db.put(key, value(n)) {
                        Ok(()) => last = n,
                        Err(error) => {
                            assert!(matches!(error, Error::Closed), "{error}");
                            assert!(matches!(db.get(key), Err(Error::Closed)));
                        }
                    }
                }
                (key, last)
            }) as Box<dyn FnOnce() -> _ + Send>
        });
        let (merges, closes, closed) = (db.clone(), db.clone(), bench.clone());
        let mut threads = Vec::from(writers);
        threads.push(Box::new(move || {
            match merges.merge() {
                Ok(_) | Err(Error::Closed) => {}
                Err(error) => panic!("{error}"),
            }
            ("", 0)
        }));
        threads.push(Box::new(move || {
            closes.close().unwrap();
            assert!(matches!(closes.put("one", value(99)), Err(Error::Closed)));
            let next = closed.open();
            next.put("", "").unwrap_err();
            next.close().unwrap();
            ("", 0)
        }));
        let last = together(threads);
        drop(db);
        let db = bench.open();
        for (key, last) in last.into_iter().filter(|(key, _)| !key.is_empty()) {
            assert_eq!(number(db.get(key).unwrap()), Some(last), "{key}");
        }
    });
}

#[test]
fn the_threads_of_a_store_come_to_an_end_in_every_schedule() {
    explore("the_threads_of_a_store_come_to_an_end_in_every_schedule", |random| {
        let bench = Bench::new(random, Durability::Os, Maintenance::Threads);
        let db = bench.open();
        let [puts, pauses, syncs] = [(); 3].map(|()| db.clone());
        let threads: Vec<Thread> = vec![
            Box::new(move || (0..9).for_each(|n| put_all(&puts, n))),
            Box::new(move || {
                pauses.pause_merge().unwrap();
                assert!(matches!(pauses.merge(), Err(Error::MergePaused)));
                // The close ends it all the same.
                pauses.resume_merge().unwrap();
                pauses.pause_merge().unwrap();
            }),
            Box::new(move || (0..2).for_each(|_| syncs.sync().unwrap())),
        ];
        together(threads);
        if random.one_in(2) {
            db.close().unwrap();
        }
        drop(db);
        assert_eq!(moment(&bench.open()), 8);
    });
}

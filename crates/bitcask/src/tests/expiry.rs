//! Values that expire: they are gone at once, and nothing older comes back in their place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::ledger::open_at;
use super::ways::Way;
use crate::vfs::sim::{CrashModel, SimClock, SimDisk};
use crate::{Bitcask, Durability, Entry, Error, Iter, Options, PutOptions, Result};

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options::new().max_file_size(300).durability(Durability::Os)
}

fn for_a_second() -> PutOptions {
    PutOptions::new().expires_in(SECOND)
}

fn in_every_way(test: impl Fn(&SimDisk, &Arc<SimClock>)) {
    for way in Way::ALL {
        let (disk, clock) = (way.disk(), Arc::new(SimClock::new(1_000_000)));
        // A store that exists keeps its format.
        drop(open_at(&disk, &options().format(way.format), &clock).unwrap());
        test(&disk, &clock);
    }
}

/// Every way to ask for one key says that it is absent.
fn assert_absent(db: &Bitcask, key: &str) {
    assert_eq!(db.get(key).unwrap(), None);
    assert_eq!(db.get_entry(key).unwrap(), None);
    assert_eq!(db.metadata(key).unwrap(), None);
    assert!(!db.contains(key).unwrap());
    assert!(db.keys().all(|found| found.unwrap() != key.as_bytes()));
    assert!(db.iter().all(|entry| entry.unwrap().0 != key.as_bytes()));
    assert_eq!(db.prefix(key).count(), 0);
    assert_eq!(db.prefix(key).entries().count(), 0);
}

#[test]
fn a_value_that_has_expired_is_absent_at_once_whoever_asks() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put_with("gone", "1", &for_a_second()).unwrap();
        db.put("stays", "2").unwrap();
        let entry = db.get_entry("gone").unwrap().unwrap();
        assert_eq!(&entry.value[..], b"1");
        assert_eq!(entry.expires_at, Some(UNIX_EPOCH + 2 * SECOND));
        let metadata = db.metadata("gone").unwrap().unwrap();
        assert_eq!((metadata.value_len, metadata.timestamp_us), (1, entry.timestamp_us));
        assert_eq!(metadata.expires_at, entry.expires_at);
        clock.advance(SECOND - Duration::from_micros(1));
        assert!(db.contains("gone").unwrap());
        assert_eq!(db.fold(0, |count, _, _| count + 1).unwrap(), 2);

        clock.advance(Duration::from_micros(1));
        assert_absent(&db, "gone");
        assert_eq!(db.fold(0, |count, _, _| count + 1).unwrap(), 1);
        assert!(!db.expire_in("gone", SECOND).unwrap());
        assert!(!db.persist("gone").unwrap());
        assert!(!db.delete("gone").unwrap());
        assert_eq!(db.get("stays").unwrap().as_deref(), Some(&b"2"[..]));
    });
}

/// All that an iterator visits, by key.
fn entries(iter: Iter) -> BTreeMap<String, Entry> {
    let entries = iter.entries().map(|found| {
        let (key, entry) = found.unwrap();
        (String::from_utf8(key).unwrap(), entry)
    });
    entries.collect()
}

#[test]
fn entries_come_with_timestamp_and_expiry_from_the_store_and_from_snapshots() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let expiry = |n: u32| PutOptions::new().expires_at(UNIX_EPOCH + SECOND * (n + 2));
        for n in 0..30 {
            db.put_with(format!("a{n}"), format!("{n}"), &expiry(n)).unwrap();
            db.put(format!("b{n}"), format!("{n}")).unwrap();
        }
        let looked_up = |keys: &[&str]| -> BTreeMap<String, Entry> {
            let names = keys.iter().flat_map(|name| (0..30).map(move |n| format!("{name}{n}")));
            names.filter_map(|key| db.get_entry(&key).unwrap().map(|entry| (key, entry))).collect()
        };
        let before = looked_up(&["a", "b"]);
        assert_eq!(before.len(), 60);
        assert_eq!(entries(db.iter()), before);
        assert_eq!(entries(db.prefix("a")), looked_up(&["a"]));
        // What was visited before is not visited again.
        let mut halfway = db.iter();
        assert_eq!(halfway.by_ref().take(25).count(), 25);
        assert_eq!(entries(halfway).len(), 35);

        let snapshot = db.snapshot();
        for n in 0..30 {
            db.put_with(format!("b{n}"), "new", &expiry(n)).unwrap();
            db.persist(format!("a{n}")).unwrap();
        }
        db.rotate().unwrap();
        db.merge().unwrap();
        assert_eq!(entries(snapshot.iter()), before);
        assert_eq!(entries(snapshot.prefix("b")).len(), 30);
        assert_eq!(entries(db.iter()), looked_up(&["a", "b"]));
        assert!(entries(db.prefix("a")).values().all(|entry| entry.expires_at.is_none()));
        clock.advance(10 * SECOND);
        assert_eq!(entries(db.prefix("b")).len(), 20);
        assert_eq!(entries(snapshot.prefix("a")).len(), 20);
    });
}

#[test]
fn a_key_that_has_expired_counts_until_it_is_reaped() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        for n in 0..400 {
            let options = if n % 4 == 0 { PutOptions::new() } else { for_a_second() };
            db.put_with(format!("k{n}"), "1", &options).unwrap();
        }
        let all = db.status();
        db.reap_all();
        assert_eq!(db.len(), 400);
        clock.advance(SECOND);
        assert_eq!(db.len(), 400);
        db.reap_all();
        assert_eq!(db.len(), 100);
        let status = db.status();
        assert_eq!(status.files.iter().map(|file| file.live_keys).sum::<u64>(), 100);
        assert!(status.live_bytes < all.live_bytes / 3, "{status:?}");
        assert_eq!(db.keys().count(), 100);
        // One that comes later is found by a later pass.
        db.put_with("late", "1", &for_a_second()).unwrap();
        db.reap_all();
        clock.advance(SECOND);
        db.reap_all();
        assert_eq!(db.len(), 100);
        drop(db);
        assert_eq!(open_at(disk, &options(), clock).unwrap().len(), 100);
    });
}

/// The record of a value that has expired lies in the log above an older value, in the same file or in a later one.
#[test]
fn an_older_value_never_comes_back_whatever_the_clock_does() {
    const CLOCKS: [u64; 3] = [0, 1_000_000, 60_000_000];
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        for n in 0..40 {
            db.put(format!("k{n}"), "old").unwrap();
        }
        for n in 0..40 {
            db.put_with(format!("k{n}"), "new", &for_a_second()).unwrap();
            db.put_with("above", "old", &PutOptions::new()).unwrap();
            db.put_with("above", "new", &for_a_second()).unwrap();
        }
        clock.advance(SECOND);
        db.reap_all();
        assert!(db.status().files.len() > 10);
        drop(db);
        // Each pair of clocks one after the other, for the writer and for a reader beside it.
        for (now, next) in CLOCKS.iter().flat_map(|now| CLOCKS.map(|next| (*now, next))) {
            let clock = Arc::new(SimClock::new(now));
            let db = open_at(disk, &options(), &clock).unwrap();
            clock.set_now_us(next);
            let reader = open_at(disk, &Options::read_only(), &clock).unwrap();
            let value = |db: &Bitcask, key: &str| db.get(key).unwrap().map(|value| value.into_vec());
            for n in 0..40 {
                let key = format!("k{n}");
                let expected = |is_there: bool| is_there.then(|| b"new".to_vec());
                assert_eq!(value(&db, &key), expected(now.max(next) < 2_000_000), "{now}, then {next}");
                assert_eq!(value(&reader, &key), expected(next < 2_000_000), "{now}, then {next}");
            }
            assert_eq!(value(&db, "above").is_some(), now.max(next) < 2_000_000);
            drop(reader);
            db.reap_all();
            db.close().unwrap();
        }
    });
}

#[test]
fn a_delete_of_a_value_that_has_expired_holds_when_the_clock_goes_back() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put_with("k", "1", &for_a_second()).unwrap();
        clock.advance(SECOND);
        assert!(!db.delete("k").unwrap());
        clock.set_now_us(0);
        assert_absent(&db, "k");
        drop(db);
        let db = open_at(disk, &options(), clock).unwrap();
        assert_absent(&db, "k");
        assert_eq!(db.len(), 0);
    });
}

#[test]
fn an_expiry_is_changed_and_removed_without_touching_the_value() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let value = vec![7; 1000];
        db.put("k", &value).unwrap();
        let mut last = db.get_entry("k").unwrap().unwrap();
        let mut check = |db: &Bitcask, expires_at| {
            let entry = db.get_entry("k").unwrap().unwrap();
            assert_eq!((&entry.value[..], entry.expires_at), (&value[..], expires_at));
            assert!(entry.timestamp_us > last.timestamp_us);
            last = entry;
        };
        assert!(db.expire_in("k", SECOND).unwrap());
        check(&db, Some(UNIX_EPOCH + 2 * SECOND));
        assert!(db.expire_at("k", UNIX_EPOCH + 9 * SECOND).unwrap());
        check(&db, Some(UNIX_EPOCH + 9 * SECOND));
        assert!(db.persist("k").unwrap());
        check(&db, None);
        // There is nothing to remove, so nothing is written.
        let written = db.status().data_bytes;
        assert!(db.persist("k").unwrap());
        assert_eq!(db.status().data_bytes, written);
        // A plain put says nothing of an expiry, so there is none.
        assert!(db.expire_in("k", SECOND).unwrap());
        db.put("k", &value).unwrap();
        clock.advance(SECOND);
        assert!(db.contains("k").unwrap());
        // A moment in the past is the end.
        assert!(db.expire_at("k", UNIX_EPOCH - SECOND).unwrap());
        assert_absent(&db, "k");
        for absent in ["k", "never"] {
            assert!(!db.expire_in(absent, SECOND).unwrap());
            assert!(!db.persist(absent).unwrap());
        }
    });
}

#[test]
fn a_value_may_have_expired_before_it_is_written() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        for options in [
            PutOptions::new().expires_in(Duration::ZERO),
            PutOptions::new().expires_at(UNIX_EPOCH - SECOND),
            PutOptions::new().expires_at(UNIX_EPOCH + SECOND),
        ] {
            db.put("k", "old").unwrap();
            db.put_with("k", "new", &options).unwrap();
            assert_absent(&db, "k");
        }
        db.put_with("k", "for ever, almost", &PutOptions::new().expires_in(Duration::MAX)).unwrap();
        assert!(db.contains("k").unwrap());
    });
}

#[test]
fn a_delete_with_an_expiry_is_refused() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("k", "1").unwrap();
        assert!(matches!(db.delete_with("k", &for_a_second()), Err(Error::InvalidOptions { .. })));
        assert!(db.contains("k").unwrap());
    });
}

/// Above a durable value lies one that has expired and is not synced. Who is told that the key is absent must not see
/// the older value after a power cut.
#[test]
fn the_absence_of_an_expired_key_is_as_durable_as_a_value_would_be() {
    let always = || Options::new().durability(Durability::Always);
    let unsynced = || for_a_second().durability(Durability::Os);
    in_every_way(|disk, clock| {
        let db = open_at(disk, &always(), clock).unwrap();
        for reaped in [false, true] {
            for asked in ["contains", "get", "delete", "expire"] {
                let key = format!("{asked} {reaped}");
                db.put(&key, "old").unwrap();
                db.put_with(&key, "new", &unsynced()).unwrap();
                clock.advance(SECOND);
                let cut = || open_at(&disk.crash(1, CrashModel::Clean), &always(), clock).unwrap();
                assert!(cut().contains(&key).unwrap(), "nobody was told yet");
                if reaped {
                    db.reap_all();
                }
                let found = match asked {
                    "contains" => db.contains(&key).unwrap(),
                    "get" => db.get(&key).unwrap().is_some(),
                    "delete" => db.delete(&key).unwrap(),
                    _ => db.persist(&key).unwrap(),
                };
                assert!(!found);
                assert_absent(&cut(), &key);
            }
        }
    });
}

#[test]
fn changing_an_expiry_never_undoes_a_write_of_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::open(dir.path(), Options::new().max_file_size(64 << 10)).unwrap();
    const WRITES: u32 = 5_000;
    db.put("k", 0_u32.to_le_bytes()).unwrap();
    std::thread::scope(|scope| {
        let changers: Vec<_> = (0..2)
            .map(|changer| {
                let db = db.clone();
                scope.spawn(move || -> Result<()> {
                    let read =
                        || Ok(u32::from_le_bytes(db.get("k")?.unwrap().into_vec().try_into().unwrap()));
                    let mut last = 0;
                    while last < WRITES {
                        let now = read()?;
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                        assert!(if changer == 0 {
                            db.expire_in("k", 1_000 * SECOND)?
                        } else {
                            db.persist("k")?
                        });
                    }
                    Ok(())
                })
            })
            .collect();
        for n in 1..=WRITES {
            db.put("k", n.to_le_bytes()).unwrap();
        }
        changers.into_iter().for_each(|changer| changer.join().unwrap().unwrap());
    });
    assert_eq!(db.get("k").unwrap().as_deref(), Some(&WRITES.to_le_bytes()[..]));
}

//! Writes that depend on what a key has.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::ledger::open_at;
use super::ways::Way;
use crate::vfs::sim::{CrashModel, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, Io, Options, PutOptions, Update};

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options::new().max_file_size(300).durability(Durability::Os)
}

fn with(options: PutOptions) -> impl Fn(&Bitcask, &str, &str) -> bool {
    move |db, key, value| db.put_with(key, value, &options).unwrap()
}

fn in_every_way(test: impl Fn(&SimDisk, &Arc<SimClock>)) {
    for way in Way::ALL {
        let (disk, clock) = (way.disk(), Arc::new(SimClock::new(1_000_000)));
        // A store that exists keeps its format.
        drop(open_at(&disk, &options().format(way.format), &clock).unwrap());
        test(&disk, &clock);
    }
}

fn text(db: &Bitcask, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8(value.into_vec()).unwrap())
}

#[test]
fn a_put_happens_only_if_its_condition_holds() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let if_absent = with(PutOptions::new().if_absent());
        let if_present = with(PutOptions::new().if_present());
        let written = db.status().data_bytes;
        assert!(!if_present(&db, "k", "1"));
        assert!(!with(PutOptions::new().if_timestamp(0))(&db, "k", "1"));
        assert_eq!(db.status().data_bytes, written);
        assert!(if_absent(&db, "k", "2"));
        assert!(!if_absent(&db, "k", "3"));
        assert_eq!(text(&db, "k").as_deref(), Some("2"));
        assert!(if_present(&db, "k", "4"));
        let timestamp = db.metadata("k").unwrap().unwrap().timestamp_us;
        assert!(!with(PutOptions::new().if_timestamp(timestamp - 1))(&db, "k", "5"));
        assert!(with(PutOptions::new().if_timestamp(timestamp))(&db, "k", "6"));
        assert!(!with(PutOptions::new().if_timestamp(timestamp))(&db, "k", "7"));
        assert_eq!(text(&db, "k").as_deref(), Some("6"));
        // The last one counts.
        assert!(with(PutOptions::new().if_absent().if_present())(&db, "k", "8"));
        assert_eq!(text(&db, "k").as_deref(), Some("8"));
    });
}

#[test]
fn a_key_that_has_expired_is_absent_for_every_condition() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let for_a_second = || PutOptions::new().expires_in(SECOND);
        for reaped in [false, true] {
            let expire = || {
                assert!(with(for_a_second())(&db, "k", "1"));
                assert!(!with(PutOptions::new().if_absent())(&db, "k", "2"));
                assert!(with(for_a_second().if_present())(&db, "k", "3"));
                let timestamp = db.metadata("k").unwrap().unwrap().timestamp_us;
                clock.advance(SECOND);
                if reaped {
                    db.reap_all();
                }
                timestamp
            };
            let timestamp = expire();
            assert!(!with(PutOptions::new().if_present())(&db, "k", "4"));
            assert!(!with(PutOptions::new().if_timestamp(timestamp))(&db, "k", "4"));
            assert!(!db.delete_with("k", &PutOptions::new().if_timestamp(timestamp)).unwrap());
            assert!(!db.compare_and_swap("k", Some(b"3"), Some(b"4")).unwrap());
            assert!(with(PutOptions::new().if_absent())(&db, "k", "5"));
            expire();
            assert!(db.compare_and_swap("k", None, Some(b"6")).unwrap());
            expire();
            assert!(db.update("k", |old| Update::Put(old.unwrap_or(b"7").to_vec())).unwrap());
            assert_eq!(text(&db, "k").as_deref(), Some("7"));
            expire();
            assert_eq!(db.increment("k", 8).unwrap(), 8);
            assert_eq!(db.metadata("k").unwrap().unwrap().expires_at, None);
        }
    });
}

#[test]
fn a_delete_happens_only_if_its_condition_holds() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let present = PutOptions::new().if_present();
        assert!(!db.delete_with("k", &present).unwrap());
        for expiry in [PutOptions::new(), PutOptions::new().expires_in(SECOND)] {
            db.put_with("k", "1", &expiry).unwrap();
            let timestamp = db.metadata("k").unwrap().unwrap().timestamp_us;
            db.put_with("k", "2", &expiry).unwrap();
            let written = db.status().data_bytes;
            assert!(!db.delete_with("k", &PutOptions::new().if_timestamp(timestamp)).unwrap());
            assert_eq!(db.status().data_bytes, written);
            let timestamp = db.metadata("k").unwrap().unwrap().timestamp_us;
            assert!(db.delete_with("k", &PutOptions::new().if_timestamp(timestamp)).unwrap());
            assert!(!db.contains("k").unwrap());
            db.put_with("k", "3", &expiry).unwrap();
            assert!(db.delete_with("k", &present).unwrap());
        }
        let absent = PutOptions::new().if_absent();
        assert!(matches!(db.delete_with("k", &absent), Err(Error::InvalidOptions { .. })));
    });
}

#[test]
fn compare_and_swap_compares_values_and_absence() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let swap = |expected: Option<&str>, new: Option<&str>| {
            db.compare_and_swap("k", expected.map(str::as_bytes), new.map(str::as_bytes)).unwrap()
        };
        assert!(!swap(Some(""), Some("1")));
        assert!(swap(None, None));
        assert!(swap(None, Some("")));
        assert!(!swap(None, Some("1")));
        assert!(swap(Some(""), Some("1")));
        assert!(!swap(Some("2"), None));
        assert_eq!(text(&db, "k").as_deref(), Some("1"));
        db.expire_in("k", SECOND).unwrap();
        assert!(swap(Some("1"), Some("2")));
        assert_eq!(db.metadata("k").unwrap().unwrap().expires_at, None);
        assert!(swap(Some("2"), None));
        assert!(!db.contains("k").unwrap());
    });
}

#[test]
fn an_update_keeps_puts_or_deletes_and_leaves_the_expiry() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options().max_value_size(10), clock).unwrap();
        let written = db.status().data_bytes;
        assert!(!db.update("k", |_| Update::Keep).unwrap());
        assert!(!db.update("k", |_| Update::Delete).unwrap());
        let too_long = db.update("k", |_| Update::Put(vec![0; 11]));
        assert!(matches!(too_long, Err(Error::ValueSize { len: 11, max: 10 })));
        let conditional = db.update_with("k", &PutOptions::new().if_absent(), |_| Update::Delete);
        assert!(matches!(conditional, Err(Error::InvalidOptions { .. })));
        assert_eq!(db.status().data_bytes, written);

        let append = |old: Option<&[u8]>| Update::Put([old.unwrap_or_default(), b"x"].concat());
        let expires_at = || db.metadata("k").unwrap().unwrap().expires_at;
        assert!(db.update("k", append).unwrap());
        assert_eq!(expires_at(), None);
        let moment = UNIX_EPOCH + 9 * SECOND;
        assert!(db.update_with("k", &PutOptions::new().expires_at(moment), append).unwrap());
        assert_eq!(expires_at(), Some(moment));
        assert!(db.update("k", append).unwrap());
        assert_eq!((text(&db, "k").as_deref(), expires_at()), (Some("xxx"), Some(moment)));
        assert!(db.update("k", |_| Update::Delete).unwrap());
        assert!(!db.contains("k").unwrap());
    });
}

#[test]
fn an_update_runs_without_a_lock_and_again_when_another_write_came_first() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("k", "1").unwrap();
        let mut seen = Vec::new();
        let written = db.update("k", |old| {
            seen.push(String::from_utf8(old.unwrap_or_default().to_vec()).unwrap());
            match seen.len() {
                // The same value once more: another record all the same.
                1 => db.put("k", "1").unwrap(),
                2 => drop(db.delete("k").unwrap()),
                3 => drop(db.put_with("k", "2", &PutOptions::new().expires_in(SECOND)).unwrap()),
                4 => clock.advance(SECOND),
                _ => {}
            }
            Update::Put(b"done".to_vec())
        });
        assert!(written.unwrap());
        assert_eq!(seen, ["1", "1", "", "2", ""]);
        assert_eq!(text(&db, "k").as_deref(), Some("done"));
    });
}

#[test]
fn an_increment_counts_and_says_why_it_cannot() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        assert_eq!(db.increment("n", 0).unwrap(), 0);
        assert_eq!(db.increment("n", -5).unwrap(), -5);
        assert_eq!(text(&db, "n").as_deref(), Some("-5"));
        db.put_with("n", "41", &PutOptions::new().expires_in(SECOND)).unwrap();
        assert_eq!(db.increment("n", 1).unwrap(), 42);
        assert_eq!(db.metadata("n").unwrap().unwrap().expires_at, Some(UNIX_EPOCH + 2 * SECOND));
        db.put("n", i64::MAX.to_string()).unwrap();
        let overflow = db.increment("n", 1);
        assert!(matches!(overflow, Err(Error::IntegerOverflow { value: i64::MAX, by: 1 })), "{overflow:?}");
        assert_eq!(db.increment("n", i64::MIN).unwrap(), -1);
        db.put("n", "1.5").unwrap();
        assert!(matches!(db.increment("n", 1), Err(Error::NotAnInteger)));
        assert_eq!(text(&db, "n").as_deref(), Some("1.5"));
    });
}

/// A write that is not synced stands in the way of one that asks for power safety: whoever is told so must find it
/// there after a power cut.
#[test]
fn a_refusal_is_as_durable_as_the_write_would_have_been() {
    let unsynced = || PutOptions::new().durability(Durability::Os);
    let always = || PutOptions::new().durability(Durability::Always);
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        let after_a_cut =
            |key: &str| text(&open_at(&disk.crash(1, CrashModel::Clean), &options(), clock).unwrap(), key);
        db.put_with("put", "1", &unsynced()).unwrap();
        assert_eq!(after_a_cut("put"), None);
        assert!(!db.put_with("put", "2", &always().if_absent()).unwrap());
        assert_eq!(after_a_cut("put").as_deref(), Some("1"));

        db.put_with("delete", "1", &always()).unwrap();
        assert!(db.delete_with("delete", &unsynced()).unwrap());
        assert_eq!(after_a_cut("delete").as_deref(), Some("1"));
        assert!(!db.put_with("delete", "2", &always().if_present()).unwrap());
        assert_eq!(after_a_cut("delete"), None);

        db.put_with("update", "1", &unsynced()).unwrap();
        assert!(!db.update_with("update", &always(), |_| Update::Keep).unwrap());
        assert_eq!(after_a_cut("update").as_deref(), Some("1"));
    });
}

#[test]
fn increments_from_many_threads_sum_up_exactly() {
    const THREADS: i64 = 8;
    const EACH: i64 = 2_000;
    for io in [Io::Mapped, Io::Syscall] {
        let dir = tempfile::tempdir().unwrap();
        let db = crate::open(dir.path(), Options::new().io(io).max_file_size(64 << 10)).unwrap();
        // One counter for all, one of each thread's own, and one that expires.
        db.put_with("expires", "0", &PutOptions::new().expires_in(1_000 * SECOND)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let db = db.clone();
                scope.spawn(move || {
                    for n in 0..EACH {
                        db.increment("all", 1).unwrap();
                        assert_eq!(db.increment(format!("own {thread}"), 2).unwrap(), 2 * (n + 1));
                        db.increment("expires", thread).unwrap();
                    }
                });
            }
        });
        let number = |db: &Bitcask, key: &str| text(db, key).unwrap().parse::<i64>().unwrap();
        let check = |db: &Bitcask| {
            assert_eq!(number(db, "all"), THREADS * EACH);
            assert_eq!(number(db, "expires"), EACH * THREADS * (THREADS - 1) / 2);
        };
        check(&db);
        db.close().unwrap();
        drop(db);
        check(&crate::open(dir.path(), Options::new().io(io)).unwrap());
    }
}

#[test]
fn one_of_many_threads_wins_a_key() {
    const KEYS: usize = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let db = crate::open(dir.path(), Options::new().max_file_size(64 << 10)).unwrap();
    let wins: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let contenders: Vec<_> = (0..4)
            .map(|thread: usize| {
                let db = db.clone();
                scope.spawn(move || {
                    let if_absent = PutOptions::new().if_absent();
                    // Every second key has an expiry, so that its record has to be read.
                    let expiring = if_absent.clone().expires_in(1_000 * SECOND);
                    let options = |n: usize| if n.is_multiple_of(2) { &if_absent } else { &expiring };
                    let wins =
                        |n: &usize| db.put_with(format!("k{n}"), thread.to_string(), options(*n)).unwrap();
                    (0..KEYS).filter(wins).collect()
                })
            })
            .collect();
        contenders.into_iter().map(|contender| contender.join().unwrap()).collect()
    });
    assert_eq!(wins.iter().map(Vec::len).sum::<usize>(), KEYS);
    for (thread, won) in wins.iter().enumerate() {
        assert!(won.iter().all(|n| text(&db, &format!("k{n}")) == Some(thread.to_string())));
    }
}

#[test]
fn many_keys_are_read_at_once_and_a_buffer_is_used_again() {
    in_every_way(|disk, clock| {
        let db = open_at(disk, &options(), clock).unwrap();
        db.put("a", [1; 500]).unwrap();
        db.put("b", "2").unwrap();
        db.put_with("c", "3", &PutOptions::new().expires_in(SECOND)).unwrap();
        let values = db.multi_get(["b", "none", "a", "b", "c"]).unwrap();
        let lengths: Vec<_> = values.iter().map(|value| value.as_ref().map(|value| value.len())).collect();
        assert_eq!(lengths, [Some(1), None, Some(500), Some(1), Some(1)]);
        assert!(matches!(db.multi_get(["a", ""]), Err(Error::KeySize { len: 0 })));

        let mut buffer = b"something else".to_vec();
        for (key, expected) in [("a", &[1; 500][..]), ("b", b"2"), ("c", b"3"), ("a", &[1; 500])] {
            assert!(db.get_into(key, &mut buffer).unwrap());
            assert_eq!(buffer, expected);
        }
        let capacity = buffer.capacity();
        assert!(db.get_into("b", &mut buffer).unwrap());
        assert_eq!(buffer.capacity(), capacity);
        clock.advance(SECOND);
        for key in ["c", "none"] {
            buffer = b"something else".to_vec();
            assert!(!db.get_into(key, &mut buffer).unwrap());
            assert_eq!(buffer, b"");
        }
    });
}

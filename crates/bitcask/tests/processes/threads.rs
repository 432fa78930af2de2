//! Many threads of one process.

use bitcask::{Bitcask, Durability};
use bitcask_testing::Tier;

use crate::{IOS, tiny};

#[test]
fn many_threads_write_and_read_and_the_last_acknowledged_writes_stay() {
    let writes = Tier::pick(300_usize, 5_000, 50_000);
    for io in IOS {
        for durability in [Durability::Always, Durability::Os] {
            let dir = tempfile::tempdir().unwrap();
            let options = tiny(io).durability(durability);
            let db = bitcask::open(dir.path(), options.clone()).unwrap();
            let expected: Vec<Vec<Option<String>>> = std::thread::scope(|scope| {
                let worker = |thread: usize| {
                    let db = db.clone();
                    move || write_own_keys(&db, thread, writes)
                };
                let workers: Vec<_> = (0..8).map(|thread| scope.spawn(worker(thread))).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            let check = |db: &Bitcask| {
                for (thread, keys) in expected.iter().enumerate() {
                    for (key, value) in keys.iter().enumerate() {
                        let found = db.get(format!("{thread}/{key}")).unwrap();
                        assert_eq!(found.as_deref(), value.as_ref().map(String::as_bytes), "{thread}/{key}");
                    }
                }
                assert_eq!(
                    db.iter().map(|entry| entry.map(drop).unwrap()).count(),
                    usize::try_from(db.len()).unwrap()
                );
            };
            check(&db);
            // Many files were begun, however many a merge has left of them.
            let last = db.status().files.into_iter().map(|file| file.name).max();
            assert!(last.as_deref() > Some("0000000006"), "{last:?}");
            db.close().unwrap();
            check(&bitcask::open(dir.path(), options).unwrap());
            assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
        }
    }
}

/// Writes keys of its own and one that all share; what it acknowledged last, by key.
fn write_own_keys(db: &Bitcask, thread: usize, writes: usize) -> Vec<Option<String>> {
    let mut last = vec![None; 10];
    for n in 0..writes {
        let key = n * 3 % last.len();
        let name = format!("{thread}/{key}");
        if n % 7 == 6 {
            assert_eq!(db.delete(&name).unwrap(), last[key].is_some());
            last[key] = None;
        } else {
            let value = format!("{thread} {n} {}", "w".repeat(n % 100));
            db.put(&name, &value).unwrap();
            last[key] = Some(value);
        }
        assert_eq!(db.get(&name).unwrap().as_deref(), last[key].as_ref().map(String::as_bytes));
        if n % 10 == 0 {
            db.put("shared", format!("shared {thread} {n}")).unwrap();
            assert!(db.get("shared").unwrap().unwrap().starts_with(b"shared "));
        }
    }
    last
}

//! What the engine does when nothing goes wrong, in both ways of I/O.

use std::path::Path;
use std::sync::Arc;

use crate::options::Maintenance;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, Io, Options, Result};

fn open(disk: &SimDisk, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new("store"), options.maintenance(Maintenance::Callers))
}

fn both(test: impl Fn(&SimDisk)) {
    for io in [Io::Mapped, Io::Syscall] {
        test(&SimDisk::new(io));
    }
}

#[test]
fn what_is_put_is_there_after_rotations_and_reopening() {
    both(|disk| {
        let options = Options::new().max_file_size(1024).durability(Durability::Os);
        let db = open(disk, options.clone()).unwrap();
        for round in 0..3 {
            for n in 0..50 {
                db.put(format!("key{n}"), format!("value {n} of round {round}")).unwrap();
            }
            assert!(db.delete(format!("key{round}")).unwrap());
            assert!(!db.delete("absent").unwrap());
        }
        let check = |db: &Bitcask| {
            assert_eq!(db.len(), 49);
            for n in 0..50 {
                let value = db.get(format!("key{n}")).unwrap().map(|v| v.into_vec());
                let expected = if n == 2 { None } else { Some(format!("value {n} of round 2").into_bytes()) };
                assert_eq!(value, expected, "key{n}");
            }
            let mut keys: Vec<_> = db.keys().map(|key| key.unwrap()).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), 49);
            assert_eq!(db.iter().count(), 49);
            assert_eq!(db.prefix("key4").count(), 11);
        };
        check(&db);
        assert!(db.status().files.len() > 5);
        db.close().unwrap();
        assert!(matches!(db.get("key1"), Err(crate::Error::Closed)));
        let db = open(disk, options.clone()).unwrap();
        assert!(db.status().recovery.clean, "{:?}", db.status().recovery);
        assert!(db.status().recovery.hints_loaded > 4);
        check(&db);
        db.put("key3", "value 3 of round 2").unwrap();
        drop(db);
        let db = open(disk, options.clone()).unwrap();
        check(&db);
        let disk = disk.kill();
        let db = open(&disk, options.clone()).unwrap();
        check(&db);
        let reader = open(&disk, Options::read_only()).unwrap();
        check(&reader);
    });
}

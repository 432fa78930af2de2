//! What a kill leaves behind is tidied away by the next open, and nothing else is.

use std::path::Path;
use std::sync::Arc;

use crate::options::Maintenance;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, Io, Options, Result};

fn open(disk: &SimDisk) -> Result<Bitcask> {
    let options = Options::new().max_file_size(512).durability(Durability::Os);
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new("store"), options.maintenance(Maintenance::Callers))
}

/// The story: the open listed the leftovers first, made what it needed under their names (the reserved file id, the
/// manifest's temporary name), and removed the leftovers last: the new active file among them.
#[test]
fn an_open_after_a_kill_at_any_step_keeps_what_it_makes_itself() {
    for io in [Io::Mapped, Io::Syscall] {
        let disk = SimDisk::new(io);
        disk.keep_snapshots();
        let db = open(&disk).unwrap();
        for n in 0..40 {
            db.put(format!("key{n}"), "a value").unwrap();
        }
        drop(db);
        let mut snapshots = disk.take_snapshots();
        assert!(snapshots.len() > 50);
        // And the steps of the opens after a kill, which find leftovers themselves.
        let killed = snapshots[snapshots.len() / 2].1.kill();
        killed.keep_snapshots();
        drop(open(&killed).unwrap());
        snapshots.extend(killed.take_snapshots());
        for (operation, snapshot) in snapshots {
            let survivor = snapshot.kill();
            let db = open(&survivor).unwrap_or_else(|error| panic!("{io:?}, before {operation}: {error}"));
            db.put("put after the kill", "there").unwrap();
            db.close().unwrap();
            let db = open(&survivor).unwrap_or_else(|error| panic!("{io:?}, before {operation}: {error}"));
            let value = db.get("put after the kill").unwrap();
            assert_eq!(value.as_deref(), Some(&b"there"[..]), "{io:?}, before {operation}");
            for name in survivor.files() {
                assert!(!name.ends_with(".tmp"), "{io:?}, before {operation}: {name} is left");
            }
        }
    }
}

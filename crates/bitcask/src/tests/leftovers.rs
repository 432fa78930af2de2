//! What a kill leaves behind is tidied away by the next open, and nothing else is.

use std::path::Path;
use std::sync::Arc;

use super::ways::Way;
use crate::options::Maintenance;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, LogFormat, Result};

fn open(disk: &SimDisk, way: Way) -> Result<Bitcask> {
    // A few records in each file, whatever their form.
    let file_size = if way.format == LogFormat::Binary { 512 } else { 1500 };
    let options = way.options().max_file_size(file_size).durability(Durability::Os);
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new("store"), options.maintenance(Maintenance::Callers))
}

/// The story: the open listed the leftovers first, made what it needed under their names (the reserved file id, the
/// manifest's temporary name), and removed the leftovers last: the new active file among them.
#[test]
fn an_open_after_a_kill_at_any_step_keeps_what_it_makes_itself() {
    for way in Way::ALL {
        let disk = way.disk();
        disk.keep_snapshots();
        let db = open(&disk, way).unwrap();
        for n in 0..40 {
            db.put(format!("key{n}"), "a value").unwrap();
        }
        drop(db);
        let mut snapshots = disk.take_snapshots();
        assert!(snapshots.len() > 50);
        // And the steps of the opens after a kill, which find leftovers themselves.
        let killed = snapshots[snapshots.len() / 2].1.kill();
        killed.keep_snapshots();
        drop(open(&killed, way).unwrap());
        snapshots.extend(killed.take_snapshots());
        for (operation, snapshot) in snapshots {
            let survivor = snapshot.kill();
            let db =
                open(&survivor, way).unwrap_or_else(|error| panic!("{way:?}, before {operation}: {error}"));
            db.put("put after the kill", "there").unwrap();
            db.close().unwrap();
            let db =
                open(&survivor, way).unwrap_or_else(|error| panic!("{way:?}, before {operation}: {error}"));
            let value = db.get("put after the kill").unwrap();
            assert_eq!(value.as_deref(), Some(&b"there"[..]), "{way:?}, before {operation}");
            for name in survivor.files() {
                assert!(!name.ends_with(".tmp"), "{way:?}, before {operation}: {name} is left");
            }
        }
    }
}

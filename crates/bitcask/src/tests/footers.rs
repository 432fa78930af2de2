//! A footer that a crash cut short.

use std::path::Path;
use std::sync::Arc;

use super::ways::Way;
use crate::options::Maintenance;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, LogFormat, Result};

fn open(disk: &SimDisk, way: Way) -> Result<Bitcask> {
    let options = way.options().max_file_size(512).durability(Durability::Always);
    let clock = Arc::new(SimClock::new(1_000_000));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new("store"), options.maintenance(Maintenance::Callers))
}

/// The story: a footer may lie across two sectors. Power loss while it was written left its header whole and its
/// payload zeros, the next file had sync markers by then, and the half footer was taken for a record that a sync had
/// covered: "records behind the end that its successor names". The store did not open any more.
#[test]
fn a_footer_of_any_part_is_made_again() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, way).unwrap();
        for n in 0..20 {
            db.put(format!("key{n}"), "a value").unwrap();
        }
        db.close().unwrap();
        let name = &way.file(1);
        let whole = disk.read_file(name);
        let footer_len = match way.format {
            LogFormat::Binary => 80,
            _ => whole.split_inclusive(|&byte| byte == b'\n').next_back().unwrap().len() as u64,
        };
        let end = whole.len() as u64;
        for kept in 0..footer_len {
            let crashed = disk.fork();
            let lost = vec![0; usize::try_from(footer_len - kept).unwrap()];
            crashed.overwrite(name, end - footer_len + kept, &lost);
            let db = open(&crashed, way).unwrap_or_else(|error| panic!("{kept} bytes of a footer: {error}"));
            for n in 0..20 {
                let value = db.get(format!("key{n}")).unwrap();
                assert_eq!(value.as_deref(), Some(&b"a value"[..]), "key{n}, {kept} bytes of a footer");
            }
            assert_eq!(crashed.read_file(name), whole, "{kept} bytes of a footer");
        }
    }
}

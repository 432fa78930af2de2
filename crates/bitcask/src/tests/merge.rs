//! Merges where nothing fails: what leaves, what stays, what an operator sees.

use std::sync::Arc;

use super::harness;
use super::model::Map;
use super::ways::{Way, is_data_file};
use crate::status::{FileState, MergeVerdict};
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, LogFormat, MergeOptions, MergePolicy, OpenMode, Options};

const NOW_US: u64 = 1_800_000_000_000_000;

/// A disk, a clock, and a store on them that is merged only when a test says so.
struct Bench {
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
}

impl Bench {
    fn new(way: Way, max_file_size: u64) -> Self {
        // As many records in each file, whatever their form.
        let factor = if way.format == LogFormat::Binary { 1 } else { 3 };
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        let options =
            way.options().max_file_size(max_file_size * factor).durability(Durability::Os).merge(merge);
        Self { disk: way.disk(), clock: Arc::new(SimClock::new(NOW_US)), options }
    }

    fn open(&self) -> Bitcask {
        harness::open(&self.disk, &self.clock, &self.options).unwrap()
    }
}

fn in_every_way(test: impl Fn(Way)) {
    for way in Way::ALL {
        test(way);
    }
}

/// Names of the data files that a status lists.
fn listed(db: &Bitcask) -> Vec<String> {
    db.status().files.into_iter().map(|file| file.name).collect()
}

fn data_files(disk: &SimDisk) -> Vec<String> {
    let mut files: Vec<_> = disk.files().into_iter().filter(|name| is_data_file(name)).collect();
    files.sort();
    files
}

#[test]
fn a_merge_gives_back_dead_bytes_and_keeps_every_live_value() {
    in_every_way(|way| {
        let bench = Bench::new(way, 1024);
        let db = bench.open();
        for round in 0..20 {
            for n in 0..20 {
                db.put(format!("key{n}"), format!("value {n} of round {round}")).unwrap();
            }
        }
        db.delete("key7").unwrap();
        let before = Map::of(&db);
        let (bytes_before, files_before) = (db.status().data_bytes, db.status().files.len());
        let report = db.merge().unwrap();
        assert_eq!(Map::of(&db), before);
        assert_eq!((report.values_copied, report.tombstones_kept), (19, 0), "{report:?}");
        assert!(0 < report.bytes_after && report.bytes_after <= db.status().data_bytes, "{report:?}");
        let status = db.status();
        assert!(status.data_bytes * 10 < bytes_before, "{} of {bytes_before}", status.data_bytes);
        assert!(status.files.len() < files_before);
        assert!(status.dead_bytes * 10 < status.data_bytes, "{status:?}");
        assert_eq!(status.live_bytes, status.files.iter().map(|file| file.live_bytes).sum::<u64>());
        let mut names = listed(&db);
        names.sort();
        assert_eq!(names, data_files(&bench.disk), "nothing but what is listed is left");
        assert_eq!(db.merge().unwrap().runs, 0, "there is nothing left to merge");
        db.close().unwrap();
        harness::check_sound(&bench.disk);
        assert_eq!(Map::of(&bench.open()), before);
    });
}

#[test]
fn a_store_of_which_everything_is_deleted_shrinks_to_nothing() {
    in_every_way(|way| {
        let bench = Bench::new(way, 400);
        let db = bench.open();
        for n in 0..100 {
            db.put(format!("key{n}"), "value").unwrap();
        }
        for n in 0..100 {
            db.delete(format!("key{n}")).unwrap();
        }
        let report = db.merge().unwrap();
        assert_eq!((report.values_copied, report.tombstones_kept, report.outputs), (0, 0, 0), "{report:?}");
        let status = db.status();
        let states: Vec<_> = status.files.iter().map(|file| file.state).collect();
        assert_eq!(states, [FileState::Active], "{status:?}");
        assert_eq!((status.live_bytes, status.dead_bytes, status.held_bytes), (0, 0, 0), "{status:?}");
        db.close().unwrap();
        let db = bench.open();
        assert!(db.is_empty());
        assert!(db.status().recovery.clean);
    });
}

#[test]
fn what_was_merged_is_not_copied_again_after_closing_and_opening() {
    in_every_way(|way| {
        let bench = Bench::new(way, 64 << 10);
        let db = bench.open();
        for n in 0..500 {
            db.put(format!("key{}", n % 50), format!("value {n}")).unwrap();
        }
        assert_eq!(db.merge().unwrap().values_copied, 50);
        for opening in 1..4 {
            db.close().unwrap();
            let db = bench.open();
            assert_eq!(db.merge().unwrap().values_copied, 0, "opening {opening}");
            db.close().unwrap();
        }
    });
}

#[test]
fn a_value_longer_than_what_is_copied_at_once_is_copied_whole() {
    in_every_way(|way| {
        let bench = Bench::new(way, 1 << 20);
        let db = bench.open();
        // About two pieces, and exactly so many.
        for len in [256 << 10, 512 << 10, 700_000] {
            db.put(format!("long {len}"), vec![b'x'; len]).unwrap();
            db.put("short", format!("{len}")).unwrap();
        }
        let before = Map::of(&db);
        db.rotate().unwrap();
        let report = db.merge_chosen(|count| 0..count).unwrap();
        assert!(report.values_copied >= 3 && report.records_dropped >= 2, "{report:?}");
        assert!(Map::of(&db) == before);
        drop(db);
        assert!(Map::of(&bench.open()) == before);
        harness::check_sound(&bench.disk);
    });
}

#[test]
fn a_mostly_dead_active_file_asks_for_a_merge() {
    let mut bench = Bench::new(Way::MAPPED, 64 << 10);
    bench.options = bench.options.merge(MergeOptions::new().small_file_threshold(1_000));
    let db = bench.open();
    db.put("key", "value").unwrap();
    assert!(!db.needs_merge());
    for n in 0..100 {
        db.put("key", format!("value {n}")).unwrap();
    }
    assert_eq!(db.status().files.iter().filter(|file| file.state == FileState::Immutable).count(), 0);
    assert!(db.needs_merge() && db.status().needs_merge);
}

#[test]
fn paused_merges_are_refused_until_they_are_resumed() {
    let bench = Bench::new(Way::MAPPED, 400);
    let db = bench.open();
    for n in 0..50 {
        db.put("key", format!("{n}")).unwrap();
    }
    db.pause_merge().unwrap();
    assert!(db.status().merge_paused);
    assert!(matches!(db.merge(), Err(Error::MergePaused)));
    db.resume_merge().unwrap();
    assert!(db.merge().unwrap().runs > 0);
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"49"[..]));
}

#[test]
fn the_status_tells_for_each_file_why_it_will_or_will_not_be_merged() {
    let bench = Bench::new(Way::MAPPED, 1000);
    let db = bench.open();
    for n in 0..100 {
        db.put(format!("key{n}"), "a value that stays until it is overwritten").unwrap();
    }
    assert!(!db.needs_merge());
    for n in 0..9 {
        db.put(format!("key{n}"), "short").unwrap();
    }
    let status = db.status();
    assert!(
        matches!(status.files[0].merge, MergeVerdict::Fragmented { percent: 70.. }),
        "{:?}",
        status.files[0]
    );
    assert!(status.files[0].merge.will_merge() && status.files[0].dead_keys >= 8);
    assert!(status.files[1..].iter().any(|file| file.merge == MergeVerdict::Small));
    assert!(status.files.iter().any(|file| file.merge == MergeVerdict::Active));
    assert!(status.needs_merge && db.needs_merge());
}

#[test]
fn a_reader_knows_whether_dead_bytes_ask_for_a_merge() {
    let bench = Bench::new(Way::SYSCALL, 1000);
    let db = bench.open();
    for round in 0..50 {
        db.put("key", format!("a value that is overwritten {round}")).unwrap();
    }
    let reader =
        || harness::open(&bench.disk, &bench.clock, &bench.options.clone().mode(OpenMode::ReadOnly)).unwrap();
    assert!(reader().needs_merge() && reader().status().needs_merge);
    db.merge().unwrap();
    assert!(!reader().needs_merge() && !reader().status().needs_merge);
}

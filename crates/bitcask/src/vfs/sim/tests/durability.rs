//! What syncs promise, what a dead process leaves behind, and that disks are independent of each other.

use super::*;
use crate::vfs::{Access, read_exact_at};

#[test]
fn what_is_synced_survives_every_crash() {
    let (disk, dir) = new_disk();
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let file = write_synced(&dir, "a", &bytes);
    write_all_at(&*file, &[7; 2_000], 3_000).unwrap();
    write(&dir, "b", b"unsynced");
    for model in CrashModel::ALL {
        for seed in 0..SEEDS {
            let after = disk.crash(seed, model);
            assert_eq!(after.read_file("a")[..3_000], bytes, "{model:?}, seed {seed}");
        }
    }
    assert!(disk.is_durable("a", 0..3_000));
    assert!(!disk.is_durable("a", 0..3_001));
    assert_eq!(disk.durable_len("a"), 3_000);
}

#[test]
fn a_copy_into_a_map_is_durable_only_after_sync() {
    let (disk, _dir, file) = mapped_file(4_096);
    file.copy_in(b"record", 100).unwrap();
    assert!(!disk.is_durable("a", 100..106));
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), vec![0; 4_096]);
    file.sync().unwrap();
    assert!(disk.is_durable("a", 0..4_096));
    assert_eq!(&disk.crash(0, CrashModel::Clean).read_file("a")[100..106], b"record");
}

#[test]
fn a_file_whose_name_is_not_synced_disappears_with_its_synced_bytes() {
    let (disk, dir) = new_disk();
    write(&dir, "a", b"bytes").sync().unwrap();
    assert!(disk.is_durable("a", 0..5));
    assert!(!disk.is_name_durable("a"));
    assert!(!disk.crash(0, CrashModel::Clean).exists("a"));
    dir.sync().unwrap();
    assert!(disk.is_name_durable("a"));
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"bytes");
}

#[test]
fn a_name_is_synced_without_the_bytes_of_its_file() {
    let (disk, dir) = new_disk();
    write(&dir, "a", b"bytes");
    dir.sync().unwrap();
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"");
}

#[test]
fn a_removal_and_a_rename_hold_only_after_the_directory_is_synced() {
    let (disk, dir) = new_disk();
    write_synced(&dir, "gone", b"gone");
    write_synced(&dir, "target", b"old");
    write_synced(&dir, "temporary", b"new");
    dir.remove("gone").unwrap();
    dir.rename("temporary", "target").unwrap();
    assert_eq!(disk.files(), ["target"]);
    assert!(!disk.is_removal_durable("gone"));
    assert!(!disk.is_name_durable("target"));

    let clean = disk.crash(0, CrashModel::Clean);
    assert_eq!(clean.files(), ["gone", "target", "temporary"]);
    assert_eq!(clean.read_file("target"), b"old");
    assert_eq!(clean.read_file("gone"), b"gone");

    dir.sync().unwrap();
    assert!(disk.is_removal_durable("gone") && disk.is_removal_durable("temporary"));
    let clean = disk.crash(0, CrashModel::Clean);
    assert_eq!(clean.files(), ["target"]);
    assert_eq!(clean.read_file("target"), b"new");
}

#[test]
fn a_link_shares_the_bytes_and_holds_only_after_the_sync_of_its_directory() {
    let (disk, dir) = new_disk();
    let other = disk.vfs().open_dir(Path::new("other"), DirAccess::Create).unwrap();
    let file = write_synced(&dir, "a", b"0123");
    dir.link_to("a", &*other, "b").unwrap();
    assert!(!disk.is_name_durable("other/b") && disk.is_name_durable("a"));
    assert_eq!(disk.crash(0, CrashModel::Clean).files(), ["a"]);
    other.sync().unwrap();
    write_all_at(&*file, b"45", 4).unwrap();
    assert_eq!(disk.read_file("other/b"), b"012345");
    assert_eq!(disk.used_bytes(), 6);
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("other/b"), b"0123");
    dir.remove("a").unwrap();
    dir.sync().unwrap();
    drop(file);
    let other = other.open("b", Access::Read).unwrap();
    other.sync().unwrap();
    let left = disk.crash(0, CrashModel::Clean);
    assert_eq!((left.files(), left.read_file("other/b")), (vec!["other/b".to_owned()], b"012345".to_vec()));
    let taken = dir.create("c").and_then(|_| dir.link_to("c", &*dir, "c"));
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn a_cut_is_durable_only_after_sync() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"0123456789");
    file.truncate(4).unwrap();
    assert!(!disk.is_durable("a", 0..5) && disk.is_durable("a", 0..4));
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"0123456789");
    file.sync().unwrap();
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"0123");
    file.truncate(8).unwrap();
    assert_eq!(disk.read_file("a"), b"0123\0\0\0\0");
}

#[test]
fn a_range_is_not_durable_while_the_file_was_shorter_since_the_sync() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", &[0; 100]);
    file.truncate(50).unwrap();
    file.truncate(100).unwrap();
    assert!(!disk.is_durable("a", 0..100));
    assert!(disk.is_durable("a", 0..50));
}

#[test]
fn writing_the_same_bytes_again_leaves_them_durable() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"0123456789");
    write_all_at(&*file, b"345", 3).unwrap();
    assert!(disk.is_durable("a", 0..10));
    for model in CrashModel::ALL {
        assert_eq!(outcomes(&disk, model, "a"), [Some(b"0123456789".to_vec())].into());
    }
    write_all_at(&*file, b"xyz", 3).unwrap();
    write_all_at(&*file, b"345", 3).unwrap();
    assert!(!disk.is_durable("a", 0..10), "xyz may be what is on the disk");
}

#[test]
fn a_removed_file_stays_readable_while_it_is_open() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"bytes");
    dir.remove("a").unwrap();
    dir.sync().unwrap();
    let mut buffer = [0; 5];
    read_exact_at(&*file, &mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"bytes");
    assert_eq!(disk.used_bytes(), 5);
    drop(file);
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn a_killed_process_leaves_the_cache_and_nothing_durable() {
    let (disk, dir) = new_disk();
    let file = write(&dir, "a", b"bytes");
    let lock = dir.lock("LOCK").unwrap();
    assert!(lock.is_some());
    assert!(dir.lock("LOCK").unwrap().is_none());

    let next = disk.kill();
    assert_eq!(next.read_file("a"), b"bytes");
    assert_eq!(next.operations(), 0);
    assert!(!next.crash(0, CrashModel::Clean).exists("a"), "still not durable");
    assert!(open(&next).lock("LOCK").unwrap().is_some(), "the lock went with the process");

    let message = "this process was killed";
    assert_eq!(file.write_at(b"x", 0).unwrap_err().to_string(), message);
    assert_eq!(file.sync().unwrap_err().to_string(), message);
    assert_eq!(file.len().unwrap_err().to_string(), message);
    assert_eq!(dir.list().unwrap_err().to_string(), message);
    assert_eq!(dir.sync().unwrap_err().to_string(), message);
    assert_eq!(dir.remove("a").unwrap_err().to_string(), message);
    assert_eq!(lock.unwrap().is_intact().unwrap_err().to_string(), message);
    drop(file);
}

#[test]
fn a_fork_and_its_original_do_not_see_each_other() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"old");
    let fork = disk.fork();
    write_all_at(&*file, b"new", 0).unwrap();
    write(&dir, "b", b"more");
    assert_eq!(everything(&fork), [("a".to_owned(), b"old".to_vec())]);

    let other = open(&fork).open("a", Access::ReadWrite).unwrap();
    write_all_at(&*other, b"other", 0).unwrap();
    other.sync().unwrap();
    assert_eq!(disk.read_file("a"), b"new");
    assert_eq!(disk.durable_len("a"), 3);
    assert_eq!(fork.durable_len("a"), 5);
}

#[test]
fn a_fork_keeps_what_is_pending() {
    let (disk, dir) = new_disk();
    write(&dir, "a", b"bytes");
    let fork = disk.fork();
    assert_eq!(fork.read_file("a"), b"bytes");
    assert!(!fork.crash(0, CrashModel::Clean).exists("a"));
    assert_eq!(fork.operations(), disk.operations());
}

#[test]
fn a_lock_is_released_when_its_guard_goes_and_notices_a_stranger() {
    let (disk, dir) = new_disk();
    let lock = dir.lock("LOCK").unwrap().unwrap();
    assert!(lock.is_intact().unwrap());
    disk.remove_file("LOCK");
    assert!(!lock.is_intact().unwrap());
    let other = dir.lock("LOCK").unwrap();
    assert!(other.is_some(), "the new file is another one");
    assert!(!lock.is_intact().unwrap());
    drop(other);
    assert!(dir.lock("LOCK").unwrap().is_some());
}

#[test]
fn directories_are_apart() {
    let (disk, dir) = new_disk();
    let backup = disk.vfs().open_dir(Path::new("/copies/monday"), DirAccess::Create).unwrap();
    write_synced(&dir, "a", b"one");
    write(&backup, "a", b"two");
    assert_eq!(disk.files(), ["a", "/copies/monday/a"]);
    assert_eq!(disk.read_file("/copies/monday/a"), b"two");
    assert_eq!(backup.list().unwrap(), ["a"]);
    assert_eq!(disk.crash(0, CrashModel::Clean).files(), ["a"]);
    let missing = disk.vfs().open_dir(Path::new("/nowhere"), DirAccess::ReadWrite);
    assert_eq!(missing.err().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn snapshots_hold_the_disk_before_each_change() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"");
    disk.keep_snapshots();
    let first = disk.operations();
    for byte in 0..5u8 {
        file.len().unwrap();
        write_all_at(&*file, &[byte], byte.into()).unwrap();
    }
    let snapshots = disk.take_snapshots();
    let numbers: Vec<u64> = snapshots.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u64> = (0..5).map(|index| first + 2 * index + 1).collect();
    assert_eq!(numbers, expected, "only writes, not the calls of len");
    for (count, (number, snapshot)) in snapshots.iter().enumerate() {
        assert_eq!(snapshot.read_file("a").len(), count);
        assert_eq!(snapshot.operations(), *number);
    }
    assert!(disk.take_snapshots().is_empty());
}

#[test]
fn a_crash_at_each_snapshot_keeps_what_was_synced_by_then() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"");
    disk.keep_snapshots();
    let mut synced = Vec::new();
    for index in 0..20u8 {
        write_all_at(&*file, &[index; 100], u64::from(index) * 100).unwrap();
        if index % 3 == 0 {
            file.sync().unwrap();
            synced.push((disk.operations(), usize::from(index + 1) * 100));
        }
    }
    let bytes = disk.read_file("a");
    for (number, snapshot) in disk.take_snapshots() {
        let promised = synced.iter().rfind(|(at, _)| *at <= number).map_or(0, |(_, len)| *len);
        for model in CrashModel::ALL {
            let after = snapshot.crash(number, model).read_file("a");
            assert_eq!(after[..promised], bytes[..promised], "{model:?} before operation {number}");
        }
    }
}

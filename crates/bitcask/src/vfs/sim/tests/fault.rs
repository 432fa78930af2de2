//! Each fault does what it says, and nothing else.

use super::super::{Calls, DirOrder, Failure, OpKind, Operation, Repeat, SyncMode};
use super::*;
use crate::vfs::{Access, copy_in_all, copy_out_exact, read_exact_at};
use std::io::ErrorKind;

#[test]
fn the_nth_operation_fails_once_and_changes_nothing() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"old");
    disk.fail_at(disk.operations() + 1, Failure::Os(EIO), Repeat::Once);
    file.len().unwrap();
    assert_eq!(file.write_at(b"new", 0).unwrap_err().raw_os_error(), Some(EIO));
    assert_eq!(disk.read_file("a"), b"old");
    assert_eq!(disk.faults_fired(), 1);
    assert_eq!(file.write_at(b"new", 0).unwrap(), 3);
    assert_eq!(disk.faults_fired(), 1);
}

#[test]
fn a_lasting_failure_lasts_until_it_is_cleared() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"old");
    disk.fail_at(disk.operations(), Failure::Kind(ErrorKind::PermissionDenied), Repeat::Forever);
    for _ in 0..3 {
        assert_eq!(file.len().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(dir.create("b").err().unwrap().kind(), ErrorKind::PermissionDenied);
        assert_eq!(dir.lock("LOCK").err().unwrap().kind(), ErrorKind::PermissionDenied);
    }
    disk.clear_faults();
    assert_eq!(dir.list().unwrap(), ["a"]);
}

#[test]
fn every_kind_of_operation_can_be_made_to_fail() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"bytes");
    let lock = dir.lock("LOCK").unwrap().unwrap();
    let calls: [(OpKind, &dyn Fn() -> std::io::Result<()>); 19] = [
        (OpKind::OpenDir, &|| disk.vfs().open_dir(Path::new("store"), DirAccess::ReadWrite).map(drop)),
        (OpKind::List, &|| dir.list().map(drop)),
        (OpKind::Create, &|| dir.create("b").map(drop)),
        (OpKind::Open, &|| dir.open("a", Access::Read).map(drop)),
        (OpKind::Rename, &|| dir.rename("a", "c")),
        (OpKind::Link, &|| dir.link_to("a", &*dir, "c")),
        (OpKind::Remove, &|| dir.remove("a")),
        (OpKind::SyncDir, &|| dir.sync()),
        (OpKind::Lock, &|| dir.lock("LOCK").map(drop)),
        (OpKind::IsIntact, &|| lock.is_intact().map(drop)),
        (OpKind::Len, &|| file.len().map(drop)),
        (OpKind::ReadAt, &|| file.read_at(&mut [0], 0).map(drop)),
        (OpKind::WriteAt, &|| file.write_at(&[0], 0).map(drop)),
        (OpKind::CopyOut, &|| file.copy_out(&mut [0], 0).map(drop)),
        (OpKind::CopyIn, &|| file.copy_in(&[0], 0).map(drop)),
        (OpKind::Map, &|| file.map(1)),
        (OpKind::Allocate, &|| file.allocate(100)),
        (OpKind::Truncate, &|| file.truncate(0)),
        (OpKind::SyncFile, &|| file.sync()),
    ];
    let before = everything(&disk);
    for (kind, call) in calls {
        let number = disk.operations();
        disk.fail_at(number, Failure::Os(EIO), Repeat::Once);
        assert_eq!(call().unwrap_err().raw_os_error(), Some(EIO), "{kind:?}");
        let last: Operation = disk.trace().pop().unwrap();
        assert_eq!((last.number, last.kind), (number, kind));
    }
    assert_eq!(everything(&disk), before);
}

#[test]
fn a_failure_can_be_kept_to_some_kinds_of_operation() {
    let (disk, dir) = new_disk();
    let file = write(&dir, "a", b"bytes");
    disk.inject(0, |kind| kind.is_sync(), Failure::Kind(ErrorKind::StorageFull), Repeat::Forever);
    assert_eq!(file.write_at(b"more", 5).unwrap(), 4);
    assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(dir.sync().unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn operations_are_counted_and_traced() {
    let (disk, dir) = new_disk();
    let first = disk.operations();
    write_synced(&dir, "a", b"bytes");
    let trace: Vec<String> =
        disk.trace().iter().filter(|it| it.number >= first).map(ToString::to_string).collect();
    assert_eq!(trace, ["1 Create a", "2 WriteAt a", "3 SyncFile a", "4 SyncDir store"]);
    assert_eq!(disk.operations(), 5);
}

#[test]
fn a_failed_sync_loses_the_bytes_though_the_next_sync_works() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    disk.fail_at(disk.operations(), Failure::Os(EIO), Repeat::Once);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.read_file("a"), b"new", "the cache shows them");
    assert_eq!(disk.kill().read_file("a"), b"new", "to the next process too");
    assert!(!disk.is_durable("a", 0..3));
    for model in CrashModel::ALL {
        assert_eq!(disk.crash(1, model).read_file("a"), b"old", "{model:?}");
    }
}

#[test]
fn bytes_that_a_failed_sync_lost_are_saved_by_writing_them_again() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"");
    write_all_at(&*file, b"first", 0).unwrap();
    disk.fail_at(disk.operations(), Failure::Os(EIO), Repeat::Once);
    assert!(file.sync().is_err());
    write_all_at(&*file, b"second", 5).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.crash(0, CrashModel::KeepAll).read_file("a"), b"\0\0\0\0\0second");
    write_all_at(&*file, b"first", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"firstsecond");
}

#[test]
fn a_failed_sync_of_the_directory_loses_the_names() {
    let (disk, dir) = new_disk();
    write(&dir, "a", b"bytes").sync().unwrap();
    disk.fail_at(disk.operations(), Failure::Os(EIO), Repeat::Once);
    assert!(dir.sync().is_err());
    dir.sync().unwrap();
    assert!(disk.exists("a") && !disk.is_name_durable("a"));
    assert!(!disk.crash(0, CrashModel::KeepAll).exists("a"));
}

#[test]
fn a_lying_sync_makes_nothing_durable() {
    let (disk, dir) = new_disk();
    disk.set_sync_mode(SyncMode::Lies);
    write_synced(&dir, "a", b"bytes");
    assert!(!disk.is_name_durable("a") && !disk.is_durable("a", 0..5));
    assert!(!disk.crash(0, CrashModel::Clean).exists("a"));
    assert_eq!(disk.crash(0, CrashModel::KeepAll).read_file("a"), b"bytes", "it may still get there");
    disk.set_sync_mode(SyncMode::Honest);
    dir.open("a", Access::Read).unwrap().sync().unwrap();
    assert!(disk.is_durable("a", 0..5));
}

#[test]
fn short_calls_do_a_part_and_the_loops_finish() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"");
    disk.set_calls(Calls::Short { seed: 1 });
    let bytes: Vec<u8> = (0..200).collect();
    let (mut parts, mut interrupted) = (BTreeSet::new(), 0);
    for _ in 0..SEEDS {
        match file.write_at(&bytes, 0) {
            Ok(count) => {
                assert!((1..=200).contains(&count));
                parts.insert(count);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Interrupted);
                interrupted += 1;
            }
        }
    }
    assert!(parts.len() > 50 && interrupted > 10);

    let mut buffer = vec![0; 200];
    copy_in_all(&*file, &bytes, 1_000).unwrap();
    read_exact_at(&*file, &mut buffer, 1_000).unwrap();
    assert_eq!(buffer, bytes);
    copy_out_exact(&*file, &mut buffer, 1_000).unwrap();
    assert_eq!(buffer, bytes);
    assert_eq!(read_exact_at(&*file, &mut buffer, 1_001).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.write_at(&[], 0).unwrap(), 0);
    disk.set_calls(Calls::Whole);
    assert_eq!(file.write_at(&bytes, 0).unwrap(), 200);
}

#[test]
fn copies_in_a_map_are_whole_and_fail_by_a_map_fault_alone() {
    let (disk, _dir, file) = mapped_file(4_096);
    disk.set_calls(Calls::Short { seed: 1 });
    disk.fail_at(0, Failure::Os(EIO), Repeat::Forever);
    for _ in 0..50 {
        assert_eq!(file.copy_in(&[7; 100], 10).unwrap(), 100);
        assert_eq!(file.copy_out(&mut [0; 100], 10).unwrap(), 100);
    }
    assert!(file.len().is_err());
    assert_eq!(disk.faults_fired(), 1);

    disk.clear_faults();
    disk.fail_at(0, Failure::Map, Repeat::Once);
    assert_eq!(file.len().unwrap(), 4_096, "a map fault does not reach a call");
    assert_eq!(file.read_at(&mut [0; 100], 10).unwrap(), 100);
    assert!(file.copy_out(&mut [0; 100], 10).is_err());
    assert_eq!(file.copy_out(&mut [0; 100], 10).unwrap(), 100);
}

#[test]
fn outside_its_map_a_file_is_copied_by_calls() {
    let disk = SimDisk::new(Io::Mapped);
    let dir = open(&disk);
    assert!(dir.can_map());
    let file = dir.create("a").unwrap();
    file.map(100).unwrap();
    copy_in_all(&*file, &[1; 150], 0).unwrap();
    disk.fail_at(disk.operations(), Failure::Os(EIO), Repeat::Once);
    assert!(file.copy_out(&mut [0; 101], 0).is_err(), "a call, so it can fail");
    assert_eq!(file.copy_out(&mut [0; 200], 50).unwrap(), 100, "a call, so the end of the file is no fault");
}

#[test]
fn without_maps_map_has_no_effect() {
    let (disk, dir) = new_disk();
    assert!(!dir.can_map());
    let file = dir.create("a").unwrap();
    file.map(100).unwrap();
    assert_eq!(file.copy_in(&[1; 10], 0).unwrap(), 10, "a call grows the file");
    assert_eq!(disk.read_file("a").len(), 10);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", &[1; 60]);
    disk.set_capacity(Some(100));
    let other = dir.create("b").unwrap();
    assert_eq!(other.write_at(&[2; 50], 0).unwrap(), 40);
    assert_eq!(other.write_at(&[2; 10], 40).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 60], 0).unwrap(), 60, "what is allocated can be written again");
    assert_eq!(disk.used_bytes(), 100);

    dir.remove("a").unwrap();
    assert!(other.write_at(&[2; 10], 40).is_err(), "an open file keeps its space");
    drop(file);
    assert_eq!(other.write_at(&[2; 10], 40).unwrap(), 10);
    other.truncate(5).unwrap();
    assert_eq!(disk.used_bytes(), 5);
    disk.set_capacity(Some(50));
    assert_eq!(other.write_at(&[2; 100], 5).unwrap(), 45);
    disk.set_capacity(None);
    assert_eq!(other.write_at(&[2; 100], 50).unwrap(), 100);
}

#[test]
fn allocation_on_a_full_disk_fails_whole_and_what_is_allocated_can_be_written() {
    let (disk, _dir, file) = mapped_file(50);
    disk.set_capacity(Some(100));
    assert_eq!(file.allocate(101).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 50);
    file.allocate(100).unwrap();
    file.allocate(20).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    disk.set_capacity(Some(0));
    assert_eq!(file.copy_in(&[1; 100], 0).unwrap(), 100);
    assert_eq!(file.write_at(&[1; 100], 0).unwrap(), 100);
}

#[test]
fn faults_do_not_outlive_a_crash_but_the_capacity_does() {
    let (disk, dir) = new_disk();
    write_synced(&dir, "a", &[1; 50]);
    disk.set_capacity(Some(60));
    disk.fail_at(0, Failure::Os(EIO), Repeat::Forever);
    let after = disk.crash(0, CrashModel::Random(DirOrder::Prefix));
    let file = open(&after).open("a", Access::ReadWrite).unwrap();
    assert_eq!(file.write_at(&[2; 50], 50).unwrap(), 10);
    assert!(dir.list().is_err());
    assert!(open_fails(&disk.fork()), "a fork keeps them");
}

fn open_fails(disk: &SimDisk) -> bool {
    disk.vfs().open_dir(Path::new("store"), DirAccess::ReadOnly).is_err()
}

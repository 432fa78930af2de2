//! Damage that tests plant behind the engine's back.

use super::*;
use crate::vfs::{Access, copy_out_exact, read_exact_at};
use std::io::ErrorKind;

#[test]
fn a_flipped_bit_is_flipped_in_the_cache_and_on_the_disk() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", &[0; 1_000]);
    disk.flip_bit("a", 8 * 700 + 3);
    let mut byte = [0];
    read_exact_at(&*file, &mut byte, 700).unwrap();
    assert_eq!(byte, [8]);
    let after = disk.crash(0, CrashModel::Clean).read_file("a");
    assert_eq!(after.iter().position(|&byte| byte != 0), Some(700));
    disk.flip_bit("a", 8 * 700 + 3);
    assert_eq!(disk.read_file("a"), [0; 1_000]);
}

#[test]
fn overwritten_bytes_stay_overwritten() {
    let (disk, dir) = new_disk();
    write_synced(&dir, "a", b"0123456789");
    disk.overwrite("a", 3, b"xyz");
    assert_eq!(disk.read_file("a"), b"012xyz6789");
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"012xyz6789");
    assert!(disk.is_durable("a", 0..10));
}

#[test]
fn damage_does_not_lengthen_the_durable_file() {
    let (disk, dir) = new_disk();
    let file = write_synced(&dir, "a", b"0123");
    write_all_at(&*file, b"4567", 4).unwrap();
    disk.overwrite("a", 2, b"xxxx");
    disk.flip_bit("a", 8 * 7);
    assert_eq!(disk.durable_len("a"), 4);
    assert_eq!(disk.crash(0, CrashModel::Clean).read_file("a"), b"01xx");
}

#[test]
fn planted_and_removed_files_are_so_for_good_and_nothing_else_is() {
    let (disk, dir) = new_disk();
    write(&dir, "pending", b"");
    write(&dir, "from", b"moved").sync().unwrap();
    dir.rename("from", "to").unwrap();
    disk.write_file("planted", b"bytes");
    disk.write_file("elsewhere/planted", b"more");
    disk.remove_file("to");
    assert_eq!(disk.files(), ["pending", "planted", "elsewhere/planted"]);
    assert_eq!(disk.crash(0, CrashModel::Clean).files(), ["planted", "elsewhere/planted"]);
    assert!(!disk.is_name_durable("pending") && !disk.is_name_durable("to"));
    assert!(disk.is_removal_durable("to"));
    assert_eq!(dir.open("planted", Access::Read).unwrap().len().unwrap(), 5);
    assert!(!disk.exists("absent") && !disk.is_name_durable("absent"));
}

#[test]
fn a_file_replaced_by_a_test_changes_under_its_handles() {
    let (disk, _dir, file) = mapped_file(1_000);
    disk.write_file("a", b"short");
    assert_eq!(file.len().unwrap(), 5);
    let mut buffer = [0; 10];
    assert!(copy_out_exact(&*file, &mut buffer, 0).is_err(), "the map faults, as it would for real");
    assert!(file.copy_in(&buffer, 0).is_err());
    copy_out_exact(&*file, &mut buffer[..5], 0).unwrap();
    assert_eq!(&buffer[..5], b"short");
}

#[test]
fn something_that_is_no_regular_file_cannot_be_opened() {
    let (disk, dir) = new_disk();
    disk.make_special("a");
    assert_eq!(dir.open("a", Access::Read).err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(dir.lock("a").err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(dir.list().unwrap(), ["a"]);
}

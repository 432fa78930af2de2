//! The disk judges the engine; errors that are the world's stay errors. And the clock.

use super::super::SimClock;
use super::*;
use crate::clock::Clock;
use crate::vfs::Access;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::Duration;

#[test]
fn names_are_found_or_not() {
    let (_disk, dir) = new_disk();
    assert_eq!(dir.open("a", Access::Read).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(dir.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(dir.rename("a", "b").unwrap_err().kind(), ErrorKind::NotFound);
    write(&dir, "a", b"bytes");
    assert_eq!(dir.create("a").err().unwrap().kind(), ErrorKind::AlreadyExists);
    dir.rename("a", "a").unwrap();
    assert_eq!(dir.list().unwrap(), ["a"]);
}

#[test]
fn reads_stop_at_the_end_and_holes_are_zeros() {
    let (_disk, dir) = new_disk();
    let file = write(&dir, "a", b"abc");
    write_all_at(&*file, b"xyz", 1_000).unwrap();
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 998).unwrap(), 5);
    assert_eq!(&buffer[..5], b"\0\0xyz");
    assert_eq!(file.read_at(&mut buffer, 1_003).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 5_000).unwrap(), 0);
}

#[test]
#[should_panic(expected = "SIGBUS: the engine writes 90..110")]
fn a_copy_into_a_map_past_the_allocated_space_is_sigbus() {
    let (_disk, _dir, file) = mapped_file(100);
    let _ = file.copy_in(&[0; 20], 90);
}

#[test]
#[should_panic(expected = "SIGBUS: the engine reads 90..110")]
fn a_copy_out_of_a_map_past_the_end_of_the_file_is_sigbus() {
    let (_disk, _dir, file) = mapped_file(100);
    let _ = file.copy_out(&mut [0; 20], 90);
}

#[test]
#[should_panic(expected = "SIGBUS")]
fn space_that_a_cut_gave_back_is_not_allocated_when_the_file_grows_again() {
    let (_disk, _dir, file) = mapped_file(100);
    file.truncate(10).unwrap();
    file.truncate(100).unwrap();
    let _ = file.copy_in(&[0; 20], 0);
}

#[test]
#[should_panic(expected = "maps a a second time")]
fn a_file_is_mapped_once() {
    let (_disk, _dir, file) = mapped_file(100);
    let _ = file.map(100);
}

#[test]
#[should_panic(expected = "which it opened for reading")]
fn a_file_opened_for_reading_is_not_written() {
    let (_disk, dir) = new_disk();
    write(&dir, "a", b"bytes");
    let _ = dir.open("a", Access::Read).unwrap().write_at(b"x", 0);
}

#[test]
#[should_panic(expected = "opened read-only")]
fn nothing_is_changed_in_a_directory_opened_read_only() {
    let (disk, _dir) = new_disk();
    let dir = disk.vfs().open_dir(Path::new("store"), DirAccess::ReadOnly).unwrap();
    let _ = dir.create("a");
}

#[test]
#[should_panic(expected = "not a plain name")]
fn a_name_with_a_separator_is_refused() {
    let (_disk, dir) = new_disk();
    let _ = dir.open("../a", Access::Read);
}

#[test]
fn handles_can_be_dropped_after_a_judging_panic() {
    let (disk, _dir, file) = mapped_file(100);
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| file.copy_in(&[0; 20], 90)));
    assert!(judged.is_err());
    drop(file);
    assert_eq!(disk.read_file("a").len(), 100);
}

#[test]
fn a_hook_sees_the_disk_before_each_removal() {
    let (disk, dir) = new_disk();
    write_synced(&dir, "input", b"old");
    let output = write(&dir, "output", b"new");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    disk.on_remove(move |disk, name| {
        let is_safe = disk.is_name_durable("output") && disk.is_durable("output", 0..3);
        log.lock().unwrap().push((name.to_owned(), disk.exists(name), is_safe));
    });
    open(&disk.fork()).remove("input").unwrap();
    output.sync().unwrap();
    dir.sync().unwrap();
    dir.remove("input").unwrap();
    let expected = [("input".to_owned(), true, false), ("input".to_owned(), true, true)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn the_clock_moves_when_told_to() {
    let clock = SimClock::new(1_000);
    assert_eq!((clock.now_us(), clock.monotonic()), (1_000, Duration::ZERO));
    clock.advance(Duration::from_micros(5));
    assert_eq!((clock.now_us(), clock.monotonic()), (1_005, Duration::from_micros(5)));
    clock.set_now_us(3);
    assert_eq!((clock.now_us(), clock.monotonic()), (3, Duration::from_micros(5)));
    clock.step_each_reading(Duration::from_micros(10));
    assert_eq!((clock.now_us(), clock.now_us()), (3, 13));
    assert_eq!(
        (clock.monotonic(), clock.monotonic()),
        (Duration::from_micros(25), Duration::from_micros(35))
    );
}

//! One open file: positioned system calls, and copies through its map where it has one.
//!
//! Invariants:
//! - What a copy wrote a positioned read sees, and the other way round (one page cache on the file systems where
//!   files are mapped).
//! - Space is reserved without changing the length first, and the length grows only when all of it is there:
//!   failing for lack of space changes nothing, and never cuts what another thread appended meanwhile.
//! - A sync of a file whose map lost a page fails: bytes copied in before may not be on the disk.
//!
//! Left out on purpose: giving back reserved blocks after a failed [`File::allocate`]. They stay with the file,
//! serve a smaller request, and go with the next [`File::truncate`].

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::invalid_input;
use super::map::Map;
use crate::vfs::{Access, File, Io};

pub(super) struct OsFile {
    file: fs::File,
    access: Access,
    /// Mapped only where the directory found that it works.
    io: Io,
    map: OnceLock<Map>,
    /// Guards the changes of the length by `allocate` and `truncate`; I/O happens under it, no other lock is taken.
    /// The value: below it this handle knows that space is reserved.
    reserved: Mutex<u64>,
}

impl OsFile {
    pub(super) fn new(file: fs::File, access: Access, io: Io) -> Self {
        Self { file, access, io, map: OnceLock::new(), reserved: Mutex::new(0) }
    }
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn copy_out(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.map.get().and_then(|map| map.copy_out(buffer, offset)) {
            Some(count) => Ok(count),
            None => self.read_at(buffer, offset),
        }
    }

    fn copy_in(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let copied = match self.map.get() {
            Some(map) => map.copy_in(bytes, offset)?,
            None => None,
        };
        match copied {
            Some(count) => Ok(count),
            None => self.write_at(bytes, offset),
        }
    }

    fn map(&self, len: u64) -> io::Result<()> {
        if self.io == Io::Syscall {
            return Ok(());
        }
        match Map::new(&self.file, len, self.access)? {
            Some(map) => self.map.set(map).map_err(|_| invalid_input("the file is mapped already")),
            None => Ok(()),
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        if len <= *reserved {
            return Ok(());
        }
        let old_len = self.len()?;
        // From where this handle knows, not from the length: a file that was copied here may have holes.
        reserve(&self.file, *reserved, len, old_len, self.io)?;
        if let Some(map) = self.map.get() {
            map.populate(old_len, len)?;
        }
        *reserved = len;
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        *reserved = len.min(*reserved);
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // On macOS this asks the drive too, as it does elsewhere.
        self.file.sync_data()?;
        match self.map.get() {
            Some(map) if self.access == Access::ReadWrite => map.check(),
            _ => Ok(()),
        }
    }
}

/// Reserves the space of `from..to` and then makes the file at least `to` bytes long.
#[cfg(target_os = "linux")]
fn reserve(file: &fs::File, from: u64, to: u64, old_len: u64, io: Io) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};

    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, from, to - from)) {
        // The space is there, so this only moves the end; unlike a truncation it never moves it back.
        Ok(()) if old_len < to => {
            Ok(retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, to - from))?)
        }
        Ok(()) => Ok(()),
        // A mapped file depends on the space; written by system calls it reports a full disk as it goes.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) if io == Io::Syscall => lengthen(file, to, old_len),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere nothing is mapped, so a full disk is an error of the write that meets it.
#[cfg(not(target_os = "linux"))]
fn reserve(file: &fs::File, _from: u64, to: u64, old_len: u64, _io: Io) -> io::Result<()> {
    lengthen(file, to, old_len)
}

/// Here the caller must not grow the file by writes at the same time: a length can only be set, not raised.
fn lengthen(file: &fs::File, to: u64, old_len: u64) -> io::Result<()> {
    if old_len < to { file.set_len(to) } else { Ok(()) }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::vfs::os::OsVfs;
    use crate::vfs::{Dir, DirAccess, Vfs, copy_in_all, copy_out_exact, read_exact_at, write_all_at};
    use std::path::Path;
    use std::sync::Arc;

    const MAP_LEN: u64 = 64 * 1024;

    /// Runs a test in both ways of I/O, and mapped on tmpfs too.
    fn both_ways(test: impl Fn(Arc<dyn Dir>, &Path)) {
        for (parent, io) in [("", Io::Syscall), ("", Io::Mapped), ("/dev/shm", Io::Mapped)] {
            let parent = if parent.is_empty() { std::env::temp_dir() } else { parent.into() };
            let Ok(root) = tempfile::tempdir_in(&parent) else {
                println!("skipped: no {}", parent.display());
                continue;
            };
            let dir = OsVfs::new(io).open_dir(root.path(), DirAccess::ReadWrite).unwrap();
            if io == Io::Mapped && !dir.can_map() {
                println!("not mapped: {} is on a file system that cannot", parent.display());
            }
            test(dir, root.path());
        }
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_copied_in_is_read_and_what_is_written_is_copied_out() {
        both_ways(|dir, _| {
            let file = dir.create("a").unwrap();
            file.map(MAP_LEN).unwrap();
            file.allocate(MAP_LEN).unwrap();
            for len in [0, 1, 100, 2047, 2048, 2049, 10_000, 60_000] {
                let bytes = pattern(len);
                let mut back = vec![0; len];
                copy_in_all(&*file, &bytes, 5).unwrap();
                read_exact_at(&*file, &mut back, 5).unwrap();
                assert_eq!(back, bytes);
                let bytes: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
                write_all_at(&*file, &bytes, 3).unwrap();
                copy_out_exact(&*file, &mut back, 3).unwrap();
                assert_eq!(back, bytes);
            }
            file.sync().unwrap();
            assert_eq!(file.len().unwrap(), MAP_LEN);
        });
    }

    #[test]
    fn copies_cross_the_border_of_the_map() {
        both_ways(|dir, _| {
            let file = dir.create("a").unwrap();
            file.map(MAP_LEN).unwrap();
            file.allocate(MAP_LEN).unwrap();
            let bytes = pattern(10_000);
            for offset in [MAP_LEN - 9_999, MAP_LEN - 5_000, MAP_LEN - 1, MAP_LEN, MAP_LEN + 1] {
                copy_in_all(&*file, &bytes, offset).unwrap();
                let mut back = vec![0; bytes.len()];
                copy_out_exact(&*file, &mut back, offset).unwrap();
                assert_eq!(back, bytes);
                read_exact_at(&*file, &mut back, offset).unwrap();
                assert_eq!(back, bytes);
                assert_eq!(file.len().unwrap(), MAP_LEN.max(offset + 10_000));
            }
        });
    }

    #[test]
    fn a_map_serves_a_file_that_grows_later() {
        both_ways(|dir, _| {
            let file = dir.create("a").unwrap();
            file.map(MAP_LEN).unwrap();
            for step in 1..=4 {
                let len = step * MAP_LEN / 4;
                file.allocate(len).unwrap();
                assert_eq!(file.len().unwrap(), len);
                copy_in_all(&*file, b"end", len - 3).unwrap();
            }
            let mut back = [0; 3];
            copy_out_exact(&*file, &mut back, MAP_LEN / 2 - 3).unwrap();
            assert_eq!(&back, b"end");
        });
    }

    #[test]
    fn space_in_the_holes_of_a_file_is_reserved_too() {
        use std::os::unix::fs::MetadataExt;
        both_ways(|dir, path| {
            fs::File::create(path.join("a")).unwrap().set_len(MAP_LEN).unwrap();
            let file = dir.open("a", Access::ReadWrite).unwrap();
            file.allocate(MAP_LEN / 2).unwrap();
            assert_eq!(file.len().unwrap(), MAP_LEN);
            if dir.can_map() {
                assert!(fs::metadata(path.join("a")).unwrap().blocks() * 512 >= MAP_LEN / 2);
            }
            // What was cut is reserved anew.
            file.truncate(0).unwrap();
            file.allocate(MAP_LEN / 2).unwrap();
            assert_eq!(file.len().unwrap(), MAP_LEN / 2);
        });
    }

    #[test]
    fn a_file_for_reading_is_mapped_and_never_written() {
        both_ways(|dir, _| {
            write_all_at(&*dir.create("a").unwrap(), b"hello", 0).unwrap();
            let file = dir.open("a", Access::Read).unwrap();
            file.map(5).unwrap();
            let mut back = [0; 5];
            copy_out_exact(&*file, &mut back, 0).unwrap();
            assert_eq!(&back, b"hello");
            assert!(file.copy_in(b"x", 0).is_err());
            assert!(file.write_at(b"x", 0).is_err());
            assert!(file.allocate(MAP_LEN).is_err());
            copy_out_exact(&*file, &mut back, 0).unwrap();
            assert_eq!(&back, b"hello");
        });
    }

    #[test]
    fn a_file_cut_by_a_stranger_gives_errors_and_others_go_on() {
        both_ways(|dir, path| {
            let (cut, whole) = (dir.create("cut").unwrap(), dir.create("whole").unwrap());
            for file in [&cut, &whole] {
                file.map(MAP_LEN).unwrap();
                file.allocate(MAP_LEN).unwrap();
                copy_in_all(&**file, &pattern(60_000), 0).unwrap();
            }
            let stranger = fs::OpenOptions::new().write(true).open(path.join("cut")).unwrap();
            stranger.set_len(10).unwrap();

            let mut back = [0; 10];
            let error = copy_out_exact(&*cut, &mut back, 50_000).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            // What is still there is still served.
            copy_out_exact(&*cut, &mut back, 0).unwrap();
            assert_eq!(back, pattern(10)[..]);
            if dir.can_map() {
                assert!(cut.copy_in(b"x", 0).is_err());
                assert!(cut.sync().is_err());
            }
            copy_out_exact(&*whole, &mut back, 59_990).unwrap();
            assert_eq!(back, pattern(60_000)[59_990..]);
            copy_in_all(&*whole, b"x", 0).unwrap();
            whole.sync().unwrap();
        });
    }

    #[test]
    fn a_full_disk_is_storage_full_and_changes_nothing() {
        let Ok(root) = tempfile::tempdir_in("/dev/shm") else {
            println!("skipped: no /dev/shm");
            return;
        };
        // More than the machine has, which tmpfs refuses at once; unless it has no limit.
        let free = rustix::fs::statvfs(root.path()).unwrap();
        let size = free.f_blocks * free.f_frsize;
        if size == 0 {
            println!("skipped: /dev/shm has no limit");
            return;
        }
        for io in [Io::Syscall, Io::Mapped] {
            let dir = OsVfs::new(io).open_dir(root.path(), DirAccess::ReadWrite).unwrap();
            let file = dir.create(&format!("{io:?}")).unwrap();
            file.map(MAP_LEN).unwrap();
            file.allocate(MAP_LEN).unwrap();
            let error = file.allocate(MAP_LEN + size * 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(file.len().unwrap(), MAP_LEN);
            copy_in_all(&*file, b"x", MAP_LEN - 1).unwrap();
            file.allocate(MAP_LEN * 2).unwrap();
            assert_eq!(file.len().unwrap(), MAP_LEN * 2);
        }
    }

    #[test]
    fn mapping_twice_is_refused() {
        both_ways(|dir, _| {
            let file = dir.create("a").unwrap();
            file.map(MAP_LEN).unwrap();
            assert_eq!(file.map(MAP_LEN).is_err(), dir.can_map());
        });
    }
}

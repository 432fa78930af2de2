//! A file's shared map: the address space of its front, copied into and out of.
//!
//! Invariants:
//! - The map's place never changes while it lives, so copies need no lock. It may be longer than the file; only
//!   bytes that exist may be touched, and a touch of others is an error by way of the guard.
//! - No reference into the map is ever made, only raw copies: another process may change the bytes at any time, and
//!   whoever reads checks the copy.
//! - Once a page was lost the map is broken for good. Writing through it fails from then on, because bytes may be in
//!   a page that never reaches the disk. Reading goes back to positioned reads, the failed one included: they give
//!   the true bytes or the true error, while the map only knows that something was wrong.
//!
//! Left out on purpose: `msync` (`fdatasync` covers dirty mapped pages on Linux), remapping, and huge pages.

#![expect(unsafe_code, reason = "mmap, munmap and copies between raw addresses")]

use std::fs;
use std::io;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::guard::{self, Broken, Region};
use super::invalid_input;
use crate::vfs::Access;

pub(super) struct Map {
    start: NonNull<u8>,
    region: Region,
    access: Access,
}

// SAFETY: the map belongs to this value alone, and its address means the same on every thread.
unsafe impl Send for Map {}
// SAFETY: `start` is only read, and `region` is made for sharing. Copies of the same bytes at the same time are
// kept apart by the engine, which reads below the published end and writes above it; a read that loses that race
// gets bytes which its checksum refuses.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes, rounded up to whole pages. `None` for no bytes, and when the process has no
    /// address space left or too many maps: the file is usable without.
    pub(super) fn new(file: &fs::File, len: u64, access: Access) -> io::Result<Option<Self>> {
        guard::install()?;
        let page_len = rustix::param::page_size();
        let rounded = usize::try_from(len).ok().and_then(|len| len.checked_next_multiple_of(page_len));
        let Some(len) = rounded else { return Err(invalid_input("the map would be larger than the memory")) };
        if len == 0 {
            return Ok(None);
        }
        let (flags, protection) = match access {
            Access::Read => (ProtFlags::READ, libc::PROT_READ),
            Access::ReadWrite => (ProtFlags::READ | ProtFlags::WRITE, libc::PROT_READ | libc::PROT_WRITE),
        };
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = match unsafe { rustix::mm::mmap(ptr::null_mut(), len, flags, MapFlags::SHARED, file, 0) }
        {
            Ok(start) => start,
            Err(Errno::NOMEM) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only a hint: neighbours of a record are not worth reading ahead.
        // SAFETY: exactly the mapping just made; the advice changes no bytes.
        let _ = unsafe { rustix::mm::madvise(start, len, Advice::Random) };
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(io::Error::other("the kernel mapped a file at address zero"));
        };
        let region = Region::new(start.as_ptr(), len, page_len, protection);
        Ok(Some(Self { start, region, access }))
    }

    /// Copies out what lies inside the map. `None` when that is nothing or cannot be had by the map: the caller
    /// then asks the kernel.
    pub(super) fn copy_out(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let (at, count) = self.inside(offset, buffer.len())?;
        let destination = buffer.as_mut_ptr();
        // SAFETY: the map exists, so the guard is installed. `at + count` is inside the map, `count` is at most
        // the buffer's length, and a buffer of safe code never overlaps a map without references.
        let copied =
            unsafe { guard::copy_out(&self.region, self.start.as_ptr().add(at), destination, count) };
        copied.ok().map(|()| count)
    }

    /// Copies in what lies inside the map. `None` when that is nothing, or the map is for reading: the caller
    /// then asks the kernel.
    pub(super) fn copy_in(&self, bytes: &[u8], offset: u64) -> io::Result<Option<usize>> {
        if self.access == Access::Read {
            return Ok(None);
        }
        self.check()?;
        let Some((at, count)) = self.inside(offset, bytes.len()) else { return Ok(None) };
        // SAFETY: as in `copy_out`, and the map is writable.
        unsafe { guard::copy_in(&self.region, bytes.as_ptr(), self.start.as_ptr().add(at), count)? };
        Ok(Some(count))
    }

    /// Makes the pages of `from..to` ready to be written, as far as they lie in the map, so that whoever writes
    /// there first does not wait for the kernel. The bytes exist and their space is reserved.
    pub(super) fn populate(&self, from: u64, to: u64) -> io::Result<()> {
        let Ok(wanted) = usize::try_from(to.saturating_sub(from)) else { return Ok(()) };
        let Some((at, count)) = self.inside(from, wanted) else { return Ok(()) };
        if self.access == Access::Read {
            return Ok(());
        }
        let page_len = rustix::param::page_size();
        let begin = at - at % page_len;
        let len = at + count - begin;
        // SAFETY: `begin` is the start of a page of the map and `begin + len` inside it; the advice touches pages
        // but changes no bytes.
        let outcome = unsafe {
            let page = self.start.as_ptr().add(begin).cast();
            rustix::mm::madvise(page, len, Advice::LinuxPopulateWrite)
        };
        match outcome {
            // Kernels before 5.14 do not know it, and whatever was interrupted is only less ready.
            Ok(()) | Err(Errno::INVAL | Errno::INTR | Errno::AGAIN) => Ok(()),
            // What a store into the page would have raised as a signal.
            Err(Errno::FAULT) => Err(Broken.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// An error when a page was ever lost.
    pub(super) fn check(&self) -> io::Result<()> {
        Ok(self.region.check()?)
    }

    /// Where in the map `len` bytes from `offset` begin and how many of them it covers; `None` when none.
    fn inside(&self, offset: u64, len: usize) -> Option<(usize, usize)> {
        let at = usize::try_from(offset).ok()?;
        let room = self.region.len().checked_sub(at)?;
        let count = room.min(len);
        (count > 0).then_some((at, count))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made, pages put over it by the guard included; every copy borrows
        // the map, so none is under way. It fails only for arguments that were never mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.region.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Barrier;

    const LEN: u64 = 64 * 1024;

    fn file_of(byte: u8) -> fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![byte; usize::try_from(LEN).unwrap()]).unwrap();
        file
    }

    fn map_of(file: &fs::File) -> Map {
        Map::new(file, LEN, Access::ReadWrite).unwrap().unwrap()
    }

    #[test]
    fn a_file_cut_under_its_map_breaks_that_map_and_no_other() {
        let (cut, whole) = (file_of(1), file_of(2));
        let (broken, intact) = (map_of(&cut), map_of(&whole));
        let mut buffer = [0; 100];
        assert_eq!(broken.copy_out(&mut buffer, LEN - 100), Some(100));
        assert_eq!(buffer, [1; 100]);

        cut.set_len(100).unwrap();
        assert_eq!(broken.copy_out(&mut buffer, LEN - 100), None);
        assert!(broken.check().is_err());
        let error = broken.copy_in(b"x", 0).unwrap_err();
        assert!(error.to_string().contains("a page of the mapped file"), "{error}");

        assert_eq!(intact.copy_out(&mut buffer, LEN - 100), Some(100));
        assert_eq!(buffer, [2; 100]);
        assert_eq!(intact.copy_in(b"x", 0).unwrap(), Some(1));
        intact.check().unwrap();
    }

    #[test]
    fn a_store_behind_the_end_of_the_file_is_an_error() {
        let file = file_of(1);
        let map = map_of(&file);
        file.set_len(0).unwrap();
        assert!(map.copy_in(&[7; 20_000], 30_000).is_err());
        assert!(map.copy_in(b"x", 0).is_err());
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_map_for_reading_breaks_too() {
        let file = file_of(1);
        let map = Map::new(&file, LEN, Access::Read).unwrap().unwrap();
        assert_eq!(map.copy_in(b"x", 0).unwrap(), None);
        file.set_len(0).unwrap();
        let mut buffer = [0; 20_000];
        assert_eq!(map.copy_out(&mut buffer, 30_000), None);
        std::hint::black_box(buffer);
    }

    #[test]
    fn no_bytes_are_no_map_and_too_many_are_refused_or_none() {
        let file = file_of(1);
        assert!(Map::new(&file, 0, Access::Read).unwrap().is_none());
        assert!(Map::new(&file, 1 << 60, Access::Read).unwrap().is_none());
        let error = Map::new(&file, u64::MAX, Access::Read).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn pages_that_do_not_exist_cannot_be_made_ready() {
        let file = file_of(1);
        let map = map_of(&file);
        map.populate(5, LEN + 5).unwrap();
        map.populate(LEN, LEN + 5).unwrap();
        map.populate(10, 5).unwrap();
        file.set_len(0).unwrap();
        assert!(map.populate(0, LEN).is_err());
        // Nobody met a lost page.
        map.check().unwrap();
    }

    #[test]
    fn faults_in_many_threads_at_once_break_only_their_maps() {
        const THREADS: u8 = 8;
        const ROUNDS: usize = 50;
        for _ in 0..ROUNDS {
            let files: Vec<_> = (0..THREADS).map(file_of).collect();
            let maps: Vec<_> = files.iter().map(map_of).collect();
            // Files 0, 2, 4, 6 are cut while two threads copy out of each file.
            let barrier = Barrier::new(usize::from(THREADS) * 2 + 1);
            std::thread::scope(|scope| {
                for thread in 0..THREADS * 2 {
                    let (byte, barrier) = (thread / 2, &barrier);
                    let map = &maps[usize::from(byte)];
                    scope.spawn(move || {
                        let mut buffer = vec![0; 30_000];
                        barrier.wait();
                        for _ in 0..20 {
                            match map.copy_out(&mut buffer, 20_000) {
                                Some(count) => assert!(buffer[..count].iter().all(|&b| b == byte)),
                                None => assert!(byte % 2 == 0, "a map broke whose file is whole"),
                            }
                        }
                    });
                }
                barrier.wait();
                for file in files.iter().step_by(2) {
                    file.set_len(0).unwrap();
                }
            });
            for (map, byte) in maps.iter().zip(0..THREADS) {
                let mut byte_read = [9];
                let copied = map.copy_out(&mut byte_read, 20_000);
                // A copy that nobody looks at may be left out by the compiler, and its fault with it.
                std::hint::black_box(byte_read);
                assert_eq!(copied.is_some(), byte % 2 == 1);
            }
        }
    }
}

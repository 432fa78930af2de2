//! The seam to the file system: everything the engine asks of a disk, as three small traits.
//!
//! Two implementations: [`os`] (the operating system, mapped or by system calls) and `sim` (a simulated
//! disk for tests, which loses, tears, reorders and garbles what was not synced, fails the N-th call, fills up,
//! and lies about sync). Nothing outside this folder opens, reads or writes a file of a store.
//!
//! Invariants of the seam:
//! - File names are plain names inside one directory: no separators, no `..`.
//! - No pointer into a map crosses the seam: `copy_in` and `copy_out` copy.
//! - Only [`File::sync`] and [`Dir::sync`] make anything durable. A file's sync covers its bytes and its length,
//!   not its name; a directory's sync covers creations, renames and removals.
//! - Calls may be short or interrupted; [`read_exact_at`], [`write_all_at`] and their siblings loop.

pub(crate) mod os;
#[cfg(any(test, fuzzing))]
pub(crate) mod sim;

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How the bytes of files are moved. What is on the disk is the same, and a store may be opened either way
/// each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// The file being written has its space reserved ahead and is mapped into memory; writes copy into the map
    /// and reads copy out of it, without a system call each.
    ///
    /// Only on 64-bit Linux, and there only on ext4, xfs and tmpfs; elsewhere the same as [`Io::Syscall`]. A page
    /// that cannot be read or written (a dying disk, a file cut by another program) is an error and never ends
    /// the process: the first mapping installs a handler for `SIGBUS`, which passes on every fault that is not
    /// in one of these maps to whoever handled the signal before.
    #[default]
    Mapped,
    /// Reads and writes are system calls at an offset.
    Syscall,
}

/// How a directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirAccess {
    /// It must exist; nothing in it will be changed.
    ReadOnly,
    /// It must exist.
    ReadWrite,
    /// It is created, with its parents, when it is missing.
    Create,
}

/// How a file that exists is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A file system: where directories come from.
pub(crate) trait Vfs: Send + Sync {
    fn open_dir(&self, path: &Path, access: DirAccess) -> io::Result<Arc<dyn Dir>>;
}

/// One open directory. It stays the same directory when its path is renamed or replaced.
pub(crate) trait Dir: Any + Send + Sync {
    /// The names of everything in the directory, in any order. A name that is not UTF-8 comes lossily.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file for reading and writing; `AlreadyExists` when the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a regular file; a symbolic link, a pipe, a device or a directory in its place is `InvalidInput`.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Replaces `to` by `from` in one step. Durable only after [`Dir::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; files already open stay readable. Durable only after [`Dir::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the file `name` a second name in `target`, `AlreadyExists` when that is taken: a hard link, so both lead
    /// to the same bytes. Durable only after the sync of `target`. Fails where the file system has no links or the two
    /// directories are not on the same one: then the caller copies.
    fn link_to(&self, name: &str, target: &dyn Dir, new_name: &str) -> io::Result<()>;

    /// Whether `path`, which need not exist, leads to this directory or below it.
    fn encloses(&self, path: &Path) -> io::Result<bool>;

    fn sync(&self) -> io::Result<()>;

    /// Takes the exclusive lock on the file `name` (created when missing), without waiting: `None` when
    /// another process, or another opener in this one, holds it. It is released when the guard is dropped
    /// or the process ends, however it ends.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;

    /// How full the file system is that the directory lies on. Where that is not known, everything is free.
    fn space(&self) -> io::Result<DiskSpace>;

    /// Whether files opened here can be mapped ([`File::map`] has an effect).
    fn can_map(&self) -> bool;
}

/// How full a file system is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// What this user may still write.
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// A held lock.
pub(crate) trait Lock: Send + Sync {
    /// Whether the name still leads to the file that is locked: false when a stranger removed or replaced it.
    fn is_intact(&self) -> io::Result<bool>;
}

/// One open file.
///
/// `read_at` and `write_at` are system calls at an offset. `copy_out` and `copy_in` do the same through the
/// file's map where it has one that covers the range, and are system calls otherwise.
pub(crate) trait File: Send + Sync {
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file or when interrupted.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes up to `bytes.len()` bytes, growing the file where needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Like `read_at`, by the map where possible. The caller stays below a length it knows to be written.
    fn copy_out(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Like `write_at`, by the map where possible; there the range was allocated before.
    fn copy_in(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Maps the address space of the first `len` bytes (they need not exist yet). Without effect where the
    /// directory cannot map. Called at most once for a file.
    fn map(&self, len: u64) -> io::Result<()>;

    /// Makes the file at least `len` bytes long with its space reserved, zeros where nothing was written, so that
    /// `copy_in` below `len` cannot run out of disk. Fails with `StorageFull` and changes nothing.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes, or lengthens it with zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Forces the bytes and the length to the disk.
    fn sync(&self) -> io::Result<()>;
}

/// Removes a name, unless it is gone already.
pub(crate) fn remove_if_present(dir: &dyn Dir, name: &str) -> io::Result<()> {
    match dir.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Fills `buffer` from `offset` by positioned reads; `UnexpectedEof` when the file ends before.
pub(crate) fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    read_fully(buffer, offset, |rest, at| file.read_at(rest, at))
}

/// Fills `buffer` from `offset` by the map where there is one; `UnexpectedEof` when the file ends before.
pub(crate) fn copy_out_exact(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    read_fully(buffer, offset, |rest, at| file.copy_out(rest, at))
}

/// Writes all of `bytes` at `offset` by positioned writes.
pub(crate) fn write_all_at(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_fully(bytes, offset, |rest, at| file.write_at(rest, at))
}

/// Writes all of `bytes` at `offset` by the map where there is one.
pub(crate) fn copy_in_all(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_fully(bytes, offset, |rest, at| file.copy_in(rest, at))
}

fn read_fully(
    mut buffer: &mut [u8],
    mut offset: u64,
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                planted!("a short read is taken for the end", return Ok(()));
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_fully(
    mut bytes: &[u8],
    mut offset: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                planted!("a short write is taken for whole", return Ok(()));
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

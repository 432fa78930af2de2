//! The operating system's implementation of the seam.
//!
//! Which file does what:
//! - `dir` opens one directory and names its children relative to it; `file` moves bytes; `lock` holds `LOCK`.
//! - `map` is a mapped file, `guard` turns a fault inside a map into an error. Both exist on 64-bit Linux only;
//!   `map_absent` stands in for them elsewhere.
//! - `portable` does the same by paths, for systems that are not Unix.
//!
//! Left out on purpose: retries after errors (the engine decides; a failed sync is never retried), caches, and
//! threads. The only state here is what the kernel needs to be asked once.

#[cfg(unix)]
mod dir;
#[cfg(unix)]
mod file;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod guard;
#[cfg(unix)]
mod lock;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod map;
#[cfg(all(unix, not(all(target_os = "linux", target_pointer_width = "64"))))]
#[path = "map_absent.rs"]
mod map;
// Compiled for tests everywhere, so that it cannot rot where nobody runs it.
#[cfg(any(not(unix), test))]
mod portable;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod child;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Dir, DirAccess, Io, Vfs};

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsVfs {
    io: Io,
}

impl OsVfs {
    /// `io` is a wish: see [`Dir::can_map`] for what a directory makes of it.
    pub(crate) fn new(io: Io) -> Self {
        Self { io }
    }
}

impl Vfs for OsVfs {
    #[cfg(unix)]
    fn open_dir(&self, path: &Path, access: DirAccess) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(dir::OsDir::open(path, access, self.io)?))
    }

    #[cfg(not(unix))]
    fn open_dir(&self, path: &Path, access: DirAccess) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(portable::PortableDir::open(path, access)?))
    }
}

/// Refuses whatever could lead out of the directory. Names are built by one file of the engine; this holds even
/// if that file has a bug.
fn plain_name(name: &str) -> io::Result<&str> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\\', ':', '\0']) {
        return Err(invalid_input(format!("{name:?} is not a plain file name")));
    }
    Ok(name)
}

/// The path without links and `..`, also where its last parts do not exist.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut existing = std::path::absolute(path)?;
    let mut missing = Vec::new();
    loop {
        match std::fs::canonicalize(&existing) {
            Ok(mut resolved) => {
                resolved.extend(missing.into_iter().rev());
                return Ok(resolved);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(name) = existing.file_name() else { return Err(error) };
                missing.push(name.to_owned());
                existing.pop();
            }
            Err(error) => return Err(error),
        }
    }
}

fn not_regular(name: &str) -> io::Error {
    invalid_input(format!(
        "{name:?} is not a regular file; a link, pipe, device or directory is never opened"
    ))
}

fn invalid_input(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// What every way of I/O has in common, `portable` included.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Access, read_exact_at, write_all_at};
    use std::fs;

    struct Portable;

    impl Vfs for Portable {
        fn open_dir(&self, path: &Path, access: DirAccess) -> io::Result<Arc<dyn Dir>> {
            Ok(Arc::new(portable::PortableDir::open(path, access)?))
        }
    }

    fn every_way(test: impl Fn(&dyn Vfs, &Path)) {
        let ways: [&dyn Vfs; 3] = [&OsVfs::new(Io::Mapped), &OsVfs::new(Io::Syscall), &Portable];
        for vfs in ways {
            test(vfs, tempfile::tempdir().unwrap().path());
        }
    }

    fn every_dir(test: impl Fn(Arc<dyn Dir>, &Path)) {
        every_way(|vfs, path| test(vfs.open_dir(path, DirAccess::ReadWrite).unwrap(), path));
    }

    fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
        result.err().expect("an error").kind()
    }

    #[test]
    fn a_directory_is_created_only_on_request() {
        every_way(|vfs, path| {
            let deep = path.join("a/b/c");
            assert_eq!(kind(vfs.open_dir(&deep, DirAccess::ReadOnly)), io::ErrorKind::NotFound);
            assert_eq!(kind(vfs.open_dir(&deep, DirAccess::ReadWrite)), io::ErrorKind::NotFound);
            assert!(!path.join("a").exists());
            vfs.open_dir(&deep, DirAccess::Create).unwrap().create("x").unwrap();
            let again = vfs.open_dir(&deep, DirAccess::Create).unwrap();
            assert_eq!(again.list().unwrap(), ["x"]);
        });
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_refused() {
        every_way(|vfs, path| {
            fs::write(path.join("file"), "").unwrap();
            for access in [DirAccess::ReadOnly, DirAccess::ReadWrite, DirAccess::Create] {
                vfs.open_dir(&path.join("file"), access).err().expect("an error");
            }
        });
    }

    #[test]
    fn create_refuses_a_name_that_is_taken() {
        every_dir(|dir, _| {
            write_all_at(&*dir.create("a").unwrap(), b"first", 0).unwrap();
            assert_eq!(kind(dir.create("a")), io::ErrorKind::AlreadyExists);
            let mut bytes = [0; 5];
            read_exact_at(&*dir.open("a", Access::Read).unwrap(), &mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"first");
        });
    }

    #[test]
    fn open_refuses_what_is_not_a_regular_file() {
        every_dir(|dir, path| {
            fs::create_dir(path.join("directory")).unwrap();
            fs::write(path.join("file"), "").unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink("file", path.join("link")).unwrap();
            for access in [Access::Read, Access::ReadWrite] {
                assert_eq!(kind(dir.open("missing", access)), io::ErrorKind::NotFound);
                assert_eq!(kind(dir.open("directory", access)), io::ErrorKind::InvalidInput);
                #[cfg(unix)]
                assert_eq!(kind(dir.open("link", access)), io::ErrorKind::InvalidInput);
            }
        });
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        every_dir(|dir, _| {
            for name in ["", ".", "..", "a/b", "../a", "/a", "a\\b", "c:a", "a\0b"] {
                assert_eq!(kind(dir.create(name)), io::ErrorKind::InvalidInput);
                assert_eq!(kind(dir.open(name, Access::Read)), io::ErrorKind::InvalidInput);
                assert_eq!(kind(dir.rename(name, "a")), io::ErrorKind::InvalidInput);
                assert_eq!(kind(dir.rename("a", name)), io::ErrorKind::InvalidInput);
                assert_eq!(kind(dir.remove(name)), io::ErrorKind::InvalidInput);
                assert_eq!(kind(dir.lock(name)), io::ErrorKind::InvalidInput);
            }
        });
    }

    #[test]
    fn list_names_everything_each_time() {
        every_dir(|dir, path| {
            fs::create_dir(path.join("directory")).unwrap();
            dir.create("a").unwrap();
            dir.create("b").unwrap();
            for _ in 0..2 {
                let mut names = dir.list().unwrap();
                names.sort();
                assert_eq!(names, ["a", "b", "directory"]);
            }
        });
    }

    #[test]
    fn rename_replaces_in_one_step() {
        every_dir(|dir, _| {
            write_all_at(&*dir.create("new").unwrap(), b"new", 0).unwrap();
            let old = dir.create("name").unwrap();
            write_all_at(&*old, b"old", 0).unwrap();
            dir.rename("new", "name").unwrap();
            dir.sync().unwrap();
            assert_eq!(dir.list().unwrap(), ["name"]);
            let mut bytes = [0; 3];
            read_exact_at(&*dir.open("name", Access::Read).unwrap(), &mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"new");
            read_exact_at(&*old, &mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"old");
        });
    }

    #[test]
    fn a_removed_file_stays_readable_where_it_is_open() {
        every_dir(|dir, _| {
            let file = dir.create("a").unwrap();
            file.map(4096).unwrap();
            write_all_at(&*file, b"here", 0).unwrap();
            dir.remove("a").unwrap();
            assert!(dir.list().unwrap().is_empty());
            assert_eq!(kind(dir.remove("a")), io::ErrorKind::NotFound);
            let mut bytes = [0; 4];
            assert_eq!(file.copy_out(&mut bytes, 0).unwrap(), 4);
            assert_eq!(&bytes, b"here");
        });
    }

    #[test]
    fn a_link_is_a_second_name_of_the_same_file_where_there_are_links() {
        every_way(|vfs, path| {
            let dir = vfs.open_dir(&path.join("a"), DirAccess::Create).unwrap();
            let target = vfs.open_dir(&path.join("b"), DirAccess::Create).unwrap();
            let file = dir.create("name").unwrap();
            match dir.link_to("name", &*target, "other") {
                Ok(()) => {}
                // The caller copies.
                Err(error) => return assert_eq!(error.kind(), io::ErrorKind::Unsupported),
            }
            write_all_at(&*file, b"here", 0).unwrap();
            dir.remove("name").unwrap();
            let mut bytes = [0; 4];
            read_exact_at(&*target.open("other", Access::Read).unwrap(), &mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"here");
            dir.create("name").unwrap();
            assert_eq!(kind(dir.link_to("name", &*target, "other")), io::ErrorKind::AlreadyExists);
            assert_eq!(kind(dir.link_to("missing", &*target, "third")), io::ErrorKind::NotFound);
            for name in ["", "..", "a/b"] {
                assert_eq!(kind(dir.link_to("name", &*target, name)), io::ErrorKind::InvalidInput);
            }
        });
    }

    #[test]
    fn a_directory_encloses_itself_and_what_lies_in_it() {
        every_way(|vfs, path| {
            let dir = vfs.open_dir(&path.join("a/b"), DirAccess::Create).unwrap();
            for inside in ["a/b", "a/b/", "a/b/c/d", "a/../a/b", "a/b/../b/c"] {
                assert!(dir.encloses(&path.join(inside)).unwrap(), "{inside}");
            }
            for outside in ["", "a", "a/c", "a/bc", "a/b/../c", "x/y"] {
                assert!(!dir.encloses(&path.join(outside)).unwrap(), "{outside}");
            }
        });
    }

    #[test]
    fn allocate_lengthens_with_zeros_and_never_shortens() {
        every_dir(|dir, _| {
            let file = dir.create("a").unwrap();
            write_all_at(&*file, b"data", 0).unwrap();
            file.allocate(10_000).unwrap();
            assert_eq!(file.len().unwrap(), 10_000);
            file.allocate(5_000).unwrap();
            assert_eq!(file.len().unwrap(), 10_000);
            let mut bytes = vec![1; 10_000];
            read_exact_at(&*file, &mut bytes, 0).unwrap();
            assert_eq!(&bytes[..4], b"data");
            assert!(bytes[4..].iter().all(|&byte| byte == 0));
        });
    }

    #[test]
    fn truncate_cuts_and_lengthens() {
        every_dir(|dir, _| {
            let file = dir.create("a").unwrap();
            write_all_at(&*file, b"abcdef", 0).unwrap();
            file.truncate(3).unwrap();
            file.truncate(5).unwrap();
            file.sync().unwrap();
            let mut bytes = [1; 5];
            read_exact_at(&*file, &mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"abc\0\0");
            assert_eq!(kind(read_exact_at(&*file, &mut bytes, 1)), io::ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn a_lock_excludes_a_second_opener_until_it_is_dropped() {
        every_way(|vfs, path| {
            let first = vfs.open_dir(path, DirAccess::ReadWrite).unwrap();
            let second = vfs.open_dir(path, DirAccess::ReadWrite).unwrap();
            let lock = first.lock("LOCK").unwrap().expect("nobody holds it");
            assert!(lock.is_intact().unwrap());
            assert!(first.lock("LOCK").unwrap().is_none());
            assert!(second.lock("LOCK").unwrap().is_none());
            drop(lock);
            assert!(second.lock("LOCK").unwrap().is_some());
        });
    }
}

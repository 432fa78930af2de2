//! The exclusive lock on a directory: `flock` on a file in it.
//!
//! Why `flock`: the kernel drops it with the process, however that ends, and it belongs to one opening of the
//! file, so that a second opener in the same process is shut out too. Record locks (`fcntl`) are neither: closing
//! any other descriptor of the file drops them. A process id in the file would outlive its process.
//!
//! Invariants:
//! - A lock is handed out only when the name led to the locked file after locking. Otherwise two processes could
//!   hold "the" lock, one on a file that was removed in between.
//! - A file system that cannot lock is an error, never an unlocked store.
//!
//! A forked child shares the lock and keeps it when the parent dies without dropping the guard. Only the process
//! that took the lock lets go of it for all.

use std::fs;
use std::io;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::dir::{open_regular, stat_child};
use crate::vfs::Lock;

/// How often a stranger may replace the file while we lock it before we call that an error.
const ATTEMPTS: usize = 16;

pub(super) struct OsLock {
    dir: Arc<fs::File>,
    name: String,
    /// The lock itself: held while this is open.
    file: fs::File,
    process_id: u32,
}

impl OsLock {
    /// `None` when another opener holds it.
    pub(super) fn take(dir: &Arc<fs::File>, name: &str) -> io::Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let file = open_regular(dir, name, OFlags::RDWR | OFlags::CREATE)?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(cannot_lock(error)),
            }
            let process_id = std::process::id();
            let lock = Self { dir: Arc::clone(dir), name: name.to_owned(), file, process_id };
            if lock.is_intact()? {
                return Ok(Some(lock));
            }
        }
        Err(io::Error::other(format!(
            "the lock file {name:?} was replaced again and again while it was locked"
        )))
    }
}

impl Lock for OsLock {
    fn is_intact(&self) -> io::Result<bool> {
        let locked = rustix::fs::fstat(&self.file)?;
        match stat_child(&self.dir, &self.name) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child that was forked and has not yet begun its own program.
        // A child that drops its copy must not unlock its parent.
        if std::process::id() == self.process_id {
            // An error leaves the lock to the close that follows.
            let _ = self.file.unlock();
        }
    }
}

/// `flock`, made again where a signal has interrupted it, as a file system over the network allows.
fn try_lock(file: &fs::File) -> Result<(), fs::TryLockError> {
    loop {
        match file.try_lock() {
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Keeps the kind and says what it means; the kernel's text would be "No locks available".
fn cannot_lock(error: io::Error) -> io::Error {
    let text =
        format!("the file system cannot lock files, so a second writer could not be kept out: {error}");
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::vfs::os::OsVfs;
    use crate::vfs::os::child::{self, Child};
    use crate::vfs::{Dir, DirAccess, Io, Vfs};
    use std::io::{Read, Write};
    use std::path::Path;
    use std::process::Stdio;
    use std::sync::Barrier;

    fn open_dir(path: &Path) -> Arc<dyn Dir> {
        OsVfs::new(Io::Syscall).open_dir(path, DirAccess::ReadWrite).unwrap()
    }

    #[test]
    fn a_lock_of_another_process_excludes_and_ends_with_it() {
        const NAME: &str = "vfs::os::lock::tests::a_lock_of_another_process_excludes_and_ends_with_it";
        if let Some(path) = child::argument(NAME) {
            let _lock = open_dir(Path::new(&path)).lock("LOCK").unwrap().unwrap();
            std::io::stderr().write_all(b"!").unwrap();
            // Until the parent kills us, or is gone itself.
            std::io::stdin().read_exact(&mut [0]).unwrap();
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let mut command = child::command(NAME, root.path().to_str().unwrap());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Child(command.spawn().unwrap());
        let mut byte = [0];
        child.0.stderr.take().unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"!", "the child did not get the lock");

        let dir = open_dir(root.path());
        assert!(dir.lock("LOCK").unwrap().is_none());
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert!(dir.lock("LOCK").unwrap().is_some());
    }

    #[test]
    fn of_many_racing_openers_exactly_one_gets_the_lock() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let barrier = Barrier::new(8);
            let winners: Vec<Box<dyn Lock>> = std::thread::scope(|scope| {
                let openers: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            let dir = open_dir(root.path());
                            barrier.wait();
                            dir.lock("LOCK").unwrap()
                        })
                    })
                    .collect();
                openers.into_iter().filter_map(|opener| opener.join().unwrap()).collect()
            });
            assert_eq!(winners.len(), 1);
        }
    }

    #[test]
    fn a_removed_lock_file_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let dir = open_dir(root.path());
        let first = dir.lock("LOCK").unwrap().unwrap();
        std::fs::remove_file(root.path().join("LOCK")).unwrap();
        assert!(!first.is_intact().unwrap());
        // The second opener gets a new file, and the first can tell.
        let second = dir.lock("LOCK").unwrap().unwrap();
        assert!(second.is_intact().unwrap());
        assert!(!first.is_intact().unwrap());
    }

    #[test]
    fn a_replaced_lock_file_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let dir = open_dir(root.path());
        let lock = dir.lock("LOCK").unwrap().unwrap();
        assert!(lock.is_intact().unwrap());
        dir.create("other").unwrap();
        dir.rename("other", "LOCK").unwrap();
        assert!(!lock.is_intact().unwrap());
    }
}

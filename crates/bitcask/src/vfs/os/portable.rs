//! The seam by paths and the standard library alone, for systems that are not Unix.
//!
//! Weaker than `dir`, and said openly: a directory is its path, so whoever replaces the path diverts later calls;
//! a file's type is looked at before it is opened, not after; new files get the permissions of their directory.
//! Nothing is mapped, and space is not reserved ahead: a full disk is an error of the write that meets it.
//! Files are not linked, so what would be is copied. A directory cannot be synced, since the standard library opens none there; NTFS keeps a journal of names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{not_regular, plain_name, resolve};
use crate::vfs::{Access, Dir, DirAccess, DiskSpace, File, Lock};

pub(super) struct PortableDir {
    path: PathBuf,
}

impl PortableDir {
    pub(super) fn open(path: &Path, access: DirAccess) -> io::Result<Self> {
        if access == DirAccess::Create {
            fs::create_dir_all(path)?;
        }
        // Made absolute, so that a later change of the working directory does not divert us.
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path })
    }

    fn child(&self, name: &str) -> io::Result<PathBuf> {
        Ok(self.path.join(plain_name(name)?))
    }
}

impl Dir for PortableDir {
    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.child(name)?)?;
        Ok(Arc::new(PortableFile { file }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let path = self.child(name)?;
        require_regular(&path, name)?;
        let file = fs::OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)?;
        Ok(Arc::new(PortableFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.child(from)?, self.child(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.child(name)?)
    }

    fn link_to(&self, _name: &str, _target: &dyn Dir, _new_name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn encloses(&self, path: &Path) -> io::Result<bool> {
        Ok(resolve(path)?.starts_with(&self.path))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.child(name)?;
        match require_regular(&path, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        forbid_removal(&mut options);
        let file = options.open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(PortableLock { path, file }))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self) -> io::Result<DiskSpace> {
        Ok(DiskSpace { free: u64::MAX, total: u64::MAX })
    }

    fn can_map(&self) -> bool {
        false
    }
}

fn require_regular(path: &Path, name: &str) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_file() { Ok(()) } else { Err(not_regular(name)) }
}

/// While the lock file is open, Windows lets nobody remove or rename it.
#[cfg(windows)]
fn forbid_removal(options: &mut fs::OpenOptions) {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_SHARE_READ: u32 = 1;
    const FILE_SHARE_WRITE: u32 = 2;
    options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
}

#[cfg(not(windows))]
fn forbid_removal(_options: &mut fs::OpenOptions) {}

struct PortableLock {
    path: PathBuf,
    file: fs::File,
}

impl Lock for PortableLock {
    fn is_intact(&self) -> io::Result<bool> {
        self.path.try_exists()
    }
}

impl Drop for PortableLock {
    fn drop(&mut self) {
        // Closing alone unlocks on Windows only after a while. An error leaves it to the close.
        let _ = self.file.unlock();
    }
}

struct PortableFile {
    file: fs::File,
}

impl File for PortableFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)
    }

    fn copy_out(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    fn copy_in(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }

    fn map(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.file.set_len(len) } else { Ok(()) }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

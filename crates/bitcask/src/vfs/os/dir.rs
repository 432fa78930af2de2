//! One directory, opened once.
//!
//! Invariants:
//! - Every child is named relative to the open directory, never by a path: whoever renames or replaces the
//!   directory, or puts a link on its path, cannot divert a later call.
//! - No link is followed inside the directory, and nothing but a regular file is opened there. Opening a pipe
//!   would hang, opening a device may do things.
//! - What is created belongs to the user alone: files 0600, directories 0700.
//!
//! Left out on purpose: [`DirAccess::ReadOnly`] is the caller's promise, not checked again at each call; a
//! directory that really must not change has permissions for that. The user's own path may be a link.

use std::any::Any;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::file::OsFile;
use super::lock::OsLock;
use super::{not_regular, plain_name, resolve};
use crate::vfs::{Access, Dir, DirAccess, DiskSpace, File, Io, Lock};

/// Flags of every open in the directory. Without `NONBLOCK`, opening a pipe that slipped in after the check of
/// its type would wait for a writer; regular files do not heed it.
const ALWAYS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

pub(super) struct OsDir {
    /// Shared with the locks taken here, which look at the directory again later.
    dir: Arc<fs::File>,
    access: DirAccess,
    io: Io,
    can_map: OnceLock<bool>,
}

impl OsDir {
    pub(super) fn open(path: &Path, access: DirAccess, io: Io) -> io::Result<Self> {
        if access == DirAccess::Create {
            create_dir(path)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self { dir: Arc::new(fs::File::from(dir)), access, io, can_map: OnceLock::new() })
    }

    /// The way of I/O that files opened here really get.
    fn file_io(&self) -> Io {
        if self.can_map() { Io::Mapped } else { Io::Syscall }
    }
}

impl Dir for OsDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in retry_on_intr(|| rustix::fs::Dir::read_from(&self.dir))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let name = plain_name(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | ALWAYS;
        let file = retry_on_intr(|| rustix::fs::openat(&self.dir, name, flags, FILE_MODE))?;
        Ok(Arc::new(OsFile::new(fs::File::from(file), Access::ReadWrite, self.file_io())))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let file = open_regular(&self.dir, name, flags)?;
        Ok(Arc::new(OsFile::new(file, access, self.file_io())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, plain_name(from)?, &self.dir, plain_name(to)?)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, plain_name(name)?, AtFlags::empty())?)
    }

    fn link_to(&self, name: &str, target: &dyn Dir, new_name: &str) -> io::Result<()> {
        let Some(target) = (target as &dyn Any).downcast_ref::<Self>() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (name, new_name) = (plain_name(name)?, plain_name(new_name)?);
        Ok(rustix::fs::linkat(&self.dir, name, &target.dir, new_name, AtFlags::empty())?)
    }

    fn encloses(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let own = self.dir.metadata()?;
        for ancestor in resolve(path)?.ancestors() {
            match fs::metadata(ancestor) {
                Ok(other) if (other.dev(), other.ino()) == (own.dev(), own.ino()) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(OsLock::take(&self.dir, name)?.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let stat = retry_on_intr(|| rustix::fs::fstatvfs(&*self.dir))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(DiskSpace { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    fn can_map(&self) -> bool {
        match self.io {
            Io::Mapped => *self.can_map.get_or_init(|| file_system_can_map(&self.dir, self.access)),
            Io::Syscall => false,
        }
    }
}

/// Opens the child `name` with `flags`, or refuses it with `InvalidInput` when it is not a regular file.
///
/// It looks at the type twice: before, because opening a device already acts on it, and after, because the
/// name may have changed hands in between.
pub(super) fn open_regular(dir: &fs::File, name: &str, flags: OFlags) -> io::Result<fs::File> {
    let name = plain_name(name)?;
    match stat_child(dir, name) {
        Ok(stat) => require_regular(&stat, name)?,
        Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {}
        Err(error) => return Err(error.into()),
    }
    let file = retry_on_intr(|| rustix::fs::openat(dir, name, flags | ALWAYS, FILE_MODE))?;
    require_regular(&rustix::fs::fstat(&file)?, name)?;
    Ok(fs::File::from(file))
}

/// What lies under `name` itself, not under what it may link to.
pub(super) fn stat_child(dir: &fs::File, name: &str) -> Result<Stat, Errno> {
    retry_on_intr(|| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
}

fn require_regular(stat: &Stat, name: &str) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(not_regular(name)),
    }
}

/// Creates the directory and its missing parents, each made durable before the next.
///
/// The parent of a directory that exists is synced too: the process that created it may have been killed before
/// its own sync, and no later sync inside a directory would save the directory's name.
fn create_dir(path: &Path) -> io::Result<()> {
    let create = || fs::DirBuilder::new().mode(0o700).create(path);
    let mut created = create();
    if let (Err(error), Some(parent)) = (&created, path.parent())
        && error.kind() == io::ErrorKind::NotFound
    {
        create_dir(parent)?;
        created = create();
    }
    match created {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match sync_parent(path) {
            // Whoever may not read the parent, or has one that cannot be synced (it may be of another file
            // system, where this one is mounted), did not create the directory in it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) =>
            {
                Ok(())
            }
            outcome => outcome,
        },
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        None => Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(parent) => fs::File::open(parent)?.sync_all(),
    }
}

/// Whether a file here may be mapped and written through its map: on a file system known to keep maps and system
/// calls coherent, where space can be reserved (a store into a page without space on the disk is a fault, which
/// no error code announces).
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn file_system_can_map(dir: &fs::File, access: DirAccess) -> bool {
    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    const TMPFS: u64 = 0x0102_1994;
    let Ok(stat) = rustix::fs::fstatfs(dir) else { return false };
    let known = u64::try_from(stat.f_type).is_ok_and(|magic| [EXT4, XFS, TMPFS].contains(&magic));
    match access {
        // Nothing is reserved where nothing is written, and a trial file would be a change.
        DirAccess::ReadOnly => known,
        DirAccess::ReadWrite | DirAccess::Create => known && can_reserve(dir),
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn file_system_can_map(_dir: &fs::File, _access: DirAccess) -> bool {
    false
}

/// Tries `fallocate` on a file without a name, which is gone when this returns or the process dies.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn can_reserve(dir: &fs::File) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = retry_on_intr(|| rustix::fs::openat(dir, ".", flags, FILE_MODE)) else { return false };
    let outcome =
        retry_on_intr(|| rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, TRIAL_LEN));
    // A full disk can reserve in principle.
    matches!(outcome, Ok(()) | Err(Errno::NOSPC | Errno::DQUOT))
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const TRIAL_LEN: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Vfs;
    use crate::vfs::os::OsVfs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_belong_to_the_user_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/store");
        let dir = OsVfs::new(Io::Syscall).open_dir(&path, DirAccess::Create).unwrap();
        dir.create("a").unwrap();
        let _lock = dir.lock("LOCK").unwrap().unwrap();
        assert_eq!(mode(&root.path().join("deep")), 0o700);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("a")), 0o600);
        assert_eq!(mode(&path.join("LOCK")), 0o600);
    }

    #[test]
    fn the_users_own_path_may_be_a_link() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        symlink("real", root.path().join("link")).unwrap();
        for access in [DirAccess::ReadOnly, DirAccess::ReadWrite, DirAccess::Create] {
            OsDir::open(&root.path().join("link"), access, Io::Syscall).unwrap();
        }
    }

    #[test]
    fn a_directory_stays_the_same_when_its_path_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let (path, moved) = (root.path().join("store"), root.path().join("moved"));
        let dir = OsDir::open(&path, DirAccess::Create, Io::Mapped).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        dir.create("a").unwrap();
        assert!(moved.join("a").exists());
        assert!(!path.join("a").exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pipe_or_a_socket_or_a_device_is_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let dir = OsDir::open(root.path(), DirAccess::ReadWrite, Io::Syscall).unwrap();
        rustix::fs::mknodat(&dir.dir, "pipe", FileType::Fifo, FILE_MODE, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        let devices = fs::File::open("/dev").unwrap();
        for access in [Access::Read, Access::ReadWrite] {
            for name in ["pipe", "socket"] {
                let error = dir.open(name, access).err().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
            }
        }
        let error = dir.lock("pipe").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = open_regular(&devices, "null", OFlags::RDONLY).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_dangling_link_is_never_created_through() {
        let root = tempfile::tempdir().unwrap();
        let dir = OsDir::open(root.path(), DirAccess::ReadWrite, Io::Syscall).unwrap();
        symlink("elsewhere", root.path().join("link")).unwrap();
        assert_eq!(dir.create("link").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(dir.lock("link").err().unwrap().kind(), io::ErrorKind::InvalidInput);
        assert!(!root.path().join("elsewhere").exists());
    }

    #[test]
    fn the_trial_of_the_file_system_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let dir = OsDir::open(root.path(), DirAccess::ReadWrite, Io::Mapped).unwrap();
        println!("{} can be mapped: {}", root.path().display(), dir.can_map());
        assert_eq!(dir.list().unwrap(), Vec::<String>::new());
        let dir = OsDir::open(root.path(), DirAccess::ReadWrite, Io::Syscall).unwrap();
        assert!(!dir.can_map());
    }
}

//! What lies in the source: one directory of Bitcask, or one a partition. All its names are parsed here.
//!
//! Nothing is followed through a symbolic link, below the path that the user gave.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::file::SourceFile;
use crate::failure::Failure;

const LOCKS: [&str; 3] = ["bitcask.write.lock", "bitcask.merge.lock", "bitcask.create.lock"];
/// Riak's own notes beside the data.
const NOTES: [&str; 3] = ["version.txt", "upgrade.txt", "merge.txt"];
/// More than any lock file holds.
const MAX_LOCK_LEN: u64 = 4_096;

/// Marks a data file as pending deletion: the permission to execute for others; setuid in old versions.
#[cfg(unix)]
const PENDING_MODE: u32 = 0o4001;

/// The source, open.
pub(super) struct Source {
    root: Dir,
    path: PathBuf,
}

/// What the source holds at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) directories: Vec<Listed>,
    /// Of the root, where there are partitions.
    pub(super) strangers: Vec<Stranger>,
}

/// One directory of Bitcask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// `None` where it is the source itself.
    partition: Option<String>,
    /// By file id, which is the order in which they were begun.
    pub(super) data: BTreeMap<u64, DataFile>,
    pub(super) hints: BTreeSet<u64>,
    locks: BTreeSet<&'static str>,
    pub(super) strangers: Vec<Stranger>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    pub(super) len: u64,
    pub(super) pending: bool,
}

/// A name that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) path: String,
    pub(super) what: &'static str,
    /// Whether the name says that there may be entries behind it.
    pub(super) is_missed: bool,
}

/// What a name stands for.
enum Name {
    Data(u64),
    Hint(u64),
    Lock(&'static str),
    Note,
    Partition,
    Unknown,
}

impl Name {
    fn parse(name: &str) -> Self {
        let id = |suffix| name.strip_suffix(suffix).filter(|id| is_number(id)).and_then(|id| id.parse().ok());
        if let Some(id) = id(".bitcask.data") {
            Self::Data(id)
        } else if let Some(id) = id(".bitcask.hint") {
            Self::Hint(id)
        } else if let Some(lock) = LOCKS.into_iter().find(|&lock| lock == name) {
            Self::Lock(lock)
        } else if NOTES.contains(&name) {
            Self::Note
        } else if is_number(name) {
            Self::Partition
        } else {
            Self::Unknown
        }
    }
}

/// A decimal number in the one way to write it. Those of partitions have up to 49 digits.
fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn data_name(id: u64) -> String {
    format!("{id}.bitcask.data")
}

fn hint_name(id: u64) -> String {
    format!("{id}.bitcask.hint")
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let root = Dir::open_ambient_dir(path, ambient_authority());
        let root = root.map_err(|source| Failure::io("read", path, source))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Finds out what the source is, and lists it.
    pub(super) fn list(&self) -> Result<Listing, Failure> {
        let (own, partitions) = self.list_directory(None)?;
        let is_bitcask = !(own.data.is_empty() && own.hints.is_empty() && own.locks.is_empty());
        let failure =
            |what: &str| Failure::Input { place: self.path.display().to_string(), what: what.to_owned() };
        match (is_bitcask, partitions.is_empty()) {
            (true, true) => Ok(Listing { directories: vec![own], strangers: Vec::new() }),
            (true, false) => Err(failure(
                "it holds files of Bitcask as well as directories that look like partitions: name the one that is meant",
            )),
            (false, true) => Err(failure(
                "there is neither a data file of Bitcask (such as 1.bitcask.data) nor a directory of a partition",
            )),
            (false, false) => {
                let lists = partitions.into_iter().map(|name| self.list_partition(name));
                Ok(Listing { directories: lists.collect::<Result<_, _>>()?, strangers: own.strangers })
            }
        }
    }

    fn list_partition(&self, name: String) -> Result<Listed, Failure> {
        let (mut listed, below) = self.list_directory(Some(name))?;
        for name in below {
            let path = self.path_of(&listed, &name);
            listed.strangers.push(Stranger { path, what: "is a directory", is_missed: false });
        }
        Ok(listed)
    }

    /// What is in the root, or in a partition, and the names of directories that look like partitions, in their order.
    fn list_directory(&self, partition: Option<String>) -> Result<(Listed, Vec<String>), Failure> {
        let mut listed = Listed { partition, ..Listed::default() };
        let mut partitions = Vec::new();
        let dir_path = self.path_of(&listed, "");
        let failure = |source| Failure::io("read", Path::new(&dir_path), source);
        let dir = self.directory(&listed).map_err(failure)?;
        for found in dir.entries().map_err(failure)? {
            let found = found.map_err(failure)?;
            let name = found.file_name();
            let name = name.to_string_lossy();
            let metadata = found.metadata().map_err(failure)?;
            let path = || Path::new(&dir_path).join(found.file_name()).display().to_string();
            if let Some(partition) = listed.take(&name, &metadata, path) {
                partitions.push(partition);
            }
        }
        partitions.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        listed.strangers.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((listed, partitions))
    }

    fn directory(&self, listed: &Listed) -> io::Result<Dir> {
        match &listed.partition {
            Some(name) => self.root.open_dir_nofollow(name),
            None => self.root.try_clone(),
        }
    }

    /// A path to show.
    fn path_of(&self, listed: &Listed, name: &str) -> String {
        let dir = listed
            .partition
            .as_ref()
            .map_or_else(|| self.path.clone(), |partition| self.path.join(partition));
        let path = if name.is_empty() { dir } else { dir.join(name) };
        path.display().to_string()
    }

    pub(super) fn open_data(&self, listed: &Listed, id: u64) -> Result<SourceFile, Failure> {
        self.open_file(listed, &data_name(id))
    }

    pub(super) fn open_hint(&self, listed: &Listed, id: u64) -> Result<SourceFile, Failure> {
        self.open_file(listed, &hint_name(id))
    }

    fn open_file(&self, listed: &Listed, name: &str) -> Result<SourceFile, Failure> {
        let path = self.path_of(listed, name);
        let dir = self.directory(listed).map_err(|source| Failure::io("read", Path::new(&path), source))?;
        SourceFile::open(&dir, name, path)
    }

    pub(super) fn data_path(&self, listed: &Listed, id: u64) -> String {
        self.path_of(listed, &data_name(id))
    }

    pub(super) fn hint_path(&self, listed: &Listed, id: u64) -> String {
        self.path_of(listed, &hint_name(id))
    }

    /// Fails where a lock file says that the directory is in use.
    pub(super) fn refuse_locks(&self, listing: &Listing) -> Result<(), Failure> {
        let Some((listed, lock)) =
            listing.directories.iter().find_map(|listed| Some((listed, listed.locks.first()?)))
        else {
            return Ok(());
        };
        let holder =
            self.holder(listed, lock).unwrap_or_else(|| "a process that it does not name".to_owned());
        Err(Failure::Input {
            place: self.path_of(listed, lock),
            what: format!(
                "the lock file says that {holder} has the directory open, and files that are written meanwhile cannot \
                 be read reliably: stop that process; if it died and left the lock behind, give --ignore-lock"
            ),
        })
    }

    /// What the lock file says: a process id, and the file it writes.
    fn holder(&self, listed: &Listed, lock: &str) -> Option<String> {
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No);
        let file = self.directory(listed).ok()?.open_with(lock, &options).ok()?;
        let mut content = Vec::new();
        file.take(MAX_LOCK_LEN).read_to_end(&mut content).ok()?;
        let (pid, _) = content.split_at(content.iter().position(|&byte| byte == b' ')?);
        let pid = std::str::from_utf8(pid).ok().filter(|pid| is_number(pid))?;
        Some(format!("process {pid}"))
    }
}

impl Listed {
    pub(super) fn is_partition(&self) -> bool {
        self.partition.is_some()
    }

    /// Sorts one name in; gives it back where it may be a partition's.
    fn take(&mut self, name: &str, metadata: &Metadata, path: impl Fn() -> String) -> Option<String> {
        let (is_file, is_dir) = (metadata.is_file(), metadata.is_dir());
        let is_missed = match Name::parse(name) {
            Name::Data(id) if is_file => {
                self.data.insert(id, DataFile { len: metadata.len(), pending: is_pending(metadata) });
                return None;
            }
            Name::Hint(id) if is_file => {
                self.hints.insert(id);
                return None;
            }
            // Whatever it is: a lock is a name.
            Name::Lock(lock) => {
                self.locks.insert(lock);
                return None;
            }
            Name::Note if is_file => return None,
            Name::Partition if is_dir => return Some(name.to_owned()),
            Name::Data(_) | Name::Partition => !is_file,
            Name::Hint(_) | Name::Note | Name::Unknown => false,
        };
        let what = if is_file {
            "is not a file of Bitcask"
        } else if is_dir {
            "is a directory"
        } else if metadata.is_symlink() {
            "is a symbolic link"
        } else {
            "is a special file"
        };
        self.strangers.push(Stranger { path: path(), what, is_missed });
        None
    }
}

#[cfg(unix)]
fn is_pending(metadata: &Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    metadata.mode() & PENDING_MODE != 0
}

#[cfg(not(unix))]
fn is_pending(_metadata: &Metadata) -> bool {
    // There is no such mode, so Bitcask itself cannot have set it.
    false
}

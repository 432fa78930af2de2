//! The one error of the engine. Each variant says what happened, where, and what an operator can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What an operation of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Ask [`Error::is_corruption`] and its siblings rather than matching where a
/// question is enough: variants may be added.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another handle, in this process or another one, has the store open for writing.
    #[error("{path} is open for writing elsewhere: close that handle, or open this one read-only", path = path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },

    /// The directory is missing, or holds no store.
    #[error("{path} is not a Bitcask store: {reason}", path = path.display())]
    NotAStore {
        /// The directory that was to be opened.
        path: PathBuf,
        /// What was found instead of a store.
        reason: String,
    },

    /// A directory that a backup or a restored store was to be written to is not fit for it.
    #[error("nothing was written to {path}: {reason}", path = path.display())]
    UnfitTarget {
        /// The directory that was to be written to.
        path: PathBuf,
        /// What stands against it.
        reason: String,
    },

    /// A later version of Bitcask wrote something that this one must not guess at.
    #[error(
        "{file} at byte {offset} was written by a newer version of Bitcask ({what}): use that version or a later one"
    )]
    Newer {
        /// Name of the file inside the store's directory.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What this version does not know.
        what: String,
    },

    /// A value was compressed by what this build cannot decompress.
    #[error(
        "{file} at byte {offset} has a value that is compressed by {feature}: read it with a build of Bitcask that has \
         the cargo feature `{feature}`"
    )]
    MissingFeature {
        /// Name of the file inside the store's directory.
        file: String,
        /// Where in the file the record starts.
        offset: u64,
        /// The feature, called as the compression is.
        feature: &'static str,
    },

    /// Bytes that were acknowledged as durable are damaged. Nothing was changed.
    #[error(
        "{file} is damaged at byte {offset}: {what}; nothing was changed: restore the file from a backup, or run \
         `bitcask verify` to see the whole extent"
    )]
    Corruption {
        /// Name of the file inside the store's directory.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// What does not fit.
        what: String,
    },

    /// The directory holds a file that does not belong to the store as its manifest describes it.
    #[error("{file} does not belong to this store: {reason}; nothing was changed")]
    ForeignFile {
        /// Name of the file inside the store's directory.
        file: String,
        /// Why it cannot be part of the store.
        reason: String,
    },

    /// The operating system refused an operation on a file or directory.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// What was tried: a verb such as `write` or `sync`.
        operation: &'static str,
        /// Name of the file, or the directory's path.
        file: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// A key is empty or too long.
    #[error("a key has 1 to 65535 bytes, this one has {len}")]
    KeySize {
        /// The key's length in bytes.
        len: usize,
    },

    /// A value is longer than the store's limit.
    #[error(
        "a value has at most {max} bytes in this store, this one has {len}: raise `max_value_size` up to 4 GiB - 1"
    )]
    ValueSize {
        /// The value's length in bytes.
        len: usize,
        /// The limit in bytes.
        max: u64,
    },

    /// A value that was to be incremented is not the decimal text of an integer of 64 bits.
    #[error(
        "the value is not the decimal text of an integer of 64 bits: give the key such a value, or delete it"
    )]
    NotAnInteger,

    /// A sum has more than 64 bits. Nothing was changed.
    #[error("{value} and {by} make a sum of more than 64 bits: nothing was changed")]
    IntegerOverflow {
        /// The integer that the key has.
        value: i64,
        /// What was to be added.
        by: i64,
    },

    /// A batch does not fit one data file.
    #[error("a batch has at most {max} bytes, this one has {len}: commit it in parts")]
    BatchSize {
        /// The length of its records in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },

    /// A write through a handle that was opened read-only.
    #[error("the store was opened read-only: open it with the default options to write")]
    ReadOnly,

    /// The handle was closed.
    #[error("the store was closed: open it again")]
    Closed,

    /// An earlier sync or write failed in a way that leaves the disk's state unknown. Reads go on; writes do not.
    #[error(
        "the store takes no more writes since an earlier failure ({cause}): mend the disk, then close and open the store"
    )]
    Poisoned {
        /// The failure that poisoned the writer.
        cause: String,
    },

    /// A merge was asked for while merges are paused.
    #[error("merges are paused: resume them first")]
    MergePaused,

    /// Changes were asked for from a position that merges have passed: some of those behind it are gone.
    #[error(
        "not all changes since {position} are there any more, but those since {oldest} are: take a snapshot and go on \
         from its timestamp, and keep changes longer by `MergeOptions::keep_changes_for`"
    )]
    ChangesMerged {
        /// The position that was asked for.
        position: u64,
        /// The oldest from which nothing is missing.
        oldest: u64,
    },

    /// Changes were asked for from a position that the log has not come to.
    #[error(
        "the log has come to {last} and not to {position}: the position is another store's, or an older state of this \
         one was restored"
    )]
    AheadOfLog {
        /// The position that was asked for.
        position: u64,
        /// The last one of the log.
        last: u64,
    },

    /// Options that contradict each other or leave the allowed range.
    #[error("invalid options: {reason}")]
    InvalidOptions {
        /// Which option, and what it may be.
        reason: String,
    },

    /// A write would take what [`Options::max_store_bytes`](crate::Options::max_store_bytes) sets aside: a put what is left
    /// for deletes, a delete what is left for a merge.
    #[error(
        "the store is full: its data files have {used} of at most {limit} bytes, and what is left is kept for deletes and a \
         merge: delete keys and merge, or raise `max_store_bytes`"
    )]
    StoreFull {
        /// Bytes of the data files.
        used: u64,
        /// What they may have.
        limit: u64,
    },

    /// The keys would take more memory than [`Options::max_keydir_bytes`](crate::Options::max_keydir_bytes) allows.
    #[error(
        "the keys would take {needed} bytes of memory, and at most {limit} are allowed: delete keys, or raise \
         `max_keydir_bytes`"
    )]
    KeydirFull {
        /// Bytes of memory that the keydir would occupy.
        needed: u64,
        /// What it may occupy.
        limit: u64,
    },

    /// More files would be open than [`Options::max_open_files`](crate::Options::max_open_files) or the system allows.
    #[error(
        "too many open files: {reason}: merge the store, with a larger `max_file_size`, or raise `max_open_files` and the limit \
         of the process (`ulimit -n`)"
    )]
    TooManyFiles {
        /// How many would be open, or what the operating system said.
        reason: String,
    },

    /// A put would take what [`Options::space_reserve`](crate::Options::space_reserve) sets aside.
    #[error(
        "the disk is nearly full: {free} bytes are free, and {reserve} are kept for deletes and a merge: make room on the \
         disk, delete keys and merge, or lower `space_reserve`"
    )]
    DiskNearlyFull {
        /// Bytes that the file system has left.
        free: u64,
        /// What puts leave alone.
        reserve: u64,
    },

    /// A limit of the format or of the options is reached.
    #[error("{what} is full: {remedy}")]
    Full {
        /// What has no more room.
        what: &'static str,
        /// What makes room.
        remedy: &'static str,
    },
}

/// ENFILE and EMFILE, the same on all systems of the Unix family.
#[cfg(unix)]
const TOO_MANY_FILES: [i32; 2] = [23, 24];
/// ERROR_TOO_MANY_OPEN_FILES.
#[cfg(not(unix))]
const TOO_MANY_FILES: [i32; 1] = [4];

impl Error {
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        let file = file.into();
        if source.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code)) {
            return Self::TooManyFiles { reason: format!("cannot {operation} {file}: {source}") };
        }
        Self::Io { operation, file, source: Arc::new(source) }
    }

    pub(crate) fn corruption(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corruption { file: file.into(), offset, what: what.into() }
    }

    pub(crate) fn newer(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Newer { file: file.into(), offset, what: what.into() }
    }

    /// Whether stored bytes are damaged.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corruption { .. })
    }

    /// Whether another writer has the store open.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether a write was refused because the handle or the file system is read-only.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::ReadOnly => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::ReadOnlyFilesystem,
            _ => false,
        }
    }

    /// Whether the disk, a quota or a limit has no more room; the store stays readable, and writes work again
    /// when there is room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::StoreFull { .. }
            | Self::KeydirFull { .. }
            | Self::TooManyFiles { .. }
            | Self::DiskNearlyFull { .. } => true,
            Self::Io { source, .. } => {
                use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
                matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }
            _ => false,
        }
    }

    /// Whether the writer was poisoned by an earlier failure.
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_names_operation_file_and_source() {
        let error = Error::io("sync", "0000000001.data", io::Error::other("the disk is gone"));
        assert_eq!(error.to_string(), "cannot sync 0000000001.data: the disk is gone");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("the disk is gone"));
    }

    #[test]
    fn the_questions_tell_the_variants_apart() {
        let full = Error::io("write", "0000000001.data", io::ErrorKind::StorageFull.into());
        assert!(full.is_full() && !full.is_corruption() && !full.is_locked());
        let read_only = Error::io("write", "0000000001.data", io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(read_only.is_read_only() && Error::ReadOnly.is_read_only());
        assert!(Error::corruption("MANIFEST", 4, "its checksum does not fit").is_corruption());
        assert!(Error::Poisoned { cause: String::new() }.is_poisoned());
        assert!(Error::Locked { path: PathBuf::new() }.is_locked());
    }
}

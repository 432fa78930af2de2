//! What a store can say of itself: its files, what recovery found, what verification found.

use std::fmt;

use crate::options::Io;

/// The state of a store at one moment, from `Bitcask::status`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Count of keys.
    pub keys: u64,
    /// Bytes of the records that the keys lead to, rounded up by less than 1/32 each.
    pub live_bytes: u64,
    /// Bytes of data files that no key leads to.
    pub dead_bytes: u64,
    /// Bytes written to data files, live and dead, without what is only preallocated.
    pub data_bytes: u64,
    /// Bytes of memory that the keydir occupies.
    pub keydir_bytes: u64,
    /// The data files in log order.
    pub files: Vec<FileStatus>,
    /// How the bytes of files are moved, after any fall-back.
    pub io: Io,
    /// What the open of this handle found.
    pub recovery: Recovery,
    /// Why the store takes no more writes, if it does not.
    pub poisoned: Option<String>,
}

/// One data file in a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileStatus {
    /// Name inside the store's directory.
    pub name: String,
    /// What the file is for.
    pub state: FileState,
    /// Bytes written, without what is only preallocated.
    pub len: u64,
    /// Bytes of records that keys lead to, rounded up by less than 1/32 each.
    pub live_bytes: u64,
    /// The other bytes.
    pub dead_bytes: u64,
    /// Count of keys that lead to this file.
    pub live_keys: u64,
}

/// What a data file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// Written and closed; it never changes again.
    Immutable,
    /// Records are appended to it.
    Active,
    /// Empty, made ahead: the next active file.
    Successor,
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Immutable => "immutable",
            Self::Active => "active",
            Self::Successor => "successor",
        })
    }
}

/// What an open found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the store was new or had been closed in good order.
    pub clean: bool,
    /// The incomplete last write, which was cut off.
    pub torn_tail: Option<TornTail>,
    /// Values that do not match their checksum: reading their keys fails, all others are served.
    pub damaged: Vec<Damage>,
    /// Count of immutable files that were loaded from their hint files.
    pub hints_loaded: u64,
    /// Count of data files that had to be read.
    pub files_scanned: u64,
}

/// The incomplete end of the log after an unclean end: never acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// Name of the file inside the store's directory.
    pub file: String,
    /// Where the log ends.
    pub offset: u64,
    /// How many bytes behind it were given up.
    pub bytes: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {} bytes of an incomplete last write", self.file, self.offset, self.bytes)
    }
}

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Name of the file inside the store's directory.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What does not fit.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.what)
    }
}

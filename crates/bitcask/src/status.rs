//! What a store can say of itself: its files, what recovery found, what verification found.

use std::fmt;

use crate::format::file_header::LogFormat;
use crate::vfs::Io;

/// The state of a store at one moment, from `Bitcask::status`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Count of keys; one that has expired counts until it is reaped.
    pub keys: u64,
    /// Bytes of the records that the keys lead to, rounded up by less than 1/32 each.
    pub live_bytes: u64,
    /// Bytes of records that no key leads to: what merges would give back.
    pub dead_bytes: u64,
    /// Bytes of tombstones that merges had to keep, because older files still hold values of their keys.
    pub held_bytes: u64,
    /// Bytes written to data files, live and dead, without what is only preallocated.
    pub data_bytes: u64,
    /// What the data files may have together: see [`Options::max_store_bytes`](crate::Options::max_store_bytes).
    pub max_store_bytes: Option<u64>,
    /// Bytes of memory that the keydir occupies.
    pub keydir_bytes: u64,
    /// What it may occupy: see [`Options::max_keydir_bytes`](crate::Options::max_keydir_bytes).
    pub max_keydir_bytes: Option<u64>,
    /// The data files in log order.
    pub files: Vec<FileStatus>,
    /// Whether a merge is worth it by the store's [`MergeOptions`](crate::MergeOptions).
    pub needs_merge: bool,
    /// Whether merges are paused.
    pub merge_paused: bool,
    /// Why the last merge by policy ended early, if it did.
    pub merge_failure: Option<String>,
    /// How the records of the log are written.
    pub format: LogFormat,
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
    /// Bytes of tombstones that a merge had to keep: neither live nor dead.
    pub held_bytes: u64,
    /// Bytes of the other records: what a merge of this file would give back.
    pub dead_bytes: u64,
    /// Count of keys that lead to this file.
    pub live_keys: u64,
    /// Count of values and tombstones that no key leads to; 0 as long as the file has no footer, which counts them.
    pub dead_keys: u64,
    /// The timestamp of the newest record, in microseconds since 1970; 0 as long as the file has no footer.
    pub last_timestamp: u64,
    /// Whether the file would be merged now, and why.
    pub merge: MergeVerdict,
}

/// Why a file will be merged, or will not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MergeVerdict {
    /// It will not: records are appended to it.
    Active,
    /// It will not: it is empty, made ahead.
    Successor,
    /// It will not yet: it has no footer.
    Unsealed,
    /// It will not: a record of it could not be read, and nothing of it is given up.
    Quarantined {
        /// What was found.
        reason: String,
    },
    /// It will not yet: its changes are kept, as [`MergeOptions::keep_changes_for`](crate::MergeOptions::keep_changes_for)
    /// asks.
    KeepsChanges,
    /// It will not: too little of it is dead.
    BelowThresholds,
    /// This share of its keys or bytes is dead.
    Fragmented {
        /// The greater of the two shares.
        percent: u8,
    },
    /// Enough of its bytes are dead.
    DeadBytes,
    /// It is small, and is joined with its neighbours.
    Small,
    /// Nothing holds its tombstones back any more.
    ShedsTombstones,
    /// Superseded values in it keep too many tombstones of later files from leaving.
    HoldsBack,
}

impl MergeVerdict {
    /// Whether the file takes part, once a merge begins.
    pub fn will_merge(&self) -> bool {
        match self {
            Self::Active
            | Self::Successor
            | Self::Unsealed
            | Self::Quarantined { .. }
            | Self::KeepsChanges
            | Self::BelowThresholds => false,
            Self::Fragmented { .. }
            | Self::DeadBytes
            | Self::Small
            | Self::ShedsTombstones
            | Self::HoldsBack => true,
        }
    }
}

impl fmt::Display for MergeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.pad("no: it is the active file"),
            Self::Successor => f.pad("no: it is empty"),
            Self::Unsealed => f.pad("not yet: it has no footer"),
            Self::Quarantined { reason } => write!(f, "no: {reason}"),
            Self::KeepsChanges => f.pad("not yet: its changes are kept"),
            Self::BelowThresholds => f.pad("no: below the thresholds"),
            Self::Fragmented { percent } => write!(f, "yes: {percent} % dead"),
            Self::DeadBytes => f.pad("yes: enough dead bytes"),
            Self::Small => f.pad("with small neighbours"),
            Self::ShedsTombstones => f.pad("yes: its tombstones may leave"),
            Self::HoldsBack => f.pad("yes: it holds tombstones back"),
        }
    }
}

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeReport {
    /// Count of runs of neighbouring files that were merged, each into one file or none.
    pub runs: u64,
    /// Count of files that were replaced.
    pub inputs: u64,
    /// Count of files that were made.
    pub outputs: u64,
    /// Bytes of the files that were replaced.
    pub bytes_before: u64,
    /// Bytes of the files that were made.
    pub bytes_after: u64,
    /// Count of values that were copied.
    pub values_copied: u64,
    /// Count of tombstones that had to be kept.
    pub tombstones_kept: u64,
    /// Count of values and tombstones that were left out.
    pub records_dropped: u64,
    /// Files that could not be read whole: they stay as they are.
    pub quarantined: Vec<Damage>,
    /// Files that are no part of the store any more but could not be removed: the next open tries again.
    pub not_removed: Vec<String>,
}

impl MergeReport {
    /// Adds what a further run came to.
    pub(crate) fn add(&mut self, run: Self) {
        self.runs += run.runs;
        self.inputs += run.inputs;
        self.outputs += run.outputs;
        self.bytes_before += run.bytes_before;
        self.bytes_after += run.bytes_after;
        self.values_copied += run.values_copied;
        self.tombstones_kept += run.tombstones_kept;
        self.records_dropped += run.records_dropped;
        self.quarantined.extend(run.quarantined);
        self.not_removed.extend(run.not_removed);
    }
}

/// What a clear did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearReport {
    /// Count of keys that were removed; one that had expired counts unless it was reaped.
    pub keys: u64,
    /// Count of data files that are no part of the store any more.
    pub files: u64,
    /// Bytes written to them.
    pub bytes: u64,
    /// Files that are no part of the store any more but could not be removed: the next open tries again.
    pub not_removed: Vec<String>,
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

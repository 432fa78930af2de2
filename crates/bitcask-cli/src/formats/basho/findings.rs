//! What was found in the source, for the report of the import.

use serde::Serialize;

use super::directory::Stranger;
use super::tombstone::Version;

/// Everything that was found. `entries` are those whose checksum fits; each of them was taken, or is counted as one of
/// `tombstones`, `overwritten`, `in_other_partition`, `expired` and `refused`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// 0 where the source is one directory.
    pub(crate) partitions: u64,
    /// Data files that were read.
    pub(crate) files: u64,
    /// Of these files.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) tombstones: Tombstones,
    /// Values that a later entry of the same directory replaces or deletes.
    pub(crate) overwritten: u64,
    /// Values of keys that were taken from another partition.
    pub(crate) in_other_partition: u64,
    /// Values that are older than the expiry which was asked for.
    pub(crate) expired: u64,
    /// Entries whose key cannot be a key here.
    pub(crate) refused: Notes,
    /// Values that begin like a tombstone, and are none.
    pub(crate) like_tombstone: Notes,
    pub(crate) damage: Notes,
    pub(crate) torn_tails: Notes,
    pub(crate) hints: Hints,
    /// Data files that are pending deletion.
    pub(crate) pending: Notes,
    /// Names that were passed over.
    pub(crate) not_read: Vec<NotRead>,
}

/// Tombstones by version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tombstones {
    pub(crate) v0: u64,
    pub(crate) v1: u64,
    pub(crate) v2: u64,
}

/// What the hint files are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hints {
    pub(crate) sound: u64,
    pub(crate) without_trailer: Vec<String>,
    /// With a trailer that does not fit. Listed as damage too.
    pub(crate) damaged: u64,
    /// With a trailer that fits, and yet not what the data file holds. Listed as damage too.
    pub(crate) disagreeing: u64,
    /// Without their data file.
    pub(crate) alone: Vec<String>,
}

/// How many are listed one by one; more are only counted. A wrong option can make every entry of a source worth a note.
const MAX_LISTED: usize = 10_000;

/// Places of one sort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Notes {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// The first of them.
    pub(crate) listed: Vec<Note>,
}

impl Notes {
    pub(super) fn add(&mut self, file: &str, offset: u64, bytes: u64, what: impl Into<String>) {
        self.count += 1;
        self.bytes += bytes;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(Note { file: file.to_owned(), offset, bytes, what: what.into() });
        }
    }
}

/// A place in a file, and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) what: String,
}

/// A name that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotRead {
    pub(crate) path: String,
    pub(crate) what: String,
    /// Whether entries may be missed for it.
    pub(crate) is_missed: bool,
}

impl From<Stranger> for NotRead {
    fn from(stranger: Stranger) -> Self {
        Self { path: stranger.path, what: stranger.what.to_owned(), is_missed: stranger.is_missed }
    }
}

impl Findings {
    pub(super) fn count_tombstone(&mut self, version: Version) {
        let count = match version {
            Version::V0 => &mut self.tombstones.v0,
            Version::V1 => &mut self.tombstones.v1,
            Version::V2 => &mut self.tombstones.v2,
        };
        *count += 1;
    }

    /// What stood in the way of taking everything, other than damage.
    pub(crate) fn missed(&self) -> u64 {
        self.refused.count + self.not_read.iter().filter(|name| name.is_missed).count() as u64
    }
}

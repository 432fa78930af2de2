//! What can happen to a store that its observer is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::status::{ClearReport, Damage, MergeReport, Recovery};

/// Something that has happened to an open store: see [`Options::observer`](crate::Options::observer). Single reads and
/// writes are no events.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The store was opened: the first event of a handle. An open that fails returns its error and is no event.
    #[non_exhaustive]
    Opened {
        /// Count of keys, those included that have expired and are not reaped.
        keys: u64,
        /// Count of data files.
        files: u64,
        /// How long the open took.
        took: Duration,
        /// What it found and did.
        recovery: Recovery,
    },

    /// The log goes on in the next data file.
    #[non_exhaustive]
    Rotated {
        /// Name of the file that was the active one.
        from: String,
        /// Its length in bytes.
        bytes: u64,
        /// Name of the file that is the active one now.
        to: String,
    },

    /// A file that was rotated away from, or a large active file at the close, has got its footer: it never changes again.
    #[non_exhaustive]
    Sealed {
        /// Name of the file.
        file: String,
        /// Its length in bytes, without the footer.
        bytes: u64,
    },

    /// A merge of a run of neighbouring files has begun. [`Event::MergeEnded`], [`Event::Quarantined`] or
    /// [`Event::MergeFailed`] ends it; then the next run may begin.
    #[non_exhaustive]
    MergeBegun {
        /// Names of the files, in log order.
        files: Vec<String>,
        /// Their length in bytes.
        bytes: u64,
    },

    /// The files of a run were replaced; or, where [`MergeReport::runs`] is 0, the store was cleared meanwhile.
    #[non_exhaustive]
    MergeEnded {
        /// What this one run came to.
        report: MergeReport,
        /// How long the run took.
        took: Duration,
    },

    /// The merge of a run ended early. Nothing is lost, and it will be tried again.
    #[non_exhaustive]
    MergeFailed {
        /// Why; [`Error::Closed`] when the store was closed meanwhile.
        error: Error,
    },

    /// A file could not be read whole by a merge: it stays as it is, and no merge takes it while the store is open.
    #[non_exhaustive]
    Quarantined {
        /// Where, and what was found there.
        damage: Damage,
    },

    /// A sync has taken a second or longer. Writes that wait for a sync have waited as long.
    #[non_exhaustive]
    SlowSync {
        /// How long it took.
        took: Duration,
        /// Bytes that were written to the log while it ran: how far the durable end of the log is behind.
        behind: u64,
    },

    /// The store takes no more writes: once, with the first cause.
    #[non_exhaustive]
    Poisoned {
        /// What has failed.
        cause: Error,
    },

    /// A pass over the keydir has taken out keys that have expired.
    #[non_exhaustive]
    Reaped {
        /// Count of keys.
        keys: u64,
    },

    /// All keys were removed at once.
    #[non_exhaustive]
    Cleared {
        /// What that came to.
        report: ClearReport,
    },

    /// A backup is complete.
    #[non_exhaustive]
    BackedUp {
        /// The directory of the backup.
        path: PathBuf,
        /// Count of data files in it.
        files: u64,
        /// Their length in bytes.
        bytes: u64,
        /// Bytes of those that were copied, not linked or kept.
        copied_bytes: u64,
        /// How long it took.
        took: Duration,
    },

    /// The store was closed: the last event of a handle.
    #[non_exhaustive]
    Closed {
        /// What [`Bitcask::close`](crate::Bitcask::close) returns, if it fails: the next open will have to recover.
        error: Option<Error>,
    },

    /// The observer was so slow that events were left out here, and nothing but this is known of them.
    #[non_exhaustive]
    Missed {
        /// Count of events.
        count: u64,
    },
}

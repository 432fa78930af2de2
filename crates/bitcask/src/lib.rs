//! Bitcask: a log-structured hash table for fast key/value data, as an embedded store.
//!
//! A store is a directory. Every write is appended to a file; an in-memory table, the keydir, says where the newest
//! record of each key lies; a read is one look-up and one read. The idea is Justin Sheehy's and David Smith's
//! (*Bitcask: A Log-Structured Hash Table for Fast Key/Value Data*, Basho Technologies, 2010).
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("data");
//! let db = bitcask::open(&path, bitcask::Options::default())?;
//! db.put("user:1", "Ada")?;
//! assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
//! assert!(db.delete("user:1")?);
//! assert_eq!(db.get("user:1")?, None);
//! db.close()?;
//! # Ok::<(), bitcask::Error>(())
//! ```
//!
//! What survives a write that has returned is up to [`Durability`]. [`Error`] tells what went wrong and what to do.

#[macro_use]
mod planted;

mod backup;
mod batch;
mod catalog;
mod changes;
mod clear;
mod clock;
mod closing;
mod commit;
mod conditions;
mod convert;
mod cursor;
mod db;
mod dump;
mod error;
mod events;
mod expiry;
mod file;
mod file_table;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod iter;
mod keydir;
mod location;
mod maintenance;
mod merge;
mod merge_control;
mod merge_options;
mod modify;
mod opening;
mod options;
mod progress;
mod read;
mod reaping;
mod recovery;
mod refresh;
mod repair;
mod report;
mod signal;
mod snapshot;
mod space;
mod status;
mod store;
mod sync;
mod syncer;
#[cfg(any(test, fuzzing))]
mod tests;
mod threads;
mod timestamps;
mod verify;
mod versions;
mod vfs;
mod view;
mod writer;

pub use backup::{BackupReport, RestoreReport, restore, restore_with};
pub use batch::Batch;
pub use changes::{Change, Changes, Commit};
pub use convert::{convert, convert_with};
pub use cursor::ScanPage;
pub use db::{Bitcask, open};
pub use dump::{Dump, DumpedRecord, dump};
pub use error::{Error, Result};
pub use events::Event;
pub use iter::{Entries, Iter, Keys};
pub use merge_options::{MergeOptions, MergePolicy};
pub use modify::Update;
pub use options::{Compression, Durability, Io, LogFormat, OpenMode, Options, PutOptions};
pub use progress::Progress;
pub use read::{Entry, Metadata, Value};
pub use repair::{
    EditedLine, LostRange, Remedy, Repair, RepairReport, edited_lines, repair, repair_with, seal_lines,
};
pub use snapshot::Snapshot;
pub use status::{
    ClearReport, Damage, FileState, FileStatus, MergeReport, MergeVerdict, Recovery, Status, TornTail,
};
pub use verify::{VerifyReport, verify, verify_with};

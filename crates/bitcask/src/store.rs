//! A store that is open: what all handles of it share, and how it comes to be.
//!
//! Locks, in the order in which they may be taken together:
//!
//! | rank | lock | guards | I/O under it |
//! |---|---|---|---|
//! | 0 | `WriteSide::merging` | whose turn it is to merge | yes |
//! | 1 | `WriteSide::sealing` | the oldest file without a footer | yes |
//! | 2 | `WriteSide::catalog` | the manifest, and which files there are | yes |
//! | 3 | `WriteSide::writer` | the end of the log, and the counts of live records | only the record being appended; a clear replaces the manifest |
//! | 4 | the syncer's state | whose turn it is to sync | no |
//! | 5 | `Store::order` | the files in log order, for reports | no |
//! | 6 | a shard of the keydir | its entries | no |
//! | 7 | the state of `Store::versions` | what snapshots still see | no |
//! | 8 | the queue of `Store::events` | what nobody was told yet | no |
//!
//! In a read-only handle `Store::followed` stands above all others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::catalog::{Catalog, MakeError};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::file::data_file::DataFile;
use crate::file_table::FileTable;
use crate::format::file_header::LogFormat;
use crate::format::manifest::Identity;
use crate::format::position::LogPosition;
use crate::format::record::KEY_MAX;
use crate::keydir::Keydir;
use crate::merge_control::MergeControl;
use crate::options::{Io, Maintenance, Options};
use crate::signal::Signal;
use crate::status::Recovery;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, is_poisoned};
use crate::syncer::Syncer;
use crate::versions::Versions;
use crate::vfs::{Dir, Lock};
use crate::writer::{AppendError, Writer};

pub(crate) struct Store {
    pub(crate) options: Options,
    pub(crate) path: PathBuf,
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Identity,
    pub(crate) keydir: Keydir,
    pub(crate) files: FileTable,
    pub(crate) versions: Versions,
    /// The timestamp of the newest record that a read-only handle has loaded.
    pub(crate) published: AtomicU64,
    /// How far a read-only handle has come. Held by the refresh in progress.
    pub(crate) followed: Mutex<Followed>,
    /// The files in log order.
    pub(crate) order: Mutex<Vec<Arc<DataFile>>>,
    pub(crate) recovery: Recovery,
    pub(crate) closed: AtomicBool,
    pub(crate) events: Arc<Events>,
    /// `None` in a read-only handle.
    pub(crate) write_side: Option<WriteSide>,
}

/// How far a read-only handle has followed the writer.
pub(crate) struct Followed {
    /// That of the manifest that it has read last.
    pub(crate) generation: u64,
    /// Where the log ended then.
    pub(crate) end: LogPosition,
    /// From which timestamp on no change is missing.
    pub(crate) merged_through: u64,
    /// Whether a refresh has begun to change the keydir and has not ended.
    pub(crate) is_half_way: bool,
}

impl Default for Followed {
    fn default() -> Self {
        Self { generation: 0, end: LogPosition::START, merged_through: 0, is_half_way: false }
    }
}

/// What only the one writer of a directory has.
pub(crate) struct WriteSide {
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) syncer: Syncer,
    /// Held while a file gets its footer.
    pub(crate) sealing: Mutex<()>,
    /// Held by the merge in progress.
    pub(crate) merging: Mutex<()>,
    pub(crate) merge_control: MergeControl,
    /// Raised when the writer will need a successor, or space.
    pub(crate) to_prepare: Signal,
    /// Raised when a file was rotated away from.
    pub(crate) to_seal: Signal,
    /// Raised when a file was completed.
    pub(crate) to_merge: Signal,
    /// `Writer::appended` behind the last record that took a key away: what the absence of a key may rest on.
    pub(crate) deleted: AtomicU64,
    /// Whether the keydir may hold keys with an expiry.
    pub(crate) may_expire: AtomicBool,
    /// When, by the monotonic clock, the last sync by interval was: for stores without threads.
    pub(crate) last_sync: Mutex<Duration>,
    poison: OnceLock<String>,
    events: Arc<Events>,
    /// Held as long as the store is open for writing.
    lock: Mutex<Option<Box<dyn Lock>>>,
}

impl WriteSide {
    pub(crate) fn new(lock: Box<dyn Lock>, catalog: Catalog, writer: Writer, events: Arc<Events>) -> Self {
        Self {
            catalog: Mutex::new(catalog),
            syncer: Syncer::new(writer.end()),
            writer: Mutex::new(writer),
            sealing: Mutex::new(()),
            merging: Mutex::new(()),
            merge_control: MergeControl::default(),
            to_prepare: Signal::default(),
            to_seal: Signal::default(),
            to_merge: Signal::default(),
            deleted: AtomicU64::new(0),
            may_expire: AtomicBool::new(true),
            last_sync: Mutex::new(Duration::ZERO),
            poison: OnceLock::new(),
            events,
            lock: Mutex::new(planted!("a lock is let go of at once", None, Some(lock))),
        }
    }

    /// The writer lock, poisoned or not: for looking, and for what must be done in any case.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        // Who panics under this lock poisons the store: see `check`.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The catalog lock, poisoned or not: for looking.
    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when an earlier failure forbids to acknowledge anything. Who is about to change what a lock guards asks
    /// with the lock held: a thread may have panicked under it while he waited.
    pub(crate) fn check(&self) -> Result<()> {
        let state = is_poisoned(&self.writer) || is_poisoned(&self.catalog);
        if state || is_poisoned(&self.merging) || is_poisoned(&self.sealing) {
            self.poison(&panicked("a thread"));
        }
        planted!("a poisoned store goes on", return Ok(()));
        match self.poison.get() {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Forbids all writes from now on, because of `cause`; gives that back. The first cause stays.
    pub(crate) fn poison(&self, cause: &Error) -> Error {
        planted!("a failure does not poison", return cause.clone());
        if self.poison.set(cause.to_string()).is_ok() {
            self.events.note(|| Event::Poisoned { cause: cause.clone() });
        }
        cause.clone()
    }

    /// Poisons if a panic unwinds through the scope of the guard, where no lock tells of it.
    pub(crate) fn poison_on_panic<'a>(&'a self, who: &'a str) -> PoisonOnPanic<'a> {
        PoisonOnPanic { side: self, who, was_panicking: std::thread::panicking() }
    }

    pub(crate) fn poison_cause(&self) -> Option<String> {
        self.check().err().and(self.poison.get().cloned())
    }

    /// The error of a failed append; poisons where the end of the log is in doubt.
    pub(crate) fn append_failed(&self, error: AppendError) -> Error {
        match error {
            AppendError::Undone(error) => error,
            AppendError::InDoubt(error) => self.poison(&error),
        }
    }

    /// The error of a file that could not be made; poisons where the manifest is in doubt.
    pub(crate) fn make_failed(&self, error: MakeError) -> Error {
        match error {
            MakeError::Undone(error) => error,
            MakeError::InDoubt(error) => self.poison(&error),
        }
    }

    /// Poisons the store when a stranger has removed or replaced the lock file: another writer may be at work.
    pub(crate) fn check_lock(&self) -> Result<()> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lock) = &*lock else { return Ok(()) };
        match lock.is_intact() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let taken =
                    std::io::Error::other("it was removed or replaced, another process may be writing here");
                Err(self.poison(&Error::io("keep", crate::file::layout::LOCK, taken)))
            }
            Err(source) => Err(Error::io("check", crate::file::layout::LOCK, source)),
        }
    }

    pub(crate) fn release_lock(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Poisons when it is dropped by a panic: nobody finishes what that has left half-way.
pub(crate) struct PoisonOnPanic<'a> {
    side: &'a WriteSide,
    who: &'a str,
    /// A store may be closed because of a panic that has nothing to do with it.
    was_panicking: bool,
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.side.poison(&panicked(self.who));
        }
    }
}

fn panicked(who: &str) -> Error {
    Error::io("write", "the log", std::io::Error::other(format!("{who} panicked while it wrote")))
}

impl Store {
    /// Refuses when the store was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// What it takes to write, in a handle that may.
    pub(crate) fn write_side(&self) -> Result<&WriteSide> {
        self.write_side.as_ref().ok_or(Error::ReadOnly)
    }

    pub(crate) fn order(&self) -> MutexGuard<'_, Vec<Arc<DataFile>>> {
        // Nothing that could panic half-way happens under this lock.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what has happened, in a store without threads.
    pub(crate) fn tell_as_caller(&self) {
        if self.write_side.is_none() || self.options.maintenance == Maintenance::Callers {
            self.events.tell();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn io(&self) -> Io {
        let can_map = self.dir.can_map() && self.identity.format == LogFormat::Binary;
        if can_map { Io::Mapped } else { Io::Syscall }
    }
}

/// Refuses a key that no record can hold.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_MAX { Err(Error::KeySize { len: key.len() }) } else { Ok(()) }
}

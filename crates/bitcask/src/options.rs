//! How a store is opened and how a write is done: every choice has a default that suits most users.

use std::time::{Duration, SystemTime};

use crate::conditions::Condition;
use crate::error::{Error, Result};
use crate::events::{Event, Observer};
use crate::expiry::Lifetime;
pub use crate::format::compression::Compression;
pub use crate::format::file_header::LogFormat;
use crate::merge_options::MergeOptions;
pub use crate::vfs::Io;

/// What survives once a write has returned. Set per store with [`Options::durability`], per write with
/// [`PutOptions::durability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Power loss. The write waits for a sync, one shared by all who wait.
    Always,
    /// Process death at once; power loss after this long and one sync.
    Interval(Duration),
    /// Process death. The operating system writes to the disk when it sees fit.
    Os,
}

/// What a handle may do to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Read and write; an empty or missing directory becomes a new store.
    Create,
    /// Read and write a store that exists.
    Existing,
    /// Read a store that exists; takes no lock and changes nothing.
    ReadOnly,
}

/// How a store is opened.
///
/// ```
/// use bitcask::{Durability, Options};
/// let options = Options::new().durability(Durability::Always).max_file_size(64 << 20);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) mode: OpenMode,
    pub(crate) format: LogFormat,
    pub(crate) durability: Durability,
    pub(crate) io: Io,
    pub(crate) max_file_size: u64,
    pub(crate) max_value_size: u64,
    pub(crate) compression: Compression,
    pub(crate) compress_from: u64,
    pub(crate) max_store_bytes: Option<u64>,
    pub(crate) space_reserve: Option<u64>,
    pub(crate) max_keydir_bytes: Option<u64>,
    pub(crate) max_open_files: Option<u64>,
    pub(crate) merge: MergeOptions,
    pub(crate) maintenance: Maintenance,
    pub(crate) observer: Option<Observer>,
}

/// Who does the work that no caller waits for: syncs by interval, footers, hint files, successors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maintenance {
    /// Threads of the store's own.
    Threads,
    /// The callers, when they need it: one thread, the same order every time. For tests, and for a store that
    /// one caller fills.
    Callers,
}

/// The smallest keydir that may be asked for: a chunk of entries for each shard, and some more.
const KEYDIR_MIN: u64 = 3 << 20;

/// An immutable file, the active one, its successor, and the output of a merge.
const OPEN_FILES_MIN: u64 = 4;

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: OpenMode::Create,
            format: LogFormat::Binary,
            durability: Durability::Interval(Duration::from_secs(1)),
            io: Io::Mapped,
            max_file_size: 256 << 20,
            max_value_size: 512 << 20,
            compression: Compression::None,
            compress_from: 256,
            max_store_bytes: None,
            space_reserve: None,
            max_keydir_bytes: None,
            max_open_files: None,
            merge: MergeOptions::default(),
            maintenance: Maintenance::Threads,
            observer: None,
        }
    }
}

impl Options {
    /// The largest `max_file_size`: a record starts below 4 GiB, because the keydir keeps its offset in 32 bits.
    pub const MAX_FILE_SIZE_LIMIT: u64 = 1 << 32;

    /// The defaults: create or reopen, [`Durability::Interval`] of one second, [`Io::Mapped`], files of 256 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Options for a handle that changes nothing and takes no lock.
    pub fn read_only() -> Self {
        Self { mode: OpenMode::ReadOnly, ..Self::default() }
    }

    /// What the handle may do. Default: [`OpenMode::Create`].
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// How the records of a new store are written. Default: [`LogFormat::Binary`]. A store that exists keeps its own.
    pub fn format(mut self, format: LogFormat) -> Self {
        self.format = format;
        self
    }

    /// What survives once a write has returned. Default: [`Durability::Interval`] of one second.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How the bytes of files are moved. Default: [`Io::Mapped`], which falls back to [`Io::Syscall`] where
    /// mapping is not safe.
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// The size in bytes at which the active file is closed and a new one begun. Default 256 MiB, at most 4 GiB.
    /// A record larger than this has a file of its own.
    pub fn max_file_size(mut self, bytes: u64) -> Self {
        self.max_file_size = bytes;
        self
    }

    /// The longest value that a write accepts, in bytes. Default 512 MiB, at most 4 GiB - 1.
    pub fn max_value_size(mut self, bytes: u64) -> Self {
        self.max_value_size = bytes;
        self
    }

    /// How values are compressed that are written from now on, each by itself. Default: [`Compression::None`]. Any open
    /// may choose anew: the record of each value says how that one is stored. A value is stored plain where compression
    /// would not save an eighth of it.
    ///
    /// A merge or a backup copies values as they are stored; [`convert`](crate::convert()) stores them anew.
    ///
    /// ```
    /// use bitcask::{Compression, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # if cfg!(feature = "zstd") {
    /// let options = Options::new().compression(Compression::Zstd { level: 3 });
    /// let db = bitcask::open(dir.path(), options)?;
    /// db.put("page", "again and ".repeat(100))?;
    /// let page = db.metadata("page")?.expect("it was just put");
    /// assert_eq!(page.value_len, 1000);
    /// assert!(page.stored_len < 100);
    /// # }
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The shortest value in bytes that is compressed, where [`Options::compression`] says so. Default 256: of
    /// JSON documents shorter than that, none saved an eighth.
    pub fn compress_from(mut self, bytes: u64) -> Self {
        self.compress_from = bytes;
        self
    }

    /// What the data files may have together, in bytes, the output of a merge among them; without hint files, and without
    /// what is allocated ahead, at most 17 MiB. Default: no limit.
    ///
    /// Puts end before that, so that deletes and a merge always fit: they leave a sixteenth of it for tombstones, and as
    /// much as the longest file has, at least [`Options::max_file_size`], for a merge. When one is refused, with
    /// [`Error::StoreFull`], the store merges what is worth it, unless its policy forbids that;
    /// after deletes and a merge puts go on by themselves. A batch is judged as a whole: as a put if it has one. At least four times
    /// `max_file_size`. A store that has more already is opened, and takes deletes and merges.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let options = bitcask::Options::new().max_file_size(64 << 10).max_store_bytes(256 << 10);
    /// let db = bitcask::open(dir.path(), options)?;
    /// let refused = (0..).find_map(|n: u32| db.put(n.to_le_bytes(), [0; 1000]).err()).expect("it is full at some time");
    /// assert!(refused.is_full());
    /// assert!(db.delete(0_u32.to_le_bytes())?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn max_store_bytes(mut self, bytes: u64) -> Self {
        self.max_store_bytes = Some(bytes);
        self
    }

    /// How many bytes of the file system puts leave free, for deletes, for a merge, and for others; 0 for none. Default:
    /// [`Options::max_file_size`], which is what a merge needs, but no more than a twentieth of the file system.
    ///
    /// The file system is asked as the log grows, the more often the less is left, and not at each put: somebody else can
    /// fill it in between. A put is refused with [`Error::DiskNearlyFull`]; when there is room
    /// again puts go on by themselves.
    pub fn space_reserve(mut self, bytes: u64) -> Self {
        self.space_reserve = Some(bytes);
        self
    }

    /// How many bytes of memory the keydir may occupy: about 24 for each key, whatever its length. At least 3 MiB, for
    /// it has 512 parts. Default: no limit.
    ///
    /// A put of a new key for which there is no room is refused with [`Error::KeydirFull`]; keys that
    /// are there can be written and deleted, and what deleted keys took is used again. A batch is judged as a whole, as if
    /// none of its deletes made room. An open is refused when the keys do not fit; the error says what they need.
    /// [`Bitcask::refresh`](crate::Bitcask::refresh) is not refused.
    pub fn max_keydir_bytes(mut self, bytes: u64) -> Self {
        self.max_keydir_bytes = Some(bytes);
        self
    }

    /// How many data files the store may have, each of which is open as long as the store is; beside them it opens
    /// some files for moments. At least 4. Default: no limit but that of the process.
    ///
    /// What needs one more is refused with [`Error::TooManyFiles`]: an open, or a write that would
    /// begin a new file. One file is left to a merge, and to [`Bitcask::clear`](crate::Bitcask::clear); after a merge writes
    /// go on by themselves.
    pub fn max_open_files(mut self, count: u64) -> Self {
        self.max_open_files = Some(count);
        self
    }

    /// Refuses more data files than there may be.
    pub(crate) fn check_open_files(&self, needed: usize) -> Result<()> {
        let needed = needed as u64;
        match self.max_open_files {
            Some(limit) if needed > limit => {
                let reason = format!("{needed} data files would be open, and at most {limit} are allowed");
                Err(Error::TooManyFiles { reason })
            }
            _ => Ok(()),
        }
    }

    /// When merges run by themselves, and what they may take. Default: [`MergeOptions::new`].
    pub fn merge(mut self, options: MergeOptions) -> Self {
        self.merge = options;
        self
    }

    /// Whom the store tells what happens to it: see [`Event`]. Of several observers the last counts. Default: nobody.
    ///
    /// Events are told in order and one at a time, soon after they have happened: by a thread of the store's own, and what is
    /// left when the store is closed by the thread that closes it. A read-only handle has no threads; there the caller does it.
    /// No lock of the store is held, and neither reads nor writes wait for an observer, so it may take its time and use
    /// the store. But the close of a store waits for it: it must not close the store itself, nor wait for a thread that does.
    /// An observer that holds a handle of the store keeps it open.
    ///
    /// An observer that does something at each event which causes another is told of that as well, until the store is closed.
    ///
    /// When it panics the store goes on, and the next event is told as if nothing had happened.
    ///
    /// With the cargo feature `tracing` the same events go to the subscriber of the `tracing` crate, observer or not.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use bitcask::{Event, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let merged = Arc::new(Mutex::new(0));
    /// let seen = Arc::clone(&merged);
    /// let options = Options::new().observer(move |event| {
    ///     if let Event::MergeEnded { report, .. } = event {
    ///         *seen.lock().unwrap() += report.inputs;
    ///     }
    /// });
    /// let db = bitcask::open(dir.path(), options)?;
    /// for _ in 0..100 {
    ///     db.put("counter", "the last one counts")?;
    /// }
    /// db.merge()?;
    /// db.close()?;
    /// assert_eq!(*merged.lock().unwrap(), 1);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn observer(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer::new(observer));
        self
    }

    pub(crate) fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Refuses what leaves the allowed range.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::InvalidOptions { reason });
        if self.max_file_size == 0 || self.max_file_size > Self::MAX_FILE_SIZE_LIMIT {
            return refuse(format!(
                "max_file_size is 1 to {} bytes, not {}",
                Self::MAX_FILE_SIZE_LIMIT,
                self.max_file_size
            ));
        }
        if self.max_value_size > u64::from(u32::MAX) {
            return refuse(format!(
                "max_value_size is at most {} bytes, not {}",
                u32::MAX,
                self.max_value_size
            ));
        }
        if let Some(limit) = self.max_store_bytes
            && limit / 4 < self.max_file_size
        {
            return refuse(format!(
                "max_store_bytes is at least four times max_file_size, {} bytes, not {limit}: lower max_file_size",
                self.max_file_size.saturating_mul(4)
            ));
        }
        if let Some(limit) = self.max_keydir_bytes
            && limit < KEYDIR_MIN
        {
            return refuse(format!("max_keydir_bytes is at least {KEYDIR_MIN}, not {limit}"));
        }
        if let Some(limit) = self.max_open_files
            && limit < OPEN_FILES_MIN
        {
            return refuse(format!("max_open_files is at least {OPEN_FILES_MIN}, not {limit}"));
        }
        if self.durability == Durability::Interval(Duration::ZERO) {
            return refuse("an interval of zero: use Durability::Always".to_owned());
        }
        self.compression.check().or_else(refuse)?;
        self.merge.check()
    }
}

/// How one write is done. The default is what the store's [`Options`] say.
///
/// ```
/// use bitcask::{Durability, PutOptions};
/// let options = PutOptions::new().durability(Durability::Always);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub(crate) durability: Option<Durability>,
    pub(crate) lifetime: Lifetime,
    pub(crate) condition: Option<Condition>,
}

impl PutOptions {
    /// What the store's options say.
    pub fn new() -> Self {
        Self::default()
    }

    /// What survives once this write has returned. [`Durability::Interval`] and [`Durability::Os`] do not wait;
    /// when the bytes reach the disk is then up to the store's own level.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// How long the value lives, counted by the wall clock from the call that writes it. From then on the key is
    /// absent; no older value comes back. A value that is written without this or [`PutOptions::expires_at`] lives until
    /// it is replaced or deleted. The longest lifetime ends in the year 586,524; a longer one counts as that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bitcask::PutOptions;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put_with("session", "Ada", &PutOptions::new().expires_in(Duration::from_secs(3600)))?;
    /// assert!(db.contains("session")?);
    /// db.put_with("session", "Ada", &PutOptions::new().expires_in(Duration::ZERO))?;
    /// assert!(!db.contains("session")?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.lifetime = Lifetime::For(lifetime);
        self
    }

    /// The moment by the wall clock, to the microsecond, from which on the key is absent: see
    /// [`PutOptions::expires_in`]. A moment in the past, even before 1970, is allowed: the value is absent at once.
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.lifetime = Lifetime::Until(time);
        self
    }

    /// Writes only if the key is absent. Of several conditions the last counts.
    ///
    /// ```
    /// use bitcask::PutOptions;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// assert!(db.put_with("lock", "mine", &PutOptions::new().if_absent())?);
    /// assert!(!db.put_with("lock", "yours", &PutOptions::new().if_absent())?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn if_absent(mut self) -> Self {
        self.condition = Some(Condition::Absent);
        self
    }

    /// Writes only if the key has a value. Of several conditions the last counts.
    pub fn if_present(mut self) -> Self {
        self.condition = Some(Condition::Present);
        self
    }

    /// Writes only if the key still has the value with this timestamp, as [`Entry::timestamp_us`](crate::Entry) and
    /// [`Metadata::timestamp_us`](crate::Metadata) tell it. Of several conditions the last counts.
    ///
    /// ```
    /// use bitcask::PutOptions;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("page", "first draft")?;
    /// let seen = db.get_entry("page")?.expect("it was just put");
    /// let if_as_seen = PutOptions::new().if_timestamp(seen.timestamp_us);
    /// assert!(db.put_with("page", "second draft", &if_as_seen)?);
    /// assert!(!db.put_with("page", "another one", &if_as_seen)?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn if_timestamp(mut self, timestamp_us: u64) -> Self {
        self.condition = Some(Condition::Timestamp(timestamp_us));
        self
    }

    /// Refuses what makes no sense for a delete.
    pub(crate) fn check_delete(&self) -> Result<()> {
        if self.lifetime != Lifetime::Forever || self.condition == Some(Condition::Absent) {
            let reason = "a delete has no expiry, and no use for an absent key".to_owned();
            return Err(Error::InvalidOptions { reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_with_the_range() {
        let refused = |options: Options| options.check().unwrap_err().to_string();
        assert!(refused(Options::new().max_file_size(0)).contains("1 to 4294967296"));
        assert!(refused(Options::new().max_file_size((1 << 32) + 1)).contains("1 to 4294967296"));
        assert!(refused(Options::new().max_value_size(1 << 32)).contains("at most 4294967295"));
        assert!(refused(Options::new().durability(Durability::Interval(Duration::ZERO))).contains("Always"));
        for level in [i32::MIN, -1, 0, 23] {
            let what = refused(Options::new().compression(Compression::Zstd { level }));
            assert!(what.contains("1 to 22") || what.contains("cargo feature `zstd`"), "{what}");
        }
        let too_small = Options::new().max_file_size(1000).max_store_bytes(3999);
        assert!(refused(too_small.clone()).contains("four times max_file_size, 4000 bytes, not 3999"));
        too_small.max_store_bytes(4000).check().unwrap();
        assert!(refused(Options::new().max_open_files(3)).contains("at least 4, not 3"));
        assert!(refused(Options::new().max_keydir_bytes(1000)).contains("at least 3145728, not 1000"));
        Options::new().check().unwrap();
    }
}

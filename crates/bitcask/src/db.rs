//! What users hold: [`Bitcask`], a handle to an open store.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::backup::{self, BackupReport};
use crate::batch::Batch;
use crate::changes::Changes;
use crate::clock::{Clock, SystemClock};
use crate::cursor::ScanPage;
use crate::error::Result;
use crate::expiry::Lifetime;
use crate::iter::{Iter, Keys};
use crate::modify::Update;
use crate::opening;
use crate::options::{Io, Maintenance, Options, PutOptions};
use crate::progress::{self, Progress};
use crate::read::{Entry, Metadata, Value};
use crate::snapshot::Snapshot;
use crate::status::{ClearReport, MergeReport, Status};
use crate::store::Store;
use crate::sync::{Arc, Mutex, PoisonError};
use crate::threads::Threads;
use crate::vfs::Vfs;
use crate::vfs::os::OsVfs;
use crate::view::View;

/// Opens the store in the directory `path`, or makes one there.
///
/// One process at a time can have a store open for writing, and one handle in it, which can be cloned and shared; any
/// number can have it open with [`Options::read_only`]. A read-only handle sees the store as it was when
/// it was opened.
///
/// # Errors
/// [`Error::Locked`](crate::Error::Locked) when another writer has it open;
/// [`Error::NotAStore`](crate::Error::NotAStore) when the directory holds something else;
/// [`Error::Corruption`](crate::Error::Corruption) when bytes that a sync had covered are damaged so that keys would
/// be missing: nothing is changed then.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data");
/// let db = bitcask::open(&path, bitcask::Options::default())?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
///
/// let db = bitcask::open(&path, bitcask::Options::read_only())?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Bitcask> {
    Bitcask::open_on(&OsVfs::new(options.io), Arc::new(SystemClock::new()), path.as_ref(), options)
}

/// An open store. Clones are handles to the same store; all of them may be used from many threads at once.
///
/// Keys have 1 to 65,535 bytes, values up to [`Options::max_value_size`]. When the last handle is dropped the store
/// is closed; use [`Bitcask::close`] to learn whether that went well.
#[derive(Clone)]
pub struct Bitcask {
    handle: Arc<Handle>,
}

/// What the clones of a handle share. Dropping it closes the store.
struct Handle {
    store: Arc<Store>,
    /// Taken when the store is closed.
    threads: Mutex<Option<Threads>>,
}

impl Bitcask {
    /// Opens a store on any file system and clock: the tests' way in.
    pub(crate) fn open_on(
        vfs: &dyn Vfs,
        clock: Arc<dyn Clock>,
        path: &Path,
        options: Options,
    ) -> Result<Self> {
        let maintenance = options.maintenance;
        let store = Arc::new(opening::open(vfs, clock, path, options)?);
        let threads = match maintenance {
            Maintenance::Threads => Some(Threads::start(&store)?),
            Maintenance::Callers => None,
        };
        store.tell_as_caller();
        Ok(Self { handle: Arc::new(Handle { store, threads: Mutex::new(threads) }) })
    }

    fn store(&self) -> &Arc<Store> {
        &self.handle.store
    }

    /// Gives `key` this value, whatever it had before.
    ///
    /// # Errors
    /// After an error the key is as it was, with one exception: when the sync that the write waited for fails, readers
    /// see the write, and whether it will be there after the next open nobody knows. The store is poisoned then.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, &PutOptions::new())?;
        Ok(())
    }

    /// [`Bitcask::put`] with options for this one write. Returns whether it was written: always, unless the options have
    /// a condition. The condition is judged and the value written in one step: no other write comes between.
    ///
    /// ```
    /// use bitcask::{Durability, PutOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put_with("order:1", "paid", &PutOptions::new().durability(Durability::Always))?;
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &PutOptions,
    ) -> Result<bool> {
        self.store().put(key.as_ref(), value.as_ref(), options)
    }

    /// The value of `key`; `None` when it has none.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) when the stored bytes are damaged: never a wrong value, and
    /// never `None` for a key that has one.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.store().get(key.as_ref())
    }

    /// Puts the value of `key` into `buffer`, in place of what is there, and returns whether the key has one; if not,
    /// the buffer is empty. Who reads many values does it without an allocation for each.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// let mut buffer = Vec::new();
    /// assert!(db.get_into("a", &mut buffer)?);
    /// assert_eq!(buffer, b"1");
    /// assert!(!db.get_into("b", &mut buffer)?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn get_into(&self, key: impl AsRef<[u8]>, buffer: &mut Vec<u8>) -> Result<bool> {
        self.store().get_into(key.as_ref(), buffer)
    }

    /// The values of several keys, in the order of the keys. Each is read by itself: a write that comes meanwhile may
    /// show in one and not in another.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// let values = db.multi_get(["a", "b"])?;
    /// assert_eq!(values[0].as_deref(), Some(&b"1"[..]));
    /// assert_eq!(values[1], None);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// The value of `key` with its timestamp and its expiry.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// let first = db.get_entry("a")?.expect("it was just put");
    /// db.put("a", "2")?;
    /// let second = db.get_entry("a")?.expect("it was just put");
    /// assert!(second.timestamp_us > first.timestamp_us);
    /// assert_eq!(second.expires_at, None);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.store().get_entry(key.as_ref())
    }

    /// Length, timestamp and expiry of the value of `key`, without reading the value.
    pub fn metadata(&self, key: impl AsRef<[u8]>) -> Result<Option<Metadata>> {
        self.store().metadata(key.as_ref())
    }

    /// Makes the value of `key` expire in this time from now on, whatever was said of it before: see
    /// [`PutOptions::expires_in`]. Returns whether the key was there.
    ///
    /// The value is written again, with a new timestamp; a write of another thread is never undone by that.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("session", "Ada")?;
    /// assert!(db.expire_in("session", Duration::from_secs(60))?);
    /// assert!(db.metadata("session")?.is_some_and(|session| session.expires_at.is_some()));
    /// assert!(db.persist("session")?);
    /// assert!(!db.expire_in("no such key", Duration::from_secs(60))?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn expire_in(&self, key: impl AsRef<[u8]>, lifetime: Duration) -> Result<bool> {
        self.store().set_lifetime(key.as_ref(), Lifetime::For(lifetime))
    }

    /// Makes the value of `key` expire at this moment: as [`Bitcask::expire_in`], see [`PutOptions::expires_at`].
    pub fn expire_at(&self, key: impl AsRef<[u8]>, time: SystemTime) -> Result<bool> {
        self.store().set_lifetime(key.as_ref(), Lifetime::Until(time))
    }

    /// Takes the expiry from the value of `key`: as [`Bitcask::expire_in`]. Returns whether the key was there, with an
    /// expiry or without.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.store().set_lifetime(key.as_ref(), Lifetime::Forever)
    }

    /// Lets `f` say what becomes of `key`, given its value, in one step: no other write comes between. Returns whether
    /// anything was written.
    ///
    /// `f` runs without any lock, and again whenever another write to the key came first. What `f` puts keeps the
    /// expiry of the value before; see [`Bitcask::update_with`].
    ///
    /// ```
    /// use bitcask::Update;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("log", "one")?;
    /// db.update("log", |old| {
    ///     let mut text = old.unwrap_or_default().to_vec();
    ///     text.extend_from_slice(b", two");
    ///     Update::Put(text)
    /// })?;
    /// assert_eq!(db.get("log")?.as_deref(), Some(&b"one, two"[..]));
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn update(&self, key: impl AsRef<[u8]>, f: impl FnMut(Option<&[u8]>) -> Update) -> Result<bool> {
        self.update_with(key, &PutOptions::new(), f)
    }

    /// [`Bitcask::update`] with a durability, or an expiry for what `f` puts. A condition is refused.
    pub fn update_with(
        &self,
        key: impl AsRef<[u8]>,
        options: &PutOptions,
        f: impl FnMut(Option<&[u8]>) -> Update,
    ) -> Result<bool> {
        self.store().update(key.as_ref(), options, f)
    }

    /// Gives `key` the value `new` if it has the value `expected`, in one step; `None` stands for no value. Returns
    /// whether it did. As with a plain put, the new value has no expiry.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// assert!(db.compare_and_swap("leader", None, Some(b"a"))?);
    /// assert!(!db.compare_and_swap("leader", None, Some(b"b"))?);
    /// assert!(db.compare_and_swap("leader", Some(b"a"), None)?);
    /// assert!(!db.contains("leader")?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        self.store().compare_and_swap(key.as_ref(), expected, new)
    }

    /// Adds `by` to the integer that `key` has as decimal text, 0 if it is absent, in one step. Returns the sum. The
    /// expiry stays as it is.
    ///
    /// # Errors
    /// [`Error::NotAnInteger`](crate::Error::NotAnInteger) when the value is anything but an integer of 64 bits, without
    /// zeros or spaces around it; [`Error::IntegerOverflow`](crate::Error::IntegerOverflow) when the sum is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// assert_eq!(db.increment("visits", 1)?, 1);
    /// assert_eq!(db.increment("visits", -3)?, -2);
    /// assert_eq!(db.get("visits")?.as_deref(), Some(&b"-2"[..]));
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        self.store().increment(key.as_ref(), by)
    }

    /// Begins a batch: writes that happen together when it is committed, or not at all.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self.store())
    }

    /// Removes `key`. Returns whether it was there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, &PutOptions::new())
    }

    /// [`Bitcask::delete`] with options for this one write: a durability, and the condition
    /// [`PutOptions::if_timestamp`]. Returns whether the key was there and is removed.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: &PutOptions) -> Result<bool> {
        self.store().delete(key.as_ref(), options)
    }

    /// Whether `key` has a value. Reads no file, unless the value has an expiry, which only its record tells.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.store().contains(key.as_ref())
    }

    /// Count of keys. One that has expired counts until it is reaped, which happens every minute or so; an exact count is
    /// what [`Bitcask::keys`] gives.
    pub fn len(&self) -> u64 {
        self.store().keydir.len()
    }

    /// Whether [`Bitcask::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys, in no order that means anything, in constant memory.
    ///
    /// What is visited is what is there now: later writes do not show. See [`Bitcask::snapshot`] for what that costs.
    pub fn keys(&self) -> Keys {
        Keys::new(View::take(self.store()))
    }

    /// All keys and their values, as [`Bitcask::keys`] visits them; with their timestamps and expiries:
    /// [`Iter::entries`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// for entry in db.iter() {
    ///     let (key, value) = entry?;
    ///     assert_eq!((&key[..], &value[..]), (&b"a"[..], &b"1"[..]));
    /// }
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::new(View::take(self.store()), Vec::new())
    }

    /// The keys that begin with `prefix`, and their values. A Bitcask keeps no order: this looks at every key.
    pub fn prefix(&self, prefix: impl Into<Vec<u8>>) -> Iter {
        Iter::new(View::take(self.store()), prefix.into())
    }

    /// The store as it is now, for reading while writes and merges go on.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(View::take(self.store()))
    }

    /// About `count` keys from `cursor` on, for a walk through all keys in steps. Begin with 0; go on with
    /// [`ScanPage::next`]. A cursor stays good for ever: across writes, merges and opening again. A key that is there
    /// throughout is returned exactly once; one that comes or goes meanwhile, or not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// for n in 0..10 {
    ///     db.put(format!("key{n}"), "value")?;
    /// }
    /// let (mut keys, mut next) = (Vec::new(), Some(0));
    /// while let Some(cursor) = next {
    ///     let page = db.scan(cursor, 3)?;
    ///     keys.extend(page.keys);
    ///     next = page.next;
    /// }
    /// assert_eq!(keys.len(), 10);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn scan(&self, cursor: u64, count: usize) -> Result<ScanPage> {
        self.store().scan(cursor, count)
    }

    /// Visits every key and value, as [`Bitcask::iter`] does, and carries a result along.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "12")?;
    /// db.put("b", "345")?;
    /// let bytes = db.fold(0, |sum, _key, value| sum + value.len())?;
    /// assert_eq!(bytes, 5);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn fold<A>(&self, init: A, mut f: impl FnMut(A, &[u8], &[u8]) -> A) -> Result<A> {
        self.iter().try_fold(init, |so_far, entry| {
            let (key, value) = entry?;
            Ok(f(so_far, &key, &value))
        })
    }

    /// Every commit after the position `after`, in order, once it is durable; then those that come.
    ///
    /// A position is a timestamp in microseconds: that of a [`Commit`](crate::Commit) or of a [`Snapshot`]; 0 is the beginning.
    /// Who has read a snapshot and goes on from its timestamp misses nothing, nor who goes on later from the last commit
    /// that came. What is not durable yet comes after the next sync; with [`Durability::Os`](crate::Durability::Os) that
    /// is one somebody asks for. That a value has expired is no change.
    ///
    /// On a read-only handle it refreshes the handle whenever it looks for more. How far the writer has synced it learns from
    /// the log, up to an interval or a second late.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// let snapshot = db.snapshot();
    /// let mut changes = db.changes(snapshot.timestamp_us())?;
    /// db.put("b", "2")?;
    /// db.delete("a")?;
    /// db.sync()?;
    /// let commits: Vec<_> = changes.by_ref().collect::<Result<_, _>>()?;
    /// assert_eq!(commits[0].changes[0].key, b"b");
    /// assert_eq!((&commits[1].changes[0].key[..], &commits[1].changes[0].value), (&b"a"[..], &None));
    ///
    /// db.put("c", "3")?;
    /// db.sync()?;
    /// assert_eq!(changes.next().unwrap()?.changes[0].key, b"c");
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ChangesMerged`](crate::Error::ChangesMerged) when merges have dropped some of the changes behind the position;
    /// it names the oldest that can be had. [`Error::AheadOfLog`](crate::Error::AheadOfLog) when the log has not come as far.
    /// Both may come later as well, as an item.
    pub fn changes(&self, after: u64) -> Result<Changes> {
        Changes::new(&self.handle.store, after)
    }

    /// One whole pass of what a thread does otherwise.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reap_all(&self) {
        self.store().reap_all();
    }

    /// Forces everything written so far to the disk.
    ///
    /// # Errors
    /// When the sync fails the store is poisoned: it takes no more writes, and reads go on.
    pub fn sync(&self) -> Result<()> {
        self.store().sync()
    }

    /// Syncs and closes the store, for all clones of this handle: using them later gives
    /// [`Error::Closed`](crate::Error::Closed). Closing it again does nothing.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }

    /// Gives back the space of dead records: closes the active file if more than a twentieth of it is dead, and merges every
    /// file of which that much is, whatever the thresholds of [`MergeOptions`](crate::MergeOptions). Reads and
    /// writes go on meanwhile. It needs at most one file of extra space. What is written while it runs is left to the next.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// for _ in 0..100 {
    ///     db.put("counter", "the last one counts")?;
    /// }
    /// let report = db.merge()?;
    /// assert_eq!((report.values_copied, report.records_dropped), (1, 99));
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MergePaused`](crate::Error::MergePaused) while merges are paused. When the disk is full or fails, the merge
    /// ends, nothing is lost, and what was merged before stays merged.
    pub fn merge(&self) -> Result<MergeReport> {
        self.store().merge()
    }

    /// Removes all keys in one step, and durably at any [`Durability`](crate::Durability): after a crash all of them are
    /// there, or none. However many there are, it takes the time of a few syncs, and of removing the files. Other writes wait
    /// meanwhile, and a merge in progress ends. Snapshots see what they saw; the space that this takes is free when the
    /// last of them is dropped.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("a", "1")?;
    /// db.put("b", "2")?;
    /// let before = db.snapshot();
    /// assert_eq!(db.clear()?.keys, 2);
    /// assert!(db.is_empty() && !db.contains("a")?);
    /// assert_eq!(before.keys().count(), 2);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    ///
    /// # Errors
    /// After an error all keys are there, with one exception: when the directory cannot be synced, only the next open knows.
    /// The store is poisoned then.
    pub fn clear(&self) -> Result<ClearReport> {
        self.store().clear()
    }

    /// Merges the files that `choose` picks of so many immutable ones, oldest first, worth it or not.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn merge_chosen(
        &self,
        choose: impl FnOnce(usize) -> std::ops::Range<usize>,
    ) -> Result<MergeReport> {
        self.store().merge_chosen(choose)
    }

    /// Closes the active file.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn rotate(&self) -> Result<()> {
        let side = self.store().write_side()?;
        self.store().rotate(side)?;
        self.store().seal_rotated(side)
    }

    /// Whether a trigger of the store's [`MergeOptions`](crate::MergeOptions) is reached. A read-only handle judges dead
    /// bytes alone: which tombstones may leave only a writer knows.
    pub fn needs_merge(&self) -> bool {
        self.store().needs_merge()
    }

    /// Holds the merge in progress and all later ones until [`Bitcask::resume_merge`]. Not kept across a close.
    pub fn pause_merge(&self) -> Result<()> {
        self.store().write_side()?.merge_control.set_paused(true);
        Ok(())
    }

    /// Lets merges go on.
    pub fn resume_merge(&self) -> Result<()> {
        let side = self.store().write_side()?;
        side.merge_control.set_paused(false);
        side.to_merge.raise();
        Ok(())
    }

    /// Copies the store, as it is at one moment during the call, to the directory `target`, while reads and writes go on.
    ///
    /// A backup is a store itself: open it with [`Options::read_only`], check it with [`verify`](crate::verify()), or
    /// make a store of its own from it with [`restore`](crate::restore()). Files that do not change any more are hard
    /// links of the store's own where the file system allows it, so to survive the loss of a disk a backup must lie on
    /// another one. A later backup into the same directory brings it up to date and copies only what is new; whatever
    /// goes wrong, the directory holds the backup before or the new one, or says that it is not finished.
    ///
    /// A read-only handle backs up the store as it sees it: as it was when it was opened, or at the last refresh.
    ///
    /// # Errors
    /// [`Error::UnfitTarget`](crate::Error::UnfitTarget) when `target` is neither missing, empty nor a backup of this
    /// store, or lies in the store; nothing is changed then. A backup that was opened for writing is a store of its own,
    /// and no backup any more. [`Error::Locked`](crate::Error::Locked) when another backup into it is under way.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    /// let db = bitcask::open(&data, bitcask::Options::default())?;
    /// db.put("user:1", "Ada")?;
    /// db.backup(&copy)?;
    /// db.put("user:1", "Grace")?;
    ///
    /// let backup = bitcask::open(&copy, bitcask::Options::read_only())?;
    /// assert_eq!(backup.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(target, &mut progress::unwatched)
    }

    /// [`Bitcask::backup`], telling `progress` how far it has come.
    ///
    /// # Errors
    /// Those of [`Bitcask::backup`].
    pub fn backup_with(
        &self,
        target: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BackupReport> {
        self.backup_on(&OsVfs::new(Io::Syscall), target.as_ref(), progress)
    }

    /// [`Bitcask::backup_with`] on any file system, which is that of the store.
    pub(crate) fn backup_on(
        &self,
        vfs: &dyn Vfs,
        target: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BackupReport> {
        backup::backup(self.store(), vfs, target, progress)
    }

    /// Brings a handle that was opened with [`Options::read_only`] up to date with the writer, in this process or
    /// another: afterwards it sees everything that was written before the call. Whether that is anything new to it. Until the
    /// next call it goes on to see the store as it was, whatever is written and merged meanwhile, and snapshots keep what
    /// they see across calls. A handle that writes is always up to date.
    ///
    /// It reads what was added to the log since, and takes no lock and no permission that the writer would notice. It sees
    /// writes before they are durable.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let writer = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// let follower = bitcask::open(dir.path(), bitcask::Options::read_only())?;
    /// writer.put("key", "value")?;
    /// assert_eq!(follower.get("key")?, None);
    /// assert!(follower.refresh()?);
    /// assert_eq!(follower.get("key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    ///
    /// # Errors
    /// What an open can fail with. Then the handle goes on with what it has, of single keys perhaps with newer values, and may
    /// try again. [`Error::ForeignFile`](crate::Error::ForeignFile) when the directory holds another store by now, or an
    /// older state of this one: only a new open helps.
    pub fn refresh(&self) -> Result<bool> {
        self.store().refresh()
    }

    /// The state of the store: its size, its files, and what the open found.
    pub fn status(&self) -> Status {
        self.store().status()
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        self.store().path()
    }
}

impl std::fmt::Debug for Bitcask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bitcask")
            .field("path", &self.path())
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        // Ends them and waits for them: nothing must be appended behind the close marker.
        drop(threads.take());
        let closed = self.store.close();
        if let Some(side) = &self.store.write_side {
            side.release_lock();
        }
        // All that is left, for nobody else tells it now.
        self.store.events.tell();
        closed
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Who wants to know calls `close`.
        let _ = self.close();
    }
}

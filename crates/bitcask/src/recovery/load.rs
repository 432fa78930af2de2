//! Filling the keydir: shard by shard, each from all files in log order, several shards at once. Or adding to it what has
//! come since it was filled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::format::footer::Footer;
use crate::format::hint::{self, HintEntry};
use crate::format::manifest::Identity;
use crate::keydir::Keydir;
use crate::location::Location;
use crate::options::{Maintenance, Options};
use crate::recovery::inventory::{self, Inventory};
use crate::status::Recovery;
use crate::sync::parallelism;
use crate::versions::Versions;
use crate::vfs::Dir;

/// More threads than this do not fill a keydir faster: memory is the limit.
const THREADS_MAX: usize = 8;

/// A file of the log, and what is known of its keys.
pub(crate) struct Source {
    pub(crate) file: Arc<DataFile>,
    footer: Option<Footer>,
    hints: Option<Hints>,
    /// Whether the hints were made by a scan and are worth writing down.
    are_new: bool,
}

impl Source {
    /// A complete file, whose hint file may exist.
    pub(crate) fn sealed(file: Arc<DataFile>, footer: Footer) -> Self {
        file.raise_synced_len(footer.data_len);
        Self { file, footer: Some(footer), hints: None, are_new: false }
    }

    /// A file that was scanned.
    pub(crate) fn scanned(file: Arc<DataFile>, hints: Hints) -> Self {
        Self { file, footer: None, hints: Some(hints), are_new: true }
    }

    /// Writes down the hints that a scan has made. The file is complete by now.
    pub(crate) fn write_new_hints(&self, dir: &dyn Dir) {
        if let Some(hints) = self.hints.as_ref().filter(|_| self.are_new) {
            hints.write_if_possible(dir);
        }
    }
}

/// How the keydir is loaded.
pub(crate) struct Loader<'a> {
    dir: &'a dyn Dir,
    identity: &'a Identity,
    keydir: &'a Keydir,
    threads: usize,
    /// The memory that the keydir may occupy.
    max_keydir_bytes: Option<u64>,
    /// The wall clock's time, by which values have expired or not.
    now_us: u64,
    /// What was loaded before, unless this is the first time.
    earlier: Option<Earlier<'a>>,
}

/// A state of the store that was loaded before; what is loaded now is added to it.
///
/// The newest record of a key may be newer than that state: then it supersedes what the entry of its key leads to. Or it
/// was the newest then: it lies where the entry leads, or a merge has moved it. Then the entry leads to a file that is no
/// part of the log any more, and it must lead to the new place instead. A merge for a snapshot keeps older records as well: where
/// such a one came first, the newest puts it right.
pub(crate) struct Earlier<'a> {
    /// Nothing in it is newer.
    pub(crate) timestamp: u64,
    /// By slot: whether the file was loaded then and still is part of the log.
    pub(crate) stays: Vec<bool>,
    /// All files that entries may lead to.
    pub(crate) files: Vec<Arc<DataFile>>,
    /// Keeps what snapshots of that state see.
    pub(crate) versions: &'a Versions,
}

impl Earlier<'_> {
    /// Whether the record of `entry` is neither new to this state nor in a new place, given where the keydir leads.
    fn has(&self, entry: &HintEntry<'_>, now_at: Option<Location>) -> bool {
        let stays = |location: Location| self.stays.get(location.slot().index()) == Some(&true);
        entry.timestamp <= self.timestamp && now_at.is_none_or(stays)
    }
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        dir: &'a dyn Dir,
        identity: &'a Identity,
        keydir: &'a Keydir,
        options: &Options,
        clock: &dyn Clock,
    ) -> Self {
        let threads = match options.maintenance {
            Maintenance::Threads => parallelism(),
            Maintenance::Callers => 1,
        };
        let (max_keydir_bytes, now_us) = (options.max_keydir_bytes, clock.now_us());
        Self { dir, identity, keydir, threads, max_keydir_bytes, now_us, earlier: None }
    }

    /// A loader of what has come after `earlier`. It takes the memory that it needs: what was loaded must not be given up.
    pub(crate) fn onto(self, earlier: Earlier<'a>) -> Self {
        Self { earlier: Some(earlier), max_keydir_bytes: None, ..self }
    }

    /// Fills the keydir from `sources`, which are in log order, and counts in `recovery` what that took. Writes nothing.
    pub(crate) fn load(&self, sources: &mut [Source], recovery: &mut Recovery) -> Result<()> {
        for source in &mut *sources {
            if source.hints.is_some() {
                recovery.files_scanned += 1;
            } else if let Some(hints) = self.open_hints(source) {
                source.hints = Some(hints);
                recovery.hints_loaded += 1;
            } else {
                self.rebuild_hints(source, recovery)?;
            }
        }
        let needed = loop {
            let broken = match self.fill(sources) {
                Ok(needed) => break needed,
                Err(broken) => broken,
            };
            // From a whole set of hints everything comes out right, whatever broken ones have left.
            if self.earlier.is_none() {
                self.keydir.clear();
                sources.iter().for_each(|source| source.file.live.clear());
            }
            sources.iter().for_each(|source| source.file.held.clear());
            recovery.hints_loaded -= 1;
            self.rebuild_hints(&mut sources[broken], recovery)?;
        };
        match self.max_keydir_bytes {
            Some(limit) if needed > limit => Err(Error::KeydirFull { needed, limit }),
            _ => Ok(()),
        }
    }

    fn open_hints(&self, source: &Source) -> Option<Hints> {
        let footer = source.footer.as_ref()?;
        let store = self.identity.store;
        let binding = inventory::binding(store, &source.file, footer.data_len, footer.checksum, self.keydir);
        Hints::open(self.dir, &binding)
    }

    /// Scans a complete file. A sync had covered all of it, so whatever does not check is damage.
    fn rebuild_hints(&self, source: &mut Source, recovery: &mut Recovery) -> Result<()> {
        let file = &source.file;
        let inventory = Inventory::take(file, file.data_len(), self.keydir)?;
        if let Some(defect) = inventory.defect {
            planted!("damage in a complete file is its end", return Ok(()));
            return Err(file.defect_at(defect, inventory.end));
        }
        if inventory.end != file.data_len() {
            return Err(Error::corruption(
                file.name(),
                inventory.end,
                "its records end before its footer says",
            ));
        }
        recovery.files_scanned += 1;
        recovery.damaged.extend(inventory.damaged.iter().map(|value| value.report(file)));
        // With a damaged value the checksum of the file is not its footer's, so such hints are not worth writing.
        source.are_new = inventory.damaged.is_empty();
        source.hints = Some(inventory.into_hints(self.identity.store, file, self.keydir));
        Ok(())
    }

    /// Fills all shards, or those that fit the memory that the keydir may occupy. Returns what all of them need, or the index
    /// of a source whose hints turned out to be damaged, if one did.
    fn fill(&self, sources: &[Source]) -> Result<u64, usize> {
        // A small store with many files has entries in few shards only.
        let shards: BTreeSet<u16> =
            sources.iter().filter_map(|source| source.hints.as_ref()).flat_map(Hints::shards).collect();
        let shards: Vec<u16> = shards.into_iter().collect();
        let next_shard = AtomicUsize::new(0);
        let files: Vec<&Arc<DataFile>> = match &self.earlier {
            Some(earlier) => earlier.files.iter().collect(),
            None => sources.iter().map(|source| &source.file).collect(),
        };
        let slots = files.iter().map(|file| file.slot().index() + 1).max().unwrap_or(0);
        let broken = Mutex::new(None);
        let dropped = AtomicU64::new(0);
        let work = || {
            let mut buffers = vec![Vec::new(); sources.len()];
            let mut counts = vec![(0, 0); slots];
            while let Some(&shard) = shards.get(next_shard.fetch_add(1, Ordering::Relaxed)) {
                if let Err(index) = self.fill_shard(shard, sources, &mut buffers, &mut counts) {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
                    break;
                }
                dropped.fetch_add(self.drop_if_too_large(shard), Ordering::Relaxed);
            }
            for file in &files {
                let (bytes, keys) = counts[file.slot().index()];
                file.live.add(bytes, keys);
            }
        };
        std::thread::scope(|scope| {
            // One that cannot be started is made up for by the others.
            for _ in 1..self.threads.min(THREADS_MAX) {
                let _ = std::thread::Builder::new().name("bitcask-load".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        match broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(index) => Err(index),
            None => Ok(self.keydir.memory_bytes() + dropped.into_inner()),
        }
    }

    /// Drops a shard with which the keydir would be larger than it may be. Returns how large it was.
    fn drop_if_too_large(&self, shard: u16) -> u64 {
        let Some(limit) = self.max_keydir_bytes else { return 0 };
        let bytes = self.keydir.write_shard(shard).fit();
        if self.keydir.memory_bytes() <= limit {
            return 0;
        }
        self.keydir.write_shard(shard).clear();
        bytes
    }

    fn fill_shard(
        &self,
        shard: u16,
        sources: &[Source],
        buffers: &mut [Vec<u8>],
        // Live bytes and keys by slot: differences, modulo 2^64.
        counts: &mut [(u64, u64)],
    ) -> Result<(), usize> {
        // Read first: others may be waiting for the shard.
        let mut sections = Vec::with_capacity(sources.len());
        for (index, (source, buffer)) in sources.iter().zip(buffers).enumerate() {
            let hints = source.hints.as_ref().ok_or(index)?;
            sections.push(hints.section(shard, buffer).ok_or(index)?);
        }
        let mut table = self.keydir.write_shard(shard);
        if let Some(earlier) = &self.earlier {
            // All at first: an older record than what a snapshot sees may be led to on the way.
            let entries = sections.iter().flat_map(|(section, _)| hint::entries(section)).flatten();
            for entry in entries.filter(|entry| entry.timestamp > earlier.timestamp) {
                let digest = self.keydir.digest(entry.key);
                if digest.shard() == shard
                    && let Some(old) = table.get(digest)
                {
                    earlier.versions.keep(digest, old, entry.timestamp);
                }
            }
        }
        for (index, (source, (section, header))) in sources.iter().zip(sections).enumerate() {
            table.reserve(usize::try_from(header.count).unwrap_or(0));
            for entry in hint::entries(section) {
                let entry = entry.ok_or(index)?;
                let digest = self.keydir.digest(entry.key);
                if digest.shard() != shard {
                    return Err(index);
                }
                if entry.is_tombstone && source.file.is_merge_output() {
                    source.file.held.add(entry.len, 1);
                }
                if self.earlier.as_ref().is_some_and(|earlier| earlier.has(&entry, table.get(digest))) {
                    continue;
                }
                // A value that has expired supersedes the older ones of its key, as a tombstone does.
                let is_gone = entry.is_tombstone || entry.expiry.is_some_and(|expiry| self.now_us >= expiry);
                planted!("an expired value uncovers older ones", let is_gone = entry.is_tombstone);
                let replaced = if is_gone {
                    table.remove(digest)
                } else {
                    let (slot, expiry) = (source.file.slot(), entry.expiry.into());
                    let location = Location::new(slot, entry.offset, entry.len, expiry);
                    count(counts, location, 1);
                    table.insert(digest, location)
                };
                if let Some(old) = replaced {
                    count(counts, old, -1);
                }
            }
        }
        Ok(())
    }
}

/// Counts a record at `location` as live once more, or once less.
fn count(counts: &mut [(u64, u64)], location: Location, times: i64) {
    let (bytes, keys) = &mut counts[location.slot().index()];
    *bytes = bytes.wrapping_add_signed(times * location.len().cast_signed());
    *keys = keys.wrapping_add_signed(times);
}

//! Filling the keydir: shard by shard, each from all files in log order, several shards at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::format::footer::Footer;
use crate::format::hint;
use crate::format::manifest::Identity;
use crate::keydir::Keydir;
use crate::location::Location;
use crate::recovery::inventory::{self, Inventory};
use crate::status::Recovery;
use crate::vfs::Dir;

/// More threads than this do not fill a keydir faster: memory is the limit.
const THREADS_MAX: usize = 8;

/// A file of the log, and what is known of its keys.
pub(crate) struct Source {
    pub(crate) file: Arc<DataFile>,
    footer: Option<Footer>,
    hints: Option<Hints>,
}

impl Source {
    /// A complete file, whose hint file may exist.
    pub(crate) fn sealed(file: Arc<DataFile>, footer: Footer) -> Self {
        file.raise_synced_len(footer.data_len);
        Self { file, footer: Some(footer), hints: None }
    }

    /// A file that was scanned.
    pub(crate) fn scanned(file: Arc<DataFile>, hints: Hints) -> Self {
        Self { file, footer: None, hints: Some(hints) }
    }
}

/// How the keydir is loaded.
pub(crate) struct Loader<'a> {
    pub(crate) dir: &'a dyn Dir,
    pub(crate) identity: &'a Identity,
    pub(crate) keydir: &'a Keydir,
    /// Whether hints that had to be made are written down.
    pub(crate) may_write: bool,
    pub(crate) threads: usize,
    /// The wall clock's time, by which values have expired or not.
    pub(crate) now_us: u64,
}

impl Loader<'_> {
    /// Fills the keydir from `sources`, which are in log order, and counts in `recovery` what that took.
    pub(crate) fn load(&self, mut sources: Vec<Source>, recovery: &mut Recovery) -> Result<()> {
        for source in &mut sources {
            if source.hints.is_some() {
                recovery.files_scanned += 1;
            } else if let Some(hints) = self.open_hints(source) {
                source.hints = Some(hints);
                recovery.hints_loaded += 1;
            } else {
                self.rebuild_hints(source, recovery)?;
            }
        }
        while let Err(broken) = self.fill(&sources) {
            self.keydir.clear();
            for source in &sources {
                source.file.live.clear();
                source.file.held.clear();
            }
            recovery.hints_loaded -= 1;
            self.rebuild_hints(&mut sources[broken], recovery)?;
        }
        Ok(())
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
        let is_whole = inventory.damaged.is_empty();
        let hints = inventory.into_hints(self.identity.store, file, self.keydir);
        if self.may_write && is_whole {
            hints.write_if_possible(self.dir);
        }
        source.hints = Some(hints);
        Ok(())
    }

    /// Fills all shards; the index of a source whose hints turned out to be damaged, if one did.
    fn fill(&self, sources: &[Source]) -> Result<(), usize> {
        // A small store with many files has entries in few shards only.
        let shards: BTreeSet<u16> =
            sources.iter().filter_map(|source| source.hints.as_ref()).flat_map(Hints::shards).collect();
        let shards: Vec<u16> = shards.into_iter().collect();
        let next_shard = AtomicUsize::new(0);
        let slots = sources.iter().map(|source| source.file.slot().index() + 1).max().unwrap_or(0);
        let broken = Mutex::new(None);
        let work = || {
            let mut buffer = Vec::new();
            let mut counts = vec![(0_u64, 0_u64); slots];
            while let Some(&shard) = shards.get(next_shard.fetch_add(1, Ordering::Relaxed)) {
                if let Err(index) = self.fill_shard(shard, sources, &mut buffer, &mut counts) {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
                    break;
                }
            }
            for source in sources {
                let (bytes, keys) = counts[source.file.slot().index()];
                source.file.live.add(bytes, keys);
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
            None => Ok(()),
        }
    }

    fn fill_shard(
        &self,
        shard: u16,
        sources: &[Source],
        buffer: &mut Vec<u8>,
        // Live bytes and keys by slot.
        counts: &mut [(u64, u64)],
    ) -> Result<(), usize> {
        let mut table = self.keydir.write_shard(shard);
        for (index, source) in sources.iter().enumerate() {
            let Some(hints) = &source.hints else { return Err(index) };
            let (section, header) = hints.section(shard, buffer).ok_or(index)?;
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
                // A value that has expired supersedes the older ones of its key, as a tombstone does.
                let is_gone = entry.is_tombstone || entry.expiry.is_some_and(|expiry| self.now_us >= expiry);
                let replaced = if is_gone {
                    table.remove(digest)
                } else {
                    let (slot, expiry) = (source.file.slot(), entry.expiry.into());
                    let location = Location::new(slot, entry.offset, entry.len, expiry);
                    let count = &mut counts[location.slot().index()];
                    *count = (count.0 + location.len(), count.1 + 1);
                    table.insert(digest, location)
                };
                if let Some(old) = replaced {
                    let count = &mut counts[old.slot().index()];
                    *count = (count.0 - old.len(), count.1 - 1);
                }
            }
        }
        Ok(())
    }
}

//! The work that no caller should wait for: successors made ahead, space allocated ahead, footers and hint files for
//! files that were rotated away from, syncs by interval.
//!
//! Threads of the store do it; a caller who needs a successor before they have made one makes it. With
//! [`Maintenance::Callers`](crate::options::Maintenance) there are no threads, and all of it happens
//! between operations, in the same order every time.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::format::footer::Ending;
use crate::location::Slot;
use crate::options::Durability;
use crate::recovery::inventory::Inventory;
use crate::store::{Store, WriteSide};
use crate::sync::{Arc, MutexGuard, PoisonError};
use crate::vfs;
use crate::writer::{Placement, Writer};

impl Store {
    /// Makes the writer a successor if it has none.
    pub(crate) fn prepare_successor(&self, side: &WriteSide) -> Result<()> {
        // One more is left to a merge.
        self.make_successor(side, 1)
    }

    /// The same, if so many files more may be open then.
    pub(crate) fn make_successor(&self, side: &WriteSide, spare: usize) -> Result<()> {
        let mut catalog = self.catalog(side)?;
        if side.writer().successor.is_some() {
            return Ok(());
        }
        self.options.check_open_files(self.order().len() + 1 + spare)?;
        side.check_lock()?;
        let slot = self.free_slot()?;
        let placement = Placement::new(&*self.dir, self.identity.format, self.options.max_file_size);
        let last_timestamp = side.writer().timestamps.last();
        let made = catalog.make_file(&*self.dir, &self.identity, slot, placement, last_timestamp);
        let file = made.map_err(|error| side.make_failed(error))?;
        self.files.insert(Arc::clone(&file));
        self.order().push(Arc::clone(&file));
        let mut writer = side.writer();
        writer.space.add(&file);
        writer.successor = Some(file);
        Ok(())
    }

    /// A slot for a file that is about to be made, under the catalog lock.
    pub(crate) fn free_slot(&self) -> Result<Slot> {
        self.files.free_slot().ok_or(Error::Full {
            what: "the table of open files",
            remedy: "merge the store, or raise max_file_size",
        })
    }

    /// Removes files that are no part of the store any more. Returns the names of those that could not be removed: the next
    /// open tries again.
    pub(crate) fn remove_files(&self, gone: &[Arc<DataFile>]) -> Vec<String> {
        let names = gone.iter().flat_map(|file| [file.name().to_owned(), layout::hint(file.id())]);
        names.filter(|name| vfs::remove_if_present(&*self.dir, name).is_err()).collect()
    }

    /// The catalog lock, unless an earlier failure forbids to change anything, or the store was closed: then the directory
    /// may be another writer's.
    pub(crate) fn catalog<'a>(&self, side: &'a WriteSide) -> Result<MutexGuard<'a, Catalog>> {
        let catalog = side.catalog();
        planted!("who waited while the store was closed goes on", return Ok(catalog));
        // Looked at under the lock: `close` sets the one under the lock, and who panics under it the other.
        side.check()?;
        self.check_open()?;
        Ok(catalog)
    }

    /// What follows when the writer has gone on in its successor.
    pub(crate) fn rotated(&self, side: &WriteSide, writer: &Writer) {
        side.to_prepare.raise();
        side.to_seal.raise();
        if let Some(previous) = writer.unsealed.last() {
            self.events.note(|| Event::Rotated {
                from: previous.name().to_owned(),
                bytes: previous.data_len(),
                to: writer.active.name().to_owned(),
            });
        }
    }

    /// Gives each file that was rotated away from before now its footer and its hint file, oldest first. What writers
    /// rotate away from meanwhile is left to the next call, or this one would never return.
    pub(crate) fn seal_rotated(&self, side: &WriteSide) -> Result<()> {
        // Its own lock, so that whoever needs a successor meanwhile need not wait for a scan.
        let _one_at_a_time = side.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: `close` seals under the lock.
        self.check_open()?;
        self.seal_all_rotated(side)
    }

    /// The same, under the lock `sealing`.
    pub(crate) fn seal_all_rotated(&self, side: &WriteSide) -> Result<()> {
        side.check()?;
        let count = side.writer().unsealed.len();
        for _ in 0..count {
            let (file, appended) = {
                let writer = side.writer();
                let Some(file) = writer.unsealed.first() else { break };
                (Arc::clone(file), writer.appended)
            };
            if file.synced_len() < file.data_len() {
                self.sync_through(side, appended)?;
            }
            self.seal(side, &file)?;
            side.writer().unsealed.remove(0);
        }
        Ok(())
    }

    /// Gives a file whose data is synced its footer and its hint file.
    pub(crate) fn seal(&self, side: &WriteSide, file: &DataFile) -> Result<()> {
        let inventory = Inventory::take(file, file.data_len(), &self.keydir)?;
        let defect = inventory.defect.as_ref().map(ToString::to_string);
        if let Some(what) = defect.or(inventory.damaged.first().map(|value| value.report(file).what)) {
            // What was written does not come back: no write to this disk can be trusted.
            return Err(side.poison(&Error::corruption(file.name(), inventory.end, what)));
        }
        file.seal(&inventory.footer(Ending::Rotated), inventory.last_timestamp())?;
        file.sync().map_err(|error| side.poison(&error))?;
        inventory.into_hints(self.identity.store, file, &self.keydir).write_if_possible(&*self.dir);
        self.events.note(|| Event::Sealed { file: file.name().to_owned(), bytes: file.data_len() });
        Ok(())
    }

    /// Allocates space behind the end of the active file before a writer has to.
    fn allocate_ahead(&self, side: &WriteSide) -> Result<()> {
        let wanted = {
            let writer = side.writer();
            writer.wants_allocation().then(|| (Arc::clone(&writer.active), writer.allocation_ahead()))
        };
        match wanted {
            Some((file, len)) => file.allocate(len),
            None => Ok(()),
        }
    }

    /// Makes ready what the writer will need. Each part is tried; the first failure is returned.
    pub(crate) fn prepare(&self, side: &WriteSide) -> Result<()> {
        let allocated = self.allocate_ahead(side);
        let prepared = self.prepare_successor(side);
        let wants_measure = {
            let writer = side.writer();
            writer.space.wants_measure(writer.appended)
        };
        let measured = if wants_measure { self.measure_disk(side) } else { Ok(()) };
        allocated.and(prepared).and(measured)
    }

    /// Asks the disk how much it has left for puts.
    pub(crate) fn measure_disk(&self, side: &WriteSide) -> Result<()> {
        let disk =
            self.dir.space().map_err(|source| Error::io("ask", "the free space of the disk", source))?;
        let mut writer = side.writer();
        let appended = writer.appended;
        writer.space.measured(disk, appended);
        Ok(())
    }

    /// Maintenance without threads, after an operation.
    pub(crate) fn maintain_as_caller(&self, side: &WriteSide) -> Result<()> {
        if let Durability::Interval(interval) = self.options.durability {
            let now = self.clock.monotonic();
            let mut last_sync = side.last_sync.lock().unwrap_or_else(PoisonError::into_inner);
            if now >= *last_sync + interval {
                *last_sync = now;
                drop(last_sync);
                self.sync()?;
            }
        }
        // As with threads, what fails here fails the operation that cannot do without it, not this one.
        if side.to_prepare.take() {
            let _ = self.prepare(side);
        }
        if side.to_seal.take() {
            let _ = self.seal_rotated(side);
        }
        self.events.tell();
        Ok(())
    }

    /// What the interval asks for: a sync of what has come since the last, or, when nothing has come for a whole
    /// interval, the marker that claims that sync.
    pub(crate) fn sync_by_interval(&self, side: &WriteSide, idle_since: u64) -> Result<u64> {
        side.check()?;
        let appended = side.writer().appended;
        let by_interval = matches!(self.options.durability, Durability::Interval(_));
        if by_interval && side.syncer.synced() < appended {
            self.sync_through(side, appended)?;
        } else if appended == idle_since {
            let covered = side.syncer.covered();
            let mut writer = self.writer(side)?;
            writer.claim(covered).map_err(|error| side.append_failed(error))?;
        }
        Ok(appended)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::opening;
    use crate::options::{Io, Maintenance, Options, PutOptions};
    use crate::vfs::sim::{SimClock, SimDisk};

    fn open(disk: &SimDisk, durability: Durability) -> Store {
        let options = Options::new().durability(durability).maintenance(Maintenance::Callers);
        opening::open(&*disk.vfs(), Arc::new(SimClock::new(1_000_000)), Path::new("store"), options).unwrap()
    }

    /// What the thread that syncs by interval does at each tick; gives the length of the log.
    fn tick(store: &Store, last_appended: &mut u64) -> u64 {
        let side = store.write_side().unwrap();
        *last_appended = store.sync_by_interval(side, *last_appended).unwrap();
        side.writer().end().offset
    }

    #[test]
    fn an_interval_store_that_goes_idle_is_synced_then_marked_once_and_then_left_alone() {
        let disk = SimDisk::new(Io::Mapped);
        let store = open(&disk, Durability::Interval(Duration::from_secs(60)));
        store.put(b"k", b"v", &PutOptions::new().durability(Durability::Os)).unwrap();
        let mut last_appended = 0;
        let synced = tick(&store, &mut last_appended);
        assert!(disk.is_durable("0000000001.data", 0..synced));
        let marked = tick(&store, &mut last_appended);
        let codec = store.write_side().unwrap().writer().active.codec();
        assert_eq!(marked - synced, codec.marker_len_max());
        let operations = disk.operations();
        // The marker is synced with the next tick; then there is nothing left to do.
        assert_eq!(tick(&store, &mut last_appended), marked);
        assert!(disk.is_durable("0000000001.data", 0..marked));
        let quiet = disk.operations();
        assert!(quiet > operations);
        for _ in 0..3 {
            assert_eq!(tick(&store, &mut last_appended), marked);
        }
        assert_eq!(disk.operations(), quiet);
    }

    #[test]
    fn a_store_that_leaves_syncs_to_the_system_is_never_synced_by_a_tick() {
        let disk = SimDisk::new(Io::Mapped);
        let store = open(&disk, Durability::Os);
        store.put(b"k", b"v", &PutOptions::new().durability(Durability::Os)).unwrap();
        let mut last_appended = 0;
        let operations = disk.operations();
        let end = tick(&store, &mut last_appended);
        assert_eq!(tick(&store, &mut last_appended), end);
        assert_eq!(disk.operations(), operations);
    }
}

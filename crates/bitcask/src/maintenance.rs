//! The work that no caller should wait for: successors made ahead, space allocated ahead, footers and hint files for
//! files that were rotated away from, syncs by interval.
//!
//! Threads of the store do it; a caller who needs a successor before they have made one makes it. With
//! [`Maintenance::Callers`](crate::options::Maintenance) there are no threads, and all of it happens
//! between operations, in the same order every time.
//!
//! ```text
//! make a successor:  create the file, its id reserved before; sync it; sync the directory
//!                    replace the manifest by one that lists it and reserves the next id
//!                    hand it to the writer
//! ```

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::file::manifest_file::{self, ReplaceError};
use crate::format::file_header::FileHeader;
use crate::format::footer::Ending;
use crate::format::manifest::{ListedFile, Manifest};
use crate::format::position::FileId;
use crate::location::Slot;
use crate::options::Durability;
use crate::recovery::inventory::Inventory;
use crate::recovery::settle;
use crate::store::{Store, StoreIdentity, WriteSide};
use crate::vfs::Dir;
use crate::writer::{Placement, allocation_for};

/// What the maintenance lock guards.
pub(crate) struct Maintenance {
    pub(crate) manifest: Manifest,
    /// When, by the monotonic clock, the last sync by interval was; used without threads only.
    last_sync: Duration,
}

/// What goes wrong while a file is made.
pub(crate) enum MakeError {
    /// The store is as it was.
    Undone(Error),
    /// A sync of the directory or of the manifest failed.
    InDoubt(Error),
}

impl MakeError {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Undone(error) | Self::InDoubt(error) => error,
        }
    }
}

impl Maintenance {
    pub(crate) fn new(manifest: Manifest) -> Self {
        Self { manifest, last_sync: Duration::ZERO }
    }

    /// Makes an empty data file and lists it at the end of the log.
    pub(crate) fn make_file(
        &mut self,
        dir: &dyn Dir,
        identity: &StoreIdentity,
        slot: Slot,
        placement: Placement,
        last_timestamp: u64,
    ) -> Result<Arc<DataFile>, MakeError> {
        // The one id that is reserved and not listed.
        let id = FileId(self.manifest.next_file.0 - 1);
        let file = create(dir, identity, id, slot, placement).map_err(MakeError::Undone)?;
        let failed = |source| Error::io("sync", "the store's directory", source);
        if let Err(error) = dir.sync().map_err(failed) {
            return Err(MakeError::InDoubt(error));
        }
        let mut manifest = self.manifest.clone();
        manifest.files.push(ListedFile { id, clean: 0 });
        manifest.next_file = FileId(id.0 + 2);
        match self.install(dir, manifest, last_timestamp) {
            Ok(()) => Ok(file),
            Err(error) => {
                if matches!(error, MakeError::Undone(_)) {
                    // Not listed, so of no use. The next one made, or the next open, removes it if this cannot.
                    let _ = dir.remove(file.name());
                }
                Err(error)
            }
        }
    }

    /// Replaces the manifest on disk and in memory.
    pub(crate) fn install(
        &mut self,
        dir: &dyn Dir,
        mut manifest: Manifest,
        last_timestamp: u64,
    ) -> Result<(), MakeError> {
        manifest.generation += 1;
        manifest.highest_timestamp = manifest.highest_timestamp.max(last_timestamp);
        manifest_file::replace(dir, &manifest).map_err(|error| match error {
            ReplaceError::Unchanged(error) => MakeError::Undone(error),
            ReplaceError::InDoubt(error) => MakeError::InDoubt(error),
        })?;
        self.manifest = manifest;
        Ok(())
    }
}

/// Creates a data file, in place of a leftover that no manifest lists.
fn create(
    dir: &dyn Dir,
    identity: &StoreIdentity,
    id: FileId,
    slot: Slot,
    placement: Placement,
) -> Result<Arc<DataFile>> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(|error| Error::io("draw", "a random salt", error.into()))?;
    let header = FileHeader {
        format: identity.format,
        store: identity.store,
        id,
        salt: u64::from_le_bytes(salt),
        inputs: Vec::new(),
    };
    let name = layout::data(id);
    match dir.remove(&name) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", name, source));
        }
        _ => {}
    }
    let map_len = match placement {
        Placement::Mapped { map_len } => map_len,
        Placement::Written => 0,
    };
    let first_record = header.len();
    let file = DataFile::create(dir, header, slot, map_len)?;
    if matches!(placement, Placement::Mapped { .. }) {
        let allocated = file.allocate(allocation_for(first_record, 0, map_len));
        if let Err(error) = allocated {
            let _ = dir.remove(&name);
            return Err(error);
        }
    }
    Ok(file)
}

impl Store {
    /// How records are put into files here.
    pub(crate) fn placement(dir: &dyn Dir, max_file_size: u64) -> Placement {
        if dir.can_map() { Placement::Mapped { map_len: max_file_size } } else { Placement::Written }
    }

    /// Makes the writer a successor if it has none.
    pub(crate) fn prepare_successor(&self, side: &WriteSide) -> Result<()> {
        let mut maintenance = self.maintenance(side)?;
        if side.writer().successor.is_some() {
            return Ok(());
        }
        side.check_lock()?;
        let slot = self.files.free_slot().ok_or(Error::Full {
            what: "the table of open files",
            remedy: "merge the store, or raise max_file_size",
        })?;
        let placement = Self::placement(&*self.dir, self.options.max_file_size);
        let last_timestamp = side.writer().timestamps.last();
        let made = maintenance.make_file(&*self.dir, &self.identity, slot, placement, last_timestamp);
        let file = made.map_err(|error| match error {
            MakeError::Undone(error) => error,
            MakeError::InDoubt(error) => side.poison(&error),
        })?;
        self.files.insert(Arc::clone(&file));
        self.order().push(Arc::clone(&file));
        side.writer().successor = Some(file);
        Ok(())
    }

    fn maintenance<'a>(&self, side: &'a WriteSide) -> Result<MutexGuard<'a, Maintenance>> {
        side.check()?;
        Ok(side.maintenance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives each file that was rotated away from its footer and its hint file, oldest first.
    pub(crate) fn seal_rotated(&self, side: &WriteSide) -> Result<()> {
        side.check()?;
        // Its own lock, so that whoever needs a successor meanwhile need not wait for a scan.
        let _one_at_a_time = side.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (file, appended) = {
                let writer = side.writer();
                let Some(file) = writer.unsealed.first() else { return Ok(()) };
                (Arc::clone(file), writer.appended)
            };
            if file.synced_len() < file.data_len() {
                self.sync_through(side, appended)?;
            }
            let inventory = Inventory::take(&file, file.data_len(), &self.keydir)?;
            let defect = inventory.defect.as_ref().map(ToString::to_string);
            if let Some(what) = defect.or(inventory.damaged.first().map(|value| value.report(&file).what)) {
                // What was written does not come back: no write to this disk can be trusted.
                return Err(side.poison(&Error::corruption(file.name(), inventory.end, what)));
            }
            file.seal(&inventory.footer(Ending::Rotated), inventory.last_timestamp)?;
            file.sync().map_err(|error| side.poison(&error))?;
            settle::write_if_possible(
                &inventory.into_hints(self.identity.store, &file, &self.keydir),
                &*self.dir,
            );
            side.writer().unsealed.remove(0);
        }
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
        allocated.and(prepared)
    }

    /// Maintenance without threads, after an operation.
    pub(crate) fn maintain_as_caller(&self, side: &WriteSide) -> Result<()> {
        if let Durability::Interval(interval) = self.options.durability {
            let now = self.clock.monotonic();
            let mut maintenance = self.maintenance(side)?;
            let due = now >= maintenance.last_sync + interval;
            if due {
                maintenance.last_sync = now;
            }
            drop(maintenance);
            if due {
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
            let mut writer = side.writer();
            writer.claim(covered).map_err(|error| side.append_failed(error))?;
        }
        Ok(appended)
    }
}

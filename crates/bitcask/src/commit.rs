//! How a write becomes part of the store.
//!
//! ```text
//! put:     hash the key, checksum the value
//!          lock the writer
//!              make room: rotate, if the record would outgrow the active file
//!              draw timestamp and offset, append the record
//!              publish the location in the keydir
//!          unlock
//!          wait for the sync that covers the record, if durability asks for it
//! delete:  the same with a tombstone, unless the key is absent
//! ```
//! Publishing under the lock makes the order of the log the order in which readers see writes. Acknowledging
//! after the sync, and outside the lock, lets others append meanwhile.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::format::codec::Prepared;
use crate::format::record::Kind;
use crate::location::{Expiry, Location};
use crate::options::{Durability, Maintenance};
use crate::store::{Store, WriteSide, check_key};
use crate::writer::{Covered, Draft, Writer};

impl Store {
    /// Gives the key this value.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        let side = self.write_side()?;
        check_key(key)?;
        if value.len() as u64 > self.options.max_value_size {
            return Err(Error::ValueSize { len: value.len(), max: self.options.max_value_size });
        }
        let digest = self.keydir.digest(key);
        let prepared = Prepared::new(self.identity.format, value);
        let draft = Draft { kind: Kind::Value, key, value, prepared };
        let mut writer = self.writer_with_room(side, draft.len_max())?;
        let location = self.append(side, &mut writer, &draft)?;
        writer.active.count_live(location);
        if let Some(old) = self.keydir.insert(digest, location) {
            self.count_dead(old);
        }
        let target = writer.appended;
        drop(writer);
        self.acknowledge(side, target, durability)
    }

    /// Removes the key; whether it was there.
    pub(crate) fn delete(&self, key: &[u8], durability: Durability) -> Result<bool> {
        let side = self.write_side()?;
        check_key(key)?;
        let digest = self.keydir.digest(key);
        let prepared = Prepared::new(self.identity.format, &[]);
        let draft = Draft { kind: Kind::Tombstone, key, value: &[], prepared };
        let mut writer = self.writer_with_room(side, draft.len_max())?;
        if self.keydir.get(digest).is_none() {
            drop(writer);
            // Nothing changes, but the answer rests on a tombstone that may not be durable yet.
            self.acknowledge(side, side.deleted.load(Ordering::Acquire), durability)?;
            return Ok(false);
        }
        self.append(side, &mut writer, &draft)?;
        if let Some(old) = self.keydir.remove(digest) {
            self.count_dead(old);
        }
        let target = writer.appended;
        side.deleted.store(target, Ordering::Release);
        drop(writer);
        self.acknowledge(side, target, durability)?;
        Ok(true)
    }

    /// Syncs everything appended so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_open()?;
        let side = self.write_side()?;
        side.check()?;
        let appended = side.writer().appended;
        self.sync_through(side, appended)
    }

    /// The writer lock, with room in the active file for a record of `len` bytes.
    fn writer_with_room<'a>(&'a self, side: &'a WriteSide, len: u64) -> Result<MutexGuard<'a, Writer>> {
        loop {
            side.check()?;
            let mut writer = side.writer();
            // Looked at under the lock: `close` sets it under the lock.
            self.check_open()?;
            if writer.has_room(len) {
                return Ok(writer);
            }
            if writer.rotate().map_err(|error| side.append_failed(error))? {
                side.to_prepare.raise();
                side.to_seal.raise();
                continue;
            }
            drop(writer);
            self.prepare_successor(side)?;
        }
    }

    fn append(&self, side: &WriteSide, writer: &mut Writer, draft: &Draft<'_>) -> Result<Location> {
        let claims = side.syncer.synced() > writer.claimed();
        let covered = claims.then(|| side.syncer.covered());
        let appended =
            writer.append(draft, covered, &*self.clock).map_err(|error| side.append_failed(error))?;
        if writer.wants_allocation() {
            side.to_prepare.raise();
        }
        Ok(Location::new(writer.active.slot(), appended.offset, appended.len, Expiry::Never))
    }

    /// Takes a record that was replaced off its file's count.
    fn count_dead(&self, old: Location) {
        if let Some(file) = self.files.load().get(old.slot()) {
            file.count_dead(old);
        }
    }

    /// Returns when the log up to `target` is as durable as asked.
    fn acknowledge(&self, side: &WriteSide, target: u64, durability: Durability) -> Result<()> {
        if durability == Durability::Always {
            self.sync_through(side, target)?;
        }
        if self.options.maintenance == Maintenance::Callers {
            self.maintain_as_caller(side)?;
        }
        Ok(())
    }

    /// Syncs, or waits for a sync, until the first `target` bytes appended since the open are durable.
    pub(crate) fn sync_through(&self, side: &WriteSide, target: u64) -> Result<()> {
        if side.syncer.synced() >= target {
            return Ok(());
        }
        side.syncer.through(target, || side.check(), || self.sync_log(side))
    }

    /// One sync of the log to its present end, older files first. A failure poisons the store: what the kernel has
    /// done with the unwritten pages nobody knows.
    fn sync_log(&self, side: &WriteSide) -> Result<Covered> {
        let (unsynced, active, covered) = {
            let writer = side.writer();
            let covered = Covered { appended: writer.appended, position: writer.end() };
            (writer.unsynced.clone(), writer.active.clone(), covered)
        };
        for file in &unsynced {
            file.sync().map_err(|error| side.poison(&error))?;
            file.raise_synced_len(file.data_len());
        }
        active.sync().map_err(|error| side.poison(&error))?;
        active.raise_synced_len(covered.position.offset);
        side.writer().unsynced.retain(|file| file.synced_len() < file.data_len());
        Ok(covered)
    }
}

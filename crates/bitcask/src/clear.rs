//! Removing all keys at once, without a tombstone for each.
//!
//! ```text
//! end the merge in progress; let no file be completed, made or removed; make sure that there is a successor
//! lock the writer
//!     rotate to the successor; draw the timestamp of the clear
//!     replace the manifest by one that lists only the file rotated to: from here on a crash leaves no key
//!     take all entries out of the keydir; keep them for snapshots, if there are any
//!     take the other files out of the file table
//! unlock; remove the other files
//! ```
//! The new active file is empty and listed before, so its name is durable. The writer lock is held over the replacement of
//! the manifest: a write acknowledged in between could come before the clear for its reader, and after it on the disk.
//! A crash before the replacement leaves a rotation, one after it unlisted files of lower ids, which the next open removes.

use std::sync::{Arc, PoisonError};

use crate::error::Result;
use crate::events::Event;
use crate::file::data_file::DataFile;
use crate::options::Durability;
use crate::status::ClearReport;
use crate::store::{Store, WriteSide};

impl Store {
    /// Removes all keys.
    pub(crate) fn clear(&self) -> Result<ClearReport> {
        self.check_open()?;
        let side = self.write_side()?;
        let (keys, gone) = self.replace_log(side)?;
        let bytes = gone.iter().map(|file| file.data_len()).sum();
        let not_removed = self.remove_files(&gone);
        let report = ClearReport { keys, files: gone.len() as u64, bytes, not_removed };
        self.events.note(|| Event::Cleared { report: report.clone() });
        // The manifest is durable already.
        self.acknowledge(side, 0, Durability::Os)?;
        Ok(report)
    }

    /// Lets the log begin anew. Returns how many keys there were, and the files that are no part of it any more.
    fn replace_log(&self, side: &WriteSide) -> Result<(u64, Vec<Arc<DataFile>>)> {
        let interruption = side.merge_control.interrupt();
        let _merging = side.merging.lock().unwrap_or_else(PoisonError::into_inner);
        drop(interruption);
        let _sealing = side.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        side.check()?;
        side.check_lock()?;
        let (mut catalog, mut writer) = loop {
            let catalog = self.catalog(side)?;
            let writer = self.writer(side)?;
            if writer.successor.is_some() {
                break (catalog, writer);
            }
            drop(writer);
            drop(catalog);
            self.make_successor(side, 0)?;
        };
        writer.rotate().map_err(|error| side.append_failed(error))?;
        self.rotated(side, &writer);
        let (active, cleared_at) = (writer.active.id(), writer.timestamps.next(&*self.clock));
        let mut manifest = catalog.manifest.clone();
        manifest.files.retain(|listed| listed.id == active);
        manifest.synced = None;
        // Whoever knows the log up to an earlier position must begin anew.
        manifest.merged_through = cleared_at;
        planted!("a clear removes files before it replaces the manifest", self.remove_files(&self.order()));
        let installed = catalog.install(&*self.dir, manifest, cleared_at);
        installed.map_err(|error| side.make_failed(error))?;

        let keys = self.keydir.len();
        let gone: Vec<_> = self.order().extract_if(.., |file| file.id() != active).collect();
        let unseen =
            self.keydir.take_all(|entries| self.versions.keep_all(entries, gone.clone(), cleared_at));
        self.files.remove(&gone);
        writer.forget_older_files();
        writer.space.recount(&self.order());
        drop(writer);
        // Many entries take a while to be freed.
        drop(unseen);
        Ok((keys, gone))
    }
}

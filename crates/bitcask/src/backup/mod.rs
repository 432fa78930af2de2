//! Backups: the store at one moment, in a directory of its own, while the store goes on.
//!
//! ```text
//! lock the target; refuse it if it is not fit; remove what an earlier attempt left
//! give files that were rotated away from their footers
//! lock sealing and catalog: no file becomes complete, is removed, or comes onto the list
//!     lock the writer: note the end of the log; unlock
//!     complete files: keep those that the target has, make hard links of the others
//! unlock
//! copy what could not be linked, from the open files, which stay readable when they are removed:
//!     files without a footer to their length, the active one to the noted end
//! write a last file of the backup's own, with a close marker in it
//! sync all that; sync the store's log to the noted end; sync the directory
//! install the new manifest: see `target`
//! ```
//! The end is noted between two commits, so the backup is the store at that moment. What is in it is durable in the
//! store as well: a power cut cannot leave a backup that knows more than the store it is of.
//!
//! What may be a link of a live file is never written to: not here, since files are staged under new names, and not by
//! who opens the backup for writing, since the log goes on in the backup's own last file. The close marker in that file
//! claims all before it: whatever the backup loses later is reported, never taken for a torn tail.
//!
//! A read-only handle backs up what it sees: the store as it was when it was opened. It takes no lock of the store.

pub(crate) mod copy;
mod moment;
mod restore;
pub(crate) mod target;

use std::path::Path;
use std::sync::PoisonError;

use crate::backup::copy::FileCopy;
use crate::backup::moment::{Moment, Part};
use crate::backup::target::Target;
use crate::error::Result;
use crate::events::Event;
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout;
use crate::format::footer::Footer;
use crate::format::manifest::Manifest;
use crate::progress::{Meter, Watcher};
use crate::recovery::inventory;
use crate::store::Store;
use crate::vfs::{Access, Vfs};

pub use restore::{RestoreReport, restore, restore_with};

#[cfg(test)]
pub(crate) use restore::restore_on;

/// What [`Bitcask::backup`](crate::Bitcask::backup) has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Count of data files in the backup.
    pub files: u64,
    /// Count of those that an earlier backup into the same directory had put there.
    pub kept: u64,
    /// Count of those that are hard links of the store's own: they take no space until the store drops them.
    pub linked: u64,
    /// Count of those that were copied.
    pub copied: u64,
    /// Bytes of all data files in the backup.
    pub bytes: u64,
    /// Bytes of those that were copied.
    pub copied_bytes: u64,
}

/// Backs up an open store to the directory `path`.
pub(crate) fn backup(
    store: &Store,
    vfs: &dyn Vfs,
    path: &Path,
    watcher: Watcher<'_>,
) -> Result<BackupReport> {
    let began = store.clock.monotonic();
    let backed_up = backup_silently(store, vfs, path, watcher);
    if let Ok(BackupReport { files, bytes, copied_bytes, .. }) = backed_up {
        store.events.note(|| Event::BackedUp {
            path: path.to_owned(),
            files,
            bytes,
            copied_bytes,
            took: store.clock.monotonic().saturating_sub(began),
        });
    }
    store.tell_as_caller();
    backed_up
}

fn backup_silently(store: &Store, vfs: &dyn Vfs, path: &Path, watcher: Watcher<'_>) -> Result<BackupReport> {
    store.check_open()?;
    let target = Target::prepare(vfs, &*store.dir, path, store.identity.store)?;
    match stage(store, &target, watcher) {
        Ok((manifest, report)) => target.finish(&manifest).map(|()| report),
        Err(error) => {
            target.discard();
            Err(error)
        }
    }
}

/// Puts everything beside its place, durable. The target is as it was until it is finished.
fn stage(store: &Store, target: &Target, watcher: Watcher<'_>) -> Result<(Manifest, BackupReport)> {
    let (moment, staging) = match &store.write_side {
        Some(side) => {
            // Only complete files can be linked. What cannot be completed now is copied.
            let _ = store.seal_rotated(side);
            let _sealing = side.sealing.lock().unwrap_or_else(PoisonError::into_inner);
            let catalog = side.catalog.lock().unwrap_or_else(PoisonError::into_inner);
            let moment = Moment::of_writer(store, side, &catalog.manifest)?;
            let staging = Staging::begin(store, target, &moment)?;
            (moment, staging)
        }
        None => {
            let moment = Moment::of_reader(store)?;
            let staging = Staging::begin(store, target, &moment)?;
            (moment, staging)
        }
    };
    let Staging { linked, copies, report } = staging;
    let mut meter = Meter::new(report.bytes, watcher);
    meter.add(report.bytes - report.copied_bytes);
    for copy in copies {
        copy.run(target.dir(), target.path(), &mut meter)?;
    }
    for name in linked {
        // Its bytes are another writer's, who may not have synced them yet if this handle is a reader's.
        let synced = target.dir().open(&name, Access::Read).and_then(|file| file.sync());
        synced.map_err(|source| target.failed("sync", &name, source))?;
    }
    if let Some(side) = &store.write_side {
        store.sync_through(side, moment.appended)?;
        side.check()?;
    }
    target.stage_manifest(&moment.manifest)?;
    Ok((moment.manifest, report))
}

/// What goes to the target, and how.
struct Staging {
    /// Names in the target.
    linked: Vec<String>,
    copies: Vec<FileCopy>,
    report: BackupReport,
}

impl Staging {
    /// Makes the links, and lists what is to be copied.
    fn begin(store: &Store, target: &Target, moment: &Moment) -> Result<Self> {
        let mut staging = Self { linked: Vec::new(), copies: Vec::new(), report: BackupReport::default() };
        for Part { file, len, footer } in &moment.parts {
            match footer {
                Some(footer) => staging.complete(store, target, file, *len, footer)?,
                None => {
                    let copy = FileCopy::of_data(file, *len);
                    staging.count_copied(copy.len());
                    staging.copies.push(copy);
                }
            }
        }
        if let Some(end) = &moment.end_file {
            let copy = FileCopy::of_bytes(
                layout::temporary(&layout::data(end.id, store.identity.format)),
                end.bytes.clone(),
            );
            staging.count_copied(copy.len());
            staging.copies.push(copy);
        }
        Ok(staging)
    }

    fn count(&mut self, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
    }

    fn count_copied(&mut self, bytes: u64) {
        self.count(bytes);
        self.report.copied += 1;
        self.report.copied_bytes += bytes;
    }

    fn complete(
        &mut self,
        store: &Store,
        target: &Target,
        file: &DataFile,
        len: u64,
        footer: &Footer,
    ) -> Result<()> {
        let staged = layout::temporary(file.name());
        if target.holds(file, footer) {
            self.count(len);
            self.report.kept += 1;
        } else if store.dir.link_to(file.name(), target.dir(), &staged).is_ok() {
            self.count(len);
            self.report.linked += 1;
            self.linked.push(staged);
        } else {
            self.count_copied(len);
            self.copies.push(FileCopy::of_data(file, len));
        }
        self.hints(store, target, file, footer)
    }

    /// The hint file of a complete file, where the store has one that fits, and the target has not.
    fn hints(&mut self, store: &Store, target: &Target, file: &DataFile, footer: &Footer) -> Result<()> {
        let identity = store.identity.store;
        let binding = inventory::binding(identity, file, footer.data_len, footer.checksum, &store.keydir);
        if Hints::open(target.dir(), &binding).is_some() || Hints::open(&*store.dir, &binding).is_none() {
            return Ok(());
        }
        let name = layout::hint(file.id());
        let staged = layout::temporary(&name);
        if store.dir.link_to(&name, target.dir(), &staged).is_ok() {
            self.linked.push(staged);
        } else {
            // It is only a help: without it the backup's first open reads the data file.
            self.copies.extend(FileCopy::of_hints(&*store.dir, &name));
        }
        Ok(())
    }
}

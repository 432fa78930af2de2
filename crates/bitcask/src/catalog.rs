//! The list of the store's files: the manifest in memory and on disk, and how a file comes onto it.
//!
//! ```text
//! make a file:  create it, its id reserved before; sync it; sync the directory
//!               replace the manifest by one that lists it and reserves the next id
//! ```
//! A file is listed before a record is written to it, and its name is durable before it is listed.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::file::manifest_file;
use crate::file::replace::ReplaceError;
use crate::format::file_header::FileHeader;
use crate::format::manifest::{Identity, ListedFile, Manifest};
use crate::format::position::FileId;
use crate::location::Slot;
use crate::vfs::{self, Dir};
use crate::writer::{Placement, allocation_for};

pub(crate) struct Catalog {
    pub(crate) manifest: Manifest,
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

impl Catalog {
    pub(crate) fn new(manifest: Manifest) -> Self {
        Self { manifest }
    }

    /// Makes an empty data file and lists it at the end of the log.
    pub(crate) fn make_file(
        &mut self,
        dir: &dyn Dir,
        identity: &Identity,
        slot: Slot,
        placement: Placement,
        last_timestamp: u64,
    ) -> Result<Arc<DataFile>, MakeError> {
        // The one id that is reserved and not listed.
        let id = FileId(self.manifest.next_file.0 - 1);
        let file = create(dir, identity, id, Vec::new(), slot, placement).map_err(MakeError::Undone)?;
        let failed = |source| Error::io("sync", "the store's directory", source);
        let synced = planted!("the name of a new file is not synced", Ok(()), dir.sync());
        if let Err(error) = synced.map_err(failed) {
            return Err(MakeError::InDoubt(error));
        }
        let mut manifest = self.manifest.clone();
        manifest.files.push(ListedFile { id, clean: 0 });
        manifest.next_file = FileId(id.0 + 2);
        planted!("the number of a file is given again", manifest.next_file = id);
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

    /// Makes an empty data file that will replace the files `inputs`. It is not listed before it is complete, so its id is
    /// reserved first: until then it is a leftover to whoever opens the store.
    pub(crate) fn make_output(
        &mut self,
        dir: &dyn Dir,
        identity: &Identity,
        slot: Slot,
        inputs: Vec<FileId>,
        last_timestamp: u64,
    ) -> Result<Arc<DataFile>, MakeError> {
        let id = FileId(self.manifest.next_file.0 - 1);
        let manifest = Manifest { next_file: FileId(id.0 + 2), ..self.manifest.clone() };
        self.install(dir, manifest, last_timestamp)?;
        create(dir, identity, id, inputs, slot, Placement::Written).map_err(MakeError::Undone)
    }

    /// Replaces the manifest on disk and in memory.
    pub(crate) fn install(
        &mut self,
        dir: &dyn Dir,
        mut manifest: Manifest,
        last_timestamp: u64,
    ) -> Result<(), MakeError> {
        manifest.generation += 1;
        planted!("the timestamp of a clear is forgotten", let last_timestamp = 0);
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
    identity: &Identity,
    id: FileId,
    inputs: Vec<FileId>,
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
        inputs,
    };
    let name = layout::data(id, identity.format);
    vfs::remove_if_present(dir, &name).map_err(|source| Error::io("remove", &name, source))?;
    let map_len = match placement {
        Placement::Mapped { map_len } => map_len,
        Placement::Written => 0,
    };
    let file = DataFile::create(dir, header, slot, map_len)?;
    if matches!(placement, Placement::Mapped { .. }) {
        let allocated = file.allocate(allocation_for(file.first_record(), 0, map_len));
        if let Err(error) = allocated {
            let _ = dir.remove(&name);
            return Err(error);
        }
    }
    Ok(file)
}

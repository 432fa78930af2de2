//! The manifest on disk: read whole, replaced whole.
//!
//! ```text
//! replace:  write the old content to MANIFEST.bak.tmp; sync; rename to MANIFEST.bak
//!           write the new content to MANIFEST.tmp;     sync; rename to MANIFEST
//!           sync the directory
//! ```
//! There is a whole MANIFEST at every moment. What it lists must be durable, names included, before it is replaced.

use crate::error::{Error, Result};
use crate::file::layout;
use crate::format::manifest::Manifest;
use crate::vfs::{self, Access, Dir};

/// A manifest larger than this is not read: about four million files.
const LEN_MAX: u64 = 64 << 20;

/// How far a replacement got before it failed.
pub(crate) enum ReplaceError {
    /// The old manifest stands, and nothing is in doubt.
    Unchanged(Error),
    /// A sync failed: which manifest a crash would leave is unknown.
    InDoubt(Error),
}

/// Reads the manifest; `None` when there is none.
pub(crate) fn read(dir: &dyn Dir) -> Result<Option<Manifest>> {
    let Some(bytes) = read_whole(dir, layout::MANIFEST)? else { return Ok(None) };
    Manifest::decode(&bytes).map(Some).map_err(|defect| defect.at(layout::MANIFEST, 0))
}

/// Makes `new` the manifest.
pub(crate) fn replace(dir: &dyn Dir, new: &Manifest) -> Result<(), ReplaceError> {
    if let Some(old) = read_whole(dir, layout::MANIFEST).map_err(ReplaceError::Unchanged)? {
        put_in_place(dir, layout::MANIFEST_BACKUP, &old)?;
    }
    put_in_place(dir, layout::MANIFEST, &new.encode())?;
    dir.sync().map_err(|source| ReplaceError::InDoubt(Error::io("sync", "the store's directory", source)))
}

fn put_in_place(dir: &dyn Dir, name: &str, bytes: &[u8]) -> Result<(), ReplaceError> {
    let temporary = layout::temporary(name);
    let failed = |operation| {
        let temporary = temporary.clone();
        move |source| Error::io(operation, temporary, source)
    };
    let file = match dir.create(&temporary) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            dir.remove(&temporary).and_then(|()| dir.create(&temporary))
        }
        created => created,
    };
    let file = file.map_err(failed("create")).map_err(ReplaceError::Unchanged)?;
    vfs::write_all_at(&*file, bytes, 0).map_err(failed("write")).map_err(ReplaceError::Unchanged)?;
    file.sync().map_err(failed("sync")).map_err(ReplaceError::InDoubt)?;
    dir.rename(&temporary, name).map_err(failed("rename")).map_err(ReplaceError::Unchanged)
}

fn read_whole(dir: &dyn Dir, name: &str) -> Result<Option<Vec<u8>>> {
    let file = match dir.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", name, error)),
    };
    let len = file.len().map_err(|source| Error::io("measure", name, source))?;
    if len > LEN_MAX {
        return Err(Error::corruption(name, LEN_MAX, "it is larger than any manifest"));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    vfs::read_exact_at(&*file, &mut bytes, 0).map_err(|source| Error::io("read", name, source))?;
    Ok(Some(bytes))
}

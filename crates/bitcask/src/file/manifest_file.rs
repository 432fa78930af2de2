//! The manifest on disk: read whole, replaced whole.
//!
//! ```text
//! replace MANIFEST.bak by the old content
//! replace MANIFEST by the new content
//! sync the directory
//! ```
//! There is a whole MANIFEST at every moment. What it lists must be durable, names included, before it is replaced.

use crate::error::{Error, Result};
use crate::file::layout;
use crate::file::replace::{self, ReplaceError};
use crate::format::manifest::Manifest;
use crate::vfs::{self, Access, Dir};

/// A manifest larger than this is not read: about four million files.
const LEN_MAX: u64 = 64 << 20;

/// Reads the manifest; `None` when there is none.
pub(crate) fn read(dir: &dyn Dir) -> Result<Option<Manifest>> {
    let Some(bytes) = read_whole(dir, layout::MANIFEST)? else { return Ok(None) };
    Manifest::decode(&bytes).map(Some).map_err(|defect| defect.at(layout::MANIFEST, 0))
}

/// Reads the manifest that was to replace the present one; `None` when there is none, or not a whole one.
pub(crate) fn read_staged(dir: &dyn Dir) -> Result<Option<Manifest>> {
    let bytes = read_whole(dir, &layout::temporary(layout::MANIFEST))?;
    Ok(bytes.and_then(|bytes| Manifest::decode(&bytes).ok()))
}

/// Reads the manifest before the present one, which may be damaged or missing.
pub(crate) fn read_backup(dir: &dyn Dir) -> Result<Option<Manifest>> {
    let bytes = read_whole(dir, layout::MANIFEST_BACKUP)?;
    Ok(bytes.and_then(|bytes| Manifest::decode(&bytes).ok()))
}

/// Makes `new` the manifest.
pub(crate) fn replace(dir: &dyn Dir, new: &Manifest) -> Result<(), ReplaceError> {
    if let Some(old) = read_whole(dir, layout::MANIFEST).map_err(ReplaceError::Unchanged)? {
        replace::replace(dir, layout::MANIFEST_BACKUP, &[&old])?;
    }
    replace::replace(dir, layout::MANIFEST, &[&new.encode()])?;
    dir.sync().map_err(|source| ReplaceError::InDoubt(Error::io("sync", "the store's directory", source)))
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

//! The manifest on disk: read whole, replaced whole.
//!
//! ```text
//! stage the old content as MANIFEST.bak.tmp
//! replace MANIFEST by the new content
//! sync the directory
//! rename MANIFEST.bak.tmp to MANIFEST.bak
//! ```
//! There is a whole MANIFEST at every moment. What it lists must be durable, names included, before it is replaced.
//!
//! Who made the first MANIFEST may have been killed before its name was durable, so MANIFEST.bak gets its name last: a power
//! cut that kept that name and not the other would leave a store that looks as if its manifest had been taken away.

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
    let old = read_whole(dir, layout::MANIFEST).map_err(ReplaceError::Unchanged)?;
    if let Some(old) = &old {
        replace::stage(dir, layout::MANIFEST_BACKUP, &[old])?;
    }
    replace::replace(dir, layout::MANIFEST, &[&new.encode()])?;
    let synced = planted!("the name of a manifest is not synced", Ok(()), dir.sync());
    synced.map_err(|source| ReplaceError::InDoubt(Error::io("sync", "the store's directory", source)))?;
    if old.is_some() {
        // The new manifest is in use, and nothing reads the old one but who mends a store by hand. If it cannot have its
        // name, the one before it stays.
        let _ = dir.rename(&layout::temporary(layout::MANIFEST_BACKUP), layout::MANIFEST_BACKUP);
    }
    Ok(())
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

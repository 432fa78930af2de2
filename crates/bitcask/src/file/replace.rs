//! Replacing a whole file in one step: a reader finds the old content or the new, never a part.
//!
//! ```text
//! write NAME.tmp; sync it; rename it to NAME
//! ```
//! The new name is durable only after the directory's sync, which is the caller's.

use std::io;

use super::layout;
use crate::error::Error;
use crate::vfs::{self, Dir};

/// How far a replacement got before it failed.
pub(crate) enum ReplaceError {
    /// The old content stands, and nothing is in doubt.
    Unchanged(Error),
    /// A sync failed: what a crash would leave is unknown.
    InDoubt(Error),
}

impl ReplaceError {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Unchanged(error) | Self::InDoubt(error) => error,
        }
    }
}

/// Gives the file `name` the content `parts`, one behind the other.
pub(crate) fn replace(dir: &dyn Dir, name: &str, parts: &[&[u8]]) -> Result<(), ReplaceError> {
    stage(dir, name, parts)?;
    let temporary = layout::temporary(name);
    let renamed = dir.rename(&temporary, name);
    renamed.map_err(|source| ReplaceError::Unchanged(Error::io("rename", temporary, source)))
}

/// Does all of [`replace`] but the renaming.
pub(crate) fn stage(dir: &dyn Dir, name: &str, parts: &[&[u8]]) -> Result<(), ReplaceError> {
    let temporary = layout::temporary(name);
    let failed = |operation| {
        let temporary = temporary.clone();
        move |source: io::Error| Error::io(operation, temporary, source)
    };
    // A write that was cut short may have left one behind.
    let created = vfs::remove_if_present(dir, &temporary).and_then(|()| dir.create(&temporary));
    let file = created.map_err(failed("create")).map_err(ReplaceError::Unchanged)?;
    let mut offset = 0;
    for part in parts {
        vfs::write_all_at(&*file, part, offset).map_err(failed("write")).map_err(ReplaceError::Unchanged)?;
        offset += part.len() as u64;
    }
    planted!("a replacement is renamed before it is synced", return Ok(()));
    file.sync().map_err(failed("sync")).map_err(ReplaceError::InDoubt)
}

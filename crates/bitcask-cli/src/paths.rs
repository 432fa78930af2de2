//! Where a path really leads, so that an import does not read the store it fills and an export does not write into the
//! store it reads.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The path without symbolic links and `..`, also where its last parts do not exist yet.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(|source| Failure::io("find", path, source))?;
    resolve_absolute(&absolute).map_err(|source| Failure::io("find", path, source))
}

fn resolve_absolute(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(resolve_absolute(parent)?.join(name))
        }
        (result, _, _) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_yet_resolves_below_what_does() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(resolve(&dir.path().join("a/b")).unwrap(), real.join("a/b"));
        assert_eq!(resolve(&dir.path().join(".")).unwrap(), real);
    }
}

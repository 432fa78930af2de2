//! A directory tree as a source: every regular file is an entry.
//!
//! The key is the path relative to the root, with `/` between its parts; on Unix names may be any bytes. Symbolic links
//! are not followed and, like sockets, pipes and devices, are skipped and counted. Directories are no entries, so empty
//! ones are not kept.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{Entry, Source};
use crate::bytes::os_bytes;
use crate::failure::Failure;
use crate::paths::resolve;

/// Reads entries, one file at a time.
pub(crate) struct TreeReader {
    root: PathBuf,
    walk: walkdir::IntoIter,
    /// The store that is being filled, relative to the root, when it lies below it: it would never end.
    store: Option<PathBuf>,
    max_value_size: u64,
    path: PathBuf,
    position: u64,
    skipped: u64,
}

impl TreeReader {
    /// The tree below `root`, without the store in `store`. Files longer than `max_value_size` are a failure.
    pub(crate) fn new(root: &Path, store: &Path, max_value_size: u64) -> Result<Self, Failure> {
        let is_dir = root.metadata().map_err(|source| Failure::io("read", root, source))?.is_dir();
        if !is_dir {
            return Err(Failure::io("read", root, io::ErrorKind::NotADirectory.into()));
        }
        let store = resolve(store)?.strip_prefix(resolve(root)?).map(Path::to_path_buf).ok();
        if store.as_deref() == Some(Path::new("")) {
            return Err(Failure::Usage(format!("{} is the store itself", root.display())));
        }
        Ok(Self {
            root: root.to_owned(),
            walk: WalkDir::new(root).into_iter(),
            store,
            max_value_size,
            path: root.to_owned(),
            position: 0,
            skipped: 0,
        })
    }

    /// The next regular file of the tree.
    fn next_file(&mut self) -> Result<Option<DirEntry>, Failure> {
        while let Some(found) = self.walk.next() {
            let found = found.map_err(|error| walk_failure(error, &self.root))?;
            if found.file_type().is_dir() {
                if self.store.as_deref().is_some_and(|store| self.relative(&found) == store) {
                    self.walk.skip_current_dir();
                    self.skipped += 1;
                }
            } else if found.file_type().is_file() {
                return Ok(Some(found));
            } else {
                self.skipped += 1;
            }
        }
        Ok(None)
    }

    fn relative<'a>(&self, found: &'a DirEntry) -> &'a Path {
        found.path().strip_prefix(&self.root).unwrap_or(found.path())
    }

    /// The whole content, never more than the limit.
    fn read(&self) -> Result<Vec<u8>, Failure> {
        let io_failure = |source| Failure::io("read", &self.path, source);
        let file = File::open(&self.path).map_err(io_failure)?;
        let len = file.metadata().map_err(io_failure)?.len();
        if len > self.max_value_size {
            return Err(self.too_long(len));
        }
        let mut value = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        // A file may grow while it is read.
        file.take(self.max_value_size.saturating_add(1)).read_to_end(&mut value).map_err(io_failure)?;
        if value.len() as u64 > self.max_value_size {
            return Err(self.too_long(value.len() as u64));
        }
        Ok(value)
    }

    fn too_long(&self, len: u64) -> Failure {
        let what = format!(
            "the file has {len} bytes, a value at most {}: give --max-value-size",
            self.max_value_size
        );
        Failure::Input { place: self.place(), what }
    }
}

impl Source for TreeReader {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        let Some(found) = self.next_file()? else {
            return Ok(None);
        };
        self.path = found.path().to_owned();
        let key = key_of(self.relative(&found)).ok_or_else(|| Failure::Input {
            place: self.place(),
            what: "the name is not Unicode, so there is no key for it".to_owned(),
        })?;
        let value = self.read()?;
        self.position += value.len() as u64;
        Ok(Some(Entry { key, value, expires_at: None }))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn position(&self) -> u64 {
        self.position
    }

    /// Walks the whole tree once more; what cannot be read is left to the import to report.
    fn total(&self) -> Option<u64> {
        let lens = WalkDir::new(&self.root)
            .into_iter()
            .filter_entry(|found| self.store.as_deref().is_none_or(|store| self.relative(found) != store))
            .filter_map(Result::ok)
            .filter(|found| found.file_type().is_file())
            .filter_map(|found| found.metadata().ok());
        Some(lens.map(|metadata| metadata.len()).sum())
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

fn key_of(path: &Path) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for component in path.components() {
        if !key.is_empty() {
            key.push(b'/');
        }
        key.extend_from_slice(&os_bytes(component.as_os_str())?);
    }
    Some(key)
}

fn walk_failure(error: walkdir::Error, root: &Path) -> Failure {
    let path = error.path().unwrap_or(root).to_owned();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("the tree has a loop"));
    Failure::io("read", &path, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{entries, entry};

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/c"), "1").unwrap();
        std::fs::write(root.join("d"), "").unwrap();
        (dir, root)
    }

    #[test]
    fn keys_are_relative_paths_and_the_store_is_left_out() {
        let (_dir, root) = tree();
        std::fs::create_dir_all(root.join("a/store")).unwrap();
        std::fs::write(root.join("a/store/0000000001.data"), "data").unwrap();
        let mut reader = TreeReader::new(&root, &root.join("a/store"), 100).unwrap();
        assert_eq!(reader.total(), Some(1));
        let mut found = entries(&mut reader).unwrap();
        found.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(found, [entry(b"a/b/c", b"1"), entry(b"d", b"")]);
        assert_eq!((reader.position(), reader.skipped()), (1, 1));
    }

    #[test]
    fn the_store_itself_is_no_tree() {
        let (_dir, root) = tree();
        assert!(matches!(TreeReader::new(&root, &root.join("../tree"), 100), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_file_over_the_limit_is_named_with_the_remedy() {
        let (_dir, root) = tree();
        std::fs::write(root.join("a/b/c"), "12345").unwrap();
        let mut reader = TreeReader::new(&root, Path::new("elsewhere"), 4).unwrap();
        let failure = loop {
            match reader.next_entry() {
                Ok(entry) => assert!(entry.is_some()),
                Err(failure) => break failure.to_string(),
            }
        };
        assert!(failure.contains("a/b/c: the file has 5 bytes, a value at most 4: give --max-value-size"));
    }
}

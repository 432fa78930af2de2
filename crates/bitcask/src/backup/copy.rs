//! Copying a file that may be open, growing, or without a name by now.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::progress::Meter;
use crate::vfs::{self, Access, Dir, File};

/// How much is copied at once.
const PIECE: usize = 1 << 20;

/// A file to be made: the front of another one, or bytes.
pub(crate) struct FileCopy {
    /// The file to be made.
    name: String,
    source: Source,
    /// Whether its bytes are among those that the meter counts.
    is_counted: bool,
}

enum Source {
    File { name: String, file: Arc<dyn File>, len: u64 },
    Bytes(Vec<u8>),
}

impl FileCopy {
    /// The first `len` bytes of a data file, beside its place.
    pub(crate) fn of_data(file: &DataFile, len: u64) -> Self {
        let source = Source::File { name: file.name().to_owned(), file: file.file(), len };
        Self { name: layout::temporary(file.name()), source, is_counted: true }
    }

    pub(super) fn of_bytes(name: String, bytes: Vec<u8>) -> Self {
        Self { name, source: Source::Bytes(bytes), is_counted: true }
    }

    /// A whole hint file, beside its place, if it can be opened.
    pub(super) fn of_hints(dir: &dyn Dir, name: &str) -> Option<Self> {
        let file = dir.open(name, Access::Read).ok()?;
        let len = file.len().ok()?;
        let source = Source::File { name: name.to_owned(), file, len };
        Some(Self { name: layout::temporary(name), source, is_counted: false })
    }

    /// The same copy, in its place.
    pub(super) fn in_place(mut self) -> Self {
        if let Source::File { name, .. } = &self.source {
            self.name.clone_from(name);
        }
        self
    }

    /// The same copy, under this name.
    pub(crate) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Bytes of the file to be made.
    pub(crate) fn len(&self) -> u64 {
        match &self.source {
            Source::File { len, .. } => *len,
            Source::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes that a meter will have counted when the copy is made.
    pub(super) fn counted_len(&self) -> u64 {
        if self.is_counted { self.len() } else { 0 }
    }

    /// Makes the file in `dir`, which lies at `path`, and syncs it.
    pub(crate) fn run(&self, dir: &dyn Dir, path: &Path, meter: &mut Meter<'_>) -> Result<()> {
        let failed = |operation| {
            let file = path.join(&self.name).display().to_string();
            move |source| Error::io(operation, file, source)
        };
        let made = dir.create(&self.name).map_err(failed("create"))?;
        let mut count = |bytes: usize| {
            if self.is_counted {
                meter.add(bytes as u64);
            }
        };
        match &self.source {
            Source::Bytes(bytes) => {
                vfs::write_all_at(&*made, bytes, 0).map_err(failed("write"))?;
                count(bytes.len());
            }
            Source::File { name, file, len } => {
                let mut buffer = vec![0; usize::try_from(*len).unwrap_or(PIECE).min(PIECE)];
                let mut at = 0;
                while at < *len {
                    let piece = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
                    let piece = &mut buffer[..piece];
                    vfs::read_exact_at(&**file, piece, at)
                        .map_err(|source| Error::io("read", name, source))?;
                    vfs::write_all_at(&*made, piece, at).map_err(failed("write"))?;
                    at += piece.len() as u64;
                    count(piece.len());
                }
            }
        }
        planted!("copies are not synced", return Ok(()));
        made.sync().map_err(failed("sync"))
    }
}

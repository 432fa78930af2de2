//! A file, or standard input, that entries are read from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::Failure;

/// An open input, with the name that failures give it.
pub(crate) struct Input {
    reader: Box<dyn Read>,
    name: String,
    len: Option<u64>,
}

impl Input {
    /// `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self {
                reader: Box::new(io::stdin().lock()),
                name: "standard input".to_owned(),
                len: None,
            });
        }
        let open = || -> io::Result<(File, Option<u64>)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        let (file, len) = open().map_err(|source| Failure::io("read", path, source))?;
        Ok(Self { reader: Box::new(file), name: path.display().to_string(), len })
    }

    /// These bytes, for tests.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { reader: Box::new(io::Cursor::new(bytes.to_vec())), name: "test".to_owned(), len: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The length in bytes, unless it is a pipe or a terminal.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

//! A file of the source, read by position. It is opened without following a link and never written or locked.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use crc32fast::Hasher;

use crate::failure::Failure;

/// How much is read at once; the longest slice that [`SourceFile::bytes`] gives.
pub(super) const WINDOW_LEN: usize = 1 << 18;

/// An open file and the part of it that was read last. All offsets are from the start of the file.
pub(super) struct SourceFile {
    file: File,
    place: String,
    len: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl SourceFile {
    /// Opens the regular file of this name; `place` is what failures call it.
    pub(super) fn open(dir: &Dir, name: &str, place: String) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No);
        let open = || {
            let file = dir.open_with(name, &options)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no regular file"));
            }
            Ok((file.into_std(), metadata.len()))
        };
        match open() {
            Ok((file, len)) => Ok(Self { file, place, len, window: Vec::new(), window_offset: 0 }),
            Err(source) => Err(Failure::Io { operation: "read", what: place, source }),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The length when the file was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// At most [`WINDOW_LEN`] bytes, which must lie inside the file.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Failure> {
        if self.in_window(offset, len).is_none() {
            let window_len = usize_or_max(self.len.saturating_sub(offset)).min(WINDOW_LEN);
            let mut window = std::mem::take(&mut self.window);
            window.resize(window_len, 0);
            self.read(offset, &mut window)?;
            (self.window, self.window_offset) = (window, offset);
        }
        let range = self.in_window(offset, len).ok_or_else(|| self.too_short())?;
        Ok(&self.window[range])
    }

    fn in_window(&self, offset: u64, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(offset.checked_sub(self.window_offset)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.window.len()).then_some(start..end)
    }

    /// So many bytes as an array, which must lie inside the file.
    pub(super) fn array<const LEN: usize>(&mut self, offset: u64) -> Result<[u8; LEN], Failure> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.bytes(offset, LEN)?);
        Ok(array)
    }

    /// Fills the buffer past the window, for reads that are not in order and for long ones.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let mut file = &self.file;
        let result = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer));
        result.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.too_short(),
            _ => Failure::Io { operation: "read", what: self.place.clone(), source },
        })
    }

    /// The CRC-32 of a range, which must lie inside the file. Needs no more memory for a long one.
    pub(super) fn checksum(&mut self, range: Range<u64>) -> Result<u32, Failure> {
        let mut hasher = Hasher::new();
        let mut offset = range.start;
        while offset < range.end {
            let len = usize_or_max(range.end - offset).min(WINDOW_LEN);
            hasher.update(self.bytes(offset, len)?);
            offset += len as u64;
        }
        Ok(hasher.finalize())
    }

    fn too_short(&self) -> Failure {
        Failure::Input {
            place: self.place.clone(),
            what: "the file became shorter while it was read: stop what writes it, then import again"
                .to_owned(),
        }
    }
}

pub(super) fn usize_or_max(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

//! The file that a merge makes: written in large pieces, synced on the way.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::format::codec::{Codec, Prepared};
use crate::format::record::RecordHeader;

/// How much is gathered before it is written.
const PIECE: usize = 1 << 20;
/// How much is written before it is synced: the sync at the end, for which nobody should wait long, has little to do.
const SYNC_EVERY: u64 = 4 << 20;

/// An output that is being written. Nothing refers to it before it is complete and synced.
pub(crate) struct Output {
    pub(crate) file: Arc<DataFile>,
    buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    written: u64,
    synced: u64,
}

impl Output {
    /// An output in a file that holds its header only.
    pub(crate) fn new(file: Arc<DataFile>) -> Self {
        let written = file.first_record();
        Self { file, buffer: Vec::new(), written, synced: written }
    }

    /// Where the next record goes.
    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a record about a key, whose value has kept its checksum.
    pub(crate) fn append(&mut self, header: &RecordHeader, key: &[u8], value: &[u8]) -> Result<()> {
        let offset = self.check_offset()?;
        let prepared = Prepared::carried(self.file.format(), header, key, value);
        let rest = self.file.codec().encode(header, offset, key, value, &prepared, &mut self.buffer);
        self.extend(rest)
    }

    /// Appends the front of a record. Its value follows by [`Output::extend`].
    pub(crate) fn append_front(&mut self, header: &RecordHeader, key: &[u8]) -> Result<()> {
        let offset = self.check_offset()?;
        match self.file.codec() {
            Codec::Binary(seed) => header.encode_front(seed, offset, key, &mut self.buffer),
            // A scan hands over every line whole.
            Codec::Text(_) => debug_assert!(false, "a line has no front of its own"),
        }
        self.flush_from(PIECE)
    }

    /// Appends a record of the log's own.
    pub(crate) fn append_log(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<()> {
        let offset = self.check_offset()?;
        self.file.codec().encode_log(header.kind, header.timestamp, offset, payload, &mut self.buffer);
        self.flush_from(PIECE)
    }

    /// Where the next record goes, which must be where a location can lead.
    fn check_offset(&self) -> Result<u64> {
        let offset = self.offset();
        match u32::try_from(offset) {
            Ok(_) => Ok(offset),
            Err(_) => Err(Error::Full {
                what: "the output of a merge",
                remedy: "lower max_file_size: what a merge keeps must lie below 4 GiB",
            }),
        }
    }

    /// Appends bytes of a value.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_from(PIECE)
    }

    /// Writes all that is gathered.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.flush_from(1)
    }

    fn flush_from(&mut self, len: usize) -> Result<()> {
        if self.buffer.len() < len {
            return Ok(());
        }
        self.file.write(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.synced >= SYNC_EVERY {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }
}

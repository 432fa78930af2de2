//! An entry of a data file: header, key, value. All integers are big-endian.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32 (zlib) of all that follows, to the end of the value
//!      4      4  timestamp, seconds since 1970
//!      8      2  length of the key
//!     10      4  length of the value
//!     14         key, then value
//! ```
//!
//! There is nothing in front of the first entry and nothing between two: a file is its entries.

use std::ops::Range;

use crc32fast::Hasher;

use super::file::SourceFile;
use crate::failure::Failure;

pub(super) const HEADER_LEN: u64 = 14;
/// What the checksum does not cover: itself.
pub(super) const CHECKSUM_LEN: u64 = 4;

/// What stands in front of a key and its value. Nothing of it is proven before the checksum of the whole entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) checksum: u32,
    pub(super) timestamp: u32,
    pub(super) key_len: u16,
    pub(super) value_len: u32,
}

impl Header {
    pub(super) fn decode(bytes: [u8; 14]) -> Self {
        let [c0, c1, c2, c3, t0, t1, t2, t3, k0, k1, v0, v1, v2, v3] = bytes;
        Self {
            checksum: u32::from_be_bytes([c0, c1, c2, c3]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            key_len: u16::from_be_bytes([k0, k1]),
            value_len: u32::from_be_bytes([v0, v1, v2, v3]),
        }
    }

    /// Reads the header at this offset; `None` when the file ends before the header or the announced entry does.
    pub(super) fn read(file: &mut SourceFile, offset: u64) -> Result<Option<Self>, Failure> {
        if file.len().saturating_sub(offset) < HEADER_LEN {
            return Ok(None);
        }
        let header = Self::decode(file.array(offset)?);
        Ok((header.end(offset) <= file.len()).then_some(header))
    }

    /// The length of the whole entry.
    pub(super) fn entry_len(&self) -> u64 {
        HEADER_LEN + u64::from(self.key_len) + u64::from(self.value_len)
    }

    /// Where an entry that begins at this offset ends.
    pub(super) fn end(&self, offset: u64) -> u64 {
        offset.saturating_add(self.entry_len())
    }

    /// What the checksum covers of an entry that begins at this offset.
    pub(super) fn covered(&self, offset: u64) -> Range<u64> {
        offset + CHECKSUM_LEN..self.end(offset)
    }

    /// Where the value lies of an entry that begins at this offset.
    pub(super) fn value_offset(&self, offset: u64) -> u64 {
        offset + HEADER_LEN + u64::from(self.key_len)
    }

    /// The checksum that the header would need in front of these bytes of key and value.
    pub(super) fn checksum_with(&self, content: u32, content_len: u64) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.timestamp.to_be_bytes());
        hasher.update(&self.key_len.to_be_bytes());
        hasher.update(&self.value_len.to_be_bytes());
        hasher.combine(&Hasher::new_with_initial_len(content, content_len));
        hasher.finalize()
    }
}

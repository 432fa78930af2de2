//! What a value says: Bitcask has no flag for a deletion, it stores a value of a certain form.
//!
//! ```text
//! version 0  bitcask_tombstone
//! version 1  bitcask_tombstone1, then a file id of 4 bytes
//! version 2  bitcask_tombstone2, then a file id of 4 bytes
//! ```
//!
//! Bitcask takes every value that begins so for a tombstone, and thereby deletes what somebody stored. Here the form and
//! the length must be exact. A value of just these bytes cannot be told from a tombstone, by anybody.

use super::entry::Header;
use super::file::{SourceFile, usize_or_max};
use crate::failure::Failure;

const PREFIX: &[u8] = b"bitcask_tombstone";
const FILE_ID_LEN: usize = 4;
/// The length of versions 1 and 2.
const MAX_LEN: usize = PREFIX.len() + 1 + FILE_ID_LEN;

/// The forms of a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V0,
    V1,
    V2,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    /// A value that begins like a tombstone and is none. Bitcask itself would not show it.
    LikeTombstone,
    Tombstone(Version),
}

impl Kind {
    /// Reads as much of the value as it takes to tell.
    pub(super) fn read(file: &mut SourceFile, offset: u64, header: &Header) -> Result<Self, Failure> {
        let len = usize_or_max(u64::from(header.value_len));
        Ok(Self::of(file.bytes(header.value_offset(offset), len.min(MAX_LEN + 1))?))
    }

    /// `value` may be cut behind the longest tombstone.
    fn of(value: &[u8]) -> Self {
        match value.strip_prefix(PREFIX) {
            None => Self::Value,
            Some([]) => Self::Tombstone(Version::V0),
            Some([b'1', id @ ..]) if id.len() == FILE_ID_LEN => Self::Tombstone(Version::V1),
            Some([b'2', id @ ..]) if id.len() == FILE_ID_LEN => Self::Tombstone(Version::V2),
            Some(_) => Self::LikeTombstone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_forms_are_tombstones() {
        let cases: [(&[u8], Kind); 10] = [
            (b"", Kind::Value),
            (b"bitcask_tombston", Kind::Value),
            (b"x bitcask_tombstone", Kind::Value),
            (b"bitcask_tombstone", Kind::Tombstone(Version::V0)),
            (b"bitcask_tombstone1\0\0\0\x07", Kind::Tombstone(Version::V1)),
            (b"bitcask_tombstone2\xff\0\0\x07", Kind::Tombstone(Version::V2)),
            (b"bitcask_tombstone2\0\0\0", Kind::LikeTombstone),
            (b"bitcask_tombstone2\0\0\0\x07x", Kind::LikeTombstone),
            (b"bitcask_tombstone3\0\0\0\x07", Kind::LikeTombstone),
            (b"bitcask_tombstones of Rome", Kind::LikeTombstone),
        ];
        for (value, kind) in cases {
            assert_eq!(Kind::of(value), kind, "{}", value.escape_ascii());
        }
    }
}

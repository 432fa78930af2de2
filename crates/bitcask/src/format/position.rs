//! A position in the log: the payload of sync markers, close markers and links.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | file id |
//! | 8 | offset in that file |

use std::fmt;

use super::Reader;

/// The number of a data file, given once and never again in the life of a store. It names the file; it does not
/// order it: the log's order is the manifest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(pub(crate) u64);

impl FileId {
    /// Stands for *no file*: what the first file of a store names as its predecessor.
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const FIRST: Self = Self(1);
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place between two bytes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogPosition {
    pub(crate) file: FileId,
    pub(crate) offset: u64,
}

/// Bytes of an encoded position.
pub(crate) const LEN: usize = 16;

impl LogPosition {
    /// Before the first file.
    pub(crate) const START: Self = Self { file: FileId::NONE, offset: 0 };

    pub(crate) fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (file, offset) = bytes.split_at_mut(8);
        file.copy_from_slice(&self.file.0.to_le_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// `None` when `bytes` are not [`LEN`] bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let position = Self { file: FileId(reader.u64()?), offset: reader.u64()? };
        reader.is_empty().then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_and_other_lengths_do_not() {
        let position = LogPosition { file: FileId(7), offset: 1 << 40 };
        assert_eq!(LogPosition::decode(&position.encode()), Some(position));
        assert_eq!(LogPosition::decode(&position.encode()[..15]), None);
        assert_eq!(LogPosition::decode(&[0; 17]), None);
    }
}

//! The bytes on disk: one file for each layout, with its table, its `encode` and its `decode`.
//!
//! Integers are little-endian. Nothing here opens a file, and nothing decoded here is believed before its
//! checksum fits. `docs/format.md` explains the layouts with real bytes; a test of this folder parses them.

pub(crate) mod batch;
pub(crate) mod checksum;
pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod file_header;
pub(crate) mod footer;
pub(crate) mod hint;
pub(crate) mod manifest;
mod payload;
pub(crate) mod position;
pub(crate) mod record;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::fmt;

use crate::error::Error;

/// Number of the format that this version writes and the only one it reads.
pub(crate) const VERSION: u32 = 1;

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// They are not what they should be: a checksum, a magic number or a length does not fit.
    Damaged(String),
    /// They are whole, but of a version, kind or flag that this version does not know.
    Newer(String),
    /// They are whole, but what is in them takes a cargo feature that this build does not have.
    MissingFeature(&'static str),
}

impl Defect {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn newer(what: impl Into<String>) -> Self {
        Self::Newer(what.into())
    }

    /// As it is told of a line with this number.
    pub(crate) fn on_line(self, line: Option<u64>) -> Self {
        let Some(line) = line else { return self };
        match self {
            Self::Damaged(what) => Self::Damaged(format!("line {line}: {what}")),
            Self::Newer(what) => Self::Newer(format!("line {line}: {what}")),
            Self::MissingFeature(feature) => Self::MissingFeature(feature),
        }
    }

    /// The public error for this defect at `offset` of `file`.
    pub(crate) fn at(self, file: &str, offset: u64) -> Error {
        match self {
            Self::Damaged(what) => Error::corruption(file, offset, what),
            Self::Newer(what) => Error::newer(file, offset, what),
            Self::MissingFeature(feature) => Error::MissingFeature { file: file.to_owned(), offset, feature },
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => f.write_str(what),
            Self::Newer(what) => write!(f, "{what}, unknown to this version"),
            Self::MissingFeature(feature) => write!(f, "this build does not have the feature `{feature}`"),
        }
    }
}

/// Reads fixed-width integers from the front of a slice; `None` when the slice is too short.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (front, rest) = self.rest.split_first_chunk::<LEN>()?;
        self.rest = rest;
        Some(*front)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(front)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

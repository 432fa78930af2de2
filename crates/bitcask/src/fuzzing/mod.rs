//! What a fuzzer calls: for each decoder a function that takes any bytes and asserts what must hold of whatever comes of
//! them.
//!
//! It exists only under `cfg(fuzzing)`, for the crate `fuzz`, and in this crate's tests, which run the corpus that the
//! fuzzer has gathered. A checksum keeps a fuzzer out as well as it keeps accidents out, so most targets take a byte that
//! says whether the checksums of what follows are made to fit first ([`seal`]).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is what a fuzzer looks for")]

#[cfg(test)]
mod corpus;
mod data_file;
mod directory;
mod formats;
mod operations;
mod records;
mod seal;

use crate::LogFormat;

/// A decoder under test: what it does with these bytes.
pub type Target = fn(&[u8]);

/// Every target of the engine, by its name, which is also that of the directory of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("record", records::binary),
    ("json_line", records::json),
    ("csv_line", records::csv),
    ("value", records::value),
    ("file_header", formats::file_header),
    ("payload", formats::payload),
    ("hint", formats::hint),
    ("manifest", formats::manifest),
    ("data_file", data_file::scan),
    ("directory", directory::open),
    ("operations", operations::run),
];

/// What the first byte of an input chooses.
#[derive(Clone, Copy, Debug)]
struct Choice {
    format: LogFormat,
    /// Whether checksums are made to fit.
    seals: bool,
    /// Whether a front that would be refused is made good as well.
    front: bool,
}

impl Choice {
    fn of(byte: u8) -> Self {
        let format = LogFormat::ALL[usize::from(byte & 3) % LogFormat::ALL.len()];
        Self { format, seals: byte & 4 != 0, front: byte & 8 != 0 }
    }

    /// The choice that an input begins with, and the rest of it.
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = bytes.split_first()?;
        Some((Self::of(first), rest))
    }
}

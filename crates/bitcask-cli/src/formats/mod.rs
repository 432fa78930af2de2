//! What `import` reads and `export` writes: JSON Lines, CSV, directory trees, and the files of Riak's Bitcask. And what
//! `batch` reads and `watch` writes: operations, and commits of several.
//!
//! A source gives entries one by one and a sink takes them one by one, so that no transfer needs more memory than its
//! largest entry. They know files, not stores.

mod basho;
mod commits;
mod csv;
mod input;
mod jsonl;
mod line_reader;
mod members;
mod operations;
mod tree_reader;
mod tree_writer;

pub(crate) use self::basho::{BashoOptions, BashoReader, Findings, Keys, Locks, Note, Notes, Pending};
pub(crate) use self::commits::{CommitLine, Operations};
pub(crate) use self::csv::{CsvColumns, CsvReader, CsvWriter};
pub(crate) use self::input::Input;
pub(crate) use self::jsonl::{JsonlReader, JsonlWriter};
pub(crate) use self::line_reader::LineReader;
pub(crate) use self::operations::{Condition, Lifetime, Operation};
pub(crate) use self::tree_reader::TreeReader;
pub(crate) use self::tree_writer::TreeWriter;

use std::time::SystemTime;

use crate::failure::Failure;

/// The longest key of the format, for limits on untrusted input.
const MAX_KEY_LEN: u64 = 65_535;

/// A key and its value on their way into a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// From when on it is to be absent again.
    pub(crate) expires_at: Option<SystemTime>,
}

/// Where an import takes its entries from.
pub(crate) trait Source {
    /// The next entry, `None` at the end. After a failure there is no next one.
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure>;

    /// Where the last entry came from: `line 7 of FILE`, for failures.
    fn place(&self) -> String;

    /// How many bytes of the input were used so far.
    fn position(&self) -> u64;

    /// How many bytes there are in all, where that can be known. May take a while.
    fn total(&self) -> Option<u64>;

    /// How many things were passed over because they cannot be entries.
    fn skipped(&self) -> u64 {
        0
    }
}

/// Whether a sink took an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// Not this one, for this reason; others may follow.
    No(String),
}

/// Where an export puts its entries.
pub(crate) trait Sink {
    /// Takes an entry. An expiry is left out where [`Sink::keeps_expiries`] is false.
    fn write(&mut self, key: &[u8], value: &[u8], expires_at: Option<SystemTime>) -> Result<Taken, Failure>;

    /// Whether its form has a place for expiries.
    fn keeps_expiries(&self) -> bool {
        false
    }

    /// Must be called after the last entry: there may be bytes in a buffer.
    fn finish(&mut self) -> Result<(), Failure>;
}

/// What the tests of the formats share.
#[cfg(test)]
mod testing {
    use super::{Entry, Failure, Source};

    pub(super) fn entries(source: &mut dyn Source) -> Result<Vec<Entry>, Failure> {
        std::iter::from_fn(|| source.next_entry().transpose()).collect()
    }

    pub(super) fn entry(key: &[u8], value: &[u8]) -> Entry {
        Entry { key: key.to_vec(), value: value.to_vec(), expires_at: None }
    }
}

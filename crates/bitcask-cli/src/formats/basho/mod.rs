//! The files of Riak's original Bitcask, written in Erlang at Basho: one directory of them, or one a partition.
//!
//! The source is read twice. The first reading ([`survey`]) checks every entry and decides which ones are taken; the
//! second hands them out, file by file. So nothing is put that is replaced or deleted later on, and all damage is known
//! before the store is touched. Nothing in the source is written, created or locked.

mod directory;
mod entry;
mod file;
mod findings;
mod hint;
mod riak_keys;
mod scan;
mod search;
mod survey;
#[cfg(test)]
mod tests;
mod tombstone;

use std::path::Path;

pub(crate) use self::findings::{Findings, Note, Notes};

use self::directory::{Listing, Source as Files};
use self::file::SourceFile;
use self::survey::{Location, ReadFile, Survey, survey};
use super::{Entry, MAX_KEY_LEN, Source};
use crate::failure::Failure;
use crate::paths::resolve;

/// How an import is done.
#[derive(Clone, Debug)]
pub(crate) struct BashoOptions {
    pub(crate) keys: Keys,
    pub(crate) locks: Locks,
    pub(crate) pending: Pending,
    /// Entries with a timestamp further back are not taken.
    pub(crate) expiry_secs: Option<u64>,
    pub(crate) max_value_size: u64,
}

/// What the keys become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// They stay as they are.
    Raw,
    /// Riak's are taken apart: `bucket/key`, `type/bucket/key`.
    Riak,
}

/// What is done about lock files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locks {
    Refuse,
    Ignore,
}

/// What is done about data files that are marked as pending deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A merge has copied what was live in them into later files. What is left is dead, and part of it may have been
    /// deleted by tombstones that the merge could drop: reading it would bring deleted keys back.
    Skip,
    /// The marks came from elsewhere.
    Take,
}

/// Hands out the entries that the survey chose.
pub(crate) struct BashoReader {
    files: Files,
    listing: Listing,
    options: BashoOptions,
    read: Vec<ReadFile>,
    total: u64,
    taken: std::vec::IntoIter<Location>,
    /// The file of the last entry.
    open: Option<(u32, SourceFile)>,
    position: u64,
    place: String,
}

impl BashoReader {
    /// Reads the whole source once, and says what was found.
    pub(crate) fn open(
        path: &Path,
        store: &Path,
        options: BashoOptions,
    ) -> Result<(Self, Findings), Failure> {
        let files = Files::open(path)?;
        if resolve(store)?.starts_with(resolve(path)?) {
            let path = path.display();
            return Err(Failure::Usage(format!(
                "the store lies inside {path}, where nothing is written: choose another place"
            )));
        }
        let listing = files.list()?;
        if options.locks == Locks::Refuse {
            files.refuse_locks(&listing)?;
        }
        let mut data = listing.directories.iter().flat_map(|listed| listed.data.values()).peekable();
        if options.pending == Pending::Skip && data.peek().is_some() && data.all(|file| file.pending) {
            return Err(Failure::Input {
                place: path.display().to_string(),
                what: "every data file is marked as pending deletion (it may be executed by others, or is setuid), so \
                       none would be read: if the marks came from copying the files, give --take-pending"
                    .to_owned(),
            });
        }
        let Survey { taken, files: read, findings } = survey(&files, &listing, &options)?;
        let reader = Self {
            files,
            listing,
            options,
            read,
            total: findings.bytes,
            taken: taken.into_iter(),
            open: None,
            position: 0,
            place: path.display().to_string(),
        };
        Ok((reader, findings))
    }

    fn read(&mut self, location: Location) -> Result<Entry, Failure> {
        let index = location.file as usize;
        let ReadFile { directory, id, bytes_before } = self.read[index];
        let file = match self.open.take() {
            Some((open, file)) if open == location.file => file,
            _ => self.files.open_data(&self.listing.directories[directory], id)?,
        };
        let (_, file) = self.open.insert((location.file, file));
        self.place = format!("the entry at byte {} of {}", location.offset, file.place());
        self.position = bytes_before + location.offset;
        let entry = scan::read_entry(file, location.offset, self.options.max_value_size)?;
        let entry = entry.and_then(|entry| Some(Entry { key: self.options.key(entry.key).ok()?, ..entry }));
        entry.ok_or_else(|| Failure::Input {
            place: self.place.clone(),
            what: "it is not what it was a moment ago: stop what writes the file, then import again"
                .to_owned(),
        })
    }

    /// A file that came or grew meanwhile may have taken up what another one lost.
    fn check_for_changes(&self) -> Result<(), Failure> {
        if self.files.list()? == self.listing {
            return Ok(());
        }
        Err(Failure::Incomplete(
            "the source changed while it was read: stop what writes it, then import again".to_owned(),
        ))
    }
}

impl Source for BashoReader {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        match self.taken.next() {
            Some(location) => self.read(location).map(Some),
            None => self.check_for_changes().map(|()| None),
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }
}

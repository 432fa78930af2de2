//! The first reading of the source: all entries are checked, and for each key it is decided which one is taken.
//!
//! Bitcask's own rule holds inside a directory: files by id, then by offset, a later entry of a key replaces an earlier
//! one, and a tombstone removes it. Partitions know nothing of each other. Riak keeps each key in several of them, and a
//! replica that missed a deletion or a put has an older state. So a tombstone counts in its own directory only, and of
//! values in several directories the one with the latest timestamp is taken: like a read by Riak itself, this loses
//! nothing that one replica still holds.
//!
//! The map takes 40 to 100 bytes a key, the most while it grows, and holds no values. Keys are known by 128 bits of two
//! hashes with random keys.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::time::SystemTime;

use super::directory::{Listed, Listing, Source};
use super::findings::Findings;
use super::hint::{Hint, HintReader};
use super::scan::{Found, Scan, SoundEntry};
use super::tombstone::Kind;
use super::{BashoOptions, MAX_KEY_LEN, Pending};
use crate::failure::Failure;
use crate::progress::Progress;

/// A value that is to be taken: where it lies, in the order in which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    /// Index into [`Survey::files`].
    pub(super) file: u32,
    pub(super) offset: u64,
}

/// A data file that was read.
pub(super) struct ReadFile {
    /// Index into [`Listing::directories`].
    pub(super) directory: usize,
    pub(super) id: u64,
    /// The length of all files before it.
    pub(super) bytes_before: u64,
}

/// What the first reading came to.
pub(super) struct Survey {
    /// In the order of files and offsets.
    pub(super) taken: Vec<Location>,
    pub(super) files: Vec<ReadFile>,
    pub(super) findings: Findings,
}

/// The newest value of a key so far. Kept small: there is one for every key.
#[derive(Clone, Copy)]
struct Live {
    offset: u64,
    file: u32,
    timestamp: u32,
}

type LiveByKey = HashMap<u128, Live>;

pub(super) fn survey(source: &Source, listing: &Listing, options: &BashoOptions) -> Result<Survey, Failure> {
    let total = listing.directories.iter().flat_map(|listed| listed.data.values()).map(|file| file.len).sum();
    let mut surveyor = Surveyor {
        source,
        options,
        digests: [RandomState::new(), RandomState::new()],
        files: Vec::new(),
        findings: Findings::default(),
        progress: Progress::bytes("reading", Some(total)),
    };
    surveyor.findings.not_read = listing.strangers.iter().cloned().map(Into::into).collect();
    let mut all = LiveByKey::new();
    for (index, listed) in listing.directories.iter().enumerate() {
        let live = surveyor.directory(index, listed)?;
        if all.is_empty() {
            all = live;
        } else {
            surveyor.unite(&mut all, live);
        }
    }
    Ok(surveyor.finish(all))
}

struct Surveyor<'a> {
    source: &'a Source,
    options: &'a BashoOptions,
    digests: [RandomState; 2],
    files: Vec<ReadFile>,
    findings: Findings,
    progress: Progress,
}

impl Surveyor<'_> {
    fn directory(&mut self, index: usize, listed: &Listed) -> Result<LiveByKey, Failure> {
        self.findings.partitions += u64::from(listed.is_partition());
        self.findings.not_read.extend(listed.strangers.iter().cloned().map(Into::into));
        let alone = listed.hints.iter().filter(|id| !listed.data.contains_key(id));
        self.findings.hints.alone.extend(alone.map(|&id| self.source.hint_path(listed, id)));
        let mut live = LiveByKey::new();
        for (&id, file) in &listed.data {
            if file.pending {
                let what = match self.options.pending {
                    Pending::Skip => "not read",
                    Pending::Take => "read all the same",
                };
                self.findings.pending.add(&self.source.data_path(listed, id), 0, file.len, what);
                if self.options.pending == Pending::Skip {
                    continue;
                }
            }
            self.file(index, listed, id, &mut live)?;
        }
        Ok(live)
    }

    fn file(
        &mut self,
        directory: usize,
        listed: &Listed,
        id: u64,
        live: &mut LiveByKey,
    ) -> Result<(), Failure> {
        let file = self.source.open_data(listed, id)?;
        let (place, bytes_before) = (file.place().to_owned(), self.findings.bytes);
        let index = u32::try_from(self.files.len()).map_err(|_| Failure::Input {
            place: place.clone(),
            what: "there are more than 4,294,967,296 data files".to_owned(),
        })?;
        self.files.push(ReadFile { directory, id, bytes_before });
        self.findings.files += 1;
        self.findings.bytes += file.len();
        let hint = self.hint(listed, id)?;
        let mut scan = Scan::new(file, hint);
        while let Some(found) = scan.next()? {
            match found {
                Found::Entry(entry) => self.entry(index, &place, entry, live),
                Found::Damage { offset, len, what } => self.findings.damage.add(&place, offset, len, what),
                Found::TornTail { offset, len } => {
                    let what = "an unfinished write, as a crash leaves it";
                    self.findings.torn_tails.add(&place, offset, len, what);
                }
                Found::HintDisagrees { offset } => {
                    self.findings.hints.sound -= 1;
                    self.findings.hints.disagreeing += 1;
                    let what = format!(
                        "it fits its own checksum, but does not describe byte {offset} of the data file; it was not used \
                         from there on"
                    );
                    self.findings.damage.add(&self.source.hint_path(listed, id), 0, 0, what);
                }
            }
            self.progress.set_bytes(bytes_before + scan.offset());
        }
        Ok(())
    }

    /// The hint file, where there is one that can be believed.
    fn hint(&mut self, listed: &Listed, id: u64) -> Result<Option<HintReader>, Failure> {
        if !listed.hints.contains(&id) {
            return Ok(None);
        }
        let path = self.source.hint_path(listed, id);
        match Hint::open(self.source.open_hint(listed, id)?)? {
            Hint::Sound(reader) => {
                self.findings.hints.sound += 1;
                return Ok(Some(reader));
            }
            Hint::WithoutTrailer => self.findings.hints.without_trailer.push(path),
            Hint::Damaged(offset) => {
                self.findings.hints.damaged += 1;
                let what = "the checksum of the hint file does not fit; it was not used";
                self.findings.damage.add(&path, offset, 0, what);
            }
        }
        Ok(None)
    }

    fn entry(&mut self, file: u32, place: &str, entry: SoundEntry, live: &mut LiveByKey) {
        self.findings.entries += 1;
        let key = match self.options.key(entry.key) {
            Ok(key) => key,
            Err(what) => return self.findings.refused.add(place, entry.offset, 0, what),
        };
        let [high, low] = self.digests.each_ref().map(|digest| u128::from(digest.hash_one(&key)));
        let digest = (high << 64) | low;
        let overwritten = match entry.kind {
            Kind::Tombstone(version) => {
                self.findings.count_tombstone(version);
                live.remove(&digest)
            }
            kind => {
                if kind == Kind::LikeTombstone {
                    let what = "the value only begins like a tombstone";
                    self.findings.like_tombstone.add(place, entry.offset, 0, what);
                }
                live.insert(digest, Live { offset: entry.offset, file, timestamp: entry.timestamp })
            }
        };
        self.findings.overwritten += u64::from(overwritten.is_some());
    }

    /// Of two equally old values the one from the later partition is taken.
    fn unite(&mut self, all: &mut LiveByKey, more: LiveByKey) {
        for (digest, live) in more {
            match all.entry(digest) {
                Entry::Vacant(vacant) => {
                    vacant.insert(live);
                }
                Entry::Occupied(mut occupied) => {
                    self.findings.in_other_partition += 1;
                    if live.timestamp >= occupied.get().timestamp {
                        occupied.insert(live);
                    }
                }
            }
        }
    }

    fn finish(mut self, mut live: LiveByKey) -> Survey {
        if let Some(secs) = self.options.expiry_secs {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let before = live.len();
            live.retain(|_, live| u64::from(live.timestamp) >= now.saturating_sub(secs));
            self.findings.expired = (before - live.len()) as u64;
        }
        let mut taken: Vec<_> =
            live.into_values().map(|Live { file, offset, .. }| Location { file, offset }).collect();
        taken.sort_unstable();
        Survey { taken, files: self.files, findings: self.findings }
    }
}

impl BashoOptions {
    /// The key that an entry gets, or why it gets none.
    pub(super) fn key(&self, key: Vec<u8>) -> Result<Vec<u8>, &'static str> {
        let key = match self.keys {
            super::Keys::Raw => key,
            super::Keys::Riak => super::riak_keys::readable(&key).ok_or("the key is not one of Riak")?,
        };
        match key.len() as u64 {
            0 => Err("the key is empty"),
            1..=MAX_KEY_LEN => Ok(key),
            _ => Err("the key has more than 65535 bytes once it is readable"),
        }
    }
}

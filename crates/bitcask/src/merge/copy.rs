//! Which records of a run are copied, and the copying.
//!
//! *Superseded*: a later published record of the key exists. *Grave*: a tombstone, or a value that has expired, or one
//! that has an expiry and no entry in the keydir, and that nothing supersedes.
//!
//! | record | fate |
//! |---|---|
//! | otherwise superseded | dropped |
//! | value that the keydir leads to, not expired | copied |
//! | superseded value that a snapshot sees | copied, *pinned* |
//! | value without expiry and without entry | dropped: it lies beneath a grave |
//! | grave with a timestamp up to the run's *floor* | dropped |
//! | any other grave | copied as a tombstone with its timestamp: it is *held* |
//! | batch ends, markers, the links of all inputs but the first | dropped |
//! | records that may be ignored | copied as they are |
//!
//! The floor is the lowest clean position of all files before the run and of the run's own output: no value in those files
//! is superseded by a record up to it, so such a grave covers nothing any more.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::scan::{Scanned, ScannedRecord, ScannedValue, Scanner};
use crate::format::checksum::checksum;
use crate::format::record::{Kind, RecordHeader};
use crate::keydir::Digest;
use crate::location::Location;
use crate::merge::output::Output;
use crate::merge_control::Pace;
use crate::status::Damage;
use crate::store::{Store, WriteSide};

/// Bytes that are read or written between two looks at the pace.
const STEP: u64 = 256 << 10;
/// How much of a long value is copied at once.
const PIECE: usize = 256 << 10;

/// Why the copying ended early.
pub(crate) enum CopyError {
    /// This input cannot be read whole, so nothing of it may be given up.
    Input(usize, Damage),
    /// The merge cannot go on.
    Failed(Error),
    /// The store is being closed.
    Stopped,
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What was done with the records.
#[derive(Default)]
pub(crate) struct Copied {
    pub(crate) values: u64,
    pub(crate) tombstones: u64,
    pub(crate) dropped: u64,
    /// Bytes of the tombstones.
    pub(crate) held_bytes: u64,
    /// What was copied for snapshots only, by its old location.
    pub(crate) pinned: HashMap<Location, Pinned>,
    pub(crate) pinned_bytes: u64,
}

/// A superseded record that was copied for a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Pinned {
    pub(crate) digest: Digest,
    pub(crate) new: Location,
}

pub(crate) struct Copier<'a> {
    pub(crate) store: &'a Store,
    pub(crate) side: &'a WriteSide,
    pub(crate) inputs: &'a [Arc<DataFile>],
    pub(crate) floor: u64,
    pub(crate) pace: &'a mut Pace,
    since_pace: u64,
    /// For each key of the run without entry in the keydir, its highest timestamp in the run; filled only where graves
    /// may have to be kept, so that of many for one key the last is.
    newest: HashMap<Digest, u64>,
    pub(crate) copied: Copied,
}

/// What becomes of a record.
enum Fate {
    Copy,
    /// Copy what is superseded for a snapshot.
    Pin(Digest, Location),
    Bury,
    Drop,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(
        store: &'a Store,
        side: &'a WriteSide,
        inputs: &'a [Arc<DataFile>],
        floor: u64,
        pace: &'a mut Pace,
    ) -> Self {
        Self {
            store,
            side,
            inputs,
            floor,
            pace,
            since_pace: 0,
            newest: HashMap::new(),
            copied: Copied::default(),
        }
    }

    /// Copies what must stay to `output`, in log order.
    pub(crate) fn run(&mut self, output: &mut Output) -> Result<(), CopyError> {
        let inputs = self.inputs;
        let last_timestamps = inputs.iter().filter_map(|file| file.known_footer().ok().flatten());
        if last_timestamps.map(|footer| footer.last_timestamp).max() > Some(self.floor) {
            for index in 0..inputs.len() {
                self.scan(index, |it, record| {
                    it.note_newest(record);
                    Ok(())
                })?;
            }
        }
        for (index, input) in inputs.iter().enumerate() {
            self.scan(index, |it, record| it.copy(index, input, record, output))?;
        }
        output.finish().map_err(CopyError::Failed)
    }

    /// Hands all records of one input to `visit`.
    fn scan(
        &mut self,
        index: usize,
        mut visit: impl FnMut(&mut Self, &ScannedRecord<'_>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let input = &self.inputs[index];
        let unreadable = |offset: u64, what: String| unreadable_input(index, input, offset, what);
        let mut scanner =
            Scanner::new(input, input.data_len()).map_err(|error| unreadable(0, error.to_string()))?;
        loop {
            let offset = scanner.offset();
            let record = match scanner.next() {
                Ok(Scanned::Record(record)) => record,
                Ok(Scanned::End) => return Ok(()),
                Ok(Scanned::Defect(defect)) => return Err(unreadable(offset, defect.to_string())),
                Err(error) => return Err(unreadable(offset, error.to_string())),
            };
            let len = record.len;
            visit(self, &record)?;
            self.keep_pace(len)?;
        }
    }

    fn note_newest(&mut self, record: &ScannedRecord<'_>) {
        if !record.header.kind.has_key() {
            return;
        }
        let digest = self.store.keydir.digest(record.key);
        if self.store.keydir.get(digest).is_none() {
            // Later records have higher timestamps.
            self.newest.insert(digest, record.header.timestamp);
        }
    }

    fn copy(
        &mut self,
        index: usize,
        input: &DataFile,
        record: &ScannedRecord<'_>,
        output: &mut Output,
    ) -> Result<(), CopyError> {
        let header = &record.header;
        let fate = match header.kind {
            Kind::Value | Kind::Tombstone => self.fate(input, record),
            // It tells what the output follows, as it told of the first input.
            Kind::Link if index == 0 => Fate::Copy,
            Kind::Ignorable(_) => Fate::Copy,
            _ => return Ok(()),
        };
        match fate {
            Fate::Drop => self.copied.dropped += 1,
            Fate::Copy | Fate::Pin(..) => {
                if record.is_damaged() {
                    planted!("a merge leaves out what it cannot read", return Ok(()));
                    let what = "a value that must stay does not fit its checksum".to_owned();
                    return Err(unreadable_input(index, input, record.offset, what));
                }
                // What is in an immutable file is published: its batch is whole.
                let header = RecordHeader { in_batch: false, ..*header };
                let start = output.offset();
                match &record.value {
                    ScannedValue::Whole(payload) if header.kind == Kind::Link => {
                        output.append_log(&header, payload)?;
                    }
                    ScannedValue::Whole(value) => output.append(&header, record.key, value)?,
                    _ => {
                        output.append_front(&header, record.key)?;
                        self.copy_long(index, input, record, output)?;
                    }
                }
                self.copied.values += u64::from(header.kind == Kind::Value);
                if let Fate::Pin(digest, old) = fate {
                    let offset = u32::try_from(start).unwrap_or(u32::MAX);
                    let len = output.offset() - start;
                    let new = Location::new(output.file.slot(), offset, len, header.expiry.into());
                    self.copied.pinned.insert(old, Pinned { digest, new });
                    self.copied.pinned_bytes += len;
                }
                self.keep_pace(record.len)?;
            }
            Fate::Bury => {
                let tombstone = RecordHeader {
                    kind: Kind::Tombstone,
                    expiry: None,
                    in_batch: false,
                    compression: None,
                    value_size: 0,
                    value_crc: checksum(&[]),
                    ..*header
                };
                let start = output.offset();
                output.append(&tombstone, record.key, &[])?;
                self.copied.tombstones += 1;
                self.copied.held_bytes += output.offset() - start;
            }
        }
        Ok(())
    }

    /// What becomes of a record about a key.
    fn fate(&self, input: &DataFile, record: &ScannedRecord<'_>) -> Fate {
        let (header, keydir) = (&record.header, &self.store.keydir);
        let digest = keydir.digest(record.key);
        let offset = u32::try_from(record.offset).unwrap_or(u32::MAX);
        let location = Location::new(input.slot(), offset, record.len, header.expiry.into());
        let entry = keydir.get(digest);
        // The keydir first: what leaves it meanwhile is among the versions by then.
        if header.kind == Kind::Value && entry != Some(location) && self.store.versions.sees(digest, location)
        {
            planted!("a merge drops what snapshots see", return Fate::Drop);
            return Fate::Pin(digest, location);
        }
        match entry {
            Some(found) if found == location && header.kind == Kind::Value => {
                if !self.store.has_expired(header) {
                    return Fate::Copy;
                }
                // From now on it is invisible also when the clock goes back, as if it had been reaped before.
                let _writer = self.side.writer();
                planted!("an expired value leaves without a tombstone", return Fate::Drop);
                if !keydir.remove_if(digest, location) {
                    return Fate::Drop;
                }
                input.count_dead(location);
            }
            Some(_) => return Fate::Drop,
            None if header.kind == Kind::Value && header.expiry.is_none() => return Fate::Drop,
            None => {}
        }
        let is_superseded = self.newest.get(&digest).is_some_and(|&newest| newest > header.timestamp);
        planted!("no tombstone outlives a merge", return Fate::Drop);
        if is_superseded || header.timestamp <= self.floor { Fate::Drop } else { Fate::Bury }
    }

    /// Copies a value that is longer than what a scan hands over.
    fn copy_long(
        &mut self,
        index: usize,
        input: &DataFile,
        record: &ScannedRecord<'_>,
        output: &mut Output,
    ) -> Result<(), CopyError> {
        let mut piece = vec![0; PIECE];
        let (mut at, end) = (record.offset + record.header.front_len() as u64, record.end());
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            input
                .read(&mut piece[..len], at)
                .map_err(|error| unreadable_input(index, input, at, error.to_string()))?;
            output.extend(&piece[..len])?;
            at += len as u64;
        }
        Ok(())
    }

    /// To be called for all that is read or written.
    fn keep_pace(&mut self, bytes: u64) -> Result<(), CopyError> {
        self.since_pace += bytes;
        if self.since_pace < STEP {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.since_pace);
        let delay = self.pace.delay_after(bytes, self.store.clock.monotonic());
        if self.side.merge_control.wait(delay) { Ok(()) } else { Err(CopyError::Stopped) }
    }
}

fn unreadable_input(index: usize, input: &DataFile, offset: u64, what: String) -> CopyError {
    CopyError::Input(index, Damage { file: input.name().to_owned(), offset, what })
}

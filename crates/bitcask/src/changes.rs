//! Every write to a store in its order, from a position on, and then as they come.
//!
//! A position is a timestamp: that of the last commit that was returned. What is returned is durable, so whoever keeps what
//! it was given and where that ended agrees with the store after a power cut. Merges drop what was superseded: the manifest
//! has the timestamp up to which they have (`merged_through`), and from before that nobody can begin.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::expiry;
use crate::file::data_file::DataFile;
use crate::file::scan::{Scanned, ScannedRecord, Scanner};
use crate::format::Defect;
use crate::format::record::Kind;
use crate::location::{Expiry, Location};
use crate::read::{Value, read_record};
use crate::store::Store;

/// How many bytes of the log are read ahead, about.
const READ_AHEAD: u64 = 1 << 20;
/// How often a read-only handle looks for what the writer has written while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One write, or all writes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// When it was committed, in microseconds since 1970: the position behind it. It is greater than that of every commit
    /// before.
    pub timestamp_us: u64,
    /// What it changed, each key once.
    pub changes: Vec<Change>,
}

/// What a commit did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The value that it was given; `None` when it was deleted.
    pub value: Option<Value>,
    /// From when on the value is absent, if it expires. That moment is no change of its own.
    pub expires_at: Option<SystemTime>,
}

/// The commits of a store in their order, from [`Bitcask::changes`](crate::Bitcask::changes).
///
/// As an iterator it ends where the durable part of the log ends, and goes on when it is asked again after that has grown.
pub struct Changes {
    store: Arc<Store>,
    /// The timestamp of the last commit that was read.
    after: u64,
    /// What was read and not returned yet.
    ready: VecDeque<Commit>,
    /// Where to read on.
    place: Option<Place>,
}

/// Where a record of a file starts, or the file ends.
#[derive(Clone)]
struct Place {
    /// Held, so that it can be read to its end after a merge has removed it.
    file: Arc<DataFile>,
    offset: u64,
}

impl Changes {
    pub(crate) fn new(store: &Arc<Store>, after: u64) -> Result<Self> {
        store.check_open()?;
        store.refresh()?;
        let last = store.last_timestamp();
        if after > last {
            return Err(Error::AheadOfLog { position: after, last });
        }
        store.log_after(after)?;
        Ok(Self { store: Arc::clone(store), after, ready: VecDeque::new(), place: None })
    }

    /// Waits until there is something to return, at most this long. Whether there is.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let synced = self.store.write_side.as_ref().map(|side| side.syncer.synced());
            self.read_on()?;
            if !self.ready.is_empty() {
                return Ok(true);
            }
            let left =
                deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            match (&self.store.write_side, synced) {
                (Some(side), Some(synced)) => side.syncer.wait_behind(synced, left),
                _ => std::thread::sleep(left.min(LOOK_EVERY)),
            }
        }
    }

    /// Reads commits until some are ready or nothing more is durable.
    fn read_on(&mut self) -> Result<()> {
        self.store.check_open()?;
        if !self.ready.is_empty() || self.read_known()? || self.store.write_side.is_some() {
            return Ok(());
        }
        // What is known to be synced may be more than before, even if nothing is new.
        self.store.refresh()?;
        self.read_known().map(|_| ())
    }

    /// The same, as far as the store knows of its log. Whether any are ready.
    fn read_known(&mut self) -> Result<bool> {
        while self.ready.is_empty() {
            let Some(place) = self.next_place()? else { return Ok(false) };
            let end = place.file.synced_len();
            let read_to = self.read(&place, end)?;
            if read_to == place.offset {
                return Ok(false);
            }
            self.place = Some(Place { offset: read_to, ..place });
        }
        Ok(true)
    }

    /// Where to read on: in the same file, or in the next one when that is read to its end.
    fn next_place(&self) -> Result<Option<Place>> {
        let Some(place) = &self.place else {
            let files = self.store.log_after(self.after)?;
            return Ok(self.first_place(&files));
        };
        if place.offset < place.file.synced_len() {
            return Ok(Some(place.clone()));
        }
        let files = self.store.log_after(self.after)?;
        let Some(index) = files.iter().position(|file| file.id() == place.file.id()) else {
            // Only complete files are merged.
            return Ok(self.first_place(&files));
        };
        let next = self.first_place(&files[index + 1..]);
        // A file is complete once the log goes on in another: so that is looked at first.
        let goes_on = next.filter(|next| next.file.data_len() > next.file.first_record());
        Ok(goes_on.filter(|_| place.offset == place.file.data_len()))
    }

    /// The start of the first file that may hold something newer than what was read.
    fn first_place(&self, files: &[Arc<DataFile>]) -> Option<Place> {
        let may_hold = |file: &&Arc<DataFile>| {
            // A file that is being completed may fail to be read here; its records can be read all the same.
            let footer = file.known_footer().ok().flatten();
            footer.is_none_or(|footer| footer.last_timestamp > self.after)
        };
        let file = files.iter().find(may_hold)?;
        Some(Place { offset: file.first_record(), file: Arc::clone(file) })
    }

    /// Reads whole commits from a place to `end`, or somewhat less. Returns how far.
    fn read(&mut self, place: &Place, end: u64) -> Result<u64> {
        let Place { file, offset } = place;
        if *offset >= end {
            return Ok(*offset);
        }
        let mut scanner = Scanner::starting_at(file, *offset, end)?;
        let mut read_to = *offset;
        let mut batch = Vec::new();
        while read_to - offset < READ_AHEAD || self.ready.is_empty() {
            let at = scanner.offset();
            let read = match scanner.next()? {
                Scanned::End => break,
                Scanned::Defect(defect) => Err(file.defect_at(defect, at)),
                Scanned::Record(record) => self.add(file, &record, &mut batch),
            };
            match read {
                Ok(()) => {}
                // First what came before.
                Err(_) if !self.ready.is_empty() => break,
                Err(error) => return Err(error),
            }
            if batch.is_empty() {
                read_to = scanner.offset();
            }
        }
        Ok(read_to)
    }

    /// Adds what a record says to the batch in progress, or to what is ready.
    fn add(&mut self, file: &DataFile, record: &ScannedRecord<'_>, batch: &mut Vec<Change>) -> Result<()> {
        let header = &record.header;
        if header.timestamp <= self.after {
            return Ok(());
        }
        match header.kind {
            Kind::Value | Kind::Tombstone if header.in_batch => {
                batch.push(change(file, record)?);
                return Ok(());
            }
            Kind::Value | Kind::Tombstone => batch.push(change(file, record)?),
            Kind::BatchEnd => {}
            _ => return Ok(()),
        }
        self.after = header.timestamp;
        let changes = std::mem::take(batch);
        self.ready.push_back(Commit { timestamp_us: header.timestamp, changes });
        Ok(())
    }
}

impl Iterator for Changes {
    type Item = Result<Commit>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_on() {
            Ok(()) => self.ready.pop_front().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("after", &self.after).finish_non_exhaustive()
    }
}

fn change(file: &DataFile, record: &ScannedRecord<'_>) -> Result<Change> {
    if record.is_damaged() {
        let what = Defect::damaged("a value that does not fit its checksum");
        return Err(file.defect_at(what, record.offset));
    }
    let value = match record.header.kind {
        Kind::Value => {
            // The scanner hands over no record that starts behind 4 GiB.
            let offset = u32::try_from(record.offset).unwrap_or(u32::MAX);
            let location = Location::new(file.slot(), offset, record.len, Expiry::Never);
            Some(Value(read_record(file, location)?))
        }
        _ => None,
    };
    let expires_at = record.header.expiry.map(expiry::to_time);
    Ok(Change { key: record.key.to_vec(), value, expires_at })
}

impl Store {
    /// The highest timestamp that this handle knows to be in the log.
    fn last_timestamp(&self) -> u64 {
        match &self.write_side {
            Some(side) => side.writer().timestamps.last(),
            None => self.published.load(Ordering::Acquire),
        }
    }

    /// The files in log order, if they hold everything that was written after this timestamp.
    fn log_after(&self, timestamp: u64) -> Result<Vec<Arc<DataFile>>> {
        // Under these locks the list and what is merged belong together.
        let (merged_through, files) = match &self.write_side {
            Some(side) => {
                let catalog = self.catalog(side)?;
                (catalog.manifest.merged_through, self.order().clone())
            }
            None => {
                let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
                (followed.merged_through, self.order().clone())
            }
        };
        if timestamp < merged_through {
            return Err(Error::ChangesMerged { position: timestamp, oldest: merged_through });
        }
        Ok(files)
    }
}

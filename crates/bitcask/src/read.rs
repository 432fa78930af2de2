//! How a value is found: one look-up in the keydir, one read of the file, and a check of every byte that is returned.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::expiry;
use crate::file::data_file::DataFile;
use crate::file_table::Files;
use crate::format::Defect;
use crate::format::codec::Record;
use crate::format::record::{Kind, RecordHeader};
use crate::keydir::Digest;
use crate::location::Location;
use crate::options::Durability;
use crate::store::{Store, check_key};
use crate::sync::Guard;

/// How much of a record is read when only its key is wanted, before its length is known.
const KEY_GUESS: usize = 256;

/// A value as it was read: its own copy of the bytes.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let db = bitcask::open(dir.path(), bitcask::Options::default())?;
/// db.put("greeting", "hello")?;
/// let value = db.get("greeting")?.expect("it was just put");
/// assert_eq!(&value[..], b"hello");
/// assert_eq!(value.into_vec(), b"hello");
/// # Ok::<(), bitcask::Error>(())
/// ```
#[derive(Clone)]
pub struct Value(pub(crate) Record);

impl Value {
    /// The value's bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_value()
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.value()
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value(b\"{}\")", self.escape_ascii())
    }
}

/// A value with what else its record says, from `Bitcask::get_entry` and `Iter::entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// When it was written, in microseconds since 1970: the version of the key. It strictly increases from commit to
    /// commit, even where the wall clock does not.
    pub timestamp_us: u64,
    /// From when on the key is absent; `None` when it lives until it is replaced or deleted.
    pub expires_at: Option<SystemTime>,
}

impl Entry {
    pub(crate) fn of(record: Record) -> Self {
        Self {
            timestamp_us: record.header.timestamp,
            expires_at: record.header.expiry.map(expiry::to_time),
            value: Value(record),
        }
    }
}

/// What is known of a value without reading it, from `Bitcask::metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The length of the value in bytes.
    pub value_len: u64,
    /// The length of what is stored of it: less where it is compressed, see
    /// [`Options::compression`](crate::Options::compression).
    pub stored_len: u64,
    /// As [`Entry::timestamp_us`].
    pub timestamp_us: u64,
    /// As [`Entry::expires_at`].
    pub expires_at: Option<SystemTime>,
}

/// A record as it was found, or its front alone, and where.
pub(crate) struct Found {
    pub(crate) location: Location,
    pub(crate) record: Record,
    /// Held so that the file's slot is not used again: as long as this lives, a location that equals its own leads to
    /// the same record.
    _file: Arc<DataFile>,
}

/// Whether a reader who meets what is not durable yet waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// At [`Durability::Always`].
    AsTheStoreSays,
    /// Never: what is made of it waits.
    No,
}

impl Store {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.get_record(key, read_record)?.map(Value))
    }

    /// The value of a key, and what else its record says.
    pub(crate) fn get_entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.get_record(key, read_record)?.map(Entry::of))
    }

    /// What the record of a key says without its value.
    pub(crate) fn metadata(&self, key: &[u8]) -> Result<Option<Metadata>> {
        let mut value_len = 0;
        let found = self.get_record(key, |file, location| {
            let mut record = read_front(file, location)?;
            if record.header.compression.is_some() {
                // The length stands in the stored value, and only the whole of that has a checksum.
                record = read_stored(file, location, Vec::new())?;
            }
            let offset = u64::from(location.offset());
            value_len = record.plain_len().map_err(|defect| file.defect_at(defect, offset))?;
            Ok(record)
        })?;
        Ok(found.map(|Record { header, .. }| Metadata {
            value_len,
            stored_len: u64::from(header.value_size),
            timestamp_us: header.timestamp,
            expires_at: header.expiry.map(expiry::to_time),
        }))
    }

    /// Puts the value of a key into `buffer`, in place of what is there; whether the key has one.
    pub(crate) fn get_into(&self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let mut bytes = std::mem::take(buffer);
        let found = self
            .get_record(key, |file, location| read_record_into(file, location, std::mem::take(&mut bytes)))?;
        let is_there = found.is_some();
        // Where nothing was read the memory is still there.
        bytes.clear();
        *buffer = found.map_or(bytes, Record::into_value);
        Ok(is_there)
    }

    /// The record of a key that has a value, read by `read`.
    fn get_record(
        &self,
        key: &[u8],
        mut read: impl FnMut(&DataFile, Location) -> Result<Record>,
    ) -> Result<Option<Record>> {
        self.check_open()?;
        check_key(key)?;
        let found = self.look_up(self.keydir.digest(key), Waits::AsTheStoreSays, |file, location| {
            let record = read(file, location)?;
            if record.key() != key {
                return refuse_moved(file, location).map(|()| None);
            }
            Ok(self.is_there(key, &record).then_some(record))
        })?;
        Ok(found.flatten())
    }

    /// Whether a record that the keydir leads to says that the key has a value. One of another key with the same digest,
    /// which is as good as impossible, says that this key is absent.
    pub(crate) fn is_there(&self, key: &[u8], record: &Record) -> bool {
        record.key() == key && !self.has_expired(&record.header)
    }

    /// Whether the key is there: by the keydir alone, unless its record has an expiry.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.check_open()?;
        check_key(key)?;
        let found = self.look_up(self.keydir.digest(key), Waits::AsTheStoreSays, |file, location| {
            Ok(!location.has_expiry() || self.is_there(key, &read_front(file, location)?))
        })?;
        Ok(found == Some(true))
    }

    /// The record that the keydir names for `digest`, expired or not, for a write that rests on it.
    pub(crate) fn find(&self, digest: Digest) -> Result<Option<Found>> {
        self.look_up(digest, Waits::No, |file, location| {
            let record = read_record(file, location)?;
            Ok(Found { location, record, _file: Arc::clone(file) })
        })
    }

    /// As [`Store::find`], without the value.
    pub(crate) fn find_front(&self, digest: Digest) -> Result<Option<Found>> {
        self.look_up(digest, Waits::No, |file, location| {
            let record = read_front(file, location)?;
            Ok(Found { location, record, _file: Arc::clone(file) })
        })
    }

    pub(crate) fn has_expired(&self, header: &RecordHeader) -> bool {
        expiry::has_expired(header.expiry, &*self.clock)
    }

    /// Finds the record that the keydir names for `digest` and reads it. A location may be stale by the time it is
    /// read: then what is read does not check, and the look-up is done again.
    pub(crate) fn look_up<T>(
        &self,
        digest: Digest,
        waits: Waits,
        mut read: impl FnMut(&Arc<DataFile>, Location) -> Result<T>,
    ) -> Result<Option<T>> {
        loop {
            // The table first: see `file_table`.
            let files = self.files.load();
            let Some(location) = self.keydir.get(digest) else {
                self.wait_for_absence(waits)?;
                return Ok(None);
            };
            let found = match files.get(location.slot()) {
                Some(file) => {
                    if waits == Waits::AsTheStoreSays {
                        self.wait_for_record(file, location)?;
                    }
                    read(file, location)
                }
                None => Err(missing_file(location)),
            };
            match found {
                Ok(found) => return Ok(Some(found)),
                Err(error) if self.is_still(&files, digest, location) => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn is_still(&self, files: &Guard<Arc<Files>>, digest: Digest, location: Location) -> bool {
        self.files.is_current(files) && self.keydir.get(digest) == Some(location)
    }

    /// At [`Durability::Always`], whoever sees a record must not see it gone after a power cut.
    pub(crate) fn wait_for_record(&self, file: &DataFile, location: Location) -> Result<()> {
        let Some(side) = &self.write_side else { return Ok(()) };
        if self.options.durability != Durability::Always || u64::from(location.offset()) < file.synced_len() {
            return Ok(());
        }
        let appended = side.writer().appended;
        self.sync_through(side, appended)
    }

    /// The same for the absence of a key, which may rest on a tombstone.
    pub(crate) fn wait_for_absence(&self, waits: Waits) -> Result<()> {
        let Some(side) = &self.write_side else { return Ok(()) };
        if waits == Waits::No || self.options.durability != Durability::Always {
            return Ok(());
        }
        self.sync_through(side, side.deleted.load(Ordering::Acquire))
    }
}

pub(crate) fn missing_file(location: Location) -> Error {
    let what = format!("the keydir names slot {} of the file table, which is empty", location.slot().index());
    Error::corruption("the keydir", u64::from(location.offset()), what)
}

/// Reads a whole record, checks it, and decompresses its value.
pub(crate) fn read_record(file: &DataFile, location: Location) -> Result<Record> {
    read_record_into(file, location, vec![0; readable(file, location)])
}

/// As [`read_record`], in memory that is there. What it returns is large, and would be moved at every get.
#[inline(always)]
fn read_record_into(file: &DataFile, location: Location, bytes: Vec<u8>) -> Result<Record> {
    let mut record = read_stored(file, location, bytes)?;
    match record.decompress() {
        Ok(()) => Ok(record),
        Err(defect) => Err(file.defect_at(defect, u64::from(location.offset()))),
    }
}

/// Reads a whole record as it is stored and checks it, in memory that is there.
#[inline(always)]
fn read_stored(file: &DataFile, location: Location, mut bytes: Vec<u8>) -> Result<Record> {
    let offset = u64::from(location.offset());
    bytes.resize(readable(file, location), 0);
    file.copy_out(&mut bytes, offset)?;
    check(file, offset, file.codec().decode(bytes, offset))
}

/// Reads a record as far as its key, or all of it where that is not less, and checks it.
pub(crate) fn read_front(file: &DataFile, location: Location) -> Result<Record> {
    let offset = u64::from(location.offset());
    let readable = readable(file, location);
    let mut bytes = vec![0; readable.min(KEY_GUESS)];
    file.copy_out(&mut bytes, offset)?;
    let needed = file.codec().key_end(&bytes).min(readable);
    if needed > bytes.len() {
        bytes.resize(needed, 0);
        file.copy_out(&mut bytes, offset)?;
    }
    check(file, offset, file.codec().decode_key(bytes, offset))
}

/// The keydir leads to values only.
fn check(file: &DataFile, offset: u64, decoded: Result<Record, Defect>) -> Result<Record> {
    let record = decoded.map_err(|defect| file.defect_at(defect, offset))?;
    match record.header.kind {
        Kind::Value => Ok(record),
        other => {
            let what = format!("the keydir leads to a {} here", other.name());
            Err(Error::corruption(file.name(), offset, what))
        }
    }
}

/// To be asked when the record found for a key is about another one. With the same digest that is as good as impossible,
/// and then the key is absent. But where a record checks anywhere in its file, it was moved there.
#[cold]
fn refuse_moved(file: &DataFile, location: Location) -> Result<()> {
    if file.codec().binds_offset() {
        return Ok(());
    }
    let what = Defect::damaged("the record of another key stands here");
    Err(file.defect_at(what, u64::from(location.offset())))
}

/// How many bytes from the record's start may be read: its rounded length, but nothing behind the end of the data.
fn readable(file: &DataFile, location: Location) -> usize {
    let behind = file.data_len().saturating_sub(u64::from(location.offset()));
    usize::try_from(location.len().min(behind)).unwrap_or(usize::MAX)
}

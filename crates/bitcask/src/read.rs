//! How a value is found: one look-up in the keydir, one read of the file, and a check of every byte that is returned.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file_table::Files;
use crate::format::Defect;
use crate::format::codec::Record;
use crate::format::record::Kind;
use crate::keydir::Digest;
use crate::location::Location;
use crate::options::Durability;
use crate::store::{Store, check_key};

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
pub struct Value(Record);

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

impl Store {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.check_open()?;
        check_key(key)?;
        let found = self.look_up(self.keydir.digest(key), |file, location| {
            let record = read_record(file, location)?;
            // Another key with the same digest: as good as impossible, and then this key is absent.
            Ok((record.key() == key).then_some(Value(record)))
        })?;
        Ok(found.flatten())
    }

    /// Key and value of whatever has this digest.
    pub(crate) fn get_by_digest(&self, digest: Digest) -> Result<Option<(Vec<u8>, Value)>> {
        self.check_open()?;
        self.look_up(digest, |file, location| {
            let record = read_record(file, location)?;
            Ok((record.key().to_vec(), Value(record)))
        })
    }

    /// The key that has this digest.
    pub(crate) fn key_by_digest(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        self.check_open()?;
        self.look_up(digest, |file, location| Ok(read_front(file, location)?.key().to_vec()))
    }

    /// Whether the key is there, by the keydir alone.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.check_open()?;
        check_key(key)?;
        let found = self.look_up(self.keydir.digest(key), |_, _| Ok(()))?;
        Ok(found.is_some())
    }

    /// Finds the record that the keydir names for `digest` and reads it. A location may be stale by the time it is
    /// read: then what is read does not check, and the look-up is done again.
    fn look_up<T>(
        &self,
        digest: Digest,
        read: impl Fn(&DataFile, Location) -> Result<T>,
    ) -> Result<Option<T>> {
        loop {
            // The table first: see `file_table`.
            let files = self.files.load();
            let Some(location) = self.keydir.get(digest) else {
                self.wait_for_deletes()?;
                return Ok(None);
            };
            let found = match files.get(location.slot()) {
                Some(file) => {
                    self.wait_for_record(file, location)?;
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
    fn wait_for_record(&self, file: &DataFile, location: Location) -> Result<()> {
        let Some(side) = &self.write_side else { return Ok(()) };
        if self.options.durability != Durability::Always || u64::from(location.offset()) < file.synced_len() {
            return Ok(());
        }
        let appended = side.writer().appended;
        self.sync_through(side, appended)
    }

    /// The same for the absence of a key, which may rest on a tombstone.
    fn wait_for_deletes(&self) -> Result<()> {
        let Some(side) = &self.write_side else { return Ok(()) };
        if self.options.durability != Durability::Always {
            return Ok(());
        }
        self.sync_through(side, side.deleted.load(Ordering::Acquire))
    }
}

fn missing_file(location: Location) -> Error {
    let what = format!("the keydir names slot {} of the file table, which is empty", location.slot().index());
    Error::corruption("the keydir", u64::from(location.offset()), what)
}

/// Reads a whole record and checks it.
fn read_record(file: &DataFile, location: Location) -> Result<Record> {
    let offset = u64::from(location.offset());
    let mut bytes = vec![0; readable(file, location)];
    file.copy_out(&mut bytes, offset)?;
    check(file, offset, file.codec().decode(bytes, offset))
}

/// Reads a record as far as its key, or all of it where that is not less, and checks it.
fn read_front(file: &DataFile, location: Location) -> Result<Record> {
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
    let record = decoded.map_err(|defect| defect.at(file.name(), offset))?;
    match record.header.kind {
        Kind::Value => Ok(record),
        other => {
            let what = format!("the keydir leads to a {} here", other.name());
            Err(Error::corruption(file.name(), offset, what))
        }
    }
}

/// How many bytes from the record's start may be read: its rounded length, but nothing behind the end of the data.
fn readable(file: &DataFile, location: Location) -> usize {
    let behind = file.data_len().saturating_sub(u64::from(location.offset()));
    usize::try_from(location.len().min(behind)).unwrap_or(usize::MAX)
}

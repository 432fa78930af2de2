//! The end of the log: where the next record goes, and what is to be done about the files behind it.
//!
//! A [`Writer`] lives under the writer lock, the one lock through which all commits go. It does no sync and, but for
//! the record itself and the allocation of its place, no I/O.
//!
//! ```text
//! append:  make sure of the place; put the record (behind a sync marker, if a sync has returned since the last);
//!          raise the file's data length
//! batch:   the same with several records and their end, in pieces; the data length is raised once all are there
//! rotate:  put a link into the successor; it is the active file now
//! ```
//! An append that fails leaves the log as it was: the place is cut off or overwritten by the next record. Where even
//! that cannot be had, the writer is poisoned.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::format::batch::BatchEnd;
use crate::format::codec::Prepared;
use crate::format::compression::{self, Algorithm, Compression};
use crate::format::file_header::LogFormat;
use crate::format::position::LogPosition;
use crate::format::record::{Kind, RecordHeader};
use crate::options::Options;
use crate::space::Space;
use crate::timestamps::Timestamps;
use crate::vfs::Dir;

/// Records of a batch are put into the file in pieces of about this size.
const PIECE: usize = 256 << 10;
/// A batch ends before this offset, so that each of its records starts where an offset of 32 bits can lead.
const END_MAX: u64 = 1 << 32;

/// A file is allocated in steps from the first to the second of these, as it grows.
const ALLOCATE_MIN: u64 = 1 << 20;
const ALLOCATE_MAX: u64 = 16 << 20;

/// How long a file of `map_len` mapped bytes, of which `allocated` are there, should be made to hold `needed`.
pub(crate) fn allocation_for(needed: u64, allocated: u64, map_len: u64) -> u64 {
    (needed + step(allocated)).min(map_len).max(needed)
}

fn step(allocated: u64) -> u64 {
    (allocated / 4).clamp(ALLOCATE_MIN, ALLOCATE_MAX)
}

/// Whether bytes are put into files through maps, so that their place must be allocated before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    Mapped { map_len: u64 },
    Written,
}

impl Placement {
    /// Text files are never mapped: what is allocated ahead would be no text.
    pub(crate) fn new(dir: &dyn Dir, format: LogFormat, max_file_size: u64) -> Self {
        let can_map = dir.can_map() && format == LogFormat::Binary;
        if can_map { Self::Mapped { map_len: max_file_size } } else { Self::Written }
    }
}

/// A record to append: about a key, at the next timestamp.
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    /// As it will be stored.
    value: Cow<'a, [u8]>,
    compression: Option<Algorithm>,
    pub(crate) expiry: Option<u64>,
    prepared: Prepared,
}

impl<'a> Draft<'a> {
    /// A value, compressed if that is asked for and worth it.
    pub(crate) fn value(
        format: LogFormat,
        compression: Compression,
        key: &'a [u8],
        plain: &'a [u8],
        expiry: Option<u64>,
    ) -> Self {
        match compression::compress(compression, format, plain) {
            None => Self::stored(format, key, Cow::Borrowed(plain), None, expiry),
            Some((algorithm, value)) => Self::stored(format, key, value.into(), Some(algorithm), expiry),
        }
    }

    /// A value that is compressed already, or is not to be.
    #[inline]
    pub(crate) fn stored(
        format: LogFormat,
        key: &'a [u8],
        value: Cow<'a, [u8]>,
        compression: Option<Algorithm>,
        expiry: Option<u64>,
    ) -> Self {
        let prepared = Prepared::new(format, Kind::Value, key, &value);
        Self { kind: Kind::Value, key, value, compression, expiry, prepared }
    }

    pub(crate) fn tombstone(format: LogFormat, key: &'a [u8]) -> Self {
        Self {
            kind: Kind::Tombstone,
            key,
            value: Cow::Borrowed(&[]),
            compression: None,
            expiry: None,
            prepared: Prepared::new(format, Kind::Tombstone, key, &[]),
        }
    }

    fn header(&self, timestamp: u64) -> RecordHeader {
        RecordHeader {
            kind: self.kind,
            timestamp,
            expiry: self.expiry,
            in_batch: false,
            compression: self.compression,
            key_size: u16::try_from(self.key.len()).unwrap_or(u16::MAX),
            value_size: u32::try_from(self.value.len()).unwrap_or(u32::MAX),
            value_crc: self.prepared.value_crc,
        }
    }

    /// Bytes of the record on disk, or a few more.
    pub(crate) fn len_max(&self) -> u64 {
        self.prepared.len_max(&self.header(0))
    }
}

/// Where a record was put.
pub(crate) struct Appended {
    pub(crate) offset: u32,
    pub(crate) len: u64,
}

/// A failed append.
pub(crate) enum AppendError {
    /// The log is as it was before.
    Undone(Error),
    /// It is not known what the file holds behind the end of the log.
    InDoubt(Error),
}

impl AppendError {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Undone(error) | Self::InDoubt(error) => error,
        }
    }
}

pub(crate) struct Writer {
    pub(crate) active: Arc<DataFile>,
    /// The empty file that the log goes on in, once it is made.
    pub(crate) successor: Option<Arc<DataFile>>,
    /// Files that were rotated away from and are not synced yet, oldest first.
    pub(crate) unsynced: Vec<Arc<DataFile>>,
    /// Files that were rotated away from and have no footer yet, oldest first.
    pub(crate) unsealed: Vec<Arc<DataFile>>,
    /// Bytes appended since the store was opened: the measure by which syncs are waited for.
    pub(crate) appended: u64,
    /// How much of that the last sync marker claims.
    claimed: u64,
    pub(crate) timestamps: Timestamps,
    /// Whether the active file holds a value or tombstone.
    has_keys: bool,
    /// Whether the log ends with a close marker.
    pub(crate) ends_closed: bool,
    pub(crate) space: Space,
    placement: Placement,
    max_file_size: u64,
    scratch: Vec<u8>,
}

impl Writer {
    /// A writer behind the records of `active`, which holds values or tombstones or not.
    pub(crate) fn new(
        active: Arc<DataFile>,
        has_keys: bool,
        placement: Placement,
        options: &Options,
        timestamps: Timestamps,
    ) -> Self {
        Self {
            active,
            has_keys,
            successor: None,
            unsynced: Vec::new(),
            unsealed: Vec::new(),
            appended: 0,
            claimed: 0,
            timestamps,
            ends_closed: false,
            space: Space::new(options, &[]),
            placement,
            max_file_size: options.max_file_size,
            scratch: Vec::new(),
        }
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> LogPosition {
        self.active.end()
    }

    /// Whether the active file holds values or tombstones.
    pub(crate) fn has_keys(&self) -> bool {
        self.has_keys
    }

    /// Whether a record of `len` bytes may go into the active file. A file without any takes a record of any length.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        !self.has_keys
            || self.active.data_len() + self.active.codec().marker_len_max() + len <= self.max_file_size
    }

    /// Makes the successor the active file; false when there is none.
    pub(crate) fn rotate(&mut self) -> Result<bool, AppendError> {
        let Some(next) = self.successor.clone() else { return Ok(false) };
        let previous = std::mem::replace(&mut self.active, next);
        if let Err(error) = self.append_log(Kind::Link, &previous.end().encode()) {
            self.active = previous;
            return Err(error);
        }
        self.successor = None;
        self.unsynced.push(Arc::clone(&previous));
        planted!("a file that is full is not synced", self.unsynced.clear());
        self.unsealed.push(previous);
        self.has_keys = false;
        Ok(true)
    }

    /// Forgets the files that were rotated away from: they are no part of the log any more.
    pub(crate) fn forget_older_files(&mut self) {
        self.unsynced.clear();
        self.unsealed.clear();
    }

    /// Whether the file was rotated away from and is not known to have a durable footer yet.
    pub(crate) fn is_unsealed(&self, file: &DataFile) -> bool {
        self.unsealed.iter().any(|unsealed| unsealed.id() == file.id())
    }

    /// How many of the bytes appended since the open the last sync marker claims to be synced.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed
    }

    /// Appends a record about a key, behind a sync marker that claims `covered` where there is something to claim.
    pub(crate) fn append(
        &mut self,
        draft: &Draft<'_>,
        covered: Option<Covered>,
        clock: &dyn Clock,
    ) -> Result<Appended, AppendError> {
        let timestamp = self.timestamps.next(clock);
        let codec = self.active.codec();
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let start = self.active.data_len();
        if let Some(covered) = covered {
            codec.encode_log(Kind::SyncMarker, timestamp, start, &covered.position.encode(), &mut bytes);
        }
        let marker_len = bytes.len();
        let offset = start + marker_len as u64;
        let header = draft.header(timestamp);
        let rest = codec.encode(&header, offset, draft.key, &draft.value, &draft.prepared, &mut bytes);
        let placed = match u32::try_from(offset) {
            Ok(offset) => {
                let len = (bytes.len() - marker_len + rest.len()) as u64;
                self.place(&bytes, rest).map(|()| Appended { offset, len })
            }
            Err(_) => Err(AppendError::Undone(full())),
        };
        self.scratch = bytes;
        if placed.is_ok() {
            self.has_keys = true;
            self.ends_closed = false;
            if let Some(covered) = covered {
                self.claimed = covered.appended;
            }
        }
        placed
    }

    /// Appends several records as one batch, and the record that ends it: as [`Writer::append`], all or none.
    pub(crate) fn append_batch<'d>(
        &mut self,
        drafts: impl Iterator<Item = &'d Draft<'d>>,
        len_max: u64,
        covered: Option<Covered>,
        clock: &dyn Clock,
    ) -> Result<Vec<Appended>, AppendError> {
        let end_max = self.active.data_len() + self.active.codec().marker_len_max() + len_max;
        if end_max > END_MAX {
            return Err(AppendError::Undone(full()));
        }
        self.allocate(end_max)?;
        let timestamp = self.timestamps.next(clock);
        let mut bytes = std::mem::take(&mut self.scratch);
        let placed = self.place_batch(drafts, covered, timestamp, &mut bytes);
        self.scratch = bytes;
        let placed = placed?;
        self.has_keys = true;
        self.ends_closed = false;
        if let Some(covered) = covered {
            self.claimed = covered.appended;
        }
        Ok(placed)
    }

    /// Puts a batch behind the log's end, piece by piece, and moves the end once all is there.
    fn place_batch<'d>(
        &mut self,
        drafts: impl Iterator<Item = &'d Draft<'d>>,
        covered: Option<Covered>,
        timestamp: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<Vec<Appended>, AppendError> {
        let codec = self.active.codec();
        let start = self.active.data_len();
        bytes.clear();
        if let Some(covered) = covered {
            codec.encode_log(Kind::SyncMarker, timestamp, start, &covered.position.encode(), bytes);
        }
        // Where the bytes go that are not placed yet.
        let mut at = start;
        let first = start + bytes.len() as u64;
        let mut appended = Vec::with_capacity(drafts.size_hint().0);
        for draft in drafts {
            let offset = at + bytes.len() as u64;
            let header = RecordHeader { in_batch: true, ..draft.header(timestamp) };
            let rest = codec.encode(&header, offset, draft.key, &draft.value, &draft.prepared, bytes);
            let end = at + (bytes.len() + rest.len()) as u64;
            // All of it ends within what an offset can say.
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            appended.push(Appended { offset, len: end - u64::from(offset) });
            if !rest.is_empty() || bytes.len() >= PIECE {
                self.put(bytes, rest, at)?;
                at = end;
                bytes.clear();
            }
        }
        let offset = at + bytes.len() as u64;
        let end = BatchEnd { count: appended.len() as u64, start: first };
        codec.encode_log(Kind::BatchEnd, timestamp, offset, &end.encode(), bytes);
        self.put(bytes, &[], at)?;
        self.advance(at + bytes.len() as u64);
        Ok(appended)
    }

    /// Appends a record of the log's own.
    pub(crate) fn append_log(&mut self, kind: Kind, payload: &[u8]) -> Result<(), AppendError> {
        let mut bytes = Vec::new();
        let (codec, offset) = (self.active.codec(), self.active.data_len());
        codec.encode_log(kind, self.timestamps.last(), offset, payload, &mut bytes);
        self.place(&bytes, &[])?;
        self.ends_closed = kind == Kind::CloseMarker;
        Ok(())
    }

    /// Appends a sync marker by itself, for a log that has gone idle.
    pub(crate) fn claim(&mut self, covered: Covered) -> Result<(), AppendError> {
        if covered.appended <= self.claimed || covered.appended < self.appended {
            return Ok(());
        }
        self.append_log(Kind::SyncMarker, &covered.position.encode())?;
        // The marker itself is not worth another one.
        self.claimed = self.appended;
        Ok(())
    }

    /// Whether space should be allocated ahead of need.
    pub(crate) fn wants_allocation(&self) -> bool {
        let Placement::Mapped { map_len } = self.placement else { return false };
        let allocated = self.active.allocated_len();
        allocated < map_len && allocated.saturating_sub(self.active.data_len()) < step(allocated) / 2
    }

    /// How long the active file should be made then.
    pub(crate) fn allocation_ahead(&self) -> u64 {
        let map_len = match self.placement {
            Placement::Mapped { map_len } => map_len,
            Placement::Written => 0,
        };
        let allocated = self.active.allocated_len();
        allocation_for(allocated, allocated, map_len)
    }

    /// Puts `bytes`, and then the `rest` of a large value, behind the log's end, and moves the end.
    fn place(&mut self, bytes: &[u8], rest: &[u8]) -> Result<(), AppendError> {
        let start = self.active.data_len();
        let end = start + bytes.len() as u64 + rest.len() as u64;
        self.allocate(end)?;
        self.put(bytes, rest, start)?;
        self.advance(end);
        Ok(())
    }

    /// Moves the log's end, within the active file.
    fn advance(&mut self, end: u64) {
        let len = end - self.active.data_len();
        self.active.set_data_len(end);
        self.appended += len;
        self.space.grow(len, end);
    }

    /// Refuses a record of `len` bytes, or such a batch, where the limit of the store or the disk has no room for it.
    pub(crate) fn admit(&mut self, kind: Kind, len: u64) -> Result<()> {
        let marker = self.active.codec().marker_len_max();
        // A rotation writes a link, and the next successor gets a header.
        let rotation = if self.has_room(len) { 0 } else { self.active.own_len() };
        self.space.admit(kind, len + marker + rotation)
    }

    /// Makes sure of the place up to `end`, where bytes are put in by a map.
    fn allocate(&self, end: u64) -> Result<(), AppendError> {
        let allocated = self.active.allocated_len();
        if let Placement::Mapped { map_len } = self.placement
            && end > allocated
        {
            let len = allocation_for(end, allocated, map_len);
            self.active.allocate(len).map_err(AppendError::Undone)?;
        }
        Ok(())
    }

    /// Puts bytes at `at`, which is at or behind the log's end, without moving that.
    fn put(&self, bytes: &[u8], rest: &[u8], at: u64) -> Result<(), AppendError> {
        let mut put = self.active.copy_in(bytes, at);
        if put.is_ok() && !rest.is_empty() {
            put = self.active.copy_in(rest, at + bytes.len() as u64);
        }
        put.map_err(|error| self.undo(error, self.active.data_len()))
    }

    fn undo(&self, error: Error, end: u64) -> AppendError {
        planted!("a broken map is a failed write", return AppendError::Undone(error));
        match self.placement {
            // The place was allocated, so this is a broken map: what else it has lost nobody knows.
            Placement::Mapped { .. } => AppendError::InDoubt(error),
            Placement::Written => match self.active.truncate(end) {
                Ok(()) => AppendError::Undone(error),
                Err(_) => AppendError::InDoubt(error),
            },
        }
    }
}

fn full() -> Error {
    Error::Full { what: "the active file", remedy: "close and open the store" }
}

/// How far a returned sync has covered the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covered {
    /// Bytes appended since the store was opened.
    pub(crate) appended: u64,
    /// The same place as a position.
    pub(crate) position: LogPosition,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::format::codec::Codec;
    use crate::format::file_header::{FileHeader, StoreId};
    use crate::format::position::FileId;
    use crate::location::Slot;
    use crate::vfs::sim::{SimClock, SimDisk};
    use crate::vfs::{DirAccess, Io};

    /// What an offset of 32 bits cannot say must not be written.
    #[test]
    fn nothing_is_appended_that_would_start_behind_four_gib() {
        for format in LogFormat::ALL {
            let clock = SimClock::new(1);
            let dir =
                SimDisk::new(Io::Syscall).vfs().open_dir(Path::new("store"), DirAccess::Create).unwrap();
            let header = FileHeader {
                format,
                store: StoreId([1; 16]),
                id: FileId::FIRST,
                salt: 2,
                inputs: Vec::new(),
            };
            let file = DataFile::create(&*dir, header, Slot::FIRST, 0).unwrap();
            let options = Options::new().format(format);
            let timestamps = Timestamps::new(0, &clock);
            let mut writer = Writer::new(Arc::clone(&file), true, Placement::Written, &options, timestamps);
            let draft = Draft::stored(format, b"key", b"value".into(), None, None);
            file.set_data_len(END_MAX);
            let refused = writer.append(&draft, None, &clock).map(drop);
            assert!(matches!(refused, Err(AppendError::Undone(Error::Full { .. }))), "{format:?}");
            let len = draft.len_max() + Codec::LOG_RECORD_MAX as u64;
            file.set_data_len(END_MAX - len);
            let refused = writer.append_batch([&draft].into_iter(), len, None, &clock).map(drop);
            assert!(matches!(refused, Err(AppendError::Undone(Error::Full { .. }))), "{format:?}");
            assert_eq!((file.data_len(), writer.appended), (END_MAX - len, 0));
        }
    }

    #[test]
    fn files_are_allocated_in_growing_steps_and_only_a_long_record_goes_past_the_map() {
        const MIB: u64 = 1 << 20;
        assert_eq!(allocation_for(100, 0, 256 * MIB), 100 + MIB);
        assert_eq!(allocation_for(40 * MIB, 40 * MIB, 256 * MIB), 50 * MIB);
        assert_eq!(allocation_for(200 * MIB, 200 * MIB, 256 * MIB), 216 * MIB);
        assert_eq!(allocation_for(250 * MIB, 250 * MIB, 256 * MIB), 256 * MIB);
        assert_eq!(allocation_for(900 * MIB, 0, 256 * MIB), 900 * MIB);
        assert_eq!(allocation_for(100, 0, 400), 400);
    }
}

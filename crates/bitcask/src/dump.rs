//! The records of one data file, one after the other, as they lie there: for looking, not for use.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout::{self, Name};
use crate::file::scan::{Scanned, Scanner};
use crate::format::Defect;
use crate::format::compression::Algorithm;
use crate::location::Slot;
use crate::vfs::os::OsVfs;
use crate::vfs::{Access, DirAccess, Io, Vfs};

/// One record as it lies in a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpedRecord {
    /// Where in the file it starts.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Microseconds since 1970, strictly increasing from commit to commit.
    pub timestamp_us: u64,
    /// From when on it has expired, in microseconds since 1970.
    pub expiry_us: Option<u64>,
    /// Whether it is part of a batch: it counts once the `batch end` behind it is there.
    pub in_batch: bool,
    /// What it is: `value`, `tombstone`, `batch end`, `sync marker`, `close marker`, `link`, `footer`, or `unknown, may be ignored`.
    pub kind: &'static str,
    /// The bytes before the key; in a text format the whole line.
    pub header: Vec<u8>,
    /// The key; empty for the log's own records.
    pub key: Vec<u8>,
    /// What the value is compressed by, if it is: `lz4` or `zstd`.
    pub compression: Option<&'static str>,
    /// The value, decompressed unless it is damaged; or the payload of a record of the log's own.
    pub value: Vec<u8>,
    /// Whether the value fits its checksum, and decompresses where it is compressed.
    pub value_is_sound: bool,
}

/// Opens the data file at `path`, such as `data/0000000001.data`, to look at its records.
///
/// # Errors
/// When the path does not name a data file, or its header is damaged.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
/// # db.put("a", "1")?;
/// # db.close()?;
/// let records: Vec<_> = bitcask::dump(dir.path().join("0000000001.data"))?.collect::<Result<_, _>>()?;
/// assert_eq!(records[0].kind, "link");
/// assert_eq!(records[1].key, b"a");
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn dump(path: impl AsRef<Path>) -> Result<Dump> {
    let path = path.as_ref();
    let not_a_file = || Error::NotAStore {
        path: path.to_owned(),
        reason: "a data file has a name such as 0000000001.data".to_owned(),
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(not_a_file)?;
    let Name::Data(id, format) = layout::parse(name) else { return Err(not_a_file()) };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |source| Error::io("open", path.display().to_string(), source);
    let dir = OsVfs::new(Io::Syscall).open_dir(parent, DirAccess::ReadOnly).map_err(failed)?;
    let file = DataFile::open_of_any_store(&*dir, id, format, Slot::FIRST, Access::Read)?;
    Dump::of(file)
}

/// Iterator over the records of a data file, from [`dump`]. It ends with the file, with the zeros behind the last
/// record, or with an error where a record's header does not check.
pub struct Dump {
    file: Arc<DataFile>,
    end: u64,
    next: u64,
    done: bool,
}

impl Dump {
    /// From the first record on.
    pub(crate) fn of(file: Arc<DataFile>) -> Result<Self> {
        let next = file.first_record();
        Ok(Self { end: file.file_len()?, file, next, done: false })
    }

    fn read_next(&mut self) -> Result<Option<DumpedRecord>> {
        let mut scanner = Scanner::starting_at(&self.file, self.next, self.end)?;
        let (offset, len) = match scanner.next()? {
            Scanned::End => return Ok(None),
            Scanned::Defect(defect) => {
                let rest_is_zeros = crate::file::scan::end_of_content(&self.file, self.next)? == self.next;
                return if rest_is_zeros { Ok(None) } else { Err(self.file.defect_at(defect, self.next)) };
            }
            Scanned::Record(record) => (record.offset, record.len),
        };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.file.read(&mut bytes, offset)?;
        self.next = offset + len;
        // A line is one piece.
        let line = (!self.file.codec().binds_offset()).then(|| bytes.clone());
        let record = self.file.codec().decode_unsound(bytes, offset);
        let record = record.map_err(|defect| self.file.defect_at(defect, offset))?;
        let mut plain = record.clone();
        let value_is_sound = record.is_sound()
            && match plain.decompress() {
                Ok(()) => true,
                Err(Defect::Damaged(_)) => false,
                Err(defect) => return Err(self.file.defect_at(defect, offset)),
            };
        let record = if value_is_sound { plain } else { record };
        Ok(Some(DumpedRecord {
            offset,
            len,
            timestamp_us: record.header.timestamp,
            expiry_us: record.header.expiry,
            in_batch: record.header.in_batch,
            kind: record.header.kind.name(),
            header: line.unwrap_or_else(|| record.before_key().to_vec()),
            key: record.key().to_vec(),
            compression: record.header.compression.map(Algorithm::name),
            value_is_sound,
            value: record.into_value(),
        }))
    }
}

impl Iterator for Dump {
    type Item = Result<DumpedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.read_next().transpose();
        self.done = !matches!(found, Some(Ok(_)));
        found
    }
}

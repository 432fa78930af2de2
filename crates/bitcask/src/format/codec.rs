//! The seam between what a record says and its bytes: who appends, scans or reads records asks the [`Codec`] of their
//! file, and nobody else knows how long anything is on disk.
//!
//! A record is a [`RecordHeader`], a key and a value, whatever its form. [`Prepared`] is the part of the work that needs
//! neither place nor time, so that it can be done before the writer lock is taken.

use super::checksum::checksum;
use super::compression;
use super::file_header::LogFormat;
use super::record::{Kind, RecordHeader, Seed};
use super::text::{Text, line_len};
use super::{Defect, footer, position, record};

/// How the records of one file are written. It is asked at every put and get, so it is no trait object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codec {
    Binary(Seed),
    Text(Text),
}

/// A value up to this size is copied behind its front, so that a record is one copy or one system call.
const ONE_PIECE: usize = 16 << 10;

/// What is computed of a record about a key before its place and its time are known, which is under the writer lock.
pub(crate) struct Prepared {
    pub(crate) value_crc: u32,
    /// In a text format, what the line ends with; empty in the binary one.
    entry: Vec<u8>,
}

impl Prepared {
    pub(crate) fn new(format: LogFormat, kind: Kind, key: &[u8], value: &[u8]) -> Self {
        Self { value_crc: checksum(value), entry: entry(format, kind, key, value) }
    }

    /// For a record that is copied, whose value has kept its checksum.
    pub(crate) fn carried(format: LogFormat, header: &RecordHeader, key: &[u8], value: &[u8]) -> Self {
        Self { value_crc: header.value_crc, entry: entry(format, header.kind, key, value) }
    }

    /// Bytes of the record on disk, or a few more.
    pub(crate) fn len_max(&self, header: &RecordHeader) -> u64 {
        match self.entry.len() {
            0 => header.record_len(),
            len => Text::FRONT_MAX + len as u64,
        }
    }
}

/// What the line of a record ends with; nothing in the binary format.
#[inline]
fn entry(format: LogFormat, kind: Kind, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::new();
    if let Some(syntax) = format.syntax() {
        syntax.append_entry(kind, key, value, &mut entry);
    }
    entry
}

/// A record of the log's own, whole.
pub(crate) struct LogRecord {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// A record that was read and checked: all of it, or only as far as its key.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) header: RecordHeader,
    /// Holds the key, and behind it the value and nothing else.
    bytes: Vec<u8>,
    key_start: usize,
    value_start: usize,
}

impl Record {
    pub(super) fn from_parts(header: RecordHeader, key: Vec<u8>, value: &[u8]) -> Self {
        let value_start = key.len();
        let mut bytes = key;
        bytes.extend_from_slice(value);
        Self { header, bytes, key_start: 0, value_start }
    }

    /// The same in memory that is there: who reads many values reads all into the same.
    fn moved_to(self, mut memory: Vec<u8>) -> Self {
        memory.clear();
        memory.extend_from_slice(&self.bytes);
        Self { bytes: memory, ..self }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[self.key_start..self.value_start]
    }

    /// The value, as it is stored until [`Record::decompress`]; no bytes when it was not read.
    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes[self.value_start..]
    }

    /// Puts the value as it was put in the place of the stored one, which was read and checked. The header stays that of
    /// the stored one.
    #[inline]
    pub(crate) fn decompress(&mut self) -> Result<(), Defect> {
        match self.header.compression {
            None => Ok(()),
            Some(algorithm) => compression::decompress(algorithm, &mut self.bytes, self.value_start),
        }
    }

    /// The length of the value as it was put, which is read and checked where it is compressed.
    pub(crate) fn plain_len(&self) -> Result<u64, Defect> {
        match self.header.compression {
            None => Ok(u64::from(self.header.value_size)),
            Some(algorithm) => compression::plain_len(algorithm, self.value()).map(|len| len as u64),
        }
    }

    /// Whether the value, which was read, fits its checksum.
    pub(crate) fn is_sound(&self) -> bool {
        planted!("a read does not check the value", return true);
        checksum(self.value()) == self.header.value_crc
    }

    /// What was read of the record before its key.
    pub(crate) fn before_key(&self) -> &[u8] {
        &self.bytes[..self.key_start]
    }

    /// The value without what was read before it.
    pub(crate) fn into_value(mut self) -> Vec<u8> {
        self.bytes.drain(..self.value_start);
        self.bytes
    }
}

impl Codec {
    /// The codec of a file in this format with this salt.
    pub(crate) fn new(format: LogFormat, salt: u64) -> Self {
        let seed = Seed::new(salt);
        match format.syntax() {
            Some(syntax) => Self::Text(Text { syntax, seed }),
            None => Self::Binary(seed),
        }
    }

    /// No record of the log's own takes more bytes than this, in whatever format.
    pub(crate) const LOG_RECORD_MAX: usize = Text::LOG_RECORD_MAX;

    /// No record of the log's own takes more bytes than this.
    pub(crate) const fn log_record_max(self) -> usize {
        match self {
            Self::Binary(_) => record::FIXED_LEN + footer::PAYLOAD_LEN,
            Self::Text(_) => Text::LOG_RECORD_MAX,
        }
    }

    /// No sync marker takes more bytes than this.
    pub(crate) const fn marker_len_max(self) -> u64 {
        match self {
            Self::Binary(_) => (record::FIXED_LEN + position::LEN) as u64,
            Self::Text(_) => Text::MARKER_MAX,
        }
    }

    /// Bytes of a file's link, or a few more: for reports, and for judging whether a merge is worth it.
    pub(crate) const fn link_len(self) -> u64 {
        match self {
            Self::Binary(_) => (record::FIXED_LEN + position::LEN) as u64,
            Self::Text(text) => text.syntax.link_len(),
        }
    }

    /// Whether a record checks at its own offset only.
    pub(crate) const fn binds_offset(self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Appends the record about a key, as it has to be at `offset`, to `out`; what is returned follows it on disk:
    /// the bulk of a large one is not copied.
    #[inline]
    pub(crate) fn encode<'v>(
        self,
        header: &RecordHeader,
        offset: u64,
        key: &[u8],
        value: &'v [u8],
        prepared: &'v Prepared,
        out: &mut Vec<u8>,
    ) -> &'v [u8] {
        let rest = match self {
            Self::Binary(seed) => {
                header.encode_front(seed, offset, key, out);
                value
            }
            Self::Text(text) => {
                text.encode_front(header, &prepared.entry, out);
                &prepared.entry
            }
        };
        if rest.len() > ONE_PIECE {
            return rest;
        }
        out.extend_from_slice(rest);
        &[]
    }

    /// Appends a record of the log's own, as it has to be at `offset`, to `out`.
    pub(crate) fn encode_log(
        self,
        kind: Kind,
        timestamp: u64,
        offset: u64,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        let header = RecordHeader::for_log(kind, timestamp, payload);
        match self {
            Self::Binary(seed) => {
                header.encode_front(seed, offset, &[], out);
                out.extend_from_slice(payload);
            }
            Self::Text(text) => text.encode_log(&header, payload, out),
        }
    }

    /// The record of the log's own at the start of `bytes`, when one is there whole. [`Codec::log_record_max`] bytes,
    /// or all to the end of the file, are enough.
    pub(crate) fn decode_log(self, bytes: &[u8], offset: u64) -> Option<LogRecord> {
        match self {
            Self::Binary(seed) => {
                let header = RecordHeader::decode(bytes, seed, offset).ok()?;
                let len = header.record_len();
                let payload = bytes.get(header.front_len()..usize::try_from(len).ok()?)?;
                let is_whole = checksum(payload) == header.value_crc;
                is_whole.then(|| LogRecord { kind: header.kind, payload: payload.to_vec() })
            }
            Self::Text(text) => text.decode_log(bytes),
        }
    }

    /// Whether a record that could claim a sync may start here. Cheap: it is asked at every byte of a torn tail.
    pub(crate) fn may_claim(self, bytes: &[u8]) -> bool {
        match self {
            Self::Binary(_) => bytes
                .first_chunk::<{ record::FIXED_LEN }>()
                // Kind, flags, and no key.
                .is_some_and(|fixed| (4..=6).contains(&fixed[16]) && fixed[17..20] == [0, 0, 0]),
            Self::Text(text) => text.syntax.stored_crc(bytes).is_some(),
        }
    }

    /// Whether any record may start here. Cheap: a salvage asks it at every byte behind damage.
    pub(crate) fn may_begin(self, bytes: &[u8]) -> bool {
        match self {
            Self::Binary(_) => bytes.first_chunk::<{ record::FIXED_LEN }>().is_some_and(|fixed| {
                let (kind, flags, has_key) = (fixed[16], fixed[17], fixed[18..20] != [0, 0]);
                (1..=7).contains(&kind) && flags < 16 && (kind <= 2) == has_key
            }),
            Self::Text(text) => text.syntax.stored_crc(bytes).is_some(),
        }
    }

    /// Where in `tail`, the last [`Codec::log_record_max`] bytes of a file or all of it, the footer starts if there is one.
    pub(crate) fn footer_start(self, tail: &[u8]) -> Option<usize> {
        match self {
            Self::Binary(_) => tail.len().checked_sub(self.log_record_max()),
            Self::Text(_) => Text::last_line(tail),
        }
    }

    /// Decodes and checks the record at the start of `bytes`, which may go on behind it.
    #[inline]
    pub(crate) fn decode(self, bytes: Vec<u8>, offset: u64) -> Result<Record, Defect> {
        let record = self.decode_unsound(bytes, offset)?;
        if record.is_sound() {
            Ok(record)
        } else {
            Err(Defect::damaged("the value does not fit its checksum"))
        }
    }

    /// As [`Codec::decode`], whether or not the value fits where it has a checksum of its own.
    #[inline]
    pub(crate) fn decode_unsound(self, mut bytes: Vec<u8>, offset: u64) -> Result<Record, Defect> {
        match self {
            Self::Binary(seed) => {
                let header = RecordHeader::decode(&bytes, seed, offset)?;
                let len = usize::try_from(header.record_len()).unwrap_or(usize::MAX);
                if len > bytes.len() {
                    return Err(Defect::damaged("the record is longer than its location says"));
                }
                bytes.truncate(len);
                Ok(Record { header, bytes, key_start: header.key_start(), value_start: header.front_len() })
            }
            Self::Text(text) => text.decode_first(&bytes).map(|record| record.moved_to(bytes)),
        }
    }

    /// How many of a record's bytes it takes to know its key, as far as its first bytes tell: not proven yet.
    pub(crate) fn key_end(self, bytes: &[u8]) -> usize {
        match self {
            Self::Binary(_) => {
                bytes.first_chunk().map_or(record::FRONT_MAX, RecordHeader::unproven_front_len)
            }
            // A line checks as a whole.
            Self::Text(_) if line_len(bytes).is_some() => bytes.len(),
            Self::Text(_) => usize::MAX,
        }
    }

    /// As [`Codec::decode`], but for the value where the bytes before it have a checksum of their own.
    pub(crate) fn decode_key(self, mut bytes: Vec<u8>, offset: u64) -> Result<Record, Defect> {
        match self {
            Self::Binary(seed) => {
                let header = RecordHeader::decode(&bytes, seed, offset)?;
                let value_start = header.front_len();
                bytes.truncate(value_start);
                Ok(Record { header, bytes, key_start: header.key_start(), value_start })
            }
            Self::Text(text) => text.decode_first(&bytes),
        }
    }
}

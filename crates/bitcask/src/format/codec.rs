//! The seam between what a record says and its bytes: who appends, scans or reads records asks the [`Codec`] of their
//! file, and nobody else knows how long anything is on disk.
//!
//! A record is a [`RecordHeader`], a key and a value, whatever its form. [`Prepared`] is the part of the work that needs
//! neither place nor time, so that it can be done before the writer lock is taken.

use super::checksum::checksum;
use super::file_header::LogFormat;
use super::record::{Kind, RecordHeader, Seed};
use super::{Defect, footer, position, record};

/// How the records of one file are written. It is asked at every put and get, so it is no trait object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codec {
    Binary(Seed),
}

/// A value up to this size is copied behind its front, so that a record is one copy or one system call.
const ONE_PIECE: usize = 16 << 10;

/// What is computed of a record about a key before its place and its time are known, which is under the writer lock.
pub(crate) struct Prepared {
    pub(crate) value_crc: u32,
}

impl Prepared {
    pub(crate) fn new(format: LogFormat, value: &[u8]) -> Self {
        match format {
            LogFormat::Binary => Self { value_crc: checksum(value) },
        }
    }

    /// Bytes of the record on disk, or a few more.
    pub(crate) fn len_max(&self, header: &RecordHeader) -> u64 {
        header.record_len()
    }
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
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[self.key_start..self.value_start]
    }

    /// The value; no bytes when it was not read.
    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes[self.value_start..]
    }

    /// Whether the value, which was read, fits its checksum.
    pub(crate) fn is_sound(&self) -> bool {
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
        match format {
            LogFormat::Binary => Self::Binary(Seed::new(salt)),
        }
    }

    /// No record of the log's own takes more bytes than this.
    pub(crate) const LOG_RECORD_MAX: usize = record::FIXED_LEN + footer::PAYLOAD_LEN;

    /// No sync marker takes more bytes than this.
    pub(crate) const fn marker_len_max(self) -> u64 {
        match self {
            Self::Binary(_) => (record::FIXED_LEN + position::LEN) as u64,
        }
    }

    /// Appends the record about a key, as it has to be at `offset`, to `out`; what is returned of the value follows it
    /// on disk: a large value is not copied.
    pub(crate) fn encode<'v>(
        self,
        header: &RecordHeader,
        offset: u64,
        key: &[u8],
        value: &'v [u8],
        _prepared: &Prepared,
        out: &mut Vec<u8>,
    ) -> &'v [u8] {
        match self {
            Self::Binary(seed) => {
                header.encode_front(seed, offset, key, out);
                if value.len() > ONE_PIECE {
                    return value;
                }
                out.extend_from_slice(value);
                &[]
            }
        }
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
        }
    }

    /// The record of the log's own at the start of `bytes`, when one is there whole. [`Codec::LOG_RECORD_MAX`] bytes,
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
        }
    }

    /// Whether a record that could claim a sync may start here. Cheap: it is asked at every byte of a torn tail.
    pub(crate) fn may_claim(self, bytes: &[u8]) -> bool {
        match self {
            Self::Binary(_) => bytes
                .first_chunk::<{ record::FIXED_LEN }>()
                // Kind, flags, and no key.
                .is_some_and(|fixed| (4..=6).contains(&fixed[16]) && fixed[17..20] == [0, 0, 0]),
        }
    }

    /// Whether any record may start here. Cheap: a salvage asks it at every byte behind damage.
    pub(crate) fn may_begin(self, bytes: &[u8]) -> bool {
        match self {
            Self::Binary(_) => bytes.first_chunk::<{ record::FIXED_LEN }>().is_some_and(|fixed| {
                let (kind, flags, has_key) = (fixed[16], fixed[17], fixed[18..20] != [0, 0]);
                (1..=7).contains(&kind) && flags < 16 && (kind <= 2) == has_key
            }),
        }
    }

    /// Where in `tail`, the last [`Codec::LOG_RECORD_MAX`] bytes of a file or all of it, the footer starts if there is one.
    pub(crate) fn footer_start(self, tail: &[u8]) -> Option<usize> {
        match self {
            Self::Binary(_) => tail.len().checked_sub(record::FIXED_LEN + footer::PAYLOAD_LEN),
        }
    }

    /// Decodes and checks the record at the start of `bytes`, which may go on behind it.
    pub(crate) fn decode(self, bytes: Vec<u8>, offset: u64) -> Result<Record, Defect> {
        let record = self.decode_unsound(bytes, offset)?;
        if record.is_sound() {
            Ok(record)
        } else {
            Err(Defect::damaged("the value does not fit its checksum"))
        }
    }

    /// As [`Codec::decode`], whether or not the value fits where it has a checksum of its own.
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
        }
    }

    /// How many of a record's bytes it takes to know its key, as far as its first bytes tell: not proven yet.
    pub(crate) fn key_end(self, bytes: &[u8]) -> usize {
        match self {
            Self::Binary(_) => {
                bytes.first_chunk().map_or(record::FRONT_MAX, RecordHeader::unproven_front_len)
            }
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
        }
    }
}

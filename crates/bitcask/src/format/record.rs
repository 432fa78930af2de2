//! The record of the binary log: the paper's row `crc | timestamp | key_size | value_size | key | value`, made safe.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 4 | header crc | CRC-32C over the file's salt, the record's offset, and everything from the next field to the end of the key |
//! | 4 | value crc | CRC-32C of the value as stored |
//! | 8 | timestamp | microseconds since 1970, strictly increasing from commit to commit |
//! | 1 | kind | [`Kind`]; 0 is never valid; from 128 on: may be ignored |
//! | 1 | flags | bit 0: has expiry; bit 1: part of a batch; bits 2-3: compression; all others zero in this version |
//! | 2 | key size | 1 to 65,535 for values and tombstones, 0 for the log's own records |
//! | 4 | value size | |
//! | 0 or 8 | expiry | microseconds since 1970 |
//! | | key | |
//! | | value | as it is stored: see [`super::compression`] |
//!
//! The *front* of a record is everything before its value. A front whose checksum fits proves its lengths, its
//! key and the checksum of its value, and that it was written at this offset of this very file.

use super::checksum::extend;
use super::compression::Algorithm;
use super::{Defect, Reader, checksum};

/// Bytes of the fixed part.
pub(crate) const FIXED_LEN: usize = 24;
const EXPIRY_LEN: usize = 8;
/// The longest front: fixed part, expiry and the longest key.
pub(crate) const FRONT_MAX: usize = FIXED_LEN + EXPIRY_LEN + KEY_MAX;
/// The longest key in bytes.
pub(crate) const KEY_MAX: usize = u16::MAX as usize;

const HAS_EXPIRY: u8 = 1;
const IN_BATCH: u8 = 2;
/// Two bits with the number of an [`Algorithm`], or 0 for none.
const COMPRESSION: u8 = 12;
const COMPRESSION_SHIFT: u32 = COMPRESSION.trailing_zeros();
const KNOWN_FLAGS: u8 = HAS_EXPIRY | IN_BATCH | COMPRESSION;
/// Kinds from here on may be skipped by a reader that does not know them.
const FIRST_IGNORABLE: u8 = 128;

/// What a record says. The numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The key has this value.
    Value,
    /// The key is deleted.
    Tombstone,
    /// The batch is whole that ends right before this.
    BatchEnd,
    /// A sync that covered the log up to the position in the payload had returned when this was written.
    SyncMarker,
    /// As a sync marker, and the writer closed the store here.
    CloseMarker,
    /// The file is complete: see [`super::footer`].
    Footer,
    /// The first record of a file: the file before it in the log, and the length that file had then.
    Link,
    /// Of a later version, which allows to skip it.
    Ignorable(u8),
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Value => 1,
            Self::Tombstone => 2,
            Self::BatchEnd => 3,
            Self::SyncMarker => 4,
            Self::CloseMarker => 5,
            Self::Footer => 6,
            Self::Link => 7,
            Self::Ignorable(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, Defect> {
        match byte {
            0 => Err(Defect::damaged("a record of kind 0")),
            1 => Ok(Self::Value),
            2 => Ok(Self::Tombstone),
            3 => Ok(Self::BatchEnd),
            4 => Ok(Self::SyncMarker),
            5 => Ok(Self::CloseMarker),
            6 => Ok(Self::Footer),
            7 => Ok(Self::Link),
            FIRST_IGNORABLE.. => Ok(Self::Ignorable(byte)),
            other => Err(Defect::newer(format!("record kind {other}"))),
        }
    }

    /// The kind with this number that may be ignored, if it may.
    pub(crate) fn ignorable(number: u8) -> Option<Self> {
        (number >= FIRST_IGNORABLE).then_some(Self::Ignorable(number))
    }

    /// Whether records of this kind are about a key.
    pub(crate) fn has_key(self) -> bool {
        matches!(self, Self::Value | Self::Tombstone)
    }

    /// The word for it in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Tombstone => "tombstone",
            Self::BatchEnd => "batch end",
            Self::SyncMarker => "sync marker",
            Self::CloseMarker => "close marker",
            Self::Footer => "footer",
            Self::Link => "link",
            Self::Ignorable(_) => "unknown, may be ignored",
        }
    }
}

/// The checksum of a file's salt, with which the header crc of each of its records begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(salt: u64) -> Self {
        planted!("a record fits in any file", let salt = 0);
        Self(checksum::checksum(&salt.to_le_bytes()))
    }

    /// The checksum of the salt alone.
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// The header crc of the front at `offset` whose bytes after the crc are `covered`.
    fn header_crc(self, offset: u64, covered: &[u8]) -> u32 {
        planted!("a record fits at any offset", let offset = 0);
        planted!("a checksum leaves out the key", let covered = &covered[..FIXED_LEN - 4]);
        extend(extend(self.0, &offset.to_le_bytes()), covered)
    }
}

/// The front of a record without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) timestamp: u64,
    pub(crate) expiry: Option<u64>,
    /// Whether the record counts only once the end of its batch follows.
    pub(crate) in_batch: bool,
    /// By what the stored value was compressed, if it was.
    pub(crate) compression: Option<Algorithm>,
    pub(crate) key_size: u16,
    /// Of the value as it is stored.
    pub(crate) value_size: u32,
    pub(crate) value_crc: u32,
}

impl RecordHeader {
    /// A record of the log's own, without a key.
    pub(crate) fn for_log(kind: Kind, timestamp: u64, payload: &[u8]) -> Self {
        Self {
            kind,
            timestamp,
            expiry: None,
            in_batch: false,
            compression: None,
            key_size: 0,
            value_size: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            value_crc: checksum::checksum(payload),
        }
    }

    fn flags(&self) -> u8 {
        let has_expiry = if self.expiry.is_some() { HAS_EXPIRY } else { 0 };
        let in_batch = if self.in_batch { IN_BATCH } else { 0 };
        let compression = self.compression.map_or(0, Algorithm::to_number) << COMPRESSION_SHIFT;
        has_expiry | in_batch | compression
    }

    /// Where the key starts.
    pub(super) fn key_start(&self) -> usize {
        FIXED_LEN + if self.expiry.is_some() { EXPIRY_LEN } else { 0 }
    }

    /// Bytes before the value: fixed part, expiry and key.
    pub(crate) fn front_len(&self) -> usize {
        self.key_start() + usize::from(self.key_size)
    }

    /// Bytes of the whole record.
    pub(crate) fn record_len(&self) -> u64 {
        self.front_len() as u64 + u64::from(self.value_size)
    }

    /// The key, given at least the front of the record.
    pub(crate) fn key<'a>(&self, front: &'a [u8]) -> &'a [u8] {
        front.get(self.key_start()..self.front_len()).unwrap_or_default()
    }

    /// Appends the front of this record, as it has to be at `offset`, to `out`.
    pub(crate) fn encode_front(&self, seed: Seed, offset: u64, key: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(key.len(), usize::from(self.key_size));
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.value_crc.to_le_bytes());
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        out.push(self.kind.to_byte());
        out.push(self.flags());
        out.extend_from_slice(&self.key_size.to_le_bytes());
        out.extend_from_slice(&self.value_size.to_le_bytes());
        if let Some(expiry) = self.expiry {
            out.extend_from_slice(&expiry.to_le_bytes());
        }
        out.extend_from_slice(key);
        let crc = seed.header_crc(offset, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// How many bytes the front takes that begins with `fixed`; not proven yet, but at most [`FRONT_MAX`].
    pub(crate) fn unproven_front_len(fixed: &[u8; FIXED_LEN]) -> usize {
        let key_size = usize::from(u16::from_le_bytes([fixed[18], fixed[19]]));
        let expiry_len = if fixed[17] & HAS_EXPIRY != 0 { EXPIRY_LEN } else { 0 };
        FIXED_LEN + expiry_len + key_size
    }

    /// Decodes the front at the start of `bytes`, which may go on behind it, as read from `offset`.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, Defect> {
        let damaged = || Defect::damaged("the checksum of a record's header and key does not fit");
        let fixed = bytes.first_chunk::<FIXED_LEN>().ok_or_else(damaged)?;
        let front = bytes.get(..Self::unproven_front_len(fixed)).ok_or_else(damaged)?;
        let mut reader = Reader::new(front);
        let stored_crc = reader.u32().ok_or_else(damaged)?;
        if seed.header_crc(offset, &front[4..]) != stored_crc {
            planted!("headers are not checked", return Self::decode_covered(reader).ok_or_else(damaged)?);
            return Err(damaged());
        }
        Self::decode_covered(reader).ok_or_else(damaged)?
    }

    /// The fields behind the header crc, once that fits.
    fn decode_covered(mut reader: Reader<'_>) -> Option<Result<Self, Defect>> {
        let value_crc = reader.u32()?;
        let timestamp = reader.u64()?;
        let (kind, flags) = (reader.u8()?, reader.u8()?);
        let (key_size, value_size) = (reader.u16()?, reader.u32()?);
        let expiry = if flags & HAS_EXPIRY != 0 { Some(reader.u64()?) } else { None };
        let kind = match Kind::from_byte(kind) {
            Ok(kind) => kind,
            Err(defect) => return Some(Err(defect)),
        };
        let (compression, is_known) = match (flags & COMPRESSION) >> COMPRESSION_SHIFT {
            0 => (None, true),
            number => {
                let algorithm = Algorithm::from_number(number);
                (algorithm, algorithm.is_some())
            }
        };
        let is_known = is_known && flags & !KNOWN_FLAGS == 0;
        if !is_known && !matches!(kind, Kind::Ignorable(_)) {
            return Some(Err(Defect::newer(format!("record flags {flags:#04x}"))));
        }
        if !matches!(kind, Kind::Ignorable(_)) && kind.has_key() == (key_size == 0) {
            return Some(Err(Defect::damaged("a record whose kind and key size contradict each other")));
        }
        if compression.is_some() && !matches!(kind, Kind::Value | Kind::Ignorable(_)) {
            return Some(Err(Defect::damaged("a record whose kind and compression contradict each other")));
        }
        let in_batch = flags & IN_BATCH != 0;
        Some(Ok(Self { kind, timestamp, expiry, in_batch, compression, key_size, value_size, value_crc }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(
        kind: Kind,
        expiry: Option<u64>,
        key: &[u8],
        value: &[u8],
        offset: u64,
    ) -> (RecordHeader, Vec<u8>) {
        let header = RecordHeader {
            kind,
            timestamp: 1_763_790_000_000_000,
            expiry,
            in_batch: key.len() % 2 == 1,
            compression: Algorithm::from_number(u8::try_from(value.len() % 3).unwrap())
                .filter(|_| kind == Kind::Value),
            key_size: u16::try_from(key.len()).unwrap(),
            value_size: u32::try_from(value.len()).unwrap(),
            value_crc: checksum::checksum(value),
        };
        let mut bytes = Vec::new();
        header.encode_front(Seed::new(42), offset, key, &mut bytes);
        assert_eq!(bytes.len(), header.front_len());
        (header, bytes)
    }

    proptest! {
        #[test]
        fn a_front_comes_back(key in prop::collection::vec(any::<u8>(), 1..300), value: Vec<u8>, expiry: Option<u64>, offset: u64) {
            let (header, mut bytes) = encoded(Kind::Value, expiry, &key, &value, offset);
            bytes.extend_from_slice(&value);
            prop_assert_eq!(RecordHeader::decode(&bytes, Seed::new(42), offset), Ok(header));
            prop_assert_eq!(header.key(&bytes), &key[..]);
            prop_assert_eq!(header.record_len(), bytes.len() as u64);
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>, offset: u64) {
            prop_assert!(RecordHeader::decode(&bytes, Seed::new(42), offset).is_err());
        }
    }

    #[test]
    fn a_front_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        let (_, bytes) = encoded(Kind::Value, Some(9), b"key", b"value", 68);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHeader::decode(&flipped, Seed::new(42), 68).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(RecordHeader::decode(&bytes[..len], Seed::new(42), 68).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_record_of_another_file_or_another_offset_is_refused() {
        let (_, bytes) = encoded(Kind::Value, None, b"key", b"value", 68);
        assert!(RecordHeader::decode(&bytes, Seed::new(42), 68).is_ok());
        assert!(RecordHeader::decode(&bytes, Seed::new(43), 68).is_err());
        assert!(RecordHeader::decode(&bytes, Seed::new(42), 69).is_err());
    }

    /// A front with these bytes for kind and flags, and a crc that fits.
    fn forged(kind: u8, flags: u8, key: &[u8]) -> Vec<u8> {
        let (_, mut bytes) = encoded(Kind::Value, None, key, b"", 68);
        bytes[16] = kind;
        bytes[17] = flags;
        let crc = Seed::new(42).header_crc(68, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn unknown_kinds_and_flags_are_newer_and_high_kinds_may_be_ignored() {
        let decode = |bytes: Vec<u8>| RecordHeader::decode(&bytes, Seed::new(42), 68);
        assert!(matches!(decode(forged(8, 0, b"k")), Err(Defect::Newer(_))));
        assert!(matches!(decode(forged(127, 0, b"k")), Err(Defect::Newer(_))));
        assert!(matches!(decode(forged(1, 16, b"k")), Err(Defect::Newer(_))));
        assert!(matches!(decode(forged(1, 12, b"k")), Err(Defect::Newer(_))), "a third algorithm");
        assert!(matches!(decode(forged(0, 0, b"k")), Err(Defect::Damaged(_))));
        assert_eq!(decode(forged(128, 28, b"k")).map(|header| header.kind), Ok(Kind::Ignorable(128)));
    }

    #[test]
    fn a_value_without_a_key_and_a_marker_with_one_are_refused() {
        let decode = |bytes: Vec<u8>| RecordHeader::decode(&bytes, Seed::new(42), 68);
        assert!(matches!(decode(forged(1, 0, b"")), Err(Defect::Damaged(_))));
        assert!(matches!(decode(forged(4, 0, b"k")), Err(Defect::Damaged(_))));
    }

    #[test]
    fn only_a_value_is_compressed() {
        let decode = |bytes: Vec<u8>| RecordHeader::decode(&bytes, Seed::new(42), 68);
        let compression = |bytes| decode(bytes).unwrap().compression;
        assert_eq!(compression(forged(1, 4, b"k")), Some(Algorithm::Lz4));
        assert_eq!(compression(forged(1, 8, b"k")), Some(Algorithm::Zstd));
        assert!(matches!(decode(forged(2, 4, b"k")), Err(Defect::Damaged(_))));
        assert!(matches!(decode(forged(4, 8, b"")), Err(Defect::Damaged(_))));
    }

    #[test]
    fn zeros_are_never_a_record() {
        assert!(RecordHeader::decode(&[0; 64], Seed::new(42), 68).is_err());
    }
}

//! The header of a data file.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `bitcaskD` |
//! | 8 | 4 | version |
//! | 12 | 1 | log format: 1 binary |
//! | 13 | 3 | zero |
//! | 16 | 16 | store id |
//! | 32 | 8 | file id |
//! | 40 | 8 | salt, random |
//! | 48 | 4 | flags that must be understood to read the file |
//! | 52 | 4 | flags that must be understood to write the store |
//! | 56 | 4 | flags that may be ignored |
//! | 60 | 4 | count of inputs |
//! | 64 | 8 each | inputs: the files that this merge output replaces |
//! | | 4 | CRC-32C of everything before |
//!
//! Everything but the count of inputs has its place for ever: a later version may add only behind the flags.

use super::checksum::checksum;
use super::position::FileId;
use super::{Defect, Reader, VERSION};

const MAGIC: [u8; 8] = *b"bitcaskD";
const FRONT_LEN: usize = 64;
const CHECKSUM_LEN: usize = 4;

/// The most inputs that a header may name: a run of files of at most this many.
pub(crate) const INPUTS_MAX: usize = 4096;

/// How the records of a log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Binary,
}

impl LogFormat {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Binary => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, Defect> {
        match byte {
            1 => Ok(Self::Binary),
            other => Err(Defect::newer(format!("log format {other}"))),
        }
    }
}

/// The number that ties the files of one store together; random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(pub(crate) [u8; 16]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) format: LogFormat,
    pub(crate) store: StoreId,
    pub(crate) id: FileId,
    pub(crate) salt: u64,
    pub(crate) inputs: Vec<FileId>,
}

impl FileHeader {
    /// How many bytes [`FileHeader::encode`] gives: the offset of the file's first record.
    pub(crate) fn len(&self) -> u64 {
        (FRONT_LEN + 8 * self.inputs.len() + CHECKSUM_LEN) as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[self.format.to_byte(), 0, 0, 0]);
        bytes.extend_from_slice(&self.store.0);
        bytes.extend_from_slice(&self.id.0.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        let count = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        debug_assert!(self.inputs.len() <= INPUTS_MAX, "a merge takes at most {INPUTS_MAX} inputs");
        bytes.extend_from_slice(&count.to_le_bytes());
        for input in &self.inputs {
            bytes.extend_from_slice(&input.0.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes
    }

    /// How many bytes the header takes whose first 64 are `front`; `None` when that cannot be a header.
    pub(crate) fn encoded_len(front: &[u8]) -> Option<usize> {
        let count = u32::from_le_bytes(*front.get(60..)?.first_chunk()?);
        let count = usize::try_from(count).ok().filter(|&count| count <= INPUTS_MAX)?;
        Some(FRONT_LEN + 8 * count + CHECKSUM_LEN)
    }

    /// Decodes the header at the front of `bytes`, which may go on behind it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        if bytes.first_chunk() != Some(&MAGIC) {
            return Err(Defect::damaged("it does not begin with the magic number of a data file"));
        }
        let mut reader = Reader::new(&bytes[MAGIC.len()..]);
        let version = reader.u32().unwrap_or(0);
        // A later version may lay the rest out anew, so its number is believed before the checksum; a flipped bit
        // in it is reported all the same, as a version that nobody has.
        if version == 0 {
            return Err(Defect::damaged("version 0 of the file format, which never was"));
        }
        if version != VERSION {
            return Err(Defect::newer(format!("version {version} of the file format")));
        }
        let damaged = || Defect::damaged("the checksum of the file header does not fit");
        let len = Self::encoded_len(bytes).ok_or_else(damaged)?;
        let whole = bytes.get(..len).ok_or_else(damaged)?;
        let (covered, stored) = whole.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(damaged)?;
        if checksum(covered) != u32::from_le_bytes(*stored) {
            return Err(damaged());
        }
        Self::decode_covered(reader).ok_or_else(damaged)?
    }

    /// The fields behind the version, once the checksum fits.
    fn decode_covered(mut reader: Reader<'_>) -> Option<Result<Self, Defect>> {
        let [format, ..] = reader.bytes::<4>()?;
        let store = StoreId(reader.bytes()?);
        let id = FileId(reader.u64()?);
        let salt = reader.u64()?;
        let (to_read, to_write, _may_ignore) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let count = reader.u32()?;
        let inputs = (0..count).map(|_| reader.u64().map(FileId)).collect::<Option<Vec<_>>>()?;
        if to_read != 0 || to_write != 0 {
            return Some(Err(Defect::newer(format!(
                "flags {to_read:#x} and {to_write:#x} of the file header"
            ))));
        }
        Some(LogFormat::from_byte(format).map(|format| Self { format, store, id, salt, inputs }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(inputs: &[u64]) -> FileHeader {
        FileHeader {
            format: LogFormat::Binary,
            store: StoreId(*b"0123456789abcdef"),
            id: FileId(3),
            salt: 0x1122_3344_5566_7788,
            inputs: inputs.iter().copied().map(FileId).collect(),
        }
    }

    #[test]
    fn a_header_comes_back_with_and_without_inputs() {
        for header in [header(&[]), header(&[1, 2, 900])] {
            let mut bytes = header.encode();
            assert_eq!(bytes.len() as u64, header.len());
            assert_eq!(FileHeader::encoded_len(&bytes), Some(bytes.len()));
            bytes.extend_from_slice(b"what follows");
            assert_eq!(FileHeader::decode(&bytes), Ok(header));
        }
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        let bytes = header(&[5]).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(FileHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_later_version_and_unknown_flags_are_newer_not_damaged() {
        let mut later = header(&[]).encode();
        later[8] = 2;
        assert!(matches!(FileHeader::decode(&later), Err(Defect::Newer(_))));
        for flags_at in [48, 52] {
            let mut flagged = header(&[]).encode();
            flagged[flags_at] = 1;
            let len = flagged.len();
            let sum = checksum(&flagged[..len - 4]);
            flagged[len - 4..].copy_from_slice(&sum.to_le_bytes());
            assert!(matches!(FileHeader::decode(&flagged), Err(Defect::Newer(_))));
        }
    }
}

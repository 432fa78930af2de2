//! The header of a data file. Of a text file it is a line: see [`text::header`]. Of a binary one:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `bitcaskD` |
//! | 8 | 4 | version |
//! | 12 | 1 | log format: 1, binary |
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
use super::text::{self, Syntax};
use super::{Defect, Reader, VERSION};

const MAGIC: [u8; 8] = *b"bitcaskD";
const FRONT_LEN: usize = 64;
const CHECKSUM_LEN: usize = 4;

/// The most inputs that a header may name: a run of files of at most this many.
pub(crate) const INPUTS_MAX: usize = 4096;

/// How the records of a store's log are written. Chosen when a store is made, and kept by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The shortest and the fastest, and the only one that is mapped into memory.
    #[default]
    Binary,
    /// JSON Lines: each record is a line with an object, which `grep`, `jq` and editors understand. Keys and values that
    /// are not text of one line are in base64.
    Json,
    /// CSV by RFC 4180 with the names of the columns in the first line, for spreadsheets and databases; otherwise as
    /// [`LogFormat::Json`].
    Csv,
}

impl LogFormat {
    pub(crate) const ALL: [Self; 3] = [Self::Binary, Self::Json, Self::Csv];

    /// The word for it: `binary`, `json` or `csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The text that its files consist of, if they do.
    pub(crate) fn syntax(self) -> Option<Syntax> {
        match self {
            Self::Binary => None,
            Self::Json => Some(Syntax::Json),
            Self::Csv => Some(Syntax::Csv),
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Binary => 1,
            Self::Json => 2,
            Self::Csv => 3,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, Defect> {
        let known = Self::ALL.into_iter().find(|format| format.to_byte() == byte);
        known.ok_or_else(|| Defect::newer(format!("log format {byte}")))
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
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self.format.syntax() {
            Some(syntax) => text::header::encode(syntax, self),
            None => self.encode_binary(),
        }
    }

    /// How many bytes it takes to decode the header that begins with `front`: not proven yet, but bounded.
    pub(crate) fn len_max(format: LogFormat, front: &[u8]) -> usize {
        match format.syntax() {
            Some(syntax) if text::header::is_whole(syntax, front) => front.len(),
            Some(_) => text::header::LEN_MAX,
            None => Self::binary_len(front).unwrap_or(FRONT_LEN),
        }
    }

    /// Decodes the header at the front of `bytes`, which may go on behind it. Also gives its length, which is the offset
    /// of the file's first record.
    pub(crate) fn decode(format: LogFormat, bytes: &[u8]) -> Result<(Self, u64), Defect> {
        let (header, len) = match format.syntax() {
            Some(syntax) => text::header::decode(syntax, bytes)?,
            None => Self::decode_binary(bytes)?,
        };
        if header.format != format {
            let what = format!("its header says that it is {}", header.format.name());
            return Err(Defect::damaged(what));
        }
        Ok((header, len as u64))
    }

    fn encode_binary(&self) -> Vec<u8> {
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
    fn binary_len(front: &[u8]) -> Option<usize> {
        let count = u32::from_le_bytes(*front.get(60..)?.first_chunk()?);
        let count = usize::try_from(count).ok().filter(|&count| count <= INPUTS_MAX)?;
        Some(FRONT_LEN + 8 * count + CHECKSUM_LEN)
    }

    fn decode_binary(bytes: &[u8]) -> Result<(Self, usize), Defect> {
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
        let len = Self::binary_len(bytes).ok_or_else(damaged)?;
        let whole = bytes.get(..len).ok_or_else(damaged)?;
        let (covered, stored) = whole.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(damaged)?;
        if checksum(covered) != u32::from_le_bytes(*stored) {
            return Err(damaged());
        }
        let header = Self::decode_covered(reader).ok_or_else(damaged)??;
        Ok((header, len))
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

    fn headers(inputs: &[u64]) -> impl Iterator<Item = FileHeader> {
        LogFormat::ALL.into_iter().map(|format| header(format, inputs))
    }

    fn header(format: LogFormat, inputs: &[u64]) -> FileHeader {
        FileHeader {
            format,
            store: StoreId(*b"0123456789abcdef"),
            id: FileId(3),
            salt: 0x1122_3344_5566_7788,
            inputs: inputs.iter().copied().map(FileId).collect(),
        }
    }

    #[test]
    fn a_header_comes_back_with_and_without_inputs() {
        let most: Vec<u64> = (0..4096).map(|n| u64::MAX - n).collect();
        for header in headers(&[]).chain(headers(&[1, 2, 900])).chain(headers(&most)) {
            let mut bytes = header.encode();
            let len = bytes.len();
            let front = &bytes[..len.min(64)];
            assert!((len..=text::header::LEN_MAX).contains(&FileHeader::len_max(header.format, front)));
            bytes.extend_from_slice(b"what follows\n");
            assert_eq!(FileHeader::decode(header.format, &bytes), Ok((header, len as u64)));
        }
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        for header in headers(&[5]) {
            let bytes = header.encode();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(FileHeader::decode(header.format, &flipped).is_err(), "bit {bit} of {header:?}");
            }
            for len in 0..bytes.len() {
                let decoded = FileHeader::decode(header.format, &bytes[..len]);
                assert!(decoded.is_err(), "{len} bytes of {header:?}");
            }
        }
    }

    #[test]
    fn a_header_of_another_format_is_refused() {
        for header in headers(&[]) {
            for format in LogFormat::ALL.into_iter().filter(|&format| format != header.format) {
                assert!(matches!(FileHeader::decode(format, &header.encode()), Err(Defect::Damaged(_))));
            }
        }
    }

    #[test]
    fn a_later_version_and_unknown_flags_are_newer_not_damaged() {
        let mut later = header(LogFormat::Binary, &[]).encode();
        later[8] = 2;
        assert!(matches!(FileHeader::decode(LogFormat::Binary, &later), Err(Defect::Newer(_))));
        for flags_at in [48, 52] {
            let mut flagged = header(LogFormat::Binary, &[]).encode();
            flagged[flags_at] = 1;
            let len = flagged.len();
            let sum = checksum(&flagged[..len - 4]);
            flagged[len - 4..].copy_from_slice(&sum.to_le_bytes());
            assert!(matches!(FileHeader::decode(LogFormat::Binary, &flagged), Err(Defect::Newer(_))));
        }
    }

    #[test]
    fn a_line_of_a_later_version_or_with_an_unknown_member_is_newer_not_damaged() {
        for (format, version) in [(LogFormat::Json, "\"version\":1"), (LogFormat::Csv, "version=1")] {
            let line = String::from_utf8(header(format, &[]).encode()).unwrap();
            let later = line.replace(version, &version.replace('1', "2"));
            assert!(matches!(FileHeader::decode(format, later.as_bytes()), Err(Defect::Newer(_))), "{later}");
        }
        let line = String::from_utf8(header(LogFormat::Json, &[]).encode()).unwrap();
        let mut line = line.replace('}', ",\"dictionary\":7}").into_bytes();
        let crc = checksum(&line[Syntax::Json.covered_start()..line.len() - 1]);
        line[8..16].copy_from_slice(format!("{crc:08x}").as_bytes());
        assert!(matches!(FileHeader::decode(LogFormat::Json, &line), Err(Defect::Newer(_))));
    }
}

//! The text log formats: a record is a line, which `grep` and editors understand.
//!
//! ```text
//! {"crc":"9ae1c1d0","timestamp":1763790000000000,"kind":"value","key":"user:1","value":"Ada"}
//! 9ae1c1d0,1763790000000000,value,,,user:1,,Ada,
//! ```
//! This folder has the frame: where a line ends, and the checksum at its front. It is the CRC-32C of the file's salt
//! (8 bytes, little-endian) and the raw bytes behind the checksum up to the line's end, in eight lower-case hexadecimal
//! digits. A line is believed only after it fits; then it is read as JSON or CSV, by libraries.
//!
//! The checksum does not cover the line's place, so that a line that was mended by hand can be sealed again. What keeps
//! lines in their places is said in `docs/format.md`.

mod csv;
pub(crate) mod header;
mod json;
mod members;
#[cfg(test)]
mod tests;

use super::Defect;
use super::checksum::extend;
use super::codec::{LogRecord, Record};
use super::compression;
use super::payload;
use super::record::{Kind, RecordHeader, Seed};
use members::Member;

/// Which text a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Csv,
}

/// How the lines of one file are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) syntax: Syntax,
    pub(crate) seed: Seed,
}

/// Hexadecimal digits of a checksum.
const CRC_DIGITS: usize = 8;

impl Syntax {
    /// What stands before the checksum.
    fn before_crc(self) -> &'static [u8] {
        match self {
            Self::Json => b"{\"crc\":\"",
            Self::Csv => b"",
        }
    }

    /// What follows it; not covered by it.
    fn behind_crc(self) -> &'static [u8] {
        match self {
            Self::Json => b"\"",
            Self::Csv => b"",
        }
    }

    /// Bytes of a link with a timestamp of 16 digits, which all have until the year 2286, and numbers of ten.
    pub(crate) const fn link_len(self) -> u64 {
        match self {
            Self::Json => 100,
            Self::Csv => 70,
        }
    }

    /// Where the bytes begin that the checksum covers.
    pub(crate) fn covered_start(self) -> usize {
        self.before_crc().len() + CRC_DIGITS + self.behind_crc().len()
    }

    /// Appends what stands before the covered bytes, with zeros for the checksum.
    pub(crate) fn begin(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before_crc());
        out.extend_from_slice(&[b'0'; CRC_DIGITS]);
        out.extend_from_slice(self.behind_crc());
    }

    /// Puts the checksum into a line that was begun.
    pub(crate) fn seal(self, line: &mut [u8], crc: u32) {
        let start = self.before_crc().len();
        let digits = format!("{crc:08x}");
        line[start..start + CRC_DIGITS].copy_from_slice(digits.as_bytes());
    }

    /// The checksum at the front of a line, when there is one in the form that is written.
    pub(crate) fn stored_crc(self, line: &[u8]) -> Option<u32> {
        let digits = line.strip_prefix(self.before_crc())?.get(..CRC_DIGITS)?;
        let is_behind = line[self.before_crc().len() + CRC_DIGITS..].starts_with(self.behind_crc());
        let is_lower_hex = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_behind && is_lower_hex)?;
        u32::from_str_radix(digits, 16).ok()
    }

    fn append_member(self, name: &str, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::append_number(name, number, out),
            Self::Csv => csv::append_word(name, &number.to_string(), out),
        }
    }

    /// Appends what the line of a record about a key ends with.
    #[inline(never)]
    pub(crate) fn append_entry(self, kind: Kind, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let value = if kind == Kind::Tombstone { None } else { Some(value) };
        match self {
            Self::Json => json::append_entry(key, value, out),
            Self::Csv => csv::append_entry(key, value, out),
        }
    }

    /// The members of a line, once its checksum fits.
    fn members(self, line: &[u8]) -> Result<Vec<Member<'_>>, Defect> {
        match self {
            Self::Json => json::members(line),
            Self::Csv => csv::members(line),
        }
    }
}

/// How many bytes the first line of `bytes` has with its end; `None` when it does not end there.
pub(crate) fn line_len(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|end| end + 1)
}

/// The bytes as text of one line, when they are some.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let is_of_one_line = memchr::memchr3(b'\r', b'\n', 0, bytes).is_none();
    std::str::from_utf8(bytes).ok().filter(|_| is_of_one_line)
}

/// How long text may become by quoting.
fn text_len_max(bytes: &[u8]) -> usize {
    2 * bytes.len() + 2
}

pub(crate) fn does_not_fit() -> Defect {
    Defect::damaged("the line does not fit its checksum; if it was edited by hand, see `bitcask seal-line`")
}

pub(crate) fn not_ended() -> Defect {
    Defect::damaged("a line without an end")
}

impl Text {
    /// No record of the log's own takes more bytes than this.
    pub(crate) const LOG_RECORD_MAX: usize = 512;
    /// No sync marker takes more.
    pub(crate) const MARKER_MAX: u64 = 160;
    /// The part of a line before its members takes no more.
    pub(crate) const FRONT_MAX: u64 = 160;
    /// No line takes more: key and value are at most twice as long as they are, and two quotes.
    pub(crate) const LINE_MAX: u64 = 1024 + 2 * (u16::MAX as u64 + u32::MAX as u64);

    /// The checksum of a line of which nothing was covered yet, to be extended by what is.
    pub(crate) fn crc_of(self, covered: &[u8]) -> u32 {
        extend(self.seed.get(), covered)
    }

    /// Appends the part of the line before its members.
    fn append_front(self, header: &RecordHeader, out: &mut Vec<u8>) {
        self.syntax.begin(out);
        match self.syntax {
            Syntax::Json => json::append_front(header, out),
            Syntax::Csv => csv::append_front(header, out),
        }
    }

    /// Appends the front of a record about a key, sealed for the `entry` that is to follow it, which
    /// [`Syntax::append_entry`] has made.
    #[inline(never)]
    pub(crate) fn encode_front(self, header: &RecordHeader, entry: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.append_front(header, out);
        let line = &mut out[start..];
        let covered_entry = entry.strip_suffix(b"\n").unwrap_or(entry);
        let crc = extend(self.crc_of(&line[self.syntax.covered_start()..]), covered_entry);
        self.syntax.seal(line, crc);
    }

    /// Appends a record of the log's own.
    #[inline(never)]
    pub(crate) fn encode_log(self, header: &RecordHeader, payload: &[u8], out: &mut Vec<u8>) {
        let mut members = Vec::new();
        for (name, number) in payload::numbers(payload::fields(header.kind).unwrap_or_default(), payload) {
            self.syntax.append_member(name, number, &mut members);
        }
        let mut end = Vec::new();
        match self.syntax {
            Syntax::Json => json::append_log(&members, &mut end),
            Syntax::Csv => csv::append_log(&members, &mut end),
        }
        self.encode_front(header, &end, out);
        out.extend_from_slice(&end);
    }

    /// Decodes a line, which ends with its line end.
    pub(crate) fn decode(self, line: &[u8]) -> Result<Record, Defect> {
        let stored = self.syntax.stored_crc(line).ok_or_else(does_not_fit)?;
        let content = line.strip_suffix(b"\n").ok_or_else(not_ended)?;
        if self.crc_of(&content[self.syntax.covered_start()..]) != stored {
            return Err(does_not_fit());
        }
        members::record(self.syntax.members(line)?)
    }

    /// Reads a line whatever its checksum says, as one that was edited by hand: the record about a key that it would be.
    pub(crate) fn decode_edited(self, line: &[u8]) -> Result<Record, Defect> {
        let content = line.strip_suffix(b"\n").ok_or_else(not_ended)?;
        // As some editors end a line.
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let line = [content, b"\n"].concat();
        let record = members::record(self.syntax.members(&line)?)?;
        if let Some(algorithm) = record.header.compression {
            // Its checksum will fit whatever was written there, and could not tell.
            compression::decompress(algorithm, &mut record.value().to_vec(), 0)?;
        }
        if record.header.kind.has_key() {
            return Ok(record);
        }
        let what =
            format!("a {} is the log's own, and is not to be edited: undo that", record.header.kind.name());
        Err(Defect::damaged(what))
    }

    /// Decodes the first line of `bytes`.
    #[inline(never)]
    pub(crate) fn decode_first(self, bytes: &[u8]) -> Result<Record, Defect> {
        let len = line_len(bytes).ok_or_else(not_ended)?;
        self.decode(&bytes[..len])
    }

    /// The record of the log's own in the first line of `bytes`, when that is one.
    #[inline(never)]
    pub(crate) fn decode_log(self, bytes: &[u8]) -> Option<LogRecord> {
        let record = self.decode_first(&bytes[..bytes.len().min(Self::LOG_RECORD_MAX)]).ok()?;
        let kind = record.header.kind;
        payload::fields(kind)?;
        Some(LogRecord { kind, payload: record.value().to_vec() })
    }

    /// Where the last line of `tail` starts, if it has an end.
    pub(crate) fn last_line(tail: &[u8]) -> Option<usize> {
        memchr::memrchr(b'\n', tail.strip_suffix(b"\n")?).map(|end| end + 1)
    }
}

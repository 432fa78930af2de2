//! A line as CSV: the fields of [`COLUMNS`], quoted as RFC 4180 says. No field holds a line end.
//!
//! What the log's own records say stands in the column `value`, as words `name=number`. The compression of a value has no
//! column either: it follows the kind, as in `value zstd`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;

use csv_core::{ReadRecordResult, Reader, WriteResult, Writer};
use data_encoding::BASE64;

use super::members::{self, Member, Scalar};
use crate::format::Defect;
use crate::format::compression::Algorithm;
use crate::format::record::RecordHeader;

/// The first line of every file.
pub(super) const COLUMN_LINE: &[u8] = b"crc,timestamp,kind,expires,batch,key,key64,value,value64\n";

const COLUMNS: [&str; 9] = [
    members::CRC,
    members::TIMESTAMP,
    members::KIND,
    members::EXPIRES,
    members::BATCH,
    members::KEY,
    members::KEY64,
    members::VALUE,
    members::VALUE64,
];
const KIND_COLUMN: usize = 2;
const VALUE_COLUMN: usize = 7;

thread_local! {
    /// Kept, because its tables take far longer to build than a line to read.
    static READER: RefCell<Reader> = RefCell::new(Reader::new());
}

/// Appends the fields that every line has, behind the checksum.
pub(super) fn append_front(header: &RecordHeader, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, ",{},{}", header.timestamp, members::kind_name(header.kind));
    if let Some(algorithm) = header.compression {
        let _ = write!(out, " {}", algorithm.name());
    }
    out.push(b',');
    if let Some(expiry) = header.expiry {
        let _ = write!(out, "{expiry}");
    }
    out.extend_from_slice(if header.in_batch { b",true" } else { b"," });
}

/// Appends key and value, and the end of the line.
pub(super) fn append_entry(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    append_bytes(key, out);
    append_bytes(value.unwrap_or_default(), out);
    out.push(b'\n');
}

/// Appends the words of a record of the log's own, and the end of the line.
pub(super) fn append_log(words: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",,,");
    append_field(words, out);
    out.extend_from_slice(b",\n");
}

/// Appends a word to the words of a record of the log's own.
pub(super) fn append_word(name: &str, what: &str, words: &mut Vec<u8>) {
    if !words.is_empty() {
        words.push(b' ');
    }
    words.extend_from_slice(name.as_bytes());
    words.push(b'=');
    words.extend_from_slice(what.as_bytes());
}

/// Appends two fields: the bytes as text, or as base64 where they are no text of one line, or would grow too long.
fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b',');
    if let Some(text) = super::as_text(bytes) {
        append_field(text.as_bytes(), out);
        out.push(b',');
    } else {
        out.push(b',');
        out.extend_from_slice(BASE64.encode(bytes).as_bytes());
    }
}

fn append_field(field: &[u8], out: &mut Vec<u8>) {
    if field.is_empty() {
        return;
    }
    let start = out.len();
    // Each byte may need another one, and two quotes stand around them.
    out.resize(start + super::text_len_max(field), 0);
    let mut writer = Writer::new();
    let (result, _, written) = writer.field(field, &mut out[start..]);
    let (finished, quote) = writer.finish(&mut out[start + written..]);
    debug_assert!(matches!((result, finished), (WriteResult::InputEmpty, WriteResult::InputEmpty)));
    out.truncate(start + written + quote);
}

/// The members of a line: the fields that are not empty.
pub(super) fn members(line: &[u8]) -> Result<Vec<Member<'_>>, Defect> {
    let fields =
        fields(line).ok_or_else(|| Defect::damaged("a line that is not one CSV record of nine fields"))?;
    let has_words = members::is_of_log(&fields[KIND_COLUMN]);
    let mut members = Vec::new();
    for (column, (name, field)) in COLUMNS.into_iter().zip(fields).enumerate() {
        if column == VALUE_COLUMN && has_words {
            for word in field.split(' ') {
                let (name, what) =
                    word.split_once('=').ok_or_else(|| Defect::damaged("a word without \"=\""))?;
                members.push((Cow::Owned(name.to_owned()), Scalar::Word(Cow::Owned(what.to_owned()))));
            }
        } else if column == KIND_COLUMN
            && let Some((kind, compression)) = with_compression(&field)
        {
            members.push((Cow::Borrowed(name), Scalar::Word(Cow::Owned(kind.to_owned()))));
            let compression = Scalar::Word(Cow::Owned(compression.to_owned()));
            members.push((Cow::Borrowed(members::COMPRESSION), compression));
        } else if !field.is_empty() {
            members.push((Cow::Borrowed(name), Scalar::Word(Cow::Owned(field))));
        }
    }
    Ok(members)
}

/// The kind and the compression behind it, where there is one.
fn with_compression(kind: &str) -> Option<(&str, &str)> {
    kind.rsplit_once(' ').filter(|(_, last)| Algorithm::from_name(last).is_some())
}

/// The fields of a line; `None` when it is anything else than one record with as many as there are columns.
fn fields(line: &[u8]) -> Option<[String; COLUMNS.len()]> {
    let mut text = vec![0; line.len()];
    let mut ends = [0; COLUMNS.len() + 1];
    let (result, read, _, count) = READER.with_borrow_mut(|reader| {
        reader.reset();
        reader.read_record(line, &mut text, &mut ends)
    });
    if result != ReadRecordResult::Record || read != line.len() || count != COLUMNS.len() {
        return None;
    }
    let mut start = 0;
    let field = |&end: &usize| {
        let field = text.get(start..end)?.to_vec();
        start = end;
        String::from_utf8(field).ok()
    };
    ends[..count].iter().map(field).collect::<Option<Vec<_>>>()?.try_into().ok()
}

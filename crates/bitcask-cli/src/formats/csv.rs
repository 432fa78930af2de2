//! CSV (RFC 4180): a header line, then one entry a record.
//!
//! The columns are `key` and `value`, and `key64` and `value64` (base64) for bytes that are not UTF-8. In a record with
//! both columns of a kind at most one is filled. Lines end in CR LF, as the RFC says; LF is read too, and so are blank
//! lines, which are skipped.

use std::io::{self, BufRead, BufReader};
use std::time::SystemTime;

use ::csv::{ErrorKind, Terminator, Writer, WriterBuilder};
use csv_core::ReadRecordResult;
use data_encoding::BASE64;

use super::{Entry, Input, MAX_KEY_LEN, Sink, Source, Taken};
use crate::failure::Failure;
use crate::output::Output;

/// Every byte of a field may be a quote, which is written twice.
const MAX_ESCAPED_LEN: u64 = 2;
/// Room for quotes and delimiters.
const RECORD_OVERHEAD: u64 = 4_096;
/// More columns than this have no meaning, but are counted to say so.
const MAX_FIELDS: usize = 1_024;

/// Reads entries, one record at a time.
///
/// The library's own reader of files tells neither the line of a record after blank ones, nor that a quote was never
/// closed, nor does it know a limit; so this one feeds its parser.
pub(crate) struct CsvReader {
    input: BufReader<Input>,
    parser: csv_core::Reader,
    columns: Columns,
    record: Record,
    /// Of the next byte.
    line: u64,
    position: u64,
    max_record_len: u64,
}

/// One record: its fields in a row, where each ends, and where it begins.
#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    line: u64,
}

impl Record {
    fn field(&self, index: usize) -> Option<&[u8]> {
        let begin = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(begin..*self.ends.get(index)?)
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map_while(|index| self.field(index))
    }
}

impl CsvReader {
    /// Reads the header line. Records longer than an entry with a value of `max_value_size` bytes can be are a failure.
    pub(crate) fn new(input: Input, max_value_size: u64) -> Result<Self, Failure> {
        let content = max_value_size.saturating_add(MAX_KEY_LEN);
        let mut this = Self {
            input: BufReader::with_capacity(1 << 16, input),
            parser: csv_core::Reader::new(),
            columns: Columns::default(),
            record: Record { line: 1, ..Record::default() },
            line: 1,
            position: 0,
            max_record_len: content.saturating_mul(MAX_ESCAPED_LEN).saturating_add(RECORD_OVERHEAD),
        };
        if !this.read_record()? {
            return Err(this.failure("the header line is missing: it names the columns, such as key,value"));
        }
        this.columns = Columns::parse(&this.record).map_err(|what| this.failure(what))?;
        Ok(this)
    }

    /// Reads the next record into `self.record`; false at the end.
    fn read_record(&mut self) -> Result<bool, Failure> {
        self.skip_blank_lines()?;
        self.record.line = self.line;
        let begin = self.position;
        let mut quotes = 0;
        let (mut bytes_len, mut ends_len) = (0, 0);
        loop {
            // Doubles, so that a long value is copied a few times at most.
            self.record.bytes.resize(self.record.bytes.len().max(bytes_len * 2).max(256), 0);
            self.record.ends.resize((ends_len * 2).clamp(8, MAX_FIELDS), 0);
            self.fill_buffer()?;
            let input = self.input.buffer();
            let at_end = input.is_empty();
            let (result, used, bytes, ends) = self.parser.read_record(
                input,
                &mut self.record.bytes[bytes_len..],
                &mut self.record.ends[ends_len..],
            );
            quotes += input[..used].iter().filter(|&&byte| byte == b'"').count();
            self.consume(used);
            bytes_len += bytes;
            ends_len += ends;
            if self.position - begin > self.max_record_len {
                return Err(self.failure(format!(
                    "the record is longer than the {} bytes allowed",
                    self.max_record_len
                )));
            }
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {}
                ReadRecordResult::OutputEndsFull if ends_len < MAX_FIELDS => {}
                ReadRecordResult::OutputEndsFull => return Err(self.failure("there are too many fields")),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::Record => {
                    self.record.bytes.truncate(bytes_len);
                    self.record.ends.truncate(ends_len);
                    // The parser closes an open quote at the end of the input, and so would make all lines after it, or
                    // what is left of a file that was cut, one value.
                    if at_end && quotes % 2 == 1 {
                        return Err(self.failure("a quote is not closed"));
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// Goes to the first byte of the next record, so that its line is known.
    fn skip_blank_lines(&mut self) -> Result<(), Failure> {
        loop {
            self.fill_buffer()?;
            let blank = self.input.buffer().iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank == 0 {
                return Ok(());
            }
            self.consume(blank);
        }
    }

    /// Leaves the buffer empty only at the end of the input.
    fn fill_buffer(&mut self) -> Result<(), Failure> {
        loop {
            match self.input.fill_buf() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let what = self.input.get_ref().name().to_owned();
                    return Err(Failure::Io { operation: "read", what, source });
                }
            }
        }
    }

    /// Moves past so many bytes of the buffer, and counts.
    fn consume(&mut self, count: usize) {
        let newlines = self.input.buffer()[..count].iter().filter(|&&byte| byte == b'\n').count();
        self.line += newlines as u64;
        self.position += count as u64;
        self.input.consume(count);
    }

    fn failure(&self, what: impl Into<String>) -> Failure {
        Failure::Input { place: self.place(), what: what.into() }
    }
}

impl Source for CsvReader {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        if !self.read_record()? {
            return Ok(None);
        }
        self.columns.entry(&self.record).map(Some).map_err(|what| self.failure(what))
    }

    fn place(&self) -> String {
        format!("line {} of {}", self.record.line, self.input.get_ref().name())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn total(&self) -> Option<u64> {
        self.input.get_ref().len()
    }
}

/// Which column holds what.
#[derive(Debug, Default)]
struct Columns {
    count: usize,
    key: Option<usize>,
    key64: Option<usize>,
    value: Option<usize>,
    value64: Option<usize>,
}

impl Columns {
    fn parse(header: &Record) -> Result<Self, String> {
        let mut columns = Self { count: header.ends.len(), ..Self::default() };
        for (index, name) in header.fields().enumerate() {
            let column = match name {
                b"key" => &mut columns.key,
                b"key64" => &mut columns.key64,
                b"value" => &mut columns.value,
                b"value64" => &mut columns.value64,
                _ => {
                    let name = crate::bytes::escaped(name);
                    return Err(format!(
                        "unknown column \"{name}\": there are key, value, key64 and value64"
                    ));
                }
            };
            if column.replace(index).is_some() {
                return Err(format!("a second column \"{}\"", crate::bytes::escaped(name)));
            }
        }
        if columns.key.or(columns.key64).is_none() {
            return Err("there is neither a column key nor key64".to_owned());
        }
        if columns.value.or(columns.value64).is_none() {
            return Err("there is neither a column value nor value64".to_owned());
        }
        Ok(columns)
    }

    fn entry(&self, record: &Record) -> Result<Entry, String> {
        if record.ends.len() != self.count {
            return Err(format!("the header names {} columns, here are {}", self.count, record.ends.len()));
        }
        Ok(Entry {
            key: field(record, self.key, self.key64, "key")?,
            value: field(record, self.value, self.value64, "value")?,
            expires_at: None,
        })
    }
}

/// The bytes of a key or value, from whichever of its two columns is filled.
fn field(
    record: &Record,
    plain: Option<usize>,
    encoded: Option<usize>,
    name: &str,
) -> Result<Vec<u8>, String> {
    let get = |column: Option<usize>| column.and_then(|index| record.field(index)).unwrap_or_default();
    match (get(plain), get(encoded)) {
        (plain, b"") => Ok(plain.to_vec()),
        (b"", encoded) => BASE64.decode(encoded).map_err(|error| format!("{name}64 is not base64: {error}")),
        _ => Err(format!("both {name} and {name}64 are filled")),
    }
}

/// Which columns an export needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CsvColumns {
    /// `key,value`: all is UTF-8.
    Text,
    /// `key,value,key64,value64`.
    TextAndBase64,
}

/// Writes one record an entry.
pub(crate) struct CsvWriter {
    writer: Writer<Output>,
    columns: CsvColumns,
}

impl CsvWriter {
    /// Writes the header line.
    pub(crate) fn new(output: Output, columns: CsvColumns) -> Result<Self, Failure> {
        let writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(output);
        let mut this = Self { writer, columns };
        match columns {
            CsvColumns::Text => this.record(&[b"key", b"value"])?,
            CsvColumns::TextAndBase64 => this.record(&[b"key", b"value", b"key64", b"value64"])?,
        }
        Ok(this)
    }

    fn record(&mut self, fields: &[&[u8]]) -> Result<(), Failure> {
        self.writer.write_record(fields).map_err(|error| {
            let source = match error.into_kind() {
                ErrorKind::Io(source) => source,
                other => io::Error::other(format!("{other:?}")),
            };
            self.writer.get_ref().failure(source)
        })
    }
}

impl Sink for CsvWriter {
    fn write(&mut self, key: &[u8], value: &[u8], _: Option<SystemTime>) -> Result<Taken, Failure> {
        match (self.columns, std::str::from_utf8(key).is_ok() && std::str::from_utf8(value).is_ok()) {
            (CsvColumns::Text, true) => self.record(&[key, value])?,
            // The columns were chosen by looking at every entry, and a reader's view of the store does not move.
            (CsvColumns::Text, false) => {
                return Ok(Taken::No("it is not UTF-8, and the header has no column for that".to_owned()));
            }
            (CsvColumns::TextAndBase64, _) => {
                let (key, key64) = split(key);
                let (value, value64) = split(value);
                self.record(&[key, value, key64.as_bytes(), value64.as_bytes()])?;
            }
        }
        Ok(Taken::Yes)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|source| self.writer.get_ref().failure(source))
    }
}

/// The field for text, and the one for base64: one of them is empty.
fn split(bytes: &[u8]) -> (&[u8], String) {
    match std::str::from_utf8(bytes) {
        Ok(_) => (bytes, String::new()),
        Err(_) => (b"", BASE64.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{entries, entry};

    fn read(text: &[u8]) -> Result<Vec<Entry>, Failure> {
        entries(&mut CsvReader::new(Input::of(text), 100)?)
    }

    fn complaint(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn columns_come_in_any_order_and_lines_end_either_way() {
        let text = b"\xef\xbb\xbfvalue,key\r\n1,a\n\n\"x\r\n\"\"y\"\"\",\"b,c\"";
        assert_eq!(read(text).unwrap(), [entry(b"a", b"1"), entry(b"b,c", b"x\r\n\"y\"")]);
    }

    #[test]
    fn base64_columns_hold_what_the_others_do_not() {
        let text = b"key,value,key64,value64\na,1,,\n,2,/w==,\nb,,,/g==\nc,,,\n";
        let entries = [entry(b"a", b"1"), entry(b"\xff", b"2"), entry(b"b", b"\xfe"), entry(b"c", b"")];
        assert_eq!(read(text).unwrap(), entries);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        assert!(complaint("").contains("line 1 of test: the header line is missing"));
        assert!(complaint("key,expires\n").contains("line 1 of test: unknown column \"expires\""));
        assert!(complaint("key,key,value\n").contains("a second column \"key\""));
        assert!(complaint("key\n").contains("neither a column value nor value64"));
        assert!(complaint("value\n").contains("neither a column key nor key64"));
        let complaint = |record: &str| complaint(&format!("key,value,value64\na,1,\n{record}\nb,2,\n"));
        assert!(complaint("c,3").contains("line 3 of test: the header names 3 columns, here are 2"));
        assert!(complaint("c,3,AA==").contains("line 3 of test: both value and value64 are filled"));
        assert!(complaint("c,,*").contains("line 3 of test: value64 is not base64"));
        assert!(complaint("\r\n\r\n\nc,\"3,").contains("line 6 of test: a quote is not closed"));
        assert!(
            complaint("c,\"\n\n\",\nd").contains("line 6 of test: the header names 3 columns, here are 1")
        );
    }

    #[test]
    fn a_record_longer_than_any_entry_is_refused_without_reading_the_rest() {
        let long = format!("key,value\na,1\nb,{}", "x".repeat(1 << 20));
        assert!(
            complaint(&long).contains("line 3 of test: the record is longer than the 135366 bytes allowed")
        );
    }
}

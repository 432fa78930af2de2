//! JSON Lines: one object a line, `{"key":"...","value":"..."}`.
//!
//! `key64` and `value64` hold base64 for bytes that are not UTF-8. Reading is strict, because what is guessed wrong is
//! stored wrong: a member that is unknown, missing, of another type, or there twice is a failure that names the line.
//! `expires` is reserved for a later version and so is unknown to this one. Blank lines are skipped.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use data_encoding::BASE64;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{Entry, Input, MAX_KEY_LEN, Sink, Source, Taken};
use crate::failure::Failure;
use crate::json::JsonEntry;
use crate::output::Output;

/// Every byte of a string may be written in six, as `\u0000`.
const MAX_ESCAPED_LEN: u64 = 6;
/// Room for the names of members, punctuation and spaces.
const LINE_OVERHEAD: u64 = 4_096;

/// Reads entries, one line at a time.
pub(crate) struct JsonlReader {
    input: BufReader<Input>,
    line: Vec<u8>,
    line_number: u64,
    max_line_len: u64,
    position: u64,
}

impl JsonlReader {
    /// Lines longer than an entry with a value of `max_value_size` bytes can be are a failure.
    pub(crate) fn new(input: Input, max_value_size: u64) -> Self {
        let content = max_value_size.saturating_add(MAX_KEY_LEN);
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            line: Vec::new(),
            line_number: 0,
            max_line_len: content.saturating_mul(MAX_ESCAPED_LEN).saturating_add(LINE_OVERHEAD),
            position: 0,
        }
    }

    /// Reads the next line into `self.line`; false at the end.
    fn read_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let mut limited = (&mut self.input).take(self.max_line_len.saturating_add(1));
        let result = limited.read_until(b'\n', &mut self.line);
        let len = result.map_err(|source| Failure::Io {
            operation: "read",
            what: self.input.get_ref().name().to_owned(),
            source,
        })? as u64;
        if len == 0 {
            return Ok(false);
        }
        self.line_number += 1;
        self.position += len;
        if len > self.max_line_len {
            return Err(
                self.failure(format!("the line is longer than the {} bytes allowed", self.max_line_len))
            );
        }
        // Some editors begin a file with this mark; it is no part of the text.
        if self.line_number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
            self.line.drain(.."\u{feff}".len());
        }
        Ok(true)
    }

    fn failure(&self, what: String) -> Failure {
        Failure::Input { place: self.place(), what }
    }
}

impl Source for JsonlReader {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        while self.read_line()? {
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let parsed = serde_json::from_slice::<Line>(&self.line);
            return parsed.map(|line| Some(line.0)).map_err(|error| self.failure(explain(&error)));
        }
        Ok(None)
    }

    fn place(&self) -> String {
        format!("line {} of {}", self.line_number, self.input.get_ref().name())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn total(&self) -> Option<u64> {
        self.input.get_ref().len()
    }
}

/// What the parser says, without its own idea of the line: it sees one line at a time.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&suffix) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

/// One line that was parsed.
struct Line(Entry);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor).map(Self)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"key\":\"...\",\"value\":\"...\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut key = None;
        let mut value = None;
        while let Some(member) = map.next_key::<String>()? {
            match member.as_str() {
                "key" | "key64" => fill(&mut key, &member, map.next_value()?)?,
                "value" | "value64" => fill(&mut value, &member, map.next_value()?)?,
                _ => return Err(de::Error::custom(format_args!("unknown member {member:?}"))),
            }
        }
        let key = key.ok_or_else(|| de::Error::custom("neither \"key\" nor \"key64\""))?;
        let value = value.ok_or_else(|| de::Error::custom("neither \"value\" nor \"value64\""))?;
        Ok(Entry { key, value })
    }
}

/// Puts the bytes of a member where no bytes may be yet.
fn fill<E: de::Error>(place: &mut Option<Vec<u8>>, member: &str, text: String) -> Result<(), E> {
    let bytes = if member.ends_with("64") {
        BASE64
            .decode(text.as_bytes())
            .map_err(|error| E::custom(format_args!("{member:?} is not base64: {error}")))?
    } else {
        text.into_bytes()
    };
    match place.replace(bytes) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("a second {:?}", member.trim_end_matches("64")))),
    }
}

/// Writes one object a line.
pub(crate) struct JsonlWriter {
    output: Output,
}

impl JsonlWriter {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }
}

impl Sink for JsonlWriter {
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<Taken, Failure> {
        self.output.json_line(&JsonEntry::key_value(key, value))?;
        Ok(Taken::Yes)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{entries, entry};

    fn read(text: &[u8]) -> Result<Vec<Entry>, Failure> {
        entries(&mut JsonlReader::new(Input::of(text), 100))
    }

    fn complaint(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn members_come_in_any_order_and_blank_lines_are_skipped() {
        let text =
            b"\xef\xbb\xbf{\"value\":\"1\",\"key\":\"a\"}\r\n \n\n{\"key64\":\"/w==\",\"value64\":\"\"}";
        assert_eq!(read(text).unwrap(), [entry(b"a", b"1"), entry(b"\xff", b"")]);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
        let after_good = |bad: &str| complaint(&format!("{good}\n{bad}\n{good}"));
        assert!(after_good("{").starts_with("line 3 of test: EOF while parsing an object"));
        assert!(
            after_good(r#"{"key":"a","value":"1","expires":5}"#)
                .contains(r#"line 3 of test: unknown member "expires""#)
        );
        assert!(after_good(r#"{"key":"a","key":"b","value":"1"}"#).contains(r#"a second "key""#));
        assert!(after_good(r#"{"key":"a","value":"1","value64":""}"#).contains(r#"a second "value""#));
        assert!(after_good(r#"{"key":"a"}"#).contains(r#"neither "value" nor "value64""#));
        assert!(after_good(r#"{"value":"a"}"#).contains(r#"neither "key" nor "key64""#));
        assert!(
            after_good(r#"{"key":"a","value":1}"#).contains("invalid type: integer `1`, expected a string")
        );
        assert!(after_good(r#"{"key":"a","value":null}"#).contains("invalid type: null"));
        assert!(after_good(r#"["a","1"]"#).contains("expected an object"));
        assert!(after_good(r#"{"key":"a","value64":"*"}"#).contains(r#""value64" is not base64"#));
        assert!(
            after_good(r#"{"key":"\ud800","value":""}"#)
                .contains("line 3 of test: unexpected end of hex escape")
        );
        assert!(after_good(&format!("{}{}", good.trim(), good.trim())).contains("trailing characters"));
    }

    #[test]
    fn a_line_longer_than_any_entry_is_refused_without_reading_the_rest() {
        let long = " ".repeat(1 << 20);
        assert!(complaint(&long).contains("longer than the 397906 bytes allowed"));
    }
}

//! JSON Lines: one object a line, `{"key":"...","value":"...","expires":...}`.
//!
//! `key64` and `value64` hold base64 for bytes that are not UTF-8. Reading is strict, because what is guessed wrong is
//! stored wrong: a member that is unknown, missing, of another type, or there twice is a failure that names the line.
//! `expires` is there where the value has an expiry, in microseconds since 1970. Blank lines are skipped.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::time::SystemTime;

use data_encoding::BASE64;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{Entry, Input, MAX_KEY_LEN, Sink, Source, Taken};
use crate::failure::Failure;
use crate::json::{JsonEntry, moment};
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
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            members.read(&name, &mut map)?;
        }
        Ok(Entry { key: members.key()?, value: members.value()?, expires_at: members.expires_at })
    }
}

/// What an object says of an entry.
#[derive(Debug, Default)]
struct Members {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    expires_at: Option<SystemTime>,
}

impl Members {
    /// Reads the value of the member with this name.
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "key" | "key64" => set_once(&mut self.key, name, bytes(name, map.next_value()?)?),
            "value" | "value64" => set_once(&mut self.value, name, bytes(name, map.next_value()?)?),
            "expires" => set_once(&mut self.expires_at, name, map.next_value::<Moment>()?.0),
            _ => Err(de::Error::custom(format_args!("unknown member {name:?}"))),
        }
    }

    fn key<E: de::Error>(&mut self) -> Result<Vec<u8>, E> {
        self.key.take().ok_or_else(|| E::custom("neither \"key\" nor \"key64\""))
    }

    fn value<E: de::Error>(&mut self) -> Result<Vec<u8>, E> {
        self.value.take().ok_or_else(|| E::custom("neither \"value\" nor \"value64\""))
    }
}

/// The bytes that the text of a member stands for.
fn bytes<E: de::Error>(name: &str, text: String) -> Result<Vec<u8>, E> {
    if !name.ends_with("64") {
        return Ok(text.into_bytes());
    }
    let decoded = BASE64.decode(text.as_bytes());
    decoded.map_err(|error| E::custom(format_args!("{name:?} is not base64: {error}")))
}

/// Refuses a member that is there twice.
fn set_once<T, E: de::Error>(place: &mut Option<T>, name: &str, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("a second {:?}", name.trim_end_matches("64")))),
    }
}

/// A number of microseconds since 1970.
struct Moment(SystemTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(MomentVisitor).map(Self)
    }
}

struct MomentVisitor;

impl Visitor<'_> for MomentVisitor {
    type Value = SystemTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of microseconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, micros: u64) -> Result<SystemTime, E> {
        moment(micros).ok_or_else(|| E::custom("the clock of this system does not reach that far"))
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
    fn write(&mut self, key: &[u8], value: &[u8], expires_at: Option<SystemTime>) -> Result<Taken, Failure> {
        self.output.json_line(&JsonEntry::key_value(key, value).expires_at(expires_at))?;
        Ok(Taken::Yes)
    }

    fn keeps_expiries(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn expiries_are_microseconds_since_1970() {
        let text = br#"{"expires":1500000,"key":"a","value":""}"#;
        let expires_at = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(read(text).unwrap(), [Entry { expires_at, ..entry(b"a", b"") }]);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
        let after_good = |bad: &str| complaint(&format!("{good}\n{bad}\n{good}"));
        assert!(after_good("{").starts_with("line 3 of test: EOF while parsing an object"));
        let unknown = after_good(r#"{"key":"a","value":"1","ttl":5}"#);
        assert!(unknown.contains(r#"line 3 of test: unknown member "ttl""#));
        for (wrong, found) in [
            ("-1", "integer `-1`"),
            ("1.5", "floating point `1.5`"),
            ("18446744073709551616", "floating point `1.8446744073709552e+19`"),
            ("\"5\"", "string \"5\""),
            ("null", "null"),
        ] {
            let complaint = after_good(&format!(r#"{{"key":"a","value":"1","expires":{wrong}}}"#));
            let expected = "expected a whole number of microseconds since 1970 (column ";
            assert!(
                complaint.contains(&format!("line 3 of test: invalid type: {found}, {expected}")),
                "{complaint}"
            );
        }
        assert!(
            after_good(r#"{"key":"a","value":"1","expires":1,"expires":1}"#)
                .contains(r#"a second "expires""#)
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

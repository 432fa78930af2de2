//! JSON Lines: one object a line, `{"key":"...","value":"...","expires":...}`.
//!
//! `key64` and `value64` hold base64 for bytes that are not UTF-8. `expires` is there where the value has an expiry, in microseconds since 1970. Blank lines are skipped.

use std::fmt;
use std::time::SystemTime;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::line_reader::LineReader;
use super::members::Members;
use super::{Entry, Input, Sink, Source, Taken};
use crate::failure::Failure;
use crate::json::JsonEntry;
use crate::output::Output;

/// Reads entries, one line at a time.
pub(crate) struct JsonlReader(LineReader);

impl JsonlReader {
    /// Lines longer than an entry with a value of `max_value_size` bytes can be are a failure.
    pub(crate) fn new(input: Input, max_value_size: u64) -> Self {
        Self(LineReader::new(input, max_value_size))
    }
}

impl Source for JsonlReader {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        Ok(self.0.next_object::<Line>()?.map(|line| line.0))
    }

    fn place(&self) -> String {
        self.0.place_of(self.0.line_number())
    }

    fn position(&self) -> u64 {
        self.0.position()
    }

    fn total(&self) -> Option<u64> {
        self.0.total()
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
}

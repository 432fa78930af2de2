//! A key, a value, or both, as a JSON object: the form of `--json` and of JSON Lines.
//!
//! `{"key":"...","value":"...","expires":...}`. Bytes that are not UTF-8 do not fit into a JSON string; they stand in
//! base64 under `key64` or `value64` instead. `expires` is there where the value has an expiry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use serde::Serialize;

/// The members of one object. Of `key` and `key64` at most one is there, and of the value's two as well.
#[derive(Debug, Serialize)]
pub(crate) struct JsonEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl<'a> JsonEntry<'a> {
    pub(crate) fn key(key: &'a [u8]) -> Self {
        let (key, key64) = text_or_base64(key);
        Self { key, key64, value: None, value64: None, expires: None }
    }

    pub(crate) fn value(value: &'a [u8]) -> Self {
        let (value, value64) = text_or_base64(value);
        Self { key: None, key64: None, value, value64, expires: None }
    }

    pub(crate) fn key_value(key: &'a [u8], value: &'a [u8]) -> Self {
        let (key, key64) = text_or_base64(key);
        Self { key, key64, ..Self::value(value) }
    }

    /// The same with this expiry.
    pub(crate) fn expires_at(self, time: Option<SystemTime>) -> Self {
        Self { expires: time.map(micros), ..self }
    }
}

/// A moment in microseconds since 1970, as JSON has all times.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

/// The moment that [`micros`] tells, where the system's clock reaches that far.
pub(crate) fn moment(micros: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_stand_in_base64() {
        let text = |entry| serde_json::to_string(&entry).unwrap();
        assert_eq!(text(JsonEntry::key_value(b"k", b"a\n\0")), r#"{"key":"k","value":"a\n\u0000"}"#);
        assert_eq!(text(JsonEntry::key_value(b"\xff", b"\xfe")), r#"{"key64":"/w==","value64":"/g=="}"#);
        assert_eq!(text(JsonEntry::key(b"k")), r#"{"key":"k"}"#);
        let expires = JsonEntry::key_value(b"k", b"v").expires_at(moment(1));
        assert_eq!(text(expires), r#"{"key":"k","value":"v","expires":1}"#);
    }
}

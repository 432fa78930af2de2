//! A line as JSON: one object, its checksum first.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use data_encoding::BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::members::{self, Member, Scalar};
use crate::format::Defect;
use crate::format::record::RecordHeader;

/// Appends the members that every line has, behind the checksum.
pub(super) fn append_front(header: &RecordHeader, out: &mut Vec<u8>) {
    append_number(members::TIMESTAMP, header.timestamp, out);
    append_name(members::KIND, out);
    append_string(&members::kind_name(header.kind), out);
    if let Some(expiry) = header.expiry {
        append_number(members::EXPIRES, expiry, out);
    }
    if header.in_batch {
        append_name(members::BATCH, out);
        out.extend_from_slice(b"true");
    }
    if let Some(algorithm) = header.compression {
        append_text(members::COMPRESSION, algorithm.name(), out);
    }
}

/// Appends key and value, and the end of the line.
pub(super) fn append_entry(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    append_bytes(members::KEY, members::KEY64, key, out);
    if let Some(value) = value {
        append_bytes(members::VALUE, members::VALUE64, value, out);
    }
    append_log(&[], out);
}

/// Appends the members of a record of the log's own, and the end of the line.
pub(super) fn append_log(members: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(members);
    out.extend_from_slice(b"}\n");
}

pub(super) fn append_number(name: &str, number: u64, out: &mut Vec<u8>) {
    append_name(name, out);
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

pub(super) fn append_text(name: &str, text: &str, out: &mut Vec<u8>) {
    append_name(name, out);
    append_string(text, out);
}

fn append_name(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    append_string(name, out);
    out.push(b':');
}

fn append_string(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "a string is always written to memory");
}

/// Appends bytes as text, or as base64 where they are no text of one line, or would grow too long.
fn append_bytes(name: &str, name64: &str, bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if let Some(text) = super::as_text(bytes) {
        append_name(name, out);
        let text_start = out.len();
        append_string(text, out);
        if out.len() - text_start <= super::text_len_max(bytes) {
            return;
        }
        out.truncate(start);
    }
    append_name(name64, out);
    out.push(b'"');
    out.extend_from_slice(BASE64.encode(bytes).as_bytes());
    out.push(b'"');
}

/// The members of a line.
pub(super) fn members(line: &[u8]) -> Result<Vec<Member<'_>>, Defect> {
    let object = serde_json::from_slice::<Object<'_>>(line);
    object
        .map(|object| object.0)
        .map_err(|error| Defect::damaged(format!("a line that cannot be read: {error}")))
}

struct Object<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<Member<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, scalar)) = map.next_entry::<Name<'de>, Scalar<'de>>()? {
                    members.push((name.0, scalar));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(name) => Ok(Self(name)),
            _ => Err(serde::de::Error::custom("a name that is no text")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, or true")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Flag(flag))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

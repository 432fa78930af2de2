//! Operations in JSON Lines: `{"op":"put","key":"...","value":"..."}` and `{"op":"delete","key":"..."}`.
//!
//! Keys, values and `expires` are spelled as in the JSON Lines of entries. A put may have `ttl` instead of `expires`, a
//! duration such as `"1h 30m"`; both may have `if`, which is `"absent"` or `"present"`, for a delete `"present"`.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::members::{Members, set_once};

/// What is to become of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) key: Vec<u8>,
    /// What to put; a delete has none.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) lifetime: Lifetime,
    pub(crate) condition: Option<Condition>,
}

/// How long a value is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Forever,
    For(Duration),
    Until(SystemTime),
}

/// What must hold of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Absent,
    Present,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Put,
    Delete,
}

const OPS: [(&str, Op); 2] = [("put", Op::Put), ("delete", Op::Delete)];
const CONDITIONS: [(&str, Condition); 2] = [("absent", Condition::Absent), ("present", Condition::Present)];

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OperationVisitor)
    }
}

impl Operation {
    /// Reads the members from `name` on, whose value comes next.
    pub(super) fn read<'de, A: MapAccess<'de>>(
        mut name: Option<String>,
        map: &mut A,
    ) -> Result<Self, A::Error> {
        let (mut op, mut ttl, mut condition) = (None, None, None);
        let mut members = Members::default();
        while let Some(member) = name {
            match member.as_str() {
                "op" => set_once(&mut op, &member, one_of(&member, map.next_value()?, OPS)?)?,
                "ttl" => set_once(&mut ttl, &member, duration(map.next_value()?)?)?,
                "if" => set_once(&mut condition, &member, one_of(&member, map.next_value()?, CONDITIONS)?)?,
                _ => members.read(&member, map)?,
            }
            name = map.next_key()?;
        }
        let refuse = |what| Err(de::Error::custom(what));
        let lifetime = match (ttl, members.expires_at) {
            (None, None) => Lifetime::Forever,
            (Some(ttl), None) => Lifetime::For(ttl),
            (None, Some(time)) => Lifetime::Until(time),
            (Some(_), Some(_)) => return refuse("both \"ttl\" and \"expires\""),
        };
        let key = members.key()?;
        let value = match op {
            Some(Op::Put) => Some(members.value()?),
            Some(Op::Delete) if members.value.is_some() => return refuse("a delete has no value"),
            Some(Op::Delete) if lifetime != Lifetime::Forever => return refuse("a delete has no expiry"),
            Some(Op::Delete) if condition == Some(Condition::Absent) => {
                return refuse("a delete has no use for an absent key");
            }
            Some(Op::Delete) => None,
            None => return refuse("there is no \"op\""),
        };
        Ok(Self { key, value, lifetime, condition })
    }
}

struct OperationVisitor;

impl<'de> Visitor<'de> for OperationVisitor {
    type Value = Operation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"op\":\"put\",\"key\":\"...\",\"value\":\"...\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Operation, A::Error> {
        let first = map.next_key()?;
        Operation::read(first, &mut map)
    }
}

/// What the text of a member with two choices stands for.
fn one_of<T: Copy, E: de::Error>(name: &str, text: String, choices: [(&str, T); 2]) -> Result<T, E> {
    let [(one, _), (other, _)] = choices;
    let found = choices.iter().find(|(choice, _)| *choice == text);
    let what = format_args!("{name:?} is neither {one:?} nor {other:?}");
    found.map(|(_, meaning)| *meaning).ok_or_else(|| E::custom(what))
}

/// As the options of the command line have it.
fn duration<E: de::Error>(text: String) -> Result<Duration, E> {
    humantime::parse_duration(&text)
        .map_err(|error| E::custom(format_args!("\"ttl\" is no duration such as 90s or 1h 30m: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::formats::{Input, LineReader};

    fn read(text: &str) -> Result<Vec<Operation>, Failure> {
        let mut reader = LineReader::new(Input::of(text.as_bytes()), 100);
        std::iter::from_fn(|| reader.next_object().transpose()).collect()
    }

    fn put(key: &[u8], value: &[u8]) -> Operation {
        let (key, value) = (key.to_vec(), Some(value.to_vec()));
        Operation { key, value, lifetime: Lifetime::Forever, condition: None }
    }

    #[test]
    fn operations_say_all_that_a_write_can_be_asked() {
        let text = r#"{"op":"put","key":"a","value":"1"}
            {"value64":"/w==","key64":"/g==","op":"put"}

            {"op":"put","key":"a","value":"","ttl":"1m 30s","if":"absent"}
            {"op":"put","key":"a","value":"","expires":1500000,"if":"present"}
            {"op":"delete","key":"a"}
            {"op":"delete","key64":"/w==","if":"present"}"#;
        let until = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let (absent, present) = (Some(Condition::Absent), Some(Condition::Present));
        let expected = [
            put(b"a", b"1"),
            put(b"\xfe", b"\xff"),
            Operation {
                lifetime: Lifetime::For(Duration::from_secs(90)),
                condition: absent,
                ..put(b"a", b"")
            },
            Operation { lifetime: Lifetime::Until(until), condition: present, ..put(b"a", b"") },
            Operation { value: None, ..put(b"a", b"") },
            Operation { value: None, condition: present, ..put(b"\xff", b"") },
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let put = |more: &str| format!(r#""op":"put","key":"a","value":"1"{more}"#);
        let delete = |more: &str| format!(r#""op":"delete","key":"a"{more}"#);
        for (members, what) in [
            (r#""key":"a","value":"1""#.to_owned(), r#"there is no "op""#),
            (r#""op":"get","key":"a""#.to_owned(), r#""op" is neither "put" nor "delete""#),
            (r#""op":"put","value":"1""#.to_owned(), r#"neither "key" nor "key64""#),
            (r#""op":"put","key":"a""#.to_owned(), r#"neither "value" nor "value64""#),
            (put(r#","op":"put""#), r#"a second "op""#),
            (put(r#","ttl":"1s","expires":1"#), r#"both "ttl" and "expires""#),
            (put(r#","ttl":"soon""#), r#""ttl" is no duration such as 90s or 1h 30m"#),
            (put(r#","ttl":5"#), "invalid type: integer `5`, expected a string"),
            (put(r#","expires":"5""#), "expected a whole number of microseconds since 1970"),
            (put(r#","if":"new""#), r#""if" is neither "absent" nor "present""#),
            (put(r#","if":null"#), "invalid type: null"),
            (put(r#","unless":"absent""#), r#"unknown member "unless""#),
            (delete(r#","value":"1""#), "a delete has no value"),
            (delete(r#","ttl":"1s""#), "a delete has no expiry"),
            (delete(r#","expires":1"#), "a delete has no expiry"),
            (delete(r#","if":"absent""#), "a delete has no use for an absent key"),
        ] {
            let good = r#"{"op":"delete","key":"a"}"#;
            let complaint = read(&format!("{good}\n{{{members}}}\n{good}\n")).unwrap_err().to_string();
            assert!(
                complaint.starts_with("line 2 of test: ") && complaint.contains(what),
                "{what}: {complaint}"
            );
        }
    }
}

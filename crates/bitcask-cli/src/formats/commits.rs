//! Commits in JSON Lines, one a line: `{"position":...,"changes":[...]}`, where each change is an operation.
//!
//! `watch` writes them. Who reads operations takes such a line for all of its changes, so a line is whole or not there at
//! all, as the commit was.

use std::fmt;

use bitcask::Commit;
use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::Operation;
use super::members::set_once;
use crate::json::JsonEntry;

/// A commit as a line says it.
#[derive(Debug, Serialize)]
pub(crate) struct CommitLine<'a> {
    /// The position behind it.
    position: u64,
    changes: Vec<ChangeMembers<'a>>,
}

#[derive(Debug, Serialize)]
struct ChangeMembers<'a> {
    op: &'static str,
    #[serde(flatten)]
    entry: JsonEntry<'a>,
}

impl<'a> CommitLine<'a> {
    /// A line that says no more than a position.
    pub(crate) fn at(position: u64) -> Self {
        Self { position, changes: Vec::new() }
    }

    pub(crate) fn of(commit: &'a Commit) -> Self {
        let members = |change: &'a bitcask::Change| match &change.value {
            Some(value) => {
                let entry = JsonEntry::key_value(&change.key, value).expires_at(change.expires_at);
                ChangeMembers { op: "put", entry }
            }
            None => ChangeMembers { op: "delete", entry: JsonEntry::key(&change.key) },
        };
        Self { position: commit.timestamp_us, changes: commit.changes.iter().map(members).collect() }
    }
}

/// What a line asks for: one operation, or those of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operations(pub(crate) Vec<Operation>);

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OperationsVisitor).map(Self)
    }
}

struct OperationsVisitor;

impl<'de> Visitor<'de> for OperationsVisitor {
    type Value = Vec<Operation>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"op\":\"put\",\"key\":\"...\",\"value\":\"...\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Operation>, A::Error> {
        let mut name: Option<String> = map.next_key()?;
        if !matches!(name.as_deref(), Some("position" | "changes")) {
            return Ok(vec![Operation::read(name, &mut map)?]);
        }
        let (mut position, mut changes) = (None, None);
        while let Some(member) = name {
            match member.as_str() {
                "position" => set_once(&mut position, &member, map.next_value::<u64>()?)?,
                "changes" => set_once(&mut changes, &member, map.next_value()?)?,
                _ => return Err(de::Error::custom(format_args!("unknown member {member:?} of a commit"))),
            }
            name = map.next_key()?;
        }
        changes.ok_or_else(|| de::Error::custom("there are no \"changes\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Condition, Lifetime};
    use crate::json::moment;

    fn read(line: &str) -> Result<Vec<Operation>, String> {
        serde_json::from_str(line).map(|Operations(all)| all).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_of_a_commit_is_read_as_its_operations() {
        let dir = tempfile::tempdir().unwrap();
        let db = bitcask::open(dir.path(), bitcask::Options::new()).unwrap();
        let mut batch = db.batch();
        let options = bitcask::PutOptions::new().expires_at(moment(4_102_444_800_000_000).unwrap());
        batch.put_with("a", "1", &options).put(b"\xff", b"\xfe").delete("gone");
        assert!(batch.commit().unwrap());
        db.sync().unwrap();
        let commit = db.changes(0).unwrap().next().unwrap().unwrap();
        let line = serde_json::to_string(&CommitLine::of(&commit)).unwrap();
        let expected = format!(
            r#"{{"position":{},"changes":[{},{},{}]}}"#,
            commit.timestamp_us,
            r#"{"op":"put","key":"a","value":"1","expires":4102444800000000}"#,
            r#"{"op":"put","key64":"/w==","value64":"/g=="}"#,
            r#"{"op":"delete","key":"gone"}"#,
        );
        assert_eq!(line, expected);
        let operation = |key: &[u8], value: Option<&[u8]>, lifetime| Operation {
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
            lifetime,
            condition: None,
        };
        let until = Lifetime::Until(moment(4_102_444_800_000_000).unwrap());
        let operations = [
            operation(b"a", Some(b"1"), until),
            operation(b"\xff", Some(b"\xfe"), Lifetime::Forever),
            operation(b"gone", None, Lifetime::Forever),
        ];
        assert_eq!(read(&line).unwrap(), operations);
        assert_eq!(serde_json::to_string(&CommitLine::at(7)).unwrap(), r#"{"position":7,"changes":[]}"#);
        assert_eq!(read(r#"{"position":7,"changes":[]}"#).unwrap(), []);
    }

    #[test]
    fn a_line_is_an_operation_or_a_commit_and_nothing_between() {
        let delete = r#"{"op":"delete","key":"a","if":"present"}"#;
        let one = read(delete).unwrap();
        assert_eq!((one.len(), one[0].condition), (1, Some(Condition::Present)));
        assert_eq!(read(&format!(r#"{{"changes":[{delete}]}}"#)).unwrap(), one);
        for (line, what) in [
            (r#"{"position":1}"#, r#"there are no "changes""#),
            (r#"{"position":"1","changes":[]}"#, "invalid type: string"),
            (r#"{"changes":[],"changes":[]}"#, r#"a second "changes""#),
            (r#"{"changes":[],"key":"a"}"#, r#"unknown member "key" of a commit"#),
            (r#"{"changes":[{"key":"a"}]}"#, r#"there is no "op""#),
            (r#"{"op":"delete","key":"a","changes":[]}"#, r#"unknown member "changes""#),
            (r#"{}"#, r#"neither "key" nor "key64""#),
        ] {
            let complaint = read(line).unwrap_err();
            assert!(complaint.contains(what), "{line}: {complaint}");
        }
    }
}

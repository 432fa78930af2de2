//! What the payloads of the log's own records consist of: a table of named numbers, by which the text formats spell out
//! what the binary one packs.

use super::record::Kind;

/// A number of a payload: its name, and its bytes there, which are little-endian.
type Field = (&'static str, usize);

const POSITION: &[Field] = &[("file", 8), ("offset", 8)];
const BATCH_END: &[Field] = &[("count", 8), ("start", 8)];
const FOOTER: &[Field] = &[
    ("records", 8),
    ("values", 8),
    ("tombstones", 8),
    ("first_timestamp", 8),
    ("last_timestamp", 8),
    ("length", 8),
    ("checksum", 4),
    ("flags", 4),
];

/// The numbers in the payload of a record of this kind, in order; `None` for kinds that are not the log's own.
pub(super) fn fields(kind: Kind) -> Option<&'static [Field]> {
    match kind {
        Kind::SyncMarker | Kind::CloseMarker | Kind::Link => Some(POSITION),
        Kind::BatchEnd => Some(BATCH_END),
        Kind::Footer => Some(FOOTER),
        Kind::Value | Kind::Tombstone | Kind::Ignorable(_) => None,
    }
}

/// The numbers of a payload with their names.
pub(super) fn numbers(fields: &'static [Field], payload: &[u8]) -> Vec<(&'static str, u64)> {
    let mut rest = payload;
    let number = |&(name, len): &Field| {
        let (bytes, behind) = rest.split_at(len.min(rest.len()));
        rest = behind;
        (name, bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    fields.iter().map(number).collect()
}

/// Appends one number to a payload; false when it has no room in its field.
pub(super) fn append(field: &Field, number: u64, payload: &mut Vec<u8>) -> bool {
    let bytes = number.to_le_bytes();
    let (kept, cut) = bytes.split_at(field.1);
    payload.extend_from_slice(kept);
    cut.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::footer::{Ending, Footer};
    use crate::format::position::{FileId, LogPosition};

    /// The payload that the numbers of `payload` give again.
    fn rebuilt(kind: Kind, payload: &[u8]) -> (Vec<(&'static str, u64)>, Vec<u8>) {
        let fields = fields(kind).unwrap();
        let numbers = numbers(fields, payload);
        let mut rebuilt = Vec::new();
        for (field, (name, number)) in fields.iter().zip(&numbers) {
            assert_eq!(field.0, *name);
            assert!(append(field, *number, &mut rebuilt));
        }
        (numbers, rebuilt)
    }

    #[test]
    fn the_names_stand_for_what_the_payloads_hold() {
        let footer = Footer {
            records: 1,
            values: 2,
            tombstones: 3,
            first_timestamp: 4,
            last_timestamp: u64::MAX,
            data_len: 6,
            checksum: u32::MAX,
            ending: Ending::Cut,
        };
        let (numbers, rebuilt_footer) = rebuilt(Kind::Footer, &footer.encode());
        assert_eq!(rebuilt_footer, footer.encode());
        assert_eq!(
            numbers[4..],
            [("last_timestamp", u64::MAX), ("length", 6), ("checksum", u64::from(u32::MAX)), ("flags", 1)]
        );
        let position = LogPosition { file: FileId(7), offset: 1 << 40 };
        let (numbers, rebuilt_position) = rebuilt(Kind::Link, &position.encode());
        assert_eq!(rebuilt_position, position.encode());
        assert_eq!(numbers, [("file", 7), ("offset", 1 << 40)]);
    }

    #[test]
    fn a_number_too_large_for_its_field_is_refused() {
        assert!(append(&("checksum", 4), u64::from(u32::MAX), &mut Vec::new()));
        assert!(!append(&("checksum", 4), 1 << 32, &mut Vec::new()));
    }
}

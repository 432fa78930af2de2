//! Any sequence of operations, imported, is what a map says.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>, u8),
    /// Begins the next data file; the last one gets a hint file of this kind.
    Rotate(Hints),
    /// Leaves an unfinished entry behind and begins the next file, as a crash and a start do.
    Crash(u8),
}

#[derive(Clone, Copy, Debug)]
enum Hints {
    Whole,
    WithoutTrailer,
    None,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = || prop_oneof![4 => "[a-d]{1,2}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 1..40)];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        Just(b"bitcask_tombston".to_vec()),
        Just(b"bitcask_tombstone9 is a value".to_vec()),
        Just(vec![0; 300]),
    ];
    let hints = prop_oneof![Just(Hints::Whole), Just(Hints::WithoutTrailer), Just(Hints::None)];
    prop_oneof![
        8 => (key(), value).prop_map(|(key, value)| Operation::Put(key, value)),
        4 => (key(), 0..3_u8).prop_map(|(key, version)| Operation::Delete(key, version)),
        1 => hints.prop_map(Operation::Rotate),
        1 => any::<u8>().prop_map(Operation::Crash),
    ]
}

/// Writes what the operations leave behind; gives the model and the number of torn tails.
fn run(operations: &[Operation], dir: &Path, timestamp: u32) -> (Pairs, u64) {
    std::fs::create_dir_all(dir).unwrap();
    let (mut model, mut files, mut id, mut torn) = (Pairs::new(), Files::default(), 1, 0);
    for operation in operations.iter().chain([&Operation::Rotate(Hints::Whole)]) {
        match operation {
            Operation::Put(key, value) => {
                files.entry(timestamp, key, value);
                model.insert(key.clone(), value.clone());
            }
            Operation::Delete(key, version) => {
                let value: &[u8] = match version {
                    0 => b"bitcask_tombstone",
                    1 => b"bitcask_tombstone1\0\0\0\x01",
                    _ => b"bitcask_tombstone2\xff\xff\xff\xff",
                };
                files.entry(timestamp, key, value);
                model.remove(key);
            }
            Operation::Rotate(hints) => {
                let hint = dir.join(format!("{id}.bitcask.hint"));
                match hints {
                    Hints::Whole => std::fs::write(hint, files.hint_with_trailer()).unwrap(),
                    Hints::WithoutTrailer => std::fs::write(hint, &files.hint).unwrap(),
                    Hints::None => {}
                }
                std::mem::take(&mut files).write_data(dir, id);
                id += 7;
            }
            Operation::Crash(cut) => {
                let whole_len = files.data.len();
                files.entry(timestamp, b"unfinished", &[7; 250]);
                files.data.truncate(whole_len + 1 + usize::from(*cut));
                std::mem::take(&mut files).write_data(dir, id);
                (id, torn) = (id + 1, torn + 1);
            }
        }
    }
    (model, torn)
}

proptest! {
    #[test]
    fn an_import_is_what_a_map_says(operations in prop::collection::vec(operation(), 0..60)) {
        let place = Place::new();
        let (model, torn) = run(&operations, &place.path(), 1_400_000_000);
        let (found, findings) = place.import();
        prop_assert_eq!(&found, &model);
        prop_assert_eq!((findings.torn_tails.count, findings.damage.count), (torn, 0));
        prop_assert_eq!(place.import(), (found, findings));
    }

    #[test]
    fn partitions_make_one_map(
        partitions in prop::collection::vec((prop::collection::vec(operation(), 0..30), 0..3_u32), 1..4),
    ) {
        let place = Place::new();
        let mut model: BTreeMap<Vec<u8>, (u32, Vec<u8>)> = BTreeMap::new();
        for (number, (operations, timestamp)) in partitions.iter().enumerate() {
            for (key, value) in run(operations, &place.path().join(number.to_string()), *timestamp).0 {
                if model.get(&key).is_none_or(|(there, _)| there <= timestamp) {
                    model.insert(key, (*timestamp, value));
                }
            }
        }
        let model: Pairs = model.into_iter().map(|(key, (_, value))| (key, value)).collect();
        prop_assert_eq!(place.import().0, model);
    }

    #[test]
    fn damage_anywhere_never_makes_a_value_that_was_not_there(
        operations in prop::collection::vec(operation(), 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1..40_usize), 1..4),
    ) {
        let place = Place::new();
        run(&operations, &place.path(), 1_400_000_000);
        let mut was_damaged = false;
        for (at, byte, len) in damage {
            let path = place.path().join("1.bitcask.data");
            let mut bytes = std::fs::read(&path).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + len);
            was_damaged |= bytes[at..end].iter().any(|old| *old != byte);
            bytes[at..end].fill(byte);
            std::fs::write(&path, bytes).unwrap();
        }
        let (found, findings) = place.import();
        let was_put = |key: &[u8], value: &[u8]| operations.iter().any(|operation| {
            matches!(operation, Operation::Put(k, v) if k == key && v == value)
        });
        for (key, value) in &found {
            prop_assert!(was_put(key, value), "{} was never put", key.escape_ascii());
        }
        prop_assert!(!was_damaged || !findings.damage.listed.is_empty() || !findings.torn_tails.listed.is_empty());
    }
}

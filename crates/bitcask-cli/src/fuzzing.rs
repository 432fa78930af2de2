//! What a fuzzer calls: for each parser a function that takes any bytes and asserts what must hold of whatever comes of
//! them.
//!
//! It exists only under `cfg(fuzzing)`, for the crate `fuzz`, and in this crate's tests, which run the corpus that the
//! fuzzer has gathered.

#![expect(clippy::unwrap_used, reason = "a panic is what a fuzzer looks for")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use crate::bytes::{Encoding, escaped};
use crate::formats::{
    BashoOptions, BashoReader, CsvColumns, CsvReader, CsvWriter, Entry, Input, JsonlReader, JsonlWriter,
    Keys, LineReader, Locks, Operations, Pending, Sink, Source, Taken,
};
use crate::output::Output;

/// A parser under test: what it does with these bytes.
pub type Target = fn(&[u8]);

/// Every target of the command line, by its name, which is also that of the directory of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("import_json", import_json),
    ("import_csv", import_csv),
    ("batch_lines", batch_lines),
    ("encodings", encodings),
    ("basho", basho),
];

const MAX_VALUE_SIZE: u64 = 4096;

/// What was written to memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The entries up to the first failure.
fn entries(source: &mut dyn Source) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Ok(Some(entry)) = source.next_entry() {
        assert!(!source.place().is_empty());
        entries.push(entry);
    }
    entries
}

fn write_all(sink: &mut dyn Sink, entries: &[Entry]) {
    for entry in entries {
        assert_eq!(sink.write(&entry.key, &entry.value, entry.expires_at).unwrap(), Taken::Yes);
    }
    sink.finish().unwrap();
}

/// JSON Lines as `import` reads them: what was read, exported and read again is the same.
fn import_json(bytes: &[u8]) {
    let read = entries(&mut JsonlReader::new(Input::of(bytes), MAX_VALUE_SIZE));
    let memory = Memory::default();
    write_all(&mut JsonlWriter::new(Output::into(memory.clone())), &read);
    let written = memory.0.take();
    assert_eq!(entries(&mut JsonlReader::new(Input::of(&written), MAX_VALUE_SIZE)), read);
}

/// CSV as `import` reads it: what was read, exported and read again is the same.
fn import_csv(bytes: &[u8]) {
    let Ok(mut reader) = CsvReader::new(Input::of(bytes), MAX_VALUE_SIZE) else { return };
    let read = entries(&mut reader);
    let memory = Memory::default();
    let output = Output::into(memory.clone());
    let mut writer = CsvWriter::new(output, CsvColumns::TextAndBase64).unwrap();
    write_all(&mut writer, &read);
    drop(writer);
    let written = memory.0.take();
    assert_eq!(entries(&mut CsvReader::new(Input::of(&written), MAX_VALUE_SIZE).unwrap()), read);
}

/// Operations and commits as `batch` reads them.
fn batch_lines(bytes: &[u8]) {
    let mut reader = LineReader::new(Input::of(bytes), MAX_VALUE_SIZE);
    while let Ok(Some(Operations(operations))) = reader.next_object() {
        for operation in operations {
            assert!(operation.value.is_some() || operation.lifetime == crate::formats::Lifetime::Forever);
        }
    }
}

/// A byte for the encoding, then text in it, and bytes for it.
fn encodings(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let encoding = [Encoding::Plain, Encoding::Hex, Encoding::Base64][usize::from(first) % 3];
    let decode = |text: &[u8]| encoding.decode_content("text", text.to_vec());
    if let Ok(decoded) = decode(rest) {
        assert_eq!(decode(&encoding.encode(&decoded)).unwrap(), decoded);
    }
    assert_eq!(decode(&encoding.encode(rest)).unwrap(), rest);
    assert!(!escaped(rest).chars().any(char::is_control), "a key could move the cursor");
}

/// A byte of options, then the files of Riak's Bitcask: a byte that says which one, two for its length, and so many bytes.
fn basho(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    lay_out(&source, rest);
    let options = BashoOptions {
        keys: if first & 1 == 0 { Keys::Raw } else { Keys::Riak },
        locks: if first & 2 == 0 { Locks::Ignore } else { Locks::Refuse },
        pending: if first & 4 == 0 { Pending::Take } else { Pending::Skip },
        expiry_secs: (first & 8 != 0).then_some(3_600),
        max_value_size: MAX_VALUE_SIZE,
    };
    let Ok((mut reader, findings)) = BashoReader::open(&source, Path::new("elsewhere"), options) else {
        return;
    };
    let (mut keys, mut taken) = (BTreeSet::new(), 0);
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                assert!(entry.value.len() as u64 <= MAX_VALUE_SIZE && !entry.key.is_empty());
                assert!(keys.insert(entry.key), "{} is handed out twice", reader.place());
                taken += 1;
            }
            Ok(None) => break,
            // Nobody changes the files meanwhile.
            Err(failure) => panic!("what was surveyed cannot be read: {failure}"),
        }
    }
    let tombstones = &findings.tombstones;
    let others = tombstones.v0 + tombstones.v1 + tombstones.v2 + findings.overwritten;
    let others = others + findings.in_other_partition + findings.expired + findings.refused.count;
    assert_eq!(findings.entries, taken + others, "an entry is lost");
}

/// Makes the files that the bytes stand for.
fn lay_out(source: &Path, mut rest: &[u8]) {
    const SEALED: u8 = 128;
    std::fs::create_dir_all(source).unwrap();
    while let Some((&[kind, low, high], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (content, next) = behind.split_at(len);
        rest = next;
        let id = kind >> 2 & 7;
        let folder = match kind >> 5 & 3 {
            0 => source.to_owned(),
            partition => source.join(partition.to_string()),
        };
        let mut content = content.to_vec();
        let name = match kind & 3 {
            0 | 1 => {
                if kind & SEALED != 0 {
                    seal_entries(&mut content);
                }
                format!("{id}.bitcask.data")
            }
            2 => {
                if kind & SEALED != 0 {
                    seal_hint(&mut content);
                }
                format!("{id}.bitcask.hint")
            }
            _ => "bitcask.write.lock".to_owned(),
        };
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), content).unwrap();
    }
}

/// Makes the checksums of entries fit that follow each other.
fn seal_entries(file: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = file[at..].first_chunk::<14>() {
        let [.., k0, k1, v0, v1, v2, v3] = *header;
        let (key_len, value_len) = (u16::from_be_bytes([k0, k1]), u32::from_be_bytes([v0, v1, v2, v3]));
        let len = usize::try_from(value_len).unwrap_or(usize::MAX).saturating_add(14 + usize::from(key_len));
        let Some(entry) = file[at..].get_mut(..len) else { return };
        let crc = crc32fast::hash(&entry[4..]);
        entry[..4].copy_from_slice(&crc.to_be_bytes());
        at += len;
    }
}

/// Puts the trailer of a sound hint file behind it.
fn seal_hint(file: &mut Vec<u8>) {
    let crc = crc32fast::hash(file);
    file.extend([0; 6]);
    file.extend(crc.to_be_bytes());
    file.extend((u64::MAX >> 1).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bitcask_testing::{Counting, check_corpus};

    use super::TARGETS;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    /// More than any input of the corpus may take, whatever lengths and counts it claims.
    const MEMORY_MAX: usize = 2 << 20;

    #[test]
    fn no_input_of_the_corpus_crashes_a_parser_or_takes_much_memory() {
        let test = "no_input_of_the_corpus_crashes_a_parser_or_takes_much_memory";
        check_corpus(test, TARGETS, MEMORY_MAX, 8);
    }
}

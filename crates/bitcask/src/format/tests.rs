//! The bytes printed in `docs/format.md` mean what the document says: its blocks are read, decoded by the codecs, and
//! printed again, and must come out as they stand there.
//!
//! A line of a block is the offset, the bytes of one field, and what they mean. A file may be printed in several
//! blocks, in order and without gaps; together they are the file of the fixture `document`.

use std::fmt::Write;

use super::checksum::checksum;
use super::codec::Codec;
use super::file_header::{FileHeader, LogFormat};
use super::footer::{Ending, Footer};
use super::hint::{self, HintHeader};
use super::manifest::Manifest;
use super::position::LogPosition;
use super::record::{Kind, RecordHeader, Seed};
use crate::keydir::Keydir;

macro_rules! text_fixture {
    ($store:literal, $name:literal) => {
        ($name, include_str!(concat!("../../tests/fixtures/v1/", $store, "/", $name)))
    };
}

const TEXT_FIXTURES: [(&str, &str); 4] = [
    text_fixture!("json-document", "0000000001.jsonl"),
    text_fixture!("json-document", "0000000002.jsonl"),
    text_fixture!("csv-document", "0000000001.csv"),
    text_fixture!("csv-document", "0000000002.csv"),
];

const DOCUMENT: &str = include_str!("../../../../docs/format.md");
const FENCE: &str = "```bytes ";
const TEXT_FENCE: &str = "```lines ";

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../tests/fixtures/v1/document/", $name)).as_slice())
    };
}

const FIXTURE: [(&str, &[u8]); 5] = [
    fixture!("0000000001.data"),
    fixture!("0000000002.data"),
    fixture!("0000000003.data"),
    fixture!("0000000001.hint"),
    fixture!("MANIFEST"),
];

/// The lines of all blocks about the file `name` that begin with this fence.
fn printed(fence: &str, name: &str) -> String {
    let mut lines = String::new();
    let mut inside = false;
    for line in DOCUMENT.lines() {
        match line.strip_prefix(fence) {
            Some(file) => inside = file == name,
            None if line.starts_with("```") => inside = false,
            None if inside => lines = lines + line + "\n",
            None => {}
        }
    }
    lines
}

/// The bytes of those lines: two hexadecimal digits each, behind the offset and two spaces, before two spaces.
fn bytes_of(lines: &str) -> Vec<u8> {
    let bytes = |line: &str| -> Vec<u8> {
        let (_, rest) = line.split_once("  ").expect("an offset and two spaces");
        let (bytes, _) = rest.split_once("  ").expect("bytes and two spaces");
        bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
    };
    lines.lines().flat_map(bytes).collect()
}

/// Prints a file field by field.
struct Printer<'a> {
    bytes: &'a [u8],
    offset: usize,
    lines: String,
}

impl<'a> Printer<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, lines: String::new() }
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// One line; none for a field without bytes.
    fn field(&mut self, len: usize, meaning: impl AsRef<str>) {
        if len == 0 {
            return;
        }
        let hex: Vec<_> = self.rest()[..len].iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.lines, "{:04x}  {:<47}  {}", self.offset, hex.join(" "), meaning.as_ref()).unwrap();
        self.offset += len;
    }

    /// The checksum of everything from `start` to here.
    fn checksum_from(&mut self, start: usize) {
        let sum = checksum(&self.bytes[start..self.offset]);
        self.field(4, format!("checksum: 0x{sum:08x}"));
    }

    fn data_file(&mut self) {
        let (header, len) = FileHeader::decode(LogFormat::Binary, self.bytes).unwrap();
        assert_eq!(header.encode(), self.bytes[..usize::try_from(len).unwrap()]);
        self.field(8, "magic: bitcaskD");
        self.field(4, "version: 1");
        self.field(1, format!("log format: {} ({:?})", header.format.to_byte(), header.format));
        self.field(3, "zero");
        self.field(16, "store id");
        self.field(8, format!("file id: {}", header.id));
        self.field(8, format!("salt: 0x{:016x}", header.salt));
        for flags in ["to read", "to write", "to ignore"] {
            self.field(4, format!("flags {flags}: 0"));
        }
        self.field(4, format!("count of inputs: {}", header.inputs.len()));
        self.checksum_from(0);
        while !self.rest().is_empty() {
            self.record(Seed::new(header.salt));
        }
    }

    fn record(&mut self, seed: Seed) {
        let record = self.rest();
        let header = RecordHeader::decode(record, seed, self.offset as u64).unwrap();
        let key = header.key(record);
        let value = &record[header.front_len()..usize::try_from(header.record_len()).unwrap()];
        let mut front = Vec::new();
        header.encode_front(seed, self.offset as u64, key, &mut front);
        assert_eq!(front, record[..header.front_len()]);
        self.field(4, format!("header crc: 0x{:08x}", u32::from_le_bytes(*front.first_chunk().unwrap())));
        self.field(4, format!("value crc: 0x{:08x}", checksum(value)));
        self.field(8, format!("timestamp: {}", header.timestamp));
        self.field(1, format!("kind: {} ({})", record[16], header.kind.name()));
        self.field(1, format!("flags: {}", record[17]));
        self.field(2, format!("key size: {}", header.key_size));
        self.field(4, format!("value size: {}", header.value_size));
        self.field(if header.expiry.is_some() { 8 } else { 0 }, "expiry");
        self.field(key.len(), format!("key: {}", key.escape_ascii()));
        match header.kind {
            Kind::SyncMarker | Kind::CloseMarker | Kind::Link => self.position(value),
            Kind::Footer => self.footer(value),
            _ if header.compression.is_some() => {
                let plain_len = u32::from_le_bytes(*value.first_chunk().unwrap());
                self.field(4, format!("plain length: {plain_len}"));
                self.field(value.len() - 4, format!("compressed: {}", value[4..].escape_ascii()));
            }
            _ => self.field(value.len(), format!("value: {}", value.escape_ascii())),
        }
    }

    fn position(&mut self, payload: &[u8]) {
        let position = LogPosition::decode(payload).unwrap();
        assert_eq!(position.encode(), payload);
        self.field(8, format!("file id: {}", position.file));
        self.field(8, format!("offset: {} (0x{:04x})", position.offset, position.offset));
    }

    fn footer(&mut self, payload: &[u8]) {
        let footer = Footer::decode(payload).unwrap();
        assert_eq!(footer.encode(), payload);
        let before = &self.bytes[..usize::try_from(footer.data_len).unwrap()];
        assert_eq!(checksum(before), footer.checksum);
        self.field(8, format!("count of records: {}", footer.records));
        self.field(8, format!("count of values: {}", footer.values));
        self.field(8, format!("count of tombstones: {}", footer.tombstones));
        self.field(8, format!("first timestamp: {}", footer.first_timestamp));
        self.field(8, format!("last timestamp: {}", footer.last_timestamp));
        self.field(8, format!("data length: {} (0x{:04x})", footer.data_len, footer.data_len));
        self.field(4, format!("checksum of the data: 0x{:08x}", footer.checksum));
        let flags = match footer.ending {
            Ending::Rotated => 0,
            Ending::Cut => 1,
        };
        self.field(4, format!("flags: {flags}"));
    }

    fn hint_file(&mut self, keydir: &Keydir) {
        let len = HintHeader::encoded_len(self.bytes.first_chunk().unwrap()).unwrap();
        let header = HintHeader::decode(&self.bytes[..len]).unwrap();
        assert_eq!(header.encode(), self.bytes[..len]);
        assert_eq!(header.binding.secret_fingerprint, keydir.digest(b"").cursor());
        self.field(8, "magic: bitcaskH");
        self.field(4, "version: 1");
        self.field(4, format!("count of sections: {}", header.sections.len()));
        self.field(16, "store id");
        self.field(8, format!("file id: {}", header.binding.file));
        let data_len = header.binding.data_len;
        self.field(8, format!("data length: {data_len} (0x{data_len:04x})"));
        self.field(4, format!("checksum of the data: 0x{:08x}", header.binding.data_checksum));
        self.field(4, "zero");
        self.field(8, format!("fingerprint: 0x{:016x}", header.binding.secret_fingerprint));
        for section in &header.sections {
            self.field(2, format!("shard: {}", section.shard));
            self.field(2, "zero");
            self.field(4, format!("count of entries: {}", section.count));
            self.field(4, format!("length of the section: {}", section.len));
            self.field(4, format!("checksum of the section: 0x{:08x}", section.checksum));
        }
        self.checksum_from(0);
        for section in &header.sections {
            let bytes = &self.rest()[..usize::try_from(section.len).unwrap()];
            assert_eq!(checksum(bytes), section.checksum);
            let entries: Vec<_> = hint::entries(bytes).collect::<Option<_>>().unwrap();
            assert_eq!(entries.len() as u64, u64::from(section.count));
            for entry in entries {
                assert_eq!(keydir.digest(entry.key).shard(), section.shard);
                self.hint_entry(&entry);
            }
        }
    }

    fn hint_entry(&mut self, entry: &hint::HintEntry<'_>) {
        self.field(8, format!("timestamp: {}", entry.timestamp));
        self.field(4, format!("offset: {} (0x{:04x})", entry.offset, entry.offset));
        self.field(2, format!("length of the record: at most {}", entry.len));
        self.field(2, format!("key size: {}", entry.key.len()));
        let kind = if entry.is_tombstone { "2 (tombstone)" } else { "1 (value)" };
        self.field(1, format!("kind: {kind}"));
        self.field(1, format!("flags: {}", u8::from(entry.expiry.is_some())));
        self.field(if entry.expiry.is_some() { 8 } else { 0 }, "expiry");
        self.field(entry.key.len(), format!("key: {}", entry.key.escape_ascii()));
    }

    fn manifest(&mut self, manifest: &Manifest) {
        assert_eq!(manifest.encode(), self.bytes);
        self.field(8, "magic: bitcaskM");
        self.field(4, "version: 1");
        self.field(4, "zero");
        self.field(16, "store id");
        self.field(16, "secret");
        self.field(1, format!("log format: {} ({:?})", manifest.format.to_byte(), manifest.format));
        self.field(7, "zero");
        self.field(8, format!("generation: {}", manifest.generation));
        self.field(8, format!("highest timestamp: {}", manifest.highest_timestamp));
        self.field(8, format!("next file id: {}", manifest.next_file));
        self.field(8, format!("merged through: {}", manifest.merged_through));
        self.field(8, format!("count of files: {}", manifest.files.len()));
        for file in &manifest.files {
            self.field(8, format!("file id: {}", file.id));
            self.field(8, format!("clean position: {}", file.clean));
        }
        if let Some(LogPosition { file, offset }) = manifest.synced {
            self.field(8, format!("file id: {file}"));
            self.field(8, format!("offset: {offset}"));
        }
        self.checksum_from(0);
    }
}

#[test]
fn every_byte_printed_in_the_document_means_what_it_says_there() {
    let manifest = Manifest::decode(&bytes_of(&printed(FENCE, "MANIFEST"))).unwrap();
    let keydir = Keydir::new(manifest.secret.0);
    for (name, fixture) in FIXTURE {
        let lines = printed(FENCE, name);
        let bytes = bytes_of(&lines);
        let mut printer = Printer::new(&bytes);
        match name {
            "MANIFEST" => printer.manifest(&manifest),
            name if name.ends_with(".hint") => printer.hint_file(&keydir),
            _ => printer.data_file(),
        }
        assert_eq!(printer.offset, bytes.len(), "{name}");
        assert!(lines == printer.lines, "{name} is printed as\n{lines}but its bytes say\n{}", printer.lines);
        assert!(bytes == fixture, "{name} is not the fixture's");
    }
}

#[test]
fn the_compressed_value_printed_in_the_document_is_a_fixture_s() {
    let fixture = include_bytes!("../../tests/fixtures/v1/compressed/0000000001.data");
    let lines = printed(FENCE, "compressed/0000000001.data");
    let offset = usize::from_str_radix(&lines[..4], 16).unwrap();
    let (header, _) = FileHeader::decode(LogFormat::Binary, fixture).unwrap();
    let mut printer = Printer { offset, ..Printer::new(fixture) };
    printer.record(Seed::new(header.salt));
    assert!(lines == printer.lines, "it is printed as\n{lines}but its bytes say\n{}", printer.lines);
}

#[test]
fn every_line_printed_in_the_document_is_a_fixture_s_and_is_read() {
    for (name, fixture) in TEXT_FIXTURES {
        assert!(printed(TEXT_FENCE, name) == fixture, "{name} is not the fixture's");
        let format = if name.ends_with(".csv") { LogFormat::Csv } else { LogFormat::Json };
        let (header, first_record) = FileHeader::decode(format, fixture.as_bytes()).unwrap();
        assert_eq!(header.encode(), fixture.as_bytes()[..usize::try_from(first_record).unwrap()]);
        let codec = Codec::new(format, header.salt);
        let mut offset = first_record;
        for line in fixture[usize::try_from(first_record).unwrap()..].split_inclusive('\n') {
            let record = codec.decode(line.as_bytes().to_vec(), offset).unwrap();
            if record.header.kind == Kind::Footer {
                let footer = Footer::decode(record.value()).unwrap();
                let before = &fixture.as_bytes()[..usize::try_from(offset).unwrap()];
                assert_eq!((footer.data_len, footer.checksum), (offset, checksum(before)), "{name}");
            }
            offset += line.len() as u64;
        }
        assert_eq!(offset, fixture.len() as u64, "{name}");
    }
}

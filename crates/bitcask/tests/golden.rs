//! Stores that earlier versions wrote open for ever: see `fixtures/README.md`.
//!
//! The fixtures are data, not code: nothing here may depend on how they were made but `make`, which makes new ones.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use bitcask::{
    Bitcask, Compression, Durability, Error, Io, LogFormat, MergeOptions, MergePolicy, Options, PutOptions,
    VerifyReport,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a fixture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    /// The process died between two writes.
    Killed,
    /// The last record is not whole.
    Torn,
}

const FIXTURES: [(&str, End); 20] = [
    ("batches", End::Closed),
    ("closed", End::Closed),
    ("compressed", End::Closed),
    ("csv-closed", End::Closed),
    ("csv-compressed", End::Closed),
    ("csv-cut", End::Closed),
    ("csv-document", End::Closed),
    ("csv-torn", End::Torn),
    ("cut", End::Closed),
    ("document", End::Closed),
    ("empty", End::Closed),
    ("json-closed", End::Closed),
    ("json-compressed", End::Closed),
    ("json-cut", End::Closed),
    ("json-document", End::Closed),
    ("json-torn", End::Torn),
    ("killed", End::Killed),
    ("preallocated", End::Killed),
    ("reopened", End::Closed),
    ("torn", End::Torn),
];

/// The format of a fixture, and the rest of its name.
fn format_of(name: &str) -> (LogFormat, &str) {
    let in_format = |prefix, format| name.strip_prefix(prefix).map(|rest| (format, rest));
    in_format("json-", LogFormat::Json)
        .or_else(|| in_format("csv-", LogFormat::Csv))
        .unwrap_or((LogFormat::Binary, name))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy of a fixture that a test may open.
fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&fixtures().join(name), copy.path());
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (name, bytes) in bytes_of(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// Every file of a directory.
fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
    };
    entries.map(read).collect()
}

/// What the fixture at `path` holds.
fn listing_at(path: &Path) -> Map {
    let text = fs::read_to_string(path.with_extension("txt")).unwrap();
    let line = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("a line without ="));
        (from_hex(key), from_hex(value))
    };
    text.lines().map(line).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_holds(db: &Bitcask, expected: &Map, name: &str) {
    let found: Map = db
        .iter()
        .map(|entry| entry.map(|(key, value)| (key, value.into_vec())))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(&found, expected, "{name}");
    assert_eq!(db.len(), expected.len() as u64, "{name}");
    for (key, value) in expected {
        assert!(db.contains(key).unwrap(), "{name}");
        assert_eq!(db.get(key).unwrap().as_deref(), Some(&value[..]), "{name}");
    }
    for key in ["deleted", "never there"] {
        assert_eq!(db.get(key).unwrap(), None, "{name}");
    }
}

fn verified(path: &Path, name: &str) -> VerifyReport {
    let report = bitcask::verify(path).unwrap();
    assert_eq!(report.damage, [], "{name}");
    report
}

/// Whether this build can read every value of the fixture.
fn is_readable(name: &str) -> bool {
    format_of(name).1 != "compressed" || cfg!(feature = "lz4") && cfg!(feature = "zstd")
}

#[test]
fn every_fixture_holds_what_was_written_and_can_be_written_to() {
    for (name, end) in FIXTURES.into_iter().filter(|(name, _)| is_readable(name)) {
        let expected = listing_at(&fixtures().join(name));
        let store = copy_of(name);

        let before = bytes_of(store.path());
        let report = verified(store.path(), name);
        assert_eq!(report.torn_tail.is_some(), end == End::Torn, "{name}: {:?}", report.torn_tail);
        let db = bitcask::open(store.path(), Options::read_only()).unwrap();
        assert_eq!(db.status().recovery.clean, end == End::Closed, "{name}");
        assert_eq!(db.status().format, format_of(name).0, "{name}");
        assert_holds(&db, &expected, name);
        drop(db);
        assert_eq!(bytes_of(store.path()), before, "{name}: a read-only open changes nothing");

        for io in [Io::Syscall, Io::Mapped] {
            let store = copy_of(name);
            let db = bitcask::open(store.path(), Options::new().io(io)).unwrap();
            assert_eq!(db.status().recovery.torn_tail, report.torn_tail, "{name}");
            assert_holds(&db, &expected, name);
            let mut expected = expected.clone();
            db.put("written by the test", "later").unwrap();
            expected.insert(b"written by the test".to_vec(), b"later".to_vec());
            if let Some(key) = expected.keys().next().cloned() {
                assert!(db.delete(&key).unwrap());
                expected.remove(&key);
            }
            db.close().unwrap();
            assert_eq!(verified(store.path(), name).torn_tail, None, "{name}");
            let db = bitcask::open(store.path(), Options::new().io(io)).unwrap();
            assert!(db.status().recovery.clean, "{name}");
            assert_holds(&db, &expected, name);
        }
    }
}

#[test]
fn a_build_that_cannot_decompress_a_value_names_the_feature_that_it_takes() {
    for name in ["compressed", "csv-compressed", "json-compressed"] {
        let expected = listing_at(&fixtures().join(name));
        let store = copy_of(name);
        let db = bitcask::open(store.path(), Options::new()).unwrap();
        let mut missing = Vec::new();
        for (key, value) in &expected {
            match db.get(key) {
                Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "{name}"),
                Err(Error::MissingFeature { feature, .. }) => missing.push(feature),
                Err(error) => panic!("{name}: {error}"),
            }
            assert_eq!(db.metadata(key).unwrap().map(|found| found.value_len), Some(value.len() as u64));
        }
        assert_eq!(missing.contains(&"lz4"), !cfg!(feature = "lz4"), "{name}");
        assert_eq!(missing.contains(&"zstd"), !cfg!(feature = "zstd"), "{name}");
        // It can be merged, and verified as far as checksums go.
        db.merge().unwrap();
        db.close().unwrap();
        verified(store.path(), name);
    }
}

#[test]
fn the_hint_files_of_every_closed_fixture_are_used() {
    for (name, hints) in [
        ("closed", 5),
        ("document", 1),
        ("reopened", 5),
        ("cut", 5),
        ("batches", 9),
        ("csv-closed", 5),
        ("json-closed", 5),
    ] {
        let db = bitcask::open(copy_of(name).path(), Options::read_only()).unwrap();
        let recovery = db.status().recovery;
        assert!(recovery.hints_loaded >= hints, "{name}: {recovery:?}");
        assert!(recovery.files_scanned <= 1, "{name}: {recovery:?}");
    }
}

#[test]
fn there_is_no_fixture_that_no_test_opens() {
    let listed: Vec<_> = FIXTURES.iter().map(|(name, _)| *name).collect();
    let entries = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, listed);
}

#[test]
fn a_version_that_nobody_knows_is_refused_and_nothing_is_changed() {
    const VERSION_AT: usize = 8;
    for file in ["MANIFEST", "0000000001.data", "0000000003.data"] {
        let store = copy_of("closed");
        let path = store.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[VERSION_AT] = 2;
        fs::write(&path, bytes).unwrap();
        let before = bytes_of(store.path());
        for options in [Options::read_only(), Options::new(), Options::new().io(Io::Syscall)] {
            match bitcask::open(store.path(), options).map(|_| ()) {
                Err(Error::Newer { file: named, .. }) => assert_eq!(named, file),
                other => panic!("{file}: {other:?}"),
            }
        }
        assert_eq!(bytes_of(store.path()), before, "{file}");
    }
}

// How fixtures are made.

/// Where new fixtures are to be put.
const WRITE_TO: &str = "BITCASK_WRITE_GOLDEN";
/// Which one the process at hand makes, to die in the middle of it.
const ONLY: &str = "BITCASK_WRITE_GOLDEN_ONLY";

/// A store being made, and what it holds.
struct Making {
    db: Bitcask,
    map: Map,
}

impl Making {
    fn open(path: &Path, format: LogFormat, max_file_size: u64, map: Map) -> Self {
        Self::open_with(path, Options::new().format(format).max_file_size(max_file_size), map)
    }

    fn open_with(path: &Path, options: Options, map: Map) -> Self {
        let options = options.io(Io::Syscall).durability(Durability::Os);
        // What was written is what a fixture is to hold.
        let options = options.merge(MergeOptions::new().policy(MergePolicy::Never));
        Self { db: bitcask::open(path, options).unwrap(), map }
    }

    fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.db.put(&key, &value).unwrap();
        self.map.insert(key.as_ref().to_vec(), value.as_ref().to_vec());
    }

    fn delete(&mut self, key: impl AsRef<[u8]>) {
        assert!(self.db.delete(&key).unwrap());
        self.map.remove(key.as_ref());
    }

    /// Overwrites, deletes, binary and empty values, keys of all lengths, and one value larger than a file.
    fn fill(&mut self, round: u8) {
        for n in 0..60_u8 {
            self.put(format!("key {n}"), format!("value {n} of round {round}"));
            if n % 20 == round % 20 {
                self.db.sync().unwrap();
            }
        }
        self.put(b"\0\xff\r\n\0", (0..=255).collect::<Vec<u8>>());
        self.put(b"\xff", [round; 3]);
        self.put("empty", "");
        self.put("long ".repeat(60), "the key is longer than its value");
        self.put(
            "large",
            (0..5_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap() ^ round).collect::<Vec<u8>>(),
        );
        self.put("deleted", "before");
        self.delete("deleted");
        for n in (0..60).step_by(7) {
            self.delete(format!("key {n}"));
        }
    }

    /// A batch of values, some of which expire long ago or never, and a delete.
    fn batch(&mut self, n: u8) {
        let key = |at: u8| format!("key {}", n.wrapping_mul(5).wrapping_add(at) % 60);
        let far = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let (kept, expired, deleted) = (key(0), key(1), key(2));
        let mut batch = self.db.batch();
        batch.put(&kept, format!("of batch {n}")).delete(&deleted);
        batch.put_with(&expired, "expired", &PutOptions::new().expires_at(UNIX_EPOCH));
        batch.put_with(format!("until {n}"), [n; 70], &PutOptions::new().expires_at(far));
        assert!(batch.commit().unwrap());
        self.map.insert(kept.into_bytes(), format!("of batch {n}").into_bytes());
        self.map.insert(format!("until {n}").into_bytes(), vec![n; 70]);
        self.map.remove(expired.as_bytes());
        self.map.remove(deleted.as_bytes());
    }

    /// Ends the process where `name` says so, after noting what the store holds.
    fn die(self, path: &Path) -> ! {
        write_listing(path, &self.map);
        std::process::abort();
    }

    fn close(self, path: &Path) {
        self.db.close().unwrap();
        write_listing(path, &self.map);
    }
}

fn write_listing(path: &Path, map: &Map) {
    let lines = map.iter().map(|(key, value)| format!("{}={}\n", to_hex(key), to_hex(value)));
    fs::write(path.with_extension("txt"), lines.collect::<String>()).unwrap();
}

/// Not a test: makes the fixtures anew in the directory that the environment names, and does nothing without it.
#[test]
fn make() {
    let Some(to) = std::env::var_os(WRITE_TO).map(PathBuf::from) else { return };
    if let Ok(only) = std::env::var(ONLY) {
        make_one(&only, &to.join(only.as_str()));
        return;
    }
    for (name, end) in FIXTURES {
        assert!(!to.join(name).exists(), "{name} is there already: fixtures are never written again");
        fs::create_dir_all(to.join(name)).unwrap();
        let make_in_child = |expected: End| {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let status = child.args(["--exact", "make"]).env(ONLY, name).status().unwrap();
            assert_eq!(status.success(), expected == End::Closed, "{name}");
        };
        match format_of(name).1 {
            "torn" => {
                make_in_child(End::Killed);
                change_last_file(&to.join(name), |bytes| bytes.truncate(bytes.len() - 5));
            }
            "preallocated" => {
                make_in_child(End::Killed);
                change_last_file(&to.join(name), |bytes| bytes.resize(bytes.len() + 3_000, 0));
            }
            "cut" => {
                make_in_child(End::Killed);
                change_last_file(&to.join(name), |bytes| bytes.truncate(bytes.len() - 5));
                make_in_child(End::Closed);
            }
            _ => make_in_child(end),
        }
    }
}

/// Changes the end of the log, as power loss might: the last file that holds more than its header.
fn change_last_file(store: &Path, change: impl Fn(&mut Vec<u8>)) {
    let files = bytes_of(store);
    let is_written = |(name, bytes): &(&String, &Vec<u8>)| {
        let lines = || bytes.iter().filter(|&&byte| byte == b'\n').count();
        match name.split_once('.').map(|(_, extension)| extension) {
            Some("data") => bytes.len() > 68,
            Some("jsonl") => lines() > 1,
            Some("csv") => lines() > 2,
            _ => false,
        }
    };
    let (name, bytes) = files.iter().rfind(is_written).unwrap();
    let mut bytes = bytes.clone();
    change(&mut bytes);
    fs::write(store.join(name), bytes).unwrap();
}

fn make_one(name: &str, path: &Path) {
    let (format, name) = format_of(name);
    // Lines are longer than binary records.
    let (small_size, document_size) = match format {
        LogFormat::Binary => (1024, 300),
        LogFormat::Json => (2500, 950),
        _ => (2000, 730),
    };
    let small = |map| Making::open(path, format, small_size, map);
    let mut making = match name {
        "document" => Making::open(path, format, document_size, Map::new()),
        _ => small(Map::new()),
    };
    match name {
        "empty" => {}
        "document" => {
            making.put("user:1", "Ada");
            making.db.sync().unwrap();
            making.put("user:2", "");
            making.put("user:1", "Ada Lovelace");
            making.delete("user:2");
            making.put("user:3", "Grace");
        }
        "closed" => making.fill(1),
        "batches" => {
            making.fill(1);
            for n in 0..30_u8 {
                making.batch(n);
            }
        }
        "compressed" => {
            let options = Options::new().max_file_size(small_size).compress_from(0);
            for (n, compression) in (1..).zip([
                Compression::Lz4,
                Compression::Zstd { level: 3 },
                Compression::Lz4,
                Compression::None,
            ]) {
                making.db.close().unwrap();
                making = Making::open_with(path, options.clone().compression(compression), making.map);
                making.put(format!("user:{n}"), "Ada Lovelace, ".repeat(8));
                if n == 2 {
                    making.fill(1);
                    making.batch(1);
                }
            }
        }
        "reopened" => {
            making.fill(1);
            making.db.close().unwrap();
            making = small(making.map);
            making.put("key 1", "after the first close");
            making.db.close().unwrap();
            making = small(making.map);
            making.put("key 2", "after the second close");
        }
        "cut" if making.db.is_empty() => {
            making.fill(1);
            making.put("torn", "this record loses its end");
            making.die(path);
        }
        // What the torn end of that leaves, recovered and written to.
        "cut" => {
            making.map = listing_at(path);
            making.map.remove(&b"torn"[..]);
            making.put("key 3", "after the cut");
        }
        "killed" | "preallocated" => {
            making.fill(1);
            making.put("last", "whole");
            making.die(path);
        }
        "torn" => {
            making.fill(1);
            let whole = making.map.clone();
            making.put("torn", "this record loses its end");
            making.map = whole;
            making.die(path);
        }
        other => panic!("no fixture is called {other}"),
    }
    making.close(path);
}

//! The most memory that one operation takes.

use std::fs;
use std::path::Path;

use bitcask::{Durability, Io, LogFormat, MergeOptions, MergePolicy, Options, Repair};
use bitcask_testing::{Sweep, Tier, content};

use crate::allocator::{peak_of, take_turn};

const MIB: usize = 1 << 20;

/// What buffers take, all together: a scan's windows, the pieces of a copy, a keydir of few keys.
const BUFFERS: usize = 2 * MIB;

const FORMATS: [LogFormat; 3] = [LogFormat::Binary, LogFormat::Json, LogFormat::Csv];

/// How many times the memory of a value some work takes. In the binary format only what is returned is in memory whole. A
/// line is: four digits for three bytes, and all that comes of reading them.
struct Values {
    /// A value is read and returned.
    returned: usize,
    /// Records are passed over, or copied as they are.
    passed: usize,
    written: usize,
}

impl Values {
    fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Binary => Self { returned: 1, passed: 0, written: 0 },
            _ => Self { returned: 6, passed: 6, written: 3 },
        }
    }
}

fn options(io: Io, format: LogFormat) -> Options {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    Options::new().io(io).format(format).durability(Durability::Os).merge(merge)
}

/// Bytes that no format writes as text.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n * 7 % 251).unwrap() ^ 0x80).collect()
}

#[track_caller]
fn assert_within(what: &str, peak: usize, bound: usize) {
    println!("{what}: {} KiB of {} KiB", peak >> 10, bound >> 10);
    assert!(peak <= bound, "{what} takes {peak} bytes, and may take {bound}");
}

#[test]
fn every_operation_takes_the_memory_of_one_value_and_of_its_buffers() {
    let _turn = take_turn();
    const VALUE: usize = 5 * MIB;
    let ways = [
        (Io::Mapped, LogFormat::Binary),
        (Io::Syscall, LogFormat::Binary),
        (Io::Mapped, LogFormat::Json),
        (Io::Mapped, LogFormat::Csv),
    ];
    for (io, format) in ways {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let Values { returned, passed, written } = Values::of(format);
        let within = |operation: &str, values: usize, peak: usize| {
            assert_within(&format!("{format:?}, {io:?}: {operation}"), peak, values * VALUE + BUFFERS);
        };
        // The store's own threads may read a file for its hints at the same time.
        let beside_threads = |operation: &str, values, peak| within(operation, values + passed, peak);
        let options = options(io, format).max_file_size(4 * VALUE as u64);
        let db = bitcask::open(path("store"), options.clone()).unwrap();
        let value = bytes(VALUE);
        // The last file keeps all that it has, the others a half.
        for n in [0, 3, 1, 4, 2, 5, 0, 1, 2] {
            let ((), peak) = peak_of(|| db.put(n.to_string(), &value).unwrap());
            beside_threads("put", written, peak);
        }
        let (found, peak) = peak_of(|| db.get("1").unwrap().unwrap());
        beside_threads("get", returned, peak);
        assert!(*found == *value);
        drop(found);
        let (found, peak) = peak_of(|| db.metadata("1").unwrap().unwrap());
        beside_threads("metadata", passed, peak);
        assert_eq!(found.value_len, VALUE as u64);
        let (sum, peak) = peak_of(|| db.fold(0, |sum, _, value| sum + value.len()).unwrap());
        beside_threads("fold", returned, peak);
        assert_eq!(sum, 6 * VALUE);
        db.sync().unwrap();
        let (changes, peak) = peak_of(|| db.changes(0).unwrap().map(Result::unwrap).count());
        beside_threads("changes", returned, peak);
        assert_eq!(changes, 9);
        let (_, peak) = peak_of(|| db.backup(path("backup")).unwrap());
        beside_threads("backup", 0, peak);
        let (report, peak) = peak_of(|| db.merge().unwrap());
        beside_threads("merge", passed + written, peak);
        assert_eq!((report.values_copied, report.records_dropped), (3, 3), "{report:?}");
        let (closed, peak) = peak_of(|| db.close());
        beside_threads("close", 0, peak);
        closed.unwrap();
        drop(db);

        let (report, peak) = peak_of(|| bitcask::verify(path("backup")).unwrap());
        within("verify", passed, peak);
        assert_eq!(report.damage, []);
        let (_, peak) = peak_of(|| bitcask::restore(path("backup"), path("restored")).unwrap());
        within("restore", passed, peak);
        let (converted, peak) =
            peak_of(|| bitcask::convert(path("restored"), path("converted"), options.clone()).unwrap());
        within("convert", returned + written + passed, peak);
        assert_eq!(converted, 6);
        // Hints are never needed; without them all is read.
        for name in content(&path("restored")).keys().filter(|name| name.ends_with(".hint")) {
            fs::remove_file(path("restored").join(name)).unwrap();
        }
        let (opened, peak) = peak_of(|| bitcask::open(path("restored"), options).unwrap());
        beside_threads("open", passed, peak);
        assert_eq!(opened.len(), 6);
    }
}

/// Opens and reads all, and says nothing of what fails: damage is to be told, and other tests see to that.
fn use_up(store: &Path) {
    let _ = bitcask::verify(store);
    if let Ok(db) = bitcask::open(store, Options::read_only()) {
        let _ = db.fold((), |(), _, _| ());
    }
}

/// A copy of the store without its lock.
fn copy_of(store: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in content(store) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

#[test]
fn a_length_of_which_the_file_has_nothing_costs_nothing() {
    let _turn = take_turn();
    const CLAIMED: usize = 4 * MIB;
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let db = bitcask::open(dir.path(), options(Io::Syscall, format)).unwrap();
        db.put("before", "here").unwrap();
        db.put("long", bytes(CLAIMED)).unwrap();
        db.sync().unwrap();
        let is_log = |name: &&String| name.starts_with("0000000001.");
        let copy = tempfile::tempdir().unwrap();
        // The store is at work: what it is about to rename may be gone before it is copied.
        let entries = fs::read_dir(dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: Vec<String> = names.filter(|name| !name.ends_with(".tmp")).collect();
        for name in &names {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        drop(db);
        let log = copy.path().join(names.iter().find(is_log).unwrap());
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        // Behind the front of the long record, whose own checksum fits where it has one; then again as long, of zeros.
        for (what, len) in [("cut short", 1000), ("of zeros", CLAIMED as u64 * 2)] {
            file.set_len(1000).unwrap();
            file.set_len(len).unwrap();
            let ((), peak) = peak_of(|| {
                let _ = bitcask::verify(copy.path());
                let db = bitcask::open(copy.path(), Options::read_only());
                assert_eq!(db.unwrap().get("before").unwrap().as_deref(), Some(&b"here"[..]));
            });
            assert_within(&format!("{format:?}: a log {what}"), peak, BUFFERS);
            let salvaged = tempfile::tempdir().unwrap();
            let repair = Repair::Salvage(salvaged.path().join("store"));
            let (report, peak) = peak_of(|| bitcask::repair(copy.path(), &repair).unwrap());
            assert_within(&format!("{format:?}: salvage of a log {what}"), peak, BUFFERS);
            assert_eq!(report.salvaged, 1);
        }
    }
}

#[test]
fn no_number_on_the_disk_makes_a_reader_take_more_memory() {
    let _turn = take_turn();
    let sweep = Sweep::new("no_number_on_the_disk_makes_a_reader_take_more_memory");
    let step = Tier::pick(61, 1, 1);
    let mut most = 0;
    for (format, number) in FORMATS.into_iter().zip(0_u64..) {
        let dir = tempfile::tempdir().unwrap();
        let db = bitcask::open(dir.path(), options(Io::Syscall, format).max_file_size(600)).unwrap();
        for n in 0..12 {
            db.put(n.to_string(), "a value of some length").unwrap();
        }
        db.close().unwrap();
        drop(db);
        for (file, (name, whole)) in content(dir.path()).into_iter().enumerate() {
            let copy = copy_of(dir.path());
            for at in (0..whole.len().saturating_sub(3)).step_by(step) {
                sweep.case(format_args!("{number}-{file}-{at}"), |_| {
                    for huge in [[0xff; 4], *b"9999"] {
                        let mut bytes = whole.clone();
                        bytes[at..at + 4].copy_from_slice(&huge);
                        fs::write(copy.path().join(&name), bytes).unwrap();
                        let ((), peak) = peak_of(|| use_up(copy.path()));
                        assert!(peak <= BUFFERS, "{name}: {peak} bytes");
                        most = most.max(peak);
                    }
                });
            }
        }
    }
    println!("at most {} KiB", most >> 10);
    sweep.finish(Tier::pick(250, 5_000, 5_000));
}

//! Backups on real files: what is shared, and what a backup under load holds.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bitcask::{Bitcask, Durability, Error, Io, Options};

const IOS: [Io; 2] = [Io::Mapped, Io::Syscall];

fn options(io: Io) -> Options {
    Options::new().io(io).max_file_size(8192).durability(Durability::Os)
}

fn content(db: &Bitcask) -> BTreeMap<Vec<u8>, Vec<u8>> {
    db.iter().map(|entry| entry.unwrap()).map(|(key, value)| (key, value.into_vec())).collect()
}

/// Name and links of each data file.
fn links(dir: &Path) -> BTreeMap<String, u64> {
    let found = std::fs::read_dir(dir).unwrap().map(|found| found.unwrap());
    let named =
        found.map(|found| (found.file_name().into_string().unwrap(), found.metadata().unwrap().nlink()));
    named.filter(|(name, _)| name.ends_with(".data")).collect()
}

#[test]
fn complete_files_are_shared_until_the_backup_is_restored() {
    for io in IOS {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let db = bitcask::open(path("store"), options(io)).unwrap();
        for n in 0..400 {
            db.put(format!("key{n}"), vec![7; 100]).unwrap();
        }
        let report = db.backup(path("copy")).unwrap();
        assert!(report.linked >= 3, "{report:?}");
        let shared = links(&path("copy")).into_values().filter(|&count| count == 2).count();
        assert_eq!(u64::try_from(shared).unwrap(), report.linked);
        assert_eq!(links(&path("copy")).len(), usize::try_from(report.files).unwrap());
        let seen = content(&db);
        db.put("key0", "later").unwrap();
        bitcask::restore(path("copy"), path("again")).unwrap();
        assert!(links(&path("again")).into_values().all(|count| count == 1));
        let again = bitcask::open(path("again"), options(io)).unwrap();
        assert_eq!(content(&again), seen);
        again.close().unwrap();
        // The store is gone; the backup is not.
        db.close().unwrap();
        std::fs::remove_dir_all(path("store")).unwrap();
        assert!(bitcask::verify(path("copy")).unwrap().damage.is_empty());
        assert_eq!(content(&bitcask::open(path("copy"), Options::read_only()).unwrap()), seen);
    }
}

#[test]
fn the_store_itself_is_no_target_by_whatever_path() {
    let root = tempfile::tempdir().unwrap();
    let store = root.path().join("store");
    let db = bitcask::open(&store, options(Io::Syscall)).unwrap();
    db.put("key", "value").unwrap();
    symlink(&store, root.path().join("link")).unwrap();
    let moved = root.path().join("moved");
    let reader = bitcask::open(&store, Options::read_only()).unwrap();
    std::fs::rename(&store, &moved).unwrap();
    symlink(&moved, &store).unwrap();
    for target in ["store", "link", "moved", "moved/deep/inside", "store/../moved/x"] {
        let target = root.path().join(target);
        for db in [&db, &reader] {
            let error = db.backup(&target).unwrap_err();
            assert!(matches!(error, Error::UnfitTarget { .. }), "{}: {error}", target.display());
        }
    }
    assert!(!moved.join("deep").exists());
    let error = db.backup(root.path()).unwrap_err();
    assert!(error.to_string().contains("which is no file of a backup"), "{error}");
    db.backup(root.path().join("elsewhere/deep")).unwrap();
}

/// Writers put numbered keys, each with how far all writers had come: a backup must hold a prefix of each writer's
/// puts, not shorter than what was acknowledged before it, and nothing that was written in the knowledge of something
/// that it lacks.
#[test]
fn a_backup_under_load_is_the_store_at_one_moment() {
    const WRITERS: usize = 3;
    const BACKUPS: u64 = 6;
    /// How many puts each writer may do for each backup: enough to be at it all the while.
    const QUOTA: u64 = 4_000;
    for io in IOS {
        let root = tempfile::tempdir().unwrap();
        let db = bitcask::open(root.path().join("store"), options(io).max_file_size(32 << 10)).unwrap();
        let acknowledged: [AtomicU64; WRITERS] = Default::default();
        let (quota, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (db, acknowledged, quota, enough) = (&db, &acknowledged, &quota, &enough);
                scope.spawn(move || {
                    for n in 0.. {
                        while n >= quota.load(Ordering::Relaxed) && !enough.load(Ordering::Relaxed) {
                            std::thread::yield_now();
                        }
                        if enough.load(Ordering::Relaxed) {
                            break;
                        }
                        let known =
                            acknowledged.each_ref().map(|count| count.load(Ordering::SeqCst).to_string());
                        db.put(format!("{writer}:{n}"), known.join(" ")).unwrap();
                        acknowledged[writer].store(n + 1, Ordering::SeqCst);
                        if n % 3 == 2 {
                            // Deleted in the order in which they were put, so what is there is one stretch.
                            assert!(db.delete(format!("{writer}:{}", n / 3)).unwrap());
                        }
                    }
                });
            }
            // Also when a check panics.
            let _ends = Ends(&enough);
            for round in 0..BACKUPS {
                // Each target in turn, so that most backups are later ones of the same.
                let target = root.path().join(format!("backup{}", round % 2));
                quota.store((round + 1) * QUOTA, Ordering::Relaxed);
                while acknowledged.iter().any(|count| count.load(Ordering::SeqCst) <= round * QUOTA) {
                    std::thread::yield_now();
                }
                let before = acknowledged.each_ref().map(|count| count.load(Ordering::SeqCst));
                if round % 3 == 1 {
                    scope.spawn(|| db.merge().unwrap());
                }
                db.backup(&target).unwrap();
                let after = acknowledged.each_ref().map(|count| count.load(Ordering::SeqCst));
                check_one_moment(&target, before, after);
                assert!(bitcask::verify(&target).unwrap().damage.is_empty());
            }
        });
        db.close().unwrap();
    }
}

/// Tells the writers that it is over.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check_one_moment<const WRITERS: usize>(target: &Path, before: [u64; WRITERS], after: [u64; WRITERS]) {
    let map = content(&bitcask::open(target, Options::read_only()).unwrap());
    let mut numbers: [Vec<u64>; WRITERS] = [const { Vec::new() }; WRITERS];
    for key in map.keys() {
        let (writer, n) = std::str::from_utf8(key).unwrap().split_once(':').unwrap();
        numbers[writer.parse::<usize>().unwrap()].push(n.parse().unwrap());
    }
    let counts = numbers.map(|mut numbers| {
        numbers.sort_unstable();
        let (first, last) = (*numbers.first().unwrap(), *numbers.last().unwrap());
        assert_eq!(last - first + 1, numbers.len() as u64, "{numbers:?} has gaps");
        // The delete comes after the put of every third.
        let deleted = (last + 1) / 3;
        assert!(first == deleted || last % 3 == 2 && first + 1 == deleted, "{first} to {last}");
        last + 1
    });
    for (writer, &count) in counts.iter().enumerate() {
        assert!((before[writer]..=after[writer] + 1).contains(&count), "{before:?} {counts:?} {after:?}");
    }
    for value in map.values() {
        let known = std::str::from_utf8(value).unwrap().split(' ').map(|count| count.parse::<u64>().unwrap());
        for (known, count) in known.zip(counts) {
            assert!(known <= count, "the backup lacks what one of its records knows of");
        }
    }
}

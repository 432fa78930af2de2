//! Files in the store's directory that are not its own, though they may look like it.

use super::ledger::{self, State};
use super::ways::{Way, is_data_file};
use crate::file::layout;
use crate::format::manifest::Manifest;
use crate::format::position::FileId;
use crate::vfs::sim::SimDisk;
use crate::{Bitcask, Error, Options};

const KEYS: usize = 9;
const BACKUP: &str = "backup";

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

/// Values that say which store they are of.
fn write(db: &Bitcask, state: &mut State, store: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let (key, value) = (format!("key{}", n % KEYS), format!("{store} {n:03}"));
        db.put(&key, &value).unwrap();
        state.insert(key, value);
    }
}

fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect()
}

/// A closed store of several files.
fn sample(way: Way) -> SimDisk {
    let disk = way.disk();
    let db = ledger::open(&disk, &way.small_files()).unwrap();
    write(&db, &mut State::new(), "store", 0..60);
    db.close().unwrap();
    disk
}

#[test]
fn a_name_that_no_file_of_a_store_has_is_refused_and_nothing_is_changed() {
    for way in Way::ALL {
        let sample = sample(way);
        let data = way.file(1);
        let names = ["notes.txt", "1.data", "MANIFEST.old", "0000000001.data.orig", "0000000001.datax"];
        for name in names.into_iter().map(str::to_owned).chain([format!("{data}.bak"), format!("{data}~")]) {
            let disk = sample.fork();
            disk.write_file(&name, &disk.read_file(&data));
            let before = content(&disk);
            let error = ledger::open(&disk, &way.small_files()).unwrap_err();
            assert!(matches!(&error, Error::ForeignFile { file, .. } if *file == name), "{name}: {error}");
            assert!(content(&disk) == before, "{name}");
        }
    }
}

/// A file with a number that the manifest has not given yet was made by a later life of the store.
#[test]
fn a_data_file_that_the_manifest_cannot_know_is_refused_and_one_that_was_given_up_is_removed() {
    for way in Way::ALL {
        let sample = sample(way);
        let db = ledger::open(&sample.fork(), &Options::read_only()).unwrap();
        let listed: Vec<String> = db.status().files.into_iter().map(|file| file.name).collect();
        let newest: u64 = listed.iter().map(|name| name[..10].parse().unwrap()).max().unwrap();
        for ahead in [2, 3, 1_000] {
            let disk = sample.fork();
            let name = layout::data(FileId(newest + ahead), way.format);
            disk.write_file(&name, &disk.read_file(&way.file(1)));
            let before = content(&disk);
            let error = ledger::open(&disk, &way.small_files()).unwrap_err();
            assert!(matches!(&error, Error::ForeignFile { file, .. } if *file == name), "{name}: {error}");
            assert!(content(&disk) == before, "{name}");
        }
        // A file that was merged away comes back, as from a restore of single files.
        let disk = sample.fork();
        let first = disk.read_file(&way.file(1));
        let db = ledger::open(&disk, &way.small_files()).unwrap();
        db.merge().unwrap();
        let state = ledger::read_all(&db, keys()).unwrap();
        db.close().unwrap();
        assert!(!disk.exists(&way.file(1)));
        disk.write_file(&way.file(1), &first);
        let db = ledger::open(&disk, &way.small_files()).unwrap();
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), state);
        assert!(!disk.exists(&way.file(1)));
    }
}

/// A backup is opened for writing and goes its own way, in files with the numbers that the store gives its own. They belong
/// to the same store by their headers. Put in the place of its files they are told by their ends.
#[test]
fn a_file_of_a_backup_that_went_its_own_way_gives_no_wrong_answer_in_the_place_of_the_store_s() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = ledger::open(&disk, &way.small_files()).unwrap();
        let mut state = State::new();
        write(&db, &mut state, "store", 0..30);
        db.backup_on(&*disk.vfs(), BACKUP.as_ref(), &mut |_| ()).unwrap();
        write(&db, &mut state, "store", 30..100);
        db.close().unwrap();
        drop(db);
        let options = way.small_files().maintenance(crate::options::Maintenance::Callers);
        let clock = std::sync::Arc::new(crate::vfs::sim::SimClock::new(1_000_000));
        let copy = Bitcask::open_on(&*disk.vfs(), clock, BACKUP.as_ref(), options).unwrap();
        // Longer values, so that the files end elsewhere.
        write(&copy, &mut State::new(), "its own way", 30..100);
        copy.close().unwrap();
        drop(copy);
        let prefix = format!("{BACKUP}/");
        let mut collisions = 0;
        for name in disk.files().into_iter().filter(|name| is_data_file(name) && !name.contains('/')) {
            let theirs = format!("{prefix}{name}");
            if !disk.exists(&theirs) || disk.read_file(&theirs) == disk.read_file(&name) {
                continue;
            }
            collisions += 1;
            let mixed = disk.fork();
            mixed.write_file(&name, &disk.read_file(&theirs));
            match ledger::open(&mixed, &way.small_files()) {
                Ok(db) => {
                    for key in keys() {
                        match db.get(&key) {
                            Ok(value) => assert_eq!(
                                value.as_deref(),
                                state.get(&key).map(String::as_bytes),
                                "{way:?}: {name}: {key}"
                            ),
                            Err(error) => assert!(error.is_corruption(), "{error}"),
                        }
                    }
                }
                Err(error) => assert!(
                    matches!(error, Error::Corruption { .. } | Error::ForeignFile { .. }),
                    "{way:?}: {name}: {error}"
                ),
            }
        }
        assert!(collisions > 2, "{collisions}");
    }
}

/// Complete files are not read to open a store, so the order is believed as far as timestamps do not contradict it.
#[test]
fn a_manifest_in_which_files_have_changed_places_is_refused() {
    for way in Way::ALL {
        let sample = sample(way);
        let manifest = Manifest::decode(&sample.read_file(layout::MANIFEST)).unwrap();
        for place in 1..manifest.files.len() - 2 {
            let disk = sample.fork();
            let mut changed = manifest.clone();
            changed.files.swap(place - 1, place);
            disk.write_file(layout::MANIFEST, &changed.encode());
            let before = content(&disk);
            let error = ledger::open(&disk, &way.small_files()).unwrap_err();
            assert!(error.is_corruption(), "{place}: {error}");
            assert!(content(&disk) == before, "{place}: something was changed");
        }
    }
}

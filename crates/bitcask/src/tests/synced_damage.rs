//! Damage to records that a sync has covered is never mended by cutting them off: an open refuses and names the place, or
//! the key of the record answers *corruption*; and a salvage returns all others.

use std::collections::BTreeSet;
use std::path::Path;

use bitcask_testing::{Sweep, Tier};

use super::ledger::{STORE, State};
use super::repair::{self, repair_at};
use super::ways::{Way, is_data_file};
use crate::file::data_file::DataFile;
use crate::file::layout::{self, Name};
use crate::file::scan::{Scanned, Scanner};
use crate::format::record::Kind;
use crate::location::Slot;
use crate::vfs::sim::SimDisk;
use crate::vfs::{Access, DirAccess};
use crate::{Error, FileState, LogFormat, Repair};

const SALVAGED: &str = "salvaged";

/// A record that a sync has covered, and that something behind it says so of.
struct Record {
    file: String,
    offset: u64,
    len: u64,
    /// Where its batch starts, with which it stands and falls; where it starts itself if it is in none.
    batch_start: u64,
    /// Of a value or a tombstone.
    key: Option<String>,
}

impl Record {
    fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// A store that was killed between two syncs, with a merge behind it, and all records of it that are claimed.
struct Sample {
    way: Way,
    disk: SimDisk,
    state: State,
    records: Vec<Record>,
}

impl Sample {
    fn new(way: Way) -> Self {
        let disk = way.disk();
        let mut state = State::new();
        let db = repair::open_at(&disk, STORE, way.small_files()).unwrap();
        repair::write(&db, &mut state, 0..40);
        assert_eq!(db.merge_chosen(|_| 1..3).unwrap().runs, 1);
        repair::write(&db, &mut state, 40..60);
        let mut batch = db.batch();
        for n in 0..3 {
            let (key, value) = (format!("key{n}"), format!("key{n} at a batch"));
            batch.put(&key, &value);
            state.insert(key, value);
        }
        assert!(batch.commit().unwrap());
        db.sync().unwrap();
        let files = db.status().files;
        let active = files.iter().position(|file| file.state == FileState::Active).unwrap();
        let synced_len = files[active].len;
        // With the marker that claims what was synced in front of them.
        repair::write(&db, &mut state, 60..62);
        // What is to be listed behind the active file was written later.
        let listed: Vec<String> = files.into_iter().take(active + 1).map(|file| file.name).collect();
        let disk = disk.kill();
        let is_claimed = |record: &Record| record.file != listed[active] || record.end() <= synced_len;
        let records = listed.iter().flat_map(|name| records_of(&disk, name)).filter(is_claimed).collect();
        Self { way, disk, state, records }
    }

    /// Flips a bit of a record, and looks at what becomes of the store. Returns whether the open refuses.
    fn judge(&self, record: &Record, bit: u64) -> bool {
        let disk = self.disk.fork();
        disk.flip_bit(&record.file, bit);
        let affected = self.affected(record, bit);
        self.judge_salvage(&disk.fork(), record, &affected);
        // Without hints an open reads the file itself.
        let hints = format!("{}.hint", &record.file[..10]);
        if bit.is_multiple_of(2) && disk.exists(&hints) {
            disk.remove_file(&hints);
        }
        let before = content(&disk);
        match repair::open_at(&disk, STORE, self.way.small_files()) {
            Ok(db) => {
                assert_eq!(db.status().recovery.torn_tail, None, "it is taken for a torn tail");
                for key in repair::keys() {
                    match db.get(&key) {
                        Ok(value) => {
                            assert_eq!(value.as_deref(), self.state.get(&key).map(String::as_bytes), "{key}");
                        }
                        Err(error) => {
                            assert!(error.is_corruption() && affected.contains(&key), "{key}: {error}");
                            assert!(error.to_string().contains(&record.file), "{}: {error}", record.file);
                        }
                    }
                }
                false
            }
            Err(error) => {
                let Error::Corruption { file, offset, .. } = &error else { panic!("{error}") };
                assert_eq!(*file, record.file, "{error}");
                assert!((record.batch_start..=record.end()).contains(offset), "{error}");
                assert!(content(&disk) == before, "a refused open changes nothing");
                true
            }
        }
    }

    /// The keys whose records the bit is in: of two lines, if it is in what ends one and begins another.
    fn affected(&self, record: &Record, bit: u64) -> BTreeSet<String> {
        let is_line_end = self.way.format != LogFormat::Binary && bit / 8 == record.end() - 1;
        let reaches = |other: &&Record| {
            other.file == record.file
                && (other.offset == record.offset || is_line_end && other.offset == record.end())
        };
        self.records.iter().filter(reaches).filter_map(|record| record.key.clone()).collect()
    }

    fn judge_salvage(&self, disk: &SimDisk, record: &Record, affected: &BTreeSet<String>) {
        let report = repair_at(disk, STORE, &Repair::Salvage(SALVAGED.into())).unwrap();
        let is_there = |lost: &crate::LostRange| {
            lost.file == record.file && lost.offset <= record.end() && record.offset <= lost.offset + lost.len
        };
        assert!(report.lost.iter().any(is_there), "{:?}", report.lost);
        let salvaged = repair::state_at(disk, SALVAGED);
        for key in repair::keys().filter(|key| !affected.contains(key)) {
            assert_eq!(salvaged.get(&key), self.state.get(&key), "{key} after a salvage");
        }
    }
}

/// The records of a data file up to where it ends.
fn records_of(disk: &SimDisk, name: &str) -> Vec<Record> {
    let Name::Data(id, format) = layout::parse(name) else { panic!("{name}") };
    let dir = disk.vfs().open_dir(Path::new(STORE), DirAccess::ReadOnly).unwrap();
    let file = DataFile::open_of_any_store(&*dir, id, format, Slot::FIRST, Access::Read).unwrap();
    let end = file.file_len().unwrap();
    let mut scanner = Scanner::starting_at(&file, file.first_record(), end).unwrap();
    let mut records = Vec::new();
    let mut open_batch = None;
    while let Scanned::Record(record) = scanner.next().unwrap() {
        let (file, offset, len) = (name.to_owned(), record.offset, record.len);
        let batch_start = open_batch.unwrap_or(offset);
        open_batch = record.header.in_batch.then_some(batch_start);
        let has_key = matches!(record.header.kind, Kind::Value | Kind::Tombstone);
        let key = has_key.then(|| String::from_utf8(record.key.to_vec()).unwrap());
        records.push(Record { file, offset, len, batch_start, key });
    }
    records
}

fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect()
}

#[test]
fn a_flip_in_any_synced_record_is_never_mended_by_cutting_it_off() {
    let sweep = Sweep::new("a_flip_in_any_synced_record_is_never_mended_by_cutting_it_off");
    let (mut cases, mut refused) = (0_u64, 0_u64);
    for (number, way) in Way::numbered(&sweep) {
        let sample = Sample::new(way);
        assert!(sample.records.iter().all(|record| is_data_file(&record.file)));
        for (index, record) in (0..).zip(&sample.records) {
            // Some bits of each record, in its front and behind; or all of them.
            let chosen = sweep.seed_of(index);
            let step = Tier::pick((record.len * 8 / 3).max(1), 1, 1);
            for bit in (chosen % step..record.len * 8).step_by(usize::try_from(step).unwrap()) {
                let case = format!("{number}-{index}-{bit}");
                let is_refused = sweep.case(case, |_| sample.judge(record, record.offset * 8 + bit));
                cases += 1;
                refused += u64::from(is_refused == Some(true));
            }
        }
    }
    println!("in {refused} of {cases} cases the open is refused");
    assert!(!sweep.is_whole() || refused > 0 && refused < cases);
    sweep.finish(Tier::pick(700, 100_000, 100_000));
}

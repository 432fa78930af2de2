//! Every call that a merge makes fails once, or from then on: no answer changes, nothing that is listed is gone, and the
//! store can be written, merged and opened again.

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness;
use super::model::{Map, Stored};
use super::ways::{Way, is_data_file};
use crate::expiry::to_time;
use crate::vfs::sim::{CrashModel, DirOrder, Failure, OpKind, Operation, Repeat, SimClock, SimDisk};
use crate::{
    Bitcask, Durability, Error, LogFormat, MergeOptions, MergePolicy, MergeReport, Options, PutOptions,
    Result,
};

const NOW_US: u64 = 1_800_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;

fn options(format: LogFormat) -> Options {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    Options::new().format(format).max_file_size(700).durability(Durability::Os).merge(merge)
}

fn open(disk: &SimDisk, way: Way) -> Bitcask {
    harness::open(disk, &Arc::new(SimClock::new(NOW_US)), &options(way.format)).unwrap()
}

/// A store of several files with batches, tombstones, and values that have expired or will: all of it durable.
fn sample(way: Way) -> SimDisk {
    let disk = way.disk();
    let db = open(&disk, way);
    for n in 0..40_u64 {
        let key = format!("key{}", n % 9);
        match n % 8 {
            0 => {
                let mut batch = db.batch();
                batch.put("one of two", format!("{n}")).put(&key, format!("{n} in a batch")).delete("key4");
                assert!(batch.commit().unwrap());
            }
            1 => drop(db.delete(&key).unwrap()),
            2 => {
                let expired = PutOptions::new().expires_at(to_time(NOW_US - HOUR_US));
                assert!(db.put_with(&key, "expired", &expired).unwrap());
            }
            3 => {
                let lives = PutOptions::new().expires_at(to_time(NOW_US + HOUR_US));
                assert!(db.put_with(&key, format!("lives at {n}"), &lives).unwrap());
            }
            _ => db.put(&key, format!("value {n} {}", "x".repeat(20))).unwrap(),
        }
    }
    db.close().unwrap();
    disk
}

fn listed(db: &Bitcask) -> Vec<String> {
    db.status().files.into_iter().map(|file| file.name).collect()
}

fn map_of(db: &Bitcask) -> Map {
    db.reap_all();
    Map::of(db)
}

/// Merges all complete files but the first, for which tombstones have to stay.
fn merge(db: &Bitcask) -> Result<MergeReport> {
    db.merge_chosen(|count| {
        assert!(count > 3, "{count} files");
        1..count
    })
}

/// How many calls a merge makes.
fn calls_of_merge(sample: &SimDisk, way: Way) -> u64 {
    let disk = sample.fork();
    let db = open(&disk, way);
    let _ = map_of(&db);
    let first = disk.operations();
    merge(&db).unwrap();
    disk.operations() - first
}

/// What became of a merge of which a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It has no call of the kind that can fail so from there on.
    NotHit,
    Goes,
    Poisoned,
}

/// No data file is there but those that are listed.
fn check_files(disk: &SimDisk, db: &Bitcask, failed: &Operation) {
    let mut on_disk: Vec<_> = disk.files().into_iter().filter(|name| is_data_file(name)).collect();
    let mut listed = listed(db);
    listed.sort();
    on_disk.sort();
    assert_eq!(on_disk, listed, "{failed}: something is left");
}

/// Opens `sample`, lets call `number` of a merge fail, and checks what follows.
fn fail_one(sample: &SimDisk, way: Way, number: u64, failure: Failure, repeat: Repeat, seed: u64) -> Outcome {
    let disk = sample.fork();
    let db = open(&disk, way);
    let mut expected = map_of(&db);
    let files = listed(&db);
    let first = disk.operations();
    disk.fail_at(first + number, failure, repeat);
    let fired = disk.faults_fired();
    let merged = merge(&db);
    let hit = disk.faults_fired() > fired;
    let failed = disk.trace().into_iter().find(|operation| operation.number >= first + number);
    disk.clear_faults();
    if !hit {
        return Outcome::NotHit;
    }
    let failed = failed.expect("the trace has the call");
    if let Err(error) = &merged {
        assert!(!error.is_corruption(), "{failed}: a failed call is not corruption: {error}");
    }
    let poisoned = db.status().poisoned;
    let is_output = is_data_file(&failed.name) && !files.iter().any(|name| **name == *failed.name);
    if failed.kind == OpKind::SyncFile && is_output {
        assert!(merged.is_err(), "{failed}: what is not synced is not installed");
        assert_eq!(poisoned, None, "{failed}: only the merge ends");
    }
    assert_eq!(map_of(&db), expected, "{failed}: an answer changes");
    for name in listed(&db) {
        assert!(disk.exists(&name), "{failed}: {name} is listed, and gone");
    }
    if merged.is_err() && poisoned.is_none() && repeat == Repeat::Once && failed.kind != OpKind::Remove {
        check_files(&disk, &db, &failed);
    }
    for model in [CrashModel::Clean, CrashModel::Random(DirOrder::AnySubset)] {
        let left = disk.crash(seed, model);
        assert_eq!(map_of(&open(&left, way)), expected, "{failed}: after a power cut");
        harness::check_sound(&left);
    }
    let written = db.put("later", "value");
    assert_eq!(written.is_err(), poisoned.is_some(), "{failed}: {written:?}");
    let db = match written {
        Ok(()) => {
            expected.insert(b"later".to_vec(), Stored::forever("value"));
            // An input that could not be read is left out until the next open.
            db.merge().unwrap_or_else(|error| panic!("{failed}: the next merge fails: {error}"));
            assert_eq!(map_of(&db), expected, "{failed}: after the next merge");
            db.close().unwrap();
            drop(db);
            open(&disk, way)
        }
        Err(error) => {
            assert!(matches!(error, Error::Poisoned { .. }), "{failed}: {error}");
            drop(db);
            open(&disk, way)
        }
    };
    assert_eq!(map_of(&db), expected, "{failed}: after opening again");
    db.merge_chosen(|count| 0..count).unwrap();
    assert_eq!(map_of(&db), expected, "{failed}: after merging everything");
    check_files(&disk, &db, &failed);
    db.close().unwrap();
    harness::check_sound(&disk);
    if poisoned.is_some() { Outcome::Poisoned } else { Outcome::Goes }
}

#[test]
fn whichever_call_of_a_merge_fails_no_answer_changes_and_the_store_goes_on() {
    const EIO: Failure = Failure::Os(5);
    const ENOSPC: Failure = Failure::Os(28);
    const EMFILE: Failure = Failure::Os(24);
    let sweep = Sweep::new("whichever_call_of_a_merge_fails_no_answer_changes_and_the_store_goes_on");
    let (mut goes, mut poisoned) = (0_u64, 0_u64);
    for (number, way) in Way::numbered(&sweep) {
        let sample = sample(way);
        for (turn, failure) in (0..).zip([EIO, ENOSPC, EMFILE, Failure::Map]) {
            for repeat in [Repeat::Once, Repeat::Forever] {
                let step = Tier::pick(7, 1, 1);
                let first = (sweep.seed_of(number) + turn) % step;
                for call in (first..calls_of_merge(&sample, way)).step_by(usize::try_from(step).unwrap()) {
                    let is_forever = u8::from(repeat == Repeat::Forever);
                    let outcome = sweep.case(format!("{number}-{turn}-{is_forever}-{call}"), |seed| {
                        fail_one(&sample, way, call, failure, repeat, seed)
                    });
                    goes += u64::from(outcome == Some(Outcome::Goes));
                    poisoned += u64::from(outcome == Some(Outcome::Poisoned));
                }
            }
        }
    }
    println!("{goes} stores went on, {poisoned} were poisoned");
    assert!(!sweep.is_whole() || goes > poisoned && poisoned > 0);
    sweep.finish(Tier::pick(600, 4_000, 4_000));
}

/// Nothing was acknowledged for what is in an output, so a failed sync of it is no reason to give up.
#[test]
fn an_output_that_cannot_be_synced_ends_the_merge_and_poisons_nothing() {
    for way in Way::ALL {
        let sample = sample(way);
        let whole = sample.fork();
        let db = open(&whole, way);
        let _ = map_of(&db);
        let (files, first) = (listed(&db), whole.operations());
        assert_eq!(merge(&db).unwrap().outputs, 1);
        let syncs = whole.trace().into_iter().filter(|operation| {
            let is_output =
                is_data_file(&operation.name) && !files.iter().any(|name| **name == *operation.name);
            operation.number >= first && operation.kind == OpKind::SyncFile && is_output
        });
        let numbers: Vec<u64> = syncs.map(|operation| operation.number - first).collect();
        assert!(!numbers.is_empty());
        for number in numbers {
            assert_eq!(fail_one(&sample, way, number, Failure::Os(5), Repeat::Once, number), Outcome::Goes);
        }
    }
}

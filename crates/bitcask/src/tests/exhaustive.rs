//! Not by chance but all of them: every subset of a few pending sectors, every cut of the last writes, a batch among them.

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::crash::canonical;
use super::harness::{Case, Depth, check_recovery, workloads};
use super::model::{Bounds, History, Stored, Write};
use super::ways::Way;
use crate::vfs::sim::{Random, SimClock, SimDisk};
use crate::{Durability, Options};

/// Lets each subset of the pending sectors reach the disk, at moments where these are few.
fn sweep_subsets(test: &'static str, way: Way) {
    // By how many sectors are pending: how many moments of a workload are tried.
    let moments_of = |sectors: usize| match sectors {
        1..=4 => Tier::pick(1, 20, 100),
        5..=7 => Tier::pick(1, 4, 20),
        8..=10 => Tier::pick(0, 1, 2),
        11..=12 => Tier::pick(0, 0, 1),
        _ => 0,
    };
    let sweep = Sweep::new(test);
    for number in workloads(Tier::pick(16, 40, 40), way, &sweep) {
        let workload = canonical(way, &sweep, number);
        let mut tried = [0; 13];
        let mut random = Random::new(sweep.seed_of(number));
        for (index, moment) in (0..).zip(&workload.moments) {
            // Few moments are tried, so they should not be the first ones only.
            if !random.one_in(8) {
                continue;
            }
            let count = moment.disk.pending_sectors().len();
            if tried.get(count).is_none_or(|&tried| tried >= moments_of(count)) {
                continue;
            }
            tried[count] += 1;
            for subset in 0..1_u64 << count {
                sweep.case(Case { workload: number, moment: index, crash: subset }, |seed| {
                    let random = &mut Random::new(seed);
                    let kept: Vec<bool> = (0..count).map(|sector| subset >> sector & 1 == 1).collect();
                    let left = moment.disk.crash_with(&kept);
                    let Bounds { durable, acked, issued } = moment.bounds;
                    let at_least = if kept.iter().all(|&kept| kept) { acked } else { durable };
                    let options = &workload.settings.options;
                    check_recovery(
                        &left,
                        &workload.history,
                        at_least,
                        issued,
                        options,
                        Depth::Recovery,
                        random,
                    );
                });
            }
        }
    }
    sweep.finish(way.share(Tier::pick(400, 10_000, 50_000)));
}

#[test]
fn every_subset_of_pending_sectors_leaves_a_prefix_mapped() {
    sweep_subsets("every_subset_of_pending_sectors_leaves_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn every_subset_of_pending_sectors_leaves_a_prefix_syscall() {
    sweep_subsets("every_subset_of_pending_sectors_leaves_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn every_subset_of_pending_sectors_leaves_a_prefix_json() {
    sweep_subsets("every_subset_of_pending_sectors_leaves_a_prefix_json", Way::JSON);
}

#[test]
fn every_subset_of_pending_sectors_leaves_a_prefix_csv() {
    sweep_subsets("every_subset_of_pending_sectors_leaves_a_prefix_csv", Way::CSV);
}

/// A store of which the last three writes and a batch are not synced, where the first of them starts, and where they end.
fn unsynced_records_and_a_batch(way: Way) -> (SimDisk, History, Options, u64, u64) {
    let options = way.options().max_file_size(4096).durability(Durability::Os);
    let disk = way.disk();
    let db = super::harness::open(&disk, &Arc::new(SimClock::new(1 << 50)), &options).unwrap();
    let mut history = History::default();
    let mut put = |key: &str, value: &[u8]| {
        db.put(key, value).unwrap();
        history.push(Write { key: key.into(), value: Some(Stored::forever(value)) });
    };
    put("first", b"value of first");
    put("second", &[2; 70]);
    db.sync().unwrap();
    let start = db.status().files[0].len;
    put("third", b"value of third");
    assert!(db.delete("first").unwrap());
    history.push(Write { key: b"first".to_vec(), value: None });
    db.put("second", [9; 40]).unwrap();
    history.push(Write { key: b"second".to_vec(), value: Some(Stored::forever([9; 40])) });
    let mut batch = db.batch();
    batch.put("fourth", "value of fourth").put("third", [3; 20]).delete("second").put("fifth", "");
    assert!(batch.commit().unwrap());
    let stored = |value: &[u8]| Some(Stored::forever(value));
    let write = |(key, value): (&str, _)| Write { key: key.into(), value };
    let fourth = stored(b"value of fourth");
    let writes = [("fourth", fourth), ("third", stored(&[3; 20])), ("second", None), ("fifth", stored(b""))];
    history.push_batch(writes.map(write));
    let end = db.status().files[0].len;
    disk.stop();
    (disk, history, options, start, end)
}

/// What may stand behind a cut: nothing, zeros, ones, noise, or the records of another file at the same place.
fn behind_the_cut(kind: u64, at: usize, other_file: &[u8], random: &mut Random) -> Vec<u8> {
    match kind {
        0 => Vec::new(),
        1 => vec![0; 700],
        2 => vec![0xff; 90],
        3 => {
            let mut noise = vec![0; 130];
            random.fill(&mut noise);
            noise
        }
        _ => other_file.get(at..).unwrap_or_default().to_vec(),
    }
}

fn sweep_cuts(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let file = way.file(1);
    let (disk, history, options, start, end) = unsynced_records_and_a_batch(way);
    // The same records in a file with another salt.
    let other_file = unsynced_records_and_a_batch(way).0.read_file(&file);
    let (turns, turn) = way.turn();
    for len in (start..=end).filter(|len| len % turns == turn) {
        for kind in 0..5 {
            sweep.case(Case { workload: 0, moment: len, crash: kind }, |seed| {
                let random = &mut Random::new(seed);
                let left = disk.crash_cut(&file, len);
                let mut bytes = left.read_file(&file);
                assert_eq!(bytes.len() as u64, len);
                bytes.extend(behind_the_cut(kind, bytes.len(), &other_file, random));
                left.write_file(&file, &bytes);
                let at_least = if len == end { history.len() } else { 2 };
                // Garbage may happen to be the very bytes that were cut off, so all may be there again.
                let at_most = history.len();
                check_recovery(&left, &history, at_least, at_most, &options, Depth::Afterlife, random);
            });
        }
    }
    sweep.finish(way.share((end - start) * 5) - 5);
}

#[test]
fn every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_mapped() {
    sweep_cuts("every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_syscall() {
    sweep_cuts("every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_json() {
    sweep_cuts("every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_json", Way::JSON);
}

#[test]
fn every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_csv() {
    sweep_cuts("every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_csv", Way::CSV);
}

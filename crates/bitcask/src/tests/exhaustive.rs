//! Not by chance but all of them: every subset of a few pending sectors or changes of names, every cut of the last writes, a
//! batch among them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::crash::canonical;
use super::harness::{Case, Depth, check_recovery, workloads};
use super::model::{Bounds, History, Stored, Write};
use super::ways::Way;
use super::workload::{Settings, Workload};
use crate::vfs::sim::{PendingBytes, Random, SimClock, SimDisk};
use crate::{Durability, Options};

/// Lets each subset of the pending sectors reach the disk, at moments where these are few.
fn sweep_subsets(test: &'static str, way: Way) {
    // By how many sectors are pending: how many moments of a workload are tried. With every commit `sweep_twelve` has those
    // with most.
    let moments_of = |workload: u64, sectors: usize| match sectors {
        1..=4 => Tier::pick(1, 20, 100),
        5..=7 => Tier::pick(1, 4, 20),
        8..=10 => Tier::pick(0, 1, 2),
        11..=12 => Tier::pick(0, u64::from(workload.is_multiple_of(8)), 1),
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
            if tried.get(count).is_none_or(|&tried| tried >= moments_of(number, count)) {
                continue;
            }
            tried[count] += 1;
            let (history, options) = (&workload.history, &workload.settings.options);
            for subset in 0..1_u64 << count {
                sweep.case(Case { workload: number, moment: index, crash: subset }, |seed| {
                    check_subset(&moment.disk, count, subset, moment.bounds, history, options, seed);
                });
            }
        }
    }
    sweep.finish(way.share(Tier::pick(400, 10_000, 50_000)));
}

/// Lets of `count` pending sectors those reach the disk whose bits are set in `subset`, and checks what is there.
fn check_subset(
    disk: &SimDisk,
    count: usize,
    subset: u64,
    bounds: Bounds,
    history: &History,
    options: &Options,
    seed: u64,
) {
    let kept: Vec<bool> = (0..count).map(|sector| subset >> sector & 1 == 1).collect();
    let left = disk.crash_with(&kept);
    let at_least = if kept.iter().all(|&kept| kept) { bounds.acked } else { bounds.durable };
    let random = &mut Random::new(seed);
    check_recovery(&left, history, at_least, bounds.issued, options, Depth::Recovery, random);
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

/// A moment at which twelve sectors of several files are pending: while a rotation makes the file before durable.
fn twelve_pending_sectors(way: Way) -> (SimDisk, History, Options) {
    let is_wanted = |disk: &SimDisk| {
        let pending = disk.pending_sectors();
        let files: BTreeSet<_> = pending.iter().map(|sector| &sector.file).collect();
        pending.len() == 12 && files.len() > 1
    };
    for max_file_size in (4096..8192).step_by(128) {
        let options = way.options().max_file_size(max_file_size).durability(Durability::Os);
        let disk = way.disk();
        let db = super::harness::open(&disk, &Arc::new(SimClock::new(1 << 50)), &options).unwrap();
        let mut history = History::default();
        for n in 0_u8..40 {
            let (key, value) = (format!("key{}", n % 5), vec![b'a' + n % 26; 200]);
            disk.keep_snapshots();
            db.put(&key, &value).unwrap();
            history.push(Write { key: key.into_bytes(), value: Some(Stored::forever(value)) });
            if let Some((_, moment)) = disk.take_snapshots().into_iter().find(|(_, moment)| is_wanted(moment))
            {
                return (moment, history, options);
            }
        }
    }
    panic!("there is no such moment");
}

/// Lets each of the 4,096 subsets of twelve pending sectors reach the disk. With every commit the ways that take turns share
/// them.
#[test]
fn every_subset_of_twelve_pending_sectors_leaves_a_prefix() {
    let sweep = Sweep::new("every_subset_of_twelve_pending_sectors_leaves_a_prefix");
    for (number, way) in Way::numbered(&sweep) {
        let (disk, history, options) = twelve_pending_sectors(way);
        let bounds = Bounds { durable: 0, acked: history.len() - 1, issued: history.len() };
        for subset in (0..1 << 12).filter(|&subset| way.has_turn(subset)) {
            sweep.case(format!("{number}-{subset}"), |seed| {
                check_subset(&disk, 12, subset, bounds, &history, &options, seed);
            });
        }
    }
    sweep.finish(Tier::pick(2 << 12, 4 << 12, 4 << 12));
}

/// Lets each subset of the pending changes of names reach the disk, with all pending bytes and with none, at every moment of
/// some merges, rotations, clears and opens.
fn sweep_names(test: &'static str, way: Way) {
    const DEEDS: [fn(&mut Workload); 4] =
        [Workload::merge, Workload::rotate, Workload::clear, Workload::close_and_open];
    let sweep = Sweep::new(test);
    let pending_max = Tier::pick(3, 8, 10);
    let mut most = 0;
    for number in workloads(Tier::pick(3, 30, 300), way, &sweep) {
        let mut random = Random::new(sweep.seed_of(number));
        let mut store = Workload::new(Settings::random(way, &mut random), random.next());
        store.keep_moments(false);
        store.open();
        (0..40).for_each(|_| store.step());
        store.keep_moments(true);
        for deed in DEEDS {
            store.put();
            deed(&mut store);
        }
        for (index, moment) in (0..).zip(&store.moments) {
            let count = moment.disk.pending_names();
            if !(1..=pending_max).contains(&count) {
                continue;
            }
            most = most.max(count);
            for subset in 0..1_u64 << count {
                for (bit, bytes) in (0..).zip([PendingBytes::Kept, PendingBytes::Lost]) {
                    sweep.case(Case { workload: number, moment: index, crash: subset << 1 | bit }, |seed| {
                        let kept: Vec<bool> = (0..count).map(|change| subset >> change & 1 == 1).collect();
                        let left = moment.disk.crash_with_names(&kept, bytes);
                        let Bounds { durable, issued, .. } = moment.bounds;
                        let (random, options) = (&mut Random::new(seed), &store.settings.options);
                        check_recovery(
                            &left,
                            &store.history,
                            durable,
                            issued,
                            options,
                            Depth::Recovery,
                            random,
                        );
                    });
                }
            }
        }
    }
    println!("{test}: up to {most} changes of names were pending");
    sweep.finish(way.share(Tier::pick(900, 60_000, 600_000)));
}

#[test]
fn every_subset_of_pending_names_leaves_a_prefix_mapped() {
    sweep_names("every_subset_of_pending_names_leaves_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn every_subset_of_pending_names_leaves_a_prefix_syscall() {
    sweep_names("every_subset_of_pending_names_leaves_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn every_subset_of_pending_names_leaves_a_prefix_json() {
    sweep_names("every_subset_of_pending_names_leaves_a_prefix_json", Way::JSON);
}

#[test]
fn every_subset_of_pending_names_leaves_a_prefix_csv() {
    sweep_names("every_subset_of_pending_names_leaves_a_prefix_csv", Way::CSV);
}

/// A store of which the last three writes and a batch are not synced, where the first of them starts, and where they end.
pub(super) fn unsynced_records_and_a_batch(way: Way) -> (SimDisk, History, Options, u64, u64) {
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
    for len in start..=end {
        // With every commit the ways that take turns share what stands behind the cuts, not the cuts.
        let kinds = if way.has_turn(len) { 0..5 } else { 0..1 };
        for kind in kinds {
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
    sweep.finish(end - start + way.share((end - start) * 4) - 5);
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

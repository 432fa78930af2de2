//! A call of the recovery from a crash fails: the open fails cleanly or does without it, nothing is destroyed, and neither a
//! kill nor another power cut in the middle of it takes anything away.

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness::{Crash, Depth, check_recovery, crash_once, open, random_time, workloads};
use super::model::{Bounds, Map};
use super::ways::Way;
use super::workload::{Settings, Workload};
use crate::vfs::sim::{Failure, Random, Repeat, SimClock, SimDisk};

/// EIO, ENOSPC, EMFILE, EACCES, EROFS, EINTR as Linux numbers them, and a bad page under a map.
const FAILURES: [Failure; 7] = [
    Failure::Os(5),
    Failure::Os(28),
    Failure::Os(24),
    Failure::Os(13),
    Failure::Os(30),
    Failure::Os(4),
    Failure::Map,
];

fn sweep_failures(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let (stores, crashes_each, calls_each) = Tier::pick((6, 4, 8), (120, 20, 20), (1_200, 20, 20));
    let mut refused = 0;
    for number in workloads(stores, way, &sweep) {
        let mut random = Random::new(sweep.seed_of(number));
        let mut store = Workload::new(Settings::random(way, &mut random), random.next());
        store.open();
        (0..40).for_each(|_| store.step());
        for crash in 0..crashes_each {
            for turn in 0..calls_each {
                let is_refused = sweep.case(format!("{number}-{crash}-{turn}"), |seed| {
                    let random = &mut Random::new(seed);
                    let moment = &store.moments[random.index(store.moments.len())];
                    let crash = Crash::number(random.next());
                    let (left, found) =
                        crash_once(&store, &moment.disk, moment.bounds, crash, Depth::Recovery, random);
                    fail_in_recovery(&store, &left, crash.bounds_after(moment.bounds, found), found, random)
                });
                refused += u64::from(is_refused == Some(true));
            }
        }
    }
    println!("{test}: {refused} opens refused");
    assert!(!sweep.is_whole() || refused > 0);
    sweep.finish(way.share(stores) * crashes_each * calls_each);
}

/// Lets one call of the recovery fail, once or from then on, and checks what is there while it does, after a kill, and after
/// a power cut. Returns whether the open failed.
fn fail_in_recovery(
    store: &Workload,
    left: &SimDisk,
    bounds: Bounds,
    found: usize,
    random: &mut Random,
) -> bool {
    let (options, history) = (&store.settings.options, &store.history);
    let clock = Arc::new(SimClock::new(random_time(random)));
    let (calls, expected) = {
        let disk = left.fork();
        let first = disk.operations();
        let db = open(&disk, &clock, options).unwrap();
        (disk.operations() - first, Map::of(&db))
    };
    let failure = FAILURES[random.index(FAILURES.len())];
    // An interruption that never ends is no fault that a loop could leave.
    let repeat = if failure == Failure::Os(4) || random.one_in(2) { Repeat::Once } else { Repeat::Forever };
    let disk = left.fork();
    let already_fired = disk.faults_fired();
    disk.fail_at(disk.operations() + random.below(calls), failure, repeat);
    let opened = open(&disk, &clock, options);
    let has_fired = disk.faults_fired() > already_fired;
    disk.clear_faults();
    let at_least = match &opened {
        Ok(db) => {
            // What it goes on with has been made durable.
            if db.status().poisoned.is_none() {
                assert_eq!(Map::of(db), expected, "with {failure:?}");
            }
            found
        }
        Err(error) => {
            assert!(has_fired, "the open fails without a fault: {error}");
            assert!(!error.is_corruption(), "a failed call is not corruption: {error}");
            bounds.durable
        }
    };
    for crash in [Crash::Kill, Crash::number(random.below(Crash::COUNT - 1))] {
        let left = crash.strike(&disk, random);
        let at_least = if crash == Crash::Kill { bounds.acked.max(at_least) } else { at_least };
        check_recovery(&left, history, at_least, bounds.issued, options, Depth::Afterlife, random);
    }
    opened.is_err()
}

#[test]
fn whichever_call_of_a_recovery_fails_nothing_is_destroyed_mapped() {
    sweep_failures("whichever_call_of_a_recovery_fails_nothing_is_destroyed_mapped", Way::MAPPED);
}

#[test]
fn whichever_call_of_a_recovery_fails_nothing_is_destroyed_syscall() {
    sweep_failures("whichever_call_of_a_recovery_fails_nothing_is_destroyed_syscall", Way::SYSCALL);
}

#[test]
fn whichever_call_of_a_recovery_fails_nothing_is_destroyed_json() {
    sweep_failures("whichever_call_of_a_recovery_fails_nothing_is_destroyed_json", Way::JSON);
}

#[test]
fn whichever_call_of_a_recovery_fails_nothing_is_destroyed_csv() {
    sweep_failures("whichever_call_of_a_recovery_fails_nothing_is_destroyed_csv", Way::CSV);
}

//! Crashes at every moment of the canonical workloads, and crashes during the recovery from crashes.
//!
//! After each crash the store must be exactly what it was after some write: not before the last one acknowledged as
//! durable, and after a kill not before the last one acknowledged at all. It must be sound, and go on.

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};

use super::harness::{Case, Crash, Depth, crash_once, open, random_time, workloads};
use super::model::{Bounds, Map};
use super::ways::Way;
use super::workload::{Settings, Workload};
use crate::Error;
use crate::vfs::sim::{Random, SimClock, SimDisk, SyncMode};

/// How many canonical workloads there are for each way of I/O, and how many steps each has.
const WORKLOADS: u64 = 40;
const STEPS: u64 = 220;

/// The canonical workload with this number, run to its end.
pub(super) fn canonical(way: Way, sweep: &Sweep, number: u64) -> Workload {
    let mut random = Random::new(sweep.seed_of(number));
    let settings = Settings::random(way, &mut random);
    Workload::new(settings, random.next()).run(STEPS)
}

/// Crashes at every moment of all workloads, with `crashes_each` crashes at each, of all kinds in turn.
fn sweep_moments(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let (every, crashes_each) = Tier::pick((37, 1), (1, 1), (1, 16));
    for number in workloads(WORKLOADS, way, &sweep) {
        let workload = canonical(way, &sweep, number);
        assert!(workload.history.len() > 80, "a workload should write");
        for (index, moment) in (0..).zip(&workload.moments) {
            // Each moment has its turn with each kind of crash, over workloads and moments.
            for crash in (0..crashes_each).map(|turn| turn + index + number) {
                let case = Case { workload: number, moment: index, crash };
                if index % every != number % every {
                    continue;
                }
                sweep.case(case, |seed| {
                    let random = &mut Random::new(seed);
                    let depth = if random.one_in(4) { Depth::Afterlife } else { Depth::Recovery };
                    crash_once(&workload, &moment.disk, moment.bounds, Crash::number(crash), depth, random);
                });
            }
        }
    }
    sweep.finish(way.share(Tier::pick(1_500, 55_000, 800_000)));
}

#[test]
fn crashes_at_every_moment_leave_a_prefix_mapped() {
    sweep_moments("crashes_at_every_moment_leave_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn crashes_at_every_moment_leave_a_prefix_syscall() {
    sweep_moments("crashes_at_every_moment_leave_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn crashes_at_every_moment_leave_a_prefix_json() {
    sweep_moments("crashes_at_every_moment_leave_a_prefix_json", Way::JSON);
}

#[test]
fn crashes_at_every_moment_leave_a_prefix_csv() {
    sweep_moments("crashes_at_every_moment_leave_a_prefix_csv", Way::CSV);
}

/// Crashes of which each happens during the recovery from the one before, three deep.
fn sweep_recoveries(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let (every, width) = Tier::pick((499, 2), (67, 3), (7, 4));
    for number in workloads(WORKLOADS, way, &sweep) {
        let workload = canonical(way, &sweep, number);
        for (index, moment) in (0..).zip(&workload.moments) {
            if index % every != number % every {
                continue;
            }
            sweep.case(Case { workload: number, moment: index, crash: 0 }, |seed| {
                let random = &mut Random::new(seed);
                let count = crash_in_recovery(&workload, &moment.disk, moment.bounds, 3, width, random);
                sweep.count_more(count - 1);
            });
        }
    }
    sweep.finish(way.share(Tier::pick(1_500, 30_000, 1_000_000)));
}

/// Crashes, and then `width` times at some moment of the recovery from that, and so on `deep` times. Returns how
/// many crashes it tried.
pub(super) fn crash_in_recovery(
    workload: &Workload,
    disk: &SimDisk,
    bounds: Bounds,
    deep: u64,
    width: u64,
    random: &mut Random,
) -> u64 {
    let crash = Crash::number(random.next());
    let (left, found) = crash_once(workload, disk, bounds, crash, Depth::Recovery, random);
    if deep == 0 {
        return 1;
    }
    let bounds = crash.bounds_after(bounds, found);
    let recovering = left.fork();
    recovering.keep_snapshots();
    let clock = Arc::new(SimClock::new(random_time(random)));
    drop(open(&recovering, &clock, &workload.settings.options).unwrap());
    let moments = recovering.take_snapshots();
    (0..width)
        .map(|_| {
            let (_, moment) = &moments[random.index(moments.len())];
            crash_in_recovery(workload, moment, bounds, deep - 1, width, random)
        })
        .sum::<u64>()
        + 1
}

#[test]
fn crashes_during_recovery_leave_a_prefix_mapped() {
    sweep_recoveries("crashes_during_recovery_leave_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn crashes_during_recovery_leave_a_prefix_syscall() {
    sweep_recoveries("crashes_during_recovery_leave_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn crashes_during_recovery_leave_a_prefix_json() {
    sweep_recoveries("crashes_during_recovery_leave_a_prefix_json", Way::JSON);
}

#[test]
fn crashes_during_recovery_leave_a_prefix_csv() {
    sweep_recoveries("crashes_during_recovery_leave_a_prefix_csv", Way::CSV);
}

/// Many short lives of one store: each begins with the recovery from the last crash, and ends in a crash at any
/// moment, often before that recovery is over.
fn sweep_lives(test: &'static str, way: Way) {
    const LIVES: u64 = 10;
    let sweep = Sweep::new(test);
    for number in workloads(Tier::pick(90, 2_000, 40_000), way, &sweep) {
        sweep.case(Case { workload: number, moment: 0, crash: 0 }, |seed| {
            let random = &mut Random::new(seed);
            let mut life = Workload::new(Settings::random(way, random), random.next());
            for _ in 0..LIVES {
                life.open();
                for _ in 0..[0, 1, 3, 12][random.index(4)] {
                    life.step();
                }
                let moment = &life.moments[random.index(life.moments.len())];
                let crash = Crash::number(random.next());
                let (left, found) =
                    crash_once(&life, &moment.disk, moment.bounds, crash, Depth::Recovery, random);
                let bounds = crash.bounds_after(moment.bounds, found);
                life.next(left, bounds, random.next());
            }
            sweep.count_more(LIVES - 1);
        });
    }
    sweep.finish(way.share(Tier::pick(900, 20_000, 400_000)));
}

#[test]
fn many_short_lives_leave_a_prefix_mapped() {
    sweep_lives("many_short_lives_leave_a_prefix_mapped", Way::MAPPED);
}

#[test]
fn many_short_lives_leave_a_prefix_syscall() {
    sweep_lives("many_short_lives_leave_a_prefix_syscall", Way::SYSCALL);
}

#[test]
fn many_short_lives_leave_a_prefix_json() {
    sweep_lives("many_short_lives_leave_a_prefix_json", Way::JSON);
}

#[test]
fn many_short_lives_leave_a_prefix_csv() {
    sweep_lives("many_short_lives_leave_a_prefix_csv", Way::CSV);
}

/// A disk that returns from syncs without having done anything, and then loses power. What a clear leaves on such a disk has a
/// test of its own, in `clear.rs`.
fn sweep_lies(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let (mut prefixes, mut refused) = (0, 0);
    for number in workloads(Tier::pick(10, 100, 1_000), way, &sweep) {
        let mut random = Random::new(sweep.seed_of(number));
        let settings = Settings::random(way, &mut random).without_clears();
        let workload = Workload::new(settings, random.next());
        workload.disk.set_sync_mode(SyncMode::Lies);
        let workload = workload.run(STEPS / 4);
        for (index, moment) in (0..).zip(&workload.moments).skip(usize::try_from(number).unwrap()).step_by(3)
        {
            sweep.case(Case { workload: number, moment: index, crash: 0 }, |seed| {
                let random = &mut Random::new(seed);
                // A kill loses nothing, whatever the disk says.
                let crash = Crash::number(random.below(Crash::COUNT - 1));
                let left = crash.strike(&moment.disk, random);
                match check_no_wrong_value(&left, &workload, moment.bounds) {
                    Ok(()) => prefixes += 1,
                    Err(_) => refused += 1,
                }
            });
        }
    }
    println!("{test}: {prefixes} prefixes, {refused} refused");
    sweep.finish(way.share(Tier::pick(500, 5_000, 50_000)));
}

/// Either the open tells of damage, or all values that are not reported as damaged are of one moment.
fn check_no_wrong_value(left: &SimDisk, workload: &Workload, bounds: Bounds) -> Result<(), Error> {
    let clock = Arc::new(SimClock::new(1));
    match open(left, &clock, &workload.settings.options) {
        Ok(db) => {
            let (map, damaged) = Map::of_damaged(&db, workload.history.keys());
            workload.history.find_ignoring(&map, &damaged, 0, bounds.issued);
            Ok(())
        }
        Err(
            error @ (Error::Corruption { .. }
            | Error::NotAStore { .. }
            | Error::ForeignFile { .. }
            | Error::Newer { .. }),
        ) => Err(error),
        Err(error) => panic!("neither a prefix nor damage: {error}"),
    }
}

#[test]
fn a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_mapped() {
    sweep_lies("a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_mapped", Way::MAPPED);
}

#[test]
fn a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_syscall() {
    sweep_lies("a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_syscall", Way::SYSCALL);
}

#[test]
fn a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_json() {
    sweep_lies("a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_json", Way::JSON);
}

#[test]
fn a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_csv() {
    sweep_lies("a_disk_that_lies_about_sync_gives_a_prefix_or_reported_damage_csv", Way::CSV);
}

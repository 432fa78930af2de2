//! Crashes of which each strikes while somebody makes good what the one before has left, four in a row: in the recoveries of
//! a store that lost power in a merge, a rotation, a batch or a clear; and in whatever comes after a backup, a restore, a
//! repair of any kind that was cut short.
//!
//! `crash.rs` does the same from all moments of the canonical workloads, in which there is little of each of these.

use std::path::PathBuf;
use std::rc::Rc;

use bitcask_testing::{Sweep, Tier};

use super::backup::{self, Second};
use super::crash::crash_in_recovery;
use super::harness::{Crash, workloads};
use super::ledger::{self, STORE, State};
use super::repair::{self, repair_at};
use super::restore;
use super::seal::{self, Edited};
use super::ways::Way;
use super::workload::{Settings, Workload};
use crate::vfs::sim::{CrashModel, Failure, OpKind, Random, Repeat, SimDisk};
use crate::{Error, Options, Remedy, Repair};

/// How many crashes follow the first one.
const DEPTH: u64 = 3;

/// What a store is doing when the first crash strikes.
const DEEDS: [fn(&mut Workload); 6] =
    [Workload::merge, Workload::rotate, Workload::batch, Workload::clear, Workload::close, |store| {
        store.kill();
        store.open();
    }];

fn sweep_deeds(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let (stores, moments_each, width) = Tier::pick((6, 1, 2), (60, 4, 2), (300, 8, 2));
    for number in workloads(stores, way, &sweep) {
        for (index, deed) in (0..).zip(DEEDS) {
            let mut random = Random::new(sweep.seed_of(number * 100 + index));
            let mut store = Workload::new(Settings::random(way, &mut random), random.next());
            store.keep_moments(false);
            store.open();
            (0..30).for_each(|_| store.step());
            store.keep_moments(true);
            // Not every one has something to do.
            while store.moments.is_empty() {
                (0..3).for_each(|_| store.put());
                store.keep_moments(true);
                deed(&mut store);
            }
            for turn in 0..moments_each {
                sweep.case(format!("{number}-{index}-{turn}"), |seed| {
                    let random = &mut Random::new(seed);
                    let moment = &store.moments[random.index(store.moments.len())];
                    let (disk, bounds) = (&moment.disk, moment.bounds);
                    let count = crash_in_recovery(&store, disk, bounds, DEPTH, width, random);
                    sweep.count_more(count - 1);
                });
            }
        }
    }
    sweep.finish(way.share(Tier::pick(540, 21_600, 216_000)));
}

#[test]
fn crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_mapped() {
    sweep_deeds(
        "crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_mapped",
        Way::MAPPED,
    );
}

#[test]
fn crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_syscall() {
    sweep_deeds(
        "crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_syscall",
        Way::SYSCALL,
    );
}

#[test]
fn crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_json() {
    sweep_deeds(
        "crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_json",
        Way::JSON,
    );
}

#[test]
fn crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_csv() {
    sweep_deeds(
        "crashes_in_recovery_after_one_in_a_merge_rotation_batch_or_clear_leave_a_prefix_csv",
        Way::CSV,
    );
}

/// What one process does on a disk. What it may meet by the fault of crashes before it is no failure.
type Act = Box<dyn Fn(&SimDisk)>;

/// Something that several processes, each of which crashes, bring to its end.
struct Scene {
    disk: SimDisk,
    /// What the first process does.
    first: Act,
    /// What those after it do, by chance.
    next: Vec<Act>,
    /// How far it has come. Panics where anything is wrong; leaves the disk as it is.
    stage: Box<dyn Fn(&SimDisk) -> usize>,
}

impl Scene {
    /// The disk before each call of an act that changes it, and after the last one.
    fn moments(disk: &SimDisk, act: &Act) -> Vec<SimDisk> {
        disk.keep_snapshots();
        act(disk);
        let mut moments: Vec<SimDisk> = disk.take_snapshots().into_iter().map(|(_, moment)| moment).collect();
        moments.push(disk.fork());
        moments
    }

    /// Crashes at some of these moments of the first act, and then in each act that follows. What is on the disk never
    /// goes back.
    fn crash_on(&self, moments: &[SimDisk], random: &mut Random) {
        let mut moment = moments[random.index(moments.len())].fork();
        let mut reached = 0;
        for depth in 0..=DEPTH {
            let crash = Crash::number(random.next());
            let left = crash.strike(&moment, random);
            let stage = (self.stage)(&left);
            assert!(stage >= reached, "after crash {depth}: back from stage {reached} to {stage}");
            if crash != Crash::Kill {
                reached = stage;
            }
            let moments = Self::moments(&left, &self.next[random.index(self.next.len())]);
            moment = moments[random.index(moments.len())].fork();
        }
    }
}

/// Goes through the scenes of one kind, one for each way and variant.
fn sweep_scenes(test: &'static str, ways: &[Way], variants: u64, scene: impl Fn(Way, u64) -> Scene) {
    let sweep = Sweep::new(test);
    let chains = Tier::pick(12, 1_500, 15_000);
    for (number, way) in Way::numbered(&sweep).filter(|(_, way)| ways.contains(way)) {
        for variant in 0..variants {
            let scene = scene(way, variant);
            let moments = Scene::moments(&scene.disk.fork(), &scene.first);
            for chain in 0..chains {
                sweep.case(format!("{number}-{variant}-{chain}"), |seed| {
                    scene.crash_on(&moments, &mut Random::new(seed));
                    sweep.count_more(DEPTH);
                });
            }
        }
    }
    sweep.finish(ways.len() as u64 * variants * chains * (DEPTH + 1));
}

/// An error that says that there is nothing to be done here, or not yet.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::NotAStore { .. } | Error::UnfitTarget { .. })
}

/// Whether the file is there, in a directory that may not be.
fn has(disk: &SimDisk, file: &str) -> bool {
    disk.files().iter().any(|name| name == file)
}

fn assert_refusal<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        assert!(is_refusal(&error), "{error}");
    }
}

#[test]
fn crashes_after_one_in_a_backup_leave_the_old_one_the_new_one_or_what_the_next_finishes() {
    let name = "crashes_after_one_in_a_backup_leave_the_old_one_the_new_one_or_what_the_next_finishes";
    sweep_scenes(name, &Way::ALL, 3, |way, variant| {
        let second = Second::new(way, variant > 0);
        second.db.close().unwrap();
        let disk = second.disk.fork();
        if variant == 2 {
            disk.inject(0, |kind| kind == OpKind::Link, Failure::Os(18), Repeat::Forever);
        }
        let back_up = move |disk: &SimDisk| {
            let db = backup::open_at(disk, STORE, way.small_files()).unwrap();
            assert_refusal(backup::backup(&db, disk));
        };
        let finish = |disk: &SimDisk| {
            if has(disk, "backup/BACKUP") && !has(disk, "backup/MANIFEST") {
                assert_refusal(repair_at(disk, backup::BACKUP, &Repair::Manifest));
            }
        };
        let open = move |disk: &SimDisk| {
            if has(disk, "backup/MANIFEST") {
                backup::open_at(disk, backup::BACKUP, way.small_files()).unwrap().close().unwrap();
            }
        };
        Scene {
            disk,
            first: Box::new(back_up),
            next: vec![Box::new(back_up), Box::new(back_up), Box::new(finish), Box::new(open)],
            stage: Box::new(move |left| stage_of_backup(&second, left)),
        }
    });
}

/// 0 for the old backup. Afterwards there is the new one, or what the next backup makes into it, and a repair as well, which
/// may refuse only a first one.
fn stage_of_backup(second: &Second, left: &SimDisk) -> usize {
    if has(left, "backup/MANIFEST") && !has(left, "backup/BACKUP") {
        // Somebody has opened it for writing, so it is never replaced again.
        let state = backup::state_at(&left.fork(), backup::BACKUP).unwrap();
        assert!(state == second.new || Some(&state) == second.old.as_ref(), "{state:?}");
        return usize::from(state == second.new);
    }
    let outcome = second.check(&left.fork(), "after a crash");
    if outcome == backup::Outcome::Unfinished {
        let left = left.fork();
        match repair_at(&left, backup::BACKUP, &Repair::Manifest) {
            Ok(_) => assert_eq!(backup::state_at(&left, backup::BACKUP).unwrap(), second.new),
            // Of the first one there may be too little to finish it.
            Err(error) => {
                assert!(second.old.is_none() && matches!(error, Error::NotAStore { .. }), "{error}");
            }
        }
    }
    usize::from(outcome != backup::Outcome::Old)
}

#[test]
fn crashes_after_one_in_a_restore_leave_a_whole_store_or_none() {
    let name = "crashes_after_one_in_a_restore_leave_a_whole_store_or_none";
    sweep_scenes(name, &Way::ALL, 1, |way, _| {
        let (disk, state) = restore::sample(way);
        let backup: Vec<_> = backup::content(&disk, restore::BACKUP);
        let restore_here = |disk: &SimDisk| assert_refusal(restore::restore(disk));
        let begin_anew = move |disk: &SimDisk| {
            if !has(disk, "restored/MANIFEST") {
                restore::files_in(disk, restore::RESTORED).iter().for_each(|name| disk.remove_file(name));
                restore::restore(disk).unwrap();
            }
        };
        let open = move |disk: &SimDisk| {
            if has(disk, "restored/MANIFEST") {
                restore::open_at(disk, restore::RESTORED, way.small_files()).unwrap().close().unwrap();
            }
        };
        Scene {
            disk,
            first: Box::new(restore_here),
            next: vec![Box::new(restore_here), Box::new(begin_anew), Box::new(open)],
            stage: Box::new(move |left| {
                assert!(backup::content(left, restore::BACKUP) == backup, "the backup is as it was");
                let left = left.fork();
                match restore::open_at(&left, restore::RESTORED, Options::read_only()) {
                    Ok(db) => {
                        assert_eq!(ledger::read_all(&db, restore::keys()).unwrap(), state);
                        assert_eq!(restore::state_at(&left, restore::RESTORED).unwrap(), state);
                        1
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::NotAStore { .. }), "{error}");
                        0
                    }
                }
            }),
        }
    });
}

/// A store that was closed so long ago that no crash changes it by itself, and what it holds.
fn settled_sample(way: Way) -> (SimDisk, State) {
    let (disk, state) = repair::sample(way, true);
    (disk.crash(0, CrashModel::KeepAll), state)
}

/// Opens the store for writing, and closes it.
fn open_and_close(disk: &SimDisk, way: Way) {
    repair::open_at(disk, STORE, way.small_files()).unwrap().close().unwrap();
}

#[test]
fn crashes_after_one_in_a_repair_of_the_manifest_leave_the_store_or_the_way_to_repair_it() {
    let name = "crashes_after_one_in_a_repair_of_the_manifest_leave_the_store_or_the_way_to_repair_it";
    sweep_scenes(name, &Way::ALL, 4, |way, variant| {
        let (disk, state) = if variant < 2 { settled_sample(way) } else { repair::torn(way) };
        match variant % 2 {
            0 => disk.flip_bit("MANIFEST", 555),
            _ => disk.remove_file("MANIFEST"),
        }
        let is_whole = |disk: &SimDisk| repair::open_at(&disk.fork(), STORE, Options::read_only()).is_ok();
        let mend = |disk: &SimDisk| assert_refusal(repair_at(disk, STORE, &Repair::Manifest));
        let if_whole = move |disk: &SimDisk, act: &dyn Fn(&SimDisk)| {
            if is_whole(disk) {
                act(disk);
            }
        };
        Scene {
            disk,
            first: Box::new(mend),
            next: vec![
                Box::new(mend),
                Box::new(move |disk| if_whole(disk, &|disk| open_and_close(disk, way))),
                Box::new(move |disk| {
                    if_whole(disk, &|disk| drop(repair_at(disk, STORE, &Repair::CutTail).unwrap()))
                }),
                Box::new(move |disk| {
                    if_whole(disk, &|disk| drop(repair_at(disk, STORE, &Repair::Hints).unwrap()))
                }),
            ],
            stage: Box::new(move |left| {
                let stage = usize::from(is_whole(left));
                let left = left.fork();
                if stage == 0 {
                    repair_at(&left, STORE, &Repair::Manifest).unwrap();
                }
                assert_eq!(repair::state_at(&left, STORE), state);
                stage
            }),
        }
    });
}

#[test]
fn crashes_after_one_in_a_repair_of_the_tail_or_the_hints_leave_the_same_store() {
    let name = "crashes_after_one_in_a_repair_of_the_tail_or_the_hints_leave_the_same_store";
    sweep_scenes(name, &Way::ALL, 2, |way, variant| {
        let (disk, state, how) = if variant == 0 {
            let (disk, state) = repair::torn(way);
            (disk, state, Repair::CutTail)
        } else {
            let (disk, state) = settled_sample(way);
            let hints: Vec<String> =
                disk.files().into_iter().filter(|name| name.ends_with(".hint")).collect();
            disk.remove_file(&hints[0]);
            disk.flip_bit(&hints[1], 700);
            (disk, state, Repair::Hints)
        };
        let mend = move |how: Repair| move |disk: &SimDisk| drop(repair_at(disk, STORE, &how).unwrap());
        Scene {
            disk,
            first: Box::new(mend(how)),
            next: vec![
                Box::new(mend(Repair::CutTail)),
                Box::new(mend(Repair::Hints)),
                Box::new(move |disk| open_and_close(disk, way)),
            ],
            stage: Box::new(move |left| {
                let left = left.fork();
                let report = repair_at(&left, STORE, &Repair::Report).unwrap();
                let gentle = [Remedy::CutTail, Remedy::Hints];
                assert!(report.remedies.iter().all(|remedy| gentle.contains(remedy)), "{report:?}");
                assert_eq!(repair::state_at(&left, STORE), state);
                // A crash while the store is closed may tear its last record, as it was torn before.
                0
            }),
        }
    });
}

#[test]
fn crashes_after_one_in_a_salvage_leave_the_store_as_it_was_and_no_wrong_value_in_the_new_one() {
    let name = "crashes_after_one_in_a_salvage_leave_the_store_as_it_was_and_no_wrong_value_in_the_new_one";
    sweep_scenes(name, &Way::ALL, 1, |way, _| {
        let (disk, state) = settled_sample(way);
        disk.flip_bit("MANIFEST", 400);
        let before = backup::content(&disk, STORE);
        let target = |number: u64| format!("salvaged{number}");
        // Where there is something already nothing is salvaged to, so each has a directory of its own.
        let salvage = move |disk: &SimDisk| {
            let mut numbers = 0..;
            let free = numbers.find(|&number| backup::content(disk, &target(number)).is_empty()).unwrap();
            repair_at(disk, STORE, &Repair::Salvage(PathBuf::from(target(free)))).unwrap();
        };
        let open = move |disk: &SimDisk| {
            for number in 0..=DEPTH {
                assert_refusal(repair::open_at(
                    disk,
                    &target(number),
                    Options::new().mode(crate::OpenMode::Existing),
                ));
            }
        };
        Scene {
            disk,
            first: Box::new(salvage),
            next: vec![Box::new(salvage), Box::new(open)],
            stage: Box::new(move |left| {
                assert!(backup::content(left, STORE) == before, "the damaged store is only read");
                let left = left.fork();
                let mut whole = 0;
                for number in 0..=DEPTH {
                    let Ok(db) = repair::open_at(&left, &target(number), Options::read_only()) else {
                        continue;
                    };
                    let salvaged: State = ledger::read_all(&db, repair::keys()).unwrap();
                    assert!(
                        salvaged.iter().all(|(key, value)| state.get(key) == Some(value)),
                        "{salvaged:?}"
                    );
                    whole += usize::from(salvaged == state);
                }
                salvage(&left);
                whole
            }),
        }
    });
}

#[test]
fn crashes_after_one_in_a_sealing_leave_the_edited_file_or_the_sealed_one() {
    let name = "crashes_after_one_in_a_sealing_leave_the_edited_file_or_the_sealed_one";
    sweep_scenes(name, &seal::WAYS, 2, |way, variant| {
        let (sample, state) = seal::sample(way);
        let old = if variant == 0 { state.values().min() } else { state.values().max() }.unwrap();
        let it = Rc::new(Edited::new(way, &sample, &state, old));
        let disk = it.disk.fork();
        let seal = {
            let it = Rc::clone(&it);
            move |disk: &SimDisk| assert_refusal(it.seal(disk))
        };
        let open = move |disk: &SimDisk| match ledger::open(disk, &seal::options(way)) {
            Ok(db) => db.close().unwrap(),
            Err(error) => assert!(error.is_corruption() && !seal::edited(disk).is_empty(), "{error}"),
        };
        Scene {
            disk,
            first: Box::new(seal.clone()),
            next: vec![Box::new(seal), Box::new(open)],
            stage: Box::new(move |left| {
                let is_sealed = seal::edited(left).is_empty();
                it.check_left(&left.fork());
                usize::from(is_sealed)
            }),
        }
    });
}

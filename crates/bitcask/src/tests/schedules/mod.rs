//! Schedules: short programs of several threads on one store, under a scheduler that tries one order of their steps after
//! the other: by chance, in bursts, and by few preemptions at chosen places (PCT). It sees every lock, atomic and thread that the
//! engine takes from `crate::sync`, and the lock of the simulated disk; a deadlock fails the test.
//!
//! Compiled only with `RUSTFLAGS="--cfg shuttle"`.

mod bursts;
mod linearizable;
mod moments;

use std::sync::Arc;

use bitcask_testing::{Sweep, Tier};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use self::bursts::Bursts;
use super::ledger::STORE;
use crate::options::Maintenance;
use crate::sync::thread;
use crate::vfs::sim::{Random, SimClock, SimDisk};
use crate::{Bitcask, Durability, Io, MergeOptions, MergePolicy, Options};

/// How many schedules one case goes through.
const OF_ONE_CASE: usize = 20;
/// How many preemptions PCT places.
const DEPTH: usize = 3;
/// A sweep is one of so many that share the schedules of a tier.
const SWEEPS: u64 = 5;

/// Runs programs by chance, each under several schedules.
fn explore(test: &'static str, program: fn(&mut Random)) {
    let sweep = Sweep::new(test);
    let schedules = Tier::pick(1_000_u64, 100_000, 2_000_000).div_ceil(SWEEPS);
    let cases = schedules.div_ceil(OF_ONE_CASE as u64);
    for case in (0..cases).filter(|&case| sweep.wants(case)) {
        let run = |seed| {
            let ran = match case % 4 {
                0 => run(RandomScheduler::new_from_seed(seed, OF_ONE_CASE), seed, program),
                1 => run(PctScheduler::new_from_seed(seed, DEPTH, OF_ONE_CASE), seed, program),
                _ => run(Bursts::new(seed, OF_ONE_CASE), seed, program),
            };
            assert_eq!(ran, OF_ONE_CASE);
        };
        if sweep.case(case, run).is_some() {
            sweep.count_more(OF_ONE_CASE as u64 - 1);
        }
    }
    sweep.finish(schedules);
}

fn run(scheduler: impl Scheduler + 'static, seed: u64, program: fn(&mut Random)) -> usize {
    let mut config = Config::new();
    config.stack_size = 1 << 19;
    Runner::new(scheduler, config).run(move || program(&mut Random::new(seed)))
}

/// A store whose files hold a few records each.
#[derive(Clone)]
struct Bench {
    disk: SimDisk,
    options: Options,
}

impl Bench {
    fn new(random: &mut Random, durability: Durability, maintenance: Maintenance) -> Self {
        let disk = SimDisk::new(if random.one_in(2) { Io::Mapped } else { Io::Syscall });
        let policy = match maintenance {
            Maintenance::Callers => MergePolicy::Never,
            Maintenance::Threads => MergePolicy::Always,
        };
        let merge = MergeOptions::new().policy(policy).fragmentation_trigger(30).fragmentation_threshold(20);
        let options = Options::new().max_file_size(350).durability(durability).maintenance(maintenance);
        Self { disk, options: options.merge(merge) }
    }

    fn open(&self) -> Bitcask {
        self.open_on(&self.disk)
    }

    fn open_on(&self, disk: &SimDisk) -> Bitcask {
        let clock = Arc::new(SimClock::new(1_000_000));
        Bitcask::open_on(&*disk.vfs(), clock, STORE.as_ref(), self.options.clone()).unwrap()
    }
}

/// Runs each of these in a thread, and returns when all have ended.
fn together<T: Send + 'static>(threads: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn number(value: Option<crate::Value>) -> Option<u64> {
    value.map(|value| std::str::from_utf8(&value).unwrap().trim_end().parse().unwrap())
}

/// A value of some length, so that files fill up.
fn value(number: u64) -> String {
    format!("{number:<30}")
}

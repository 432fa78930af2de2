//! The machine: many long lives of tiny stores, compared with the model after every single step.
//!
//! The crash sweeps look at every moment of few workloads; this looks at few moments of very many. Deletes come most often,
//! then merges: it is their order, across opens and crashes, that brings deleted values back in stores of this family.

use bitcask_testing::{Sweep, Tier};

use super::crash::crash_once;
use super::harness::{Case, Crash, Depth, check_sound, workloads};
use super::ways::Way;
use super::workload::{Moment, Settings, Workload};
use crate::vfs::sim::Random;

const STEPS: u64 = 60;

/// One store, and the chance that decides what happens to it.
struct Machine<'a> {
    store: Workload,
    random: &'a mut Random,
}

impl<'a> Machine<'a> {
    fn new(way: Way, random: &'a mut Random) -> Self {
        let mut store = Workload::new(Settings::random(way, random), random.next());
        store.keep_moments(false);
        store.open();
        Self { store, random }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..10 => {
                self.store.check_snapshots();
                self.store.close();
                self.open();
            }
            10..13 => self.crash(),
            13..20 => {
                let first = self.random.index(20);
                let (store, random) = (&mut self.store, &mut self.random);
                store.iterate_across(first, |store| (0..random.below(4)).for_each(|_| act(store, random)));
            }
            _ => act(&mut self.store, self.random),
        }
        self.store.check();
    }

    fn open(&mut self) {
        self.store.open();
        self.store.check_files();
        check_sound(&self.store.disk);
    }

    /// Kills the process or cuts the power at some moment of something that it does, or right after it.
    fn crash(&mut self) {
        self.store.keep_moments(true);
        match self.random.below(8) {
            0 => self.store.close(),
            1 => {
                self.store.close();
                self.store.open();
            }
            2..5 => self.store.merge(),
            5 => self.store.clear(),
            _ => act(&mut self.store, self.random),
        }
        let mut moments = std::mem::take(&mut self.store.moments);
        moments.push(Moment { disk: self.store.disk.fork(), bounds: self.store.bounds });
        let moment = &moments[self.random.index(moments.len())];
        let crash = Crash::number(self.random.next());
        let (left, found) =
            crash_once(&self.store, &moment.disk, moment.bounds, crash, Depth::Recovery, self.random);
        self.store.next(left, crash.bounds_after(moment.bounds, found), self.random.next());
        self.store.keep_moments(false);
        self.open();
    }
}

/// Something that leaves the store open.
fn act(store: &mut Workload, random: &mut Random) {
    match random.below(80) {
        0..16 => store.delete(),
        16 => store.clear(),
        17..20 => store.follow(),
        20..23 => store.replicate(),
        23..32 => store.merge(),
        32..42 => store.put(),
        42..49 => store.batch(),
        49..53 => store.put_if(),
        53..57 => store.update(),
        57..60 => store.increment(),
        60..63 => store.set_expiry(),
        63..65 => store.reap(),
        65..69 => store.snapshot(),
        69..73 => store.pass_time(),
        73..76 => store.rotate(),
        76 => store.read_beside(),
        77 => store.get(),
        78 => store.follow(),
        _ => store.sync(),
    }
}

fn run_machines(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let count = Tier::pick(1_000, 50_000, 1_250_000);
    for number in workloads(count, way, &sweep) {
        sweep.case(Case { workload: number, moment: 0, crash: 0 }, |seed| {
            let random = &mut Random::new(seed);
            let mut machine = Machine::new(way, random);
            (0..STEPS).for_each(|_| machine.step());
        });
    }
    sweep.finish(way.share(count));
}

#[test]
fn after_every_step_the_store_holds_what_was_written_mapped() {
    run_machines("after_every_step_the_store_holds_what_was_written_mapped", Way::MAPPED);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_syscall() {
    run_machines("after_every_step_the_store_holds_what_was_written_syscall", Way::SYSCALL);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_json() {
    run_machines("after_every_step_the_store_holds_what_was_written_json", Way::JSON);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_csv() {
    run_machines("after_every_step_the_store_holds_what_was_written_csv", Way::CSV);
}

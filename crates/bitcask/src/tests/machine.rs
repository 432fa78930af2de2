//! The machine: one store, to which chance does everything that can be done to a store.
//!
//! After every single step it is compared with the model. Deletes come most often, then merges: it is their order, across
//! opens and crashes, that brings deleted values back in stores of this family.

use super::harness::{Crash, Depth, check_sound, crash_once};
use super::ways::Way;
use super::workload::{Moment, Settings, Workload};
use crate::vfs::sim::Random;

/// One store, and the chance that decides what happens to it.
pub(crate) struct Machine<'a> {
    store: Workload,
    random: &'a mut Random,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(way: Way, random: &'a mut Random) -> Self {
        let mut store = Workload::new(Settings::random(way, random), random.next());
        store.share_script(random);
        store.keep_moments(false);
        store.open();
        Self { store, random }
    }

    /// Whether there is a script, and it has choices left to make.
    pub(crate) fn has_choices(&self) -> bool {
        self.random.has_script()
    }

    pub(crate) fn step(&mut self) {
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
        self.store.share_script(self.random);
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

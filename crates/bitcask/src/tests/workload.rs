//! The canonical workloads: what is done to a store, by seed, and the disk at every moment of it.
//!
//! Few keys, tiny files, many deletes and reopens: what finds bugs in stores of this family. A workload knows after each
//! step what a crash must leave, and keeps a fork of the disk from before each operation that changes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{self, random_time};
use super::model::{Bounds, History, Map, Write};
use crate::clock::Clock;
use crate::vfs::sim::{Random, SimClock, SimDisk};
use crate::{Bitcask, Durability, Io, MergeOptions, MergePolicy, Options, PutOptions};

/// The disk right before an operation that changes it, and what a crash there must leave.
pub(super) struct Moment {
    pub(super) disk: SimDisk,
    pub(super) bounds: Bounds,
}

/// What all steps of one workload have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) io: Io,
    pub(super) options: Options,
    key_count: u64,
    /// Every value has at least this many bytes less than twice as many.
    value_len: u64,
    /// How far each reading moves the clock.
    clock_step: Duration,
}

impl Settings {
    pub(super) fn random(io: Io, random: &mut Random) -> Self {
        let file_size = [256, 400, 1024, 4096][random.index(4)];
        let durability = random_durability(random);
        Self {
            io,
            options: Options::new()
                .max_file_size(file_size)
                .durability(durability)
                .merge(MergeOptions::new().policy(MergePolicy::Never)),
            key_count: [4, 16, 50][random.index(3)],
            value_len: [1, 30, 120][random.index(3)],
            clock_step: [Duration::ZERO, Duration::from_micros(7), INTERVAL / 8][random.index(3)],
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(100);

fn random_durability(random: &mut Random) -> Durability {
    [Durability::Always, Durability::Interval(INTERVAL), Durability::Os][random.index(3)]
}

/// A store at work.
pub(super) struct Workload {
    pub(super) settings: Settings,
    pub(super) history: History,
    pub(super) bounds: Bounds,
    pub(super) disk: SimDisk,
    pub(super) moments: Vec<Moment>,
    random: Random,
    clock: Arc<SimClock>,
    db: Option<Bitcask>,
    /// Counts of writes, and when they had returned.
    returned: VecDeque<(usize, Duration)>,
    /// Never given twice, so that no two values are the same.
    next_number: u64,
}

impl Workload {
    /// A workload on an empty disk.
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let disk = SimDisk::new(settings.io);
        Self::on(disk, settings, History::default(), Bounds::default(), seed)
    }

    /// A workload on what a crash has left: the disk, of which nobody knows more than `bounds`.
    pub(super) fn on(disk: SimDisk, settings: Settings, history: History, bounds: Bounds, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let clock = Arc::new(SimClock::new(random_time(&mut random)));
        clock.step_each_reading(settings.clock_step);
        Self {
            settings,
            history,
            bounds,
            disk,
            moments: Vec::new(),
            // Numbers of an earlier life may be those of writes that a crash has undone.
            next_number: random.next() >> 20,
            random,
            clock,
            db: None,
            returned: VecDeque::new(),
        }
    }

    /// The next life of the same store, on what a crash has left of it.
    pub(super) fn next(self, left: SimDisk, bounds: Bounds, seed: u64) -> Self {
        let mut history = self.history;
        history.truncate(bounds.issued);
        Self::on(left, self.settings, history, bounds, seed)
    }

    /// The whole of a canonical workload, from the making of the store to its close.
    pub(super) fn run(mut self, steps: u64) -> Self {
        self.open();
        for _ in 0..steps {
            self.step();
        }
        self.close();
        self.db = None;
        self
    }

    /// Opens the store; everything in it is durable then.
    pub(super) fn open(&mut self) {
        self.watched(|it| {
            let db = harness::open(&it.disk, &it.clock, &it.settings.options);
            let db = db.unwrap_or_else(|error| panic!("the workload cannot open its store: {error}"));
            assert_eq!(Map::of(&db), *it.history.latest(), "after opening");
            it.db = Some(db);
            it.bounds = Bounds::all(it.history.len());
        });
    }

    /// One random operation.
    pub(super) fn step(&mut self) {
        match self.random.below(100) {
            0..42 => self.put(),
            42..72 => self.delete(),
            72..79 => self.merge(),
            79..84 => self.get(),
            84..88 => self.sync(),
            88..96 => self.pass_time(),
            96..99 => {
                self.close();
                self.open();
            }
            _ => {
                self.kill();
                self.open();
            }
        }
    }

    /// Does something, and keeps the moments of it: until it returns, only what was acknowledged before it is, and
    /// anything that it issues may be there.
    fn watched(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.bounds;
        self.disk.keep_snapshots();
        let disk = self.disk.clone();
        act(self);
        let bounds = Bounds { issued: self.bounds.issued, ..before };
        let moments = disk.take_snapshots().into_iter().map(|(_, disk)| Moment { disk, bounds });
        self.moments.extend(moments);
    }

    fn db(&self) -> &Bitcask {
        self.db.as_ref().expect("the store is open")
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key{}", self.random.below(self.settings.key_count)).into_bytes()
    }

    /// Bytes that tell what they are, and after them noise or, to mislead recovery, bytes of the store's own files.
    fn value(&mut self, key: &[u8]) -> Vec<u8> {
        self.next_number += 1;
        if self.random.one_in(24) {
            return Vec::new();
        }
        let mut len = self.settings.value_len + self.random.below(self.settings.value_len);
        if self.random.one_in(24) {
            // Larger than the file may be.
            len = self.settings.options.max_file_size * 5 / 4;
        }
        let key = String::from_utf8_lossy(key);
        let mut value = format!("{key} {} {len} ", self.next_number).into_bytes();
        let front_len = value.len();
        value.resize(front_len.max(usize::try_from(len).unwrap()), 0);
        Random::new(self.next_number).fill(&mut value[front_len..]);
        if self.random.one_in(6) {
            let files: Vec<String> =
                self.disk.files().into_iter().filter(|file| file.ends_with(".data")).collect();
            let bytes = self.disk.read_file(&files[self.random.index(files.len())]);
            let start = if self.random.one_in(2) { 0 } else { self.random.index(bytes.len()) };
            value.extend(bytes[start..].iter().take(300));
        }
        value
    }

    /// The level of one write, and how it is asked for.
    fn durability(&mut self) -> (Durability, PutOptions) {
        if self.random.one_in(4) {
            let durability = random_durability(&mut self.random);
            (durability, PutOptions::new().durability(durability))
        } else {
            (self.settings.options.durability, PutOptions::new())
        }
    }

    fn put(&mut self) {
        let key = self.key();
        let value = self.value(&key);
        let (durability, options) = self.durability();
        self.watched(|it| {
            let start = it.clock.monotonic();
            it.history.push(Write { key: key.clone(), value: Some(value.clone()) });
            it.bounds.issued = it.history.len();
            it.db().put_with(&key, &value, &options).unwrap();
            it.acknowledged(start, durability, it.history.len());
        });
    }

    fn delete(&mut self) {
        let key = self.key();
        let (durability, options) = self.durability();
        self.watched(|it| {
            let start = it.clock.monotonic();
            let is_there = it.history.latest().contains(&key);
            if is_there {
                it.history.push(Write { key: key.clone(), value: None });
                it.bounds.issued = it.history.len();
            }
            assert_eq!(it.db().delete_with(&key, &options).unwrap(), is_there);
            // The answer that a key is absent is as durable as the delete it may rest on.
            let covered = if is_there { it.history.len() } else { it.history.last_delete() };
            it.acknowledged(start, durability, covered);
        });
    }

    /// A write that began at `start` has returned, and promises that the first `covered` ones are as durable as asked.
    fn acknowledged(&mut self, start: Duration, durability: Durability, covered: usize) {
        self.bounds.acked = self.history.len();
        if durability == Durability::Always {
            self.bounds.durable = self.bounds.durable.max(covered);
        }
        let Durability::Interval(interval) = self.settings.options.durability else { return };
        while let Some(&(count, at)) = self.returned.front()
            && at + interval <= start
        {
            self.bounds.durable = self.bounds.durable.max(count);
            self.returned.pop_front();
        }
        self.returned.push_back((self.history.len(), self.clock.monotonic()));
    }

    fn get(&mut self) {
        let key = self.key();
        self.watched(|it| {
            let found = it.db().get(&key).unwrap();
            assert_eq!(found.as_deref(), it.history.latest().get(&key));
            if it.settings.options.durability == Durability::Always {
                let seen =
                    if found.is_some() { it.history.last_write_to(&key) } else { it.history.last_delete() };
                it.bounds.durable = it.bounds.durable.max(seen);
            }
        });
    }

    fn sync(&mut self) {
        self.watched(|it| {
            it.db().sync().unwrap();
            it.bounds.durable = it.history.len();
        });
    }

    /// Merges what is worth it, or any neighbours; the map is the same after it.
    fn merge(&mut self) {
        let how = self.random.below(4);
        let (from, to) = (self.random.next(), self.random.next());
        self.watched(|it| {
            let report = match how {
                0 => it.db().merge(),
                _ => it.db().merge_chosen(|count| {
                    let count = count as u64;
                    let start = from % count.max(1);
                    let len = if count == 0 { 0 } else { 1 + to % (count - start).min(5) };
                    usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap()
                }),
            };
            let report = report.unwrap_or_else(|error| panic!("the merge fails: {error}"));
            assert_eq!(report.quarantined, []);
            assert_eq!(report.not_removed, [""; 0]);
            assert_eq!(Map::of(it.db()), *it.history.latest(), "after merging");
            if report.runs > 0 {
                // A record is dropped only for a durable one.
                it.bounds.durable = it.history.len();
                it.bounds.acked = it.history.len();
            }
        });
    }

    fn pass_time(&mut self) {
        match self.random.below(4) {
            0 => self.clock.set_now_us(random_time(&mut self.random)),
            _ => self.clock.advance(INTERVAL / 2),
        }
    }

    pub(super) fn close(&mut self) {
        self.watched(|it| {
            it.db().close().unwrap();
            it.bounds = Bounds::all(it.history.len());
            it.db = None;
        });
        self.returned.clear();
    }

    fn kill(&mut self) {
        self.disk = self.disk.kill();
        self.db = None;
        self.returned.clear();
    }
}

//! The canonical workloads: what is done to a store, by seed, and the disk at every moment of it.
//!
//! Few keys, tiny files, many deletes and reopens: what finds bugs in stores of this family. A workload knows after each
//! step what a crash must leave, and may keep a fork of the disk from before each operation that changes it.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::follower::Follower;
use super::harness::{self, EXPIRIES, random_time};
use super::model::{Bounds, History, Map, Stored, Write};
use super::replica::Replica;
use super::ways::{Way, compressions, is_data_file};
use crate::clock::Clock;
use crate::expiry::to_time;
use crate::file::layout::{self, Name};
use crate::vfs::sim::{Random, SimClock, SimDisk};
use crate::{Bitcask, Durability, MergeOptions, MergePolicy, Options, PutOptions, Snapshot, Update};

/// The disk right before an operation that changes it, and what a crash there must leave.
pub(super) struct Moment {
    pub(super) disk: SimDisk,
    pub(super) bounds: Bounds,
}

/// What all steps of one workload have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) way: Way,
    pub(super) options: Options,
    key_count: u64,
    /// Every value has at least this many bytes less than twice as many.
    value_len: u64,
    /// How far each reading moves the clock.
    clock_step: Duration,
    /// Whether some values have an expiry.
    expires: bool,
    /// Whether each open chooses how values are compressed; otherwise none is.
    compresses: bool,
    /// Whether all keys are removed at once now and then.
    clears: bool,
}

impl Settings {
    pub(super) fn random(way: Way, random: &mut Random) -> Self {
        let file_size = [256, 400, 1024, 4096][random.index(4)];
        let durability = random_durability(random);
        Self {
            way,
            options: way
                .options()
                .max_file_size(file_size)
                .durability(durability)
                .compress_from(0)
                .merge(MergeOptions::new().policy(MergePolicy::Never)),
            key_count: [4, 16, 50][random.index(3)],
            value_len: [1, 30, 120][random.index(3)],
            clock_step: [Duration::ZERO, Duration::from_micros(7), INTERVAL / 8][random.index(3)],
            expires: random.one_in(2),
            compresses: random.one_in(2),
            clears: true,
        }
    }

    pub(super) fn without_clears(self) -> Self {
        Self { clears: false, ..self }
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
    /// Empty while it keeps none.
    pub(super) moments: Vec<Moment>,
    keeps_moments: bool,
    random: Random,
    clock: Arc<SimClock>,
    db: Option<Bitcask>,
    /// Keys whose records have expired at some moment of this run, so that the keydir does not lead to them any more.
    reaped: BTreeSet<Vec<u8>>,
    /// Counts of writes, and when they had returned.
    returned: VecDeque<(usize, Duration)>,
    /// Snapshots, and what the store held when they were taken.
    snapshots: Vec<(Snapshot, Map)>,
    /// A reader that was opened some time ago.
    follower: Option<Follower>,
    /// A copy that follows the changes, across closes and crashes.
    replica: Replica,
    /// Never given twice, so that no two values are the same.
    next_number: u64,
}

impl Workload {
    /// A workload on an empty disk.
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let disk = settings.way.disk();
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
            keeps_moments: true,
            // Numbers of an earlier life may be those of writes that a crash has undone.
            next_number: random.next() >> 20,
            random,
            clock,
            db: None,
            reaped: BTreeSet::new(),
            returned: VecDeque::new(),
            snapshots: Vec::new(),
            follower: None,
            replica: Replica::default(),
        }
    }

    /// The next life of the same store, on what a crash has left of it.
    pub(super) fn next(&mut self, left: SimDisk, bounds: Bounds, seed: u64) {
        let mut history = mem::take(&mut self.history);
        history.truncate(bounds.issued);
        let replica = mem::take(&mut self.replica);
        *self = Self { replica, ..Self::on(left, self.settings.clone(), history, bounds, seed) };
    }

    /// From now on the script of `random`, if it has one, chooses what happens here, too.
    pub(super) fn share_script(&mut self, random: &Random) {
        self.random.share_script(random);
    }

    /// Keeps the disk of every moment from now on, or none.
    pub(super) fn keep_moments(&mut self, keeps_moments: bool) {
        self.keeps_moments = keeps_moments;
        self.moments.clear();
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
        if self.settings.compresses {
            let choices = compressions();
            let options = self.settings.options.clone();
            self.settings.options = options.compression(choices[self.random.index(choices.len())]);
        }
        self.watched(|it| {
            let db = harness::open(&it.disk, &it.clock, &it.settings.options);
            let db = db.unwrap_or_else(|error| panic!("the workload cannot open its store: {error}"));
            it.settle_vague(&db);
            assert_eq!(Map::of(&db), it.history.latest().visible(it.now_us()), "after opening");
            it.reaped = it.history.latest().expired(it.now_us()).collect();
            it.db = Some(db);
            it.bounds = Bounds::all(it.history.len());
        });
    }

    /// Asks the store whether values are there that had expired when a merge ran, and have not any more.
    fn settle_vague(&mut self, db: &Bitcask) {
        for key in self.history.keys().filter(|key| self.history.is_vague(key)).collect::<Vec<_>>() {
            if db.get(&key).unwrap().is_none()
                && self.history.latest().visible(self.now_us()).get(&key).is_some()
            {
                self.history.settle_absent(&key);
            }
        }
    }

    /// One random operation.
    pub(super) fn step(&mut self) {
        match self.random.below(100) {
            0..27 => self.put(),
            27..35 => self.batch(),
            35..40 => self.put_if(),
            40..45 => self.update(),
            45..50 => self.set_expiry(),
            50..70 => self.delete(),
            70 if self.settings.clears => self.clear(),
            70 => self.get(),
            71..78 => self.merge(),
            78..83 => self.get(),
            83 => self.reap(),
            84..87 => self.sync(),
            87..90 => self.snapshot(),
            90..96 => self.pass_time(),
            96..99 => self.close_and_open(),
            _ => {
                self.kill();
                self.open();
            }
        }
    }

    /// Does something, and keeps the moments of it: until it returns, only what was acknowledged before it is, and
    /// anything that it issues may be there.
    fn watched(&mut self, act: impl FnOnce(&mut Self)) {
        if !self.keeps_moments {
            return act(self);
        }
        let before = self.bounds;
        self.disk.keep_snapshots();
        let disk = self.disk.clone();
        act(self);
        let bounds = Bounds { issued: self.bounds.issued, ..before };
        let moments = disk.take_snapshots().into_iter().map(|(_, disk)| Moment { disk, bounds });
        self.moments.extend(moments);
    }

    pub(super) fn db(&self) -> &Bitcask {
        self.db.as_ref().expect("the store is open")
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key{}", self.random.below(self.settings.key_count)).into_bytes()
    }

    /// Bytes that tell what they are, and after them the same again, noise or, to mislead recovery, bytes of the store's
    /// own files.
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
        if self.settings.compresses && self.random.one_in(2) {
            (front_len..value.len()).for_each(|at| value[at] = value[at % front_len]);
        } else {
            Random::new(self.next_number).fill(&mut value[front_len..]);
        }
        if self.random.one_in(6) {
            let files: Vec<String> =
                self.disk.files().into_iter().filter(|file| is_data_file(file)).collect();
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

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn expiry(&mut self) -> Option<u64> {
        let expires = self.settings.expires && self.random.one_in(2);
        expires.then(|| EXPIRIES[self.random.index(EXPIRIES.len())])
    }

    /// The next write of the history.
    fn issue(&mut self, key: &[u8], value: Option<Stored>) {
        self.reaped.remove(key);
        self.history.push(Write { key: key.to_vec(), value });
        self.bounds.issued = self.history.len();
    }

    /// What the key has, if the keydir leads to it.
    fn in_keydir(&self, key: &[u8]) -> Option<Stored> {
        self.history.latest().get(key).filter(|_| !self.reaped.contains(key)).cloned()
    }

    /// All that the keydir leads to.
    pub(super) fn state(&self) -> Map {
        self.history.latest().without(&self.reaped)
    }

    /// The store holds what it must, whoever asks.
    pub(super) fn check(&self) {
        let (state, found) = (self.state(), Map::visible_in(self.db()));
        assert_eq!(found, state.visible(self.now_us()), "the store holds something else");
        assert_eq!(self.db().len(), state.len() as u64, "keys that have expired count until they are reaped");
        for number in 0..self.settings.key_count {
            let key = format!("key{number}").into_bytes();
            let value = self.db().get(&key).unwrap();
            assert_eq!(value.as_deref(), found.get(&key).map(|stored| &stored.value[..]), "key{number}");
        }
    }

    /// The directory has no data file, hint file or temporary file but those of listed files.
    pub(super) fn check_files(&self) {
        let listed = self.db().status().files.into_iter().map(|file| file.name);
        let listed: Vec<(String, Name)> = listed.map(|name| (name.clone(), layout::parse(&name))).collect();
        for name in self.disk.files() {
            let is_known = match layout::parse(&name) {
                Name::Data(..) => listed.iter().any(|(listed, _)| *listed == name),
                Name::Hint(id) => {
                    listed.iter().any(|(_, listed)| matches!(listed, Name::Data(data, ..) if *data == id))
                }
                _ => !name.ends_with(".tmp"),
            };
            assert!(is_known, "{name} is left, and listed are {listed:?}");
        }
    }

    /// A reader beside the writer sees the same. What the writer has reaped it may see when the clock has gone back.
    pub(super) fn read_beside(&self) {
        let reader = harness::open(&self.disk, &self.clock, &Options::read_only()).unwrap();
        let found = Map::of(&reader);
        let state = self.state().visible(self.now_us());
        assert_eq!(found.without(&self.reaped), state, "a reader sees something else");
        for key in &self.reaped {
            let logged = self.history.latest().get(key);
            assert!(found.get(key).is_none_or(|found| Some(found) == logged), "a reader sees what never was");
        }
    }

    /// A reader that was opened earlier catches up.
    pub(super) fn follow(&mut self) {
        let latest = self.history.latest();
        match &mut self.follower {
            Some(follower) => follower.refresh(latest),
            None => self.follower = Some(Follower::open(&self.disk, &self.clock, latest)),
        }
    }

    /// A copy of the store takes in the changes that it has not seen.
    pub(super) fn replicate(&mut self) {
        if self.random.one_in(2) {
            self.sync();
        }
        if self.keeps_moments {
            // A crash may go back to before what it would be given.
            return;
        }
        if !self.replica.catch_up(self.db.as_ref().expect("the store is open")) {
            // Merges have passed it: it begins anew from a snapshot.
            self.sync();
            let position = self.db().snapshot().timestamp_us();
            self.replica = Replica { map: self.history.latest().clone(), position };
        }
        if self.bounds.durable == self.history.len() {
            let latest = self.history.latest();
            assert_eq!(self.replica.map.lasting(), latest.lasting(), "the changes say something else");
        }
    }

    /// Begins an iteration, does something else, and ends it: it visits what was there when it began.
    pub(super) fn iterate_across(&mut self, first: usize, act: impl FnOnce(&mut Self)) {
        let state = self.state();
        let mut entries = self.db().iter().map(Result::unwrap);
        let mut visited: Vec<_> = entries.by_ref().take(first).collect();
        act(self);
        visited.extend(entries);
        visited.sort_by(|one, other| one.0.cmp(&other.0));
        let keys: BTreeSet<&Vec<u8>> = visited.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), visited.len(), "a key is visited twice");
        for (key, value) in &visited {
            let expected = state.get(key).map(|stored| &stored.value[..]);
            assert_eq!(Some(&value[..]), expected, "an iteration visits something else");
        }
        // Whether values with an expiry still show depends on the time of the visit.
        let lasting = state.lasting();
        let missed = lasting.keys().find(|key| !keys.contains(key));
        assert_eq!(missed, None, "an iteration misses a key");
    }

    /// What readers see of the key.
    fn visible(&self, key: &[u8]) -> Option<Stored> {
        self.in_keydir(key).filter(|stored| stored.is_visible(self.now_us()))
    }

    /// The count of writes that must be durable for the absence of this key to be.
    fn absence_of(&self, key: &[u8]) -> usize {
        match self.history.latest().get(key) {
            Some(_) => self.history.last_write_to(key),
            None => self.history.last_delete(),
        }
    }

    pub(super) fn put(&mut self) {
        let key = self.key();
        let value = self.value(&key);
        let expiry = self.expiry();
        let (durability, mut options) = self.durability();
        if let Some(expiry) = expiry {
            options = options.expires_at(to_time(expiry));
        }
        self.watched(|it| {
            let start = it.clock.monotonic();
            it.issue(&key, Some(Stored { value: value.clone(), expiry }));
            it.db().put_with(&key, &value, &options).unwrap();
            it.acknowledged(start, durability, it.history.len());
        });
    }

    /// The count of writes that must be durable for an answer about this key that changes nothing to be.
    fn answer_about(&self, key: &[u8]) -> usize {
        if self.in_keydir(key).is_some() { self.history.last_write_to(key) } else { self.absence_of(key) }
    }

    pub(super) fn put_if(&mut self) {
        let key = self.key();
        let value = self.value(&key);
        let expiry = self.expiry();
        let (durability, mut options) = self.durability();
        if let Some(expiry) = expiry {
            options = options.expires_at(to_time(expiry));
        }
        let condition = self.random.below(4);
        self.watched(|it| {
            let timestamp = it.db().metadata(&key).unwrap().map_or(7, |metadata| metadata.timestamp_us);
            let start = it.clock.monotonic();
            let is_visible = it.visible(&key).is_some();
            let (options, holds) = match condition {
                0 => (options.if_absent(), !is_visible),
                1 => (options.if_present(), is_visible),
                2 => (options.if_timestamp(timestamp), is_visible),
                _ => (options.if_timestamp(timestamp + 1), false),
            };
            let mut covered = it.answer_about(&key);
            if holds {
                it.issue(&key, Some(Stored { value: value.clone(), expiry }));
                covered = it.history.len();
            }
            assert_eq!(it.db().put_with(&key, &value, &options).unwrap(), holds);
            it.acknowledged(start, durability, covered);
        });
    }

    pub(super) fn batch(&mut self) {
        let (durability, _) = self.durability();
        let calls: Vec<(Vec<u8>, Option<Stored>, Option<bool>)> = (0..self.random.below(7))
            .map(|_| {
                let key = self.key();
                let value = (!self.random.one_in(3)).then(|| {
                    let value = self.value(&key);
                    Stored { value, expiry: self.expiry() }
                });
                // Whether the key must be there, or must not be.
                let condition = self.random.one_in(12).then(|| value.is_none() || self.random.one_in(2));
                (key, value, condition)
            })
            .collect();
        self.watched(|it| {
            let start = it.clock.monotonic();
            let stands = |index: usize| !calls[index + 1..].iter().any(|later| later.0 == calls[index].0);
            let standing = (0..calls.len()).filter(|&index| stands(index)).map(|index| &calls[index]);
            let standing: Vec<_> = standing.collect();
            let refused = standing.iter().find(|(key, _, condition)| {
                condition.is_some_and(|there| it.visible(key).is_some() != there)
            });
            let covered = match refused {
                Some((key, ..)) => it.answer_about(key),
                None => {
                    let write = |(key, value, _): &&(_, _, _)| Write {
                        key: Vec::clone(key),
                        value: Option::clone(value),
                    };
                    for (key, ..) in &standing {
                        it.reaped.remove(key);
                    }
                    it.history.push_batch(standing.iter().map(write));
                    it.bounds.issued = it.history.len();
                    // One without calls says nothing of what was before.
                    if calls.is_empty() { 0 } else { it.history.len() }
                }
            };
            let mut batch = it.db().batch();
            for (key, value, condition) in &calls {
                let options = match condition {
                    Some(true) => PutOptions::new().if_present(),
                    Some(false) => PutOptions::new().if_absent(),
                    None => PutOptions::new(),
                };
                match value {
                    Some(Stored { value, expiry: None }) => batch.put_with(key, value, &options),
                    Some(Stored { value, expiry: Some(expiry) }) => {
                        batch.put_with(key, value, &options.expires_at(to_time(*expiry)))
                    }
                    None => batch.delete_with(key, &options),
                };
            }
            assert_eq!(batch.commit_with(durability).unwrap(), refused.is_none());
            it.acknowledged(start, durability, covered);
        });
    }

    pub(super) fn update(&mut self) {
        let key = self.key();
        let value = self.value(&key);
        let (durability, options) = self.durability();
        let update = match self.random.below(4) {
            0 => Update::Keep,
            1 => Update::Delete,
            _ => Update::Put(value),
        };
        self.watched(|it| {
            let start = it.clock.monotonic();
            let before = it.visible(&key);
            let mut covered = it.answer_about(&key);
            let writes = match &update {
                Update::Keep => false,
                Update::Delete => before.is_some(),
                Update::Put(_) => true,
            };
            if writes {
                let expiry = before.as_ref().and_then(|stored| stored.expiry);
                let value = match &update {
                    Update::Put(value) => Some(Stored { value: value.clone(), expiry }),
                    _ => None,
                };
                it.issue(&key, value);
                covered = it.history.len();
            }
            let mut seen = None;
            let written = it.db().update_with(&key, &options, |old| {
                seen = old.map(<[u8]>::to_vec);
                update.clone()
            });
            assert_eq!(written.unwrap(), writes);
            assert_eq!(seen, before.map(|stored| stored.value));
            it.acknowledged(start, durability, covered);
        });
    }

    pub(super) fn set_expiry(&mut self) {
        let key = self.key();
        let expiry = self.expiry();
        self.watched(|it| {
            let start = it.clock.monotonic();
            let before = it.visible(&key);
            let covered = match &before {
                Some(stored) if stored.expiry != expiry => {
                    it.issue(&key, Some(Stored { value: stored.value.clone(), expiry }));
                    it.history.len()
                }
                Some(_) => it.history.last_write_to(&key),
                None => it.absence_of(&key),
            };
            let was_there = match expiry {
                Some(expiry) => it.db().expire_at(&key, to_time(expiry)).unwrap(),
                None => it.db().persist(&key).unwrap(),
            };
            assert_eq!(was_there, before.is_some());
            it.acknowledged(start, it.settings.options.durability, covered);
        });
    }

    pub(super) fn reap(&mut self) {
        self.db().reap_all();
        let now_us = self.now_us();
        self.reaped.extend(self.history.latest().expired(now_us));
    }

    pub(super) fn delete(&mut self) {
        let key = self.key();
        let (durability, options) = self.durability();
        self.watched(|it| {
            let start = it.clock.monotonic();
            let was_visible = it.visible(&key).is_some();
            // The answer that a key is absent is as durable as what it may rest on.
            let mut covered = it.absence_of(&key);
            if it.in_keydir(&key).is_some() {
                // One that has expired needs a tombstone as well: the clock may go back.
                it.issue(&key, None);
                covered = it.history.len();
            }
            assert_eq!(it.db().delete_with(&key, &options).unwrap(), was_visible);
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

    pub(super) fn get(&mut self) {
        let key = self.key();
        self.watched(|it| {
            let found = it.db().get(&key).unwrap();
            assert_eq!(found.as_deref(), it.visible(&key).as_ref().map(|stored| &stored.value[..]));
            assert_eq!(it.db().contains(&key).unwrap(), found.is_some());
            if it.settings.options.durability == Durability::Always {
                let seen = if found.is_some() { it.history.last_write_to(&key) } else { it.absence_of(&key) };
                it.bounds.durable = it.bounds.durable.max(seen);
            }
        });
    }

    pub(super) fn sync(&mut self) {
        self.watched(|it| {
            it.db().sync().unwrap();
            it.bounds.durable = it.history.len();
        });
    }

    /// Adds to a number that no other operation touches.
    pub(super) fn increment(&mut self) {
        const COUNTER: &[u8] = b"counter";
        let by = 1 + i64::try_from(self.random.below(1_000)).unwrap();
        self.watched(|it| {
            let start = it.clock.monotonic();
            let before = it.visible(COUNTER);
            let number = |stored: Stored| String::from_utf8(stored.value).unwrap().parse::<i64>().unwrap();
            let sum = before.map_or(0, number) + by;
            it.issue(COUNTER, Some(Stored::forever(sum.to_string())));
            assert_eq!(it.db().increment(COUNTER, by).unwrap(), sum);
            it.acknowledged(start, it.settings.options.durability, it.history.len());
        });
    }

    /// Closes the active file.
    pub(super) fn rotate(&mut self) {
        self.watched(|it| it.db().rotate().unwrap());
    }

    /// Merges what is worth it, or any neighbours; the map is the same after it.
    pub(super) fn merge(&mut self) {
        let how = self.random.below(4);
        let (from, to) = (self.random.next(), self.random.next());
        if self.random.one_in(2) {
            self.reap();
        }
        self.watched(|it| {
            let mut expired: BTreeSet<_> = it.history.latest().expired(it.now_us()).collect();
            expired.extend(it.reaped.iter().cloned());
            it.history.merged(&expired);
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
            it.reap();
            assert_eq!(Map::of(it.db()), it.history.latest().without(&it.reaped), "after merging");
            it.check_snapshots();
            if report.runs > 0 {
                // A record is dropped only for a durable one.
                it.bounds.durable = it.history.len();
                it.bounds.acked = it.history.len();
            }
        });
    }

    /// Removes all keys at once: as a batch of deletes, but durable in any case.
    pub(super) fn clear(&mut self) {
        self.watched(|it| {
            let count = it.state().len() as u64;
            let keys: Vec<_> = it.history.latest().keys().cloned().collect();
            it.history.push_batch(keys.into_iter().map(|key| Write { key, value: None }));
            it.bounds.issued = it.history.len();
            let report = it.db().clear().unwrap_or_else(|error| panic!("the clear fails: {error}"));
            assert_eq!((report.keys, report.not_removed), (count, Vec::new()));
            it.reaped.clear();
            it.bounds = Bounds::all(it.history.len());
            it.check_snapshots();
        });
    }

    /// Takes a snapshot, or lets one go.
    pub(super) fn snapshot(&mut self) {
        if self.snapshots.len() < 3 {
            let snapshot = self.db().snapshot();
            self.snapshots.push((snapshot, self.history.latest().without(&self.reaped)));
        } else {
            let index = self.random.index(self.snapshots.len());
            self.snapshots.remove(index);
        }
        self.check_snapshots();
    }

    /// Each snapshot sees what was there when it was taken. Whether values with an expiry still show is not asked.
    pub(super) fn check_snapshots(&self) {
        for (snapshot, expected) in &self.snapshots {
            let found = Map::of_snapshot(snapshot);
            assert_eq!(found.lasting(), expected.lasting(), "a snapshot sees something else");
        }
    }

    pub(super) fn pass_time(&mut self) {
        match self.random.below(4) {
            0 => self.clock.set_now_us(random_time(&mut self.random)),
            _ => self.clock.advance(INTERVAL / 2),
        }
    }

    pub(super) fn close(&mut self) {
        self.snapshots.clear();
        self.watched(|it| {
            it.db().close().unwrap();
            it.bounds = Bounds::all(it.history.len());
            it.db = None;
        });
        self.returned.clear();
    }

    pub(super) fn close_and_open(&mut self) {
        self.close();
        self.open();
    }

    pub(super) fn kill(&mut self) {
        self.snapshots.clear();
        self.disk = self.disk.kill();
        self.db = None;
        self.follower = None;
        self.returned.clear();
    }
}

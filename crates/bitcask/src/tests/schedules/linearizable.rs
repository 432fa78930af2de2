//! Whatever the schedule, there is for each key an order of the operations on it in which each returns what it must,
//! and which puts what had returned before another began before that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{Bench, explore, number, together, value};
use crate::options::Maintenance;
use crate::vfs::sim::Random;
use crate::{Bitcask, Durability};

const KEYS: u64 = 3;

/// What was done to one key.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Write(Option<u64>),
    Read(Option<u64>),
    /// A delete returns whether there was a value.
    Delete(bool),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    key: u64,
    effect: Effect,
    began: u64,
    ended: u64,
}

/// What happened, in the order of a clock that ticks with each begin and each end.
#[derive(Clone, Default)]
struct Record {
    ticks: Arc<AtomicU64>,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Record {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn watch(&self, act: impl FnOnce() -> Vec<(u64, Effect)>) {
        let began = self.tick();
        let effects = act();
        let ended = self.tick();
        let done = effects.into_iter().map(|(key, effect)| Operation { key, effect, began, ended });
        self.operations.lock().unwrap().extend(done);
    }

    fn read_all(&self, db: &Bitcask) {
        for key in 0..KEYS {
            self.watch(|| vec![(key, Effect::Read(number(db.get(name(key)).unwrap())))]);
        }
    }

    fn check(&self) {
        let all = self.operations.lock().unwrap();
        for key in 0..KEYS {
            let of_key: Vec<Operation> =
                all.iter().filter(|operation| operation.key == key).copied().collect();
            assert!(is_linearizable(&of_key), "no order explains what was done to key {key}: {of_key:#?}");
        }
    }
}

fn name(key: u64) -> String {
    format!("key{key}")
}

/// Tries every order, once for each set of operations that are done and value that they leave.
fn is_linearizable(operations: &[Operation]) -> bool {
    assert!(operations.len() < 64, "a bit each");
    let mut tried = BTreeSet::new();
    let mut open = vec![(0_u64, None::<u64>)];
    while let Some((done, now)) = open.pop() {
        if done.count_ones() as usize == operations.len() {
            return true;
        }
        if !tried.insert((done, now)) {
            continue;
        }
        let left = || operations.iter().enumerate().filter(|(bit, _)| done & (1 << bit) == 0);
        let first_end = left().map(|(_, operation)| operation.ended).min();
        for (bit, operation) in left().filter(|(_, operation)| Some(operation.began) < first_end) {
            let then = match operation.effect {
                Effect::Write(value) => value,
                Effect::Read(found) if found == now => now,
                Effect::Delete(was_there) if was_there == now.is_some() => None,
                Effect::Read(_) | Effect::Delete(_) => continue,
            };
            open.push((done | (1 << bit), then));
        }
    }
    false
}

/// One step of one thread.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64),
    Delete(u64),
    Get(u64),
    Batch,
    Clear,
    Merge,
    Sync,
    Rotate,
}

impl Step {
    fn random(random: &mut Random) -> Self {
        match random.below(20) {
            0..7 => Self::Put(random.below(KEYS)),
            7..9 => Self::Delete(random.below(KEYS)),
            9..13 => Self::Get(random.below(KEYS)),
            13..15 => Self::Batch,
            15 => Self::Clear,
            16..18 => Self::Merge,
            18 => Self::Sync,
            _ => Self::Rotate,
        }
    }

    /// Does it; `unique` is a number that nobody else writes.
    fn run(self, db: &Bitcask, record: &Record, unique: u64) {
        match self {
            Self::Put(key) => record.watch(|| {
                db.put(name(key), value(unique)).unwrap();
                vec![(key, Effect::Write(Some(unique)))]
            }),
            Self::Delete(key) => {
                record.watch(|| vec![(key, Effect::Delete(db.delete(name(key)).unwrap()))]);
            }
            Self::Get(key) => {
                record.watch(|| vec![(key, Effect::Read(number(db.get(name(key)).unwrap())))]);
            }
            Self::Batch => record.watch(|| {
                let mut batch = db.batch();
                batch.put(name(0), value(unique)).delete(name(1)).put(name(2), value(unique));
                assert!(batch.commit().unwrap());
                vec![
                    (0, Effect::Write(Some(unique))),
                    (1, Effect::Write(None)),
                    (2, Effect::Write(Some(unique))),
                ]
            }),
            Self::Clear => record.watch(|| {
                db.clear().unwrap();
                (0..KEYS).map(|key| (key, Effect::Write(None))).collect()
            }),
            Self::Merge => drop(db.merge().unwrap()),
            Self::Sync => db.sync().unwrap(),
            Self::Rotate => db.rotate().unwrap(),
        }
    }
}

fn program(random: &mut Random) {
    let durability = if random.one_in(2) { Durability::Always } else { Durability::Os };
    let maintenance = if random.one_in(4) { Maintenance::Threads } else { Maintenance::Callers };
    let bench = Bench::new(random, durability, maintenance);
    let (db, record) = (bench.open(), Record::default());
    // Something to merge.
    for n in 0..12 {
        Step::Put(n % KEYS).run(&db, &record, n);
    }
    let threads = (1..=3).map(|thread| {
        let (db, record) = (db.clone(), record.clone());
        let steps: Vec<Step> = (0..4).map(|_| Step::random(random)).collect();
        Box::new(move || {
            for (n, step) in (0..).zip(steps) {
                step.run(&db, &record, thread * 100 + n);
            }
        }) as Box<dyn FnOnce() + Send>
    });
    let merging = db.clone();
    let mut threads: Vec<_> = threads.collect();
    threads.push(Box::new(move || drop(merging.merge().unwrap())));
    together(threads);
    record.read_all(&db);
    db.close().unwrap();
    drop(db);
    let again = bench.open();
    record.read_all(&again);
    again.close().unwrap();
    record.check();
}

#[test]
fn each_key_is_linearizable_in_every_schedule() {
    explore("each_key_is_linearizable_in_every_schedule", program);
}

#[test]
fn the_checker_refuses_what_no_order_explains() {
    let of = |began, ended, effect| Operation { key: 0, effect, began, ended };
    let put = of(0, 1, Effect::Write(Some(1)));
    let later = of(2, 5, Effect::Write(Some(2)));
    assert!(is_linearizable(&[put, later, of(3, 4, Effect::Read(Some(1)))]));
    assert!(is_linearizable(&[put, later, of(3, 4, Effect::Read(Some(2)))]));
    assert!(!is_linearizable(&[put, later, of(3, 4, Effect::Read(None))]));
    assert!(!is_linearizable(&[put, later, of(6, 7, Effect::Read(Some(1)))]));
    let back = [of(6, 7, Effect::Read(Some(2))), of(8, 9, Effect::Read(Some(1)))];
    assert!(!is_linearizable(&[&[put, of(2, 10, Effect::Write(Some(2)))][..], &back].concat()));
    assert!(!is_linearizable(&[put, of(2, 3, Effect::Delete(false))]));
}

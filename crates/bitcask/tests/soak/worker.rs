//! The store under load, in a process that is killed: it says what was acknowledged, and how it is.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bitcask::{Bitcask, Error, PutOptions};
use bitcask_testing::say;

use crate::model::{Held, Look, Model, Operation, Write, fits, held, name, now_us, read_all, value};
use crate::plan::{Plan, THREADS};
use crate::sample::Sampler;

/// Works until it is killed; or for so many seconds, where that is not 0, and closes the store.
pub(crate) fn work(place: &Path, arguments: &str) {
    let mut numbers = arguments.split(' ').map(|number| number.parse::<u64>().unwrap());
    let (seed, seconds) = (numbers.next().unwrap(), numbers.next().unwrap());
    let deadline = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
    let plan = Plan::new();
    let store = place.join("store");
    let db = bitcask::open(&store, plan.options()).unwrap();
    assert_eq!(db.status().recovery.damaged, []);
    let [_, (_, found)] = read_all(&db, plan.keys);
    let sampler = Mutex::new(Sampler::new(&store, plan.sample_every));
    std::thread::scope(|scope| {
        for (thread, next) in (0..THREADS).zip(numbers) {
            let worker = Worker {
                seed,
                thread,
                keys: plan.keys,
                db: &db,
                backup: place.join("backup"),
                model: Model(found.clone()),
                sampler: &sampler,
            };
            scope.spawn(move || worker.run(next, deadline));
        }
    });
    db.close().unwrap();
    say("closed");
}

/// One thread, and what it knows of its own keys.
struct Worker<'a> {
    seed: u64,
    thread: u64,
    keys: u64,
    db: &'a Bitcask,
    backup: std::path::PathBuf,
    model: Model,
    sampler: &'a Mutex<Sampler>,
}

impl Worker<'_> {
    fn run(mut self, first: u64, deadline: Option<Instant>) {
        for n in first.. {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return;
            }
            match Operation::nth(self.seed, self.thread, n, self.keys) {
                Operation::Get(key) => self.get(key),
                Operation::Write(writes) => self.write(n, &writes),
                Operation::Iterate => self.iterate(),
                Operation::Backup => self.back_up(),
            }
            self.sampler.lock().unwrap().sample_if_due(self.db);
        }
    }

    fn get(&self, key: u64) {
        let begin = Instant::now();
        let (look, entry) = Look::at(|| self.db.get_entry(name(key)).unwrap());
        self.sampler.lock().unwrap().gets.record(begin.elapsed());
        let found = entry.map(|entry| held(key, &entry));
        let had = self.model.of(key);
        assert!(fits(had, found, look), "key {key} has {found:?} and not {had:?}, at {look:?}");
    }

    /// Says `done` with the time from which lifetimes count, or `full`.
    fn write(&mut self, n: u64, writes: &[(u64, Write)]) {
        let now = now_us();
        let options =
            |lifetime| PutOptions::new().expires_at(UNIX_EPOCH + Duration::from_micros(now + lifetime));
        let begin = Instant::now();
        let written = if let [(key, write)] = *writes {
            match write {
                Write::Put => self.db.put(name(key), value(key, n)),
                Write::PutFor(lifetime) => {
                    self.db.put_with(name(key), value(key, n), &options(lifetime)).map(drop)
                }
                Write::Delete => self.db.delete(name(key)).map(drop),
            }
        } else {
            let mut batch = self.db.batch();
            for &(key, write) in writes {
                match write {
                    Write::Put => batch.put(name(key), value(key, n)),
                    Write::PutFor(lifetime) => batch.put_with(name(key), value(key, n), &options(lifetime)),
                    Write::Delete => batch.delete(name(key)),
                };
            }
            batch.commit().map(drop)
        };
        let took = begin.elapsed();
        match written {
            Ok(()) => {
                self.model.apply(writes, n, now);
                say(format_args!("done {} {n} {now}", self.thread));
                self.sampler.lock().unwrap().puts.record(took);
            }
            Err(error) => {
                self.refuse_what_is_not_full(&error);
                say(format_args!("full {} {n}", self.thread));
            }
        }
    }

    /// A full disk is what the soak brings about; nothing else may fail.
    fn refuse_what_is_not_full(&self, error: &Error) {
        assert!(error.is_full(), "{error}");
        assert_eq!(self.db.status().poisoned, None);
    }

    fn iterate(&self) {
        let [(got_at, got), (iterated_at, iterated)] = read_all(self.db, self.keys);
        for (look, found) in [(got_at, got), (iterated_at, iterated)] {
            let is_own = |key: &usize| *key as u64 % THREADS == self.thread;
            for key in (0..found.len()).filter(is_own) {
                let had: Option<Held> = self.model.0[key];
                assert!(fits(had, found[key], look), "key {key} has {:?} and not {had:?}", found[key]);
            }
        }
    }

    /// A backup beside the store, checked. A full disk may end it; then the next goes on from what is there.
    fn back_up(&self) {
        match self.db.backup(&self.backup) {
            Ok(_) => {
                assert_eq!(bitcask::verify(&self.backup).unwrap().damage, []);
                // It holds files that merges have removed from the store.
                std::fs::remove_dir_all(&self.backup).unwrap();
                say("backup");
            }
            Err(error) => {
                self.refuse_what_is_not_full(&error);
                let _ = std::fs::remove_dir_all(&self.backup);
            }
        }
    }
}

//! Histories of eight threads on real stores, recorded and checked: each key is linearizable, while files are rotated and
//! merged, across a close under way, and across kills.
//!
//! `model` says what is right for one key, `checker` whether a history is; `script` what threads do, `worker` does it and
//! records; `kills` does the same in processes that are killed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod checker;
#[cfg(target_os = "linux")]
mod kills;
mod model;
mod script;
mod worker;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bitcask::{Bitcask, Durability, Error, Io, LogFormat, Options};
use bitcask_testing::{Sweep, Tier};
use model::{Call, Operation};
use script::{KEYS, PAIR, Script, THREADS};
use worker::{Clock, Event, Worker};

/// How many actions a history has.
const ACTIONS: u64 = 2000;

/// The ways in which a store works, by number; numbers wrap.
fn options(number: u64) -> Options {
    let (io, format) = match number % 4 {
        0 => (Io::Mapped, LogFormat::Binary),
        1 => (Io::Syscall, LogFormat::Binary),
        2 => (Io::Mapped, LogFormat::Json),
        _ => (Io::Syscall, LogFormat::Csv),
    };
    let durability = match number / 4 % 3 {
        0 => Durability::Os,
        1 => Durability::Always,
        _ => Durability::Interval(Duration::from_millis(2)),
    };
    // A few records in each file.
    Options::new().io(io).format(format).durability(durability).max_file_size(4096)
}

/// What a history says of each key.
#[derive(Default)]
struct History {
    of_keys: [Vec<Operation>; KEYS.len()],
    actions: u64,
}

impl History {
    /// Adds what one thread has recorded. What did not return was over at `end`.
    fn add(&mut self, thread: usize, script: Script, events: &[Event], end: u64) {
        for (key, operation) in worker::operations(thread, script, events, end) {
            self.of_keys[key].push(operation);
        }
        self.actions += events.len().div_ceil(2) as u64;
    }

    /// Reads every key while nobody else does anything.
    fn read_all(&mut self, db: &Bitcask, clock: &Clock) {
        let mut answers = Vec::new();
        for (key, name) in KEYS.iter().enumerate() {
            let begun = clock.now();
            let answer = worker::found(key, db.get(name).unwrap().as_deref());
            answers.push(answer);
            self.of_keys[key].push(Operation {
                thread: THREADS,
                call: Call::Get,
                begun,
                over: clock.now(),
                answer: Some(answer),
            });
        }
        assert_eq!(answers[PAIR[0]], answers[PAIR[1]], "half of a batch is there");
        let present = db.iter().map(|entry| entry.map(drop).unwrap()).count();
        assert_eq!(db.len(), u64::try_from(present).unwrap());
    }

    fn check(&self) {
        for (operations, name) in self.of_keys.iter().zip(KEYS) {
            checker::check(operations).unwrap_or_else(|wrong| panic!("of `{name}` {wrong}"));
        }
    }
}

/// Ends the merges, also when something panics: the scope waits for them.
struct RaiseAtTheEnd<'a>(&'a AtomicBool);

impl Drop for RaiseAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Eight threads; when half of the actions have begun, the store is closed under them and opened anew at once, and eight
/// others go on. Merges go on all the time.
fn record(dir: &Path, options: &Options, seed: u64) -> History {
    let (clock, begun) = (Clock::new(1), AtomicU64::new(0));
    let mut history = History::default();
    let (is_half_done, half_done) = mpsc::channel();
    let work = |db: Bitcask, life: u64, thread: usize| {
        let (clock, begun, is_half_done) = (&clock, &begun, is_half_done.clone());
        move || {
            let mut worker = Worker::new(&db, clock, Script::new(seed, life, thread));
            let mut events = Vec::new();
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number == ACTIONS / 2 {
                    is_half_done.send(()).unwrap();
                }
                if number >= ACTIONS {
                    return events;
                }
                match worker.step(|event| events.push(event)) {
                    Ok(()) => {}
                    Err(Error::Closed) if life == 0 => return events,
                    Err(error) => panic!("thread {thread} of life {life}: {error}"),
                }
            }
        }
    };
    let first = bitcask::open(dir, options.clone()).unwrap();
    let is_over = AtomicBool::new(false);
    let merge = |db: Bitcask| {
        let is_over = &is_over;
        move || {
            while !is_over.load(Ordering::Relaxed) {
                match db.merge() {
                    Ok(_) => {}
                    Err(Error::Closed) => return,
                    Err(error) => panic!("a merge fails: {error}"),
                }
            }
        }
    };
    let (lives, closed, second) = std::thread::scope(|scope| {
        let _until_here = RaiseAtTheEnd(&is_over);
        scope.spawn(merge(first.clone()));
        let before: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(first.clone(), 0, thread))).collect();
        half_done.recv().unwrap();
        first.close().unwrap();
        let closed = clock.now();
        let second = bitcask::open(dir, options.clone()).unwrap();
        scope.spawn(merge(second.clone()));
        let after: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(second.clone(), 1, thread))).collect();
        let lives = [before, after]
            .map(|threads| threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>());
        (lives, closed, second)
    });
    for (life, threads) in (0..).zip(&lives) {
        for (thread, events) in threads.iter().enumerate() {
            history.add(thread, Script::new(seed, life, thread), events, closed);
        }
    }
    history.read_all(&second, &clock);
    second.close().unwrap();
    history.read_all(&bitcask::open(dir, options.clone()).unwrap(), &clock);
    history
}

#[test]
fn histories_of_eight_threads_are_linearizable() {
    let sweep = Sweep::new("histories_of_eight_threads_are_linearizable");
    let count = Tier::pick(24, 1_000, 10_000);
    let mut actions = 0;
    for case in 0..count {
        sweep.case(case, |seed| {
            let dir = tempfile::tempdir().unwrap();
            let history = record(dir.path(), &options(case), seed);
            assert!(history.actions >= ACTIONS, "{}", history.actions);
            history.check();
            assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
            actions += history.actions;
        });
    }
    println!("{actions} actions");
    sweep.finish(count);
}

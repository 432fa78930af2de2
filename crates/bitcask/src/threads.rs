//! The threads of a store that is open for writing.
//!
//! | thread | does |
//! |---|---|
//! | `bitcask-sync` | syncs by interval; marks an idle log |
//! | `bitcask-prepare` | makes successors and allocates space ahead of need |
//! | `bitcask-seal` | gives files that were rotated away from their footers and hint files |
//! | `bitcask-merge` | merges by policy |
//! | `bitcask-reap` | takes keys that have expired out of the keydir |
//! | `bitcask-events` | tells what has happened, where anybody listens |
//!
//! A failure in one of them is not lost: either it poisons the store, or the work stays to be done and whoever
//! cannot do without it meets the failure himself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::options::Durability;
use crate::reaping::Pass;
use crate::signal::{Signal, Woken};
use crate::store::{Store, WriteSide};
use crate::sync::thread::{self, JoinHandle};

/// How long a log must be idle before it is marked, where no interval says otherwise.
const IDLE: Duration = Duration::from_secs(1);

/// How long the keydir is left alone between two passes over it for keys that have expired.
const REAP_EVERY: Duration = Duration::from_secs(60);
/// How many times as long as a page of such a pass took it rests before the next.
const REAP_REST: u32 = 9;

pub(crate) struct Threads {
    store: Arc<Store>,
    to_sync: Arc<Signal>,
    to_reap: Arc<Signal>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts the threads of a store that may write; a read-only one has none.
    pub(crate) fn start(store: &Arc<Store>) -> Result<Self> {
        let mut threads = Self {
            store: Arc::clone(store),
            to_sync: Arc::default(),
            to_reap: Arc::default(),
            running: Vec::new(),
        };
        if store.write_side.is_some() {
            let to_sync = Arc::clone(&threads.to_sync);
            threads.spawn("bitcask-sync", move |store, side| sync(store, side, &to_sync))?;
            threads.spawn("bitcask-prepare", prepare)?;
            threads.spawn("bitcask-seal", seal)?;
            threads.spawn("bitcask-merge", merge)?;
            let to_reap = Arc::clone(&threads.to_reap);
            threads.spawn("bitcask-reap", move |store, side| reap(store, side, &to_reap))?;
            if store.events.is_on() {
                threads.spawn("bitcask-events", |store, _| events(store))?;
            }
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Store, &WriteSide) + Send + 'static) -> Result<()> {
        let store = Arc::clone(&self.store);
        let who = format!("the thread {name}");
        let run = move || {
            if let Some(side) = &store.write_side {
                let _guard = side.poison_on_panic(&who);
                work(&store, side);
            }
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = started.map_err(|source| Error::io("start", format!("the thread {name}"), source))?;
        self.running.push(thread);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.to_sync.stop();
        self.to_reap.stop();
        if let Some(side) = &self.store.write_side {
            side.to_prepare.stop();
            side.to_seal.stop();
            side.to_merge.stop();
            side.merge_control.stop();
        }
        self.store.events.stop();
        let here = thread::current().id();
        // The last handle may be an observer's: then this is the thread that tells, and ends when the observer returns.
        for thread in self.running.drain(..).filter(|thread| thread.thread().id() != here) {
            // A thread that panicked has poisoned the store, which says so to all who write.
            let _ = thread.join();
        }
    }
}

fn sync(store: &Store, side: &WriteSide, signal: &Signal) {
    let interval = match store.options.durability {
        Durability::Interval(interval) => interval,
        Durability::Always | Durability::Os => IDLE,
    };
    let mut last_appended = 0;
    while signal.wait(Some(interval)) != Woken::Stopped {
        if let Ok(appended) = store.sync_by_interval(side, last_appended) {
            last_appended = appended;
        }
    }
}

fn prepare(store: &Store, side: &WriteSide) {
    // The first successor is wanted at once.
    let mut woken = Woken::Raised;
    while woken != Woken::Stopped {
        let _ = store.prepare(side);
        woken = side.to_prepare.wait(None);
    }
}

fn seal(store: &Store, side: &WriteSide) {
    while side.to_seal.wait(None) != Woken::Stopped {
        let _ = store.seal_rotated(side);
        side.to_merge.raise();
    }
}

fn merge(store: &Store, side: &WriteSide) {
    // A policy that is never followed needs no thread that wakes up for it; explicit merges are their callers'.
    let interval = store.options.merge.check_interval;
    while side.to_merge.wait(Some(interval)) != Woken::Stopped {
        // Whether it went well is in the status.
        let _ = store.merge_by_policy(side);
    }
}

/// Reads for at most a tenth of the time, so that a large pass is not felt.
fn reap(store: &Store, side: &WriteSide, signal: &Signal) {
    while signal.wait(Some(REAP_EVERY)) != Woken::Stopped {
        let mut pass = Pass::new(store, side);
        let mut start = store.clock.monotonic();
        while pass.reap_page().unwrap_or(false) {
            let took = store.clock.monotonic().saturating_sub(start);
            if signal.wait(Some(took * REAP_REST)) == Woken::Stopped {
                return;
            }
            start = store.clock.monotonic();
        }
    }
}

fn events(store: &Store) {
    store.events.tell_until_stopped();
    // Who closes the store tells the rest. But an observer that did, in this thread, was being told.
    if store.closed.load(Ordering::Acquire) {
        store.events.tell();
    }
}

//! Group commit: one sync shared by all who wait for one.
//!
//! ```text
//! through(target):
//!     loop
//!         if synced >= target: done
//!         if a sync is running: wait until it is over, and look again
//!         else lead: note where the log ends; sync; everything up to there is synced; wake all
//! ```
//! The sync in flight is the window in which the next group gathers; there is no timer. Whoever leads notes the end of
//! the log after the sync before has returned, so each waits for two syncs at the most.

use std::time::Duration;

use crate::error::Result;
use crate::format::position::LogPosition;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::writer::Covered;

pub(crate) struct Syncer {
    /// How many bytes appended since the open are synced; a copy of `state.covered`, to be asked without the lock.
    synced: AtomicU64,
    /// Rank 3: taken alone or under the writer lock, for moments; no I/O happens under it.
    state: Mutex<State>,
    over: Condvar,
}

struct State {
    running: bool,
    covered: Covered,
}

impl Syncer {
    /// A syncer of a log whose records up to `position` are synced.
    pub(crate) fn new(position: LogPosition) -> Self {
        let covered = Covered { appended: 0, position };
        Self {
            synced: AtomicU64::new(0),
            state: Mutex::new(State { running: false, covered }),
            over: Condvar::new(),
        }
    }

    /// How many of the bytes appended since the open are synced.
    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// How far the last returned sync has covered the log.
    pub(crate) fn covered(&self) -> Covered {
        self.state().covered
    }

    /// Returns once `target` bytes are synced, leading a sync by `lead` if nobody else does. `check` is asked before
    /// each sync and each wait whether there is any sense in going on.
    pub(crate) fn through(
        &self,
        target: u64,
        check: impl Fn() -> Result<()>,
        lead: impl Fn() -> Result<Covered>,
    ) -> Result<()> {
        let mut state = self.state();
        while state.covered.appended < target {
            check()?;
            if state.running {
                state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            drop(state);
            // Whatever happens in the sync, the turn ends: others must not wait for ever.
            let turn = Turn(self);
            let led = lead();
            state = self.state();
            if let Ok(covered) = &led {
                state.covered = *covered;
                self.synced.store(covered.appended, Ordering::Release);
            }
            drop(state);
            drop(turn);
            led?;
            state = self.state();
        }
        Ok(())
    }

    /// Waits until more than the first `synced` bytes are synced, or somebody wakes all, at most this long.
    pub(crate) fn wait_behind(&self, synced: u64, limit: Duration) {
        let state = self.state();
        if state.covered.appended <= synced {
            let _ = self.over.wait_timeout(state, limit);
        }
    }

    /// Wakes all who wait, because the store is closed.
    pub(crate) fn wake(&self) {
        let _state = self.state();
        self.over.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to sync; given back when it is dropped.
struct Turn<'a>(&'a Syncer);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().running = false;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::format::position::FileId;

    /// Everybody arrives while the first sync is on its way: one more serves them all.
    #[test]
    fn those_who_wait_share_one_sync() {
        const COUNT: u64 = 16;
        let position = LogPosition { file: FileId::FIRST, offset: 0 };
        let syncer = Syncer::new(position);
        let (appended, syncs) = (AtomicU64::new(0), AtomicU64::new(0));
        let everybody_has_appended = Barrier::new(usize::try_from(COUNT).unwrap());
        let put = |is_first: bool| {
            let target = appended.fetch_add(1, Ordering::SeqCst) + 1;
            if !is_first {
                everybody_has_appended.wait();
            }
            let lead = || {
                let covered = Covered { appended: appended.load(Ordering::SeqCst), position };
                if syncs.fetch_add(1, Ordering::SeqCst) == 0 {
                    everybody_has_appended.wait();
                }
                Ok(covered)
            };
            syncer.through(target, || Ok(()), lead).unwrap();
            assert!(syncer.synced() >= target);
        };
        std::thread::scope(|scope| {
            let (is_leading, leads) = std::sync::mpsc::channel();
            let (put, appended) = (&put, &appended);
            scope.spawn(move || {
                is_leading.send(()).unwrap();
                put(true);
            });
            leads.recv().unwrap();
            while appended.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            for _ in 1..COUNT {
                scope.spawn(move || put(false));
            }
        });
        assert!(syncs.load(Ordering::SeqCst) <= 2, "{syncs:?} syncs for {COUNT} puts");
    }
}

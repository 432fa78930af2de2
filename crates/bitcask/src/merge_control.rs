//! Pausing, stopping and slowing merges down, and what they have learned about files.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::position::FileId;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by the merge in progress and by those who want something of it.
#[derive(Default)]
pub(crate) struct MergeControl {
    /// Taken alone, for moments; no I/O happens under it.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    paused: bool,
    stopped: bool,
    /// Count of those who wait for the merge in progress to end.
    interruptions: usize,
    /// Files that could not be read whole, and why.
    quarantined: BTreeMap<FileId, String>,
    /// Why the last merge ended early, if it did.
    failure: Option<String>,
}

impl State {
    fn must_end(&self) -> bool {
        self.stopped || self.interruptions > 0
    }
}

/// As long as it lives no merge goes on.
pub(crate) struct Interruption<'a>(&'a MergeControl);

impl Drop for Interruption<'_> {
    fn drop(&mut self) {
        self.0.state().interruptions -= 1;
    }
}

impl MergeControl {
    /// Ends the merge in progress, and all later ones.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Ends the merge in progress, and those that begin before the guard is dropped.
    pub(crate) fn interrupt(&self) -> Interruption<'_> {
        self.state().interruptions += 1;
        self.changed.notify_all();
        Interruption(self)
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.state().interruptions > 0
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.state().paused = paused;
        self.changed.notify_all();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Waits for `delay`, and as long as merges are paused. Whether the merge may go on then.
    pub(crate) fn wait(&self, delay: Duration) -> bool {
        let mut state = self.state();
        if !delay.is_zero() {
            let waited =
                self.changed.wait_timeout_while(state, delay, |state| !state.must_end() && !state.paused);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let waited = self.changed.wait_while(state, |state| state.paused && !state.must_end());
        !waited.unwrap_or_else(PoisonError::into_inner).must_end()
    }

    pub(crate) fn quarantine(&self, file: FileId, reason: String) {
        self.state().quarantined.insert(file, reason);
    }

    pub(crate) fn quarantined(&self) -> BTreeMap<FileId, String> {
        self.state().quarantined.clone()
    }

    pub(crate) fn set_failure(&self, failure: Option<String>) {
        self.state().failure = failure;
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads bytes over time.
pub(crate) struct Pace {
    bytes_per_second: u64,
    started: Duration,
    bytes: u64,
}

impl Pace {
    /// A pace that begins at `now` by the monotonic clock; 0 for no limit.
    pub(crate) fn new(bytes_per_second: u64, now: Duration) -> Self {
        Self { bytes_per_second, started: now, bytes: 0 }
    }

    /// How long to wait after these further bytes.
    pub(crate) fn delay_after(&mut self, bytes: u64, now: Duration) -> Duration {
        self.bytes += bytes;
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let due_us = u128::from(self.bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let due = self.started + Duration::from_micros(u64::try_from(due_us).unwrap_or(u64::MAX));
        due.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_held_over_time_whatever_the_steps() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(1_000, second);
        assert_eq!(pace.delay_after(500, second), second / 2);
        assert_eq!(pace.delay_after(500, second), second);
        assert_eq!(pace.delay_after(1_000, 2 * second), second);
        assert_eq!(pace.delay_after(0, 5 * second), Duration::ZERO);
        let mut unlimited = Pace::new(0, second);
        assert_eq!(unlimited.delay_after(u64::MAX, second), Duration::ZERO);
    }

    #[test]
    fn a_paused_merge_waits_until_it_is_resumed_and_a_stopped_one_ends() {
        let control = MergeControl::default();
        assert!(control.wait(Duration::ZERO));
        control.set_paused(true);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| control.wait(Duration::ZERO));
            control.set_paused(false);
            assert!(waiting.join().unwrap());
        });
        control.set_paused(true);
        let interruption = control.interrupt();
        assert!(!control.wait(Duration::from_secs(3600)));
        drop(interruption);
        control.stop();
        assert!(!control.wait(Duration::from_secs(3600)));
    }
}

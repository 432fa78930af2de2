//! Telling a thread that there is something to do, or that it should end.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, PoisonError};

/// Raised by many, waited for by one. Raising it again before it was taken costs one load.
#[derive(Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    /// Whether the waiter should end. The lock also orders `raised` against going to sleep.
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Raised,
    TimedOut,
    Stopped,
}

impl Signal {
    pub(crate) fn raise(&self) {
        if self.raised.load(Ordering::Relaxed) || self.raised.swap(true, Ordering::AcqRel) {
            return;
        }
        drop(self.stopped.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was raised; it is not any more.
    pub(crate) fn take(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }

    /// Waits until it is raised or stopped, or for `limit`.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Woken {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *stopped {
                return Woken::Stopped;
            }
            if self.take() {
                return Woken::Raised;
            }
            let Some(limit) = limit else {
                stopped = self.changed.wait(stopped).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (guard, waited) =
                self.changed.wait_timeout(stopped, limit).unwrap_or_else(PoisonError::into_inner);
            stopped = guard;
            if waited.timed_out() {
                return if *stopped {
                    Woken::Stopped
                } else if self.take() {
                    Woken::Raised
                } else {
                    Woken::TimedOut
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_before_the_wait_is_not_lost_and_stop_wins() {
        let signal = Signal::default();
        signal.raise();
        signal.raise();
        assert_eq!(signal.wait(None), Woken::Raised);
        assert_eq!(signal.wait(Some(Duration::from_millis(1))), Woken::TimedOut);
        signal.raise();
        signal.stop();
        assert_eq!(signal.wait(None), Woken::Stopped);
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let signal = Signal::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| signal.wait(None));
            signal.raise();
            assert_eq!(waiter.join().unwrap(), Woken::Raised);
        });
    }
}

//! A clock that stands still until a test moves it.

use crate::clock::Clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Both clocks of the engine, in the test's hand. The wall clock may be set to anything; the monotonic one only
/// goes forward.
pub(crate) struct SimClock {
    hands: Mutex<Hands>,
}

struct Hands {
    now_us: u64,
    monotonic: Duration,
    /// Added to both after every reading of either.
    step: Duration,
}

impl SimClock {
    /// A clock that shows `now_us` microseconds since 1970 and a monotonic time of 0, and stands still.
    pub(crate) fn new(now_us: u64) -> Self {
        Self { hands: Mutex::new(Hands { now_us, monotonic: Duration::ZERO, step: Duration::ZERO }) }
    }

    /// From now on every reading moves both clocks by `step`.
    pub(crate) fn step_each_reading(&self, step: Duration) {
        self.hands().step = step;
    }

    /// Time passes: both clocks move.
    pub(crate) fn advance(&self, by: Duration) {
        self.hands().advance(by);
    }

    /// Somebody sets the wall clock, forward or back; the monotonic one does not notice.
    pub(crate) fn set_now_us(&self, now_us: u64) {
        self.hands().now_us = now_us;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn advance(&mut self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.now_us = self.now_us.saturating_add(us);
        self.monotonic = self.monotonic.saturating_add(by);
    }

    fn advance_by_step(&mut self) {
        self.advance(self.step);
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        let mut hands = self.hands();
        let now_us = hands.now_us;
        hands.advance_by_step();
        now_us
    }

    fn monotonic(&self) -> Duration {
        let mut hands = self.hands();
        let monotonic = hands.monotonic;
        hands.advance_by_step();
        monotonic
    }
}

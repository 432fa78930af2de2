//! The seam to time: the wall clock, which may jump, and a monotonic one, which may not.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine reads the time. Nothing else in it asks the system.
pub(crate) trait Clock: Send + Sync {
    /// Microseconds since 1970 by the wall clock; 0 when it stands before 1970.
    fn now_us(&self) -> u64;

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the operating system.
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|elapsed| u64::try_from(elapsed.as_micros()).ok())
            .unwrap_or(0)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

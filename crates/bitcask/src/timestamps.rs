//! Where timestamps come from: the wall clock, made strictly increasing, and kept from running away.
//!
//! They order nothing that the log does not order already; they are what a record's version is called. A clock that
//! stands still or goes back is counted on by one; one that jumps far ahead is not followed, for the log could
//! never go back behind it.

use std::time::Duration;

use crate::clock::Clock;

/// The clock is not followed further ahead than this of what the monotonic clock makes plausible.
const JUMP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives out timestamps, in microseconds since 1970.
pub(crate) struct Timestamps {
    last: u64,
    /// A moment when wall clock and monotonic clock were believed together.
    believed_us: u64,
    believed_at: Duration,
}

impl Timestamps {
    /// Timestamps behind `last`. The wall clock of this moment is believed: there is nothing to hold it against.
    pub(crate) fn new(last: u64, clock: &dyn Clock) -> Self {
        Self { last, believed_us: clock.now_us().max(last), believed_at: clock.monotonic() }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The timestamp of the next commit: later than all before.
    pub(crate) fn next(&mut self, clock: &dyn Clock) -> u64 {
        let mut now = clock.now_us();
        let jump_max = u64::try_from(JUMP_MAX.as_micros()).unwrap_or(u64::MAX);
        if now > self.believed_us.saturating_add(jump_max) {
            // Either a day has passed since the last look at the monotonic clock, or the wall clock has jumped.
            let monotonic = clock.monotonic();
            let passed =
                u64::try_from(monotonic.saturating_sub(self.believed_at).as_micros()).unwrap_or(u64::MAX);
            let expected = self.believed_us.saturating_add(passed);
            if now > expected.saturating_add(jump_max) {
                now = expected;
            } else {
                (self.believed_us, self.believed_at) = (now, monotonic);
            }
        }
        planted!("records are ordered by the clock", self.last = now - 1);
        // At the end of all numbers, where only a forged record leads, it stays.
        self.last = now.max(self.last.saturating_add(1));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::sim::SimClock;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    /// Some moment in 2026, in microseconds.
    const NOW_US: u64 = 1_795_000_000_000_000;

    #[test]
    fn timestamps_ascend_whatever_the_clock_does() {
        let clock = SimClock::new(NOW_US);
        let mut timestamps = Timestamps::new(0, &clock);
        assert_eq!(timestamps.next(&clock), NOW_US);
        assert_eq!(timestamps.next(&clock), NOW_US + 1);
        clock.set_now_us(5);
        assert_eq!(timestamps.next(&clock), NOW_US + 2);
        clock.set_now_us(NOW_US + 100);
        assert_eq!(timestamps.next(&clock), NOW_US + 100);
    }

    #[test]
    fn timestamps_go_on_behind_those_of_an_earlier_run() {
        let clock = SimClock::new(NOW_US);
        let mut timestamps = Timestamps::new(NOW_US + 1_000, &clock);
        assert_eq!(timestamps.next(&clock), NOW_US + 1_001);
    }

    #[test]
    fn a_clock_that_jumps_more_than_a_day_ahead_is_not_followed() {
        let clock = SimClock::new(NOW_US);
        let mut timestamps = Timestamps::new(0, &clock);
        clock.set_now_us(2 * NOW_US);
        assert_eq!(timestamps.next(&clock), NOW_US);
        assert_eq!(timestamps.next(&clock), NOW_US + 1);
    }

    #[test]
    fn a_clock_that_really_ran_for_days_is_followed() {
        let clock = SimClock::new(NOW_US);
        let mut timestamps = Timestamps::new(0, &clock);
        for day in 1..=5 {
            clock.advance(24 * HOUR);
            let expected = NOW_US + day * u64::try_from((24 * HOUR).as_micros()).unwrap();
            assert_eq!(timestamps.next(&clock), expected, "day {day}");
        }
    }
}

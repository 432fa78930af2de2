//! When a value ceases to be: its expiry, in microseconds since 1970 by the wall clock.
//!
//! Expiry orders nothing. A record that has expired still stands in the log, and supersedes all older records of its key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// The end of the year 9999: what is shown of an expiry that the system's own times cannot express.
const FAR_S: u64 = 253_402_300_799;

/// How long a value is to live, as the caller says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifetime {
    #[default]
    Forever,
    For(Duration),
    Until(SystemTime),
}

impl Lifetime {
    /// The expiry of a value that is written now.
    pub(crate) fn expiry(self, clock: &dyn Clock) -> Option<u64> {
        match self {
            Self::Forever => None,
            Self::For(duration) => Some(clock.now_us().saturating_add(micros(duration))),
            Self::Until(time) => Some(time.duration_since(UNIX_EPOCH).map_or(0, micros)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a record with this expiry is no longer there.
pub(crate) fn has_expired(expiry: Option<u64>, clock: &dyn Clock) -> bool {
    expiry.is_some_and(|expiry| clock.now_us() >= expiry)
}

/// An expiry as a time of the system.
pub(crate) fn to_time(expiry: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(expiry)).unwrap_or(UNIX_EPOCH + Duration::from_secs(FAR_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::sim::SimClock;

    #[test]
    fn a_lifetime_becomes_an_expiry_and_what_no_record_can_hold_is_brought_into_range() {
        let clock = SimClock::new(5_000_000);
        assert_eq!(Lifetime::Forever.expiry(&clock), None);
        assert_eq!(Lifetime::For(Duration::from_secs(2)).expiry(&clock), Some(7_000_000));
        assert_eq!(Lifetime::For(Duration::ZERO).expiry(&clock), Some(5_000_000));
        assert_eq!(Lifetime::For(Duration::MAX).expiry(&clock), Some(u64::MAX));
        let until = |time| Lifetime::Until(time).expiry(&clock);
        assert_eq!(until(UNIX_EPOCH + Duration::from_nanos(1_999)), Some(1));
        assert_eq!(until(UNIX_EPOCH - Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn a_value_has_expired_from_its_expiry_on() {
        let clock = SimClock::new(100);
        assert!(!has_expired(None, &clock));
        assert!(!has_expired(Some(101), &clock));
        assert!(has_expired(Some(100), &clock));
        assert!(has_expired(Some(0), &SimClock::new(0)));
    }

    #[test]
    fn every_expiry_can_be_shown() {
        assert_eq!(to_time(1_500_000), UNIX_EPOCH + Duration::from_millis(1_500));
        assert!(to_time(u64::MAX) > to_time(0));
    }
}

//! When dead bytes are worth a merge, and how much of the machine a merge may take.

use std::time::Duration;

use crate::error::{Error, Result};

/// When merges run by themselves. An explicit merge runs at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergePolicy {
    /// Whenever a trigger is reached.
    Always,
    /// Never.
    Never,
    /// In these hours of the day in UTC, both included: 22 to 4 is the night from 22:00 until 4:59.
    Hours {
        /// The first hour, 0 to 23.
        first: u8,
        /// The last hour, 0 to 23.
        last: u8,
    },
}

/// When dead bytes are worth a merge, and how much of the machine a merge may take.
///
/// Nothing is merged until one immutable file reaches a *trigger*. Then every immutable file that reaches a *threshold* is,
/// together with small neighbours. The names are those of Riak's schema; sizes are scaled to the default size of a
/// data file here, an eighth of theirs. See [`crate::FileStatus::merge`] for what this means for each file.
///
/// ```
/// use bitcask::{MergeOptions, MergePolicy, Options};
/// let nightly = MergeOptions::new().policy(MergePolicy::Hours { first: 1, last: 4 }).rate(32 << 20);
/// let options = Options::new().merge(nightly);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeOptions {
    pub(crate) policy: MergePolicy,
    pub(crate) check_interval: Duration,
    pub(crate) fragmentation_trigger: u8,
    pub(crate) dead_bytes_trigger: u64,
    pub(crate) fragmentation_threshold: u8,
    pub(crate) dead_bytes_threshold: u64,
    pub(crate) small_file_threshold: u64,
    pub(crate) rate: u64,
    pub(crate) keep_changes_for: Duration,
    pub(crate) keep_changes_bytes: u64,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            policy: MergePolicy::Always,
            check_interval: Duration::from_secs(3 * 60),
            fragmentation_trigger: 60,
            dead_bytes_trigger: 64 << 20,
            fragmentation_threshold: 40,
            dead_bytes_threshold: 16 << 20,
            small_file_threshold: 10 << 20,
            rate: 0,
            keep_changes_for: Duration::ZERO,
            keep_changes_bytes: 0,
        }
    }
}

impl MergeOptions {
    /// The defaults: always, triggers at 60 % or 64 MiB of a file dead, no limit to the rate.
    pub fn new() -> Self {
        Self::default()
    }

    /// When merges run by themselves. Default: [`MergePolicy::Always`].
    pub fn policy(mut self, policy: MergePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait before looking again whether a merge is worth it. Default 3 minutes. A file that was just
    /// completed is looked at earlier.
    pub fn check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval;
        self
    }

    /// The share of a file's keys or of its bytes, in percent, that must be dead to trigger a merge. Default 60.
    pub fn fragmentation_trigger(mut self, percent: u8) -> Self {
        self.fragmentation_trigger = percent;
        self
    }

    /// How many bytes of a file must be dead to trigger a merge. Default 64 MiB.
    pub fn dead_bytes_trigger(mut self, bytes: u64) -> Self {
        self.dead_bytes_trigger = bytes;
        self
    }

    /// The share of a file's keys or of its bytes, in percent, from which a file takes part in a merge. Default 40.
    pub fn fragmentation_threshold(mut self, percent: u8) -> Self {
        self.fragmentation_threshold = percent;
        self
    }

    /// The dead bytes from which a file takes part in a merge. Default 16 MiB.
    pub fn dead_bytes_threshold(mut self, bytes: u64) -> Self {
        self.dead_bytes_threshold = bytes;
        self
    }

    /// A file smaller than this takes part in the merge of its neighbours, so that small files are joined. Default
    /// 10 MiB.
    pub fn small_file_threshold(mut self, bytes: u64) -> Self {
        self.small_file_threshold = bytes;
        self
    }

    /// How many bytes a second merges may read and write, both counted; 0 for no limit, the default.
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = bytes_per_second;
        self
    }

    /// Keeps files that were written to within this time as they are, so that
    /// [`Bitcask::changes`](crate::Bitcask::changes) can go back as far. Their dead bytes stay meanwhile, also in an explicit merge. Default
    /// zero: changes are kept as long as no merge is worth it.
    pub fn keep_changes_for(mut self, duration: Duration) -> Self {
        self.keep_changes_for = duration;
        self
    }

    /// Keeps as many of the last bytes of the log, in whole files, as [`MergeOptions::keep_changes_for`] does. Default 0.
    /// Where both are given, what either keeps is kept.
    pub fn keep_changes_bytes(mut self, bytes: u64) -> Self {
        self.keep_changes_bytes = bytes;
        self
    }

    pub(crate) fn keeps_changes(&self) -> bool {
        self.keep_changes_bytes > 0 || !self.keep_changes_for.is_zero()
    }

    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::InvalidOptions { reason });
        let percents = [
            ("fragmentation_trigger", self.fragmentation_trigger),
            ("fragmentation_threshold", self.fragmentation_threshold),
        ];
        for (name, percent) in percents {
            if !(1..=100).contains(&percent) {
                return refuse(format!("{name} is 1 to 100 percent, not {percent}"));
            }
        }
        if self.fragmentation_threshold > self.fragmentation_trigger {
            return refuse(format!(
                "fragmentation_threshold ({}) is above fragmentation_trigger ({}): a file would trigger a merge that leaves it out",
                self.fragmentation_threshold, self.fragmentation_trigger
            ));
        }
        if self.dead_bytes_threshold > self.dead_bytes_trigger {
            return refuse(format!(
                "dead_bytes_threshold ({}) is above dead_bytes_trigger ({}): a file would trigger a merge that leaves it out",
                self.dead_bytes_threshold, self.dead_bytes_trigger
            ));
        }
        if self.dead_bytes_trigger == 0 || self.dead_bytes_threshold == 0 {
            return refuse(
                "a trigger or threshold of 0 dead bytes: every file would be merged for ever".to_owned(),
            );
        }
        if self.check_interval.is_zero() {
            return refuse("a check_interval of zero: use at least a second".to_owned());
        }
        if let MergePolicy::Hours { first, last } = self.policy
            && (first > 23 || last > 23)
        {
            return refuse(format!("the hours of the merge policy are 0 to 23, not {first} to {last}"));
        }
        Ok(())
    }

    /// Whether a merge may begin by itself at this time, in microseconds since 1970.
    pub(crate) fn allows(&self, now_us: u64) -> bool {
        const HOUR_US: u64 = 3_600_000_000;
        match self.policy {
            MergePolicy::Always => true,
            MergePolicy::Never => false,
            MergePolicy::Hours { first, last } => {
                let hour = u8::try_from(now_us / HOUR_US % 24).unwrap_or(0);
                if first <= last { (first..=last).contains(&hour) } else { hour >= first || hour <= last }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_by_name() {
        let refused = |options: MergeOptions| options.check().unwrap_err().to_string();
        assert!(refused(MergeOptions::new().fragmentation_trigger(101)).contains("fragmentation_trigger"));
        assert!(refused(MergeOptions::new().fragmentation_threshold(0)).contains("fragmentation_threshold"));
        assert!(
            refused(MergeOptions::new().fragmentation_threshold(61)).contains("above fragmentation_trigger")
        );
        assert!(
            refused(MergeOptions::new().dead_bytes_threshold(1 << 40)).contains("above dead_bytes_trigger")
        );
        assert!(refused(MergeOptions::new().dead_bytes_threshold(0)).contains("0 dead bytes"));
        assert!(refused(MergeOptions::new().check_interval(Duration::ZERO)).contains("check_interval"));
        let hours = |first, last| MergeOptions::new().policy(MergePolicy::Hours { first, last });
        assert!(refused(hours(0, 24)).contains("0 to 23"));
        MergeOptions::new().check().unwrap();
        hours(22, 4).check().unwrap();
    }

    #[test]
    fn hours_may_go_over_midnight() {
        let at = |hour: u64| hour * 3_600_000_000 + 7 * 24 * 3_600_000_000;
        let hours = |first, last| MergeOptions::new().policy(MergePolicy::Hours { first, last });
        let allowed =
            |options: &MergeOptions| (0..24).filter(|&hour| options.allows(at(hour))).collect::<Vec<_>>();
        assert_eq!(allowed(&hours(1, 4)), [1, 2, 3, 4]);
        assert_eq!(allowed(&hours(22, 1)), [0, 1, 22, 23]);
        assert_eq!(allowed(&hours(5, 5)), [5]);
        assert!(allowed(&MergeOptions::new().policy(MergePolicy::Never)).is_empty());
        assert_eq!(allowed(&MergeOptions::new()).len(), 24);
    }
}

//! A store that does what a short story says, for the tests that tell how a rule could be broken.

use std::sync::Arc;

use super::harness;
use super::model::Map;
use super::ways::Way;
use crate::expiry::to_time;
use crate::vfs::sim::{CrashModel, SimClock, SimDisk};
use crate::{Bitcask, Durability, LogFormat, MergeOptions, MergePolicy, MergeReport, Options, PutOptions};

pub(super) const NOW_US: u64 = 1_800_000_000_000_000;
pub(super) const HOUR_US: u64 = 3_600_000_000;

/// A store that is merged, rotated and cut as a story says.
pub(super) struct Story {
    pub(super) disk: SimDisk,
    pub(super) clock: Arc<SimClock>,
    format: LogFormat,
    pub(super) db: Option<Bitcask>,
}

impl Story {
    pub(super) fn new(way: Way) -> Self {
        let clock = Arc::new(SimClock::new(NOW_US));
        let mut story = Self { disk: way.disk(), clock, format: way.format, db: None };
        story.open();
        story
    }

    pub(super) fn open(&mut self) {
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        let options = Options::new().format(self.format).durability(Durability::Os).merge(merge);
        self.db = Some(harness::open(&self.disk, &self.clock, &options).unwrap());
    }

    pub(super) fn db(&self) -> &Bitcask {
        self.db.as_ref().unwrap()
    }

    pub(super) fn put(&self, key: &str, value: &str) {
        self.db().put(key, value).unwrap();
    }

    pub(super) fn put_until(&self, key: &str, value: &str, expiry: u64) {
        self.db().put_with(key, value, &PutOptions::new().expires_at(to_time(expiry))).unwrap();
    }

    /// Deletes a key that is there.
    pub(super) fn delete(&self, key: &str) {
        assert!(self.db().delete(key).unwrap());
    }

    pub(super) fn rotate(&self) {
        self.db().rotate().unwrap();
    }

    pub(super) fn merge(&self, run: std::ops::Range<usize>) -> MergeReport {
        let report = self.db().merge_chosen(|count| {
            assert!(run.end <= count, "{run:?} of {count}");
            run
        });
        report.unwrap()
    }

    /// Loses all that is not synced, and opens again.
    pub(super) fn lose_power(&mut self) {
        self.disk = self.disk.crash(7, CrashModel::Clean);
        self.db = None;
        self.open();
    }

    pub(super) fn reopen(&mut self) {
        self.db().close().unwrap();
        self.db = None;
        self.open();
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.db().get(key).unwrap().map(|value| String::from_utf8(value.into_vec()).unwrap())
    }

    /// The state is this, now and after opening again.
    pub(super) fn holds(&mut self, expected: &[(&str, &str)]) {
        for when in ["before", "after"] {
            let map = Map::of(self.db());
            for (key, value) in expected {
                assert_eq!(self.get(key).as_deref(), Some(*value), "{key}, {when} opening again");
            }
            assert_eq!(map.len(), expected.len(), "{map:?}, {when} opening again");
            self.reopen();
        }
        harness::check_sound(&self.disk);
    }
}

pub(super) fn in_every_way(tell: impl Fn(Story)) {
    for way in Way::ALL {
        tell(Story::new(way));
    }
}

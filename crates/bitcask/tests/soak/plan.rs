//! How large the soak is, and with which options its store is opened.

use std::ops::Range;
use std::time::Duration;

use bitcask::{Durability, MergeOptions, Options};
use bitcask_testing::Tier;

/// Count of the worker's threads. Each writes keys of its own, so what a key has is up to one thread.
pub(crate) const THREADS: u64 = 2;

pub(crate) struct Plan {
    /// Size of the file system.
    pub(crate) disk_bytes: u64,
    pub(crate) keys: u64,
    pub(crate) max_file_size: u64,
    /// How long lives go on that are killed, all together.
    pub(crate) killed: Duration,
    /// How long one of them lasts, in milliseconds.
    pub(crate) life_ms: Range<u64>,
    pub(crate) lives_at_least: u64,
    /// How long the last life lasts, which is not killed.
    pub(crate) last_life: Duration,
    pub(crate) sample_every: Duration,
}

impl Plan {
    pub(crate) fn new() -> Self {
        Tier::pick(
            Self {
                disk_bytes: 64 << 20,
                keys: 12_000,
                max_file_size: 1 << 20,
                killed: Duration::from_secs(11),
                life_ms: 1_200..2_400,
                lives_at_least: 5,
                last_life: Duration::from_secs(3),
                sample_every: Duration::from_millis(30),
            },
            Self {
                disk_bytes: 1 << 30,
                keys: 200_000,
                max_file_size: 16 << 20,
                killed: Duration::from_secs(24 * 60),
                life_ms: 30_000..120_000,
                lives_at_least: 12,
                last_life: Duration::from_secs(6 * 60),
                sample_every: Duration::from_secs(1),
            },
            Self {
                disk_bytes: 4 << 30,
                keys: 800_000,
                max_file_size: 64 << 20,
                killed: Duration::from_secs(20 * 3600),
                life_ms: 30_000..120_000,
                lives_at_least: 600,
                last_life: Duration::from_secs(4 * 3600),
                sample_every: Duration::from_secs(2),
            },
        )
    }

    /// Three fifths of the disk for the store at most, so that it meets this limit too; merges look again after moments.
    pub(crate) fn options(&self) -> Options {
        let merge = MergeOptions::new().check_interval(self.sample_every * 4);
        Options::new()
            .durability(Durability::Interval(Duration::from_millis(200)))
            .max_file_size(self.max_file_size)
            .max_store_bytes(self.disk_bytes / 5 * 3)
            .merge(merge)
    }
}

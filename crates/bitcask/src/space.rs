//! How much a store may write: what is set aside, of a limit and of the disk, so that deletes and a merge always fit.
//!
//! ```text
//! 0            used                                              limit
//! |#############|...........|tttttttttttt|mmmmmmmmmmmmmmmmmmmmmmmm|
//!                puts end here            deletes end here
//!     t: tombstones, a sixteenth of the limit
//!     m: the output of a merge: as long as the longest data file, or max_file_size
//! ```
//! Bytes are those of data files as they are on the disk, without what is only allocated ahead. A merge takes at most
//! what is free when it begins, and puts leave that alone while it goes on. A store may be opened above its limit;
//! then it takes deletes and merges file by file.
//!
//! The disk is measured as the log grows, not at each write: the next time when half of what puts may still take is
//! written. Whoever is refused measures it again, so puts go on by themselves once there is room.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::format::record::Kind;
use crate::options::Options;
use crate::vfs::DiskSpace;

/// A put leaves one part in this many of the limit to tombstones.
const TOMBSTONES: u64 = 16;
/// The bytes that any file has of its own, and what opens, closes and rotations write without asking, are less than this.
const SLACK: u64 = 1024;
/// How many bytes are written at most before the disk is measured again.
const MEASURE_AFTER: u64 = 16 << 20;

/// Lives under the writer lock.
pub(crate) struct Space {
    /// Bytes of data files; `u64::MAX` where there is no limit.
    limit: u64,
    /// `None` for the default.
    reserve: Option<u64>,
    max_file_size: u64,
    /// Bytes of all data files but the output of the merge in progress.
    used: u64,
    /// Bytes of the longest of them.
    longest: u64,
    /// What the merge in progress may need.
    merging: u64,
    /// What deletes may not exceed, less what a merge needs: the limit, or more in a store that was opened above it.
    deletes_end: u64,
    /// Whether a put was refused for the limit since this was asked last.
    was_refused: bool,
    /// What the disk had left when it was measured last and found too full for puts, and what is set aside.
    low_disk: Option<(u64, u64)>,
    /// How many bytes of the log are written when the disk is to be measured again.
    measure_at: u64,
}

/// The bytes that a data file takes, or will take once it has a footer.
pub(crate) fn space_of(file: &DataFile) -> u64 {
    file.data_len() + file.codec().log_record_max() as u64
}

impl Space {
    /// Of a store that has these files.
    pub(crate) fn new(options: &Options, files: &[Arc<DataFile>]) -> Self {
        let mut space = Self {
            limit: options.max_store_bytes.unwrap_or(u64::MAX),
            reserve: options.space_reserve,
            max_file_size: options.max_file_size,
            used: 0,
            longest: 0,
            merging: 0,
            deletes_end: 0,
            was_refused: false,
            low_disk: None,
            measure_at: if options.space_reserve == Some(0) { u64::MAX } else { 0 },
        };
        space.recount(files);
        let tombstones_end =
            space.used.saturating_add(space.for_tombstones()).saturating_add(space.for_merge(0));
        space.deletes_end = space.limit.max(tombstones_end);
        space
    }

    /// The store has these files now.
    pub(crate) fn recount(&mut self, files: &[Arc<DataFile>]) {
        self.used = files.iter().map(|file| space_of(file)).sum();
        self.longest = files.iter().map(|file| space_of(file)).max().unwrap_or(0);
    }

    /// The active file has become longer by this, and is this long now.
    pub(crate) fn grow(&mut self, by: u64, file_len: u64) {
        self.used += by;
        self.longest = self.longest.max(file_len + SLACK / 2);
    }

    /// The store has this file as well.
    pub(crate) fn add(&mut self, file: &DataFile) {
        self.used += space_of(file);
    }

    /// Refuses a write of so many bytes that would take what is set aside for others.
    pub(crate) fn admit(&mut self, kind: Kind, len: u64) -> Result<()> {
        if self.limit == u64::MAX {
            return Ok(());
        }
        let (end, more) = match kind {
            Kind::Tombstone => (self.deletes_end, self.for_merge(len)),
            _ => (self.limit, self.for_merge(len).saturating_add(self.for_tombstones())),
        };
        if self.used.saturating_add(len).saturating_add(more) <= end {
            return Ok(());
        }
        self.was_refused = true;
        Err(Error::StoreFull { used: self.used, limit: self.limit })
    }

    /// Whether a write was refused for the limit since this was asked last.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.was_refused)
    }

    /// What a merge may need at most that begins now.
    pub(crate) fn for_output(&self) -> u64 {
        self.limit.saturating_sub(self.used).saturating_sub(SLACK)
    }

    /// Sets aside what a merge of these files may need. False when that is not there, for puts have come since it was planned;
    /// one file alone may always be merged.
    pub(crate) fn begin_merge(&mut self, inputs: &[Arc<DataFile>]) -> bool {
        let needed: u64 = inputs.iter().map(|input| space_of(input)).sum();
        let fits = inputs.len() <= 1 || needed <= self.for_output();
        if fits {
            self.merging = needed;
        }
        fits
    }

    /// The merge has ended, and the store has these files now.
    pub(crate) fn end_merge(&mut self, files: &[Arc<DataFile>]) {
        self.merging = 0;
        self.recount(files);
    }

    /// What is to be left for a merge when the longest file may be one of `len` bytes.
    fn for_merge(&self, len: u64) -> u64 {
        self.max_file_size.max(self.longest).max(len).max(self.merging).saturating_add(SLACK)
    }

    fn for_tombstones(&self) -> u64 {
        self.limit / TOMBSTONES
    }

    /// Refuses a put while the disk is too full for it, as it was measured last.
    pub(crate) fn admit_to_disk(&self) -> Result<()> {
        match self.low_disk {
            Some((free, reserve)) => Err(Error::DiskNearlyFull { free, reserve }),
            None => Ok(()),
        }
    }

    /// Whether the disk should be measured, when so many bytes of the log are written.
    pub(crate) fn wants_measure(&self, appended: u64) -> bool {
        appended >= self.measure_at
    }

    /// The disk has this much left, when so many bytes of the log are written.
    pub(crate) fn measured(&mut self, disk: DiskSpace, appended: u64) {
        let default = self.max_file_size.min(disk.total / 20);
        let reserve = self.reserve.unwrap_or(default);
        let left = disk.free.saturating_sub(reserve);
        self.low_disk = (disk.free < reserve).then_some((disk.free, reserve));
        self.measure_at = appended + (left / 2).min(MEASURE_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn space(options: Options, used: u64) -> Space {
        let mut space = Space::new(&options, &[]);
        space.used = used;
        space
    }

    #[test]
    fn puts_end_before_deletes_and_deletes_before_what_a_merge_needs() {
        let options = Options::new().max_file_size(16 * MIB).max_store_bytes(160 * MIB);
        let admits = |used: u64, kind: Kind| space(options.clone(), used).admit(kind, 1000).is_ok();
        assert!(admits(133 * MIB, Kind::Value) && !admits(134 * MIB, Kind::Value));
        assert!(admits(143 * MIB, Kind::Tombstone) && !admits(144 * MIB, Kind::Tombstone));
        // One of a record that is longer than a file should be.
        assert!(space(options.clone(), 40 * MIB).admit(Kind::Value, 50 * MIB).is_ok());
        assert!(space(options.clone(), 60 * MIB).admit(Kind::Value, 50 * MIB).is_err());
        let unlimited = Options::new().max_file_size(16 * MIB);
        assert!(space(unlimited, u64::MAX - 1).admit(Kind::Value, u64::MAX).is_ok());
    }

    #[test]
    fn the_disk_is_measured_the_more_often_the_fuller_it_is() {
        let mut space = space(Options::new().space_reserve(10 * MIB), 0);
        let disk = |free| DiskSpace { free, total: 1000 * MIB };
        assert!(space.wants_measure(0));
        space.measured(disk(500 * MIB), 0);
        assert!(!space.wants_measure(16 * MIB - 1) && space.wants_measure(16 * MIB));
        space.measured(disk(14 * MIB), 0);
        assert!(!space.wants_measure(2 * MIB - 1) && space.wants_measure(2 * MIB));
        assert!(space.admit_to_disk().is_ok());
        space.measured(disk(10 * MIB - 1), 0);
        assert!(matches!(space.admit_to_disk(), Err(Error::DiskNearlyFull { .. })));
        space.measured(disk(10 * MIB), 0);
        assert!(space.admit_to_disk().is_ok());
    }

    #[test]
    fn by_default_one_file_is_set_aside_but_no_more_than_a_twentieth_of_the_disk() {
        let low = |free: u64, total: u64| {
            let mut space = space(Options::new().max_file_size(16 * MIB), 0);
            space.measured(DiskSpace { free, total }, 0);
            space.admit_to_disk().is_err()
        };
        assert!(low(15 * MIB, 1000 * MIB) && !low(16 * MIB, 1000 * MIB));
        assert!(low(MIB - 1, 20 * MIB) && !low(MIB, 20 * MIB));
    }
}

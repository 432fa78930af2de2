//! One file without its name: what is on the disk, what the cache shows, and the changes that lie between.
//!
//! Invariants:
//! - `current` is `durable` with `pending` applied in order, unless a sync failed: that drops the pending changes from
//!   the list but leaves them in `current`, as Linux does, which marks the pages clean.
//! - `allocated <= current.len()`; a write below `allocated` needs no space.

use super::image::Image;
use super::to_u64;
use std::ops::Range;
use std::sync::Arc;

/// A change that no sync has covered.
#[derive(Clone)]
pub(super) struct Pending {
    /// Its place among all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: Change,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
}

impl Change {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Self::Write { offset, bytes } => image.write(bytes, *offset),
            Self::SetLen(len) => image.set_len(*len),
        }
    }

    /// The length of a file of `len` bytes after this change.
    pub(super) fn len_after(&self, len: u64) -> u64 {
        match self {
            Self::Write { offset, bytes } => len.max(offset + to_u64(bytes.len())),
            Self::SetLen(len) => *len,
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) durable: Image,
    pub(super) current: Image,
    pub(super) pending: Vec<Pending>,
    /// The bytes that take up space on the disk, counted from the start of the file.
    pub(super) allocated: u64,
    /// Where the bytes end that were ever durably written; what follows is fresh space. A torn write can leave garbage
    /// in fresh space only: a disk that rewrites a sector leaves the old bytes or the new ones.
    pub(super) written_end: u64,
    /// Whether a failed sync left bytes in `current` that are neither durable nor pending.
    pub(super) has_lost_writes: bool,
    /// Whether a test cut the file behind the engine's back, so that a map of it may fault.
    pub(super) was_cut: bool,
    /// Whether it is a link, a pipe, a device or a directory instead of a regular file.
    pub(super) is_special: bool,
}

impl Inode {
    /// A file whose bytes are all durable.
    pub(super) fn settled(image: Image) -> Self {
        let len = image.len();
        Self { durable: image.clone(), current: image, allocated: len, written_end: len, ..Self::default() }
    }

    /// Whether no crash changes anything.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && !self.has_lost_writes
    }

    /// This file after a crash that left `image` of it.
    pub(super) fn settled_as(&self, image: Image) -> Self {
        let pending_ends = self.pending.iter().map(|pending| match &pending.change {
            Change::Write { offset, bytes } => offset + to_u64(bytes.len()),
            Change::SetLen(_) => 0,
        });
        let written_end = pending_ends.fold(self.written_end, u64::max).min(image.len());
        Self { written_end, is_special: self.is_special, ..Self::settled(image) }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64, sequence: u64) {
        self.current.write(bytes, offset);
        self.allocated = self.allocated.max(offset + to_u64(bytes.len()));
        self.pending.push(Pending { sequence, change: Change::Write { offset, bytes: bytes.into() } });
    }

    pub(super) fn set_len(&mut self, len: u64, sequence: u64) {
        if len == self.current.len() {
            return;
        }
        self.current.set_len(len);
        self.allocated = self.allocated.min(len);
        self.pending.push(Pending { sequence, change: Change::SetLen(len) });
    }

    pub(super) fn allocate(&mut self, len: u64, sequence: u64) {
        if len > self.current.len() {
            self.set_len(len, sequence);
        }
        self.allocated = self.allocated.max(len);
    }

    /// A sync that works.
    pub(super) fn sync(&mut self) {
        for Pending { change, .. } in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
            self.written_end = match change {
                Change::Write { offset, bytes } => self.written_end.max(offset + to_u64(bytes.len())),
                Change::SetLen(len) => self.written_end.min(len),
            };
        }
    }

    /// A sync that fails: the pages count as clean although they never reached the disk.
    pub(super) fn lose_pending(&mut self) {
        self.has_lost_writes |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// Every length that the file has had since it was last durable, in order; the durable one is the first.
    pub(super) fn lens(&self) -> impl Iterator<Item = u64> {
        let steps = self.pending.iter().scan(self.durable.len(), |len, pending| {
            *len = pending.change.len_after(*len);
            Some(*len)
        });
        std::iter::once(self.durable.len()).chain(steps)
    }

    /// Whether the bytes of `range`, as they read now, survive every crash.
    pub(super) fn is_durable(&self, range: Range<u64>) -> bool {
        if range.end > self.current.len() || self.lens().any(|len| len < range.end) {
            return false;
        }
        let same = |image: &Image, range: &Range<u64>| {
            let mut wanted = vec![0; super::to_usize(range.end.saturating_sub(range.start))];
            let mut found = wanted.clone();
            self.current.read(&mut wanted, range.start);
            image.read(&mut found, range.start);
            wanted == found
        };
        let mut history = self.durable.clone();
        same(&history, &range)
            && self.pending.iter().all(|pending| {
                pending.change.apply(&mut history);
                same(&history, &range)
            })
    }
}

//! Older versions of keys that a snapshot still sees: where their records lie.
//!
//! A snapshot is a timestamp. It sees of each key the newest record up to it. The keydir leads to the newest of all; when a
//! write replaces or removes an entry while snapshots live, the old location is kept here first.
//!
//! Invariants:
//! - A version is kept under the lock of its shard and before the keydir changes, so who asks the keydir first and
//!   the versions second misses none.
//! - Of one key they ascend. The first that was superseded after a snapshot's timestamp is the one it sees, if its record is
//!   not newer than the snapshot itself: then the key had none.
//! - What no snapshot sees is not kept.
//!
//! A clear supersedes all entries at once. They are kept as they are, as a whole, together with their files, which are
//! no part of the store any more.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use crate::file::data_file::DataFile;
use crate::keydir::{Digest, Taken};
use crate::location::{Location, Slot};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct Versions {
    /// Count of snapshots; changes under the writer lock, as the keydir does.
    snapshots: AtomicUsize,
    /// Rank 7: taken alone or under the lock of a shard, for moments.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Timestamps of the snapshots, and how many have each.
    taken: BTreeMap<u64, usize>,
    older: BTreeMap<Digest, Vec<Version>>,
    /// What clears have taken away, oldest first.
    cleared: Vec<Cleared>,
}

struct Cleared {
    entries: Taken,
    /// Held, so that their slots are not used again.
    files: Vec<Arc<DataFile>>,
    /// The timestamp of the clear.
    at: u64,
}

#[derive(Clone, Copy)]
struct Version {
    location: Location,
    /// The timestamp of the record that superseded it.
    superseded_at: u64,
}

impl Versions {
    /// Begins to keep what a snapshot at `timestamp` sees. Under the writer lock, where there is one.
    pub(crate) fn take(&self, timestamp: u64) {
        *self.state().taken.entry(timestamp).or_default() += 1;
        self.snapshots.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends that. Whether it was the last snapshot.
    pub(crate) fn release(&self, timestamp: u64) -> bool {
        let mut state = self.state();
        if let Entry::Occupied(mut count) = state.taken.entry(timestamp) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.snapshots.fetch_sub(1, Ordering::AcqRel);
        let oldest = state.taken.keys().next().copied();
        // Large, perhaps: let go of when others need not wait any more.
        let unseen: Vec<Cleared> = state
            .cleared
            .extract_if(.., |cleared| oldest.is_none_or(|oldest| cleared.at <= oldest))
            .collect();
        match oldest {
            None => state.older.clear(),
            Some(oldest) if oldest > timestamp => state.older.retain(|_, versions| {
                versions.retain(|version| version.superseded_at > oldest);
                !versions.is_empty()
            }),
            Some(_) => {}
        }
        drop(state);
        drop(unseen);
        oldest.is_none()
    }

    /// Whether there is any snapshot.
    pub(crate) fn any_snapshot(&self) -> bool {
        self.snapshots.load(Ordering::Acquire) > 0
    }

    /// The timestamp of the oldest snapshot.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.state().taken.keys().next().copied()
    }

    /// Keeps the location that a record with this timestamp is about to supersede, if a snapshot may see it.
    pub(crate) fn keep(&self, digest: Digest, location: Location, superseded_at: u64) {
        let mut state = self.state();
        let Some(newest) = state.taken.keys().next_back().copied() else { return };
        let versions = state.older.entry(digest).or_default();
        // What was written after the newest snapshot nobody sees.
        if versions.last().is_none_or(|last| last.superseded_at <= newest) {
            versions.push(Version { location, superseded_at });
        }
    }

    /// Keeps all entries that a clear takes away, and their files, if there is any snapshot; gives them back otherwise.
    /// Under the locks of all shards.
    pub(crate) fn keep_all(&self, entries: Taken, files: Vec<Arc<DataFile>>, at: u64) -> Option<Taken> {
        let mut state = self.state();
        if state.taken.is_empty() {
            return Some(entries);
        }
        state.cleared.push(Cleared { entries, files, at });
        None
    }

    /// A file that a clear has taken away, by its slot.
    pub(crate) fn file(&self, slot: Slot) -> Option<Arc<DataFile>> {
        let state = self.state();
        let mut files = state.cleared.iter().flat_map(|cleared| &cleared.files);
        files.find(|file| file.slot() == slot).cloned()
    }

    /// The version that a snapshot at `timestamp` sees, if it is an older one and its record is not newer than that.
    pub(crate) fn older(&self, digest: Digest, timestamp: u64) -> Option<Location> {
        if !self.any_snapshot() {
            return None;
        }
        let state = self.state();
        let versions = state.older.get(&digest).map_or(&[][..], Vec::as_slice);
        let version = versions.iter().find(|version| version.superseded_at > timestamp);
        // The first thing after the snapshot counts: the write that superseded this version, or a clear.
        let is_first = |cleared: &&Cleared| {
            cleared.at > timestamp && version.is_none_or(|version| cleared.at < version.superseded_at)
        };
        let cleared = state.cleared.iter().find(is_first).and_then(|cleared| cleared.entries.get(digest));
        cleared.or_else(|| version.map(|version| version.location))
    }

    /// Appends the digests from `from` on and before `end` that have older versions, with one of their locations: of each
    /// clear at most `limit`. Returns where that ends: at `end` or before it.
    pub(crate) fn page(
        &self,
        from: Digest,
        mut end: Option<Digest>,
        limit: usize,
        out: &mut Vec<(Digest, Location)>,
    ) -> Option<Digest> {
        if !self.any_snapshot() {
            return end;
        }
        let state = self.state();
        for cleared in &state.cleared {
            let next = cleared.entries.page(from, limit, out);
            end = end.into_iter().chain(next).min();
        }
        let versions =
            state.older.range((Bound::Included(from), end.map_or(Bound::Unbounded, Bound::Excluded)));
        out.extend(versions.filter_map(|(&digest, versions)| Some((digest, versions.first()?.location))));
        end
    }

    /// Whether a snapshot may see the record at `location`.
    pub(crate) fn sees(&self, digest: Digest, location: Location) -> bool {
        self.any_snapshot()
            && self
                .state()
                .older
                .get(&digest)
                .is_some_and(|versions| versions.iter().any(|version| version.location == location))
    }

    /// Exchanges the locations of one key's older versions for those that `moved` gives. Under the lock of its shard.
    pub(crate) fn relocate(&self, digest: Digest, moved: impl Fn(Location) -> Option<Location>) {
        if let Some(versions) = self.state().older.get_mut(&digest) {
            for version in versions {
                version.location = moved(version.location).unwrap_or(version.location);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keydir::Keydir;

    fn digest() -> Digest {
        Digest::from_cursor(7 << 32)
    }

    fn at(bits: u64) -> Location {
        Location::from_bits(bits).unwrap()
    }

    #[test]
    fn each_snapshot_sees_the_first_version_that_was_superseded_after_it() {
        let versions = Versions::default();
        versions.take(10);
        versions.keep(digest(), at(1), 11);
        versions.take(12);
        versions.keep(digest(), at(2), 13);
        assert_eq!(versions.older(digest(), 10), Some(at(1)));
        assert_eq!(versions.older(digest(), 12), Some(at(2)));
        assert_eq!(versions.older(digest(), 13), None);
        assert!(versions.sees(digest(), at(1)) && !versions.sees(digest(), at(3)));
    }

    #[test]
    fn what_no_snapshot_sees_is_not_kept() {
        let versions = Versions::default();
        versions.keep(digest(), at(1), 5);
        versions.take(10);
        assert!(!versions.sees(digest(), at(1)));
        versions.keep(digest(), at(2), 11);
        versions.keep(digest(), at(3), 12);
        assert!(versions.sees(digest(), at(2)) && !versions.sees(digest(), at(3)));
        versions.take(12);
        versions.keep(digest(), at(4), 13);
        assert!(!versions.release(10));
        assert!(!versions.sees(digest(), at(2)) && versions.sees(digest(), at(4)));
        assert!(versions.release(12));
        assert!(!versions.sees(digest(), at(4)) && !versions.any_snapshot());
    }

    #[test]
    fn two_snapshots_of_one_moment_are_two() {
        let versions = Versions::default();
        versions.take(10);
        versions.take(10);
        versions.keep(digest(), at(1), 11);
        assert!(!versions.release(10));
        assert_eq!((versions.older(digest(), 10), versions.oldest()), (Some(at(1)), Some(10)));
        assert!(versions.release(10));
    }

    #[test]
    fn of_writes_and_clears_the_first_after_a_snapshot_counts() {
        let (keydir, versions) = (Keydir::new([7; 16]), Versions::default());
        let [one, other] = [&b"one"[..], b"other"].map(|key| keydir.digest(key));
        let clear = |cleared_at| {
            let unseen = keydir.take_all(|entries| versions.keep_all(entries, Vec::new(), cleared_at));
            assert_eq!(keydir.len(), 0);
            unseen.is_some()
        };
        assert!(clear(5), "nobody sees it");
        keydir.insert(one, at(1));
        versions.take(10);
        versions.keep(one, at(1), 12);
        keydir.insert(one, at(2));
        versions.take(13);
        assert!(!clear(15));
        assert_eq!((versions.older(one, 10), versions.older(one, 13)), (Some(at(1)), Some(at(2))));
        keydir.insert(other, at(3));
        versions.take(20);
        assert!(!clear(22));
        assert_eq!((versions.older(other, 13), versions.older(other, 20)), (None, Some(at(3))));
        assert_eq!((versions.older(one, 20), versions.older(one, 25)), (None, None));
        versions.release(10);
        versions.release(13);
        assert_eq!((versions.older(one, 13), versions.older(other, 20)), (None, Some(at(3))));
        versions.release(20);
        versions.take(20);
        assert_eq!(versions.older(other, 20), None);
    }

    #[test]
    fn what_was_cleared_comes_in_pages() {
        let (keydir, versions) = (Keydir::new([7; 16]), Versions::default());
        let mut digests: Vec<Digest> = (0..5_000_u32).map(|n| keydir.digest(&n.to_le_bytes())).collect();
        digests.iter().for_each(|&digest| assert_eq!(keydir.insert(digest, at(1)), None));
        versions.take(10);
        keydir.take_all(|entries| versions.keep_all(entries, Vec::new(), 12));
        digests.sort_unstable();
        let (mut found, mut page, mut next) = (Vec::new(), Vec::new(), Some(Digest::FIRST));
        while let Some(from) = next {
            next = versions.page(from, None, 3, &mut page);
            assert!(page.len() <= 3);
            found.extend(page.drain(..).map(|(digest, _)| digest));
        }
        assert_eq!(found, digests);
    }

    #[test]
    fn a_moved_record_is_found_where_it_is() {
        let versions = Versions::default();
        versions.take(10);
        versions.keep(digest(), at(1), 11);
        versions.relocate(digest(), |old| (old == at(1)).then(|| at(9)));
        assert_eq!(versions.older(digest(), 10), Some(at(9)));
        let mut page = Vec::new();
        assert_eq!(versions.page(Digest::FIRST, None, 9, &mut page), None);
        assert_eq!(page, [(digest(), at(9))]);
    }
}

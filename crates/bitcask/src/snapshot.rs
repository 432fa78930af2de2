//! A consistent view of a store, for users to hold.

use std::sync::Arc;

use crate::error::Result;
use crate::iter::{Iter, Keys};
use crate::read::{Entry, Value};
use crate::view::View;

/// The store as it was at one moment, from [`Bitcask::snapshot`](crate::Bitcask::snapshot). Clones are the same
/// moment.
///
/// Writes and merges go on meanwhile. While a snapshot lives, the location of each record that it sees and that is
/// superseded is kept in memory, and merges keep those records on disk; both end when the last snapshot is dropped. A
/// value whose expiry passes is gone from snapshots as well. A snapshot does not outlive a close.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let db = bitcask::open(dir.path(), bitcask::Options::default())?;
/// db.put("a", "1")?;
/// let before = db.snapshot();
/// db.put("a", "2")?;
/// db.put("b", "3")?;
/// assert_eq!(before.get("a")?.as_deref(), Some(&b"1"[..]));
/// assert_eq!(before.keys().count(), 1);
/// # Ok::<(), bitcask::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot(Arc<View>);

impl Snapshot {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self(view)
    }

    /// The timestamp of the newest record that it sees, in microseconds since 1970.
    pub fn timestamp_us(&self) -> u64 {
        self.0.timestamp
    }

    /// The value that `key` had; `None` when it had none.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.0.record(key.as_ref())?.map(Value))
    }

    /// The value that `key` had, and what else its record says.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        Ok(self.0.record(key.as_ref())?.map(Entry::of))
    }

    /// Whether `key` had a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.0.front(key.as_ref())?.is_some())
    }

    /// All keys, in no order that means anything, in constant memory.
    pub fn keys(&self) -> Keys {
        Keys::new(Arc::clone(&self.0))
    }

    /// All keys and their values.
    pub fn iter(&self) -> Iter {
        Iter::new(Arc::clone(&self.0), Vec::new())
    }

    /// The keys that begin with `prefix`, and their values. A Bitcask keeps no order: this looks at every key.
    pub fn prefix(&self, prefix: impl Into<Vec<u8>>) -> Iter {
        Iter::new(Arc::clone(&self.0), prefix.into())
    }

    /// Visits every key and value, and carries a result along.
    pub fn fold<A>(&self, init: A, mut f: impl FnMut(A, &[u8], &[u8]) -> A) -> Result<A> {
        self.iter().try_fold(init, |so_far, entry| {
            let (key, value) = entry?;
            Ok(f(so_far, &key, &value))
        })
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("timestamp_us", &self.timestamp_us()).finish_non_exhaustive()
    }
}

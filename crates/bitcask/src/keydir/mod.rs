//! The keydir: the in-memory map from key to location.
//!
//! It holds no keys, only their digests: an entry is 20 bytes whatever the key's length. It is divided by digest into
//! [`SHARD_COUNT`] tables with a lock each, so threads seldom meet, a table grows in little time, and opening a store
//! fills many shards at once. Digest order runs through all shards: see [`Keydir::page`].
//!
//! Invariants: an entry lies in the shard its digest names. `len` and `memory_bytes` change under the lock of the shard
//! that changed, so they never count a removal before its insert.
//!
//! Left out: what a location means, expiry, snapshots. A get proves by the record's key that it found the right one.

mod digest;
mod places;
mod table;
#[cfg(test)]
mod tests;

use self::digest::Digester;
pub(crate) use self::digest::{Digest, SHARD_COUNT};
use self::table::Table;
use crate::location::Location;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{LockResult, PoisonError, RwLock, RwLockWriteGuard};

/// Some entries, in digest order.
type Entries = Vec<(Digest, Location)>;

/// Where the newest record of each key lies. Shared by all threads.
pub(crate) struct Keydir {
    digester: Digester,
    shards: Box<[Shard]>,
    totals: Totals,
}

/// A cache line of its own, so that locking one shard does not slow its neighbours.
#[repr(align(64))]
struct Shard {
    /// Guards the shard's entries. Rank: the last lock to take; no I/O and no other lock under it, but for further
    /// shards in ascending order. Held for one operation, one page, or as long as a [`ShardWriter`] lives.
    table: RwLock<Table>,
}

/// Sums over all shards. On a cache line of their own: every insert of a new key writes them, every get reads the fields
/// of the keydir around them. Written under the lock of the shard that changed.
#[repr(align(64))]
struct Totals {
    entry_count: AtomicU64,
    memory_bytes: AtomicU64,
}

impl Keydir {
    /// An empty keydir whose digests depend on `secret`. A store keeps one secret for ever.
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self {
            digester: Digester::new(secret),
            shards: (0..SHARD_COUNT).map(|_| Shard { table: RwLock::new(Table::new()) }).collect(),
            totals: Totals { entry_count: AtomicU64::new(0), memory_bytes: AtomicU64::new(0) },
        }
    }

    /// What the keydir keeps in the place of `key`. Takes no lock: make digests before taking one.
    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        self.digester.digest(key)
    }

    /// The location of `digest`.
    pub(crate) fn get(&self, digest: Digest) -> Option<Location> {
        unpoisoned(self.shard(digest.shard()).table.read()).get(digest)
    }

    /// Sets the location of `digest` and returns the one it replaces.
    pub(crate) fn insert(&self, digest: Digest, location: Location) -> Option<Location> {
        self.write_shard(digest.shard()).insert(digest, location)
    }

    /// Removes the entry of `digest` and returns its location.
    pub(crate) fn remove(&self, digest: Digest) -> Option<Location> {
        self.write_shard(digest.shard()).remove(digest)
    }

    /// As [`ShardWriter::replace`].
    #[cfg(test)]
    pub(crate) fn replace(&self, digest: Digest, expected: Location, new: Location) -> bool {
        self.write_shard(digest.shard()).replace(digest, expected, new)
    }

    /// Removes the entry of `digest` if it has the location `expected`. Tells whether it did.
    pub(crate) fn remove_if(&self, digest: Digest, expected: Location) -> bool {
        self.write_shard(digest.shard()).remove_if(digest, expected)
    }

    /// Removes all entries.
    pub(crate) fn clear(&self) {
        for shard in 0..SHARD_COUNT {
            self.write_shard(shard).clear();
        }
    }

    /// Removes all entries at one moment and hands them to `keep` before anybody can see that they are gone. Returns
    /// what `keep` gives back.
    pub(crate) fn take_all<T>(&self, keep: impl FnOnce(Taken) -> T) -> T {
        let mut shards: Vec<_> = (0..SHARD_COUNT).map(|shard| self.write_shard(shard)).collect();
        keep(Taken(shards.iter_mut().map(ShardWriter::take).collect()))
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> u64 {
        self.totals.entry_count.load(Relaxed)
    }

    /// The memory that the entries take, used or not.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.totals.memory_bytes.load(Relaxed)
    }

    /// Refuses the insert of `digests`, which are in digest order, when the entries would take more memory than
    /// `max_bytes`: how much they would take. Those that are there take no more.
    pub(crate) fn check_room(&self, digests: &[Digest], max_bytes: u64) -> Result<(), u64> {
        let mut growth = 0;
        for of_shard in digests.chunk_by(|one, other| one.shard() == other.shard()) {
            let table = unpoisoned(self.shard(of_shard[0].shard()).table.read());
            let new = of_shard.iter().filter(|digest| table.get(**digest).is_none()).count();
            let has_room = new == 0 || (of_shard.len() == 1 && table.has_room(of_shard[0]));
            growth += if has_room { 0 } else { table.growth_max(new) as u64 };
        }
        let needed = self.memory_bytes() + growth;
        if growth == 0 || needed <= max_bytes { Ok(()) } else { Err(needed) }
    }

    /// Appends the entries at or after `from` to `out` in digest order: at most `limit`, and of one shard only.
    /// Returns the digest to go on from; `None` means that no later entry is left. Fewer entries than `limit`, even
    /// none, do not mean the end.
    ///
    /// What one call appends was there at one moment. A pass of many calls visits each digest at most once, and every
    /// digest that was there throughout exactly once, whatever was inserted, removed or grown in between.
    pub(crate) fn page(&self, from: Digest, limit: usize, out: &mut Entries) -> Option<Digest> {
        let table = unpoisoned(self.shard(from.shard()).table.read());
        page_of(&table, from, limit, out)
    }

    /// Locks `shard` for many changes at once. Who locks several locks them in ascending order.
    ///
    /// # Panics
    /// When there is no such shard: they are numbered from 0 to [`SHARD_COUNT`] - 1.
    pub(crate) fn write_shard(&self, shard: u16) -> ShardWriter<'_> {
        let table = unpoisoned(self.shard(shard).table.write());
        ShardWriter {
            shard,
            count_before: table.count(),
            bytes_before: table.memory_bytes(),
            table,
            totals: &self.totals,
        }
    }

    fn shard(&self, shard: u16) -> &Shard {
        &self.shards[usize::from(shard)]
    }
}

/// All entries of a keydir, as they were when they were taken out of it.
pub(crate) struct Taken(Box<[Table]>);

impl Taken {
    /// As [`Keydir::get`].
    pub(crate) fn get(&self, digest: Digest) -> Option<Location> {
        self.0[usize::from(digest.shard())].get(digest)
    }

    /// As [`Keydir::page`].
    pub(crate) fn page(&self, from: Digest, limit: usize, out: &mut Entries) -> Option<Digest> {
        page_of(&self.0[usize::from(from.shard())], from, limit, out)
    }
}

/// As [`Keydir::page`], of the shard that `from` is in.
fn page_of(table: &Table, from: Digest, limit: usize, out: &mut Entries) -> Option<Digest> {
    table.page(from, limit, out).or_else(|| Digest::first_of_shard(from.shard() + 1))
}

/// Changes entries of one shard under its lock. Dropping it updates the sums of the keydir, shrinks the table if few
/// entries are left, and unlocks.
pub(crate) struct ShardWriter<'a> {
    shard: u16,
    count_before: usize,
    bytes_before: usize,
    table: RwLockWriteGuard<'a, Table>,
    totals: &'a Totals,
}

impl ShardWriter<'_> {
    /// Makes room for `additional` more entries in one step instead of many.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    /// Gives back what was reserved and is not needed. Returns the memory that the entries take.
    pub(crate) fn fit(&mut self) -> u64 {
        self.table.fit();
        self.table.memory_bytes() as u64
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) {
        self.take();
    }

    fn take(&mut self) -> Table {
        std::mem::replace(&mut *self.table, Table::new())
    }

    /// As [`Keydir::get`].
    pub(crate) fn get(&self, digest: Digest) -> Option<Location> {
        self.assert_owns(digest);
        self.table.get(digest)
    }

    /// As [`Keydir::insert`]. Fastest in digest order.
    pub(crate) fn insert(&mut self, digest: Digest, location: Location) -> Option<Location> {
        self.assert_owns(digest);
        self.table.insert(digest, location)
    }

    /// As [`Keydir::remove`].
    pub(crate) fn remove(&mut self, digest: Digest) -> Option<Location> {
        self.assert_owns(digest);
        self.table.remove(digest)
    }

    /// Gives `digest` the location `new` if it has the location `expected`. Tells whether it did.
    pub(crate) fn replace(&mut self, digest: Digest, expected: Location, new: Location) -> bool {
        self.assert_owns(digest);
        self.table.replace(digest, expected, new)
    }

    /// As [`Keydir::remove_if`].
    pub(crate) fn remove_if(&mut self, digest: Digest, expected: Location) -> bool {
        self.assert_owns(digest);
        self.table.remove_if(digest, expected)
    }

    /// An entry in a foreign shard would never be found again: its key would be lost without a sign.
    fn assert_owns(&self, digest: Digest) {
        assert_eq!(digest.shard(), self.shard, "a digest goes to the shard it names");
    }
}

impl Drop for ShardWriter<'_> {
    fn drop(&mut self) {
        self.table.shrink();
        add_difference(&self.totals.entry_count, self.count_before, self.table.count());
        add_difference(&self.totals.memory_bytes, self.bytes_before, self.table.memory_bytes());
    }
}

/// Adds `after - before`. Modulo 2^64, so that a negative difference needs no second case.
fn add_difference(total: &AtomicU64, before: usize, after: usize) {
    if before != after {
        total.fetch_add((after as u64).wrapping_sub(before as u64), Relaxed);
    }
}

/// The guard of a lock, poisoned or not. A panic under a shard's lock comes from an assertion about the arguments,
/// before anything changed: a table's own steps neither call foreign code nor fail (memory that cannot be had aborts),
/// so the table behind a poisoned lock is whole. Refusing it would turn one thread's panic into a dead store.
fn unpoisoned<Guard>(lock: LockResult<Guard>) -> Guard {
    lock.unwrap_or_else(PoisonError::into_inner)
}

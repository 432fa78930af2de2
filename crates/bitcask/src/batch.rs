//! Several writes as one: all of them or none, across crashes and for everybody who reads.
//!
//! ```text
//! collect keys and values; at the commit hash the keys, let the last write to a key stand, compress and checksum values
//! lock the writer
//!     judge the conditions of all; one that does not hold ends it
//!     make room for all in one file; append them with one timestamp, and the record that ends the batch
//!     lock the shards of their keys, in ascending order; publish all; unlock them
//! unlock; wait for the sync that covers them, if durability asks for it
//! ```
//! Recovery takes a batch whole, or cuts the log at its first record.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::conditions::Condition;
use crate::error::{Error, Result};
use crate::expiry::Lifetime;
use crate::format::codec::Codec;
use crate::format::record::Kind;
use crate::keydir::{Digest, ShardWriter};
use crate::location::Location;
use crate::options::{Durability, PutOptions};
use crate::read::Found;
use crate::store::{Store, WriteSide, check_key};
use crate::writer::{Draft, Writer};

/// The longest batch in bytes: all of its records start below 4 GiB in a file of their own, behind that file's first records.
const LEN_MAX: u64 = (1 << 32) - (1 << 20);

/// Writes that are to happen together, from `Bitcask::batch`: nothing happens before the commit.
///
/// After [`Batch::commit`] all of them are there, for every reader at once; after a crash all of them are, or none. A key
/// is written once: a later call for it takes the place of the earlier one, with its options. Everything is held in memory
/// until then, and others wait while the commit writes it down and makes it visible: for loading many keys, batches of some
/// thousand are as good as larger ones.
///
/// What is wrong with a key or a value, the commit says; then nothing is written.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
/// db.put("from", "10")?;
/// let mut batch = db.batch();
/// batch.delete("from").put("to", "10");
/// assert!(!db.contains("to")?);
/// assert!(batch.commit()?);
/// assert!(db.contains("to")? && !db.contains("from")?);
/// # Ok::<(), bitcask::Error>(())
/// ```
#[must_use = "a batch that is not committed writes nothing"]
pub struct Batch<'a> {
    store: &'a Store,
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    calls: Vec<Call>,
    /// The first call that cannot be done.
    refused: Option<Error>,
}

/// One call. Its value follows its key in the bytes of the batch.
struct Call {
    kind: Kind,
    start: usize,
    key_len: usize,
    value_len: usize,
    lifetime: Lifetime,
    condition: Option<Condition>,
}

/// One write, ready but for place and time.
struct Write<'b> {
    digest: Digest,
    draft: Draft<'b>,
    condition: Option<Condition>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, bytes: Vec::new(), calls: Vec::new(), refused: None }
    }

    /// Gives `key` this value.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.put_with(key, value, &PutOptions::new())
    }

    /// [`Batch::put`] with an expiry, or with a condition: the batch is written if the conditions of all its writes hold
    /// together. A durability is refused: the commit has one for all.
    ///
    /// ```
    /// use bitcask::PutOptions;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// db.put("seat 2", "Ada")?;
    /// let mut batch = db.batch();
    /// for seat in ["seat 1", "seat 2"] {
    ///     batch.put_with(seat, "Grace", &PutOptions::new().if_absent());
    /// }
    /// assert!(!batch.commit()?);
    /// assert!(!db.contains("seat 1")?);
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn put_with(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &PutOptions,
    ) -> &mut Self {
        let value = value.as_ref();
        let checked = self.store.check_value(value);
        self.add(Kind::Value, key.as_ref(), value, options, checked)
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.delete_with(key, &PutOptions::new())
    }

    /// [`Batch::delete`] with a condition: as [`Batch::put_with`].
    pub fn delete_with(&mut self, key: impl AsRef<[u8]>, options: &PutOptions) -> &mut Self {
        let checked = options.check_delete();
        self.add(Kind::Tombstone, key.as_ref(), &[], options, checked)
    }

    fn add(
        &mut self,
        kind: Kind,
        key: &[u8],
        value: &[u8],
        options: &PutOptions,
        checked: Result<()>,
    ) -> &mut Self {
        let durability = match options.durability {
            Some(_) => Err(Error::InvalidOptions {
                reason: "a write of a batch has no durability of its own: commit the batch with one"
                    .to_owned(),
            }),
            None => Ok(()),
        };
        match checked.and(check_key(key)).and(durability) {
            Err(error) => {
                self.refused.get_or_insert(error);
            }
            Ok(()) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(key);
                self.bytes.extend_from_slice(value);
                let (lifetime, condition) = (options.lifetime, options.condition);
                let (key_len, value_len) = (key.len(), value.len());
                self.calls.push(Call { kind, start, key_len, value_len, lifetime, condition });
            }
        }
        self
    }

    /// Count of calls so far, also of those whose place a later one has taken.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there was no call.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Writes all, at the durability of the store; a batch without calls does nothing. Returns whether it was written:
    /// always, unless a condition does not hold.
    ///
    /// # Errors
    /// [`Error::BatchSize`] when the batch does not fit one file, and what a put may fail with. After an error nothing was
    /// written, with the exception that [`Bitcask::put`](crate::Bitcask::put) tells of.
    pub fn commit(self) -> Result<bool> {
        let durability = self.store.options.durability;
        self.commit_with(durability)
    }

    /// [`Batch::commit`] at this durability.
    pub fn commit_with(self, durability: Durability) -> Result<bool> {
        let Self { store, refused, .. } = &self;
        if let Some(refused) = refused {
            return Err(refused.clone());
        }
        let side = store.write_side()?;
        if self.is_empty() {
            return Ok(true);
        }
        store.commit_batch(side, &self.writes(), durability)
    }

    /// The writes that stand, in the order of the calls.
    fn writes(&self) -> Vec<Write<'_>> {
        let key = |call: &Call| &self.bytes[call.start..call.start + call.key_len];
        let mut by_digest: Vec<(Digest, usize)> = self
            .calls
            .iter()
            .enumerate()
            .map(|(index, call)| (self.store.keydir.digest(key(call)), index))
            .collect();
        by_digest.sort_unstable();
        let mut standing: Vec<(usize, Digest)> = Vec::with_capacity(by_digest.len());
        for same in by_digest.chunk_by(|one, other| one.0 == other.0) {
            // The last call first. Different keys in here are as good as impossible.
            let from = standing.len();
            for &(digest, index) in same.iter().rev() {
                let is_later = |later: &(usize, Digest)| key(&self.calls[later.0]) == key(&self.calls[index]);
                if !standing[from..].iter().any(is_later) {
                    standing.push((index, digest));
                }
            }
        }
        standing.sort_unstable();
        let write = |(index, digest)| {
            let call: &Call = &self.calls[index];
            let (key, value_start) = (key(call), call.start + call.key_len);
            let format = self.store.identity.format;
            let draft = match call.kind {
                Kind::Tombstone => Draft::tombstone(format, key),
                _ => {
                    let value = &self.bytes[value_start..value_start + call.value_len];
                    self.store.draft(key, value, call.lifetime.expiry(&*self.store.clock))
                }
            };
            Write { digest, draft, condition: call.condition }
        };
        standing.into_iter().map(write).collect()
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What the conditions of a batch come to.
enum Judged {
    Hold,
    /// That of this write does not.
    Refused(usize),
    /// The records of the keys of these writes must be read to know.
    Unread(Vec<usize>),
}

/// The bytes of a batch with so many bytes of records, if a file can hold it.
fn check_len(records: u64) -> Result<u64> {
    let len = records + Codec::LOG_RECORD_MAX as u64;
    if len > LEN_MAX { Err(Error::BatchSize { len, max: LEN_MAX }) } else { Ok(len) }
}

impl Store {
    /// Writes all, if all conditions hold, and waits until the answer is as durable as asked; whether it was written.
    fn commit_batch(&self, side: &WriteSide, writes: &[Write<'_>], durability: Durability) -> Result<bool> {
        let records: u64 = writes.iter().map(|write| write.draft.len_max()).sum();
        let len = check_len(records)?;
        let has_value = writes.iter().any(|write| write.draft.kind == Kind::Value);
        let kind = if has_value { Kind::Value } else { Kind::Tombstone };
        let mut by_digest: Vec<usize> = (0..writes.len()).collect();
        by_digest.sort_unstable_by_key(|&index| writes[index].digest);
        let mut found: BTreeMap<usize, Found> = BTreeMap::new();
        let target = loop {
            let mut writer = self.writer(side)?;
            match self.judge(writes, &found) {
                Judged::Hold => {}
                Judged::Refused(index) => {
                    let target = self.rests_on(side, &writer, writes[index].digest);
                    drop(writer);
                    self.acknowledge(side, target, durability)?;
                    return Ok(false);
                }
                Judged::Unread(unread) => {
                    drop(writer);
                    for index in unread {
                        match self.find_front(writes[index].digest)? {
                            Some(front) => found.insert(index, front),
                            None => found.remove(&index),
                        };
                    }
                    continue;
                }
            }
            let is_put = |&&index: &&usize| writes[index].draft.kind == Kind::Value;
            let digest = |&index: &usize| writes[index].digest;
            self.check_keydir(|| by_digest.iter().filter(is_put).map(digest).collect())?;
            let Some(missing) = self.make_room(side, &mut writer, kind, len)? else {
                let locations = self.append_batch(side, &mut writer, writes, len)?;
                self.publish_batch(side, &writer, writes, &by_digest, &locations);
                break writer.appended;
            };
            drop(writer);
            self.provide(side, missing)?;
        };
        self.acknowledge(side, target, durability)?;
        Ok(true)
    }

    /// Judges the conditions under the writer lock, with the records that were read before.
    fn judge(&self, writes: &[Write<'_>], found: &BTreeMap<usize, Found>) -> Judged {
        let mut unread = Vec::new();
        for (index, write) in writes.iter().enumerate() {
            let Some(condition) = write.condition else { continue };
            let state = self.state_of(write.draft.key, write.digest, found.get(&index));
            match condition.holds(state) {
                Some(true) => {}
                Some(false) => return Judged::Refused(index),
                None => unread.push(index),
            }
        }
        if unread.is_empty() { Judged::Hold } else { Judged::Unread(unread) }
    }

    /// Appends all as one batch; a single one as the plain record that it is.
    fn append_batch(
        &self,
        side: &WriteSide,
        writer: &mut Writer,
        writes: &[Write<'_>],
        len: u64,
    ) -> Result<Vec<Location>> {
        if let [write] = writes {
            return Ok(vec![self.append(side, writer, &write.draft)?]);
        }
        let drafts = || writes.iter().map(|write| &write.draft);
        let covered = self.to_claim(side, writer);
        let appended = writer.append_batch(drafts(), len, covered, &*self.clock);
        let appended = appended.map_err(|error| side.append_failed(error))?;
        self.look_ahead(side, writer);
        let slot = writer.active.slot();
        let located = appended.iter().zip(drafts());
        Ok(located.map(|(at, draft)| Location::new(slot, at.offset, at.len, draft.expiry.into())).collect())
    }

    /// Makes all visible at once: nobody sees one of them and then another key as it was before.
    fn publish_batch(
        &self,
        side: &WriteSide,
        writer: &Writer,
        writes: &[Write<'_>],
        by_digest: &[usize],
        locations: &[Location],
    ) {
        let mut shards: Vec<ShardWriter<'_>> = Vec::new();
        let of_one_shard =
            |one: &usize, other: &usize| writes[*one].digest.shard() == writes[*other].digest.shard();
        let groups = || by_digest.chunk_by(of_one_shard);
        shards.extend(groups().map(|group| self.keydir.write_shard(writes[group[0]].digest.shard())));
        // Before anybody can see that a key is gone.
        if writes.iter().any(|write| write.draft.kind == Kind::Tombstone) {
            side.deleted.store(writer.appended, Ordering::Release);
        }
        let mut replaced = Vec::new();
        for (shard, group) in shards.iter_mut().zip(groups()) {
            for &index in group {
                let (write, location) = (&writes[index], locations[index]);
                let location = (write.draft.kind == Kind::Value).then_some(location);
                if let Some(location) = location {
                    writer.active.count_live(location);
                }
                let timestamp = writer.timestamps.last();
                replaced.extend(self.publish_in(shard, write.digest, location, timestamp));
            }
        }
        drop(shards);
        replaced.into_iter().for_each(|old| self.count_dead(old));
        if locations.iter().any(|location| location.has_expiry()) {
            side.may_expire.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_no_file_could_hold_is_refused_with_the_limit() {
        let most = LEN_MAX - Codec::LOG_RECORD_MAX as u64;
        assert!(matches!(check_len(most), Ok(LEN_MAX)));
        let refused = check_len(most + 1);
        assert!(matches!(refused, Err(Error::BatchSize { len, max: LEN_MAX }) if len == LEN_MAX + 1));
    }
}

//! How a write becomes part of the store.
//!
//! ```text
//! put:     hash the key, compress the value if asked for, checksum what is stored of it
//!          lock the writer
//!              judge: may it be written, by what the keydir says now?
//!              make room: rotate, if the record would outgrow the active file
//!              draw timestamp and offset, append the record
//!              publish the location in the keydir
//!          unlock
//!          wait for the sync that covers the record, if durability asks for it
//! delete:  the same with a tombstone, unless the key is absent
//! ```
//! What depends on more than the keydir reads a record first, outside the lock, and begins again if that is not the key's
//! record any more once the lock is held: see `modify`.
//! Publishing under the lock makes the order of the log the order in which readers see writes. Acknowledging
//! after the sync, and outside the lock, lets others append meanwhile.

use std::sync::atomic::Ordering;

use crate::conditions::KeyState;
use crate::error::{Error, Result};
use crate::events::{Event, SLOW_SYNC};
use crate::format::codec::Record;
use crate::format::record::Kind;
use crate::keydir::{Digest, ShardWriter};
use crate::location::Location;
use crate::options::{Compression, Durability, Maintenance, Options, PutOptions};
use crate::read::Found;
use crate::store::{Store, WriteSide, check_key};
use crate::sync::MutexGuard;
use crate::writer::{Covered, Draft, Writer};

/// Whether a write may happen, as judged under the writer lock.
pub(crate) enum Verdict<'a> {
    Write(&'a Draft<'a>),
    /// What the write depends on does not hold, or the write would change nothing.
    Refuse,
    /// Nobody can tell: the key is not as it was found before the lock was taken.
    Stale,
}

/// What keeps a write from being appended.
pub(crate) enum Missing {
    /// A file to rotate to.
    Successor,
    /// Room on the disk, as it was measured last.
    Disk,
}

/// What became of a write. The number is how much of the log must be durable for the answer to be.
enum Outcome {
    Written(u64),
    Refused(u64),
    Stale,
}

impl Store {
    /// Gives the key this value; whether the options allowed that.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], options: &PutOptions) -> Result<bool> {
        let side = self.write_side()?;
        check_key(key)?;
        self.check_value(value)?;
        let digest = self.keydir.digest(key);
        let draft = self.draft(key, value, options.lifetime.expiry(&*self.clock));
        match options.condition {
            None => {
                Ok(self.write(side, digest, self.durability(options), || Verdict::Write(&draft))?.is_some())
            }
            Some(condition) => {
                let judge = |state| match condition.holds(state) {
                    Some(true) => Verdict::Write(&draft),
                    Some(false) => Verdict::Refuse,
                    None => Verdict::Stale,
                };
                Ok(self.write_by_state(side, key, digest, self.durability(options), judge)?.0)
            }
        }
    }

    /// Gives the key of a record its value, stored as it is there.
    pub(crate) fn put_stored(&self, record: &Record) -> Result<()> {
        let (side, key, header) = (self.write_side()?, record.key(), &record.header);
        let (format, value) = (self.identity.format, record.value().into());
        let draft = Draft::stored(format, key, value, header.compression, header.expiry);
        let judge = || Verdict::Write(&draft);
        self.write(side, self.keydir.digest(key), self.options.durability, judge)?;
        Ok(())
    }

    /// Removes the key; whether it was there, and the options allowed that.
    pub(crate) fn delete(&self, key: &[u8], options: &PutOptions) -> Result<bool> {
        let side = self.write_side()?;
        check_key(key)?;
        options.check_delete()?;
        let digest = self.keydir.digest(key);
        let draft = Draft::tombstone(self.identity.format, key);
        let judge = |state| match options.condition.map_or(Some(true), |condition| condition.holds(state)) {
            _ if state == KeyState::Unread => Verdict::Stale,
            None => Verdict::Stale,
            Some(false) => Verdict::Refuse,
            Some(true) if state == KeyState::Absent => Verdict::Refuse,
            // One that has expired needs its tombstone too: the clock may go back.
            Some(true) => Verdict::Write(&draft),
        };
        let (written, state) = self.write_by_state(side, key, digest, self.durability(options), judge)?;
        Ok(written && state != KeyState::Expired)
    }

    /// Writes what `judge` makes of the state of the key; whether it was written, and that state.
    fn write_by_state<'d>(
        &self,
        side: &WriteSide,
        key: &[u8],
        digest: Digest,
        durability: Durability,
        judge: impl Fn(KeyState) -> Verdict<'d>,
    ) -> Result<(bool, KeyState)> {
        let mut found = None;
        loop {
            let mut state = KeyState::Absent;
            let judge = || {
                state = self.state_of(key, digest, found.as_ref());
                judge(state)
            };
            if let Some(written) = self.write(side, digest, durability, judge)? {
                return Ok((written, state));
            }
            // Only the record tells, and it is not read under the lock.
            found = self.find_front(digest)?;
        }
    }

    /// What is known of a key, under the writer lock, when `found` was read of it before.
    pub(crate) fn state_of(&self, key: &[u8], digest: Digest, found: Option<&Found>) -> KeyState {
        match (self.keydir.get(digest), found) {
            (None, _) => KeyState::Absent,
            (Some(now), Some(found)) if now == found.location => {
                if self.is_there(key, &found.record) {
                    KeyState::Present(Some(found.record.header.timestamp))
                } else {
                    KeyState::Expired
                }
            }
            (Some(now), _) if now.has_expiry() => KeyState::Unread,
            (Some(_), _) => KeyState::Present(None),
        }
    }

    /// A value that is to be written, stored as the options say.
    #[inline]
    pub(crate) fn draft<'a>(&self, key: &'a [u8], value: &'a [u8], expiry: Option<u64>) -> Draft<'a> {
        let format = self.identity.format;
        let Options { compression, compress_from, .. } = self.options;
        if compression == Compression::None || (value.len() as u64) < compress_from {
            return Draft::stored(format, key, value.into(), None, expiry);
        }
        Draft::value(format, compression, key, value, expiry)
    }

    pub(crate) fn durability(&self, options: &PutOptions) -> Durability {
        options.durability.unwrap_or(self.options.durability)
    }

    /// Refuses a value that is longer than the options allow.
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<()> {
        let max = self.options.max_value_size;
        if value.len() as u64 > max { Err(Error::ValueSize { len: value.len(), max }) } else { Ok(()) }
    }

    /// Commits a write if `judge` says so under the lock, and waits until what it says is as durable as asked: whether
    /// it was written, or `None` when nobody could tell whether it may.
    pub(crate) fn write<'d>(
        &self,
        side: &WriteSide,
        digest: Digest,
        durability: Durability,
        judge: impl FnMut() -> Verdict<'d>,
    ) -> Result<Option<bool>> {
        let (target, written) = match self.commit(side, digest, judge)? {
            Outcome::Written(target) => (target, true),
            Outcome::Refused(target) => (target, false),
            Outcome::Stale => return Ok(None),
        };
        self.acknowledge(side, target, durability)?;
        Ok(Some(written))
    }

    /// Appends and publishes, if `judge` says so, in one locked section.
    fn commit<'d>(
        &self,
        side: &WriteSide,
        digest: Digest,
        mut judge: impl FnMut() -> Verdict<'d>,
    ) -> Result<Outcome> {
        let (mut writer, draft) = loop {
            let mut writer = self.writer(side)?;
            let draft = match judge() {
                Verdict::Write(draft) => draft,
                Verdict::Refuse => return Ok(Outcome::Refused(self.rests_on(side, &writer, digest))),
                Verdict::Stale => return Ok(Outcome::Stale),
            };
            if draft.kind == Kind::Value {
                self.check_keydir(|| vec![digest])?;
            }
            let Some(missing) = self.make_room(side, &mut writer, draft.kind, draft.len_max())? else {
                break (writer, draft);
            };
            drop(writer);
            self.provide(side, missing)?;
        };
        let location = self.append(side, &mut writer, draft)?;
        let replaced = if draft.kind == Kind::Value {
            writer.active.count_live(location);
            self.publish(digest, Some(location), writer.timestamps.last())
        } else {
            // Before anybody can see that the key is gone.
            side.deleted.store(writer.appended, Ordering::Release);
            self.publish(digest, None, writer.timestamps.last())
        };
        if let Some(old) = replaced {
            self.count_dead(old);
        }
        if location.has_expiry() {
            side.may_expire.store(true, Ordering::Release);
        }
        Ok(Outcome::Written(writer.appended))
    }

    /// Leads the keydir to a new record, or away from a key; keeps what that supersedes for snapshots, and returns it.
    fn publish(&self, digest: Digest, location: Option<Location>, timestamp: u64) -> Option<Location> {
        if !self.versions.any_snapshot() {
            return match location {
                Some(location) => self.keydir.insert(digest, location),
                None => self.keydir.remove(digest),
            };
        }
        self.publish_in(&mut self.keydir.write_shard(digest.shard()), digest, location, timestamp)
    }

    /// As [`Store::publish`], in the shard of the key.
    pub(crate) fn publish_in(
        &self,
        shard: &mut ShardWriter<'_>,
        digest: Digest,
        location: Option<Location>,
        timestamp: u64,
    ) -> Option<Location> {
        if self.versions.any_snapshot()
            && let Some(old) = shard.get(digest)
        {
            planted!("what a snapshot sees is overwritten", return shard.remove(digest));
            self.versions.keep(digest, old, timestamp);
        }
        match location {
            Some(location) => shard.insert(digest, location),
            None => shard.remove(digest),
        }
    }

    /// How much of the log must be durable for what it says of a key to be.
    pub(crate) fn rests_on(&self, side: &WriteSide, writer: &Writer, digest: Digest) -> u64 {
        planted!("a refusal is acknowledged before its sync", return 0);
        match self.keydir.get(digest) {
            Some(location) if self.is_unsynced(location) => writer.appended,
            Some(_) => 0,
            None => side.deleted.load(Ordering::Acquire),
        }
    }

    /// Whether no sync is known to have covered the record at `location`.
    pub(crate) fn is_unsynced(&self, location: Location) -> bool {
        let files = self.files.load();
        files.get(location.slot()).is_none_or(|file| file.synced_len() <= u64::from(location.offset()))
    }

    /// Syncs everything appended so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_open()?;
        let side = self.write_side()?;
        side.check()?;
        let appended = side.writer().appended;
        self.sync_through(side, appended)
    }

    /// The writer lock of a store that takes writes.
    pub(crate) fn writer<'a>(&'a self, side: &'a WriteSide) -> Result<MutexGuard<'a, Writer>> {
        let writer = side.writer();
        // Looked at under the lock: `close` sets the one under the lock, and who panics under it the other.
        side.check()?;
        self.check_open()?;
        Ok(writer)
    }

    /// Refuses to put keys, whose digests are in digest order, for which the keydir may not grow. Under the writer lock.
    pub(crate) fn check_keydir(&self, digests: impl FnOnce() -> Vec<Digest>) -> Result<()> {
        let Some(limit) = self.options.max_keydir_bytes else { return Ok(()) };
        self.keydir.check_room(&digests(), limit).map_err(|needed| Error::KeydirFull { needed, limit })
    }

    /// Refuses a record of `len` bytes, or such a batch, where a limit is reached, and rotates if the active file has no
    /// room for it. Returns what must be had first, without the lock.
    pub(crate) fn make_room(
        &self,
        side: &WriteSide,
        writer: &mut Writer,
        kind: Kind,
        len: u64,
    ) -> Result<Option<Missing>> {
        // A store that is full is merged by its policy.
        writer.admit(kind, len).inspect_err(|_| side.to_merge.raise())?;
        if kind == Kind::Value && writer.space.admit_to_disk().is_err() {
            return Ok(Some(Missing::Disk));
        }
        if writer.has_room(len) {
            return Ok(None);
        }
        if !writer.rotate().map_err(|error| side.append_failed(error))? {
            return Ok(Some(Missing::Successor));
        }
        self.rotated(side, writer);
        Ok(None)
    }

    /// Gets what a write must have first, or says why not.
    pub(crate) fn provide(&self, side: &WriteSide, missing: Missing) -> Result<()> {
        match missing {
            Missing::Successor => self.prepare_successor(side),
            Missing::Disk => {
                self.measure_disk(side)?;
                side.writer().space.admit_to_disk()
            }
        }
    }

    /// What a sync marker in front of the next record should claim; `None` when there is nothing new.
    pub(crate) fn to_claim(&self, side: &WriteSide, writer: &Writer) -> Option<Covered> {
        let claims = side.syncer.synced() > writer.claimed();
        planted!(
            "a marker claims what was written",
            return Some(Covered { appended: writer.appended, position: writer.end() })
        );
        claims.then(|| side.syncer.covered())
    }

    pub(crate) fn append(
        &self,
        side: &WriteSide,
        writer: &mut Writer,
        draft: &Draft<'_>,
    ) -> Result<Location> {
        let covered = self.to_claim(side, writer);
        let appended =
            writer.append(draft, covered, &*self.clock).map_err(|error| side.append_failed(error))?;
        self.look_ahead(side, writer);
        Ok(Location::new(writer.active.slot(), appended.offset, appended.len, draft.expiry.into()))
    }

    /// Lets space be made ready, or measured, before the writer needs it.
    pub(crate) fn look_ahead(&self, side: &WriteSide, writer: &Writer) {
        if writer.wants_allocation() || writer.space.wants_measure(writer.appended) {
            side.to_prepare.raise();
        }
    }

    /// Takes a record that was replaced off its file's count.
    pub(crate) fn count_dead(&self, old: Location) {
        if let Some(file) = self.files.load().get(old.slot()) {
            file.count_dead(old);
        }
    }

    /// Returns when the log up to `target` is as durable as asked.
    pub(crate) fn acknowledge(&self, side: &WriteSide, target: u64, durability: Durability) -> Result<()> {
        planted!("a write is acknowledged before its sync", let durability = Durability::Os);
        if durability == Durability::Always {
            self.sync_through(side, target)?;
        }
        if self.options.maintenance == Maintenance::Callers {
            self.maintain_as_caller(side)?;
        }
        Ok(())
    }

    /// Syncs, or waits for a sync, until the first `target` bytes appended since the open are durable.
    pub(crate) fn sync_through(&self, side: &WriteSide, target: u64) -> Result<()> {
        if side.syncer.synced() >= target {
            return Ok(());
        }
        side.syncer.through(target, || side.check(), || self.sync_log(side))
    }

    /// One sync of the log to its present end, older files first. A failure poisons the store: what the kernel has
    /// done with the unwritten pages nobody knows.
    fn sync_log(&self, side: &WriteSide) -> Result<Covered> {
        // What a sync that panicked has done nobody knows either.
        let _guard = side.poison_on_panic("a thread that synced it");
        let began = self.clock.monotonic();
        let (unsynced, active, covered) = {
            let writer = side.writer();
            // Who panicked in a rotation may have left a file out.
            side.check()?;
            let covered = Covered { appended: writer.appended, position: writer.end() };
            (writer.unsynced.clone(), writer.active.clone(), covered)
        };
        for file in &unsynced {
            file.sync().map_err(|error| side.poison(&error))?;
            file.raise_synced_len(file.data_len());
        }
        planted!("a failed sync is tried again", drop(active.sync()));
        active.sync().map_err(|error| side.poison(&error))?;
        active.raise_synced_len(covered.position.offset);
        let behind = {
            let mut writer = side.writer();
            writer.unsynced.retain(|file| file.synced_len() < file.data_len());
            writer.appended - covered.appended
        };
        let took = self.clock.monotonic().saturating_sub(began);
        if took >= SLOW_SYNC {
            self.events.note(|| Event::SlowSync { took, behind });
        }
        Ok(covered)
    }
}

//! What a snapshot sees: the state of the store at one timestamp, while writes and merges go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::file::data_file::DataFile;
use crate::format::codec::Record;
use crate::keydir::Digest;
use crate::location::Location;
use crate::read::{Waits, missing_file, read_front, read_record};
use crate::store::{Store, check_key};

/// A timestamp for which older versions are kept until this is dropped.
pub(crate) struct View {
    pub(crate) store: Arc<Store>,
    pub(crate) timestamp: u64,
}

impl View {
    /// A view of the store as it is now.
    pub(crate) fn take(store: &Arc<Store>) -> Arc<Self> {
        let timestamp = match &store.write_side {
            Some(side) => {
                // Under the lock no write is half-way, and the next one keeps what it supersedes.
                let writer = side.writer();
                let timestamp = writer.timestamps.last();
                store.versions.take(timestamp);
                timestamp
            }
            None => Self::newest_of_reader(store),
        };
        Arc::new(Self { store: Arc::clone(store), timestamp })
    }

    /// The timestamp of a view of what a read-only handle has loaded, taken.
    fn newest_of_reader(store: &Store) -> u64 {
        loop {
            let timestamp = store.published.load(Ordering::Acquire);
            store.versions.take(timestamp);
            // A refresh keeps what the view before it sees until it has published the one after it.
            if store.published.load(Ordering::Acquire) == timestamp {
                return timestamp;
            }
            store.versions.release(timestamp);
        }
    }

    /// The record that `key` had then.
    pub(crate) fn record(&self, key: &[u8]) -> Result<Option<Record>> {
        check_key(key)?;
        let found = self.record_by_digest(self.store.keydir.digest(key))?;
        Ok(found.filter(|record| record.key() == key))
    }

    /// The same without its value.
    pub(crate) fn front(&self, key: &[u8]) -> Result<Option<Record>> {
        check_key(key)?;
        let found = self.front_by_digest(self.store.keydir.digest(key))?;
        Ok(found.filter(|record| record.key() == key))
    }

    pub(crate) fn record_by_digest(&self, digest: Digest) -> Result<Option<Record>> {
        self.find(digest, read_record)
    }

    pub(crate) fn front_by_digest(&self, digest: Digest) -> Result<Option<Record>> {
        self.find(digest, read_front)
    }

    /// Finds the record that the view sees for `digest`, and reads it. As with `Store::look_up`, a location may be stale by
    /// the time it is read.
    fn find(
        &self,
        digest: Digest,
        read: impl Fn(&DataFile, Location) -> Result<Record>,
    ) -> Result<Option<Record>> {
        let store = &self.store;
        store.check_open()?;
        loop {
            let files = store.files.load();
            let Some(location) = self.location(digest) else {
                store.wait_for_absence(Waits::AsTheStoreSays)?;
                return Ok(None);
            };
            let mut cleared = None;
            let file = files.get(location.slot()).or_else(|| {
                cleared = store.versions.file(location.slot());
                cleared.as_ref()
            });
            let found = match file {
                Some(file) => {
                    store.wait_for_record(file, location)?;
                    read(file, location)
                }
                None => Err(missing_file(location)),
            };
            match found {
                Ok(record) => {
                    let is_seen =
                        record.header.timestamp <= self.timestamp && !store.has_expired(&record.header);
                    return Ok(is_seen.then_some(record));
                }
                Err(error) if store.files.is_current(&files) && self.location(digest) == Some(location) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
    }

    /// Where the record lies that the view sees for `digest`, unless that is newer than the view.
    fn location(&self, digest: Digest) -> Option<Location> {
        // The keydir first: what leaves it meanwhile is among the versions by then.
        let newest = self.store.keydir.get(digest);
        self.store.versions.older(digest, self.timestamp).or(newest)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let is_last = self.store.versions.release(self.timestamp);
        if is_last {
            for file in self.store.order().iter() {
                file.pinned.clear();
            }
        }
    }
}

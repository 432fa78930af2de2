//! Taking keys that have expired out of the keydir. They are absent without that; it gives their memory back.
//!
//! ```text
//! for each page of the keydir
//!     read the fronts of its records that have an expiry
//!     lock the writer: remove those that have expired and are still where they were, and take them off their files' counts
//! ```
//! The record of a reaped key stays in the log, where it supersedes all older ones of its key: who loads the log later finds
//! it and nothing before it, whatever the clock says then.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::events::Event;
use crate::keydir::Digest;
use crate::location::Location;
use crate::read::read_front;
use crate::store::{Store, WriteSide};

/// How many keys are looked at before the writer lock is taken.
const PAGE: usize = 256;

/// One pass over the keydir, page by page. How many keys it has taken out is told when it is dropped.
pub(crate) struct Pass<'a> {
    store: &'a Store,
    side: &'a WriteSide,
    /// Where the next page begins; `None` behind the last.
    next: Option<Digest>,
    reaped: u64,
}

impl<'a> Pass<'a> {
    /// A pass that has no page where no key has an expiry.
    pub(crate) fn new(store: &'a Store, side: &'a WriteSide) -> Self {
        let next = side.may_expire.swap(false, Ordering::AcqRel).then_some(Digest::FIRST);
        Self { store, side, next, reaped: 0 }
    }

    /// Removes the keys of the next page that have expired; false when there is no page left.
    pub(crate) fn reap_page(&mut self) -> Result<bool> {
        let Some(from) = self.next.take() else { return Ok(false) };
        // The table first, and held to the end: so an equal location means the same record.
        let files = self.store.files.load();
        let mut page = Vec::with_capacity(PAGE);
        let next = self.store.keydir.page(from, PAGE, &mut page);
        page.retain(|(_, location)| location.has_expiry());
        let with_expiry = page.len();
        page.retain(|&(_, location)| {
            let Some(file) = files.get(location.slot()) else { return false };
            // What cannot be read stays: whoever asks for its key is told.
            read_front(file, location).is_ok_and(|front| self.store.has_expired(&front.header))
        });
        self.reaped += self.store.remove_expired(self.side, &page)?;
        if page.len() < with_expiry {
            self.side.may_expire.store(true, Ordering::Release);
        }
        self.next = next;
        Ok(true)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let keys = self.reaped;
        if keys > 0 {
            self.store.events.note(|| Event::Reaped { keys });
        }
    }
}

impl Store {
    /// A pass over the whole keydir.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reap_all(&self) {
        let Some(side) = &self.write_side else { return };
        let mut pass = Pass::new(self, side);
        while pass.reap_page().unwrap_or(false) {}
    }

    /// Removes those that are still where they were; how many.
    fn remove_expired(&self, side: &WriteSide, expired: &[(Digest, Location)]) -> Result<u64> {
        if expired.is_empty() {
            return Ok(0);
        }
        let writer = side.writer();
        side.check()?;
        let mut removed = 0;
        for &(digest, location) in expired {
            // What the absence of the key rests on from now on, before anybody can see it.
            if self.is_unsynced(location) {
                side.deleted.store(writer.appended, Ordering::Release);
            }
            if self.keydir.remove_if(digest, location) {
                self.count_dead(location);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

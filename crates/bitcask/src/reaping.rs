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
use crate::keydir::Digest;
use crate::location::Location;
use crate::read::read_front;
use crate::store::{Store, WriteSide};

/// How many keys are looked at before the writer lock is taken.
const PAGE: usize = 256;

impl Store {
    /// Removes the keys of one page of the keydir, from the digest `from` on, that have expired. Returns where the next
    /// page begins; `None` behind the last.
    pub(crate) fn reap(&self, side: &WriteSide, from: Digest) -> Result<Option<Digest>> {
        if from == Digest::FIRST && !side.may_expire.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        // The table first, and held to the end: so an equal location means the same record.
        let files = self.files.load();
        let mut page = Vec::with_capacity(PAGE);
        let next = self.keydir.page(from, PAGE, &mut page);
        page.retain(|(_, location)| location.has_expiry());
        let with_expiry = page.len();
        page.retain(|&(_, location)| {
            let Some(file) = files.get(location.slot()) else { return false };
            // What cannot be read stays: whoever asks for its key is told.
            read_front(file, location).is_ok_and(|front| self.has_expired(&front.header))
        });
        self.remove_expired(side, &page)?;
        if page.len() < with_expiry {
            side.may_expire.store(true, Ordering::Release);
        }
        Ok(next)
    }

    /// A pass over the whole keydir.
    #[cfg(test)]
    pub(crate) fn reap_all(&self) {
        let Some(side) = &self.write_side else { return };
        let mut next = Some(crate::keydir::Digest::FIRST);
        while let Some(from) = next {
            next = self.reap(side, from).unwrap_or(None);
        }
    }

    fn remove_expired(&self, side: &WriteSide, expired: &[(Digest, Location)]) -> Result<()> {
        if expired.is_empty() {
            return Ok(());
        }
        side.check()?;
        let writer = side.writer();
        for &(digest, location) in expired {
            // What the absence of the key rests on from now on, before anybody can see it.
            if self.is_unsynced(location) {
                side.deleted.store(writer.appended, Ordering::Release);
            }
            if self.keydir.remove_if(digest, location) {
                self.count_dead(location);
            }
        }
        Ok(())
    }
}

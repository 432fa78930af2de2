//! Scans by cursor: a walk through all keys in steps, for callers who cannot hold an iterator.
//!
//! A cursor is a place in digest order. Each key has one place for ever, so a scan goes on after a restart or a merge, ends
//! under any load, and returns every key that was there throughout.

use crate::error::Result;
use crate::keydir::Digest;
use crate::read::{Waits, read_front};
use crate::store::Store;

/// How many entries are taken from the keydir at once, at most.
const PAGE: usize = 256;

/// One step of a scan, from `Bitcask::scan`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPage {
    /// The keys, in no order that means anything.
    pub keys: Vec<Vec<u8>>,
    /// Where to go on; `None` when the scan is over.
    pub next: Option<u64>,
}

impl Store {
    /// Keys from `cursor` on: about `count`, or fewer at the end.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> Result<ScanPage> {
        self.check_open()?;
        let mut keys = Vec::new();
        let mut next = Some(Digest::from_cursor(cursor));
        let mut page = Vec::new();
        let mut last: Option<Digest> = None;
        while let Some(from) = next {
            // Keys that share a cursor come in one step, or the next one would begin before them for ever.
            let is_split = last.is_some_and(|last| last.cursor() == from.cursor());
            if keys.len() >= count.max(1) && !is_split {
                break;
            }
            let limit = count.saturating_sub(keys.len()).clamp(1, PAGE);
            next = self.keydir.page(from, limit, &mut page);
            for (digest, _) in page.drain(..) {
                last = Some(digest);
                keys.extend(self.key_by_digest(digest)?);
            }
        }
        Ok(ScanPage { keys, next: next.map(Digest::cursor) })
    }

    /// The key that has this digest.
    fn key_by_digest(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let found = self.look_up(digest, Waits::AsTheStoreSays, |file, location| {
            let front = read_front(file, location)?;
            Ok((!self.has_expired(&front.header)).then(|| front.key().to_vec()))
        })?;
        Ok(found.flatten())
    }
}

//! Visiting all keys: in digest order, page by page, in constant memory.
//!
//! An iteration is no snapshot. A key that is there from the beginning to the end is visited exactly once, with
//! the value it has when it is visited; a key that comes or goes meanwhile is visited or not.

use crate::error::Result;
use crate::keydir::Digest;
use crate::location::Location;
use crate::read::Value;
use crate::store::Store;

/// How many keys are taken from the keydir at once.
const PAGE: usize = 256;

/// The digests of all keys, page by page.
struct Walk<'a> {
    store: &'a Store,
    /// What is left of the page, ordered so that the next one is the last.
    page: Vec<(Digest, Location)>,
    next: Option<Digest>,
}

impl<'a> Walk<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, page: Vec::new(), next: Some(Digest::FIRST) }
    }
}

impl Iterator for Walk<'_> {
    type Item = Digest;

    fn next(&mut self) -> Option<Digest> {
        while self.page.is_empty() {
            let from = self.next?;
            self.next = self.store.keydir.page(from, PAGE, &mut self.page);
            // Within a page, read the files front to back.
            self.page.sort_unstable_by_key(|(_, location)| {
                std::cmp::Reverse((location.slot(), location.offset()))
            });
        }
        self.page.pop().map(|(digest, _)| digest)
    }
}

/// Iterator over keys, from `Bitcask::keys`.
pub struct Keys<'a>(Walk<'a>);

impl<'a> Keys<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self(Walk::new(store))
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let digest = self.0.next()?;
            if let Some(found) = self.0.store.key_by_digest(digest).transpose() {
                return Some(found);
            }
        }
    }
}

/// Iterator over keys and values, from `Bitcask::iter` and `Bitcask::prefix`.
pub struct Iter<'a> {
    walk: Walk<'a>,
    prefix: Vec<u8>,
}

impl<'a> Iter<'a> {
    pub(crate) fn new(store: &'a Store, prefix: Vec<u8>) -> Self {
        Self { walk: Walk::new(store), prefix }
    }

    /// What has this digest, unless its key is not asked for, or it has gone meanwhile.
    fn read(&self, digest: Digest) -> Result<Option<(Vec<u8>, Value)>> {
        let store = self.walk.store;
        if !self.prefix.is_empty() {
            // The key is a small read; do the large one only where it is wanted.
            let key = store.key_by_digest(digest)?;
            if !key.is_some_and(|key| key.starts_with(&self.prefix)) {
                return Ok(None);
            }
        }
        store.get_by_digest(digest)
    }
}

impl Iterator for Iter<'_> {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let digest = self.walk.next()?;
            if let Some(found) = self.read(digest).transpose() {
                return Some(found);
            }
        }
    }
}

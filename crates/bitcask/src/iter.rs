//! Visiting all keys that a snapshot sees: in digest order, page by page, in constant memory.

use std::sync::Arc;

use crate::error::Result;
use crate::format::codec::Record;
use crate::keydir::Digest;
use crate::location::Location;
use crate::read::{Entry, Value};
use crate::view::View;

/// How many keys are taken from the keydir at once.
const PAGE: usize = 256;

/// The digests of all keys that a view may see, page by page.
struct Walk {
    view: Arc<View>,
    /// What is left of the page, ordered so that the next one is the last.
    page: Vec<(Digest, Location)>,
    next: Option<Digest>,
}

impl Walk {
    fn new(view: Arc<View>) -> Self {
        Self { view, page: Vec::new(), next: Some(Digest::FIRST) }
    }

    fn fill_page(&mut self, from: Digest) {
        let store = &self.view.store;
        // The keydir first: what leaves it meanwhile is among the versions by then.
        let next = store.keydir.page(from, PAGE, &mut self.page);
        let in_keydir = self.page.len();
        self.next = store.versions.page(from, next, PAGE, &mut self.page);
        if self.page.len() > in_keydir {
            let end = self.next;
            self.page.retain(|&(digest, _)| end.is_none_or(|end| digest < end));
            self.page.sort_unstable_by_key(|&(digest, _)| digest);
            self.page.dedup_by_key(|&mut (digest, _)| digest);
        }
        // Within a page, read the files front to back.
        self.page
            .sort_unstable_by_key(|(_, location)| std::cmp::Reverse((location.slot(), location.offset())));
    }
}

impl Iterator for Walk {
    type Item = Digest;

    fn next(&mut self) -> Option<Digest> {
        while self.page.is_empty() {
            let from = self.next?;
            self.fill_page(from);
        }
        self.page.pop().map(|(digest, _)| digest)
    }
}

/// Iterator over keys, from `Bitcask::keys` and `Snapshot::keys`.
pub struct Keys(Walk);

impl Keys {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self(Walk::new(view))
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let digest = self.0.next()?;
            let key =
                self.0.view.front_by_digest(digest).map(|front| front.map(|front| front.key().to_vec()));
            if let Some(found) = key.transpose() {
                return Some(found);
            }
        }
    }
}

/// Iterator over keys and values, from `Bitcask::iter`, `Snapshot::iter` and their `prefix`.
pub struct Iter {
    walk: Walk,
    prefix: Vec<u8>,
}

impl Iter {
    pub(crate) fn new(view: Arc<View>, prefix: Vec<u8>) -> Self {
        Self { walk: Walk::new(view), prefix }
    }

    /// The keys that are still to come, each with its [`Entry`]: the value, its timestamp and its expiry.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use bitcask::PutOptions;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = bitcask::open(dir.path(), bitcask::Options::default())?;
    /// let midnight = SystemTime::now() + Duration::from_secs(3600);
    /// db.put_with("session:1", "Ada", &PutOptions::new().expires_at(midnight))?;
    /// db.put("session:2", "Grace")?;
    /// for entry in db.prefix("session:").entries() {
    ///     let (key, entry) = entry?;
    ///     assert_eq!(entry.expires_at.is_some(), key == b"session:1");
    /// }
    /// # Ok::<(), bitcask::Error>(())
    /// ```
    pub fn entries(self) -> Entries {
        Entries(self)
    }

    fn next_record(&mut self) -> Option<Result<Record>> {
        loop {
            let digest = self.walk.next()?;
            if let Some(found) = self.read(digest).transpose() {
                return Some(found);
            }
        }
    }

    /// What has this digest, unless its key is not asked for.
    fn read(&self, digest: Digest) -> Result<Option<Record>> {
        let view = &self.walk.view;
        if !self.prefix.is_empty() {
            // The key is a small read; do the large one only where it is wanted.
            let front = view.front_by_digest(digest)?;
            if !front.is_some_and(|front| front.key().starts_with(&self.prefix)) {
                return Ok(None);
            }
        }
        view.record_by_digest(digest)
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record()?;
        Some(record.map(|record| (record.key().to_vec(), Value(record))))
    }
}

/// Iterator over keys and their entries, from [`Iter::entries`].
pub struct Entries(Iter);

impl Iterator for Entries {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.0.next_record()?;
        Some(record.map(|record| (record.key().to_vec(), Entry::of(record))))
    }
}

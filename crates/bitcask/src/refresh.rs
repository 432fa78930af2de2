//! How a read-only handle follows its store, whose writer is in another process and knows nothing of it.
//!
//! ```text
//! read the manifest; open the files that are new in it
//! read the log on from where it ended the last time
//! take in what is new, and lead what merges have moved to where it is now
//! sweep: an entry that still leads into a file that is not listed any more is of a key of which nothing is left
//! ```
//! As each list of files is a whole store, it does not matter how many rotations and merges lie between two refreshes. Until
//! the keydir is changed, whatever fails may be the writer at work, and is tried again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::{layout, manifest_file};
use crate::format::footer::Footer;
use crate::format::manifest::Manifest;
use crate::format::position::LogPosition;
use crate::keydir::Digest;
use crate::recovery;
use crate::recovery::load::{Earlier, Loader, Source};
use crate::recovery::plan;
use crate::status::Recovery;
use crate::store::{Followed, Store};
use crate::vfs::Access;

/// How many entries are looked at before a shard is let go.
const PAGE: usize = 256;

/// What a look at the directory has found.
struct News {
    generation: u64,
    merged_through: u64,
    /// The files in log order.
    files: Vec<Arc<DataFile>>,
    /// By slot: whether what the file holds was loaded before.
    stays: Vec<bool>,
    /// The others, as far as they are written.
    sources: Vec<Source>,
    /// Where the log ends.
    end: LogPosition,
    timestamp: u64,
}

impl Store {
    /// Brings a read-only handle up to date. Whether it sees anything that it did not see before.
    pub(crate) fn refresh(&self) -> Result<bool> {
        self.check_open()?;
        if self.write_side.is_some() {
            return Ok(false);
        }
        // What a panic has left is as a refresh that failed half-way.
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.published.load(Ordering::Acquire);
        let news = recovery::until_it_stays(|| self.look(&followed))?;
        if !followed.is_half_way {
            // As if there were a snapshot: whoever takes one from now until the end sees the state before.
            self.versions.take(before);
            followed.is_half_way = true;
        }
        let timestamp = news.timestamp.max(before);
        let News { generation, merged_through, end, .. } = news;
        let files = news.files.clone();
        self.take_in(news, before)?;
        *self.order() = files;
        self.published.store(timestamp, Ordering::Release);
        *followed = Followed { generation, end, merged_through, is_half_way: false };
        self.versions.release(before);
        self.let_go();
        Ok(timestamp > before)
    }

    /// Reads what is new, and changes nothing but that new files are open.
    fn look(&self, followed: &Followed) -> Result<News> {
        let manifest = manifest_file::read(&*self.dir)?.ok_or_else(|| Error::NotAStore {
            path: self.path.clone(),
            reason: "its MANIFEST is gone".to_owned(),
        })?;
        self.check_follows(&manifest, followed)?;
        let files = self.open_listed(&manifest)?;
        let mut stays = vec![false; self.files.load().slots()];
        for file in self.loaded(followed.end)? {
            stays[file.slot().index()] = files.iter().any(|listed| listed.id() == file.id());
        }
        let rest = files.iter().rposition(|file| stays[file.slot().index()]).map_or(0, |last| last + 1);
        let mut sources = Vec::new();
        let mut timestamp = 0;
        for file in files[..rest].iter().filter(|file| !stays[file.slot().index()]) {
            let footer = output_footer(file)?;
            timestamp = timestamp.max(footer.last_timestamp);
            file.set_data_len(footer.data_len);
            sources.push(Source::sealed(Arc::clone(file), footer));
        }
        let (log, last_timestamp) = plan::follow(&files[rest..], &self.keydir, followed.end)?;
        let end = match (log.last(), files[..rest].last()) {
            (Some(last), _) => last.end(),
            (None, Some(last)) => last.end(),
            (None, None) => LogPosition::START,
        };
        if let Some(file) = files.iter().find(|file| file.id() == followed.end.file) {
            // What it held was loaded, and is added to.
            stays[file.slot().index()] = true;
        }
        sources.extend(log.into_iter().map(|file| file.into_source(&self.identity, &self.keydir)));
        let Manifest { generation, merged_through, .. } = manifest;
        // Also where all that was newest is gone.
        let timestamp = timestamp.max(last_timestamp).max(merged_through);
        Ok(News { generation, merged_through, files, stays, sources, end, timestamp })
    }

    /// Refuses a manifest that does not come after the one that was read last.
    fn check_follows(&self, manifest: &Manifest, followed: &Followed) -> Result<()> {
        let (now, then) = (manifest.identity(), &self.identity);
        let reason = if (now.store, now.secret, now.format) != (then.store, then.secret, then.format) {
            "it is the manifest of another store now: open the store again"
        } else if manifest.generation < followed.generation {
            "an older manifest was put back: open the store again"
        } else {
            return Ok(());
        };
        Err(Error::ForeignFile { file: layout::MANIFEST.to_owned(), reason: reason.to_owned() })
    }

    /// The listed files in log order; those that are not open yet are opened.
    fn open_listed(&self, manifest: &Manifest) -> Result<Vec<Arc<DataFile>>> {
        let open = |id| {
            if let Some(file) = self.files.load().iter().find(|file| file.id() == id) {
                return Ok(Arc::clone(file));
            }
            let slot = self
                .files
                .free_slot()
                .ok_or(Error::Full { what: "the table of open files", remedy: "open the store again" })?;
            let file = DataFile::open(&*self.dir, id, &self.identity, slot, Access::Read, 0)?;
            self.files.insert(Arc::clone(&file));
            Ok(file)
        };
        manifest.files.iter().map(|listed| open(listed.id)).collect()
    }

    /// The files of which everything is loaded, when the log ended at `end`.
    fn loaded(&self, end: LogPosition) -> Result<Vec<Arc<DataFile>>> {
        let mut loaded = self.order().clone();
        let last = loaded.iter().position(|file| file.id() == end.file);
        let is_complete = match last {
            Some(last) => loaded[last].known_footer()?.is_some_and(|footer| footer.data_len == end.offset),
            None => false,
        };
        if let Some(last) = last.filter(|_| is_complete) {
            // A footer comes once all before it is synced.
            loaded[last].raise_synced_len(end.offset);
        }
        loaded.truncate(last.map_or(0, |last| last + usize::from(is_complete)));
        Ok(loaded)
    }

    /// Changes the keydir from the state at `before` to that of the news.
    fn take_in(&self, mut news: News, before: u64) -> Result<()> {
        let files: Vec<_> = self.files.load().iter().cloned().collect();
        let unlisted = self.unlisted(&news.files);
        let earlier = Earlier { timestamp: before, stays: news.stays, files, versions: &self.versions };
        Loader::new(&*self.dir, &self.identity, &self.keydir, &self.options, &*self.clock)
            .onto(earlier)
            .load(&mut news.sources, &mut Recovery::default())?;
        if unlisted.iter().any(|file| file.live.keys() > 0) {
            self.sweep(&unlisted, before + 1);
        }
        Ok(())
    }

    /// The open files that are not among these.
    fn unlisted(&self, listed: &[Arc<DataFile>]) -> Vec<Arc<DataFile>> {
        let is_listed = |file: &&Arc<DataFile>| listed.iter().any(|listed| listed.id() == file.id());
        self.files.load().iter().filter(|file| !is_listed(file)).cloned().collect()
    }

    /// Removes the entries that lead into `unlisted` files. Their keys were deleted at `timestamp` or later.
    fn sweep(&self, unlisted: &[Arc<DataFile>], timestamp: u64) {
        let mut next = Some(Digest::FIRST);
        let mut page = Vec::with_capacity(PAGE);
        while let Some(from) = next {
            next = self.keydir.page(from, PAGE, &mut page);
            for (digest, location) in page.drain(..) {
                let Some(file) = unlisted.iter().find(|file| file.slot() == location.slot()) else {
                    continue;
                };
                let mut shard = self.keydir.write_shard(digest.shard());
                self.versions.keep(digest, location, timestamp);
                shard.remove(digest);
                file.count_dead(location);
            }
        }
    }

    /// Closes the files that are not listed any more, unless a snapshot may see them.
    fn let_go(&self) {
        if self.versions.any_snapshot() {
            return;
        }
        let unlisted = self.unlisted(&self.order());
        if !unlisted.is_empty() {
            self.files.remove(&unlisted);
        }
    }
}

/// The footer of a file that a merge has put among files that were loaded before.
fn output_footer(file: &DataFile) -> Result<Footer> {
    let missing =
        || Error::corruption(file.name(), 0, "it has no footer, and files that follow it were complete");
    file.known_footer()?.ok_or_else(missing)
}

//! Making what the plan found durable and final. Only the one writer does this, under the lock, before anybody reads, and
//! after the keydir was filled: whatever makes an open refuse the store is met before anything is changed.
//!
//! ```text
//! 1. each file of the log that has no footer: write what no sync is known to have covered again in place, and sync:
//!    a page that a failed or missing sync left in the cache may not be on the disk
//! 2. give it its footer: *rotated* where a successor follows, *cut* where the log ends in it
//!    (a file that was closed in good order stays open for appending instead)
//! 3. cut the files that are of no more use down to their headers, and sync
//! ```
//! What an earlier settling has done may be in the cache only, if it was killed before it could sync: a footer at the
//! end of the log, a cut. Both are synced before anything is written that rests on them, the footer after it was written
//! again, for its sync may have failed.
//!
//! A crash after any step leads to the same plan: behind a *cut* only what began after the cut follows.
//! A cut file is never appended to: its successor has another salt, so nothing behind the cut can come back.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::format::footer::{Ending, Footer};
use crate::format::manifest::Identity;
use crate::keydir::Keydir;
use crate::recovery::load::Source;
use crate::recovery::plan::{Content, LogFile, Plan};
use crate::vfs::{self, Access, Dir};

/// How much is written again at once.
const PIECE: usize = 1 << 20;

/// What the plan found and is to be made durable and final.
pub(crate) struct Unsettled {
    log: Vec<UnsettledFile>,
    clean: bool,
    empty: Vec<Arc<DataFile>>,
    lost: Vec<Arc<DataFile>>,
}

struct UnsettledFile {
    file: Arc<DataFile>,
    /// How far syncs are known to have covered it.
    synced: u64,
    content: UnsettledContent,
}

enum UnsettledContent {
    /// It has this footer.
    Sealed(Footer),
    /// It gets such a footer, or is appended to.
    Scanned { footer: Footer, last_timestamp: u64, has_keys: bool },
}

/// What is left to do once the log is settled.
pub(crate) struct Settled {
    /// The files of the log, in its order.
    pub(crate) log: Vec<Arc<DataFile>>,
    /// The file that goes on, when the log was closed in good order.
    pub(crate) active: Option<Active>,
    /// The empty file that the active one goes on in, when there is one.
    pub(crate) successor: Option<Arc<DataFile>>,
    /// Files that are of no more use: to be removed once the manifest does not list them.
    pub(crate) discarded: Vec<Arc<DataFile>>,
}

/// A file that records are appended to again.
pub(crate) struct Active {
    pub(crate) file: Arc<DataFile>,
    /// Whether it holds any value or tombstone.
    pub(crate) has_keys: bool,
}

impl Plan {
    /// What is to be settled, and where the keydir is filled from before that, in log order.
    pub(crate) fn split(self, identity: &Identity, keydir: &Keydir) -> (Unsettled, Vec<Source>) {
        let Self { log, clean, empty, lost, .. } = self;
        let (log, sources) = log.into_iter().map(|file| file.split(identity, keydir)).unzip();
        (Unsettled { log, clean, empty, lost }, sources)
    }
}

impl LogFile {
    fn split(self, identity: &Identity, keydir: &Keydir) -> (UnsettledFile, Source) {
        let Self { file, content, synced } = self;
        let (content, source) = match content {
            Content::Sealed(footer) => {
                let source = Source::sealed(Arc::clone(&file), footer.clone());
                (UnsettledContent::Sealed(footer), source)
            }
            Content::Scanned(inventory) => {
                let content = UnsettledContent::Scanned {
                    footer: inventory.footer(Ending::Cut),
                    last_timestamp: inventory.last_timestamp(),
                    has_keys: inventory.has_keys(),
                };
                let hints = inventory.into_hints(identity.store, &file, keydir);
                (content, Source::scanned(Arc::clone(&file), hints))
            }
        };
        (UnsettledFile { file, synced, content }, source)
    }

    /// What the keydir is filled from when nothing may be settled: the file as it is.
    pub(crate) fn into_source(self, identity: &Identity, keydir: &Keydir) -> Source {
        self.split(identity, keydir).1
    }
}

/// Carries out the three steps, and writes down the hints that scans of `sources` have made.
pub(crate) fn settle(dir: &dyn Dir, unsettled: Unsettled, sources: &[Source]) -> Result<Settled> {
    let Unsettled { log, clean, empty, lost } = unsettled;
    planted!("a log that was cut is appended to", let clean = true);
    let mut settled = Settled { log: Vec::new(), active: None, successor: None, discarded: lost };
    let count = log.len();
    for (index, (unsettled, source)) in log.into_iter().zip(sources).enumerate() {
        let UnsettledFile { file, synced, content } = unsettled;
        let is_last = index + 1 == count;
        let (footer, last_timestamp, has_keys) = match content {
            UnsettledContent::Sealed(footer) => {
                if is_last {
                    rewrite_footer(dir, &file, &footer)?;
                }
                source.write_new_hints(dir);
                settled.log.push(file);
                continue;
            }
            UnsettledContent::Scanned { footer, last_timestamp, has_keys } => {
                (footer, last_timestamp, has_keys)
            }
        };
        let end = footer.data_len;
        rewrite(&file, synced.min(end).max(file.first_record()), end)?;
        file.raise_synced_len(end);
        if is_last && clean {
            settled.active = Some(Active { file: Arc::clone(&file), has_keys });
        } else if is_last && !has_keys {
            // Nothing in it is worth a file of its own.
            settled.discarded.push(file);
            continue;
        } else {
            let ending = if is_last { Ending::Cut } else { Ending::Rotated };
            planted!("a cut file says that it was rotated", let ending = Ending::Rotated);
            file.seal(&Footer { ending, ..footer }, last_timestamp)?;
            planted!("a cut is not synced", (), file.sync()?);
            source.write_new_hints(dir);
        }
        settled.log.push(file);
    }
    let mut empty = empty.into_iter();
    if settled.active.is_some() {
        settled.successor = empty.next();
    }
    // After an unclean end none of them is used: what looks empty may have been cut by a sync that failed.
    settled.discarded.extend(empty);
    for file in &settled.discarded {
        file.truncate(file.first_record())?;
        planted!("an emptied file is not synced", (), file.sync()?);
    }
    Ok(settled)
}

/// Writes the footer of a file that is open for reading only again in place, and syncs it: where its sync has failed, a
/// sync alone would not bring it to the disk.
fn rewrite_footer(dir: &dyn Dir, file: &DataFile, footer: &Footer) -> Result<()> {
    planted!("a footer in the cache is enough", return Ok(()));
    let mut record = vec![0; usize::try_from(file.file_len()? - footer.data_len).unwrap_or(0)];
    file.read(&mut record, footer.data_len)?;
    let rewritten = dir.open(file.name(), Access::ReadWrite).and_then(|again| {
        vfs::write_all_at(&*again, &record, footer.data_len)?;
        again.sync()
    });
    rewritten.map_err(|source| Error::io("sync", file.name(), source))
}

/// Writes the bytes from `from` to `end` again where they are, and syncs the file.
fn rewrite(file: &DataFile, from: u64, end: u64) -> Result<()> {
    planted!("what only the cache may have is not written again", return file.sync());
    let mut piece = vec![0; PIECE];
    let mut at = from;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        file.read(&mut piece[..len], at)?;
        file.write(&piece[..len], at)?;
        at += len as u64;
    }
    file.sync()
}

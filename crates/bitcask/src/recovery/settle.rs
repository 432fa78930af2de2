//! Making what the plan found durable and final. Only the one writer does this, under the lock, before anybody reads.
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

/// What is left to do once the log is settled.
pub(crate) struct Settled {
    /// Where the keydir is filled from, in log order.
    pub(crate) sources: Vec<Source>,
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

/// Carries out the three steps.
pub(crate) fn settle(dir: &dyn Dir, identity: &Identity, keydir: &Keydir, plan: Plan) -> Result<Settled> {
    let Plan { log, clean, empty, lost, .. } = plan;
    let mut settled = Settled { sources: Vec::new(), active: None, successor: None, discarded: lost };
    let count = log.len();
    for (index, LogFile { file, content, synced }) in log.into_iter().enumerate() {
        let is_last = index + 1 == count;
        let inventory = match content {
            Content::Sealed(footer) => {
                if is_last {
                    rewrite_footer(dir, &file, &footer)?;
                }
                settled.sources.push(Source::sealed(file, footer));
                continue;
            }
            Content::Scanned(inventory) => inventory,
        };
        rewrite(&file, synced.min(inventory.end).max(file.first_record()), inventory.end)?;
        file.raise_synced_len(inventory.end);
        if is_last && clean {
            settled.active = Some(Active { file: Arc::clone(&file), has_keys: inventory.has_keys() });
        } else if is_last && !inventory.has_keys() {
            // Nothing in it is worth a file of its own.
            settled.discarded.push(file);
            continue;
        } else {
            let ending = if is_last { Ending::Cut } else { Ending::Rotated };
            file.seal(&inventory.footer(ending), inventory.last_timestamp())?;
            file.sync()?;
        }
        let goes_on = settled.active.is_some();
        let hints = inventory.into_hints(identity.store, &file, keydir);
        if !goes_on {
            hints.write_if_possible(dir);
        }
        settled.sources.push(Source::scanned(file, hints));
    }
    let mut empty = empty.into_iter();
    if settled.active.is_some() {
        settled.successor = empty.next();
    }
    // After an unclean end none of them is used: what looks empty may have been cut by a sync that failed.
    settled.discarded.extend(empty);
    for file in &settled.discarded {
        file.truncate(file.first_record())?;
        file.sync()?;
    }
    Ok(settled)
}

/// Writes the footer of a file that is open for reading only again in place, and syncs it: where its sync has failed, a
/// sync alone would not bring it to the disk.
fn rewrite_footer(dir: &dyn Dir, file: &DataFile, footer: &Footer) -> Result<()> {
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

impl LogFile {
    /// What the keydir is filled from when nothing may be settled: the file as it is.
    pub(crate) fn into_source(self, identity: &Identity, keydir: &Keydir) -> Source {
        match self.content {
            Content::Sealed(footer) => Source::sealed(self.file, footer),
            Content::Scanned(inventory) => {
                let hints = inventory.into_hints(identity.store, &self.file, keydir);
                Source::scanned(self.file, hints)
            }
        }
    }
}

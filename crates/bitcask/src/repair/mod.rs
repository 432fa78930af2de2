//! Mending what can be mended, and only what was asked for.
//!
//! Nothing here guesses behind the user's back: an open refuses where keys would be missing, and these are the ways on.
//! Whatever writes takes the store's lock.

mod order;
mod records;
mod salvage;
mod seal;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::target;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout::{self, Name};
use crate::file::manifest_file;
use crate::file::replace::ReplaceError;
use crate::format::manifest::Manifest;
use crate::keydir::Keydir;
use crate::location::Slot;
use crate::opening;
use crate::options::{Maintenance, OpenMode, Options};
use crate::progress::{self, Meter, Progress, Watcher};
use crate::recovery;
use crate::recovery::inventory::Inventory;
use crate::recovery::plan;
use crate::repair::order::Ordered;
use crate::status::{Damage, TornTail};
use crate::verify;
use crate::vfs::os::OsVfs;
use crate::vfs::{self, Access, Dir, DirAccess, Io, Vfs};

pub use seal::{EditedLine, edited_lines, seal_lines};

#[cfg(any(test, fuzzing))]
pub(crate) use seal::{edited_lines_on, seal_lines_on};

/// What [`repair`] is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// Change nothing: tell what [`verify`](crate::verify()) says, also where the manifest is damaged or missing, and what
    /// could be done.
    Report,
    /// Cut the incomplete last write off the log, as any open for writing does.
    CutTail,
    /// Make the hint files of all complete data files anew.
    Hints,
    /// Make a damaged or missing manifest anew from the headers of the data files, or finish a backup that was cut short
    /// in its last step. A damaged manifest is kept as `MANIFEST.damaged`.
    Manifest,
    /// Put everything that can still be read into a new store in this directory, which is missing or empty. The damaged
    /// store is only read. The absence of a key from the new store proves nothing; a key whose newest record is lost may
    /// have an older value, or be back though it was deleted; and of a batch there may be a part. Unless it returns `Ok`
    /// the new store is not complete.
    Salvage(PathBuf),
}

/// What [`repair`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The incomplete last write: found, or cut off.
    pub torn_tail: Option<TornTail>,
    /// Damage that was found and is still there.
    pub damage: Vec<Damage>,
    /// What could be done about it, the gentlest first.
    pub remedies: Vec<Remedy>,
    /// [`Repair::Salvage`]: what could not be read.
    pub lost: Vec<LostRange>,
    /// [`Repair::Salvage`]: count of keys in the new store.
    pub salvaged: u64,
    /// [`Repair::Hints`]: count of hint files that were written.
    pub hints: u64,
    /// [`Repair::Manifest`]: names of the data files that the new manifest lists, in log order.
    pub listed: Vec<String>,
}

/// What could be done about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// [`Repair::CutTail`], or any open for writing.
    CutTail,
    /// [`Repair::Hints`], or any open for writing.
    Hints,
    /// [`Repair::Manifest`].
    Manifest,
    /// [`seal_lines`], if the damaged lines of a text store are what somebody has written there.
    SealLines,
    /// Restoring a backup; or [`Repair::Salvage`] where there is none.
    Salvage,
}

/// A stretch of a data file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRange {
    /// Name of the file inside the store's directory.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What was there, as far as that is known, or why it cannot be read.
    pub what: String,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {} bytes: {}", self.file, self.offset, self.len, self.what)
    }
}

/// Mends the store in `path`, or tells what is wrong with it.
///
/// # Errors
/// [`Error::NotAStore`] when the directory holds no data files. [`Error::Locked`] when something is to be changed while
/// the store is open for writing. [`Error::UnfitTarget`] when there is nothing to mend, or the directory for a new store
/// is not empty. [`Error::Corruption`] when this way does not mend the damage: then nothing was changed.
///
/// ```
/// use bitcask::{Options, Repair, repair};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data");
/// let db = bitcask::open(&path, Options::default())?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
///
/// std::fs::remove_file(path.join("MANIFEST")).unwrap();
/// assert!(bitcask::open(&path, Options::default()).is_err());
/// let report = repair(&path, &Repair::Manifest)?;
/// assert_eq!(report.listed, ["0000000001.data"]);
/// let db = bitcask::open(&path, Options::default())?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn repair(path: impl AsRef<Path>, how: &Repair) -> Result<RepairReport> {
    repair_with(path, how, &mut progress::unwatched)
}

/// [`repair`], telling `progress` how far it has come where that takes long.
///
/// # Errors
/// Those of [`repair`].
pub fn repair_with(
    path: impl AsRef<Path>,
    how: &Repair,
    progress: &mut dyn FnMut(Progress),
) -> Result<RepairReport> {
    repair_on(&OsVfs::new(Io::Syscall), Arc::new(SystemClock::new()), path.as_ref(), how, progress)
}

/// [`repair_with`] on any file system and clock.
pub(crate) fn repair_on(
    vfs: &dyn Vfs,
    clock: Arc<dyn Clock>,
    path: &Path,
    how: &Repair,
    watcher: Watcher<'_>,
) -> Result<RepairReport> {
    let access = match how {
        Repair::Report | Repair::Salvage(_) => DirAccess::ReadOnly,
        Repair::CutTail | Repair::Hints | Repair::Manifest => DirAccess::ReadWrite,
    };
    let not_a_store = |reason: String| Error::NotAStore { path: path.to_owned(), reason };
    let dir = vfs.open_dir(path, access).map_err(|source| not_a_store(source.to_string()))?;
    let no_files = || not_a_store("it holds no data file with a whole header".to_owned());
    // Before anything is touched: what is no store gets no lock file either.
    holds_store(&*dir)?.then_some(()).ok_or_else(no_files)?;
    match how {
        Repair::Report => {
            // A writer may be at work.
            return recovery::until_it_stays(|| examine(&*dir, watcher)?.ok_or_else(no_files));
        }
        Repair::Salvage(target) => {
            let (manifest, report) = read_or_order(&*dir)?.ok_or_else(no_files)?;
            return salvage::salvage(vfs, clock, &*dir, &manifest, target, report, watcher);
        }
        Repair::CutTail => return cut_tail(vfs, clock, path),
        Repair::Hints | Repair::Manifest => {}
    }
    let lock = dir.lock(layout::LOCK).map_err(|source| Error::io("lock", layout::LOCK, source))?;
    let _lock = lock.ok_or_else(|| Error::Locked { path: path.to_owned() })?;
    match how {
        Repair::Hints => {
            let no_manifest = || not_a_store("it has no MANIFEST: make that anew first".to_owned());
            make_hints(&*dir, &manifest_file::read(&*dir)?.ok_or_else(no_manifest)?, watcher)
        }
        _ => make_manifest(&*dir, path)?.ok_or_else(no_files),
    }
}

/// Whether there is anything of a store in the directory but its lock file.
fn holds_store(dir: &dyn Dir) -> Result<bool> {
    let names = dir.list().map_err(|source| Error::io("list", "the store's directory", source))?;
    let is_store = |name: &String| {
        matches!(layout::parse(name), Name::Manifest | Name::ManifestBackup | Name::Data(..) | Name::Backup)
    };
    Ok(names.iter().any(is_store))
}

/// The manifest; or, where there is no whole one, what the data files tell, and a report of that.
fn read_or_order(dir: &dyn Dir) -> Result<Option<(Manifest, RepairReport)>> {
    let mut report = RepairReport::default();
    let what = match manifest_file::read(dir) {
        Ok(Some(manifest)) => return Ok(Some((manifest, report))),
        Ok(None) => "it is missing".to_owned(),
        Err(Error::Corruption { what, .. }) => what,
        Err(error) => return Err(error),
    };
    let Some(Ordered { manifest, unfit, .. }) = order::from_files(dir)? else { return Ok(None) };
    report.damage.push(Damage { file: layout::MANIFEST.to_owned(), offset: 0, what });
    report.damage.extend(unfit.into_iter().map(|(file, error)| damage_of(file, error)));
    report.remedies.push(Remedy::Manifest);
    Ok(Some((manifest, report)))
}

/// The damage that keeps a file from being opened.
fn damage_of(file: String, error: Error) -> Damage {
    match error {
        Error::Corruption { offset, what, .. } => Damage { file, offset, what },
        error => Damage { file, offset: 0, what: error.to_string() },
    }
}

fn examine(dir: &dyn Dir, watcher: Watcher<'_>) -> Result<Option<RepairReport>> {
    let Some((manifest, mut report)) = read_or_order(dir)? else { return Ok(None) };
    let is_text = manifest.format.syntax().is_some();
    if is_text && seal::edited_lines_in(dir, &manifest)?.iter().any(|line| line.can_be_sealed) {
        report.remedies.push(Remedy::SealLines);
    }
    let (verified, _) = verify::verify_listed(dir, manifest, watcher)?;
    if verified.torn_tail.is_some() {
        report.remedies.push(Remedy::CutTail);
    }
    for damage in verified.damage {
        match layout::parse(&damage.file) {
            Name::Hint(_) => report.remedies.push(Remedy::Hints),
            // Whoever put it there has to take it away.
            Name::Foreign => {}
            _ => report.remedies.push(Remedy::Salvage),
        }
        report.damage.push(damage);
    }
    report.torn_tail = verified.torn_tail;
    report.remedies.sort_unstable();
    report.remedies.dedup();
    Ok(Some(report))
}

fn cut_tail(vfs: &dyn Vfs, clock: Arc<dyn Clock>, path: &Path) -> Result<RepairReport> {
    let mut options = Options::new().mode(OpenMode::Existing);
    options.maintenance = Maintenance::Callers;
    let store = opening::open(vfs, clock, path, options)?;
    let report = RepairReport {
        torn_tail: store.recovery.torn_tail.clone(),
        damage: store.recovery.damaged.clone(),
        ..RepairReport::default()
    };
    store.close()?;
    Ok(report)
}

/// Writes a hint file for each complete file whose records are as its footer says.
fn make_hints(dir: &dyn Dir, manifest: &Manifest, watcher: Watcher<'_>) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    let keydir = Keydir::new(manifest.secret.0);
    let mut files = Vec::new();
    for listed in &manifest.files {
        match DataFile::open(dir, listed.id, &manifest.identity(), Slot::FIRST, Access::Read, 0) {
            Ok(file) => files.push(file),
            Err(Error::Corruption { file, offset, what }) => {
                report.damage.push(Damage { file, offset, what })
            }
            Err(error) => return Err(error),
        }
    }
    let mut meter = Meter::new(files.iter().map(|file| file.file_len()).sum::<Result<u64>>()?, watcher);
    for file in &files {
        meter.add(file.file_len()?);
        let Some(footer) = file.footer()? else { continue };
        let inventory = Inventory::take(file, footer.data_len, &keydir)?;
        if inventory.footer(footer.ending) != footer {
            let (offset, what) = match (&inventory.defect, inventory.damaged.first()) {
                (Some(defect), _) => (inventory.end, defect.to_string()),
                (None, Some(value)) => (value.offset, value.report(file).what),
                (None, None) => (footer.data_len, "the footer does not fit the records before it".to_owned()),
            };
            report.damage.push(Damage { file: file.name().to_owned(), offset, what });
            continue;
        }
        file.set_data_len(footer.data_len);
        let hints: Hints = inventory.into_hints(manifest.store, file, &keydir);
        hints.write(dir)?;
        report.hints += 1;
    }
    sync(dir)?;
    Ok(report)
}

/// Makes the manifest anew; `None` when there is no data file to make it from.
fn make_manifest(dir: &dyn Dir, path: &Path) -> Result<Option<RepairReport>> {
    let is_damaged = match manifest_file::read(dir) {
        Ok(Some(_)) => {
            return Err(Error::UnfitTarget {
                path: path.to_owned(),
                reason: "its MANIFEST is whole; to have it made anew, move it elsewhere first".to_owned(),
            });
        }
        Ok(None) => false,
        Err(Error::Corruption { .. }) => true,
        Err(error) => return Err(error),
    };
    let report = |manifest: &Manifest| RepairReport {
        listed: manifest.files.iter().map(|file| layout::data(file.id, manifest.format)).collect(),
        ..RepairReport::default()
    };
    if !is_damaged && target::is_backup(dir)? {
        // Its last step was cut short; what it lacks lies beside it. Otherwise it was never whole.
        let staged = manifest_file::read_staged(dir)?.ok_or_else(|| Error::NotAStore {
            path: path.to_owned(),
            reason: "it is a backup that was never finished: make it again".to_owned(),
        })?;
        target::finish(dir, &staged)?;
        return Ok(Some(report(&staged)));
    }
    let Some(ordered) = order::from_files(dir)? else { return Ok(None) };
    if let Some((_, error)) = ordered.unfit.into_iter().next() {
        return Err(error);
    }
    let manifest = ordered.manifest;
    // Refuses what an open would refuse, before anything is changed.
    let open = |(index, listed): (usize, &crate::format::manifest::ListedFile)| {
        let slot = Slot::new(index).unwrap_or(Slot::FIRST);
        DataFile::open(dir, listed.id, &manifest.identity(), slot, Access::Read, 0)
    };
    let files = manifest.files.iter().enumerate().map(open).collect::<Result<Vec<_>>>()?;
    plan::plan(&files, &Keydir::new(manifest.secret.0), manifest.synced)?;
    if is_damaged {
        let renamed = dir.rename(layout::MANIFEST, &layout::damaged(layout::MANIFEST));
        renamed.map_err(|source| Error::io("rename", layout::MANIFEST, source))?;
    }
    manifest_file::replace(dir, &manifest).map_err(ReplaceError::into_error)?;
    for id in ordered.superseded {
        for name in [layout::data(id, manifest.format), layout::hint(id)] {
            vfs::remove_if_present(dir, &name).map_err(|source| Error::io("remove", name, source))?;
        }
    }
    sync(dir)?;
    Ok(Some(report(&manifest)))
}

fn sync(dir: &dyn Dir) -> Result<()> {
    dir.sync().map_err(|source| Error::io("sync", "the store's directory", source))
}

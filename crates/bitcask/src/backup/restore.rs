//! From a backup to a store: a copy in which every byte was checked.
//!
//! ```text
//! open all files that the manifest lists; read the manifest again: it must be the same
//! lock the new directory, which must be empty; copy the files into it; sync them and the directory
//! verify the copies
//! write the manifest
//! ```
//! The copies are verified, not the originals: what was read is what was written. Without a manifest the directory is
//! no store; whatever goes wrong, the copies are removed.

use std::path::Path;
use std::sync::Arc;

use crate::backup::copy::FileCopy;
use crate::backup::target::{self, sync};
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout::{self, Name};
use crate::file::manifest_file;
use crate::file::replace::ReplaceError;
use crate::format::manifest::Manifest;
use crate::location::Slot;
use crate::progress::{self, Meter, Progress, Watcher};
use crate::verify;
use crate::vfs::os::OsVfs;
use crate::vfs::{Access, Dir, DirAccess, Io, Vfs};

/// What [`restore`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Count of data files that were copied.
    pub files: u64,
    /// Count of records in them, the log's own among them.
    pub records: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// Makes a store in the directory `path`, which is missing or empty, from a backup, and checks every byte of it.
///
/// A store that was closed can be restored from as well. Nothing is shared with the backup: files are copied.
///
/// # Errors
/// [`Error::Corruption`] when the backup is damaged, with file and offset: then no store is made.
/// [`Error::UnfitTarget`] when `path` is not empty, or lies in the backup. [`Error::NotAStore`] when there is no backup
/// in `backup`, or it is not finished.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let (data, copy, again) = (dir.path().join("data"), dir.path().join("copy"), dir.path().join("again"));
/// let db = bitcask::open(&data, bitcask::Options::default())?;
/// db.put("user:1", "Ada")?;
/// db.backup(&copy)?;
/// db.put("user:1", "Grace")?;
///
/// bitcask::restore(&copy, &again)?;
/// let db = bitcask::open(&again, bitcask::Options::default())?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn restore(backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<RestoreReport> {
    restore_with(backup, path, &mut progress::unwatched)
}

/// [`restore`], telling `progress` how far it has come: each byte is copied, then checked, so it counts twice.
///
/// # Errors
/// Those of [`restore`].
pub fn restore_with(
    backup: impl AsRef<Path>,
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport> {
    restore_on(&OsVfs::new(Io::Syscall), backup.as_ref(), path.as_ref(), progress)
}

/// [`restore_with`] on any file system.
pub(crate) fn restore_on(
    vfs: &dyn Vfs,
    backup: &Path,
    path: &Path,
    watcher: Watcher<'_>,
) -> Result<RestoreReport> {
    let not_a_store = |reason: &str| Error::NotAStore { path: backup.to_owned(), reason: reason.to_owned() };
    let source =
        vfs.open_dir(backup, DirAccess::ReadOnly).map_err(|error| not_a_store(&error.to_string()))?;
    let Some(manifest) = manifest_file::read(&*source)? else {
        return Err(not_a_store(match target::is_backup(&*source)? {
            true => "it is a backup that was not finished: make it again, or finish it with `bitcask repair`",
            false => "it has no MANIFEST",
        }));
    };
    let (files, hints) = open_files(&*source, &manifest)?;
    if manifest_file::read(&*source)?.as_ref() != Some(&manifest) {
        // Its files are replaced only while there is no manifest, so these are all of one backup otherwise.
        return Err(not_a_store("it is being written to: try again later"));
    }
    let (dir, _lock) = target::take(vfs, &*source, path, |dir| target::check_empty(dir, path))?;
    let copies: Vec<FileCopy> = files.into_iter().chain(hints).collect();
    let restored = fill(&*dir, path, &copies, manifest, watcher);
    if restored.is_err() {
        target::clear(&*dir);
    }
    restored
}

/// The listed data files and their hint files, open, each to be copied whole.
fn open_files(dir: &dyn Dir, manifest: &Manifest) -> Result<(Vec<FileCopy>, Vec<FileCopy>)> {
    let mut files = Vec::new();
    for listed in &manifest.files {
        let file: Arc<DataFile> =
            DataFile::open(dir, listed.id, &manifest.identity(), Slot::FIRST, Access::Read, 0)?;
        files.push(FileCopy::of_data(&file, file.file_len()?).in_place());
    }
    let hints = manifest.files.iter().filter_map(|listed| FileCopy::of_hints(dir, &layout::hint(listed.id)));
    Ok((files, hints.map(FileCopy::in_place).collect()))
}

fn fill(
    dir: &dyn Dir,
    path: &Path,
    copies: &[FileCopy],
    manifest: Manifest,
    watcher: Watcher<'_>,
) -> Result<RestoreReport> {
    let bytes: u64 = copies.iter().map(FileCopy::counted_len).sum();
    let mut meter = Meter::new(bytes * 2, watcher);
    for copy in copies {
        copy.run(dir, path, &mut meter)?;
    }
    planted!("the names of restored files are not synced", (), sync(dir)?);
    let mut checked = 0;
    let mut watch = |progress: Progress| {
        meter.add(progress.done - checked);
        checked = progress.done;
    };
    let (report, is_closed) = verify::verify_listed(dir, manifest.clone(), &mut watch)?;
    for damage in report.damage {
        match layout::parse(&damage.file) {
            // It is made again by the next open.
            Name::Hint(id) => Hints::remove(dir, id)?,
            _ => return Err(Error::corruption(damage.file, damage.offset, damage.what)),
        }
    }
    if let Some(torn) = report.torn_tail {
        return Err(Error::corruption(torn.file, torn.offset, "the end of the log is torn off here"));
    }
    if let Some(last) = manifest.files.last().filter(|_| !is_closed) {
        let what = "the log does not end as a backup and a store that was closed do";
        return Err(Error::corruption(layout::data(last.id, manifest.format), 0, what));
    }
    manifest_file::replace(dir, &manifest).map_err(ReplaceError::into_error)?;
    Ok(RestoreReport { files: manifest.files.len() as u64, records: report.records, bytes })
}

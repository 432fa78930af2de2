//! The directory that a backup goes to: whether it may, and how its new state takes the place of the old one.
//!
//! ```text
//! stage    put each new file beside its place, as NAME.tmp; sync the files and the directory
//!          write the new manifest to MANIFEST.tmp; sync it and the directory
//! finish   put the old manifest aside; sync the directory
//!          put the staged files into their places, remove what is not listed; sync the directory
//!          rename MANIFEST.tmp to MANIFEST; sync the directory
//! ```
//! Until `finish` the old state stands, so whatever fails before, a full disk above all, costs nothing. While it runs
//! there is no MANIFEST, and nobody takes a mixture for a backup. All it needs lies durable in the directory: whoever
//! comes next finishes it, also without the store. Files that are not listed any more are removed before the new
//! manifest is in its place, so that whoever opens the backup finds what it lists and nothing else.
//!
//! `BACKUP` is there from the first moment to the last: only a directory that has it is ever replaced. It goes when
//! somebody opens the backup for writing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout::{self, Name};
use crate::file::manifest_file;
use crate::file::replace::{self, ReplaceError};
use crate::format::file_header::StoreId;
use crate::format::footer::Footer;
use crate::format::manifest::Manifest;
use crate::location::Slot;
use crate::vfs::{self, Access, Dir, DirAccess, Lock, Vfs};

/// More than this of `BACKUP` is not read.
const MARK_LEN_MAX: u64 = 4096;

/// A directory that may become a backup of the store, locked.
pub(super) struct Target {
    dir: Arc<dyn Dir>,
    path: PathBuf,
    _lock: Box<dyn Lock>,
}

impl Target {
    /// Opens and locks the directory, which is made when it is missing, or refuses it before anything is changed.
    pub(super) fn prepare(vfs: &dyn Vfs, source: &dyn Dir, path: &Path, store: StoreId) -> Result<Self> {
        let (dir, lock) = take(vfs, source, path, |dir| check_fit(dir, path, store))?;
        let target = Self { dir, path: path.to_owned(), _lock: lock };
        target.recover(store).map_err(|error| target.locate(error))?;
        Ok(target)
    }

    /// Brings the directory into a state in which nothing is staged.
    fn recover(&self, store: StoreId) -> Result<()> {
        let names = list(&*self.dir)?;
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if !has(layout::BACKUP) {
            replace::replace(&*self.dir, layout::BACKUP, &[mark(store).as_bytes()])
                .map_err(ReplaceError::into_error)?;
        }
        // Durable before anything is staged, also when it was another backup that wrote it, and was killed.
        sync(&*self.dir)?;
        if !has(layout::MANIFEST)
            && let Some(manifest) = manifest_file::read_staged(&*self.dir)?
        {
            return finish(&*self.dir, &manifest);
        }
        remove_staged(&*self.dir)
    }

    pub(super) fn dir(&self) -> &dyn Dir {
        &*self.dir
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory has this complete file already.
    pub(super) fn holds(&self, file: &DataFile, footer: &Footer) -> bool {
        let header = file.header();
        let found =
            DataFile::open_of_any_store(&*self.dir, header.id, header.format, Slot::FIRST, Access::Read);
        // Whatever stands in the way of reading it, it is not one to keep.
        found.is_ok_and(|found| {
            found.header() == header && found.footer().is_ok_and(|found| found.as_ref() == Some(footer))
        })
    }

    /// The last of the stage.
    pub(super) fn stage_manifest(&self, manifest: &Manifest) -> Result<()> {
        let staged = || {
            planted!("the names of staged files are not synced", (), sync(&*self.dir)?);
            let staged = replace::stage(&*self.dir, layout::MANIFEST, &[&manifest.encode()]);
            staged.map_err(ReplaceError::into_error)?;
            sync(&*self.dir)
        };
        staged().map_err(|error| self.locate(error))
    }

    /// Makes what is staged the state of the directory.
    pub(super) fn finish(&self, manifest: &Manifest) -> Result<()> {
        finish(&*self.dir, manifest).map_err(|error| self.locate(error))
    }

    /// Gives up what is staged, as far as it can be removed: the next backup removes the rest.
    pub(super) fn discard(&self) {
        let _ = remove_staged(&*self.dir);
    }

    /// The error of an operation on a file of the target.
    pub(super) fn failed(&self, operation: &'static str, name: &str, source: io::Error) -> Error {
        Error::io(operation, self.path.join(name).display().to_string(), source)
    }

    /// Says which directory the file of an error is in: there is a store with the same names.
    fn locate(&self, error: Error) -> Error {
        match error {
            Error::Io { operation, file, source } => {
                Error::Io { operation, file: self.path.join(file).display().to_string(), source }
            }
            error => error,
        }
    }
}

/// Opens and locks a directory to write to that must not lie in `source`. `check` refuses what it holds, and is asked
/// before the lock file is made as well as under the lock.
pub(crate) fn take(
    vfs: &dyn Vfs,
    source: &dyn Dir,
    path: &Path,
    check: impl Fn(&dyn Dir) -> Result<()>,
) -> Result<(Arc<dyn Dir>, Box<dyn Lock>)> {
    let failed = |operation| move |source| Error::io(operation, path.display().to_string(), source);
    if source.encloses(path).map_err(failed("find"))? {
        return Err(unfit(path, "it is the directory that is to be copied, or lies in it"));
    }
    let dir = vfs.open_dir(path, DirAccess::Create).map_err(failed("open"))?;
    check(&*dir)?;
    let lock = dir.lock(layout::LOCK).map_err(failed("lock"))?;
    let lock = lock.ok_or_else(|| Error::Locked { path: path.to_owned() })?;
    check(&*dir)?;
    Ok((dir, lock))
}

/// Refuses what is neither empty nor a backup of this store.
fn check_fit(dir: &dyn Dir, path: &Path, store: StoreId) -> Result<()> {
    let names = list(dir)?;
    let find = |wanted: fn(&Name) -> bool| names.iter().find(|name| wanted(&layout::parse(name)));
    if let Some(name) = find(|name| *name == Name::Foreign) {
        return Err(unfit(path, format!("it holds \"{name}\", which is no file of a backup")));
    }
    if find(|name| *name == Name::Backup).is_some() {
        return match read_mark(dir)?.starts_with(&first_line(store)) {
            true => Ok(()),
            false => Err(unfit(path, "it is a backup of another store")),
        };
    }
    match find(|name| !matches!(name, Name::Lock | Name::Temporary | Name::Harmless)) {
        Some(name) => Err(unfit(
            path,
            format!(
                "it holds \"{name}\" and is no backup, or was opened for writing since: choose another directory"
            ),
        )),
        None => Ok(()),
    }
}

pub(super) fn unfit(path: &Path, reason: impl Into<String>) -> Error {
    Error::UnfitTarget { path: path.to_owned(), reason: reason.into() }
}

/// What `BACKUP` says: first for programs, then for people.
fn mark(store: StoreId) -> String {
    format!(
        "{}Read it with any command that only reads, or restore it: bitcask restore HERE NEW_DIR.\n\
         Opening it for writing makes it a store of its own and removes this file.\n",
        first_line(store)
    )
}

fn first_line(store: StoreId) -> String {
    let id: String = store.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("This directory is a backup of the Bitcask store {id}.\n")
}

fn read_mark(dir: &dyn Dir) -> Result<String> {
    let failed = |operation| move |source| Error::io(operation, layout::BACKUP, source);
    let file = dir.open(layout::BACKUP, Access::Read).map_err(failed("open"))?;
    let len = file.len().map_err(failed("measure"))?.min(MARK_LEN_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    vfs::read_exact_at(&*file, &mut bytes, 0).map_err(failed("read"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes what is staged, of which `manifest` is the manifest, the state of the directory. May be repeated.
pub(crate) fn finish(dir: &dyn Dir, manifest: &Manifest) -> Result<()> {
    let renamed =
        |from: &str, to: &str| dir.rename(from, to).map_err(|source| Error::io("rename", from, source));
    let removed =
        |name: &str| vfs::remove_if_present(dir, name).map_err(|source| Error::io("remove", name, source));
    let listed: BTreeSet<_> = manifest.files.iter().map(|file| file.id).collect();
    let names: BTreeSet<String> = list(dir)?.into_iter().collect();
    if names.contains(layout::MANIFEST) {
        renamed(layout::MANIFEST, layout::MANIFEST_BACKUP)?;
    }
    planted!("the old manifest of a backup may still be there", (), sync(dir)?);
    for name in &names {
        let place = layout::finished(name);
        match (layout::parse(name), place.map(layout::parse)) {
            (Name::Staged(id), _) => {
                // The hints of the file before do not fit any more.
                if !names.contains(&layout::temporary(&layout::hint(id))) {
                    removed(&layout::hint(id))?;
                }
                place.map_or(Ok(()), |place| renamed(name, place))?;
            }
            (Name::Temporary, Some(Name::Hint(_))) => place.map_or(Ok(()), |place| renamed(name, place))?,
            (Name::Data(id, _) | Name::Hint(id), _) if !listed.contains(&id) => removed(name)?,
            _ => {}
        }
    }
    sync(dir)?;
    renamed(&layout::temporary(layout::MANIFEST), layout::MANIFEST)?;
    sync(dir)
}

/// Refuses a directory that holds anything.
pub(crate) fn check_empty(dir: &dyn Dir, path: &Path) -> Result<()> {
    let names = list(dir)?;
    let found = names.iter().find(|name| !matches!(layout::parse(name), Name::Lock | Name::Harmless));
    found.map_or(Ok(()), |name| Err(unfit(path, format!("it is not empty, it holds \"{name}\""))))
}

/// Removes what was made in a directory that was empty, as far as that can be had. The manifest goes first: what is
/// left then is no store.
pub(crate) fn clear(dir: &dyn Dir) {
    let names = dir.list().unwrap_or_default();
    let is_made =
        |name: &&String| !matches!(layout::parse(name), Name::Lock | Name::Harmless | Name::Foreign);
    for name in std::iter::once(layout::MANIFEST).chain(names.iter().filter(is_made).map(String::as_str)) {
        let _ = vfs::remove_if_present(dir, name);
    }
    let _ = dir.sync();
}

/// Whether the directory is a backup, finished or not.
pub(crate) fn is_backup(dir: &dyn Dir) -> Result<bool> {
    Ok(list(dir)?.iter().any(|name| layout::parse(name) == Name::Backup))
}

fn remove_staged(dir: &dyn Dir) -> Result<()> {
    for name in list(dir)? {
        if matches!(layout::parse(&name), Name::Staged(_) | Name::Temporary) {
            vfs::remove_if_present(dir, &name).map_err(|source| Error::io("remove", name, source))?;
        }
    }
    Ok(())
}

pub(super) fn list(dir: &dyn Dir) -> Result<Vec<String>> {
    dir.list().map_err(|source| Error::io("list", "the directory", source))
}

pub(super) fn sync(dir: &dyn Dir) -> Result<()> {
    dir.sync().map_err(|source| Error::io("sync", "the directory", source))
}

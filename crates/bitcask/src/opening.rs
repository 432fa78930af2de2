//! From a path to an open store: the directory, the lock, the manifest, the log, the keydir.
//!
//! ```text
//! writer:  open the directory; refuse what is no store before touching anything
//!          lock; read the manifest, or write the first one
//!          open the listed files; plan; write the manifest anew
//!          remove what is not listed, before anything is made under such a name
//!          settle; load the keydir
//!          make sure that the log goes on in a file of its own; replace the manifest if the list has changed
//!          remove what is listed no more
//! reader:  the same without the lock, and without changing anything
//! ```

use std::io;
use std::path::Path;

use crate::catalog::{Catalog, MakeError};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout::{self, Name};
use crate::file::manifest_file;
use crate::file_table::FileTable;
use crate::format::file_header::{LogFormat, StoreId};
use crate::format::manifest::{Identity, ListedFile, Manifest, Secret};
use crate::format::position::{FileId, LogPosition};
use crate::format::record::Kind;
use crate::keydir::Keydir;
use crate::location::Slot;
use crate::options::{OpenMode, Options};
use crate::recovery;
use crate::recovery::load::{Loader, Source};
use crate::recovery::plan::{self, LogFile, Plan};
use crate::recovery::settle::{self, Active, Settled};
use crate::space::Space;
use crate::status::Recovery;
use crate::store::{Followed, Store, WriteSide};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Arc, Mutex};
use crate::timestamps::Timestamps;
use crate::versions::Versions;
use crate::vfs::{self, Access, Dir, DirAccess, Lock, Vfs};
use crate::writer::{AppendError, Placement, Writer};

/// Opens the store at `path` as the options say.
pub(crate) fn open(vfs: &dyn Vfs, clock: Arc<dyn Clock>, path: &Path, options: Options) -> Result<Store> {
    let began = clock.monotonic();
    let store = open_silently(vfs, clock, path, options)?;
    store.events.note(|| Event::Opened {
        keys: store.keydir.len(),
        files: store.order().len() as u64,
        took: store.clock.monotonic().saturating_sub(began),
        recovery: store.recovery.clone(),
    });
    Ok(store)
}

fn open_silently(vfs: &dyn Vfs, clock: Arc<dyn Clock>, path: &Path, options: Options) -> Result<Store> {
    options.check()?;
    let dir = open_dir(vfs, path, options.mode)?;
    let found = Found::in_directory(&*dir)?;
    found.check(path, options.mode)?;
    if options.mode == OpenMode::ReadOnly {
        return open_to_read(dir, clock, path, options);
    }
    let lock = dir
        .lock(layout::LOCK)
        .map_err(|source| Error::io("lock", layout::LOCK, source))?
        .ok_or_else(|| Error::Locked { path: path.to_owned() })?;
    // Somebody may have been at work until the lock was free.
    let found = Found::in_directory(&*dir)?;
    found.check(path, options.mode)?;
    let manifest = match manifest_file::read(&*dir)? {
        Some(manifest) => manifest,
        None => create_manifest(&*dir, options.format)?,
    };
    let leftovers = found.leftovers(&*dir, &manifest)?;
    Opening::new(dir, clock, path, options).open_to_write(lock, manifest, leftovers)
}

fn open_dir(vfs: &dyn Vfs, path: &Path, mode: OpenMode) -> Result<Arc<dyn Dir>> {
    let access = match mode {
        OpenMode::Create => DirAccess::Create,
        OpenMode::Existing => DirAccess::ReadWrite,
        OpenMode::ReadOnly => DirAccess::ReadOnly,
    };
    let not_a_store = |reason: &str| Error::NotAStore { path: path.to_owned(), reason: reason.to_owned() };
    vfs.open_dir(path, access).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => not_a_store("there is no such directory"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => not_a_store("it is not a directory"),
        _ => Error::io("open", path.display().to_string(), source),
    })
}

/// The first manifest: no files yet, one id reserved.
fn create_manifest(dir: &dyn Dir, format: LogFormat) -> Result<Manifest> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Error::io("draw", "a random store id", error.into()))?;
    let (store, secret) = random.split_at(16);
    let manifest = Manifest {
        store: StoreId(store.try_into().unwrap_or_default()),
        secret: Secret(secret.try_into().unwrap_or_default()),
        format,
        generation: 0,
        highest_timestamp: 0,
        next_file: FileId(FileId::FIRST.0 + 1),
        merged_through: 0,
        files: Vec::new(),
        synced: None,
    };
    let mut catalog = Catalog::new(manifest.clone());
    catalog.install(dir, manifest, 0).map_err(MakeError::into_error)?;
    Ok(catalog.manifest)
}

/// What lies in the directory.
struct Found {
    names: Vec<String>,
}

impl Found {
    fn in_directory(dir: &dyn Dir) -> Result<Self> {
        let names = dir.list().map_err(|source| Error::io("list", "the store's directory", source))?;
        Ok(Self { names })
    }

    /// Refuses a directory that is no store and cannot become one.
    fn check(&self, path: &Path, mode: OpenMode) -> Result<()> {
        let not_a_store = |reason: String| Err(Error::NotAStore { path: path.to_owned(), reason });
        let parsed = || self.names.iter().map(|name| (name, layout::parse(name)));
        let foreign = parsed().find(|(_, parsed)| *parsed == Name::Foreign).map(|(name, _)| name);
        if parsed().any(|(_, parsed)| parsed == Name::Manifest) {
            return match foreign {
                Some(name) => Err(Error::ForeignFile {
                    file: name.clone(),
                    reason: "no file of a store has such a name: move it elsewhere".to_owned(),
                }),
                None => Ok(()),
            };
        }
        if let Some(name) = foreign {
            return not_a_store(format!("it holds \"{name}\" and no MANIFEST"));
        }
        if parsed().any(|(_, parsed)| matches!(parsed, Name::Backup | Name::Staged(_))) {
            return not_a_store("it is a backup that was never finished: make it again".to_owned());
        }
        if let Some((name, _)) = parsed()
            .find(|(_, parsed)| matches!(parsed, Name::Data(..) | Name::Hint(_) | Name::ManifestBackup))
        {
            return not_a_store(format!("it holds \"{name}\", but its MANIFEST is missing: restore it"));
        }
        if mode != OpenMode::Create {
            return not_a_store("it has no MANIFEST".to_owned());
        }
        Ok(())
    }

    /// The names that a write cut short has left behind. Refuses data files that the manifest should list but does
    /// not: then it is not this store's newest manifest.
    fn leftovers(&self, dir: &dyn Dir, manifest: &Manifest) -> Result<Vec<String>> {
        let mut leftovers = Vec::new();
        for name in &self.names {
            let is_listed = |id: FileId| manifest.files.iter().any(|file| file.id == id);
            let is_leftover = match layout::parse(name) {
                Name::Temporary | Name::Staged(_) | Name::Backup => true,
                Name::Hint(id) => !is_listed(id),
                Name::Data(_, format) if format != manifest.format => {
                    return Err(Error::ForeignFile {
                        file: name.clone(),
                        reason: format!("the store's log format is {}", manifest.format.name()),
                    });
                }
                Name::Data(id, _) if is_listed(id) => false,
                Name::Data(id, _) => {
                    refuse_written(dir, name, id, manifest)?;
                    true
                }
                _ => false,
            };
            if is_leftover {
                leftovers.push(name.clone());
            }
        }
        Ok(leftovers)
    }
}

/// Whether the store's newest manifest may leave this file unlisted. Files from the last reserved id on were never listed
/// by any manifest up to this one. They are listed before anything is written to them, so they must be empty, but for the
/// output of a merge, which is written first. Files below it were merged away, or given up.
fn refuse_written(dir: &dyn Dir, name: &str, id: FileId, manifest: &Manifest) -> Result<()> {
    let foreign = |reason: &str| Err(Error::ForeignFile { file: name.to_owned(), reason: reason.to_owned() });
    planted!("what no manifest lists is removed", return Ok(()));
    if id >= manifest.next_file {
        return foreign("the manifest has never given its number: an older manifest was put back");
    }
    if id.0 + 1 < manifest.next_file.0 {
        return Ok(());
    }
    // A header that does not check was never synced, so nothing can have followed it.
    let opened = DataFile::open(dir, id, &manifest.identity(), Slot::FIRST, Access::Read, 0);
    match opened.map(|file| if file.is_merge_output() { Ok(None) } else { file.link() }) {
        Ok(Ok(Some(_))) => foreign("it holds records, but the manifest does not list it"),
        Ok(Err(error)) => Err(error),
        Err(error @ Error::Io { .. }) => Err(error),
        _ => Ok(()),
    }
}

fn open_to_read(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>, path: &Path, options: Options) -> Result<Store> {
    let opening = Opening::new(dir, clock, path, options);
    recovery::until_it_stays(|| opening.open_to_read())
}

/// Removes what nobody needs. Whatever is gone already is as good as removed.
fn remove(dir: &dyn Dir, names: impl IntoIterator<Item = String>) -> Result<()> {
    names.into_iter().try_for_each(|name| {
        vfs::remove_if_present(dir, &name).map_err(|source| Error::io("remove", name, source))
    })
}

/// What every way to open needs.
struct Opening<'a> {
    dir: Arc<dyn Dir>,
    clock: Arc<dyn Clock>,
    path: &'a Path,
    options: Options,
    events: Arc<Events>,
}

impl<'a> Opening<'a> {
    fn new(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>, path: &'a Path, options: Options) -> Self {
        let events = Arc::new(Events::new(options.observer.clone(), path));
        Self { dir, clock, path, options, events }
    }

    fn open_to_read(&self) -> Result<Store> {
        let Some(manifest) = manifest_file::read(&*self.dir)? else {
            let reason = "it has no MANIFEST".to_owned();
            return Err(Error::NotAStore { path: self.path.to_owned(), reason });
        };
        // Refuses an older manifest that was put back: its answers would be old ones.
        Found::in_directory(&*self.dir)?.leftovers(&*self.dir, &manifest)?;
        let identity = manifest.identity();
        let keydir = Keydir::new(identity.secret.0);
        let files = self.open_files(&manifest)?;
        let plan = plan::plan(&files, &keydir, manifest.synced)?;
        let mut recovery = recovery_of(&plan);
        // That of a clear is in no record.
        let published = plan.last_timestamp.max(manifest.merged_through);
        let end = plan.log.last().map_or(LogPosition::START, LogFile::end);
        let Manifest { generation, merged_through, .. } = manifest;
        let followed = Followed { generation, end, merged_through, is_half_way: false };
        let (_, mut sources) = plan.split(&identity, &keydir);
        self.load(&identity, &keydir, &mut sources, &mut recovery)?;
        let mut store = self.store(identity, keydir, files, recovery, None);
        store.published = AtomicU64::new(published);
        store.followed = Mutex::new(followed);
        Ok(store)
    }

    fn open_to_write(
        &self,
        lock: Box<dyn Lock>,
        manifest: Manifest,
        leftovers: Vec<String>,
    ) -> Result<Store> {
        let dir = &*self.dir;
        let identity = manifest.identity();
        let keydir = Keydir::new(identity.secret.0);
        let files = self.open_files(&manifest)?;
        let plan = plan::plan(&files, &keydir, manifest.synced)?;
        let mut recovery = recovery_of(&plan);
        let last_timestamp = plan.last_timestamp.max(manifest.highest_timestamp);
        // What refuses the store does so before anything is changed.
        let (unsettled, mut sources) = plan.split(&identity, &keydir);
        self.load(&identity, &keydir, &mut sources, &mut recovery)?;
        let mut catalog = Catalog::new(manifest.clone());
        if leftovers.iter().any(|name| layout::parse(name) == Name::Backup) {
            // Who made it may have been killed before the name of its MANIFEST was durable. Without both names the rest
            // would be neither a backup nor a store.
            dir.sync().map_err(|source| Error::io("sync", "the store's directory", source))?;
            // A backup that is written to is a store of its own, which no later backup may replace: that must be
            // as durable as the first write. The directory's sync comes with the manifest.
            remove(dir, [layout::BACKUP.to_owned()])?;
        }
        // What reads back may be in the cache only, if its writer died before its last sync or that failed. Files are
        // removed and reserved ids are used on the strength of it, so it is made durable first.
        let installed = planted!(
            "a manifest in the cache is enough",
            Ok(()),
            catalog.install(dir, manifest, last_timestamp)
        );
        installed.map_err(MakeError::into_error)?;
        // Before anything is made: a new file may get the name of one that was left behind.
        remove(dir, leftovers)?;
        let Settled { log, active, successor, discarded } = settle::settle(dir, unsettled, &sources)?;
        drop(sources);
        if let Some(successor) = &successor {
            // The log goes on behind its header.
            successor.set_data_len(successor.first_record());
        }
        let (mut writer, order) =
            self.begin(&identity, &mut catalog, log, active, successor, last_timestamp)?;
        remove(dir, discarded.iter().map(|file| file.name().to_owned()))?;
        for file in &discarded {
            Hints::remove(dir, file.id())?;
        }
        writer.space = Space::new(&self.options, &order);
        if writer.space.wants_measure(0)
            && let Ok(disk) = dir.space()
        {
            // What cannot be had now is asked for again after the first write.
            writer.space.measured(disk, writer.appended);
        }
        let write_side = WriteSide::new(lock, catalog, writer, Arc::clone(&self.events));
        Ok(self.store(identity, keydir, order, recovery, Some(write_side)))
    }

    /// Makes sure that there is a file to write to, that the manifest lists exactly what is in use, and that the
    /// writer stands at its end. Returns the writer, and the files in log order.
    ///
    /// After an unclean end that is always a new file and a new manifest.
    fn begin(
        &self,
        identity: &Identity,
        catalog: &mut Catalog,
        log: Vec<Arc<DataFile>>,
        active: Option<Active>,
        successor: Option<Arc<DataFile>>,
        last_timestamp: u64,
    ) -> Result<(Writer, Vec<Arc<DataFile>>)> {
        let dir = &*self.dir;
        let placement = Placement::new(dir, identity.format, self.options.max_file_size);
        let timestamps = Timestamps::new(last_timestamp, &*self.clock);
        let mut order: Vec<_> = log.iter().cloned().chain(successor.clone()).collect();
        let clean_of =
            |id| catalog.manifest.files.iter().find(|file| file.id == id).map_or(0, |file| file.clean);
        let files: Vec<ListedFile> =
            order.iter().map(|file| ListedFile { id: file.id(), clean: clean_of(file.id()) }).collect();
        let manifest = Manifest { files, ..catalog.manifest.clone() };
        if let Some(Active { file, has_keys }) = active {
            if manifest.files != catalog.manifest.files {
                catalog.install(dir, manifest, last_timestamp).map_err(MakeError::into_error)?;
            }
            let mut writer = Writer::new(file, has_keys, placement, &self.options, timestamps);
            writer.ends_closed = true;
            writer.successor = successor;
            return Ok((writer, order));
        }
        let slot = Slot::after(order.iter().map(|file| file.slot())).ok_or(Error::Full {
            what: "the table of open files",
            remedy: "merge the store, or raise max_file_size",
        })?;
        // Installed together with the new file.
        catalog.manifest = manifest;
        let made = catalog.make_file(dir, identity, slot, placement, last_timestamp);
        let file = made.map_err(MakeError::into_error)?;
        order.push(Arc::clone(&file));
        let previous = log.last().map_or(LogPosition::START, |file| file.end());
        let mut writer = Writer::new(file, false, placement, &self.options, timestamps);
        writer.append_log(Kind::Link, &previous.encode()).map_err(AppendError::into_error)?;
        Ok((writer, order))
    }

    /// Opens the files that the manifest lists, in log order. Those without a footer may have to be written to.
    fn open_files(&self, manifest: &Manifest) -> Result<Vec<Arc<DataFile>>> {
        let identity = manifest.identity();
        self.options.check_open_files(manifest.files.len())?;
        let mut files = Vec::with_capacity(manifest.files.len());
        for (index, listed) in manifest.files.iter().enumerate() {
            let slot = Slot::new(index).ok_or(Error::Full {
                what: "the table of open files",
                remedy: "use a version of Bitcask that can open as many",
            })?;
            let open =
                |access, map_len| DataFile::open(&*self.dir, listed.id, &identity, slot, access, map_len);
            let mut file = open(Access::Read, 0)?;
            if self.options.mode != OpenMode::ReadOnly && file.footer()?.is_none() {
                file = open(Access::ReadWrite, self.options.max_file_size)?;
            }
            files.push(file);
        }
        Ok(files)
    }

    fn load(
        &self,
        identity: &Identity,
        keydir: &Keydir,
        sources: &mut [Source],
        recovery: &mut Recovery,
    ) -> Result<()> {
        let dir = &*self.dir;
        Loader::new(dir, identity, keydir, &self.options, &*self.clock).load(sources, recovery)
    }

    fn store(
        &self,
        identity: Identity,
        keydir: Keydir,
        order: Vec<Arc<DataFile>>,
        recovery: Recovery,
        write_side: Option<WriteSide>,
    ) -> Store {
        Store {
            options: self.options.clone(),
            path: self.path.to_owned(),
            dir: Arc::clone(&self.dir),
            clock: Arc::clone(&self.clock),
            identity,
            keydir,
            files: FileTable::new(order.iter().cloned()),
            versions: Versions::default(),
            published: AtomicU64::new(0),
            followed: Mutex::default(),
            order: Mutex::new(order),
            recovery,
            closed: AtomicBool::new(false),
            events: Arc::clone(&self.events),
            write_side,
        }
    }
}

fn recovery_of(plan: &Plan) -> Recovery {
    Recovery {
        clean: plan.clean,
        torn_tail: plan.torn_tail.clone(),
        damaged: plan.damaged.clone(),
        ..Recovery::default()
    }
}

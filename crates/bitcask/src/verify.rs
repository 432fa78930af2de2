//! Reading everything that a store has on disk, and checking every byte that has a checksum.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout::{self, Name};
use crate::file::manifest_file;
use crate::file::scan::{self, Scanned, Scanner};
use crate::format::manifest::Manifest;
use crate::keydir::Keydir;
use crate::location::Slot;
use crate::progress::{self, Meter, Progress, Watcher};
use crate::recovery;
use crate::recovery::inventory::{self, Inventory};
use crate::recovery::plan::{self, Content, LogFile, Plan};
use crate::status::{Damage, TornTail};
use crate::vfs::os::OsVfs;
use crate::vfs::{Access, Dir, DirAccess, Io, Vfs};

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Count of data files that were read.
    pub files: u64,
    /// Count of records in them, the log's own among them.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// An incomplete last write, as an unclean end leaves it: the next open for writing cuts it off.
    pub torn_tail: Option<TornTail>,
    /// Everything that is not as it was written. Empty: the store is sound.
    pub damage: Vec<Damage>,
}

/// Reads every file of the store in `path` and checks every byte: manifest, file headers, records, values, footers and
/// hint files. Values that are compressed are decompressed. Changes nothing and takes no lock. While a writer is at work the last write may show as a torn tail.
///
/// # Errors
/// When the directory is no store, when its manifest is damaged, or when reading fails. Damage to anything else is
/// no error: it is in the report.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let db = bitcask::open(dir.path(), bitcask::Options::default())?;
/// db.put("a", "1")?;
/// db.close()?;
/// let report = bitcask::verify(dir.path())?;
/// assert!(report.damage.is_empty());
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_with(path, &mut progress::unwatched)
}

/// [`verify`], telling `progress` after each file how far it has come.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_with(path: impl AsRef<Path>, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport> {
    let path = path.as_ref();
    let not_a_store = |reason: String| Error::NotAStore { path: path.to_owned(), reason };
    let opened = OsVfs::new(Io::Syscall).open_dir(path, DirAccess::ReadOnly);
    let dir = opened.map_err(|source| not_a_store(source.to_string()))?;
    recovery::until_it_stays(|| verify_dir(&*dir, progress))?
        .ok_or_else(|| not_a_store("it has no MANIFEST".to_owned()))
}

/// As [`verify`]; `None` when there is no manifest.
pub(crate) fn verify_dir(dir: &dyn Dir, progress: Watcher<'_>) -> Result<Option<VerifyReport>> {
    let Some(manifest) = manifest_file::read(dir)? else { return Ok(None) };
    let (report, _) = verify_listed(dir, manifest, progress)?;
    Ok(Some(report))
}

/// Verifies the files that this manifest lists, also where the directory has no such manifest yet. Tells as well
/// whether the log was closed in good order.
pub(crate) fn verify_listed(
    dir: &dyn Dir,
    manifest: Manifest,
    progress: Watcher<'_>,
) -> Result<(VerifyReport, bool)> {
    let mut verification = Verification {
        dir,
        keydir: Keydir::new(manifest.secret.0),
        manifest,
        report: VerifyReport::default(),
        closed: false,
    };
    verification.names()?;
    let files = verification.files()?;
    let lens = files.iter().map(|file| file.file_len()).collect::<Result<Vec<u64>>>()?;
    let mut meter = Meter::new(lens.iter().sum(), progress);
    for (file, len) in files.iter().zip(lens) {
        verification.records(file)?;
        meter.add(len);
    }
    if files.len() == verification.manifest.files.len() {
        verification.log(&files)?;
    }
    Ok((verification.report, verification.closed))
}

struct Verification<'a> {
    dir: &'a dyn Dir,
    manifest: Manifest,
    keydir: Keydir,
    report: VerifyReport,
    /// Whether the log ends as a close leaves it.
    closed: bool,
}

impl Verification<'_> {
    fn damage(&mut self, file: &str, offset: u64, what: impl Into<String>) {
        let is_known = self.report.damage.iter().any(|known| known.file == file && known.offset == offset);
        if !is_known {
            self.report.damage.push(Damage { file: file.to_owned(), offset, what: what.into() });
        }
    }

    /// Keeps what is damage, and returns what is not: a failure to read.
    fn keep_damage<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Error::Corruption { file, offset, what }) => {
                self.damage(&file, offset, what);
                Ok(None)
            }
            Err(error @ (Error::Newer { .. } | Error::ForeignFile { .. })) => {
                self.damage("the store", 0, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn names(&mut self) -> Result<()> {
        let names = self.dir.list().map_err(|source| Error::io("list", "the store's directory", source))?;
        for name in names {
            match layout::parse(&name) {
                Name::Foreign => self.damage(&name, 0, "it is no file of a store"),
                Name::Data(_, format) if format != self.manifest.format => {
                    let what = format!("the store's log format is {}", self.manifest.format.name());
                    self.damage(&name, 0, what);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn files(&mut self) -> Result<Vec<Arc<DataFile>>> {
        let mut files = Vec::new();
        let identity = self.manifest.identity();
        for (index, listed) in self.manifest.files.clone().into_iter().enumerate() {
            let slot = Slot::new(index).unwrap_or(Slot::FIRST);
            let opened = DataFile::open(self.dir, listed.id, &identity, slot, Access::Read, 0);
            files.extend(self.keep_damage(opened)?);
        }
        Ok(files)
    }

    /// Every record of one file; for a complete one also its footer and its hint file.
    fn records(&mut self, file: &DataFile) -> Result<()> {
        self.report.files += 1;
        let Some(footer) = self.keep_damage(file.footer())? else { return Ok(()) };
        let end = match &footer {
            Some(footer) => footer.data_len,
            None => file.file_len()?,
        };
        let Some(inventory) = self.keep_damage(Inventory::take(file, end, &self.keydir))? else {
            return Ok(());
        };
        self.report.records += inventory.record_count();
        self.report.bytes += inventory.end - file.first_record();
        if inventory.has_compressed {
            self.compressed_values(file, inventory.end)?;
        }
        // In a file without a footer a value that does not check may be the torn end of the log: `log` knows.
        let Some(footer) = footer else { return Ok(()) };
        for value in &inventory.damaged {
            self.report.damage.push(value.report(file));
        }
        if let Some(defect) = &inventory.defect {
            let defect = defect.clone().on_line(file.line_at(inventory.end));
            self.damage(file.name(), inventory.end, defect.to_string());
        } else if inventory.footer(footer.ending) != footer {
            self.damage(file.name(), footer.data_len, "the footer does not fit the records before it");
        } else {
            file.set_data_len(end);
            self.hints(file, inventory)?;
        }
        Ok(())
    }

    /// Every value before `end` that is compressed by what this build has.
    fn compressed_values(&mut self, file: &DataFile, end: u64) -> Result<()> {
        let mut scanner = Scanner::new(file, end)?;
        while let Scanned::Record(record) = scanner.next()? {
            if let Some(defect) = record.decompression_defect(file)? {
                let defect = defect.on_line(file.line_at(record.offset));
                self.damage(file.name(), record.offset, defect.to_string());
            }
        }
        Ok(())
    }

    /// Compares the hint file, where there is one, with the hints that the data file gives.
    fn hints(&mut self, file: &DataFile, inventory: Inventory) -> Result<()> {
        let name = layout::hint(file.id());
        match self.dir.open(&name, Access::Read) {
            // It is only a help: a missing one is made again.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", name, error)),
            Ok(_) => {}
        }
        let binding =
            inventory::binding(self.manifest.store, file, inventory.end, inventory.checksum(), &self.keydir);
        let Some(found) = Hints::open(self.dir, &binding) else {
            self.damage(
                &name,
                0,
                "it does not fit its checksum or its data file; the next open makes it again",
            );
            return Ok(());
        };
        let expected = inventory.into_hints(self.manifest.store, file, &self.keydir);
        let (mut found_buffer, mut expected_buffer) = (Vec::new(), Vec::new());
        let differs = found.shards().chain(expected.shards()).any(|shard| {
            let found = found.section(shard, &mut found_buffer);
            found.is_none() || found != expected.section(shard, &mut expected_buffer)
        });
        if differs {
            self.damage(&name, 0, "its entries are not those of its data file; the next open makes it again");
        }
        Ok(())
    }

    /// A file that the log has gone on from ends with a footer, or with nothing when there was no time to write one.
    fn footers(&mut self, plan: &Plan) -> Result<()> {
        let Some((_, before_last)) = plan.log.split_last() else { return Ok(()) };
        for LogFile { file, content, .. } in before_last {
            let end = content.len();
            let is_scanned = matches!(content, Content::Scanned(_));
            // Asked again, for a writer may have sealed the file since.
            if is_scanned && scan::end_of_content(file, end)? > end && file.footer()?.is_none() {
                self.damage(file.name(), end, "its footer does not check; the next open makes it again");
            }
        }
        Ok(())
    }

    /// Whether the files make one log that an open would accept.
    fn log(&mut self, files: &[Arc<DataFile>]) -> Result<()> {
        let planned = plan::plan(files, &self.keydir, self.manifest.synced);
        if let Some(plan) = self.keep_damage(planned)? {
            self.footers(&plan)?;
            self.closed = plan.clean;
            self.report.torn_tail = plan.torn_tail;
            self.report.damage.extend(plan.damaged);
        }
        Ok(())
    }
}

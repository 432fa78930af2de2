//! Everything that can still be read of a damaged store, in a new one.
//!
//! ```text
//! 1. all records of all files in log order: a keydir of the newest of each key; deletes count
//! 2. the same again: what the keydir leads to is put into the new store, compressed where it was
//! ```
//! A key whose newest value is damaged is not given an older one: that would be wrong without saying so. But what was
//! written in a stretch that is lost, of which a damaged line of a text file is one, cannot be known: a key may be absent,
//! have an older value, or be back though it was deleted.
//!
//! Each record of a batch counts by itself, so a batch is split when a part of it is lost. Only one that a file ends in, with
//! nothing lost behind it, does not count: it was never whole.

use std::path::Path;
use std::sync::Arc;

use crate::backup::target;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::file::scan::display_key;
use crate::format::manifest::Manifest;
use crate::format::record::Kind;
use crate::keydir::{Digest, Keydir};
use crate::location::{Expiry, Location, Slot};
use crate::opening;
use crate::options::{Durability, Maintenance, Options};
use crate::progress::{Meter, Watcher};
use crate::repair::records::{self, Found};
use crate::repair::{LostRange, RepairReport, damage_of};
use crate::store::Store;
use crate::vfs::{Access, Dir, Vfs};

pub(super) fn salvage(
    vfs: &dyn Vfs,
    clock: Arc<dyn Clock>,
    source: &dyn Dir,
    manifest: &Manifest,
    path: &Path,
    mut report: RepairReport,
    watcher: Watcher<'_>,
) -> Result<RepairReport> {
    // Files that cannot even be placed in the log are lost whole.
    let is_listed =
        |name: &str| manifest.files.iter().any(|listed| layout::data(listed.id, manifest.format) == name);
    for damage in report.damage.iter().filter(|it| it.file != layout::MANIFEST && !is_listed(&it.file)) {
        report.lost.push(lost_whole(source, damage.file.clone(), damage.what.clone()));
    }
    let files = open_files(source, manifest, &mut report)?;
    let bytes = files.iter().map(|file| file.file_len()).sum::<Result<u64>>()?;
    let mut meter = Meter::new(bytes * 2, watcher);
    let keydir = Keydir::new(manifest.secret.0);
    for file in &files {
        survey(file, &keydir, &mut report)?;
        meter.add(file.file_len()?);
    }
    let (dir, lock) = target::take(vfs, source, path, |dir| target::check_empty(dir, path))?;
    drop(lock);
    let mut options = Options::new().format(manifest.format).durability(Durability::Os);
    options.maintenance = Maintenance::Callers;
    let filled = opening::open(vfs, clock, path, options).and_then(|store| {
        let mut fill_all = || {
            for file in &files {
                fill(file, &keydir, &store)?;
                meter.add(file.file_len()?);
            }
            store.close()
        };
        fill_all().map(|()| store.keydir.len())
    });
    match filled {
        Ok(count) => {
            report.salvaged = count;
            Ok(report)
        }
        Err(error) => {
            target::clear(&*dir);
            Err(error)
        }
    }
}

/// The listed files that can be opened, each in the slot of its place in the log.
fn open_files(dir: &dyn Dir, manifest: &Manifest, report: &mut RepairReport) -> Result<Vec<Arc<DataFile>>> {
    let mut files = Vec::new();
    for (index, listed) in manifest.files.iter().enumerate() {
        let slot = Slot::new(index).ok_or(Error::Full {
            what: "the table of open files",
            remedy: "use a version of Bitcask that can open as many",
        })?;
        match DataFile::open(dir, listed.id, &manifest.identity(), slot, Access::Read, 0) {
            Ok(file) => files.push(file),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                let damage = damage_of(layout::data(listed.id, manifest.format), error);
                report.lost.push(lost_whole(dir, damage.file, damage.what));
            }
        }
    }
    Ok(files)
}

fn lost_whole(dir: &dyn Dir, file: String, what: String) -> LostRange {
    let len = dir.open(&file, Access::Read).and_then(|file| file.len()).unwrap_or(0);
    LostRange { file, offset: 0, len, what }
}

/// The first pass over one file.
fn survey(file: &DataFile, keydir: &Keydir, report: &mut RepairReport) -> Result<()> {
    // Of a batch whose end has not come yet.
    let mut batch = Vec::new();
    let apply = |(digest, location): (Digest, Option<Location>)| match location {
        Some(location) => drop(keydir.insert(digest, location)),
        None => drop(keydir.remove(digest)),
    };
    let mut lost = |offset, len, what| {
        report.lost.push(LostRange { file: file.name().to_owned(), offset, len, what });
    };
    records::visit(file, &mut |found| {
        let record = match found {
            Found::Record(record) => record,
            Found::Lost { offset, len, what } => {
                batch.drain(..).for_each(apply);
                lost(offset, len, what);
                return Ok(());
            }
        };
        let digest = keydir.digest(record.key);
        let is_damaged = record.is_damaged() || record.decompression_defect(file)?.is_some();
        let kept = location(file, &record).filter(|_| record.header.kind == Kind::Value && !is_damaged);
        if !record.header.in_batch {
            batch.drain(..).for_each(apply);
        }
        match record.header.kind {
            Kind::Value | Kind::Tombstone if record.header.in_batch => batch.push((digest, kept)),
            Kind::Value | Kind::Tombstone => apply((digest, kept)),
            _ => {}
        }
        if is_damaged {
            let what = match record.header.kind {
                Kind::Value => format!("the value of key \"{}\"", display_key(record.key)),
                _ => "a record of the log's own".to_owned(),
            };
            lost(record.offset, record.len, what);
        }
        Ok(())
    })
}

/// The second pass over one file.
fn fill(file: &DataFile, keydir: &Keydir, store: &Store) -> Result<()> {
    records::visit(file, &mut |found| {
        let Found::Record(record) = found else { return Ok(()) };
        let is_newest = record.header.kind == Kind::Value
            && keydir.get(keydir.digest(record.key)) == location(file, &record);
        if !is_newest {
            return Ok(());
        }
        let mut bytes = vec![0; usize::try_from(record.len).unwrap_or(usize::MAX)];
        file.read(&mut bytes, record.offset)?;
        let read =
            file.codec().decode(bytes, record.offset).map_err(|it| it.at(file.name(), record.offset))?;
        store.put_stored(&read)
    })
}

fn location(file: &DataFile, record: &crate::file::scan::ScannedRecord<'_>) -> Option<Location> {
    let offset = u32::try_from(record.offset).ok()?;
    let expiry = if record.header.expiry.is_some() { Expiry::Some } else { Expiry::Never };
    Some(Location::new(file.slot(), offset, record.len, expiry))
}

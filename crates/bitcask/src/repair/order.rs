//! What a manifest would say, from the data files themselves.
//!
//! The order of the log is the order of timestamps: they ascend through all of it. File ids do not, for the output of a
//! merge has a higher id than its inputs and stands in their place. It names them in its header: while all of them are
//! there they are preferred, and otherwise the output, which is then complete, takes their place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::layout::{self, Name};
use crate::file::{manifest_file, scan};
use crate::format::file_header::LogFormat;
use crate::format::manifest::{ListedFile, Manifest, Secret};
use crate::format::position::FileId;
use crate::location::Slot;
use crate::repair::records::{self, Found};
use crate::vfs::{self, Access, Dir};

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// Bytes of the shortest header of a data file.
const HEADER_MIN: u64 = 68;

/// The log as the data files tell it.
pub(super) struct Ordered {
    pub(super) manifest: Manifest,
    /// Files that others stand for: inputs of an output, or an output whose inputs are all there.
    pub(super) superseded: Vec<FileId>,
    /// Files that stand in the way of a manifest, and why. Those without a whole header are not in it, for nothing says
    /// where they belong.
    pub(super) unfit: Vec<(String, Error)>,
}

/// What says where in the log a file belongs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    last_timestamp: u64,
    /// A file without keys repeats the last timestamp before it.
    has_no_keys: bool,
    id: FileId,
}

/// Puts all data files of the directory in order; `None` when there is none with a whole header.
pub(super) fn from_files(dir: &dyn Dir) -> Result<Option<Ordered>> {
    let names = dir.list().map_err(|source| Error::io("list", "the store's directory", source))?;
    let ids: BTreeMap<FileId, LogFormat> = names
        .iter()
        .filter_map(|name| match layout::parse(name) {
            Name::Data(id, format) => Some((id, format)),
            _ => None,
        })
        .collect();
    let mut unfit = Vec::new();
    let mut files: BTreeMap<FileId, Arc<DataFile>> = BTreeMap::new();
    for (&id, &format) in &ids {
        match DataFile::open_of_any_store(dir, id, format, Slot::FIRST, Access::Read) {
            Ok(file) => drop(files.insert(id, file)),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                let name = layout::data(id, format);
                if may_hold_records(dir, &name)? {
                    unfit.push((name, error));
                }
            }
        }
    }
    let Some(first) = files.values().next() else { return Ok(None) };
    let (store, format) = (first.header().store, first.header().format);
    if let Some(other) = files.values().find(|file| (file.header().store, file.format()) != (store, format)) {
        return Err(Error::ForeignFile {
            file: other.name().to_owned(),
            reason: format!("it is of another store than {}", first.name()),
        });
    }
    let superseded = superseded(&files, &mut unfit)?;
    let mut places = Vec::new();
    for file in files.values().filter(|file| !superseded.contains(&file.id())) {
        places.extend(place_of(file)?);
    }
    places.sort_unstable();
    let merged = files.values().filter(|file| file.is_merge_output() && !superseded.contains(&file.id()));
    let merged_through =
        merged.filter_map(|file| file.footer().ok().flatten()).map(|it| it.last_timestamp).max();
    let inputs = files.values().flat_map(|file| file.header().inputs.iter().copied());
    let highest_id = ids.keys().copied().chain(inputs).max().unwrap_or(FileId::FIRST);
    let old = old_manifest(dir).filter(|old| old.store == store);
    let old_next = old.as_ref().map_or(FileId::FIRST, |old| old.next_file);
    let old_timestamp = old.as_ref().map_or(0, |old| old.highest_timestamp);
    let manifest = Manifest {
        store,
        // With the secret that the hint files are made for, where it is known, they need not be made again.
        secret: old.as_ref().map_or_else(new_secret, |old| Ok(old.secret))?,
        format,
        generation: old.map_or(1, |old| old.generation + 2),
        highest_timestamp: places.iter().map(|place| place.last_timestamp).fold(old_timestamp, u64::max),
        // The id before it counts as reserved, so no file may have it.
        next_file: FileId(highest_id.0 + 2).max(old_next),
        merged_through: merged_through.unwrap_or(0),
        files: places.iter().map(|place| ListedFile { id: place.id, clean: 0 }).collect(),
        synced: None,
    };
    Ok(Some(Ordered { manifest, superseded: superseded.into_iter().collect(), unfit }))
}

/// Whether a file without a whole header has anything behind it. A header is synced before anything follows it, so a
/// file that has nothing was just being made, and is a leftover.
fn may_hold_records(dir: &dyn Dir, name: &str) -> Result<bool> {
    let failed = |operation| move |source| Error::io(operation, name, source);
    let file = dir.open(name, Access::Read).map_err(failed("open"))?;
    let len = file.len().map_err(failed("measure"))?;
    let mut piece = vec![0; PIECE];
    let mut at = HEADER_MIN;
    while at < len {
        let piece = &mut piece[..usize::try_from(len - at).unwrap_or(PIECE).min(PIECE)];
        vfs::read_exact_at(&*file, piece, at).map_err(failed("read"))?;
        if piece.iter().any(|&byte| byte != 0) {
            return Ok(true);
        }
        at += piece.len() as u64;
    }
    Ok(false)
}

/// Which files others stand for.
fn superseded(
    files: &BTreeMap<FileId, Arc<DataFile>>,
    unfit: &mut Vec<(String, Error)>,
) -> Result<BTreeSet<FileId>> {
    let mut superseded = BTreeSet::new();
    // Inputs have lower ids than their output.
    for (&id, file) in files.iter().filter(|(_, file)| file.is_merge_output()) {
        let inputs = &file.header().inputs;
        if inputs.iter().all(|input| files.contains_key(input)) {
            superseded.insert(id);
        } else if file.footer()?.is_some() {
            let mut gone = inputs.clone();
            while let Some(input) = gone.pop() {
                superseded.insert(input);
                gone.extend(
                    files.get(&input).into_iter().flat_map(|file| file.header().inputs.iter().copied()),
                );
            }
        } else {
            let what = "it is an output of a merge without a footer, and its inputs are not all there";
            let error = Error::corruption(file.name(), file.first_record(), what);
            unfit.push((file.name().to_owned(), error));
        }
    }
    superseded.retain(|id| files.contains_key(id));
    Ok(superseded)
}

/// Where in the log the file belongs; `None` when nothing was ever written to it.
fn place_of(file: &DataFile) -> Result<Option<Place>> {
    let id = file.id();
    if let Some(footer) = file.footer()? {
        let has_no_keys = footer.values + footer.tombstones == 0;
        return Ok(Some(Place { last_timestamp: footer.last_timestamp, has_no_keys, id }));
    }
    if scan::end_of_content(file, file.first_record())? == file.first_record() {
        return Ok(None);
    }
    // One in which nothing checks is taken for the newest: what else it could be nobody knows.
    let mut place = Place { last_timestamp: u64::MAX, has_no_keys: true, id };
    let mut is_first = true;
    records::visit(file, &mut |found| {
        if let Found::Record(record) = found {
            let last = if is_first { 0 } else { place.last_timestamp };
            is_first = false;
            place.last_timestamp = last.max(record.header.timestamp);
            place.has_no_keys &= !record.header.kind.has_key();
        }
        Ok(())
    })?;
    Ok(Some(place))
}

/// The manifest before the last, if it can be read: for what does not change in the life of a store.
fn old_manifest(dir: &dyn Dir) -> Option<Manifest> {
    manifest_file::read_backup(dir).ok().flatten()
}

fn new_secret() -> Result<Secret> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| Error::io("draw", "a random secret", error.into()))?;
    Ok(Secret(secret))
}

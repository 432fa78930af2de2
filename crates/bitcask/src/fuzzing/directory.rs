//! A whole directory of a store, whoever made it: opened, read, verified, repaired, written to.
//!
//! Nothing is asked of what it holds, only that whatever is answered agrees with whatever else is. An input is a choice and
//! then files: a byte that says which one, two for its length, and so many bytes.
//!
//! Where checksums were made to fit, the files may tell lies that no accident brings about: a footer with a lower timestamp than
//! its records have, a hint for another key. Then answers may contradict each other, but it ends in no panic, and in no error
//! but those for damaged stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Choice;
use super::seal;
use crate::file::layout;
use crate::format::position::FileId;
use crate::options::Maintenance;
use crate::repair::{edited_lines_on, repair_on, seal_lines_on};
use crate::verify::verify_dir;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::vfs::{DirAccess, Io};
use crate::{Bitcask, Durability, Error, LogFormat, MergeOptions, MergePolicy, Options, Repair, Result};

const STORE: &str = "store";
/// In 2027: what has an expiry may have expired, or not.
const NOW_US: u64 = 1_800_000_000_000_000;

/// The keys that can be read, with their values.
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Who made the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A store, and then some accident.
    Accident,
    /// Somebody who knows how checksums are computed.
    Forger,
}

/// A choice, then the files of a directory.
pub(super) fn open(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let disk = SimDisk::new(if choice.front { Io::Mapped } else { Io::Syscall });
    disk.vfs().open_dir(Path::new(STORE), DirAccess::Create).unwrap();
    let (files, origin) = files(choice.format, rest);
    for (name, content) in files {
        disk.write_file(&name, &content);
    }
    let seen = read(&disk.fork(), origin);
    verify(&disk.fork());
    for how in [Repair::Report, Repair::CutTail, Repair::Hints, Repair::Manifest] {
        mend(&disk.fork(), &how, origin);
    }
    salvage(&disk.fork(), origin);
    seal_edited(&disk.fork());
    write(&disk, choice.format, seen, origin);
}

/// The files that the bytes stand for, by name; of several with one name the last. And who made them.
fn files(format: LogFormat, mut rest: &[u8]) -> (BTreeMap<String, Vec<u8>>, Origin) {
    const SEALED: u8 = 128;
    let (mut files, mut hints, mut origin) = (BTreeMap::new(), Vec::new(), Origin::Accident);
    while let Some((&[kind, low, high], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (content, next) = behind.split_at(len);
        rest = next;
        let id = FileId(u64::from(kind >> 3 & 15) + 1);
        let data = layout::data(id, format);
        let seals = kind & SEALED != 0;
        if seals {
            origin = Origin::Forger;
        }
        let mut content = content.to_vec();
        let name = match kind & 7 {
            0 | 1 => {
                if seals {
                    seal::manifest(&mut content);
                }
                if kind & 7 == 0 { layout::MANIFEST } else { layout::MANIFEST_BACKUP }.to_owned()
            }
            2 | 6 => {
                if seals {
                    content = seal::data_file(format, &content);
                }
                if kind & 7 == 2 { data } else { layout::temporary(&data) }
            }
            3 => {
                hints.push((id, data, seals));
                layout::hint(id)
            }
            4 => layout::LOCK.to_owned(),
            5 => layout::BACKUP.to_owned(),
            _ => format!("stranger{id}"),
        };
        files.insert(name, content);
    }
    for (id, data, _) in hints.into_iter().filter(|(_, _, seals)| *seals) {
        let data = files.get(&data).cloned().unwrap_or_default();
        if let Some(hint) = files.get_mut(&layout::hint(id)) {
            seal::hint_of(hint, &data);
        }
    }
    (files, origin)
}

fn open_on(disk: &SimDisk, options: Options) -> Result<Bitcask> {
    let clock = Arc::new(SimClock::new(NOW_US));
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(STORE), options.maintenance(Maintenance::Callers))
}

/// Errors that bytes can be to blame for. The simulated disk itself never fails here.
fn blame_bytes(error: &Error) {
    let is_theirs = matches!(
        error,
        Error::Corruption { .. }
            | Error::Newer { .. }
            | Error::ForeignFile { .. }
            | Error::NotAStore { .. }
            | Error::UnfitTarget { .. }
            | Error::MissingFeature { .. }
    );
    assert!(is_theirs, "nobody is to blame for: {error}");
}

/// What a reader sees, if the open does not refuse. Changes nothing.
fn read(disk: &SimDisk, origin: Origin) -> Option<Map> {
    disk.keep_snapshots();
    let seen = match open_on(disk, Options::read_only()) {
        Ok(db) => Some(all(&db, origin)),
        Err(error) => {
            blame_bytes(&error);
            None
        }
    };
    assert!(disk.take_snapshots().is_empty(), "a reader changes the disk");
    seen
}

/// All that can be read; each key that is listed can be, or tells why not.
fn all(db: &Bitcask, origin: Origin) -> Map {
    let mut map = Map::new();
    for entry in db.iter() {
        match entry {
            Ok((key, _)) if origin == Origin::Forger => {
                db.get(&key).map_or_else(|error| blame_bytes(&error), drop);
            }
            Ok((key, value)) => {
                assert_eq!(
                    db.get(&key).unwrap().as_deref(),
                    Some(&value[..]),
                    "a listed key reads otherwise"
                );
                assert!(map.insert(key, value.into_vec()).is_none(), "a key is listed twice");
            }
            Err(error) => blame_bytes(&error),
        }
    }
    for key in db.keys() {
        match key {
            Ok(key) => match db.get(&key) {
                Ok(_) if origin == Origin::Forger => {}
                Ok(value) => assert_eq!(value.as_deref(), map.get(&key).map(|value| &value[..])),
                Err(error) => blame_bytes(&error),
            },
            Err(error) => blame_bytes(&error),
        }
    }
    assert!(db.len() >= map.len() as u64, "more keys than there are");
    map
}

fn verify(disk: &SimDisk) {
    let dir = disk.vfs().open_dir(Path::new(STORE), DirAccess::ReadOnly).unwrap();
    if let Err(error) = verify_dir(&*dir, &mut |_| ()) {
        blame_bytes(&error);
    }
}

/// Where a repair says that it is done, it has nothing left to do of this kind.
fn mend(disk: &SimDisk, how: &Repair, origin: Origin) {
    let mend = || {
        let clock = Arc::new(SimClock::new(NOW_US));
        repair_on(&*disk.vfs(), clock, Path::new(STORE), how, &mut |_| ())
    };
    match mend() {
        Ok(_) if *how == Repair::Manifest => drop(read(disk, origin)),
        Ok(first) if *how == Repair::Report => {
            assert_eq!(mend().unwrap(), first, "a report changes something")
        }
        Ok(_) => drop(mend().unwrap()),
        Err(error) => blame_bytes(&error),
    }
}

/// What is salvaged is a sound store.
fn salvage(disk: &SimDisk, origin: Origin) {
    const TARGET: &str = "salvaged";
    let clock = Arc::new(SimClock::new(NOW_US));
    let how = Repair::Salvage(PathBuf::from(TARGET));
    match repair_on(&*disk.vfs(), clock, Path::new(STORE), &how, &mut |_| ()) {
        Ok(report) => {
            let dir = disk.vfs().open_dir(Path::new(TARGET), DirAccess::ReadOnly).unwrap();
            let verified = verify_dir(&*dir, &mut |_| ()).unwrap().expect("it is a store");
            assert!(
                origin == Origin::Forger || verified.damage.is_empty(),
                "after a salvage of {} keys",
                report.salvaged
            );
        }
        Err(error) => blame_bytes(&error),
    }
}

/// Lines that were edited are sealed, or refused.
fn seal_edited(disk: &SimDisk) {
    match edited_lines_on(&*disk.vfs(), Path::new(STORE)) {
        Ok(lines) => {
            for line in lines.iter().take(2) {
                let sealed = seal_lines_on(&*disk.vfs(), Path::new(STORE), &line.file, &[line.line]);
                sealed.map_or_else(|error| blame_bytes(&error), drop);
            }
        }
        Err(error) => blame_bytes(&error),
    }
}

/// A writer sees what a reader has seen; what it does is there when the store is opened again.
fn write(disk: &SimDisk, format: LogFormat, seen: Option<Map>, origin: Origin) {
    let options = || {
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        Options::new().format(format).max_file_size(4096).durability(Durability::Os).merge(merge)
    };
    let db = match open_on(disk, options()) {
        Ok(db) => db,
        Err(error) => return blame_bytes(&error),
    };
    let mut map = all(&db, origin);
    if let Some(seen) = seen {
        assert_eq!(map, seen, "a writer sees something else than a reader");
    }
    let (key, value) = (b"one more key".to_vec(), b"one more value".to_vec());
    if db.put(&key, &value).is_ok() {
        assert_eq!(db.get(&key).unwrap().as_deref(), Some(&value[..]));
        map.insert(key, value);
    }
    if let Some(gone) = map.keys().next().cloned()
        && db.delete(&gone).is_ok()
    {
        assert_eq!(db.get(&gone).unwrap(), None);
        map.remove(&gone);
    }
    let check = |db: &Bitcask, when: &str| {
        let found = all(db, origin);
        assert!(origin == Origin::Forger || found == map, "{when}: {found:?} and not {map:?}");
    };
    check(&db, "after two writes");
    db.merge().map_or_else(|error| blame_bytes(&error), drop);
    check(&db, "after a merge");
    let closed = db.close();
    drop(db);
    match open_on(disk, options()) {
        Ok(db) => check(&db, "after closing and opening"),
        Err(error) if origin == Origin::Forger => blame_bytes(&error),
        Err(error) => panic!("it does not open again, after a close that gave {closed:?}: {error}"),
    }
}

//! The names in a store's directory: all of them are built and parsed here.
//!
//! | name | file |
//! |---|---|
//! | `LOCK` | held locked by the one writer |
//! | `MANIFEST`, `MANIFEST.bak` | what the store consists of, and the generation before it |
//! | `MANIFEST.damaged`, a data file with `.damaged` | what a repair has put aside |
//! | `NNNNNNNNNN.data` | data file, by its id in at least ten digits; `.jsonl` and `.csv` in the text formats |
//! | `NNNNNNNNNN.hint` | the hint file of that data file |
//! | `BACKUP` | says that the directory is a backup, and of which store |
//! | any of these but `LOCK` with `.tmp` | being written; renamed when complete |

use crate::format::file_header::LogFormat;
use crate::format::position::FileId;

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const MANIFEST: &str = "MANIFEST";
pub(crate) const MANIFEST_BACKUP: &str = "MANIFEST.bak";
pub(crate) const BACKUP: &str = "BACKUP";
const TEMPORARY: &str = ".tmp";
const DAMAGED: &str = ".damaged";
const HINT: &str = ".hint";
/// What mkfs leaves in the root of a file system, which may well be the store's directory.
const LOST_AND_FOUND: &str = "lost+found";

/// What a name in the directory stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Lock,
    Manifest,
    ManifestBackup,
    Data(FileId, LogFormat),
    Hint(FileId),
    Backup,
    /// A data file that a backup has not put into its place yet.
    Staged(FileId),
    /// Left over from a write that was cut short.
    Temporary,
    /// Not the store's, or of no use to it, and known to be harmless.
    Harmless,
    /// Not the store's.
    Foreign,
}

pub(crate) fn data(id: FileId, format: LogFormat) -> String {
    format!("{:010}{}", id.0, extension(format))
}

fn extension(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Binary => ".data",
        LogFormat::Json => ".jsonl",
        LogFormat::Csv => ".csv",
    }
}

pub(crate) fn hint(id: FileId) -> String {
    format!("{:010}{HINT}", id.0)
}

pub(crate) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// The name that a file with a temporary one is renamed to; `None` when `name` is no temporary one.
pub(crate) fn finished(name: &str) -> Option<&str> {
    name.strip_suffix(TEMPORARY)
}

/// What a repair puts a file aside as.
pub(crate) fn damaged(name: &str) -> String {
    format!("{name}{DAMAGED}")
}

/// What `name` stands for. Strict: only what this file would build is the store's.
pub(crate) fn parse(name: &str) -> Name {
    match name {
        LOCK => return Name::Lock,
        MANIFEST => return Name::Manifest,
        MANIFEST_BACKUP => return Name::ManifestBackup,
        BACKUP => return Name::Backup,
        LOST_AND_FOUND => return Name::Harmless,
        _ => {}
    }
    if let Some(finished) = finished(name) {
        return match parse(finished) {
            Name::Manifest | Name::ManifestBackup | Name::Backup | Name::Hint(_) => Name::Temporary,
            Name::Data(id, _) => Name::Staged(id),
            _ => Name::Foreign,
        };
    }
    if let Some(damaged) = name.strip_suffix(DAMAGED) {
        return match parse(damaged) {
            Name::Manifest | Name::Data(..) => Name::Harmless,
            _ => Name::Foreign,
        };
    }
    let id = |suffix| name.strip_suffix(suffix)?.parse().ok().map(FileId).filter(|&id| id != FileId::NONE);
    for format in LogFormat::ALL {
        if let Some(id) = id(extension(format)).filter(|&id| data(id, format) == name) {
            return Name::Data(id, format);
        }
    }
    match id(HINT) {
        Some(id) if hint(id) == name => Name::Hint(id),
        _ => Name::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_parsed() {
        for id in [1, 42, 9_999_999_999, 10_000_000_000, u64::MAX] {
            for format in LogFormat::ALL {
                assert_eq!(parse(&data(FileId(id), format)), Name::Data(FileId(id), format));
            }
            assert_eq!(parse(&hint(FileId(id))), Name::Hint(FileId(id)));
            assert_eq!(parse(&temporary(&hint(FileId(id)))), Name::Temporary);
            assert_eq!(parse(&temporary(&data(FileId(id), LogFormat::Json))), Name::Staged(FileId(id)));
            assert_eq!(parse(&damaged(&data(FileId(id), LogFormat::Csv))), Name::Harmless);
        }
        assert_eq!(parse(LOCK), Name::Lock);
        assert_eq!(parse(MANIFEST), Name::Manifest);
        assert_eq!(parse(MANIFEST_BACKUP), Name::ManifestBackup);
        assert_eq!(parse(BACKUP), Name::Backup);
        assert_eq!(parse(&damaged(MANIFEST)), Name::Harmless);
        for name in [MANIFEST, MANIFEST_BACKUP, BACKUP] {
            assert_eq!(parse(&temporary(name)), Name::Temporary);
        }
    }

    #[test]
    fn what_only_resembles_a_name_is_foreign() {
        for name in [
            "1.data",
            "1.csv",
            "0000000001.json",
            "0000000001.json.tmp",
            "0000000000.data",
            "00000000001.data",
            "+000000001.data",
            "0000000001.data.bak",
            "0000000001.DATA",
            "0000000001",
            "notes.txt",
            "0000000001.data.tmp.tmp",
            "LOCK.tmp",
            "LOCK.damaged",
            "0000000001.hint.damaged",
            "0000000001.csv.damaged.tmp",
            "0000000001.csv.tmp.damaged",
            ".tmp",
            "",
            "99999999999999999999.data",
        ] {
            assert_eq!(parse(name), Name::Foreign, "{name}");
        }
    }
}

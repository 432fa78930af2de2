//! Directories are made by an encoder of its own, read, and compared with what was put into them.

mod damage;
mod directory;
mod entries;
mod hints;
mod model;

#[path = "../../../../tests/cli/basho_files.rs"]
mod basho_files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use self::basho_files::Files;
use super::file::SourceFile;
use super::{BashoOptions, BashoReader, Findings, Keys, Locks, Pending};
use crate::failure::Failure;
use crate::formats::Source as _;

/// Keys and values.
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory for one test, gone at its end.
pub(super) struct Place(tempfile::TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("source")
    }

    /// A file of these bytes, open.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> SourceFile {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
        let dir = Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap();
        SourceFile::open(&dir, name, name.to_owned()).unwrap()
    }

    fn import(&self) -> (Pairs, Findings) {
        self.import_with(&options())
    }

    fn import_with(&self, options: &BashoOptions) -> (Pairs, Findings) {
        let (pairs, findings) = self.try_import(options).unwrap();
        let tombstones = &findings.tombstones;
        let others = tombstones.v0 + tombstones.v1 + tombstones.v2;
        let others = others + findings.overwritten + findings.in_other_partition + findings.expired;
        let others = others + findings.refused.count;
        assert_eq!(findings.entries, pairs.len() as u64 + others, "an entry is lost: {findings:?}");
        (pairs, findings)
    }

    fn try_import(&self, options: &BashoOptions) -> Result<(Pairs, Findings), Failure> {
        let (mut reader, findings) = self.open(options)?;
        Ok((drain(&mut reader)?, findings))
    }

    fn open(&self, options: &BashoOptions) -> Result<(BashoReader, Findings), Failure> {
        BashoReader::open(&self.path(), Path::new("elsewhere"), options.clone())
    }
}

/// Every entry that the reader has left. Each key must come once.
fn drain(reader: &mut BashoReader) -> Result<Pairs, Failure> {
    let mut pairs = Pairs::new();
    while let Some(entry) = reader.next_entry()? {
        assert!(pairs.insert(entry.key, entry.value).is_none(), "{} was handed out twice", reader.place());
    }
    Ok(pairs)
}

fn options() -> BashoOptions {
    BashoOptions {
        keys: Keys::Raw,
        locks: Locks::Refuse,
        pending: Pending::Skip,
        expiry_secs: None,
        max_value_size: 1 << 20,
    }
}

fn pairs<const LEN: usize>(pairs: [(&str, &str); LEN]) -> Pairs {
    pairs.map(|(key, value)| (key.into(), value.into())).into()
}

/// Asserts that nothing was found that would be worth a look.
#[track_caller]
fn assert_clean(findings: &Findings) {
    assert_eq!(
        (&findings.damage.listed, &findings.torn_tails.listed, &findings.not_read),
        (&vec![], &vec![], &vec![])
    );
    assert_eq!(
        (&findings.refused.listed, &findings.like_tombstone.listed, &findings.pending.listed),
        (&vec![], &vec![], &vec![])
    );
    assert_eq!((&findings.hints.without_trailer, &findings.hints.alone), (&vec![], &vec![]));
}

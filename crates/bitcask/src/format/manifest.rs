//! The manifest: what the store consists of.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `bitcaskM` |
//! | 4 | version |
//! | 4 | zero |
//! | 16 | store id |
//! | 16 | secret of the keydir's hash |
//! | 1 | log format |
//! | 7 | zero |
//! | 8 | generation: one more at each replacement |
//! | 8 | highest timestamp issued so far, at least |
//! | 8 | next file id: ids below it were reserved before, ids from it on were never used |
//! | 8 | merged through: the oldest log position whose changes are still complete, as a timestamp |
//! | 8 | count of files |
//! | 16 each | file id, clean position (a timestamp): the data files in log order; the last is the empty successor |
//! | 0 or 16 | a position up to which the log was synced before this manifest was written; not there before the first merge |
//! | 4 | CRC-32C of everything before |

use super::checksum::checksum;
use super::file_header::{LogFormat, StoreId};
use super::position::{self, FileId, LogPosition};
use super::{Defect, Reader, VERSION};

/// More than any counter of a store comes to, and room enough to count on.
const WORD_MAX: u64 = u64::MAX >> 1;
const MAGIC: [u8; 8] = *b"bitcaskM";

/// The key of the keydir's hash: random for each store, and kept, because hint files and cursors depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What makes a store this store: given when it is made, and never changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) store: StoreId,
    pub(crate) secret: Secret,
    pub(crate) format: LogFormat,
}

/// A data file as the manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedFile {
    pub(crate) id: FileId,
    /// No value in this file is superseded by a record with a timestamp up to this one.
    pub(crate) clean: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store: StoreId,
    pub(crate) secret: Secret,
    pub(crate) format: LogFormat,
    pub(crate) generation: u64,
    pub(crate) highest_timestamp: u64,
    pub(crate) next_file: FileId,
    pub(crate) merged_through: u64,
    pub(crate) files: Vec<ListedFile>,
    /// A sync had covered the log up to here when a merge dropped records because of later ones.
    pub(crate) synced: Option<LogPosition>,
}

impl Manifest {
    pub(crate) fn identity(&self) -> Identity {
        Identity { store: self.store, secret: self.secret, format: self.format }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.store.0);
        bytes.extend_from_slice(&self.secret.0);
        bytes.push(self.format.to_byte());
        bytes.extend_from_slice(&[0; 7]);
        for word in [self.generation, self.highest_timestamp, self.next_file.0, self.merged_through] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.files.len() as u64).to_le_bytes());
        for file in &self.files {
            bytes.extend_from_slice(&file.id.0.to_le_bytes());
            bytes.extend_from_slice(&file.clean.to_le_bytes());
        }
        if let Some(position) = self.synced {
            bytes.extend_from_slice(&position.encode());
        }
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Decodes the whole content of a manifest file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        if bytes.first_chunk() != Some(&MAGIC) {
            return Err(Defect::damaged("it does not begin with the magic number of a manifest"));
        }
        let mut reader = Reader::new(&bytes[MAGIC.len()..]);
        match reader.u32() {
            Some(VERSION) => {}
            Some(0) => return Err(Defect::damaged("version 0 of the store's format, which never was")),
            Some(version) => return Err(Defect::newer(format!("version {version} of the store's format"))),
            None => return Err(Defect::damaged("it ends within its version")),
        }
        let damaged = || Defect::damaged("its checksum does not fit");
        let (covered, stored) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if checksum(covered) != u32::from_le_bytes(*stored) {
            planted!("a manifest is not checked", return Self::decode_covered(reader).ok_or_else(damaged)?);
            return Err(damaged());
        }
        Self::decode_covered(reader).ok_or_else(|| Defect::damaged("its numbers contradict each other"))?
    }

    /// The fields behind the version, once the checksum fits.
    fn decode_covered(mut reader: Reader<'_>) -> Option<Result<Self, Defect>> {
        reader.bytes::<4>()?;
        let store = StoreId(reader.bytes()?);
        let secret = Secret(reader.bytes()?);
        let [format, ..] = reader.bytes::<8>()?;
        let generation = reader.u64()?;
        let highest_timestamp = reader.u64()?;
        let next_file = FileId(reader.u64()?);
        let merged_through = reader.u64()?;
        let count = reader.u64()?;
        let mut files = Vec::new();
        // Not reserved by the count: the vector grows with what is really there.
        for _ in 0..count {
            files.push(ListedFile { id: FileId(reader.u64()?), clean: reader.u64()? });
        }
        let synced = reader.bytes().and_then(|bytes: [u8; position::LEN]| LogPosition::decode(&bytes));
        reader.bytes::<4>()?;
        // Who counts on from here needs room, and the id before the next one is always reserved.
        let words = [generation, highest_timestamp, next_file.0, merged_through];
        if next_file <= FileId::FIRST || words.iter().any(|&word| word > WORD_MAX) {
            return None;
        }
        let manifest = |format| Self {
            store,
            secret,
            format,
            generation,
            highest_timestamp,
            next_file,
            merged_through,
            files,
            synced,
        };
        reader.is_empty().then(|| LogFormat::from_byte(format).map(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: u64) -> Manifest {
        Manifest {
            store: StoreId([1; 16]),
            secret: Secret([2; 16]),
            format: LogFormat::Binary,
            generation: 3,
            highest_timestamp: 4,
            next_file: FileId(files + 2),
            merged_through: 0,
            files: (1..=files).map(|id| ListedFile { id: FileId(id), clean: id * 10 }).collect(),
            synced: (files % 2 == 1).then_some(LogPosition { file: FileId(files), offset: 1 << 20 }),
        }
    }

    #[test]
    fn a_manifest_comes_back() {
        for files in [0, 1, 2, 99, 100] {
            assert_eq!(Manifest::decode(&manifest(files).encode()), Ok(manifest(files)));
        }
    }

    #[test]
    fn a_manifest_with_any_bit_flipped_or_any_byte_missing_or_added_is_refused() {
        let bytes = manifest(3).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(Manifest::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn a_huge_count_of_files_is_refused_without_a_huge_allocation() {
        let mut bytes = manifest(0).encode();
        let count_at = bytes.len() - 12;
        bytes[count_at..count_at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let end = bytes.len() - 4;
        let sum = checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(Manifest::decode(&bytes), Err(Defect::Damaged(_))));
    }

    #[test]
    fn numbers_that_no_store_comes_to_are_refused() {
        let decode = |change: fn(&mut Manifest, u64), word| {
            let mut manifest = manifest(3);
            change(&mut manifest, word);
            Manifest::decode(&manifest.encode())
        };
        let changes: [fn(&mut Manifest, u64); 4] = [
            |manifest, word| manifest.generation = word,
            |manifest, word| manifest.highest_timestamp = word,
            |manifest, word| manifest.next_file = FileId(word),
            |manifest, word| manifest.merged_through = word,
        ];
        for change in changes {
            assert!(decode(change, WORD_MAX).is_ok());
            assert!(matches!(decode(change, WORD_MAX + 1), Err(Defect::Damaged(_))));
        }
        for id in [0, 1] {
            assert!(matches!(decode(changes[2], id), Err(Defect::Damaged(_))), "next is {id}");
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret([7; 16])), "Secret(..)");
    }
}

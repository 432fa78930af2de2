//! The hint file of an immutable data file: the newest record of each of its keys, without the values, so that a
//! store opens without reading its data.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `bitcaskH` |
//! | 4 | version |
//! | 4 | count of sections |
//! | 16 | store id |
//! | 8 | file id |
//! | 8 | length of the data file before its footer |
//! | 4 | CRC-32C of the data file before its footer |
//! | 4 | zero |
//! | 8 | fingerprint of the keydir's secret, by which the sections are divided |
//! | 16 each | sections: shard 2, zero 2, count of entries 4, length 4, CRC-32C of the section 4; shards ascend |
//! | 4 | CRC-32C of everything before |
//! | | the sections, one behind the other; nothing behind the last |
//!
//! A section holds the keys of one shard of the keydir, in digest order, so that threads fill shards side by side
//! and each entry lands behind the one before. An entry:
//!
//! | bytes | field |
//! |---|---|
//! | 8 | timestamp |
//! | 4 | offset of the record |
//! | 2 | length of the record, rounded up as in a location |
//! | 2 | key size |
//! | 1 | kind: 1 value, 2 tombstone |
//! | 1 | flags: bit 0 has expiry |
//! | 0 or 8 | expiry |
//! | | key |

use super::checksum::checksum;
use super::file_header::StoreId;
use super::position::FileId;
use super::{Defect, Reader, VERSION};
use crate::location::{round_len, unround_len};

const MAGIC: [u8; 8] = *b"bitcaskH";
const FRONT_LEN: usize = 64;
const SECTION_LEN: usize = 16;
/// The shortest entry: its fixed part and a key of one byte.
const ENTRY_MIN: u64 = 19;
const CHECKSUM_LEN: usize = 4;
/// More than any version has shards: a bound on what a damaged count can make a reader allocate.
const SECTIONS_MAX: u32 = 1 << 16;

const HAS_EXPIRY: u8 = 1;

/// What a hint file must agree on with the data file and the store it is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) store: StoreId,
    pub(crate) file: FileId,
    pub(crate) data_len: u64,
    pub(crate) data_checksum: u32,
    pub(crate) secret_fingerprint: u64,
}

/// Where the entries of one shard are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) shard: u16,
    pub(crate) count: u32,
    pub(crate) len: u32,
    pub(crate) checksum: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HintHeader {
    pub(crate) binding: Binding,
    pub(crate) sections: Vec<Section>,
}

impl HintHeader {
    /// How many bytes the header takes: the offset of the first section.
    pub(crate) fn len(&self) -> usize {
        FRONT_LEN + SECTION_LEN * self.sections.len() + CHECKSUM_LEN
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(self.sections.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.binding.store.0);
        bytes.extend_from_slice(&self.binding.file.0.to_le_bytes());
        bytes.extend_from_slice(&self.binding.data_len.to_le_bytes());
        bytes.extend_from_slice(&self.binding.data_checksum.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.binding.secret_fingerprint.to_le_bytes());
        for section in &self.sections {
            bytes.extend_from_slice(&section.shard.to_le_bytes());
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(&section.count.to_le_bytes());
            bytes.extend_from_slice(&section.len.to_le_bytes());
            bytes.extend_from_slice(&section.checksum.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes
    }

    /// How many bytes the header takes that begins with `front`; `None` when that cannot be one.
    pub(crate) fn encoded_len(front: &[u8; FRONT_LEN]) -> Option<usize> {
        let mut reader = Reader::new(front);
        let (magic, version, count) = (reader.bytes::<8>()?, reader.u32()?, reader.u32()?);
        let plausible = magic == MAGIC && version == VERSION && count <= SECTIONS_MAX;
        plausible.then_some(FRONT_LEN + SECTION_LEN * usize::try_from(count).ok()? + CHECKSUM_LEN)
    }

    /// Decodes exactly the header's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        let damaged = || Defect::damaged("the header of the hint file does not fit its checksum");
        let (covered, stored) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(damaged)?;
        let front = covered.first_chunk::<FRONT_LEN>().ok_or_else(damaged)?;
        if Self::encoded_len(front) != Some(bytes.len()) || checksum(covered) != u32::from_le_bytes(*stored) {
            return Err(damaged());
        }
        Self::decode_covered(covered).ok_or_else(damaged)
    }

    fn decode_covered(covered: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(covered);
        reader.bytes::<16>()?;
        let store = StoreId(reader.bytes()?);
        let (file, data_len, data_checksum) = (FileId(reader.u64()?), reader.u64()?, reader.u32()?);
        reader.bytes::<4>()?;
        let secret_fingerprint = reader.u64()?;
        let mut sections = Vec::new();
        while !reader.is_empty() {
            let shard = reader.u16()?;
            reader.bytes::<2>()?;
            sections.push(Section {
                shard,
                count: reader.u32()?,
                len: reader.u32()?,
                checksum: reader.u32()?,
            });
        }
        let binding = Binding { store, file, data_len, data_checksum, secret_fingerprint };
        // Room is made for as many entries as a section says that it has.
        let is_possible = |section: &Section| u64::from(section.count) * ENTRY_MIN <= u64::from(section.len);
        let are_sound = sections.is_sorted_by(|a, b| a.shard < b.shard) && sections.iter().all(is_possible);
        are_sound.then_some(Self { binding, sections })
    }
}

/// The newest record of one key in one data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HintEntry<'a> {
    pub(crate) timestamp: u64,
    pub(crate) offset: u32,
    /// Bytes of the record; on disk rounded up, as the keydir needs it.
    pub(crate) len: u64,
    pub(crate) is_tombstone: bool,
    pub(crate) expiry: Option<u64>,
    pub(crate) key: &'a [u8],
}

impl HintEntry<'_> {
    fn key_size(&self) -> u16 {
        u16::try_from(self.key.len()).unwrap_or(u16::MAX)
    }

    /// Appends the entry to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&round_len(self.len).to_le_bytes());
        out.extend_from_slice(&self.key_size().to_le_bytes());
        out.push(if self.is_tombstone { 2 } else { 1 });
        out.push(if self.expiry.is_some() { HAS_EXPIRY } else { 0 });
        if let Some(expiry) = self.expiry {
            out.extend_from_slice(&expiry.to_le_bytes());
        }
        out.extend_from_slice(self.key);
    }
}

/// The entries of a section whose checksum fits; `None` in place of one that does not decode ends them.
pub(crate) fn entries(section: &[u8]) -> impl Iterator<Item = Option<HintEntry<'_>>> {
    let mut reader = Reader::new(section);
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || reader.is_empty() {
            return None;
        }
        let entry = decode_entry(&mut reader);
        broken = entry.is_none();
        Some(entry)
    })
}

fn decode_entry<'a>(reader: &mut Reader<'a>) -> Option<HintEntry<'a>> {
    let (timestamp, offset) = (reader.u64()?, reader.u32()?);
    let (len, key_size) = (unround_len(reader.u16()?)?, reader.u16()?);
    let (kind, flags) = (reader.u8()?, reader.u8()?);
    let is_tombstone = match kind {
        1 => false,
        2 => true,
        _ => return None,
    };
    let expiry = match flags {
        0 => None,
        HAS_EXPIRY => Some(reader.u64()?),
        _ => return None,
    };
    let key = reader.slice(usize::from(key_size))?;
    let plausible = offset > 0 && !key.is_empty();
    plausible.then_some(HintEntry { timestamp, offset, len, is_tombstone, expiry, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::rounded;
    use proptest::prelude::*;

    fn header() -> HintHeader {
        let section = |shard| Section { shard, count: 2, len: 80, checksum: 9 };
        HintHeader {
            binding: Binding {
                store: StoreId([1; 16]),
                file: FileId(2),
                data_len: 3,
                data_checksum: 4,
                secret_fingerprint: 5,
            },
            sections: vec![section(0), section(7), section(511)],
        }
    }

    #[test]
    fn a_header_comes_back() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), header().len());
        assert_eq!(HintHeader::encoded_len(bytes.first_chunk().unwrap()), Some(bytes.len()));
        assert_eq!(HintHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(HintHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(HintHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_cannot_be_a_header_has_no_length() {
        let front: [u8; FRONT_LEN] = *header().encode().first_chunk().unwrap();
        assert!(HintHeader::encoded_len(&front).is_some());
        // The magic number, the version, a count of sections that is out of range.
        for byte in [0, 8, 15] {
            let mut changed = front;
            changed[byte] ^= 0x80;
            assert_eq!(HintHeader::encoded_len(&changed), None, "byte {byte}");
        }
    }

    #[test]
    fn an_entry_leads_behind_the_start_of_its_file_and_has_a_key() {
        let entry = HintEntry {
            timestamp: 1,
            offset: 1,
            len: rounded(40),
            is_tombstone: false,
            expiry: None,
            key: b"k",
        };
        let decoded = |entry: HintEntry<'_>| {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            entries(&bytes).next().unwrap().is_some()
        };
        assert!(decoded(entry));
        assert!(!decoded(HintEntry { offset: 0, ..entry }));
        assert!(!decoded(HintEntry { key: b"", ..entry }));
    }

    #[test]
    fn sections_out_of_order_are_refused() {
        let mut header = header();
        header.sections.swap(0, 1);
        assert!(HintHeader::decode(&header.encode()).is_err());
    }

    #[test]
    fn a_section_with_more_entries_than_it_has_room_for_is_refused() {
        let with_count = |count| {
            let mut header = header();
            header.sections[1].count = count;
            HintHeader::decode(&header.encode())
        };
        assert!(with_count(80 / 19).is_ok());
        for count in [80 / 19 + 1, u32::MAX] {
            assert!(with_count(count).is_err(), "{count}");
        }
    }

    proptest! {
        #[test]
        fn entries_come_back(drafts in prop::collection::vec((any::<u64>(), 1u32.., 0..1u64 << 33, any::<bool>(), any::<Option<u64>>(), prop::collection::vec(any::<u8>(), 1..40)), 0..20)) {
            let mut bytes = Vec::new();
            for (timestamp, offset, len, is_tombstone, expiry, key) in &drafts {
                HintEntry { timestamp: *timestamp, offset: *offset, len: *len, is_tombstone: *is_tombstone, expiry: *expiry, key }.encode(&mut bytes);
            }
            let decoded = entries(&bytes).collect::<Option<Vec<_>>>().unwrap();
            prop_assert_eq!(decoded.len(), drafts.len());
            for (entry, (timestamp, offset, len, is_tombstone, expiry, key)) in decoded.iter().zip(&drafts) {
                let expected = HintEntry { timestamp: *timestamp, offset: *offset, len: rounded(*len), is_tombstone: *is_tombstone, expiry: *expiry, key };
                prop_assert_eq!(*entry, expected);
            }
        }

        #[test]
        fn arbitrary_sections_end_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(entries(&bytes).count() <= bytes.len());
        }
    }
}

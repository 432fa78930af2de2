//! The footer: the last record of an immutable file, which says that the file is complete.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | count of records before it |
//! | 8 | count of values among them |
//! | 8 | count of tombstones among them |
//! | 8 | first timestamp of a value or tombstone, 0 when there is none |
//! | 8 | highest timestamp of any record before it |
//! | 8 | length of the file before the footer |
//! | 4 | CRC-32C of the file before the footer |
//! | 4 | flags: bit 0 *cut*: recovery ended the file here after an unclean end |

use super::{Defect, Reader};

pub(crate) const PAYLOAD_LEN: usize = 56;

const CUT: u32 = 1;

/// How a file came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was full, and the log went on in the next file.
    Rotated,
    /// Recovery cut it after an unclean end.
    Cut,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) records: u64,
    pub(crate) values: u64,
    pub(crate) tombstones: u64,
    pub(crate) first_timestamp: u64,
    pub(crate) last_timestamp: u64,
    pub(crate) data_len: u64,
    pub(crate) checksum: u32,
    pub(crate) ending: Ending,
}

impl Footer {
    /// The payload of the footer record.
    pub(crate) fn encode(&self) -> [u8; PAYLOAD_LEN] {
        let flags = match self.ending {
            Ending::Rotated => 0,
            Ending::Cut => CUT,
        };
        let words = [
            self.records,
            self.values,
            self.tombstones,
            self.first_timestamp,
            self.last_timestamp,
            self.data_len,
        ];
        let mut bytes = [0; PAYLOAD_LEN];
        let (front, last) = bytes.split_at_mut(8 * words.len());
        for (place, word) in front.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        last[..4].copy_from_slice(&self.checksum.to_le_bytes());
        last[4..].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    /// Decodes the payload of a footer record whose checksums fit.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Defect> {
        let mut reader = Reader::new(payload);
        let footer = (|| {
            let footer = Self {
                records: reader.u64()?,
                values: reader.u64()?,
                tombstones: reader.u64()?,
                first_timestamp: reader.u64()?,
                last_timestamp: reader.u64()?,
                data_len: reader.u64()?,
                checksum: reader.u32()?,
                ending: Ending::Rotated,
            };
            let flags = reader.u32()?;
            reader.is_empty().then_some((footer, flags))
        })();
        match footer {
            None => Err(Defect::damaged("a footer of another length")),
            Some((footer, 0)) => Ok(footer),
            Some((footer, CUT)) => Ok(Self { ending: Ending::Cut, ..footer }),
            Some((_, flags)) => Err(Defect::newer(format!("footer flags {flags:#x}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_and_other_lengths_do_not() {
        for ending in [Ending::Rotated, Ending::Cut] {
            let footer = Footer {
                records: 5,
                values: 3,
                tombstones: 1,
                first_timestamp: 10,
                last_timestamp: 30,
                data_len: 4096,
                checksum: 0xdead_beef,
                ending,
            };
            let bytes = footer.encode();
            assert_eq!(Footer::decode(&bytes), Ok(footer));
            assert!(matches!(Footer::decode(&bytes[..55]), Err(Defect::Damaged(_))));
            assert!(matches!(Footer::decode(&[bytes.as_slice(), &[0]].concat()), Err(Defect::Damaged(_))));
        }
    }

    #[test]
    fn unknown_flags_are_newer() {
        let mut bytes = [0; PAYLOAD_LEN];
        bytes[52] = 2;
        assert!(matches!(Footer::decode(&bytes), Err(Defect::Newer(_))));
    }
}

//! The end of a batch: the record that makes the records before it count.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | count of records in the batch |
//! | 8 | offset of the first of them in this file |
//!
//! The records of a batch carry one timestamp and the flag *part of a batch*, lie in one file without gaps, and are about
//! different keys. Their end follows right behind them, with the same timestamp; without it none of them counts.

use super::{Defect, Reader};

const PAYLOAD_LEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchEnd {
    pub(crate) count: u64,
    pub(crate) start: u64,
}

impl BatchEnd {
    /// The payload of the record.
    pub(crate) fn encode(&self) -> [u8; PAYLOAD_LEN] {
        let mut bytes = [0; PAYLOAD_LEN];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.start.to_le_bytes());
        bytes
    }

    /// Decodes the payload of a record whose checksums fit.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Defect> {
        let mut reader = Reader::new(payload);
        let end = (|| Some(Self { count: reader.u64()?, start: reader.u64()? }))();
        end.filter(|_| reader.is_empty()).ok_or_else(|| Defect::damaged("a batch end of another length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_end_comes_back_and_other_lengths_do_not() {
        let end = BatchEnd { count: 3, start: 4096 };
        let bytes = end.encode();
        assert_eq!(BatchEnd::decode(&bytes), Ok(end));
        assert!(matches!(BatchEnd::decode(&bytes[..15]), Err(Defect::Damaged(_))));
        assert!(matches!(BatchEnd::decode(&[bytes.as_slice(), &[0]].concat()), Err(Defect::Damaged(_))));
    }
}

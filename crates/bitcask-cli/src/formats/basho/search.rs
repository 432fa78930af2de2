//! Where the entries go on behind damage, when no hint file tells.
//!
//! Every offset behind the damage is tried: is there an entry whose checksum fits? An entry may be long, so reading each
//! candidate would take quadratic time. Instead the file is read once, and the checksum of its front is kept at regular
//! places. CRC-32 is linear: from the checksums of two fronts follows that of the bytes between them. So any range costs
//! two short reads, however long it is, and memory stays at a few MiB.

use std::ops::Range;

use crc32fast::Hasher;

use super::entry::{HEADER_LEN, Header};
use super::file::{SourceFile, usize_or_max};
use crate::failure::Failure;

/// The places are at least so far apart, and there are at most so many of them.
const MIN_SPACING: u64 = 1 << 10;
const MAX_PLACES: u64 = 1 << 20;

/// A chance hit has a probability of 2^-32 a candidate. After so many candidates, an entry alone is no longer believed:
/// another one, or the end of the file, must follow it.
const MAX_CANDIDATES_ALONE: u64 = 1 << 12;

/// The checksum of any range of one file.
pub(super) struct Checksums {
    spacing: u64,
    /// Of the bytes before each multiple of `spacing`.
    fronts: Vec<u32>,
}

impl Checksums {
    /// Reads the whole file once.
    pub(super) fn of(file: &mut SourceFile) -> Result<Self, Failure> {
        Self::with_spacing(file, MIN_SPACING.max(file.len().div_ceil(MAX_PLACES)))
    }

    fn with_spacing(file: &mut SourceFile, spacing: u64) -> Result<Self, Failure> {
        let mut hasher = Hasher::new();
        let mut fronts = vec![0];
        let mut offset = 0;
        while file.len() - offset >= spacing {
            hasher.update(file.bytes(offset, usize_or_max(spacing))?);
            fronts.push(hasher.clone().finalize());
            offset += spacing;
        }
        Ok(Self { spacing, fronts })
    }

    /// The CRC-32 of a range, which must lie inside the file.
    fn range(&self, file: &SourceFile, range: Range<u64>) -> Result<u32, Failure> {
        let mut start = Hasher::new_with_initial(self.front(file, range.start)?);
        start.combine(&Hasher::new_with_initial_len(0, range.end - range.start));
        Ok(self.front(file, range.end)? ^ start.finalize())
    }

    /// The CRC-32 of all bytes before the offset.
    fn front(&self, file: &SourceFile, offset: u64) -> Result<u32, Failure> {
        let place = usize_or_max(offset / self.spacing).min(self.fronts.len() - 1);
        let mut rest = vec![0; usize_or_max(offset - place as u64 * self.spacing)];
        file.read(offset - rest.len() as u64, &mut rest)?;
        let mut hasher = Hasher::new_with_initial(self.fronts[place]);
        hasher.update(&rest);
        Ok(hasher.finalize())
    }

    /// Whether the checksum fits of an entry that lies inside the file.
    pub(super) fn is_sound(&self, file: &SourceFile, offset: u64, header: &Header) -> Result<bool, Failure> {
        Ok(self.range(file, header.covered(offset))? == header.checksum)
    }

    /// Whether an entry or the end of the file is here.
    fn goes_on(&self, file: &mut SourceFile, offset: u64) -> Result<bool, Failure> {
        if offset == file.len() {
            return Ok(true);
        }
        match Header::read(file, offset)? {
            Some(header) => self.is_sound(file, offset, &header),
            None => Ok(false),
        }
    }

    /// Where the next sound entry begins behind the damaged one at `damaged`; the end of the file, when the damaged
    /// entry is the last one and just fills it; `None` when nothing more was found.
    pub(super) fn next_after(&self, file: &mut SourceFile, damaged: u64) -> Result<Option<u64>, Failure> {
        let announced = match Header::read(file, damaged)? {
            Some(header) if self.goes_on(file, header.end(damaged))? => Some(header.end(damaged)),
            _ => None,
        };
        let limit = announced.unwrap_or(file.len());
        let mut candidates = 0;
        for offset in damaged + 1..limit.saturating_sub(HEADER_LEN) {
            // Keys are not empty, and runs of zeros are a frequent damage.
            let header = Header::read(file, offset)?.filter(|header| header.key_len > 0);
            let Some(header) = header else { continue };
            candidates += 1;
            if !self.is_sound(file, offset, &header)? {
                continue;
            }
            // Lengths that lead to an entry are most likely right: what is found in between is a part of the value,
            // unless it can be shown that it is not.
            let believed = match announced {
                Some(_) => self.ends_at(file, damaged, offset)?,
                None => candidates <= MAX_CANDIDATES_ALONE || self.goes_on(file, header.end(offset))?,
            };
            if believed {
                return Ok(Some(offset));
            }
        }
        Ok(announced)
    }

    /// Whether the damaged entry fits its checksum once one of its lengths is such that it ends here.
    fn ends_at(&self, file: &mut SourceFile, damaged: u64, end: u64) -> Result<bool, Failure> {
        let Some(content_len) = (end - damaged).checked_sub(HEADER_LEN) else {
            return Ok(false);
        };
        let header = Header::decode(file.array(damaged)?);
        let key_len =
            content_len.checked_sub(u64::from(header.value_len)).and_then(|len| len.try_into().ok());
        let value_len =
            content_len.checked_sub(u64::from(header.key_len)).and_then(|len| len.try_into().ok());
        let mended = [
            key_len.map(|key_len| Header { key_len, ..header }),
            value_len.map(|value_len| Header { value_len, ..header }),
        ];
        let content = self.range(file, damaged + HEADER_LEN..end)?;
        Ok(mended
            .iter()
            .flatten()
            .any(|mended| mended.checksum_with(content, content_len) == header.checksum))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use super::*;

    #[test]
    fn the_checksum_of_any_range_is_that_of_its_bytes() {
        let bytes: Vec<u8> = (0..200_u8).map(|byte| byte.wrapping_mul(31)).collect();
        let place = Place::new();
        let mut file = place.file("1.bitcask.data", &bytes);
        for spacing in [7, 200, 1_024] {
            let checksums = Checksums::with_spacing(&mut file, spacing).unwrap();
            for start in 0..=bytes.len() {
                for end in start..=bytes.len() {
                    let found = checksums.range(&file, start as u64..end as u64).unwrap();
                    assert_eq!(found, crc32fast::hash(&bytes[start..end]), "{start}..{end} by {spacing}");
                }
            }
        }
    }
}

//! The bytes of one file, in sectors that copies share until one of them is written.
//!
//! A copy costs a pointer for each sector ever written, space never written costs nothing: a preallocated file of
//! 16 MiB with one record is as cheap as the record.
//!
//! Invariant: bytes at and past the length are zero, so growth uncovers zeros. [`Image::put_sector`] alone may break
//! it, for the crash models, which set the length last.

use super::{to_u64, to_usize};
use std::ops::Range;
use std::sync::Arc;

/// The unit that reaches a disk whole or not at all.
pub(super) const SECTOR_LEN: usize = 512;

pub(super) type Sector = [u8; SECTOR_LEN];

#[derive(Clone, Default)]
pub(super) struct Image {
    /// `None`, and everything past the end of the vector, is zeros.
    sectors: Vec<Option<Arc<Sector>>>,
    len: u64,
}

impl Image {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.write(bytes, 0);
        image
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many sectors, counted from the start, may hold anything but zeros.
    pub(super) fn sector_count(&self) -> usize {
        self.sectors.len()
    }

    /// Reads up to the end of the file; returns how much.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let available = to_usize(self.len.saturating_sub(offset).min(to_u64(buffer.len())));
        for (piece, sector, within) in pieces(offset, available) {
            match self.sectors.get(sector) {
                Some(Some(bytes)) => buffer[piece].copy_from_slice(&bytes[within]),
                _ => buffer[piece].fill(0),
            }
        }
        available
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; to_usize(self.len)];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Writes, growing the file where needed.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (piece, sector, within) in pieces(offset, bytes.len()) {
            self.sector_mut(sector)[within].copy_from_slice(&bytes[piece]);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + to_u64(bytes.len()));
        }
    }

    /// Writes what lies below the end of the file, which stays where it is.
    pub(super) fn patch(&mut self, bytes: &[u8], offset: u64) {
        let available = to_usize(self.len.saturating_sub(offset).min(to_u64(bytes.len())));
        self.write(&bytes[..available], offset);
    }

    /// Cuts the file, or lengthens it with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        let last = to_usize(len) / SECTOR_LEN;
        let within = to_usize(len) % SECTOR_LEN;
        self.sectors.truncate(if within == 0 { last } else { last + 1 });
        if within != 0
            && let Some(Some(bytes)) = self.sectors.get_mut(last)
        {
            Arc::make_mut(bytes)[within..].fill(0);
        }
        self.len = len;
    }

    pub(super) fn sector(&self, index: usize) -> Sector {
        self.sectors.get(index).and_then(Option::as_deref).copied().unwrap_or([0; SECTOR_LEN])
    }

    /// Replaces a sector whatever the length of the file is. The caller sets the length afterwards.
    pub(super) fn put_sector(&mut self, index: usize, bytes: Sector) {
        *self.sector_mut(index) = bytes;
    }

    fn sector_mut(&mut self, index: usize) -> &mut Sector {
        if index >= self.sectors.len() {
            self.sectors.resize(index + 1, None);
        }
        Arc::make_mut(self.sectors[index].get_or_insert_with(|| Arc::new([0; SECTOR_LEN])))
    }
}

/// Splits `len` bytes at `offset` by sectors: the part of the bytes, the sector, the part of the sector.
pub(super) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (Range<usize>, usize, Range<usize>)> {
    let offset = to_usize(offset);
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let sector = (offset + done) / SECTOR_LEN;
        let start = (offset + done) % SECTOR_LEN;
        let count = (SECTOR_LEN - start).min(len - done);
        let piece = done..done + count;
        done += count;
        Some((piece, sector, start..start + count))
    })
}

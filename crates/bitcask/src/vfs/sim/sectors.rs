//! The pending changes of one file, sorted by the sector they touch: what a crash decides about.

use super::image::{Image, SECTOR_LEN, Sector, pieces};
use super::inode::{Change, Inode};
use super::random::Random;
use super::{to_u64, to_usize};
use std::collections::BTreeMap;

/// What one pending change does to one sector.
pub(super) enum Patch<'a> {
    Write { at: usize, bytes: &'a [u8] },
    ZeroFrom(usize),
}

impl Patch<'_> {
    pub(super) fn apply(&self, sector: &mut Sector) {
        match self {
            Self::Write { at, bytes } => sector[*at..at + bytes.len()].copy_from_slice(bytes),
            Self::ZeroFrom(at) => sector[*at..].fill(0),
        }
    }

    /// Applies the first bytes of a write, as many as chance wants: the power failed in the middle of the sector.
    pub(super) fn tear(&self, sector: &mut Sector, random: &mut Random) {
        if let Self::Write { at, bytes } = self {
            let count = random.index(bytes.len());
            sector[*at..at + count].copy_from_slice(&bytes[..count]);
        }
    }

    /// Where in the sector the patch ends that may leave garbage behind; a cut leaves none.
    fn written_to(&self) -> usize {
        match self {
            Self::Write { at, bytes } => at + bytes.len(),
            Self::ZeroFrom(_) => 0,
        }
    }
}

/// One sector with all that is pending for it, in order.
pub(super) struct TouchedSector<'a> {
    pub(super) durable: Sector,
    pub(super) patches: Vec<Patch<'a>>,
    /// Where the bytes begin that were never written durably and that pending writes touch; the end of the sector
    /// when there are none.
    pub(super) fresh_from: usize,
}

/// The touched sectors of a file, by index.
pub(super) fn touched(inode: &Inode) -> BTreeMap<usize, TouchedSector<'_>> {
    let mut patches: BTreeMap<usize, Vec<Patch<'_>>> = BTreeMap::new();
    let mut len = inode.durable.len();
    // Past this many sectors everything is zeros, which a cut need not clear.
    let mut sector_count = inode.durable.sector_count();
    for pending in &inode.pending {
        match &pending.change {
            Change::Write { offset, bytes } => {
                for (piece, sector, within) in pieces(*offset, bytes.len()) {
                    let patch = Patch::Write { at: within.start, bytes: &bytes[piece] };
                    patches.entry(sector).or_default().push(patch);
                    sector_count = sector_count.max(sector + 1);
                }
            }
            Change::SetLen(new_len) if *new_len < len => {
                let first = to_usize(*new_len) / SECTOR_LEN;
                for sector in first..sector_count {
                    let at = if sector == first { to_usize(*new_len) % SECTOR_LEN } else { 0 };
                    patches.entry(sector).or_default().push(Patch::ZeroFrom(at));
                }
            }
            Change::SetLen(_) => {}
        }
        len = pending.change.len_after(len);
    }
    patches.into_iter().map(|(index, patches)| (index, touched_sector(inode, index, patches))).collect()
}

fn touched_sector<'a>(inode: &Inode, index: usize, patches: Vec<Patch<'a>>) -> TouchedSector<'a> {
    let start = to_u64(index * SECTOR_LEN);
    let written = to_usize(inode.written_end.saturating_sub(start).min(to_u64(SECTOR_LEN)));
    let is_fresh = patches.iter().any(|patch| patch.written_to() > written);
    let fresh_from = if is_fresh { written } else { SECTOR_LEN };
    TouchedSector { durable: inode.durable.sector(index), patches, fresh_from }
}

/// The durable bytes with the touched sectors replaced, cut to `len`.
pub(super) fn rebuild(inode: &Inode, len: u64, sectors: impl Iterator<Item = (usize, Sector)>) -> Image {
    let mut image = inode.durable.clone();
    for (index, bytes) in sectors {
        image.put_sector(index, bytes);
    }
    image.set_len(len);
    image
}

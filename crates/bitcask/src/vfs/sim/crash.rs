//! The disk after a power cut, computed from the pending changes of a disk that stays as it is.

use super::directory::{Directory, Names};
use super::disk::{InodeId, SimDisk, State};
use super::fault::Faults;
use super::image::{Image, SECTOR_LEN, Sector};
use super::inode::{Change, Inode, Pending};
use super::random::Random;
use super::sectors::{TouchedSector, rebuild, touched};
use super::to_u64;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which of the pending changes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashModel {
    /// None.
    Clean,
    /// All that no failed sync has dropped.
    KeepAll,
    /// The oldest ones of the whole disk, up to some moment; the write of that moment perhaps in part.
    Prefix,
    /// For each file some mixture of its own: nothing, everything, a prefix, only the length, or each sector by
    /// itself, with torn sectors, zeros and garbage. Lengths and names go independently of the bytes.
    Random(DirOrder),
}

impl CrashModel {
    /// Every model, for tests that want them all.
    pub(crate) const ALL: [Self; 5] = [
        Self::Clean,
        Self::KeepAll,
        Self::Prefix,
        Self::Random(DirOrder::Prefix),
        Self::Random(DirOrder::AnySubset),
    ];
}

/// Which of the pending changes of names in a directory reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirOrder {
    /// The oldest ones, as with the journal of ext4.
    Prefix,
    /// Any, which is all that POSIX promises.
    AnySubset,
}

/// What becomes of all pending bytes where the crash decides about names one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PendingBytes {
    Kept,
    Lost,
}

/// A sector with pending writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingSector {
    pub(crate) file: String,
    /// Counted from the start of the file, in units of 512 bytes.
    pub(crate) sector: usize,
}

impl SimDisk {
    /// The disk after a power cut at this moment. This disk stays as it is.
    pub(crate) fn crash(&self, seed: u64, model: CrashModel) -> Self {
        let state = self.state();
        let mut random = Random::new(seed);
        let after = match model {
            CrashModel::Clean => state.after_crash(|it| it.durable.clone(), |_, it| it.durable.clone()),
            CrashModel::KeepAll => state.after_crash(kept_names, |_, it| kept_image(it)),
            CrashModel::Prefix => state.crash_at(&mut random),
            CrashModel::Random(order) => {
                let garbage = state.images();
                let mut names_random = Random::new(random.next());
                state.after_crash(
                    |directory| random_names(directory, order, &mut names_random),
                    |_, inode| random_image(inode, &garbage, &mut random),
                )
            }
        };
        Self::from_state(after)
    }

    /// The sectors that pending writes and cuts touch, of files that have a name. Sorted.
    pub(crate) fn pending_sectors(&self) -> Vec<PendingSector> {
        let state = self.state();
        let mut sectors = Vec::new();
        for (file, id) in state.named_files() {
            for &sector in touched(state.inode(id)).keys() {
                sectors.push(PendingSector { file: file.clone(), sector });
            }
        }
        sectors
    }

    /// The disk after a power cut that lets exactly the wanted ones of [`SimDisk::pending_sectors`] reach it, each with
    /// all of its writes. All changes of lengths and names are kept.
    pub(crate) fn crash_with(&self, kept: &[bool]) -> Self {
        let state = self.state();
        let mut kept = kept.iter().copied();
        let mut images = BTreeMap::new();
        for (_, id) in state.named_files() {
            let inode = state.inode(id);
            let sectors = touched(inode).into_iter().map(|(index, sector)| {
                let is_kept = kept.next().expect("a choice for each pending sector");
                (index, if is_kept { kept_sector(&sector) } else { sector.durable })
            });
            images.insert(id, rebuild(inode, last_len(inode), sectors));
        }
        assert!(kept.next().is_none(), "more choices than pending sectors");
        let after = state
            .after_crash(kept_names, |id, inode| images.remove(&id).unwrap_or_else(|| kept_image(inode)));
        Self::from_state(after)
    }

    /// How many changes of names are pending, in all directories.
    pub(crate) fn pending_names(&self) -> usize {
        self.state().directories.iter().map(|(_, directory)| directory.pending.len()).sum()
    }

    /// The disk after a power cut that lets exactly the wanted ones of the pending changes of names reach it, directory by
    /// directory in their order, and all pending bytes or none.
    pub(crate) fn crash_with_names(&self, kept: &[bool], bytes: PendingBytes) -> Self {
        let state = self.state();
        let mut kept = kept.iter().copied();
        let after = state.after_crash(
            |directory| {
                let mut names = directory.durable.clone();
                for pending in &directory.pending {
                    if kept.next().expect("a choice for each pending change") {
                        pending.change.apply(&mut names);
                    }
                }
                names
            },
            |_, inode| match bytes {
                PendingBytes::Kept => kept_image(inode),
                PendingBytes::Lost => inode.durable.clone(),
            },
        );
        assert!(kept.next().is_none(), "more choices than pending changes");
        Self::from_state(after)
    }

    /// The disk after a power cut that keeps everything, but of one file only the first `len` bytes.
    pub(crate) fn crash_cut(&self, file: &str, len: u64) -> Self {
        let state = self.state();
        let wanted = state.find_file(file);
        let after = state.after_crash(kept_names, |id, inode| {
            let mut image = kept_image(inode);
            if id == wanted && len < image.len() {
                image.set_len(len);
            }
            image
        });
        Self::from_state(after)
    }
}

impl State {
    /// A disk on which everything is durable: the given names and bytes.
    fn after_crash(
        &self,
        mut names: impl FnMut(&Directory) -> Names,
        mut image: impl FnMut(InodeId, &Inode) -> Image,
    ) -> Self {
        let mut after = self.fork();
        after.faults = Faults::none();
        let mut reachable = BTreeSet::new();
        for (_, directory) in &mut after.directories {
            let names = names(directory);
            reachable.extend(names.values().copied());
            *directory = Arc::new(Directory::settled(names));
        }
        for (id, inode) in std::mem::take(&mut after.inodes) {
            if !reachable.contains(&id) {
                after.bury(inode);
            } else if inode.is_settled() {
                after.inodes.insert(id, inode);
            } else {
                let image = image(id, &inode);
                after.inodes.insert(id, Arc::new(inode.settled_as(image)));
            }
        }
        after
    }

    /// Keeps all changes before some moment and none after it.
    fn crash_at(&self, random: &mut Random) -> Self {
        let files = self.inodes.values().flat_map(|it| &it.pending).map(|pending| pending.sequence);
        let names = self.directories.iter().flat_map(|(_, it)| &it.pending).map(|pending| pending.sequence);
        let mut moments: Vec<u64> = files.chain(names).collect();
        moments.sort_unstable();
        moments.push(u64::MAX);
        let moment = moments[random.index(moments.len())];
        self.after_crash(
            |directory| {
                let mut names = directory.durable.clone();
                let kept = directory.pending.iter().filter(|pending| pending.sequence < moment);
                kept.for_each(|pending| pending.change.apply(&mut names));
                names
            },
            |_, inode| prefix_image(inode, moment, random),
        )
    }
}

fn kept_names(directory: &Directory) -> Names {
    let mut names = directory.durable.clone();
    directory.pending.iter().for_each(|pending| pending.change.apply(&mut names));
    names
}

fn random_names(directory: &Directory, order: DirOrder, random: &mut Random) -> Names {
    let mut names = directory.durable.clone();
    let count = random.index(directory.pending.len() + 1);
    for (index, pending) in directory.pending.iter().enumerate() {
        let is_kept = match order {
            DirOrder::Prefix => index < count,
            DirOrder::AnySubset => random.one_in(2),
        };
        if is_kept {
            pending.change.apply(&mut names);
        }
    }
    names
}

fn kept_image(inode: &Inode) -> Image {
    let mut image = inode.durable.clone();
    inode.pending.iter().for_each(|pending| pending.change.apply(&mut image));
    image
}

fn last_len(inode: &Inode) -> u64 {
    inode.lens().last().unwrap_or(0)
}

/// The changes before `moment`, and perhaps the first bytes of the write of that moment.
fn prefix_image(inode: &Inode, moment: u64, random: &mut Random) -> Image {
    let mut image = inode.durable.clone();
    for Pending { sequence, change } in &inode.pending {
        match change {
            _ if *sequence < moment => change.apply(&mut image),
            Change::Write { offset, bytes } if *sequence == moment => {
                image.write(&bytes[..random.index(bytes.len())], *offset);
            }
            _ => {}
        }
    }
    image
}

fn random_image(inode: &Inode, garbage: &[&Image], random: &mut Random) -> Image {
    match random.below(8) {
        0 => inode.durable.clone(),
        1 => kept_image(inode),
        2 => rebuild(inode, random_len(inode, random), std::iter::empty()),
        // A failed sync may have left nothing pending.
        3 if !inode.pending.is_empty() => {
            let moment = inode.pending[random.index(inode.pending.len())].sequence;
            prefix_image(inode, moment, random)
        }
        _ => {
            // Some crashes damage nothing, so that each kind of loss is also seen alone.
            let damage = [None, Some(2), Some(4), Some(16)][random.index(4)];
            let len = random_len(inode, random);
            let sectors = touched(inode);
            rebuild(
                inode,
                len,
                sectors
                    .iter()
                    .map(|(index, it)| (*index, random_sector(it, *index, damage, garbage, random))),
            )
        }
    }
}

/// A length that the file has had, or one on the way from there to the next while a write made it grow.
fn random_len(inode: &Inode, random: &mut Random) -> u64 {
    let lens: Vec<u64> = inode.lens().collect();
    let index = random.index(lens.len());
    let grows = index > 0
        && lens[index] > lens[index - 1]
        && matches!(inode.pending[index - 1].change, Change::Write { .. });
    if grows && random.one_in(4) {
        lens[index - 1] + random.below(lens[index] - lens[index - 1])
    } else {
        lens[index]
    }
}

fn kept_sector(touched: &TouchedSector<'_>) -> Sector {
    let mut bytes = touched.durable;
    touched.patches.iter().for_each(|patch| patch.apply(&mut bytes));
    bytes
}

/// A prefix of the writes to the sector, the next one perhaps torn, the fresh part perhaps damaged.
fn random_sector(
    touched: &TouchedSector<'_>,
    index: usize,
    damage_one_in: Option<u64>,
    garbage: &[&Image],
    random: &mut Random,
) -> Sector {
    let mut bytes = touched.durable;
    let count = random.index(touched.patches.len() + 1);
    touched.patches[..count].iter().for_each(|patch| patch.apply(&mut bytes));
    if let Some(next) = touched.patches.get(count)
        && random.one_in(4)
    {
        next.tear(&mut bytes, random);
    }
    if damage_one_in.is_some_and(|n| random.one_in(n)) {
        let fresh = &mut bytes[touched.fresh_from..];
        match random.below(3) {
            0 => fresh.fill(0),
            1 => random.fill(fresh),
            _ => fresh.copy_from_slice(&foreign_sector(index, garbage, random)[touched.fresh_from..]),
        }
    }
    bytes
}

/// Bytes that some file holds or held: whole old records, the most dangerous garbage. At the same place as often as
/// elsewhere, because only a checksum over file and place tells those apart.
fn foreign_sector(index: usize, garbage: &[&Image], random: &mut Random) -> Sector {
    let mut bytes = [0; SECTOR_LEN];
    if garbage.is_empty() {
        return bytes;
    }
    let image = garbage[random.index(garbage.len())];
    let same_place = to_u64(index * SECTOR_LEN);
    let offset = match random.below(4) {
        0 | 1 if same_place < image.len() => same_place,
        3 => random.below(image.len()),
        _ => random.below(image.len()) / to_u64(SECTOR_LEN) * to_u64(SECTOR_LEN),
    };
    image.read(&mut bytes, offset);
    bytes
}

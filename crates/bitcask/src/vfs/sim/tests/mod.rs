//! Tests of the simulated disk itself: a test bed that loses too little proves nothing.

mod corruption;
mod crash;
mod durability;
mod fault;
mod rules;

use super::{CrashModel, SimDisk};
use crate::vfs::{Dir, DirAccess, File, Io, write_all_at};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const EIO: i32 = 5;

/// How many seeds a sweep tries.
const SEEDS: u64 = 300;

fn open(disk: &SimDisk) -> Arc<dyn Dir> {
    disk.vfs().open_dir(Path::new("store"), DirAccess::Create).unwrap()
}

fn new_disk() -> (SimDisk, Arc<dyn Dir>) {
    let disk = SimDisk::new(Io::Syscall);
    let dir = open(&disk);
    (disk, dir)
}

/// A mapped file `a` with `allocated` bytes, all synced.
fn mapped_file(allocated: u64) -> (SimDisk, Arc<dyn Dir>, Arc<dyn File>) {
    let disk = SimDisk::new(Io::Mapped);
    let dir = open(&disk);
    let file = dir.create("a").unwrap();
    file.allocate(allocated).unwrap();
    file.map(1 << 20).unwrap();
    file.sync().unwrap();
    dir.sync().unwrap();
    (disk, dir, file)
}

/// A file with these bytes, of which neither name nor bytes are synced.
fn write(dir: &Arc<dyn Dir>, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = dir.create(name).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

/// As `write`, but synced with its name.
fn write_synced(dir: &Arc<dyn Dir>, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = write(dir, name, bytes);
    file.sync().unwrap();
    dir.sync().unwrap();
    file
}

/// All states of a file, `None` for its absence, that the seeds of a sweep bring about.
fn outcomes(disk: &SimDisk, model: CrashModel, file: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| content(&disk.crash(seed, model), file)).collect()
}

fn content(disk: &SimDisk, file: &str) -> Option<Vec<u8>> {
    disk.exists(file).then(|| disk.read_file(file))
}

/// Everything on a disk, to compare disks.
fn everything(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|file| (file.clone(), disk.read_file(&file))).collect()
}

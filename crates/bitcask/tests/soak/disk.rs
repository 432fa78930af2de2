//! A file system for the soak alone, and what fills it beside the store.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use bitcask_testing::{Tier, skip};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::plan::Plan;

/// The directory below the test's own on which the file system is mounted, where that is allowed.
pub(crate) const MOUNTED: &str = "mounted";

/// How a program is started so that it sees a file system of its own in `dir`: the kind, and the commands. A mount is
/// seen by that program and its children alone, and goes with them.
pub(crate) fn file_system(dir: &Path) -> (&'static str, String) {
    let mounted = dir.join(MOUNTED);
    std::fs::create_dir(&mounted).unwrap();
    let bytes = Plan::new().disk_bytes;
    let (image, mounted) = (dir.join("image").display().to_string(), mounted.display().to_string());
    let tmpfs = format!("mount -t tmpfs -o size={bytes} tmpfs {mounted}");
    let ext4 = format!(
        "fallocate -l {bytes} {image} && mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0 {image} \
         && mount -o loop {image} {mounted}"
    );
    // One without a disk below it where the time is short.
    let kinds = Tier::pick(
        [("tmpfs", &tmpfs), ("ext4", &ext4)],
        [("ext4", &ext4), ("tmpfs", &tmpfs)],
        [("ext4", &ext4), ("tmpfs", &tmpfs)],
    );
    for (kind, mount) in kinds {
        let mut command = Command::new("unshare");
        let tried = command.args(["-m", "sh", "-c", mount]).stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) {
            return (kind, format!("exec unshare -m sh -c '{mount} && exec \"$0\" \"$@\"'"));
        }
    }
    skip("this machine does not allow to mount a file system: no disk fills up");
    ("directory", "exec".to_owned())
}

/// A file that fills the disk.
pub(crate) struct Ballast(File);

impl Ballast {
    pub(crate) fn new(place: &Path) -> Self {
        Self(File::create(place.join("ballast")).unwrap())
    }

    /// Grows or shrinks until this much of the disk is used, in percent, as far as that is up to it.
    pub(crate) fn fill_to(&self, percent: u64) {
        let disk = fstatvfs(&self.0).unwrap();
        let len = self.0.metadata().unwrap().len();
        let free = disk.f_bavail * disk.f_frsize;
        let to_be_free = disk.f_blocks * disk.f_frsize / 100 * (100 - percent);
        if free < to_be_free {
            self.0.set_len(len.saturating_sub(to_be_free - free)).unwrap();
        }
        // The store takes some of it at the same time.
        let mut more = free.saturating_sub(to_be_free);
        while more > 0 && fallocate(&self.0, FallocateFlags::empty(), len, more).is_err() {
            more /= 2;
        }
    }

    /// Nothing but the store is on the disk.
    pub(crate) fn remove(&self) {
        self.0.set_len(0).unwrap();
    }
}

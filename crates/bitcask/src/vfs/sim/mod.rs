//! A simulated disk, for tests: it loses, tears, reorders and garbles what was not synced, fails the n-th operation,
//! fills up, and lies about sync. The real engine runs on it, without I/O, threads or time of its own, and every
//! choice follows from a `u64` seed.
//!
//! A test holds a [`SimDisk`]; the engine holds the [`SimVfs`](dir::SimVfs) made from it. While the engine works, the
//! disk keeps for each file the durable bytes, the cached ones, and the list of changes between them; for each
//! directory the same of its names. A crash picks from that list:
//!
//! | what | after a crash |
//! |---|---|
//! | bytes | each sector of 512 bytes shows a prefix of the writes to it, the next one perhaps torn at a byte; where nothing was ever written durably also zeros, noise or bytes of another file |
//! | length | any that the file has had since its last sync, whatever became of the bytes |
//! | names | a prefix of the changes (as ext4) or any subset (all that POSIX promises); a rename is one step |
//!
//! What it leaves out on purpose: damage to durable bytes by a torn rewrite of their sector (disks rewrite a sector
//! whole or not at all; [`SimDisk::flip_bit`] and [`SimDisk::overwrite`] plant damage), subdirectories, permissions,
//! and the durability of directories themselves, which are there for good once made.
//!
//! The disk also judges the engine: what breaks a rule of the seam, or would be SIGBUS in a map, panics.

#![expect(clippy::expect_used, reason = "what only tests use may panic")]
#![cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "a fuzz target does not need all that tests do")
)]

mod clock;
mod crash;
mod dir;
mod directory;
mod disk;
mod fault;
mod file;
mod image;
mod inode;
mod inspect;
mod random;
mod sectors;
#[cfg(test)]
mod tests;

pub(crate) use clock::SimClock;
pub(crate) use crash::{CrashModel, DirOrder, PendingBytes, PendingSector};
pub(crate) use disk::SimDisk;
pub(crate) use fault::{Calls, Failure, OpKind, Operation, Repeat, SyncMode};
pub(crate) use random::Random;

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a simulated file fits the memory")
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).expect("a length in memory fits 64 bits")
}

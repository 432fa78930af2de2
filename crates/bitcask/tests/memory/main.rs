//! Memory: how much an operation takes at most, and what is left when there is none.
//!
//! The bounds hold for whatever lies on the disk. A value that is returned is in memory whole, once, and so is the line of a
//! text format that it stands in; beyond that an operation takes what its buffers take, whatever a length claims that is
//! nothing but a claim. Where a block cannot be had the process aborts, which is as harmless as `kill -9`.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod allocator;
mod bounds;
mod shortage;

/// What a child does; without a role there is nothing to do.
#[test]
fn child() {
    let Some((role, store)) = bitcask_testing::role() else { return };
    let (role, argument) = role.split_once(' ').unwrap();
    match role {
        "write" => shortage::write_with_one_block_less(&store, argument),
        "grow" => shortage::grow_for_ever(&store, argument),
        other => panic!("no role {other}"),
    }
    // Nothing of the test harness follows.
    std::process::exit(0);
}

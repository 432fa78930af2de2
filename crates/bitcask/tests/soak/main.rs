//! The soak: a store under load that is killed again and again, on a file system of its own that fills up. Nothing that was
//! acknowledged is lost, and neither memory, descriptors, the size on the disk nor latencies drift.
//!
//! Three kinds of processes, all of this binary: the test, which asks for the file system; the *driver*, which runs in it,
//! starts the *worker*, fills the disk, kills, and checks what is there by a model made of what the worker acknowledged.
//! Each run of the worker is a *life*. The last one is long and ends by a close; it shows what grows as long as nobody kills.
//!
//! What is judged at the end is said in `verdict`. Times are never judged in the commit tier, where other work shares the
//! machine.

#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "in a test a panic is the report")]

mod disk;
mod driver;
mod model;
mod plan;
mod sample;
mod verdict;
mod worker;

use bitcask_testing::{OtherProcess, Sweep};

/// What a child does; without a role there is nothing to do.
#[test]
fn child() {
    let Some((role, place)) = bitcask_testing::role() else { return };
    let (role, arguments) = role.split_once(' ').unwrap();
    match role {
        "drive" => driver::drive(&place, arguments),
        "work" => worker::work(&place, arguments),
        other => panic!("no role {other}"),
    }
    // Nothing of the test harness follows.
    std::process::exit(0);
}

#[test]
fn kills_merges_and_a_full_disk_lose_nothing_and_nothing_drifts() {
    let sweep = Sweep::new("kills_merges_and_a_full_disk_lose_nothing_and_nothing_drifts");
    let dir = tempfile::tempdir().unwrap();
    let (kind, exec) = disk::file_system(dir.path());
    // What is freed goes back at once, in all processes: their memory is then what the store holds.
    let exec = format!(
        "export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_MMAP_THRESHOLD_=65536; {exec}"
    );
    let role = format!("drive {} {kind}", sweep.seed_of(0));
    let mut driver = OtherProcess::start("child", &role, &dir.path().join(disk::MOUNTED), &exec);
    let mut lives = None;
    while let Some(line) = driver.line() {
        match line.strip_prefix("lives that were killed: ") {
            Some(count) => lives = Some(count.parse().unwrap()),
            None => println!("{line}"),
        }
    }
    sweep.count_more(lives.expect("the driver has found nothing wrong"));
    sweep.finish(plan::Plan::new().lives_at_least);
}

//! Tests of the whole engine, on the simulated disk where durability is concerned.
//!
//! The model of a store, and the machine that works on one, are those of the fuzz targets, too; everything else is for
//! `cargo test`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![cfg_attr(not(test), expect(dead_code, reason = "a fuzz target does not need all that tests do"))]

mod follower;
mod harness;
mod machine;
mod model;
mod replica;
mod ways;
mod workload;

pub(crate) use self::machine::Machine;
pub(crate) use self::ways::Way;

#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_disk;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod clear;
#[cfg(test)]
mod compression;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod followers;
#[cfg(test)]
mod footers;
#[cfg(test)]
mod forged;
#[cfg(test)]
mod fuzz_findings;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod merge_faults;
#[cfg(test)]
mod merge_rules;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod panics;
#[cfg(all(test, planted))]
pub(crate) mod planted;
#[cfg(test)]
mod recovery_faults;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod restore;
#[cfg(all(test, shuttle))]
mod schedules;
#[cfg(test)]
mod seal;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod story;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod synced_damage;

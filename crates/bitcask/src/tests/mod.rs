//! Tests of the whole engine, on the simulated disk where durability is concerned.

mod backup;
mod bad_disk;
mod batches;
mod changes;
mod clear;
mod compression;
mod conditions;
mod corruption;
mod crash;
mod disk_full;
mod engine;
mod events;
mod exhaustive;
mod expiry;
mod faults;
mod follower;
mod footers;
mod forged;
mod harness;
mod ledger;
mod leftovers;
mod limits;
mod lines;
mod machine;
mod merge;
mod merge_faults;
mod merge_rules;
mod model;
mod nested;
mod panics;
#[cfg(planted)]
pub(crate) mod planted;
mod recovery_faults;
mod regressions;
mod repair;
mod restore;
#[cfg(shuttle)]
mod schedules;
mod seal;
mod snapshot;
mod stories;
mod story;
mod strangers;
mod synced_damage;
mod ways;
mod workload;

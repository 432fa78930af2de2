//! Tests of the whole engine, on the simulated disk where durability is concerned.

mod backup;
mod batches;
mod conditions;
mod corruption;
mod crash;
mod disk_full;
mod engine;
mod exhaustive;
mod expiry;
mod faults;
mod footers;
mod harness;
mod ledger;
mod leftovers;
mod lines;
mod machine;
mod merge;
mod merge_rules;
mod model;
mod repair;
mod restore;
mod snapshot;
mod stories;
mod ways;
mod workload;

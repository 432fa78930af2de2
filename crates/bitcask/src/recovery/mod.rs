//! From a directory to a store in memory.
//!
//! ```text
//! plan     read the files in log order, find where the log ends, change nothing
//! settle   writer only: make what was found durable, cut the torn tail, put what was lost aside
//! load     fill the keydir from hint files, or from scans where there is no hint
//! ```
//! The plan is the same for a writer and for a reader; only a writer settles. A crash anywhere in between leads to
//! the same plan, or to one that finds the work half done and goes on.

pub(crate) mod inventory;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod settle;

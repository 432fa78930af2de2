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

use crate::error::{Error, Result};

/// How often who reads without the lock tries.
const TRIES: usize = 20;

/// Reads until it goes well or fails twice the same way. Who takes no lock may read a file while a writer cuts it to its
/// footer, or a list of files that is not the newest: a failure counts once it stays.
pub(crate) fn until_it_stays<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last_failure: Option<String> = None;
    for _ in 1..TRIES {
        match read() {
            Err(error @ (Error::Corruption { .. } | Error::Io { .. } | Error::ForeignFile { .. })) => {
                if last_failure.replace(error.to_string()) == Some(error.to_string()) {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
    read()
}

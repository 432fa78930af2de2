//! Tests that need something of the machine: a tool, a right, a file system.

use std::fmt::Display;
use std::io::Write;

/// Says that a test, or a part of one, is left out because the machine does not allow it.
///
/// # Panics
///
/// Where `BITCASK_NO_SKIP` is set: on a machine that should allow everything.
pub fn skip(why: impl Display) {
    assert!(std::env::var_os("BITCASK_NO_SKIP").is_none(), "this machine should allow it: {why}");
    // Written directly, so that the test harness does not keep it to itself. Who cannot be told misses nothing else.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

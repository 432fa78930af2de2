//! Events as those of the `tracing` crate: one message each, and the event's fields under their names.
//!
//! | level | what |
//! |---|---|
//! | error | somebody has to act: the store is poisoned, a file is damaged, a close has failed |
//! | warn | something went wrong that mends itself, or is slow |
//! | info | what an operator would note in a log book: open, merge, backup, close |
//! | debug | the store's daily work |

use tracing::{debug, error, info, warn};

use super::Event;
use crate::error::Error;
use crate::status::{ClearReport, Recovery};

/// Gives an event of the store at this path to the subscriber.
pub(super) fn trace(store: &str, event: &Event) {
    match event {
        Event::Opened { keys, files, took, recovery } => opened(store, *keys, *files, *took, recovery),
        Event::Rotated { from, bytes, to } => debug!(store, from, bytes, to, "rotated"),
        Event::Sealed { file, bytes } => debug!(store, file, bytes, "sealed a file"),
        Event::MergeBegun { files, bytes } => debug!(store, ?files, bytes, "a merge has begun"),
        Event::MergeEnded { report, took } => info!(
            store,
            inputs = report.inputs,
            outputs = report.outputs,
            bytes_before = report.bytes_before,
            bytes_after = report.bytes_after,
            values_copied = report.values_copied,
            tombstones_kept = report.tombstones_kept,
            records_dropped = report.records_dropped,
            ?took,
            "merged"
        ),
        Event::MergeFailed { error: Error::Closed } => info!(store, "a merge was ended by the close"),
        Event::MergeFailed { error } => warn!(store, %error, "a merge has failed"),
        Event::Quarantined { damage } => error!(
            store,
            file = damage.file,
            offset = damage.offset,
            what = damage.what,
            "a damaged file is left out of merges"
        ),
        Event::SlowSync { took, behind } => warn!(store, ?took, behind, "a sync was slow"),
        Event::Poisoned { cause } => error!(store, %cause, "the store takes no more writes"),
        Event::Reaped { keys } => debug!(store, keys, "reaped keys that have expired"),
        Event::Cleared { report: ClearReport { keys, files, bytes, .. } } => {
            info!(store, keys, files, bytes, "cleared");
        }
        Event::BackedUp { path, files, bytes, copied_bytes, took } => {
            info!(store, path = %path.display(), files, bytes, copied_bytes, ?took, "backed up");
        }
        Event::Closed { error: None } => info!(store, "closed"),
        Event::Closed { error: Some(error) } => error!(store, %error, "the close has failed"),
        Event::Missed { count } => warn!(store, count, "events were left out"),
    }
}

fn opened(store: &str, keys: u64, files: u64, took: std::time::Duration, recovery: &Recovery) {
    info!(
        store,
        keys,
        files,
        hints_loaded = recovery.hints_loaded,
        files_scanned = recovery.files_scanned,
        clean = recovery.clean,
        ?took,
        "opened"
    );
    if let Some(tail) = &recovery.torn_tail {
        warn!(store, file = tail.file, offset = tail.offset, bytes = tail.bytes, "the log had a torn tail");
    }
    for damage in &recovery.damaged {
        error!(store, file = damage.file, offset = damage.offset, what = damage.what, "a value is damaged");
    }
}

//! How a store is closed in good order.
//!
//! ```text
//! end the merge in progress; take no more writes; give files that were rotated away from their footers
//! sync the log; cut what is preallocated
//! a large active file gets its footer and its hint file; the next open begins a new one
//! a small one gets a close marker, which claims that sync, and is synced; the next open appends to it
//! ```
//! The marker comes after the sync it claims: a crash between the two leaves an unclean end and loses nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::Result;
use crate::events::Event;
use crate::format::record::Kind;
use crate::store::{Store, WriteSide};

/// A file of at least this many bytes is worth a hint file: scanning it would be felt at the next open.
const SEAL_FROM: u64 = 16 << 20;

impl Store {
    /// Takes no more operations, and brings the log to its end.
    pub(crate) fn close(&self) -> Result<()> {
        let closed = self.close_silently();
        self.events.note(|| Event::Closed { error: closed.as_ref().err().cloned() });
        closed
    }

    fn close_silently(&self) -> Result<()> {
        let Some(side) = &self.write_side else {
            self.closed.store(true, Ordering::Release);
            return Ok(());
        };
        // A merge must not change the manifest behind the end of the log.
        side.merge_control.stop();
        let _merging = side.merging.lock().unwrap_or_else(PoisonError::into_inner);
        {
            // Under the lock, so that no write is half-way.
            let _writer = side.writer();
            self.closed.store(true, Ordering::Release);
        }
        side.syncer.wake();
        side.check()?;
        let sealed = self.seal_rotated(side);
        self.end_log(side)?;
        sealed
    }

    fn end_log(&self, side: &WriteSide) -> Result<()> {
        let appended = {
            let writer = side.writer();
            if writer.ends_closed {
                return Ok(());
            }
            writer.appended
        };
        self.sync_through(side, appended)?;
        let (file, successor) = {
            let writer = side.writer();
            (Arc::clone(&writer.active), writer.successor.clone())
        };
        if let Some(successor) = successor {
            successor.truncate(successor.first_record())?;
        }
        if file.data_len() >= SEAL_FROM {
            return self.seal(side, &file);
        }
        let covered = side.syncer.covered();
        let marked = side.writer().append_log(Kind::CloseMarker, &covered.position.encode());
        marked.map_err(|error| side.append_failed(error))?;
        file.truncate(file.data_len())?;
        file.sync().map_err(|error| side.poison(&error))
    }
}

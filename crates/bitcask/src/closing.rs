//! How a store is closed in good order.
//!
//! ```text
//! take no more writes; give files that were rotated away from their footers
//! sync the log; then append a close marker, which claims that sync; cut the preallocated tails; sync
//! ```
//! The marker comes after the sync it claims: a crash between the two leaves an unclean end and loses nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::format::record::Kind;
use crate::store::{Store, WriteSide};

impl Store {
    /// Takes no more operations, and brings the log to its end.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(side) = &self.write_side else {
            self.closed.store(true, Ordering::Release);
            return Ok(());
        };
        {
            // Under the lock, so that no write is half-way.
            let _writer = side.writer();
            self.closed.store(true, Ordering::Release);
        }
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
        let covered = side.syncer.covered();
        let (file, successor) = {
            let mut writer = side.writer();
            let marked = writer.append_log(Kind::CloseMarker, &covered.position.encode());
            marked.map_err(|error| side.append_failed(error))?;
            (Arc::clone(&writer.active), writer.successor.clone())
        };
        if let Some(successor) = successor {
            successor.truncate(successor.first_record())?;
        }
        file.truncate(file.data_len())?;
        file.sync().map_err(|error| side.poison(&error))
    }
}

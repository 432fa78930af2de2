//! How a store is closed in good order.
//!
//! ```text
//! end the merge in progress; wait for whoever seals files or changes the manifest
//! take no more writes; give files that were rotated away from their footers
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
        let _sealing = side.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        {
            // Under the locks, so that no write and no change of the manifest is half-way. Who waits for one of them finds
            // the store closed, and leaves the directory alone: after this call it may be another writer's.
            let _catalog = side.catalog();
            let _writer = side.writer();
            self.closed.store(true, Ordering::Release);
        }
        side.syncer.wake();
        side.check()?;
        let sealed = self.seal_all_rotated(side);
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
        {
            let mut writer = side.writer();
            side.check()?;
            let marked = writer.append_log(Kind::CloseMarker, &covered.position.encode());
            marked.map_err(|error| side.append_failed(error))?;
        }
        file.truncate(file.data_len())?;
        file.sync().map_err(|error| side.poison(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;
    use crate::error::Error;
    use crate::opening;
    use crate::options::{Io, Maintenance, Options, PutOptions};
    use crate::vfs::sim::{SimClock, SimDisk};

    /// A writer that had found no successor let the lock go to make one. When the store was closed meanwhile, and opened
    /// again at once, it made the file and replaced the manifest all the same: that of the next writer, whose newest files
    /// were listed no more. A merge, a clear or a backup that waited for its turn did the like. Found by histories in which
    /// a store is closed under eight threads and opened anew.
    #[test]
    fn who_waited_for_a_lock_while_the_store_was_closed_leaves_the_directory_alone() {
        let disk = SimDisk::new(Io::Syscall);
        let open = || {
            let clock: Arc<dyn Clock> = Arc::new(SimClock::new(1_000_000));
            let options = Options::new().max_file_size(400).maintenance(Maintenance::Callers);
            opening::open(&*disk.vfs(), clock, Path::new("store"), options).unwrap()
        };
        let store = open();
        let side = store.write_side().unwrap();
        for n in 0..40_u8 {
            store.put(b"k", &[n; 50], &PutOptions::new()).unwrap();
        }
        // What the writer had found.
        side.writer().successor = None;
        store.close().unwrap();
        side.release_lock();
        let next = open();
        let operations = disk.operations();
        let waited = [
            store.prepare_successor(side),
            store.seal_rotated(side),
            store.merge_by_policy(side).map(drop),
            store.merge().map(drop),
            store.clear().map(drop),
        ];
        for result in waited {
            assert!(matches!(result, Err(Error::Closed)), "{result:?}");
        }
        assert_eq!(disk.operations(), operations);
        assert_eq!(next.get(b"k").unwrap().as_deref(), Some(&[39; 50][..]));
    }
}

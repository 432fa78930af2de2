//! The engine's side of a simulated file.

use super::disk::{InodeId, SimDisk};
use super::fault::{OpKind, SyncMode, Way, map_fault};
use super::{to_u64, to_usize};
use crate::vfs::{Access, File, Io};
use std::io;
use std::sync::{Arc, OnceLock};

pub(super) struct SimFile {
    disk: SimDisk,
    inode: InodeId,
    /// The name it was opened by; only for the trace and for messages.
    name: Arc<str>,
    access: Access,
    /// The length of the map, once there is one.
    mapped: OnceLock<u64>,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, inode: InodeId, name: Arc<str>, access: Access) -> Self {
        Self { disk, inode, name, access, mapped: OnceLock::new() }
    }

    fn judge_writable(&self, kind: OpKind) {
        assert!(
            self.access == Access::ReadWrite,
            "the engine does {kind:?} on {}, which it opened for reading",
            self.name
        );
    }

    fn map_covers(&self, end: u64) -> bool {
        self.mapped.get().is_some_and(|&mapped| end <= mapped)
    }

    fn read(&self, kind: OpKind, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.operate(kind, &self.name, |state| {
            let available = state.inode(self.inode).current.len().saturating_sub(offset);
            let wanted = to_usize(available.min(to_u64(buffer.len())));
            let count = state.faults.part(wanted)?;
            Ok(state.inode(self.inode).current.read(&mut buffer[..count], offset))
        })
    }

    fn write(&self, kind: OpKind, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.judge_writable(kind);
        self.disk.operate(kind, &self.name, |state| {
            let count = state.faults.part(bytes.len())?;
            let arriving = state.faults.arriving(&bytes[..count]);
            state.write(self.inode, &arriving, offset)
        })
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.operate(OpKind::Len, &self.name, |state| Ok(state.inode(self.inode).current.len()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(OpKind::ReadAt, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write(OpKind::WriteAt, bytes, offset)
    }

    fn copy_out(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + to_u64(buffer.len());
        if !self.map_covers(end) {
            return self.read(OpKind::CopyOut, buffer, offset);
        }
        let mut state = self.disk.state();
        state.begin(OpKind::CopyOut, &self.name, Way::Map)?;
        let inode = state.inode(self.inode);
        let len = inode.current.len();
        if end > len && inode.was_cut {
            return Err(map_fault());
        }
        assert!(
            end <= len,
            "SIGBUS: the engine reads {offset}..{end} in the map of {}, which has {len} bytes",
            self.name
        );
        Ok(inode.current.read(buffer, offset))
    }

    fn copy_in(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let end = offset + to_u64(bytes.len());
        if !self.map_covers(end) {
            return self.write(OpKind::CopyIn, bytes, offset);
        }
        self.judge_writable(OpKind::CopyIn);
        let mut state = self.disk.state();
        state.begin(OpKind::CopyIn, &self.name, Way::Map)?;
        let inode = state.inode(self.inode);
        let allocated = inode.allocated;
        if end > allocated && inode.was_cut {
            return Err(map_fault());
        }
        assert!(
            end <= allocated,
            "SIGBUS: the engine writes {offset}..{end} in the map of {}, of which {allocated} bytes are allocated",
            self.name
        );
        state.write(self.inode, bytes, offset)
    }

    fn map(&self, len: u64) -> io::Result<()> {
        self.disk.operate(OpKind::Map, &self.name, |state| {
            if state.io == Io::Mapped {
                let first = self.mapped.set(len);
                assert!(first.is_ok(), "the engine maps {} a second time", self.name);
            }
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.judge_writable(OpKind::Allocate);
        self.disk.operate(OpKind::Allocate, &self.name, |state| {
            let missing = len.saturating_sub(state.inode(self.inode).allocated);
            if missing > 0 && missing > state.room() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let sequence = state.sequence();
            state.inode_mut(self.inode).allocate(len, sequence);
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.judge_writable(OpKind::Truncate);
        self.disk.operate(OpKind::Truncate, &self.name, |state| {
            let sequence = state.sequence();
            state.inode_mut(self.inode).set_len(len, sequence);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_alive()?;
        let result = state.begin(OpKind::SyncFile, &self.name, Way::Call);
        if result.is_err() {
            state.inode_mut(self.inode).lose_pending();
        } else if state.faults.sync_mode == SyncMode::Honest {
            state.inode_mut(self.inode).sync();
        }
        result
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.inode);
    }
}

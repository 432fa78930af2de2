//! The engine's side of the simulated disk: the file system, a directory, a lock.

use super::directory::NameChange;
use super::disk::{InodeId, SimDisk, State};
use super::fault::{OpKind, SyncMode, Way};
use super::file::SimFile;
use crate::vfs::{Access, Dir, DirAccess, DiskSpace, File, Io, Lock, Vfs};
use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(super) struct SimVfs {
    disk: SimDisk,
}

impl SimVfs {
    pub(super) fn new(disk: SimDisk) -> Self {
        Self { disk }
    }
}

impl Vfs for SimVfs {
    fn open_dir(&self, path: &Path, access: DirAccess) -> io::Result<Arc<dyn Dir>> {
        let name = path.to_string_lossy().into();
        let index = self.disk.operate(OpKind::OpenDir, &name, |state| match access {
            DirAccess::Create => Ok(state.make_directory(path)),
            DirAccess::ReadOnly | DirAccess::ReadWrite => {
                state.find_directory(path).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        })?;
        Ok(Arc::new(SimDir { disk: self.disk.clone(), index, path: name, access }))
    }
}

struct SimDir {
    disk: SimDisk,
    index: usize,
    path: Arc<str>,
    access: DirAccess,
}

impl SimDir {
    fn operate<T>(
        &self,
        kind: OpKind,
        name: &str,
        act: impl FnOnce(&mut State, &Arc<str>) -> io::Result<T>,
    ) -> io::Result<T> {
        judge_name(name);
        let name = name.into();
        self.disk.operate(kind, &name, |state| act(state, &name))
    }

    fn judge_writable(&self, what: &str, name: &str) {
        assert!(
            self.access != DirAccess::ReadOnly,
            "the engine wants to {what} {name:?} in a directory that it opened read-only"
        );
    }

    fn file(&self, state: &mut State, inode: InodeId, name: &Arc<str>, access: Access) -> Arc<dyn File> {
        state.open(inode);
        Arc::new(SimFile::new(self.disk.clone(), inode, Arc::clone(name), access))
    }
}

/// Names are plain names inside one directory.
fn judge_name(name: &str) {
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    assert!(is_plain, "the engine uses {name:?} as a file name, which is not a plain name");
}

fn lookup(state: &State, directory: usize, name: &str) -> io::Result<InodeId> {
    let found = state.directory(directory).current.get(name).copied();
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn lookup_regular(state: &State, directory: usize, name: &str) -> io::Result<InodeId> {
    let inode = lookup(state, directory, name)?;
    if state.inode(inode).is_special { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(inode) }
}

impl Dir for SimDir {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.operate(OpKind::List, &self.path, |state| {
            Ok(state.directory(self.index).current.keys().map(|name| name.to_string()).collect())
        })
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.judge_writable("create", name);
        self.operate(OpKind::Create, name, |state, name| {
            if state.directory(self.index).current.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = state.create(self.index, name);
            Ok(self.file(state, inode, name, Access::ReadWrite))
        })
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        if access == Access::ReadWrite {
            self.judge_writable("open for writing", name);
        }
        self.operate(OpKind::Open, name, |state, name| {
            let inode = lookup_regular(state, self.index, name)?;
            Ok(self.file(state, inode, name, access))
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.judge_writable("rename", from);
        judge_name(to);
        self.operate(OpKind::Rename, from, |state, from| {
            let inode = lookup(state, self.index, from)?;
            if **from != *to {
                let sequence = state.sequence();
                let change = NameChange::Rename { from: Arc::clone(from), to: to.into(), inode };
                state.directory_mut(self.index).change(sequence, change);
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.judge_writable("remove", name);
        // The hook runs without the state's lock, because it asks the disk.
        let hook = self.disk.state().remove_hook()?;
        if let Some(hook) = hook {
            hook(&self.disk, name);
        }
        self.operate(OpKind::Remove, name, |state, name| {
            let inode = lookup(state, self.index, name)?;
            let sequence = state.sequence();
            let change = NameChange::Remove { name: Arc::clone(name), inode };
            state.directory_mut(self.index).change(sequence, change);
            Ok(())
        })
    }

    fn link_to(&self, name: &str, target: &dyn Dir, new_name: &str) -> io::Result<()> {
        judge_name(new_name);
        let target = (target as &dyn Any).downcast_ref::<Self>().expect("both are simulated");
        target.judge_writable("link", new_name);
        self.operate(OpKind::Link, name, |state, name| {
            let inode = lookup_regular(state, self.index, name)?;
            if state.directory(target.index).current.contains_key(new_name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let sequence = state.sequence();
            let change = NameChange::Create { name: new_name.into(), inode };
            state.directory_mut(target.index).change(sequence, change);
            Ok(())
        })
    }

    fn encloses(&self, path: &Path) -> io::Result<bool> {
        Ok(path.starts_with(&*self.path))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_alive()?;
        let result = state.begin(OpKind::SyncDir, &self.path, Way::Call);
        if result.is_err() {
            state.directory_mut(self.index).lose_pending();
        } else if state.faults.sync_mode == SyncMode::Honest {
            state.directory_mut(self.index).sync();
        }
        state.bury_unreachable();
        result
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.operate(OpKind::Lock, name, |state, name| {
            let inode = match lookup_regular(state, self.index, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.judge_writable("create", name);
                    state.create(self.index, name)
                }
                found => found?,
            };
            if !state.process.locked.insert(inode) {
                return Ok(None);
            }
            let lock =
                SimLock { disk: self.disk.clone(), directory: self.index, inode, name: Arc::clone(name) };
            Ok(Some(Box::new(lock) as Box<dyn Lock>))
        })
    }

    fn space(&self) -> io::Result<DiskSpace> {
        self.disk.operate(OpKind::Space, &self.path, |state| {
            Ok(DiskSpace { free: state.room(), total: state.capacity.unwrap_or(u64::MAX) })
        })
    }

    fn can_map(&self) -> bool {
        self.disk.state().io == Io::Mapped
    }
}

struct SimLock {
    disk: SimDisk,
    directory: usize,
    inode: InodeId,
    name: Arc<str>,
}

impl Lock for SimLock {
    fn is_intact(&self) -> io::Result<bool> {
        self.disk.operate(OpKind::IsIntact, &self.name, |state| {
            Ok(state.directory(self.directory).current.get(&self.name) == Some(&self.inode))
        })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().process.locked.remove(&self.inode);
    }
}

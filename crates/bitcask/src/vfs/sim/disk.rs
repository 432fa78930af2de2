//! The disk that a test holds, and the state that the handles of the engine share with it.

use super::dir::SimVfs;
use super::directory::{Directory, NameChange};
use super::fault::{Calls, Failure, Faults, OpKind, Operation, Repeat, SyncMode, Way};
use super::image::Image;
use super::inode::Inode;
use super::to_u64;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};
use crate::vfs::{Io, Vfs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

/// How many operations the trace remembers.
const TRACE_COUNT: usize = 10_000;

/// How many removed files are remembered, as garbage for torn sectors.
const GRAVEYARD_COUNT: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InodeId(u64);

/// Called with the disk and the name before a file is removed.
pub(super) type RemoveHook = Arc<dyn Fn(&SimDisk, &str) + Send + Sync>;

/// A simulated disk. A clone is the same disk; [`SimDisk::fork`] copies it.
///
/// Where a method takes a file's name, a plain name is looked up in the directory that was made first, and
/// `path/name` in the directory `path`.
#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk. With [`Io::Mapped`] its files can be mapped.
    pub(crate) fn new(io: Io) -> Self {
        Self::from_state(State::new(io))
    }

    /// The file system on this disk. All that come from one disk share its files and its locks.
    pub(crate) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(SimVfs::new(self.clone()))
    }

    /// A copy that goes its own way, with the same pending changes, faults and count of operations, but with no
    /// handle open, no lock held, and an empty trace. It shares the bytes until they are written.
    pub(crate) fn fork(&self) -> Self {
        Self::from_state(self.state().fork())
    }

    /// Ends the process that uses this disk: from now on every call on its handles fails.
    pub(crate) fn stop(&self) {
        self.state().process.is_dead = true;
    }

    /// `kill -9`: ends the process, as [`SimDisk::stop`], and gives back the disk for the next one. What was cached
    /// reads as before and is still not durable. Locks, faults and the count of operations start afresh.
    pub(crate) fn kill(&self) -> Self {
        self.stop();
        let mut survivor = self.state().fork();
        survivor.faults = Faults::none();
        Self::from_state(survivor)
    }

    /// How many operations have begun; the next one has this number.
    pub(crate) fn operations(&self) -> u64 {
        self.state().faults.operations
    }

    /// The last operations, oldest first.
    pub(crate) fn trace(&self) -> Vec<Operation> {
        self.state().log.trace.iter().cloned().collect()
    }

    /// From now on forks the disk before every operation that changes something.
    pub(crate) fn keep_snapshots(&self) {
        self.state().log.snapshots = Some(Vec::new());
    }

    /// The forks made since [`SimDisk::keep_snapshots`], each with the number of the operation that it lacks, and
    /// stops making them. The state after the last operation is not among them.
    pub(crate) fn take_snapshots(&self) -> Vec<(u64, Self)> {
        self.state().log.snapshots.take().unwrap_or_default()
    }

    /// Makes the first operation from number `from` on fail that can fail so, and with [`Repeat::Forever`] all later
    /// ones too. [`Failure::Map`] reaches copies in a map and nothing else, [`Failure::Panic`] everything, and the others
    /// all but such copies.
    pub(crate) fn fail_at(&self, from: u64, failure: Failure, repeat: Repeat) {
        self.inject(from, |_| true, failure, repeat);
    }

    /// As [`SimDisk::fail_at`], but only for the kinds of operation that `only` accepts.
    pub(crate) fn inject(&self, from: u64, only: fn(OpKind) -> bool, failure: Failure, repeat: Repeat) {
        self.state().faults.inject(from, only, failure, repeat);
    }

    /// Flips a bit in what the first write by a system call from number `from` on brings to the disk, and says nothing: in
    /// the byte `place` of it, counted from its start again behind its end.
    pub(crate) fn garble_write(&self, from: u64, place: usize) {
        self.state().faults.garbles = Some((from, place));
    }

    /// How many operations were made to fail. A loop over the n-th operation ends where this stays 0.
    pub(crate) fn faults_fired(&self) -> u64 {
        self.state().faults.fired
    }

    /// The name of the thread in which the last of them failed.
    pub(crate) fn fault_fired_in(&self) -> Option<String> {
        self.state().faults.fired_in.clone()
    }

    /// Forgets what was ordered by `fail_at`, `inject`, `set_calls` and `set_sync_mode`.
    pub(crate) fn clear_faults(&self) {
        self.state().faults.clear();
    }

    pub(crate) fn set_calls(&self, calls: Calls) {
        self.state().faults.set_calls(calls);
    }

    pub(crate) fn set_sync_mode(&self, mode: SyncMode) {
        self.state().faults.sync_mode = mode;
    }

    /// How many bytes all files together may take up; `None` for no limit. Files that are there already stay.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Calls `hook` before each removal that the engine asks for, so that a test can check what must be durable
    /// by then. The hook may ask this disk anything; forks and survivors of crashes keep it.
    pub(crate) fn on_remove(&self, hook: impl Fn(&Self, &str) + Send + Sync + 'static) {
        self.state().on_remove = Some(Arc::new(hook));
    }

    pub(super) fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The state, also after a judging panic: handles that are dropped while it unwinds come here.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation by system call.
    pub(super) fn operate<T>(
        &self,
        kind: OpKind,
        name: &Arc<str>,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        state.begin(kind, name, Way::Call)?;
        act(&mut state)
    }
}

/// Everything on the disk and around it.
pub(super) struct State {
    pub(super) io: Io,
    pub(super) inodes: BTreeMap<InodeId, Arc<Inode>>,
    /// In the order in which they were made. They are never removed.
    pub(super) directories: Vec<(PathBuf, Arc<Directory>)>,
    /// What removed files held, oldest first.
    pub(super) graveyard: VecDeque<Arc<Inode>>,
    pub(super) faults: Faults,
    pub(super) process: Process,
    on_remove: Option<RemoveHook>,
    pub(super) capacity: Option<u64>,
    log: Log,
    next_inode: u64,
    next_sequence: u64,
}

/// What ends with the process.
#[derive(Default)]
pub(super) struct Process {
    is_dead: bool,
    /// How many handles each file has.
    open: BTreeMap<InodeId, usize>,
    pub(super) locked: BTreeSet<InodeId>,
}

/// What the disk remembers for the test.
#[derive(Default)]
struct Log {
    trace: VecDeque<Operation>,
    snapshots: Option<Vec<(u64, SimDisk)>>,
}

impl State {
    fn new(io: Io) -> Self {
        Self {
            io,
            inodes: BTreeMap::new(),
            directories: Vec::new(),
            graveyard: VecDeque::new(),
            faults: Faults::none(),
            process: Process::default(),
            on_remove: None,
            capacity: None,
            log: Log::default(),
            next_inode: 0,
            next_sequence: 0,
        }
    }

    pub(super) fn fork(&self) -> Self {
        Self {
            io: self.io,
            inodes: self.inodes.clone(),
            directories: self.directories.clone(),
            graveyard: self.graveyard.clone(),
            faults: self.faults.clone(),
            process: Process::default(),
            on_remove: self.on_remove.clone(),
            capacity: self.capacity,
            log: Log::default(),
            next_inode: self.next_inode,
            next_sequence: self.next_sequence,
        }
    }

    /// Counts an operation, and says whether it may go on.
    pub(super) fn begin(&mut self, kind: OpKind, name: &Arc<str>, way: Way) -> io::Result<()> {
        self.check_alive()?;
        let number = self.faults.operations;
        if kind.changes_disk() && self.log.snapshots.is_some() {
            let snapshot = SimDisk::from_state(self.fork());
            self.log.snapshots.get_or_insert_default().push((number, snapshot));
        }
        if self.log.trace.len() == TRACE_COUNT {
            self.log.trace.pop_front();
        }
        self.log.trace.push_back(Operation { number, kind, name: Arc::clone(name) });
        self.faults.operations += 1;
        self.faults.check(number, kind, way)
    }

    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.process.is_dead { Err(io::Error::other("this process was killed")) } else { Ok(()) }
    }

    /// What to call before a removal.
    pub(super) fn remove_hook(&self) -> io::Result<Option<RemoveHook>> {
        self.check_alive()?;
        Ok(self.on_remove.clone())
    }

    pub(super) fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    pub(super) fn directory(&self, index: usize) -> &Directory {
        &self.directories[index].1
    }

    pub(super) fn directory_mut(&mut self, index: usize) -> &mut Directory {
        Arc::make_mut(&mut self.directories[index].1)
    }

    pub(super) fn find_directory(&self, path: &Path) -> Option<usize> {
        self.directories.iter().position(|(other, _)| other == path)
    }

    pub(super) fn make_directory(&mut self, path: &Path) -> usize {
        self.find_directory(path).unwrap_or_else(|| {
            self.directories.push((path.to_path_buf(), Arc::default()));
            self.directories.len() - 1
        })
    }

    pub(super) fn inode(&self, id: InodeId) -> &Inode {
        self.inodes.get(&id).expect("a file lives as long as a name or a handle leads to it")
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        let inode = self.inodes.get_mut(&id).expect("a file lives as long as a name or a handle leads to it");
        Arc::make_mut(inode)
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> InodeId {
        let id = InodeId(self.next_inode);
        self.next_inode += 1;
        self.inodes.insert(id, Arc::new(inode));
        id
    }

    /// Makes an empty file under a name that is free.
    pub(super) fn create(&mut self, directory: usize, name: &Arc<str>) -> InodeId {
        let inode = self.add_inode(Inode::default());
        let sequence = self.sequence();
        self.directory_mut(directory).change(sequence, NameChange::Create { name: Arc::clone(name), inode });
        inode
    }

    pub(super) fn open_handles(&self) -> usize {
        self.process.open.values().sum()
    }

    /// Counts a new handle.
    pub(super) fn open(&mut self, id: InodeId) {
        *self.process.open.entry(id).or_default() += 1;
    }

    /// A handle goes; the file goes with it when nothing else leads to it.
    pub(super) fn close(&mut self, id: InodeId) {
        let count = self.process.open.entry(id).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.process.open.remove(&id);
            if !self.is_reachable(id) {
                self.inodes.remove(&id).into_iter().for_each(|inode| self.bury(inode));
            }
        }
    }

    /// Whether a name, now or after a crash, or the process leads to the file.
    fn is_reachable(&self, id: InodeId) -> bool {
        self.directories.iter().any(|(_, directory)| directory.inodes().any(|other| other == id))
            || self.process.open.contains_key(&id)
            || self.process.locked.contains(&id)
    }

    /// Moves the files that nothing leads to any more, now or after a crash, to the graveyard.
    pub(super) fn bury_unreachable(&mut self) {
        let mut reachable: BTreeSet<InodeId> =
            self.directories.iter().flat_map(|(_, directory)| directory.inodes()).collect();
        reachable.extend(self.process.open.keys());
        reachable.extend(&self.process.locked);
        let dead: Vec<InodeId> = self.inodes.keys().filter(|id| !reachable.contains(id)).copied().collect();
        for id in dead {
            if let Some(inode) = self.inodes.remove(&id) {
                self.bury(inode);
            }
        }
    }

    pub(super) fn bury(&mut self, inode: Arc<Inode>) {
        if inode.current.len() == 0 {
            return;
        }
        if self.graveyard.len() == GRAVEYARD_COUNT {
            self.graveyard.pop_front();
        }
        self.graveyard.push_back(inode);
    }

    /// The bytes that files take up: those that have a name, and those that are still open.
    pub(super) fn used(&self) -> u64 {
        let mut counted: BTreeSet<InodeId> = self.process.open.keys().copied().collect();
        counted.extend(self.directories.iter().flat_map(|(_, directory)| directory.current.values()));
        counted.iter().filter_map(|id| self.inodes.get(id)).map(|inode| inode.allocated).sum()
    }

    /// How many bytes are left.
    pub(super) fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Writes as much as there is room for.
    pub(super) fn write(&mut self, id: InodeId, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let allocated = self.inode(id).allocated;
        let end = offset + to_u64(bytes.len());
        let mut count = bytes.len();
        if end > allocated {
            let last = allocated.saturating_add(self.room());
            count = count.min(super::to_usize(last.saturating_sub(offset).min(to_u64(count))));
        }
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sequence = self.sequence();
        self.inode_mut(id).write(&bytes[..count], offset, sequence);
        Ok(count)
    }

    /// The bytes of every file that is or was, for garbage.
    pub(super) fn images(&self) -> Vec<&Image> {
        let inodes = self.inodes.values().chain(&self.graveyard);
        inodes.flat_map(|inode| [&inode.durable, &inode.current]).filter(|image| image.len() > 0).collect()
    }
}

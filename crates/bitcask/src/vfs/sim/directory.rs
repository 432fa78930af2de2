//! One directory: the names on the disk, the names the cache shows, and the changes that lie between.

use super::disk::InodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) type Names = BTreeMap<Arc<str>, InodeId>;

/// A change of names that no sync of the directory has covered.
#[derive(Clone)]
pub(super) struct PendingName {
    /// Its place among all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: NameChange,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Create { name: Arc<str>, inode: InodeId },
    Rename { from: Arc<str>, to: Arc<str>, inode: InodeId },
    Remove { name: Arc<str>, inode: InodeId },
}

impl NameChange {
    /// Applies the change to names that may lack some of the changes before it: a name that meanwhile leads to
    /// another file is left alone.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, inode } => {
                names.insert(Arc::clone(name), *inode);
            }
            Self::Rename { from, to, inode } => {
                remove_if(names, from, *inode);
                names.insert(Arc::clone(to), *inode);
            }
            Self::Remove { name, inode } => remove_if(names, name, *inode),
        }
    }

    fn inode(&self) -> InodeId {
        match self {
            Self::Create { inode, .. } | Self::Rename { inode, .. } | Self::Remove { inode, .. } => *inode,
        }
    }

    fn touches(&self, wanted: &str) -> bool {
        match self {
            Self::Create { name, .. } | Self::Remove { name, .. } => &**name == wanted,
            Self::Rename { from, to, .. } => &**from == wanted || &**to == wanted,
        }
    }
}

fn remove_if(names: &mut Names, name: &str, inode: InodeId) {
    if names.get(name) == Some(&inode) {
        names.remove(name);
    }
}

#[derive(Clone, Default)]
pub(super) struct Directory {
    pub(super) durable: Names,
    pub(super) current: Names,
    pub(super) pending: Vec<PendingName>,
}

impl Directory {
    /// A directory whose names are all durable.
    pub(super) fn settled(names: Names) -> Self {
        Self { durable: names.clone(), current: names, pending: Vec::new() }
    }

    pub(super) fn change(&mut self, sequence: u64, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(PendingName { sequence, change });
    }

    /// A sync that works.
    pub(super) fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// A sync that fails: the names stay as they look, but no later sync brings them to the disk.
    pub(super) fn lose_pending(&mut self) {
        self.pending.clear();
    }

    /// Settles what one name leads to, for good, as a test does behind the engine's back. What is pending for other
    /// names stays so: a rename to or from this name leaves its other half.
    pub(super) fn settle(&mut self, name: &Arc<str>, inode: Option<InodeId>) {
        for names in [&mut self.current, &mut self.durable] {
            match inode {
                Some(inode) => names.insert(Arc::clone(name), inode),
                None => names.remove(name),
            };
        }
        for pending in std::mem::take(&mut self.pending) {
            let change = match pending.change {
                NameChange::Rename { from, to, inode } if from == *name => {
                    NameChange::Create { name: to, inode }
                }
                NameChange::Rename { from, to, inode } if to == *name => {
                    NameChange::Remove { name: from, inode }
                }
                change => change,
            };
            if !change.touches(name) {
                self.pending.push(PendingName { sequence: pending.sequence, change });
            }
        }
    }

    /// Whether no crash can change what `name` leads to.
    pub(super) fn is_settled(&self, name: &str) -> bool {
        self.current.get(name) == self.durable.get(name)
            && !self.pending.iter().any(|pending| pending.change.touches(name))
    }

    /// Every file that this directory shows, or could show after a crash.
    pub(super) fn inodes(&self) -> impl Iterator<Item = InodeId> {
        let pending = self.pending.iter().map(|pending| pending.change.inode());
        self.current.values().chain(self.durable.values()).copied().chain(pending)
    }
}

//! The open data files by slot: how a location leads to its file without waiting for anybody.
//!
//! The table is replaced, never changed: a reader that has loaded it keeps its files open until it lets go. Load the
//! table *before* asking the keydir; a location whose slot is missing or does not check is stale, or the table is:
//! load and ask again.
//!
//! A slot is used again only once nobody holds the file that had it: neither a reader, by a table that it loaded, nor
//! whoever compares locations. So a location means one record as long as its file is held.

use crate::file::data_file::DataFile;
use crate::location::Slot;
use crate::sync::{Arc, ArcSwap, Guard, Mutex, PoisonError, Weak};

/// One state of the table.
pub(crate) struct Files(Vec<Option<Arc<DataFile>>>);

impl Files {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Arc<DataFile>> {
        self.0.get(slot.index())?.as_ref()
    }

    /// One more than the highest index of a slot.
    pub(crate) fn slots(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.0.iter().flatten()
    }
}

/// Changed only under the catalog lock, in a read-only handle by a refresh, or before the store is shared; read by everybody.
pub(crate) struct FileTable {
    files: ArcSwap<Files>,
    /// Files that were taken out and may still be held. Under the catalog lock, taken for moments.
    retired: Mutex<Vec<(Slot, Weak<DataFile>)>>,
}

impl FileTable {
    pub(crate) fn new(files: impl IntoIterator<Item = Arc<DataFile>>) -> Self {
        let table = Self { files: ArcSwap::from_pointee(Files(Vec::new())), retired: Mutex::default() };
        for file in files {
            table.insert(file);
        }
        table
    }

    pub(crate) fn load(&self) -> Guard<Arc<Files>> {
        self.files.load()
    }

    /// Whether this is still the table that [`FileTable::load`] gave.
    pub(crate) fn is_current(&self, files: &Guard<Arc<Files>>) -> bool {
        Arc::ptr_eq(files, &self.files.load())
    }

    /// A slot that no file has; `None` when there are as many files as a store can have.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        let files = self.files.load();
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|(_, file)| file.strong_count() > 0);
        let is_retired = |slot: Slot| retired.iter().any(|&(other, _)| other == slot);
        let mut free = (0..=files.0.len()).filter(|&index| files.0.get(index).is_none_or(Option::is_none));
        free.find_map(|index| Slot::new(index).filter(|&slot| !is_retired(slot)))
            .or_else(|| Slot::after(retired.iter().map(|&(slot, _)| slot)))
    }

    /// Puts a file into its slot.
    pub(crate) fn insert(&self, file: Arc<DataFile>) {
        let mut files = self.files.load().0.clone();
        let index = file.slot().index();
        if files.len() <= index {
            files.resize(index + 1, None);
        }
        files[index] = Some(file);
        self.files.store(Arc::new(Files(files)));
    }

    /// Takes files out of their slots, once no location leads to them. Who has loaded the table before keeps them.
    pub(crate) fn remove(&self, gone: &[Arc<DataFile>]) {
        let mut files = self.files.load().0.clone();
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        for file in gone {
            files[file.slot().index()] = None;
            retired.push((file.slot(), Arc::downgrade(file)));
        }
        let used = files.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        files.truncate(used);
        self.files.store(Arc::new(Files(files)));
    }
}

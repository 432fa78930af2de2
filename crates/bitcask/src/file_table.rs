//! The open data files by slot: how a location leads to its file without waiting for anybody.
//!
//! The table is replaced, never changed: a reader that has loaded it keeps its files open until it lets go. Load the
//! table *before* asking the keydir; a location whose slot is missing or does not check is stale, or the table is:
//! load and ask again.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::file::data_file::DataFile;
use crate::location::Slot;

/// One state of the table.
pub(crate) struct Files(Vec<Option<Arc<DataFile>>>);

impl Files {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Arc<DataFile>> {
        self.0.get(slot.index())?.as_ref()
    }
}

/// Changed only under the maintenance lock (or before the store is shared); read by everybody.
pub(crate) struct FileTable(ArcSwap<Files>);

impl FileTable {
    pub(crate) fn new(files: impl IntoIterator<Item = Arc<DataFile>>) -> Self {
        let table = Self(ArcSwap::from_pointee(Files(Vec::new())));
        for file in files {
            table.insert(file);
        }
        table
    }

    pub(crate) fn load(&self) -> Guard<Arc<Files>> {
        self.0.load()
    }

    /// Whether this is still the table that [`FileTable::load`] gave.
    pub(crate) fn is_current(&self, files: &Guard<Arc<Files>>) -> bool {
        Arc::ptr_eq(files, &self.0.load())
    }

    /// A slot that no file has; `None` when there are as many files as a store can have.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        let files = self.0.load();
        let index = files.0.iter().position(Option::is_none).unwrap_or(files.0.len());
        Slot::new(index)
    }

    /// Puts a file into its slot.
    pub(crate) fn insert(&self, file: Arc<DataFile>) {
        let mut files = self.0.load().0.clone();
        let index = file.slot().index();
        if files.len() <= index {
            files.resize(index + 1, None);
        }
        files[index] = Some(file);
        self.0.store(Arc::new(Files(files)));
    }
}

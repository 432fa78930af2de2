//! What is known of each file of an open store, taken at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::file::data_file::DataFile;
use crate::format::footer::Footer;
use crate::format::position::FileId;
use crate::merge::plan::{self, FileFacts};
use crate::space::space_of;
use crate::status::MergeVerdict;
use crate::store::{Store, WriteSide};

/// The files in log order, and the facts about each.
pub(crate) struct Survey {
    pub(crate) files: Vec<Arc<DataFile>>,
    pub(crate) facts: Vec<FileFacts>,
    /// The clean position of an output that is begun now: the timestamp of the last published record, or that of the
    /// oldest snapshot, for which superseded records may be kept.
    pub(crate) clean: u64,
    /// How many bytes an output may have by the limit of the store.
    pub(crate) room: u64,
}

impl Survey {
    /// The facts about the active file.
    pub(crate) fn active(&self) -> Option<&FileFacts> {
        self.facts.iter().find(|facts| facts.excluded == Some(MergeVerdict::Active))
    }
}

impl Store {
    /// Surveys a store that is open for writing. Files from `fresh_from` on count as outputs of the merge in progress.
    pub(crate) fn survey(&self, side: &WriteSide, fresh_from: Option<FileId>) -> Survey {
        let quarantined = side.merge_control.quarantined();
        // Under the catalog lock files neither come nor go.
        let catalog = side.catalog();
        let files = self.order().clone();
        let clean_of: HashMap<_, _> =
            catalog.manifest.files.iter().map(|listed| (listed.id, listed.clean)).collect();
        // Footers are read once for each file, before the writer is held up.
        let footers: Vec<_> = files.iter().map(|file| file.known_footer()).collect();
        // Under the writer lock live counts do not change, and all records are published.
        let writer = side.writer();
        let published = writer.timestamps.last();
        let facts = files.iter().zip(footers).map(|(file, footer)| {
            let excluded = if file.id() == writer.active.id() {
                Some(MergeVerdict::Active)
            } else if writer.successor.as_ref().is_some_and(|successor| successor.id() == file.id()) {
                Some(MergeVerdict::Successor)
            } else if let Some(reason) = quarantined.get(&file.id()) {
                Some(MergeVerdict::Quarantined { reason: reason.clone() })
            } else if !matches!(footer, Ok(Some(_))) || writer.is_unsealed(file) {
                Some(MergeVerdict::Unsealed)
            } else {
                None
            };
            planted!("a merge takes the active file", let excluded = None);
            let mut facts = facts_of(file, footer);
            facts.clean = clean_of.get(&file.id()).copied().unwrap_or(0);
            if excluded.is_none() && facts.live_keys == facts.keys - facts.tombstones {
                // Every value in it is the newest record of its key: none is superseded by anything published.
                facts.clean = facts.clean.max(published);
            }
            FileFacts { excluded, is_fresh: fresh_from.is_some_and(|from| file.id() >= from), ..facts }
        });
        let mut facts: Vec<_> = facts.collect();
        plan::keep_changes(
            &mut facts,
            self.clock.now_us(),
            catalog.manifest.merged_through,
            &self.options.merge,
        );
        let clean = self.versions.oldest().map_or(published, |oldest| oldest.min(published));
        planted!("snapshots hold no tombstones", let clean = published);
        Survey { files, facts, clean, room: writer.space.for_output() }
    }
}

/// What a file says of itself.
pub(crate) fn facts_of(file: &DataFile, footer: Result<Option<Footer>>) -> FileFacts {
    let footer = footer.ok().flatten();
    let count = |count: fn(&Footer) -> u64| footer.as_ref().map_or(0, count);
    FileFacts {
        excluded: None,
        is_fresh: false,
        bytes: file.data_len().saturating_sub(file.own_len()),
        whole: space_of(file),
        live_bytes: file.live.bytes(),
        held_bytes: file.held.bytes(),
        keys: count(|footer| footer.values + footer.tombstones),
        live_keys: file.live.keys(),
        held_keys: file.held.keys(),
        pinned_bytes: file.pinned.bytes(),
        pinned_keys: file.pinned.keys(),
        tombstones: count(|footer| footer.tombstones),
        last_timestamp: count(|footer| footer.last_timestamp),
        clean: 0,
    }
}

//! What an open store says of itself.

use std::sync::Arc;

use crate::file::data_file::DataFile;
use crate::format::position::FileId;
use crate::merge::{self, FileFacts, Survey, Thoroughness};
use crate::status::{FileState, FileStatus, MergeVerdict, Status};
use crate::store::{Store, WriteSide};

impl Store {
    /// The state of the store at this moment.
    pub(crate) fn status(&self) -> Status {
        let side = self.write_side.as_ref();
        let survey = match side {
            Some(side) => self.survey(side, None),
            None => self.survey_of_reader(),
        };
        let verdicts = merge::judge(&survey.facts, survey.clean, &self.options.merge, Thoroughness::Triggers);
        let files: Vec<FileStatus> = (survey.files.iter().zip(&survey.facts))
            .zip(verdicts)
            .map(|((file, facts), verdict)| file_status(file, facts, verdict))
            .collect();
        let sum = |of: fn(&FileStatus) -> u64| files.iter().map(of).sum();
        Status {
            keys: self.keydir.len(),
            live_bytes: sum(|file| file.live_bytes),
            dead_bytes: sum(|file| file.dead_bytes),
            held_bytes: sum(|file| file.held_bytes),
            data_bytes: sum(|file| file.len),
            max_store_bytes: self.options.max_store_bytes,
            keydir_bytes: self.keydir.memory_bytes(),
            max_keydir_bytes: self.options.max_keydir_bytes,
            needs_merge: self.needs_merge(),
            merge_paused: side.is_some_and(|side| side.merge_control.is_paused()),
            merge_failure: side.and_then(|side| side.merge_control.failure()),
            format: self.identity.format,
            io: self.io(),
            recovery: self.recovery.clone(),
            poisoned: side.and_then(WriteSide::poison_cause),
            files,
        }
    }

    /// What can be known without the manifest's clean positions and the writer's counts.
    pub(crate) fn survey_of_reader(&self) -> Survey {
        let files = self.order().clone();
        let active = active_of(&files);
        let mut seen_active = false;
        let facts = files.iter().map(|file| {
            let is_active = active == Some(file.id());
            let footer = file.known_footer();
            // Behind the end of the log there is nothing but what was made ahead.
            let excluded = match (is_active, seen_active || file.data_len() == 0) {
                (true, _) => Some(MergeVerdict::Active),
                (false, true) => Some(MergeVerdict::Successor),
                (false, false) if !matches!(footer, Ok(Some(_))) => Some(MergeVerdict::Unsealed),
                (false, false) => None,
            };
            seen_active |= is_active;
            FileFacts { excluded, ..merge::facts_of(file, footer) }
        });
        Survey { facts: facts.collect(), files, clean: 0, room: u64::MAX }
    }
}

fn file_status(file: &DataFile, facts: &FileFacts, verdict: MergeVerdict) -> FileStatus {
    let state = match verdict {
        MergeVerdict::Active => FileState::Active,
        MergeVerdict::Successor => FileState::Successor,
        _ => FileState::Immutable,
    };
    FileStatus {
        name: file.name().to_owned(),
        state,
        len: file.data_len(),
        live_bytes: facts.live_bytes,
        held_bytes: facts.held_bytes,
        dead_bytes: facts.dead_bytes(),
        live_keys: facts.live_keys,
        dead_keys: facts.dead_keys(),
        last_timestamp: facts.last_timestamp,
        merge: verdict,
    }
}

/// The file at the end of the log, as a reader sees it, if records can still be appended to it.
fn active_of(order: &[Arc<DataFile>]) -> Option<FileId> {
    let last = order.iter().rfind(|file| file.data_len() > 0)?;
    let is_sealed = matches!(last.footer(), Ok(Some(_)));
    (!is_sealed).then(|| last.id())
}

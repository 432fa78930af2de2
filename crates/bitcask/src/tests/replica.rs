//! A copy of a store that follows its changes.

use super::model::{Map, Stored, micros};
use crate::{Bitcask, Commit, Error};

/// What changes say so far: a copy of the store, and the position it stands at.
#[derive(Default)]
pub(super) struct Replica {
    pub(super) map: Map,
    pub(super) position: u64,
}

impl Replica {
    /// Takes in all that is durable. `false` when merges have passed its position.
    pub(super) fn catch_up(&mut self, db: &Bitcask) -> bool {
        let mut changes = match db.changes(self.position) {
            Err(Error::ChangesMerged { position, oldest }) => {
                assert!(position == self.position && oldest > position);
                return false;
            }
            changes => changes.unwrap(),
        };
        changes.by_ref().for_each(|commit| self.apply(commit.unwrap()));
        true
    }

    fn apply(&mut self, commit: Commit) {
        assert!(commit.timestamp_us > self.position, "commits ascend");
        self.position = commit.timestamp_us;
        for change in commit.changes {
            match change.value {
                Some(value) => {
                    let expiry = micros(change.expires_at);
                    self.map.insert(change.key, Stored { value: value.into_vec(), expiry });
                }
                None => drop(self.map.remove(&change.key)),
            }
        }
    }
}

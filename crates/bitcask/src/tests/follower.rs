//! A read-only handle that follows a writer, and looks whether it sees what it must.

use std::sync::Arc;

use super::harness;
use super::model::Map;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Options, Snapshot};

/// A follower, and what it must see.
pub(super) struct Follower {
    db: Bitcask,
    /// What it saw after the last refresh, of what has no expiry.
    seen: Map,
    snapshots: Vec<(Snapshot, Map)>,
}

impl Follower {
    pub(super) fn open(disk: &SimDisk, clock: &Arc<SimClock>, latest: &Map) -> Self {
        let db = harness::open(disk, clock, &Options::read_only()).unwrap();
        let mut follower = Self { db, seen: Map::default(), snapshots: Vec::new() };
        follower.sees(latest);
        follower
    }

    /// Looks whether it still sees what it saw; then whether it sees `latest`, all that the log says, after a refresh.
    pub(super) fn refresh(&mut self, latest: &Map) {
        self.check();
        self.db.refresh().unwrap();
        self.sees(latest);
        self.check();
        assert!(!self.db.refresh().unwrap(), "there is nothing new");
    }

    fn sees(&mut self, latest: &Map) {
        let found = Map::visible_in(&self.db);
        assert_eq!(found.lasting(), latest.lasting(), "a follower sees something else");
        for key in found.keys() {
            assert_eq!(found.get(key), latest.get(key), "a follower sees what is not");
        }
        let live_keys: u64 = self.db.status().files.iter().map(|file| file.live_keys).sum();
        assert_eq!(live_keys, self.db.len());
        self.seen = found.lasting();
        if self.snapshots.len() == 2 {
            self.snapshots.remove(0);
        }
        self.snapshots.push((self.db.snapshot(), found.lasting()));
    }

    fn check(&self) {
        assert_eq!(Map::visible_in(&self.db).lasting(), self.seen, "between refreshes nothing changes");
        for (snapshot, expected) in &self.snapshots {
            assert_eq!(Map::of_snapshot(snapshot).lasting(), *expected, "a snapshot sees something else");
        }
    }
}

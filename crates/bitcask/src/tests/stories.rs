//! Bugs that the sweeps have found, each with its story, and the failures that have a name in the test plan.

use std::sync::Arc;

use super::harness::{Crash, Depth, check_recovery, check_sound, open};
use super::model::{History, Map, Write};
use crate::vfs::sim::{CrashModel, OpKind, Random, SimClock, SimDisk};
use crate::{Bitcask, Durability, Io, Options};

/// A store and its history, written to by hand.
struct Store {
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
    history: History,
    db: Option<Bitcask>,
}

impl Store {
    fn new(io: Io, options: Options) -> Self {
        Self::on(SimDisk::new(io), options, History::default())
    }

    fn on(disk: SimDisk, options: Options, history: History) -> Self {
        let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
        let db = Some(open(&disk, &clock, &options).unwrap());
        let store = Self { disk, clock, options, history, db };
        store.check();
        store
    }

    fn db(&self) -> &Bitcask {
        self.db.as_ref().unwrap()
    }

    fn check(&self) {
        assert_eq!(Map::of(self.db()), *self.history.latest());
    }

    fn put(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.db().put(key, &value).unwrap();
        self.history.push(Write { key: key.into(), value: Some(value.as_ref().to_vec()) });
    }

    fn delete(&mut self, key: &str) {
        assert!(self.db().delete(key).unwrap());
        self.history.push(Write { key: key.into(), value: None });
    }

    fn reopen(&mut self) {
        self.db().close().unwrap();
        self.db = None;
        self.db = Some(open(&self.disk, &self.clock, &self.options).unwrap());
        self.check();
    }
}

fn both(test: impl Fn(Io)) {
    [Io::Mapped, Io::Syscall].into_iter().for_each(test);
}

/// After a close and an open, the first rotation wrote the link of the new file at offset 0, over the file's header:
/// an open did not note that the data of the successor, which it found in the manifest, begins behind its header.
/// The store was poisoned at the next sealing, and could not be opened again.
#[test]
fn a_successor_made_before_a_close_is_rotated_into_after_it() {
    both(|io| {
        let mut store = Store::new(io, Options::new().max_file_size(400));
        store.put("one", [1; 250]);
        store.put("two", [2; 250]);
        store.reopen();
        for round in 3..9 {
            store.put("three", [round; 250]);
        }
        store.check();
        store.reopen();
        check_sound(&store.disk);
    });
}

/// Kills `store` at each moment of the recovery from `left`; then lives on with writes acknowledged as durable, and
/// loses power. Everything must be there.
fn killed_in_recovery_then_powerless(left: &SimDisk, options: &Options, history: &History) {
    let recovering = left.fork();
    recovering.keep_snapshots();
    let clock = Arc::new(SimClock::new(1));
    drop(open(&recovering, &clock, options).unwrap());
    let mut random = Random::new(7);
    for (_, moment) in recovering.take_snapshots() {
        let options = options.clone().durability(Durability::Always);
        let mut store = Store::on(moment.kill(), options, history.clone());
        for number in 0..2 {
            store.put("later", format!("number {number}"));
            let all = store.history.len();
            for crash in 0..Crash::COUNT {
                let left = Crash::number(crash).strike(&store.disk, &mut random);
                check_recovery(&left, &store.history, all, all, &store.options, Depth::Recovery, &mut random);
            }
        }
    }
}

/// A recovery that was killed between giving the last file its footer *cut* and syncing it left both in the cache.
/// The next open took the footer for durable and went on behind it. When the power failed, the torn tail was back in
/// its place, and in front of it stood a log that a sync had covered: so it was taken for corruption.
#[test]
fn a_cut_that_only_the_cache_has_seen_is_synced_before_the_log_goes_on() {
    both(|io| {
        let mut store = Store::new(io, Options::new().max_file_size(4096).durability(Durability::Always));
        store.put("kept", "value");
        let history = store.history.clone();
        store.options = store.options.durability(Durability::Os);
        store.reopen();
        store.put("torn", [7; 100]);
        store.put("behind", "value");
        // The value of the first is damaged, as by a sector that was lost; what follows it is whole.
        let left = store.disk.crash(0, CrashModel::KeepAll);
        let bytes = left.read_file("0000000001.data");
        let at = bytes.windows(100).position(|window| window == [7; 100]).unwrap();
        left.overwrite("0000000001.data", u64::try_from(at).unwrap(), &[0; 40]);
        killed_in_recovery_then_powerless(&left, &store.options, &history);
    });
}

/// A recovery that was killed between emptying a file whose records were lost and syncing it left it empty in the
/// cache only. The next open took it for a file never written to, dropped it from the manifest, and went on. When
/// the power failed its old records were back, and the open refused it as a file of another store.
#[test]
fn a_file_emptied_in_the_cache_only_is_synced_before_it_is_dropped_or_used() {
    both(|io| {
        let options = Options::new().max_file_size(512).durability(Durability::Os);
        let mut store = Store::new(io, options.clone());
        store.put("a", [1; 250]);
        store.db().sync().unwrap();
        let history = store.history.clone();
        store.put("b", [2; 40]);
        store.disk.keep_snapshots();
        store.put("c", [3; 250]);
        // The second file is written to, and the end of the first one is not synced yet.
        let moments = store.disk.take_snapshots();
        let before_sync = moments.iter().map(|(_, moment)| moment).find(|moment| {
            moment.exists("0000000002.data")
                && moment.read_file("0000000002.data").windows(250).any(|it| it == [3; 250])
        });
        let left = before_sync.unwrap().crash_cut("0000000001.data", 400);
        killed_in_recovery_then_powerless(&left, &options, &history);
    });
}

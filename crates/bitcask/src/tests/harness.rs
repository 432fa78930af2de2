//! What the crash sweeps share: the names of their cases, crashes, and the checks after one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
use bitcask_testing::Sweep;

use super::model::{Bounds, History, Map, Stored};
#[cfg(test)]
use super::ways::Way;
use super::workload::Workload;
use crate::options::Maintenance;
use crate::verify::verify_dir;
use crate::vfs::DirAccess;
use crate::vfs::sim::{CrashModel, Random, SimClock, SimDisk};
use crate::{Bitcask, Error, Options, Result};

/// Where every store of these tests lies.
pub(super) const STORE: &str = "store";

/// The name of one case: which workload, which moment of it, which crash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) workload: u64,
    pub(super) moment: u64,
    pub(super) crash: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.workload, self.moment, self.crash)
    }
}

/// The numbers of the workloads below `count` that a sweep of this way goes through.
#[cfg(test)]
pub(super) fn workloads(count: u64, way: Way, sweep: &Sweep) -> impl Iterator<Item = u64> {
    (0..count).filter(move |&number| way.has_turn(number) && sweep.wants(number))
}

/// One way in which everything stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    Power(CrashModel),
    /// `kill -9`: the cache survives.
    Kill,
}

impl Crash {
    pub(super) const COUNT: u64 = 6;

    /// The crash with this number; numbers wrap.
    pub(super) fn number(number: u64) -> Self {
        let index = usize::try_from(number % Self::COUNT).unwrap();
        CrashModel::ALL.get(index).map_or(Self::Kill, |model| Self::Power(*model))
    }

    pub(super) fn strike(self, disk: &SimDisk, random: &mut Random) -> SimDisk {
        match self {
            Self::Power(model) => disk.crash(random.next(), model),
            Self::Kill => disk.fork().kill(),
        }
    }

    /// The fewest writes that must be there after it.
    pub(super) fn at_least(self, bounds: Bounds) -> usize {
        match self {
            Self::Kill | Self::Power(CrashModel::KeepAll) => bounds.acked,
            Self::Power(_) => bounds.durable,
        }
    }

    /// What the next crash must respect, when `found` writes were there after this one.
    pub(super) fn bounds_after(self, bounds: Bounds, found: usize) -> Bounds {
        match self {
            Self::Kill => Bounds { durable: bounds.durable.min(found), acked: found, issued: found },
            // What is left lies on the disk.
            Self::Power(_) => Bounds::all(found),
        }
    }
}

pub(super) fn open(disk: &SimDisk, clock: &Arc<SimClock>, options: &Options) -> Result<Bitcask> {
    let clock: Arc<SimClock> = Arc::clone(clock);
    Bitcask::open_on(&*disk.vfs(), clock, Path::new(STORE), options.clone().maintenance(Maintenance::Callers))
}

/// How much is tried after a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Both ways to open, and a verification.
    Recovery,
    /// Also that the store can be written to, closed and opened again.
    Afterlife,
}

/// Opens what a crash has left, and checks that it is `history` up to some write in `at_least..=at_most`. Returns which:
/// the last one, where states recur. Leaves `disk` as it was.
pub(super) fn check_recovery(
    disk: &SimDisk,
    history: &History,
    at_least: usize,
    at_most: usize,
    options: &Options,
    depth: Depth,
    random: &mut Random,
) -> usize {
    let disk = disk.fork();
    // By a clock at which nothing has expired all that the log holds shows.
    let all = read_only_view(&disk, &Arc::new(SimClock::new(0))).unwrap_or_else(|| {
        assert_eq!(at_least, 0, "a reader finds no store");
        Map::default()
    });
    let found = history.find(&all, at_least, at_most);
    let now_us = random_time(random);
    let clock = Arc::new(SimClock::new(now_us));
    let db = open(&disk, &clock, options).unwrap_or_else(|error| panic!("the open fails: {error}"));
    let map = Map::of(&db);
    assert_eq!(map, all.visible(now_us), "what a reader saw, less what has expired at {now_us}");
    let recovery = db.status().recovery;
    assert_eq!(recovery.damaged, [], "recovery reports damage");
    assert!(recovery.torn_tail.is_none() || !recovery.clean, "a torn tail is no clean end: {recovery:?}");
    check_sound(&disk);
    if depth == Depth::Afterlife {
        check_afterlife(&disk, db, map, &clock, options, random);
    }
    found
}

/// One crash and the check of what it leaves. Returns that, and how many writes are in it.
pub(super) fn crash_once(
    workload: &Workload,
    disk: &SimDisk,
    bounds: Bounds,
    crash: Crash,
    depth: Depth,
    random: &mut Random,
) -> (SimDisk, usize) {
    let left = crash.strike(disk, random);
    let options = &workload.settings.options;
    let found = check_recovery(
        &left,
        &workload.history,
        crash.at_least(bounds),
        bounds.issued,
        options,
        depth,
        random,
    );
    (left, found)
}

/// What a reader sees, who changes nothing; `None` when there is no store yet.
fn read_only_view(disk: &SimDisk, clock: &Arc<SimClock>) -> Option<Map> {
    disk.keep_snapshots();
    let seen = match open(disk, clock, &Options::read_only()) {
        Ok(reader) => Some(Map::of(&reader)),
        Err(Error::NotAStore { .. }) => None,
        Err(error) => panic!("the read-only open fails: {error}"),
    };
    assert!(disk.take_snapshots().is_empty(), "a read-only open changes the disk");
    seen
}

/// Verification finds nothing to complain about.
pub(super) fn check_sound(disk: &SimDisk) {
    let dir = disk.vfs().open_dir(Path::new(STORE), DirAccess::ReadOnly).unwrap();
    let report = verify_dir(&*dir, &mut |_| ()).unwrap().expect("there is a manifest");
    assert_eq!(report.damage, [], "verification finds damage after recovery");
    assert_eq!(report.torn_tail, None, "verification finds a torn tail after recovery");
}

fn check_afterlife(
    disk: &SimDisk,
    db: Bitcask,
    mut map: Map,
    clock: &Arc<SimClock>,
    options: &Options,
    random: &mut Random,
) {
    for number in 0..4 {
        let key = map.some_key(random).unwrap_or_else(|| format!("after{number}").into_bytes());
        if random.one_in(2) {
            assert_eq!(db.delete(&key).unwrap(), map.remove(&key));
        } else {
            let value = format!("life goes on, {number}").into_bytes();
            db.put(&key, &value).unwrap();
            map.insert(key, Stored::forever(value));
        }
    }
    assert_eq!(Map::of(&db), map, "after a few writes");
    db.close().unwrap();
    drop(db);
    let db = open(disk, clock, options).unwrap();
    let recovery = db.status().recovery;
    assert!(recovery.clean && recovery.torn_tail.is_none(), "after a close: {recovery:?}");
    assert_eq!(Map::of(&db), map, "after a close");
    check_sound(disk);
}

const NOW_US: u64 = 1_800_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;
const YEAR_US: u64 = 365 * 24 * HOUR_US;

/// The expiries of values in the sweeps: so far from each other and from the times that clocks are set to
/// that no test runs across one by itself.
pub(super) const EXPIRIES: [u64; 4] =
    [HOUR_US, NOW_US - 20 * YEAR_US, NOW_US + HOUR_US, NOW_US + 20 * YEAR_US];

/// A wall clock that somebody has set: right, behind, before 1970, or far ahead.
pub(super) fn random_time(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => NOW_US - random.below(40 * YEAR_US),
        2 => NOW_US + random.below(40 * YEAR_US),
        _ => NOW_US,
    }
}

//! Read-only handles that follow a writer.

use std::sync::atomic::{AtomicBool, Ordering};

use bitcask_testing::Sweep;

use super::harness;
use super::model::{Map, Stored};
use super::story::{HOUR_US, NOW_US, Story, in_every_way};
use super::ways::Way;
use crate::file::layout;
use crate::vfs::sim::{Failure, Repeat, SimDisk};
use crate::{Bitcask, Error, MergeOptions, MergePolicy, Options};

fn follower_of(story: &Story) -> Bitcask {
    harness::open(&story.disk, &story.clock, &Options::read_only()).unwrap()
}

fn map(entries: &[(&str, &str)]) -> Map {
    let mut map = Map::default();
    for (key, value) in entries {
        map.insert((*key).into(), Stored::forever(*value));
    }
    map
}

#[test]
fn a_refresh_brings_what_was_put_and_deleted_and_nothing_else_does() {
    in_every_way(|story| {
        let follower = follower_of(&story);
        assert_eq!((follower.len(), follower.refresh().unwrap()), (0, false));
        story.put("a", "1");
        story.put("b", "1");
        assert_eq!(Map::of(&follower), Map::default());
        assert!(follower.refresh().unwrap());
        assert_eq!(Map::of(&follower), map(&[("a", "1"), ("b", "1")]));
        story.delete("a");
        story.put("b", "2");
        assert_eq!(Map::of(&follower), map(&[("a", "1"), ("b", "1")]));
        assert!(follower.refresh().unwrap());
        assert_eq!(Map::of(&follower), map(&[("b", "2")]));
        assert!(!follower.refresh().unwrap());
        assert!(!story.db().refresh().unwrap(), "who writes has nothing to catch up with");
    });
}

#[test]
fn a_follower_is_up_to_date_after_one_refresh_through_a_hundred_rotations_and_merges() {
    in_every_way(|mut story| {
        let follower = follower_of(&story);
        let mut expected = Map::default();
        for step in 0..100 {
            let key = format!("key{}", step % 7);
            story.put(&key, &format!("value {step}"));
            expected.insert(key.into(), Stored::forever(format!("value {step}")));
            let gone = format!("key{}", (step + 3) % 7);
            if story.db().delete(&gone).unwrap() {
                expected.remove(gone.as_bytes());
            }
            story.rotate();
            if step % 10 == 9 {
                story.reopen();
            }
            story.db().merge().unwrap();
            if step % 25 == 24 {
                assert!(follower.refresh().unwrap());
                assert_eq!(Map::of(&follower), expected, "step {step}");
            }
        }
        story.put("last", "1");
        expected.insert("last".into(), Stored::forever("1"));
        assert!(follower.refresh().unwrap());
        assert_eq!(Map::of(&follower), expected);
        let files = story.db().status().files.len();
        assert_eq!(follower.status().files.len(), files, "files that are gone are let go");
    });
}

#[test]
fn a_key_whose_value_and_tombstone_have_both_been_merged_away_is_gone() {
    in_every_way(|story| {
        story.put("stays", "1");
        story.put("goes", "1");
        story.rotate();
        let follower = follower_of(&story);
        let before = follower.snapshot();
        story.delete("goes");
        story.rotate();
        story.db().merge().unwrap();
        assert_eq!(story.db().status().held_bytes, 0);
        assert!(follower.refresh().unwrap());
        assert_eq!(Map::of(&follower), map(&[("stays", "1")]));
        assert_eq!(Map::of_snapshot(&before), map(&[("stays", "1"), ("goes", "1")]));
    });
}

/// The older record, kept for a snapshot of the writer, is met first, and leads the key away from a file that is gone as well.
#[test]
fn an_older_record_that_a_merge_has_kept_does_not_win() {
    in_every_way(|story| {
        story.put("key", "old");
        story.put("other", "1");
        story.rotate();
        let snapshot = story.db().snapshot();
        story.put("key", "new");
        story.rotate();
        let follower = follower_of(&story);
        story.merge(0..1);
        story.merge(1..2);
        assert_eq!(story.get("key").as_deref(), Some("new"));
        follower.refresh().unwrap();
        assert_eq!(Map::of(&follower), map(&[("key", "new"), ("other", "1")]));

        let before = follower.snapshot();
        drop(snapshot);
        story.put("key", "newer");
        story.put("more", "1");
        story.rotate();
        story.merge(1..3);
        follower.refresh().unwrap();
        assert_eq!(Map::of(&follower), map(&[("key", "newer"), ("more", "1"), ("other", "1")]));
        assert_eq!(Map::of_snapshot(&before), map(&[("key", "new"), ("other", "1")]));
    });
}

#[test]
fn half_a_batch_is_not_seen() {
    in_every_way(|story| {
        story.put("before", "1");
        let follower = follower_of(&story);
        story.disk.keep_snapshots();
        let mut batch = story.db().batch();
        for n in 0..5 {
            batch.put(format!("key{n}"), "1");
        }
        assert!(batch.commit().unwrap());
        for (_, moment) in story.disk.take_snapshots() {
            let beside = harness::open(&moment, &story.clock, &Options::read_only()).unwrap();
            assert!([1, 6].contains(&beside.len()), "{}", beside.len());
        }
        assert!(follower.refresh().unwrap());
        assert_eq!(follower.len(), 6);
    });
}

#[test]
fn expired_values_are_absent_and_what_has_moved_keeps_its_expiry() {
    in_every_way(|story| {
        story.put_until("short", "1", NOW_US + HOUR_US);
        story.put_until("long", "1", NOW_US + 3 * HOUR_US);
        let follower = follower_of(&story);
        story.rotate();
        story.merge(0..1);
        follower.refresh().unwrap();
        assert_eq!(follower.len(), 2);
        story.clock.set_now_us(NOW_US + 2 * HOUR_US);
        assert_eq!(follower.get("short").unwrap(), None);
        assert_eq!(follower.get("long").unwrap().as_deref(), Some(&b"1"[..]));
        story.clock.set_now_us(NOW_US + 4 * HOUR_US);
        assert_eq!(follower.get("long").unwrap(), None);
        story.put("new", "1");
        story.rotate();
        story.db().merge().unwrap();
        follower.refresh().unwrap();
        assert_eq!(Map::of(&follower), map(&[("new", "1")]));
    });
}

#[test]
fn a_store_that_was_cleared_is_empty_and_snapshots_of_before_are_not() {
    in_every_way(|story| {
        story.put("a", "1");
        story.put("b", "1");
        let follower = follower_of(&story);
        let before = follower.snapshot();
        story.db().clear().unwrap();
        assert!(follower.refresh().unwrap());
        let after = follower.snapshot();
        assert_eq!(Map::of(&follower), Map::default());
        story.put("b", "2");
        assert!(follower.refresh().unwrap());
        assert_eq!(Map::of(&follower), map(&[("b", "2")]));
        assert_eq!(Map::of_snapshot(&before), map(&[("a", "1"), ("b", "1")]));
        assert_eq!(Map::of_snapshot(&after), Map::default());
    });
}

#[test]
fn a_follower_survives_that_its_store_is_closed_and_opened() {
    in_every_way(|mut story| {
        story.put("a", "1");
        let follower = follower_of(&story);
        for n in 0..5 {
            story.reopen();
            assert!(!follower.refresh().unwrap());
            story.put("a", &format!("{n}"));
            assert!(follower.refresh().unwrap());
            assert_eq!(Map::of(&follower), map(&[("a", &n.to_string())]));
        }
    });
}

#[test]
fn an_older_manifest_and_another_store_are_refused() {
    in_every_way(|story| {
        story.put("a", "1");
        let manifest = story.disk.read_file(layout::MANIFEST);
        story.rotate();
        story.put("a", "2");
        let follower = follower_of(&story);
        story.disk.write_file(layout::MANIFEST, &manifest);
        let error = follower.refresh().unwrap_err();
        assert!(matches!(error, Error::ForeignFile { .. }), "{error}");
        assert!(error.to_string().contains("an older manifest was put back"), "{error}");

        let other = Story::new(Way::MAPPED);
        story.disk.write_file(layout::MANIFEST, &other.disk.read_file(layout::MANIFEST));
        let error = follower.refresh().unwrap_err();
        assert!(error.to_string().contains("another store"), "{error}");
        assert_eq!(follower.get("a").unwrap().as_deref(), Some(&b"2"[..]));
    });
}

#[test]
fn whichever_call_of_a_refresh_fails_the_next_one_makes_it_good() {
    let sweep = Sweep::new("whichever_call_of_a_refresh_fails_the_next_one_makes_it_good");
    for (number, way) in Way::numbered(&sweep) {
        let story = Story::new(way);
        for n in 0..20 {
            story.put(&format!("key{n}"), "1");
        }
        story.rotate();
        let mut expected: Vec<(String, String)> = Vec::new();
        for n in 0..20 {
            expected.push((format!("key{n}"), if n < 5 { "1".into() } else { "2".into() }));
        }
        let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let before = story.disk.fork();
        let change = |disk: &SimDisk| {
            let writer = harness::open(disk, &story.clock, &options(&story)).unwrap();
            for n in 5..20 {
                writer.put(format!("key{n}"), "2").unwrap();
            }
            writer.rotate().unwrap();
            writer.merge().unwrap();
            writer.put("key19", "2").unwrap();
        };
        for call in 0..200 {
            let fired = sweep.case(format!("{number}-{call}"), |_| {
                let disk = before.kill();
                let follower = harness::open(&disk, &story.clock, &Options::read_only()).unwrap();
                let old = follower.snapshot();
                change(&disk);
                disk.inject(disk.operations() + call, |_| true, Failure::Os(5), Repeat::Once);
                let outcome = follower.refresh();
                let fired = disk.faults_fired();
                disk.clear_faults();
                if outcome.is_err() {
                    assert!(follower.refresh().unwrap());
                }
                assert_eq!(Map::of(&follower), map(&expected));
                assert_eq!(Map::of_snapshot(&old).len(), 20);
                fired
            });
            if fired == Some(0) {
                assert!(call > 10, "{call}");
                break;
            }
        }
    }
    sweep.finish(50);
}

fn options(story: &Story) -> Options {
    Options::new().format(story.db().status().format).merge(MergeOptions::new().policy(MergePolicy::Never))
}

#[test]
fn followers_see_prefixes_of_the_log_while_threads_write_rotate_and_merge() {
    const KEYS: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    let db = crate::open(dir.path(), Options::new().max_file_size(16 << 10).merge(merge)).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let follow = || {
            let follower = crate::open(dir.path(), Options::read_only()).unwrap();
            let mut last = 0;
            loop {
                let is_last = ended.load(Ordering::Acquire);
                follower.refresh().unwrap();
                let snapshot = follower.snapshot();
                let value = |n: u64| {
                    let value = snapshot.get(format!("key{n}")).unwrap();
                    value.map_or(0, |value| String::from_utf8_lossy(&value).parse::<u64>().unwrap())
                };
                // The keys are written in turn, each round one higher; those of an even round at once.
                let values: Vec<u64> = (0..KEYS).map(value).collect();
                let sum: u64 = values.iter().sum();
                let expected = (0..KEYS).map(|n| sum / KEYS + u64::from(n < sum % KEYS));
                assert!(values.iter().copied().eq(expected), "no moment of the log: {values:?}");
                assert!(
                    sum.is_multiple_of(KEYS) || (sum / KEYS).is_multiple_of(2),
                    "half a batch: {values:?}"
                );
                assert!(sum >= last, "it went back from {last} to {sum}");
                last = sum;
                if is_last {
                    return sum;
                }
            }
        };
        let followers: Vec<_> = (0..2).map(|_| scope.spawn(follow)).collect();
        let merger = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                db.merge().unwrap();
            }
        });
        let rounds = 2_000;
        for round in 1..=rounds {
            let mut batch = db.batch();
            for n in 0..KEYS {
                let (key, value) = (format!("key{n}"), format!("{round}"));
                match round % 2 {
                    0 => _ = batch.put(key, value),
                    _ => db.put(key, value).unwrap(),
                }
            }
            assert!(batch.commit().unwrap());
        }
        ended.store(true, Ordering::Release);
        merger.join().unwrap();
        for follower in followers {
            assert_eq!(follower.join().unwrap(), rounds * KEYS);
        }
    });
}

//! Bugs that others have had in stores of this family: none of them may come to this one.
//!
//! | what must not happen | public report | test |
//! |---|---|---|
//! | a partial merge drops a tombstone, and the older value is back | basho/bitcask #82 | `merge_rules::a_tombstone_stays_while_an_older_file_holds_a_value_of_its_key` |
//! | a superseded tombstone leaves too early | basho/bitcask f472b88 | below |
//! | a merged value lands behind its tombstone | basho/bitcask fd88ca7 | below |
//! | a merge moves a key back to what it copied | basho/bitcask 4ab96d4 | below |
//! | removing an expired value takes a newer one along | basho/bitcask 860eb0d | below |
//! | a merge removes files under an iteration | basho/bitcask de71701 | `snapshot::a_snapshot_sees_one_moment_whatever_is_written_and_merged`, `snapshot::iterations_agree_with_themselves_while_threads_write_and_merge` |
//! | a merge takes the active file | basho/bitcask #47 | below |
//! | a merge that fails on one input deletes all | basho/bitcask 956cec0 | below |
//! | ids of removed files are given again | basho/bitcask f085660 | below |
//! | a clock that jumps loses writes | basho/bitcask d721439 | `stories::a_clock_that_jumps_never_changes_the_order`, `timestamps::tests::timestamps_ascend_whatever_the_clock_does` |
//! | a hint file cut between two entries hides keys | basho/bitcask 7fa15de | below |
//! | a key is loaded from a record that is damaged | basho/bitcask #212 | `corruption::any_flipped_bit_is_detected_reported_and_never_believed` |
//! | a tail of zeros is a flood of reports | basho/bitcask 3c16f75 | `stories::a_tail_of_any_length_is_at_most_one_report` |
//! | much damage hides the rest of a file | basho/bitcask 3c16f75 | below |
//! | recoveries leak file descriptors | basho/bitcask c174af6 | below |
//! | a read that is as long as asked for is taken for the end | basho/bitcask e3ae214 | below |
//! | a stale lock file locks for ever | basho/bitcask #226 | `processes::after_the_holder_is_killed_the_next_opens_at_once` (integration), and below |
//! | a failed open leaves something that stops the next | basho/bitcask 4862bf6 | `faults::whichever_call_fails_it_fails_cleanly_and_nothing_acknowledged_is_lost` |
//! | what was deleted is back after a merge and an open | rosedb #258 | `merge::a_store_of_which_everything_is_deleted_shrinks_to_nothing`, and the first |
//! | a merge writes an old value over a newer commit | nutsdb #392 | below |
//! | what is written during a merge is lost | octu0/bitcaskdb #19 | below |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::harness;
use super::model::Map;
use super::story::{Story, in_every_way};
use super::ways::{Way, is_data_file};
use crate::status::{FileState, MergeVerdict};
use crate::vfs::sim::{CrashModel, SimClock, SimDisk};
use crate::{Durability, Error, MergeOptions, MergePolicy, Options, PutOptions};

fn data_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|name| is_data_file(name)).collect()
}

// basho/bitcask f472b88
#[test]
fn a_tombstone_that_a_value_supersedes_does_not_let_the_oldest_value_back() {
    in_every_way(|mut story| {
        story.put("a", "oldest");
        story.put("z", "1");
        story.rotate();
        story.delete("a");
        story.rotate();
        story.put("a", "newer");
        story.rotate();
        // The tombstone leaves: the value after it covers as much.
        assert_eq!(story.merge(1..2).records_dropped, 1);
        story.holds(&[("a", "newer"), ("z", "1")]);
        story.delete("a");
        story.rotate();
        // That value leaves as well, and now the second tombstone must cover the oldest.
        story.merge(1..2);
        story.holds(&[("z", "1")]);
        let report = story.merge(1..2);
        assert_eq!(report.tombstones_kept, 1, "{report:?}");
        story.holds(&[("z", "1")]);
    });
}

// basho/bitcask fd88ca7
#[test]
fn a_value_that_a_merge_copies_into_a_file_of_a_higher_id_does_not_outlive_its_tombstone() {
    in_every_way(|mut story| {
        story.put("a", "1");
        story.put("z", "1");
        story.rotate();
        let snapshot = story.db().snapshot();
        story.delete("a");
        story.rotate();
        // The snapshot makes the merge copy what is deleted, as a delete between the copying and its end would.
        let report = story.merge(0..1);
        assert_eq!(report.values_copied, 2, "{report:?}");
        let names: Vec<_> = story.db().status().files.into_iter().map(|file| file.name).collect();
        assert!(
            names[0] > names[1],
            "the copy lies before the tombstone, in a file of a higher id: {names:?}"
        );
        drop(snapshot);
        story.holds(&[("z", "1")]);
    });
}

// basho/bitcask 4ab96d4
#[test]
fn a_merge_does_not_lead_a_key_back_to_an_older_value_that_it_copied() {
    in_every_way(|mut story| {
        story.put("a", "old");
        story.put("b", "old");
        story.rotate();
        let snapshot = story.db().snapshot();
        story.put("a", "new");
        story.delete("b");
        story.rotate();
        story.put("a", "newest");
        assert_eq!(story.merge(0..1).values_copied, 2);
        assert_eq!((story.get("a").as_deref(), story.get("b")), (Some("newest"), None));
        story.merge(0..2);
        assert_eq!((story.get("a").as_deref(), story.get("b")), (Some("newest"), None));
        drop(snapshot);
        story.holds(&[("a", "newest")]);
    });
}

/// A store on the real file system, merged only by hand.
fn open_real(path: &std::path::Path) -> crate::Bitcask {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    crate::open(path, Options::new().max_file_size(64 << 10).durability(Durability::Os).merge(merge)).unwrap()
}

// basho/bitcask 860eb0d
#[test]
fn removing_an_expired_value_does_not_take_a_newer_one_along() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_real(dir.path());
    let expired = PutOptions::new().expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..30_000_u32 {
                db.put_with("k", "expired", &expired).unwrap();
                assert_eq!(db.get("k").unwrap(), None);
                db.put("k", n.to_le_bytes()).unwrap();
                assert_eq!(db.get("k").unwrap().as_deref(), Some(&n.to_le_bytes()[..]));
            }
        });
        while !writer.is_finished() {
            db.reap_all();
        }
        writer.join().unwrap();
    });
}

// basho/bitcask #47
#[test]
fn a_merge_does_not_take_the_file_that_is_being_written() {
    in_every_way(|mut story| {
        for round in ["1", "2", "3"] {
            story.put("a", round);
            story.put("b", round);
            let report = story.db().merge_chosen(|count| {
                assert_eq!(count, 0, "no file is immutable");
                0..count
            });
            assert_eq!(report.unwrap().inputs, 0);
        }
        let before = story.db().status();
        let active = before.files.iter().find(|file| file.state == FileState::Active).unwrap();
        assert_eq!(active.merge, MergeVerdict::Active);
        // A merge that is told to do everything closes the file first.
        let old = active.name.clone();
        assert!(story.db().merge().unwrap().inputs > 0);
        let files = story.db().status().files;
        assert!(files.iter().all(|file| file.name != old), "{old} is merged: {files:?}");
        story.put("a", "4");
        story.put("b", "4");
        story.put("b", "5");
        assert!(story.db().merge().unwrap().inputs > 0);
        story.put("a", "4");
        story.disk = story.disk.kill();
        story.open();
        story.holds(&[("a", "4"), ("b", "5")]);
    });
}

// basho/bitcask 956cec0
#[test]
fn a_merge_that_cannot_read_one_input_does_not_remove_any() {
    in_every_way(|mut story| {
        for file in ["a", "b", "c"] {
            story.put(file, "gone");
            story.put(file, &format!("the value of {file}"));
            story.rotate();
        }
        story.reopen();
        let name = story.db().status().files[1].name.clone();
        let bytes = story.disk.read_file(&name);
        let at = bytes.windows(14).position(|window| window == b"the value of b").unwrap();
        story.disk.flip_bit(&name, 8 * at as u64);
        let before = data_files(&story.disk);
        let report = story.merge(0..3);
        assert_eq!((report.quarantined.len(), report.inputs), (1, 0), "{report:?}");
        assert_eq!(report.quarantined[0].file, name);
        assert_eq!(data_files(&story.disk), before);
        for when in ["before", "after"] {
            assert_eq!(story.get("a").as_deref(), Some("the value of a"), "{when} opening again");
            assert_eq!(story.get("c").as_deref(), Some("the value of c"), "{when} opening again");
            assert!(story.db().get("b").is_err_and(|error| error.is_corruption()), "{when} opening again");
            story.reopen();
        }
        // The others are merged without it, and life goes on.
        assert_eq!((story.merge(0..1).inputs, story.merge(2..3).inputs), (1, 1));
        story.put("b", "written again");
        for when in ["before", "after"] {
            let all = ["a", "b", "c"].map(|key| story.get(key).unwrap());
            assert_eq!(all, ["the value of a", "written again", "the value of c"], "{when} opening again");
            story.reopen();
        }
    });
}

// basho/bitcask f085660
#[test]
fn ids_of_removed_files_are_not_given_again() {
    in_every_way(|mut story| {
        let (mut listed, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for round in 0..20 {
            story.put("a", &format!("{round}"));
            story.put("b", &format!("{round}"));
            story.delete("b");
            match round % 5 {
                0 => story.rotate(),
                1 => story.reopen(),
                2 => story.lose_power(),
                3 => {
                    let _ = story.db().delete("a").unwrap();
                    story.rotate();
                    assert_eq!(story.db().merge().unwrap().outputs, 0, "nothing is left of the run");
                }
                _ => drop(story.db().merge().unwrap()),
            }
            let files: BTreeSet<String> =
                story.db().status().files.into_iter().map(|file| file.name).collect();
            gone.extend(listed.difference(&files).cloned());
            let again: Vec<_> = files.intersection(&gone).collect();
            assert!(again.is_empty(), "round {round}: {again:?} had been removed");
            listed = files;
        }
        assert!(gone.len() > 8, "{gone:?}");
    });
}

// basho/bitcask 7fa15de
#[test]
fn a_hint_file_that_is_cut_between_two_entries_does_not_hide_a_key() {
    in_every_way(|mut story| {
        let keys: Vec<String> = (0..20).map(|n| format!("a key to look for {n:02}")).collect();
        for key in &keys {
            story.put(key, "value");
        }
        story.rotate();
        story.reopen();
        let name = story.disk.files().into_iter().find(|name| name.ends_with(".hint")).unwrap();
        let bytes = story.disk.read_file(&name);
        let find = |key: &str| bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
        let first = keys.iter().map(|key| find(key)).min().unwrap();
        assert!(first + 20 * keys.len() < bytes.len(), "the entries come last");
        let expected = Map::of(story.db());
        assert_eq!(expected.len(), keys.len());
        for len in first - 60..bytes.len() {
            let disk = story.disk.fork();
            disk.write_file(&name, &bytes[..len]);
            let db = harness::open(&disk, &story.clock, &Options::new()).unwrap();
            assert_eq!(Map::of(&db), expected, "{name} cut to {len} of {} bytes", bytes.len());
        }
    });
}

// basho/bitcask 3c16f75
#[test]
fn damage_to_many_values_does_not_hide_the_rest_of_the_file() {
    // In a text log a line has one checksum: damage to it is damage to a key that nobody knows, and the open refuses.
    for mut story in [Way::MAPPED, Way::SYSCALL].map(Story::new) {
        let keys: Vec<String> = (0..120).map(|n| format!("key{n:03}")).collect();
        for key in &keys {
            story.put(key, &format!("the value of {key}"));
        }
        story.db().sync().unwrap();
        story.reopen();
        let name = story.db().status().files[0].name.clone();
        let bytes = story.disk.read_file(&name);
        let is_damaged = |n: usize| !n.is_multiple_of(3);
        for (n, key) in keys.iter().enumerate().filter(|(n, _)| is_damaged(*n)) {
            let value = format!("the value of {key}");
            let at = bytes.windows(value.len()).position(|window| window == value.as_bytes());
            story.disk.flip_bit(&name, 8 * at.unwrap_or_else(|| panic!("value {n}")) as u64);
        }
        story.reopen();
        assert_eq!(story.db().status().recovery.damaged.len(), 80, "each of them is reported");
        for (n, key) in keys.iter().enumerate() {
            match story.db().get(key) {
                Ok(value) => {
                    assert!(!is_damaged(n));
                    assert_eq!(value.as_deref(), Some(format!("the value of {key}").as_bytes()));
                }
                Err(error) => assert!(is_damaged(n) && error.is_corruption(), "{key}: {error}"),
            }
        }
    }
}

// basho/bitcask c174af6
#[test]
fn recovering_again_and_again_does_not_leak_descriptors() {
    in_every_way(|story| {
        for n in 0..40 {
            story.put(&format!("key{n}"), "value");
            if n % 8 == 7 {
                story.rotate();
            }
        }
        story.db().sync().unwrap();
        story.put("torn", "not synced");
        let left = story.disk.crash(3, CrashModel::KeepAll);
        for name in left.files().into_iter().filter(|name| name.ends_with(".hint")) {
            left.remove_file(&name);
        }
        let damaged = left.fork();
        damaged.flip_bit(&data_files(&damaged)[1], 8 * 10);
        for (disk, is_sound) in [(left, true), (damaged, false)] {
            let mut while_open = None;
            for _ in 0..10 {
                let clock = Arc::new(SimClock::new(1));
                match harness::open(&disk, &clock, &Options::new()) {
                    Ok(db) => {
                        assert!(is_sound);
                        let handles = disk.open_handles();
                        assert!(handles <= db.status().files.len() * 2 + 2, "{handles} handles");
                        assert!(handles <= *while_open.get_or_insert(handles) + 2, "{handles} handles");
                    }
                    Err(error) => assert!(!is_sound, "{error}"),
                }
                assert_eq!(disk.open_handles(), 0, "after the end of an open");
            }
        }
    });
}

// basho/bitcask e3ae214
#[test]
fn a_file_that_ends_where_a_read_ends_is_not_taken_for_shorter() {
    // A scan reads this much at once.
    const WINDOW: u64 = 256 << 10;
    for way in [Way::MAPPED, Way::SYSCALL] {
        let mut story = Story::new(way);
        let active_len = |story: &Story| {
            let files = story.db().status().files;
            files.into_iter().find(|file| file.state == FileState::Active).unwrap().len
        };
        // Files whose log ends a little before, at, and a little behind the end of the first and the second read.
        for (file, end) in [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW - 1, 2 * WINDOW, 2 * WINDOW + 1]
            .into_iter()
            .enumerate()
        {
            let before = active_len(&story);
            story.put(&format!("probe{file}"), "");
            let front_len = active_len(&story) - before;
            while active_len(&story) < end - 50_000 {
                story.put(&format!("probe{file}"), &"x".repeat(40_000));
            }
            let room = end - active_len(&story) - front_len;
            story.put(&format!("final{file}"), &"y".repeat(usize::try_from(room).unwrap()));
            assert_eq!(active_len(&story), end, "file {file}");
            // No footer follows: the file is read to its end.
            story.disk = story.disk.kill();
            story.open();
            story.rotate();
        }
        let map = Map::of(story.db());
        assert_eq!(map.len(), 12);
        story.reopen();
        assert_eq!(Map::of(story.db()), map);
        harness::check_sound(&story.disk);
    }
}

// basho/bitcask #226: the process with the id in the lock file may be another one by now, or the file may be empty
#[test]
fn what_a_lock_file_says_does_not_lock() {
    in_every_way(|mut story| {
        story.put("a", "1");
        for content in ["", "1\n", "1 store/bitcask.write\n"] {
            story.disk = story.disk.kill();
            story.disk.write_file("LOCK", content.as_bytes());
            story.open();
            let second = harness::open(&story.disk, &story.clock, &Options::new());
            assert!(matches!(second, Err(Error::Locked { .. })));
            story.holds(&[("a", "1")]);
        }
    });
}

// nutsdb #392, octu0/bitcaskdb #19
#[test]
fn what_is_written_while_a_merge_runs_is_neither_lost_nor_replaced_by_an_older_value() {
    // Many, so that most of them lie in the files being merged when they are written again.
    const KEYS: u32 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let db = open_real(dir.path());
    let mut runs = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..60_000_u32 {
                let key = format!("key{}", n % KEYS);
                assert_eq!(
                    db.get(&key).unwrap().is_some(),
                    n >= KEYS && !(n - KEYS).is_multiple_of(7),
                    "{n}"
                );
                if n.is_multiple_of(7) {
                    db.put(&key, "soon deleted").unwrap();
                    assert!(db.delete(&key).unwrap(), "{n}");
                } else {
                    db.put(&key, n.to_le_bytes()).unwrap();
                    assert_eq!(db.get(&key).unwrap().as_deref(), Some(&n.to_le_bytes()[..]));
                }
            }
        });
        while !writer.is_finished() {
            runs += db.merge().unwrap().runs;
        }
        writer.join().unwrap();
    });
    assert!(runs > 3, "{runs} runs");
    let check = |db: &crate::Bitcask, when| {
        for n in 60_000 - KEYS..60_000 {
            let expected = (!n.is_multiple_of(7)).then(|| n.to_le_bytes());
            let value = db.get(format!("key{}", n % KEYS)).unwrap();
            assert_eq!(
                value.as_deref(),
                expected.as_ref().map(|bytes| &bytes[..]),
                "{n}, {when} opening again"
            );
        }
    };
    check(&db, "before");
    db.close().unwrap();
    drop(db);
    check(&open_real(dir.path()), "after");
}

//! Every write in its order: what readers of changes are given, and what they are promised.

use std::sync::Barrier;
use std::time::Duration;

use super::harness;
use super::model::Map;
use super::replica::Replica;
use super::story::{HOUR_US, NOW_US, in_every_way};
use crate::expiry::to_time;
use crate::vfs::sim::CrashModel;
use crate::{
    Bitcask, Changes, Commit, Durability, Error, MergeOptions, MergePolicy, MergeVerdict, Options, PutOptions,
};

/// The commits that come, as text: `key=value` or `-key`, those of a batch joined by commas.
fn told(changes: &mut Changes) -> Vec<String> {
    changes.map(|commit| text(&commit.unwrap())).collect()
}

fn text(commit: &Commit) -> String {
    let parts = commit.changes.iter().map(|change| {
        let key = String::from_utf8_lossy(&change.key);
        match &change.value {
            Some(value) => format!("{key}={}", String::from_utf8_lossy(value)),
            None => format!("-{key}"),
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

fn all_since(db: &Bitcask, position: u64) -> Vec<String> {
    told(&mut db.changes(position).unwrap())
}

#[test]
fn commits_come_whole_in_order_and_from_any_position_on() {
    in_every_way(|mut story| {
        story.put("a", "1");
        story.put("b", "1");
        story.delete("a");
        story.rotate();
        let mut batch = story.db().batch();
        batch.put("c", "1").delete("b").put("d", "x".repeat(300_000));
        assert!(batch.commit().unwrap());
        story.put_until("e", "1", NOW_US + HOUR_US);
        story.reopen();
        story.put("a", "2");
        story.db().sync().unwrap();
        let d = format!("c=1,-b,d={}", "x".repeat(300_000));
        let expected = ["a=1", "b=1", "-a", &d, "e=1", "a=2"];
        assert_eq!(all_since(story.db(), 0), expected);

        let commits: Vec<Commit> = story.db().changes(0).unwrap().map(Result::unwrap).collect();
        assert_eq!(commits[4].changes[0].expires_at, Some(to_time(NOW_US + HOUR_US)));
        for (index, commit) in commits.iter().enumerate() {
            assert_eq!(all_since(story.db(), commit.timestamp_us), expected[index + 1..]);
            assert_eq!(all_since(story.db(), commit.timestamp_us - 1), expected[index..]);
        }
        let snapshot = story.db().snapshot();
        story.put("z", "1");
        story.db().sync().unwrap();
        assert_eq!(all_since(story.db(), snapshot.timestamp_us()), ["z=1"]);
    });
}

#[test]
fn what_comes_is_durable_and_the_iterator_goes_on_where_it_ended() {
    in_every_way(|mut story| {
        let mut changes = story.db().changes(0).unwrap();
        story.put("a", "1");
        assert_eq!(told(&mut changes), [""; 0]);
        story.db().sync().unwrap();
        story.put("b", "1");
        assert_eq!(told(&mut changes), ["a=1"]);
        story.rotate();
        assert_eq!(told(&mut changes), ["b=1"]);
        let position = story.db().snapshot().timestamp_us();
        story.put("c", "1");
        assert_eq!(told(&mut changes), [""; 0]);
        story.lose_power();
        assert_eq!(all_since(story.db(), 0), ["a=1", "b=1"]);
        assert!(matches!(changes.next(), Some(Err(Error::Closed))));
        story.put("d", "1");
        story.db().sync().unwrap();
        assert_eq!(all_since(story.db(), position), ["d=1"]);
    });
}

#[test]
fn who_falls_behind_a_merge_is_told_the_oldest_position() {
    in_every_way(|story| {
        story.put("a", "1");
        story.put("b", "1");
        story.rotate();
        let mut slow = story.db().changes(0).unwrap();
        assert_eq!(text(&slow.next().unwrap().unwrap()), "a=1");
        story.put("a", "2");
        story.rotate();
        let position = story.db().snapshot().timestamp_us();
        story.put("c", "1");
        story.rotate();
        story.merge(0..2);
        let Err(Error::ChangesMerged { position: 0, oldest }) = story.db().changes(0) else {
            panic!("changes are missing");
        };
        assert_eq!(oldest, position);
        assert_eq!(all_since(story.db(), oldest), ["c=1"]);
        // The file that it had begun to read is still there for it; the next is not.
        assert_eq!(text(&slow.next().unwrap().unwrap()), "b=1");
        for _ in 0..2 {
            let error = slow.next().unwrap().unwrap_err();
            assert!(matches!(error, Error::ChangesMerged { .. }), "{error}");
        }

        let mut quick = story.db().changes(oldest).unwrap();
        assert_eq!(told(&mut quick), ["c=1"]);
        story.merge(0..2);
        story.put("d", "1");
        story.db().sync().unwrap();
        assert_eq!(told(&mut quick), ["d=1"], "nothing is missing to who has read what was merged");
    });
}

#[test]
fn a_clear_is_no_change_but_leaves_every_position_behind() {
    in_every_way(|story| {
        story.put("a", "1");
        let position = story.db().snapshot().timestamp_us();
        let mut changes = story.db().changes(position).unwrap();
        story.db().clear().unwrap();
        let error = changes.next().unwrap().unwrap_err();
        let Error::ChangesMerged { oldest, .. } = error else { panic!("{error}") };
        story.put("b", "1");
        story.db().sync().unwrap();
        assert_eq!(all_since(story.db(), oldest), ["b=1"]);
    });
}

#[test]
fn files_whose_changes_are_kept_are_not_merged_until_they_are_old() {
    in_every_way(|mut story| {
        let hour = Duration::from_micros(HOUR_US);
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        for (key, merge) in
            [("time", merge.clone().keep_changes_for(hour)), ("bytes", merge.keep_changes_bytes(1))]
        {
            story.db().close().unwrap();
            let format = story.db().status().format;
            let options = Options::new().format(format).durability(Durability::Os).merge(merge);
            story.db = Some(harness::open(&story.disk, &story.clock, &options).unwrap());
            let position = story.db().snapshot().timestamp_us();
            for n in 0..20 {
                story.put(key, &format!("{n}"));
            }
            story.rotate();
            assert_eq!(story.db().merge().unwrap().inputs, 0);
            assert!(!story.db().needs_merge());
            let kept =
                story.db().status().files.into_iter().filter(|file| file.merge == MergeVerdict::KeepsChanges);
            assert_eq!(kept.count(), 1);
            story.db().sync().unwrap();
            assert_eq!(all_since(story.db(), position).len(), 20);

            if key == "time" {
                story.clock.advance(2 * hour);
            } else {
                story.put("other", "1");
                story.rotate();
            }
            assert!(story.db().merge().unwrap().inputs > 0);
            assert!(matches!(story.db().changes(position), Err(Error::ChangesMerged { .. })));
        }
    });
}

#[test]
fn a_position_that_the_log_has_not_come_to_is_refused() {
    in_every_way(|story| {
        story.put("a", "1");
        let last = story.db().snapshot().timestamp_us();
        let error = story.db().changes(last + 1).unwrap_err();
        assert!(
            matches!(error, Error::AheadOfLog { position, last: end } if (position, end) == (last + 1, last))
        );
        let reader = harness::open(&story.disk, &story.clock, &Options::read_only()).unwrap();
        assert!(matches!(reader.changes(last + 1), Err(Error::AheadOfLog { .. })));
    });
}

#[test]
fn a_follower_is_given_what_the_log_says_is_synced() {
    in_every_way(|mut story| {
        let reader = harness::open(&story.disk, &story.clock, &Options::read_only()).unwrap();
        let mut changes = reader.changes(0).unwrap();
        story.put("a", "1");
        story.db().sync().unwrap();
        // The marker that claims the sync comes with the next write.
        assert_eq!(told(&mut changes), [""; 0]);
        story.put("b", "1");
        assert_eq!(told(&mut changes), ["a=1"]);
        assert_eq!(reader.len(), 2, "it sees more than what is synced");
        story.rotate();
        assert_eq!(told(&mut changes), ["b=1"]);
        let mut batch = story.db().batch();
        batch.put("c", "1").put("d", "1");
        assert!(batch.commit().unwrap());
        story.reopen();
        assert_eq!(told(&mut changes), ["c=1,d=1"]);
        story.put("a", "2");
        story.rotate();
        story.db().merge().unwrap();
        let error = changes.next().unwrap().unwrap_err();
        let Error::ChangesMerged { oldest, .. } = error else { panic!("{error}") };
        assert_eq!(oldest, story.db().snapshot().timestamp_us());
        story.put("e", "1");
        story.reopen();
        assert_eq!(all_since(&reader, oldest), ["e=1"]);
    });
}

#[test]
fn a_damaged_value_is_an_error_that_stays_and_what_comes_before_is_given() {
    in_every_way(|story| {
        story.put("a", "1");
        story.put("b", "the value that is damaged");
        story.put("c", "1");
        story.rotate();
        let file = story.db().status().files[0].name.clone();
        let bytes = story.disk.read_file(&file);
        let text_of_value: &[u8] = b"the value that is damaged";
        let at = bytes.windows(text_of_value.len()).position(|window| window == text_of_value).unwrap();
        story.disk.flip_bit(&file, at as u64 * 8);
        let mut changes = story.db().changes(0).unwrap();
        assert_eq!(text(&changes.next().unwrap().unwrap()), "a=1");
        for _ in 0..2 {
            let error = changes.next().unwrap().unwrap_err();
            assert!(error.is_corruption() && error.to_string().contains(&file), "{error}");
        }
    });
}

/// Whatever the power cut leaves, a copy made of the changes before it goes on to agree with the store.
#[test]
fn a_copy_agrees_with_the_store_after_any_power_cut() {
    in_every_way(|mut story| {
        let mut replica = Replica::default();
        for (round, model_of_crash) in (0..12_u64).zip(CrashModel::ALL.into_iter().cycle()) {
            for n in 0..5 {
                let (key, value) = (format!("key{}", (round + n) % 7), format!("{round}.{n}"));
                let durability = if n == 2 { Durability::Always } else { Durability::Os };
                let options = PutOptions::new().durability(durability);
                assert!(story.db().put_with(&key, &value, &options).unwrap());
            }
            if round % 3 == 1 {
                story.rotate();
            }
            assert!(replica.catch_up(story.db()));
            story.disk = story.disk.crash(round, model_of_crash);
            story.db = None;
            story.open();
            assert!(replica.catch_up(story.db()), "round {round}");
            story.db().sync().unwrap();
            assert_eq!(replica.map, Map::of(story.db()), "round {round}");
        }
    });
}

#[test]
fn who_waits_is_woken_by_a_sync_and_by_the_close() {
    const COMMITS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let db =
        crate::open(dir.path(), Options::new().max_file_size(4096).durability(Durability::Always)).unwrap();
    let mut changes = db.changes(0).unwrap();
    assert!(!changes.wait(Duration::ZERO).unwrap());
    let all_have_come = Barrier::new(2);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut next = 0;
            loop {
                // Longer than any test: only a wake-up ends it.
                match changes.wait(Duration::from_secs(3_600)) {
                    Ok(true) => {}
                    Ok(false) => panic!("an hour has passed"),
                    Err(Error::Closed) => return next,
                    Err(error) => panic!("{error}"),
                }
                for commit in changes.by_ref() {
                    assert_eq!(text(&commit.unwrap()), format!("key{}={next}", next % 5));
                    next += 1;
                }
                if next == COMMITS {
                    all_have_come.wait();
                }
            }
        });
        for n in 0..COMMITS {
            db.put(format!("key{}", n % 5), n.to_string()).unwrap();
        }
        all_have_come.wait();
        db.close().unwrap();
        assert_eq!(watcher.join().unwrap(), COMMITS);
    });
}

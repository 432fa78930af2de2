//! The keydir as a whole: many threads, passes in digest order, the sums, and a panic under a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use super::*;

fn keydir() -> Keydir {
    Keydir::new([7; 16])
}

fn location(bits: u64) -> Location {
    Location::from_bits(bits).unwrap()
}

fn digests(keydir: &Keydir, prefix: &str, count: usize) -> Vec<Digest> {
    (0..count).map(|number| keydir.digest(format!("{prefix}{number}").as_bytes())).collect()
}

/// All entries, in pages of at most `limit`.
fn pass(keydir: &Keydir, limit: usize) -> Vec<(Digest, Location)> {
    let mut entries = Vec::new();
    let mut from = Some(Digest::FIRST);
    while let Some(start) = from {
        let before = entries.len();
        from = keydir.page(start, limit, &mut entries);
        assert!(entries.len() - before <= limit, "a page keeps its limit");
    }
    entries
}

fn assert_sums_hold(keydir: &Keydir) {
    let (mut count, mut bytes) = (0, 0);
    for shard in 0..SHARD_COUNT {
        let writer = keydir.write_shard(shard);
        count += writer.table.count() as u64;
        bytes += writer.table.memory_bytes() as u64;
    }
    assert_eq!(keydir.len(), count);
    assert_eq!(keydir.memory_bytes(), bytes);
}

#[test]
fn a_keydir_does_what_a_map_does() {
    let keydir = keydir();
    let mut model = BTreeMap::new();
    for (number, digest) in (1..).zip(digests(&keydir, "key", 5_000)) {
        assert_eq!(keydir.insert(digest, location(number)), None);
        model.insert(digest, location(number));
    }
    for (&digest, at) in model.iter_mut().step_by(2) {
        assert!(!keydir.replace(digest, location(9_999), location(1)));
        assert!(keydir.replace(digest, *at, location(6_000)));
        *at = location(6_000);
    }
    for digest in digests(&keydir, "key", 1_000) {
        assert!(!keydir.remove_if(digest, location(9_999)));
        let removed = model.remove(&digest);
        if removed == Some(location(6_000)) {
            assert!(keydir.remove_if(digest, location(6_000)));
        } else {
            assert_eq!(keydir.remove(digest), removed);
        }
        assert_eq!(keydir.get(digest), None);
    }
    assert_eq!(keydir.len(), 4_000);
    assert_sums_hold(&keydir);
    for limit in [1, 3, 1_000_000] {
        assert!(pass(&keydir, limit).into_iter().eq(model.clone()), "limit {limit}");
    }
}

#[test]
fn an_empty_keydir_takes_no_memory_for_entries_and_a_pass_over_it_ends() {
    let keydir = keydir();
    assert_eq!((keydir.len(), keydir.memory_bytes()), (0, 0));
    assert_eq!(pass(&keydir, 10), []);
}

#[test]
fn a_shard_writer_fills_a_shard_at_once() {
    let keydir = keydir();
    let mut sorted = digests(&keydir, "key", 20_000);
    sorted.sort();
    for shard in sorted.chunk_by(|left, right| left.shard() == right.shard()) {
        let mut writer = keydir.write_shard(shard[0].shard());
        writer.reserve(shard.len());
        for &digest in shard {
            assert_eq!(writer.insert(digest, location(1)), None);
            assert_eq!(writer.insert(digest, location(2)), Some(location(1)));
        }
        assert!(writer.replace(shard[0], location(2), location(3)));
        assert!(writer.remove_if(shard[0], location(3)));
        assert_eq!(writer.remove(shard[0]), None);
    }
    assert_eq!(keydir.len(), 20_000 - u64::from(SHARD_COUNT));
    assert_sums_hold(&keydir);
    keydir.clear();
    assert_eq!((keydir.len(), keydir.get(sorted[1])), (0, None));
    assert_sums_hold(&keydir);
}

#[test]
fn a_pass_meets_every_lasting_key_once_while_others_come_and_go() {
    let keydir = keydir();
    let lasting: BTreeSet<Digest> = digests(&keydir, "lasting", 10_000).into_iter().collect();
    for &digest in &lasting {
        keydir.insert(digest, location(1));
    }
    thread::scope(|scope| {
        let churners = ["left", "right"].map(|prefix| {
            let keydir = &keydir;
            scope.spawn(move || {
                // Enough keys to make every shard grow and shrink again.
                let passing = digests(keydir, prefix, 100_000);
                for _ in 0..3 {
                    passing.iter().for_each(|&digest| assert_eq!(keydir.insert(digest, location(2)), None));
                    passing.iter().for_each(|&digest| assert_eq!(keydir.remove(digest), Some(location(2))));
                }
            })
        });
        let mut passes = 0;
        while passes < 3 || !churners.iter().all(|churner| churner.is_finished()) {
            let entries = pass(&keydir, 1 + passes * 37 % 500);
            assert!(entries.is_sorted_by(|left, right| left.0 < right.0), "ascending, so each at most once");
            let met = entries.iter().filter(|(digest, _)| lasting.contains(digest)).count();
            assert_eq!(met, lasting.len());
            passes += 1;
        }
    });
    assert_eq!(keydir.len(), 10_000);
    assert_sums_hold(&keydir);
}

#[test]
fn of_many_who_replace_one_location_one_succeeds() {
    let keydir = keydir();
    let contended = digests(&keydir, "key", 1_000);
    for &digest in &contended {
        keydir.insert(digest, location(1));
    }
    let wins: usize = thread::scope(|scope| {
        let threads = [2, 3, 4].map(|own| {
            let (keydir, contended) = (&keydir, &contended);
            scope.spawn(move || {
                contended.iter().filter(|digest| keydir.replace(**digest, location(1), location(own))).count()
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, contended.len());
}

#[test]
fn a_panic_under_a_lock_leaves_the_shard_in_service() {
    let keydir = keydir();
    let digest = keydir.digest(b"key");
    let foreign = (digest.shard() + 1) % SHARD_COUNT;
    thread::scope(|scope| {
        scope.spawn(|| keydir.write_shard(foreign).insert(digest, location(1))).join().unwrap_err();
    });
    let native = Digest::first_of_shard(foreign).unwrap();
    assert_eq!(keydir.insert(native, location(2)), None);
    assert_eq!(keydir.get(native), Some(location(2)));
    assert_eq!(keydir.len(), 1);
    assert_sums_hold(&keydir);
}

//! Kills at any moment: what was acknowledged is there.

use std::path::Path;

use bitcask::{Bitcask, Io, Options};
use bitcask_testing::{Tier, say};

use crate::{start, tiny};

fn value(key: u64, n: u64) -> String {
    format!("{key} at {n} {}", "v".repeat(usize::try_from(n % 200).unwrap()))
}

/// Numbered writes over twenty keys, every fifth a delete; says each number that is acknowledged.
pub(crate) fn write_for_ever(store: &Path, options: Options) {
    let db = bitcask::open(store, options).unwrap();
    let start = db.get("next").unwrap().map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap());
    for n in start.. {
        let key = n * 7 % 20;
        if n % 5 == 4 {
            db.delete(key.to_string()).unwrap();
        } else {
            db.put(key.to_string(), value(key, n)).unwrap();
        }
        db.put("next", (n + 1).to_string()).unwrap();
        say(n);
    }
}

/// A small generator, so that a seed repeats a run as far as processes allow.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let ways = [
        (Io::Mapped, "write-mapped", 30),
        (Io::Syscall, "write-syscall", 14),
        (Io::Mapped, "write-json", 8),
        (Io::Syscall, "write-csv", 8),
    ];
    for (io, role, rounds) in ways {
        let rounds = Tier::pick(rounds, 1_000, 10_000);
        let dir = tempfile::tempdir().unwrap();
        let mut seed = 11;
        let mut total = 0;
        let mut follower: Option<Bitcask> = None;
        for round in 0..rounds {
            let message = format!("{role}, round {round}");
            let mut writer = start(role, dir.path());
            let mut last = None;
            for line in 0..1 + random(&mut seed) % 300 {
                last = Some(writer.line().expect("it writes until it is killed").parse::<u64>().unwrap());
                if let Some(follower) = follower.as_ref().filter(|_| line % 40 == 0) {
                    follower
                        .refresh()
                        .unwrap_or_else(|error| panic!("{message}, beside the writer: {error}"));
                    assert!(Some(next_of(follower)) > last, "{message}: the follower is behind {last:?}");
                }
            }
            let rest = writer.kill();
            let acknowledged = rest.last().map(|line| line.parse().unwrap()).or(last).unwrap();
            if let Some(follower) = &follower {
                follower.refresh().unwrap_or_else(|error| panic!("{message}, after the kill: {error}"));
                check_acknowledged(follower, acknowledged, &format!("{message}, follower"));
            }
            let db = bitcask::open(dir.path(), tiny(io)).unwrap_or_else(|error| panic!("{message}: {error}"));
            check_acknowledged(&db, acknowledged, &message);
            assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
            follower.get_or_insert_with(|| bitcask::open(dir.path(), Options::read_only()).unwrap());
            total = acknowledged;
        }
        println!("{role}: {rounds} kills, {total} writes");
    }
}

/// Up to the acknowledged write everything is there, and of what follows at most a write or two in order.
fn check_acknowledged(db: &Bitcask, acknowledged: u64, message: &str) {
    let next = next_of(db);
    assert!(next > acknowledged, "{message}: {acknowledged} is acknowledged, the store is at {next}");
    let expected = |writes: u64, key: u64| {
        let last = (0..writes).rev().take(200).find(|n| n * 7 % 20 == key)?;
        (last % 5 != 4).then(|| value(key, last).into_bytes())
    };
    for key in 0..20 {
        let found = db.get(key.to_string()).unwrap().map(|value| value.to_vec());
        // The write behind `next` may have come before the kill.
        let right = [expected(next, key), expected(next + 1, key)].contains(&found);
        assert!(right, "{message}: key {key} has {found:?} after {next} writes");
    }
}

fn next_of(db: &Bitcask) -> u64 {
    String::from_utf8_lossy(&db.get("next").unwrap().unwrap()).parse().unwrap()
}

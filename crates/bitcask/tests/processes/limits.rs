//! What limits of the system do: descriptors, the size of files, a full file system.

use std::path::Path;

use bitcask::{Durability, Io, MergeOptions, MergePolicy, Options};
use bitcask_testing::{Sweep, Tier, say};

use crate::calls;
use crate::canonical::{self, Account, Way};
use crate::{mounted, start_by};

/// Writes until that fails, and says how; then reads everything.
pub(crate) fn fill(store: &Path, io: Io, max_file_size: u64) {
    let options = Options::new().io(io).max_file_size(max_file_size).durability(Durability::Os);
    let db = match bitcask::open(store, options) {
        Ok(db) => db,
        Err(error) => return say(format!("open: {error}")),
    };
    let mut written = 0;
    let error = loop {
        match db.put(format!("key{written}"), format!("{written} {}", "x".repeat(1000))) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000_000, "nothing ever fails here");
    };
    assert!(db.status().poisoned.is_none(), "{error}");
    for n in 0..written {
        let value = db.get(format!("key{n}")).unwrap().unwrap();
        assert!(value.starts_with(format!("{n} ").as_bytes()));
    }
    say(format!("{} {written} {error}", if error.is_full() { "full" } else { "failed" }));
}

/// Runs `fill` under a limit; what it wrote is there afterwards.
fn fill_under(limit: &str, role: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut other = start_by(&format!("{limit} exec"), role, dir.path());
    let said = other.line().unwrap_or_default();
    assert!(said.starts_with(expected), "{role} under {limit}: {said:?}");
    println!("{role} under {limit} {said}");
    drop(other);
    let written: usize = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(written > 0, "{said}");
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    for n in 0..written {
        assert!(db.contains(format!("key{n}")).unwrap(), "{role} under {limit}: key{n}");
    }
}

#[test]
fn too_few_file_descriptors_are_a_clear_error_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        fill_under("ulimit -n 24;", role, "full");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    for role in ["fill-large-mapped", "fill-large-syscall"] {
        // In units of 512 bytes: less than a data file, more than its first allocation.
        fill_under("trap '' XFSZ; ulimit -f 5120;", role, "full");
    }
}

#[test]
fn a_full_file_system_is_an_error_that_says_so_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(exec) = mounted("mount -t tmpfs -o size=1m tmpfs DIR", dir.path()) else { return };
        let mut other = start_by(&exec, role, dir.path());
        let said = other.line().unwrap_or_default();
        println!("{role} on a small tmpfs: {said}");
        assert!(said.starts_with("full"), "{said}");
    }
}

/// A canonical run under a limit: each failure says what is short, and what was acknowledged stays. Returns whether all
/// went well.
fn run_under(limit: &str, way: Way, short: &[&str]) -> bool {
    let dir = calls::place();
    let store = dir.path().join("store");
    let (lines, status) = start_by(&format!("{limit} exec"), &way.role(), &store).end();
    assert!(status.success(), "{status}: {lines:#?}");
    let account = Account::of(&lines);
    for failure in &account.failures {
        assert!(short.iter().any(|short| failure.contains(short)), "{failure}");
    }
    account.check_end();
    canonical::check(&store, way, &account.states);
    account.failures.is_empty()
}

#[test]
fn however_few_descriptors_there_are_an_open_a_rotation_or_a_merge_fails_cleanly() {
    let sweep = Sweep::new("however_few_descriptors_there_are_an_open_a_rotation_or_a_merge_fails_cleanly");
    for way in &Way::ALL[..Tier::pick(2, 6, 6)] {
        let run = |limit: u32| {
            let case = format!("{}-{limit}", way.name);
            sweep.case(case, |_| {
                run_under(&format!("ulimit -n {limit};"), *way, &["too many open files", "closed"])
            })
        };
        let went_well: Vec<bool> = (8..=64).filter_map(run).collect();
        assert!(!sweep.is_whole() || (!went_well[0] && went_well[56]), "8 are too few, and 64 are enough");
    }
    sweep.finish(2 * 57);
}

/// Where a file had no room for its footer, the part that fitted stayed behind, and `verify` called it damage until the next
/// open. Found by this sweep.
#[test]
fn however_short_files_must_stay_an_open_a_rotation_or_a_merge_fails_cleanly() {
    let sweep = Sweep::new("however_short_files_must_stay_an_open_a_rotation_or_a_merge_fails_cleanly");
    for way in &Way::ALL[..Tier::pick(2, 6, 6)] {
        let run = |limit: u32| {
            let case = format!("{}-{limit}", way.name);
            // In units of 512 bytes.
            let limit = format!("trap '' XFSZ; ulimit -f {limit};");
            sweep.case(case, |_| run_under(&limit, *way, &["File too large", "closed"]))
        };
        let went_well: Vec<bool> = (0..=20).filter_map(run).collect();
        assert!(!sweep.is_whole() || (!went_well[0] && went_well[20]), "10 KiB are enough");
    }
    sweep.finish(2 * 21);
}

/// What exists is opened whole or not at all.
#[test]
fn a_store_of_more_files_than_there_are_descriptors_is_refused_and_stays_whole() {
    let dir = calls::place();
    let store = dir.path().join("store");
    let options = Options::new().max_file_size(4096).merge(MergeOptions::new().policy(MergePolicy::Never));
    let db = bitcask::open(&store, options).unwrap();
    for n in 0..100 {
        db.put(format!("key{n}"), "v".repeat(1000)).unwrap();
    }
    db.put("key", "value").unwrap();
    db.close().unwrap();
    let (mut refused, mut opened) = (0, 0);
    for limit in 8..=64 {
        let (said, status) = start_by(&format!("ulimit -n {limit}; exec"), "look", &store).end();
        assert!(status.success(), "{limit}: {said:?}");
        for said in said {
            match said.as_str() {
                "opened" | "read value" => opened += 1,
                error => {
                    assert!(error.contains("too many open files"), "{limit}: {error}");
                    refused += 1;
                }
            }
        }
        assert_eq!(bitcask::verify(&store).unwrap().damage, []);
    }
    assert!(refused > 20 && opened > 20, "{refused} were refused, {opened} went well");
    assert_eq!(bitcask::open(&store, Options::default()).unwrap().len(), 101);
}

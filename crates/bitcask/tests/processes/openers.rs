//! Who may open a store: one writer at a time, whoever died holds nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use bitcask::{Bitcask, Error, Options};
use bitcask_testing::{OtherProcess, Tier, say, wait_for_parent};

use crate::{IOS, start, tiny};

pub(crate) fn hold(store: &Path) {
    match bitcask::open(store, Options::default()) {
        Ok(db) => {
            db.put("holder", "here").unwrap();
            say("open");
            wait_for_parent();
            db.close().unwrap();
        }
        Err(error) if error.is_locked() => say("locked"),
        Err(error) => say(error),
    }
}

#[test]
fn of_many_racing_openers_exactly_one_wins_and_the_others_are_told_at_once() {
    let rounds = Tier::pick(3, 100, 1000);
    let (threads, children) = (80, 20);
    for _ in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let mut others: Vec<OtherProcess> = (0..children).map(|_| start("hold", dir.path())).collect();
        let barrier = Barrier::new(threads);
        let opened: Vec<Result<Bitcask, Error>> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                bitcask::open(dir.path(), Options::default())
            };
            let racers: Vec<_> = (0..threads).map(|_| scope.spawn(open)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let said: Vec<String> = others.iter_mut().map(|other| other.line().unwrap()).collect();
        let winners = opened.iter().filter(|opened| opened.is_ok()).count()
            + said.iter().filter(|said| *said == "open").count();
        assert_eq!(winners, 1, "{said:?}");
        for error in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            assert!(error.is_locked(), "{error}");
        }
        assert!(said.iter().all(|said| said == "open" || said == "locked"), "{said:?}");
    }
    println!("{rounds} rounds of {threads} threads and {children} processes");
}

#[test]
fn after_the_holder_is_killed_the_next_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut holder = start("hold", dir.path());
        assert_eq!(holder.line().as_deref(), Some("open"));
        assert!(bitcask::open(dir.path(), Options::default()).unwrap_err().is_locked());
        assert!(bitcask::open(dir.path(), Options::read_only()).unwrap().contains("holder").unwrap());
        holder.kill();
        let db = bitcask::open(dir.path(), Options::default()).unwrap();
        assert_eq!(db.get("holder").unwrap().as_deref(), Some(&b"here"[..]));
    }
}

/// A process started while the store is open does not inherit the lock. (A bare `fork` without `exec` would: the
/// child keeps the store locked until it ends, and must not use the handle.)
#[test]
fn a_program_started_meanwhile_does_not_hold_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    db.close().unwrap();
    bitcask::open(dir.path(), Options::default()).unwrap().close().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_writer_whose_lock_file_was_removed_stops_at_the_next_rotation() {
    for io in IOS {
        let dir = tempfile::tempdir().unwrap();
        let db = bitcask::open(dir.path(), tiny(io)).unwrap();
        std::fs::remove_file(dir.path().join("LOCK")).unwrap();
        let error = (0..1000).find_map(|n| db.put(format!("key{n}"), "v".repeat(100)).err());
        let error = error.expect("the writer notices");
        let cause = db.status().poisoned.unwrap();
        assert!(cause.contains("LOCK"), "{cause}");
        assert!(error.is_poisoned() || error.to_string().contains("LOCK"), "{error}");
        assert!(db.get("key0").unwrap().is_some(), "reads go on");
    }
}

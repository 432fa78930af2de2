//! `clear`: all keys or none, and only when it is meant.

use crate::run::{Place, args, bitcask, data_files};

#[test]
fn a_store_is_cleared_only_when_that_is_said_twice() {
    let place = Place::new();
    let store = place.store();
    for n in 0..20 {
        bitcask(args!["put", &store, format!("key {n}"), "value", "--max-file-size", "200"]).done();
    }
    let files = data_files(&store).len();
    assert!(files > 5);
    let run = bitcask(args!["clear", &store]).exits(2);
    assert!(run.stderr.contains("--yes"), "{}", run.stderr);
    bitcask(args!["count", &store]).done().prints("20\n");
    assert_eq!(data_files(&store).len(), files);

    let run = bitcask(args!["clear", &store, "--yes"]).done();
    assert!(run.text().starts_with("removed 20 keys, ") && run.text().lines().count() == 1, "{}", run.text());
    bitcask(args!["count", &store]).done().prints("0\n");
    bitcask(args!["verify", &store]).done();
    assert!(data_files(&store).len() <= 2);
    bitcask(args!["put", &store, "key 1", "again"]).done();
    bitcask(args!["get", &store, "key 1"]).done().prints("again");

    let report = bitcask(args!["clear", &store, "--yes", "--json"]).done().json();
    assert_eq!((&report["keys"], &report["not_removed"]), (&1.into(), &[(); 0][..].into()));
    assert!(report["files"].as_u64() > Some(0) && report["bytes"].as_u64() > Some(0));
}

#[test]
fn a_store_that_is_open_elsewhere_or_missing_is_not_cleared() {
    let place = Place::new();
    let store = place.store();
    let writer = bitcask::open(&store, bitcask::Options::new()).unwrap();
    writer.put("key", "value").unwrap();
    bitcask(args!["clear", &store, "--yes"]).exits(4).says("open for writing elsewhere");
    bitcask(args!["clear", place.path("missing"), "--yes"]).exits(4).says("store");
    assert!(!place.path("missing").exists());
    assert_eq!(writer.len(), 1);
}

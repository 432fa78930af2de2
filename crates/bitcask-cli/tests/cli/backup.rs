//! `backup restore`: there and back, later backups, and what is refused.

use crate::run::{Place, args, bitcask, damage, data_files};

#[test]
fn a_backup_is_brought_up_to_date_and_restored() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2")]);
    let (copy, again) = (place.path("copy"), place.path("again"));
    let run = bitcask(args!["backup", &store, &copy]).done();
    assert!(run.text().starts_with("backed up 2 files, ") && run.stderr.is_empty(), "{}", run.text());
    bitcask(args!["put", &store, "c", "3"]).done();
    assert_eq!(bitcask(args!["keys", &copy]).done().sorted_lines(), ["a", "b"]);
    bitcask(args!["verify", &copy]).done();
    let report = bitcask(args!["backup", &store, &copy, "--json"]).done().json();
    assert_eq!(report["files"].as_u64(), report["copied"].as_u64());
    assert!(report["bytes"].as_u64().unwrap() > 100 && report["seconds"].is_f64());
    assert_eq!(bitcask(args!["scan", &copy]).done().sorted_lines(), ["a\t1", "b\t2", "c\t3"]);

    bitcask(args!["restore", &copy, &again]).done();
    assert_eq!(bitcask(args!["scan", &again]).done().sorted_lines(), ["a\t1", "b\t2", "c\t3"]);
    let report = bitcask(args!["restore", &copy, place.path("third"), "--json"]).done().json();
    assert_eq!(report["files"], 2);
    assert!(report["records"].as_u64().unwrap() >= 5);
}

#[test]
fn what_is_no_place_for_it_is_refused() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    let copy = place.path("copy");
    bitcask(args!["backup", &store, &store]).exits(4).says("nothing was written to");
    bitcask(args!["backup", &store, store.join("inside")]).exits(4).says("lies in it");
    assert!(!store.join("inside").exists());
    place.write("site/index.html", "hello");
    bitcask(args!["backup", &store, place.path("site")]).exits(4).says("index.html");
    bitcask(args!["backup", place.path("missing"), &copy]).exits(4).says("missing");
    assert!(!copy.exists());
    bitcask(args!["restore", place.path("missing"), &copy]).exits(4).says("missing");
    bitcask(args!["backup", &store, &copy]).done();
    bitcask(args!["restore", &copy, place.path("site")]).exits(4).says("index.html");
    bitcask(args!["put", &copy, "a", "of the backup"]).done();
    bitcask(args!["backup", &store, &copy]).exits(4).says("opened for writing");
    bitcask(args!["get", &copy, "a"]).done().prints("of the backup");
}

#[test]
fn a_damaged_backup_is_exit_code_3_and_no_store_is_made() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"value of a"), (b"b", b"value of b")]);
    let (copy, again) = (place.path("copy"), place.path("again"));
    bitcask(args!["backup", &store, &copy]).done();
    let file = damage(&copy, b"value of b");
    let run = bitcask(args!["restore", &copy, &again]).exits(3);
    assert!(run.stdout.is_empty());
    run.says(file.file_name().unwrap().to_str().unwrap());
    bitcask(args!["get", &again, "a"]).exits(4).says("is not a Bitcask store");
    assert!(data_files(&again).is_empty());
}

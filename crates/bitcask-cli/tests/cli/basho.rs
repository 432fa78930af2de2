//! `import --from-basho`.

use crate::basho_files::Files;
use crate::run::{Place, args, bitcask};

/// Two partitions with something of everything that is no damage.
fn source(place: &Place) -> std::path::PathBuf {
    let source = place.path("riak");
    let (first, second) = (source.join("0"), source.join("91343852333181432387730302044767688728495783936"));
    Files::default().entry(1, b"a", b"1").entry(1, b"b", b"\xff").entry(1, b"c", b"1").write(&first, 1);
    Files::default().entry(2, b"a", b"2").entry(2, b"c", b"bitcask_tombstone").write_data(&first, 2);
    let mut torn = Files::default();
    torn.entry(3, b"a", b"3").entry(3, b"d", b"bitcask_tombstones").entry(3, b"torn", b"123");
    torn.data.pop();
    torn.write_data(&second, 7);
    std::fs::write(second.join("7.bitcask.hint"), &torn.hint).unwrap();
    std::fs::write(second.join("stray"), "").unwrap();
    source
}

#[test]
fn an_import_reports_everything_and_can_be_done_again() {
    let place = Place::new();
    let (source, store) = (source(&place), place.store());
    let run = bitcask(args!["import", &store, "--from-basho", &source]).done();
    let source_name = source.display().to_string();
    let report = run.text().replace(&source_name, "SOURCE");
    let lines: Vec<_> = report.lines().collect();
    assert!(lines[0].starts_with("imported 3 entries"), "{report}");
    let expected = [
        "source: 7 entries in 3 data files of 2 partitions, 165 B",
        "entries: 3 taken, 2 overwritten, 1 tombstone (version 0: 1, 1: 0, 2: 0), 1 taken from another partition, \
         0 expired, 0 refused",
        "hint files: 1 sound, 1 without trailer, 0 damaged, 0 disagreeing",
        "torn tail: SOURCE/91343852333181432387730302044767688728495783936/7.bitcask.data at byte 49: an unfinished \
         write, as a crash leaves it (20 bytes)",
        "taken: SOURCE/91343852333181432387730302044767688728495783936/7.bitcask.data at byte 16: the value only begins \
         like a tombstone",
        "hint file without trailer: SOURCE/91343852333181432387730302044767688728495783936/7.bitcask.hint: it was not \
         used",
        "not read: SOURCE/91343852333181432387730302044767688728495783936/stray is not a file of Bitcask",
    ];
    assert_eq!(lines[1..], expected);
    let scan = || bitcask(args!["scan", &store, "--json"]).done();
    let first = scan();
    let entries = [
        r#"{"key":"a","value":"3"}"#,
        r#"{"key":"b","value64":"/w=="}"#,
        r#"{"key":"d","value":"bitcask_tombstones"}"#,
    ];
    assert_eq!(first.sorted_lines(), entries);

    let report = bitcask(args!["import", &store, "--from-basho", &source, "--json"]).done().json();
    assert_eq!(scan().sorted_lines(), entries);
    assert_eq!((&report["imported"], &report["basho"]["entries"]), (&3.into(), &7.into()));
    assert_eq!(report["basho"]["torn_tails"]["listed"][0]["offset"], 49);
    assert_eq!(report["basho"]["tombstones"]["v0"], 1);
    assert_eq!(report["basho"]["damage"], serde_json::json!({"count": 0, "bytes": 0, "listed": []}));
}

#[test]
fn damage_is_exit_code_3_and_everything_else_is_imported() {
    let place = Place::new();
    let (source, store) = (place.path("source"), place.store());
    let mut files = Files::default();
    files.entry(1, b"a", b"1").entry(1, b"b", b"2").entry(1, b"c", b"3");
    files.data[31] ^= 1;
    files.write(&source, 1);
    let run = bitcask(args!["import", &store, "--from-basho", &source]).exits(3);
    let run = run.says("damage was found in 1 place of the source (16 bytes)");
    assert!(run.text().starts_with("imported 2 entries"), "{}", run.text());
    let line = "1.bitcask.data at byte 16: the checksum of the entry does not fit; by the hint file its key is \"b\" \
                (16 bytes)\n";
    assert!(run.text().contains(line), "{}", run.text());
    assert_eq!(bitcask(args!["keys", &store]).done().sorted_lines(), ["a", "c"]);
    let report = bitcask(args!["import", &store, "--from-basho", &source, "--json"]).exits(3).json();
    assert_eq!(report["basho"]["damage"]["listed"][0]["offset"], 16);
}

#[test]
fn refused_keys_are_exit_code_4_and_the_others_are_imported() {
    let place = Place::new();
    let (source, store) = (place.path("source"), place.store());
    let mut files = Files::default();
    files.entry(1, b"\x02\0\x05usersada", b"1").entry(1, b"plain", b"2").write(&source, 1);
    let run = bitcask(args!["import", &store, "--from-basho", &source, "--riak-keys"]).exits(4);
    let run = run.says("1 thing was refused or not read");
    assert!(run.text().contains("at byte 26: the key is not one of Riak\n"), "{}", run.text());
    bitcask(args!["keys", &store]).done().prints("users/ada\n");
}

#[test]
fn no_store_is_made_where_the_source_is_refused() {
    let place = Place::new();
    let (source, store) = (place.path("source"), place.store());
    let import = || bitcask(args!["import", &store, "--from-basho", &source]);
    import().exits(4).says("cannot read");
    std::fs::create_dir(&source).unwrap();
    import().exits(4).says("there is neither a data file of Bitcask");
    Files::default().entry(1, b"a", b"1").write(&source, 1);
    std::fs::write(source.join("bitcask.write.lock"), "99 1.bitcask.data\n").unwrap();
    import().exits(4).says("process 99 has the directory open").says("--ignore-lock");
    let inside = source.join("store");
    bitcask(args!["import", &inside, "--from-basho", &source]).exits(2).says("the store lies inside");
    assert!(!store.exists() && !inside.exists());
    bitcask(args!["import", &store, "--from-basho", &source, "--ignore-lock"]).done();
    bitcask(args!["get", &store, "a"]).done().prints("1");
}

#[test]
fn what_the_source_has_deleted_stays_in_a_store_that_has_it() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"mine"), (b"b", b"mine")]);
    let source = place.path("source");
    Files::default().entry(1, b"a", b"1").tombstone(2, b"a").entry(3, b"b", b"theirs").write(&source, 1);
    bitcask(args!["import", &store, "--from-basho", &source]).done();
    bitcask(args!["get", &store, "a"]).done().prints("mine");
    bitcask(args!["get", &store, "b"]).done().prints("theirs");
}

#[test]
fn expired_values_are_left_out_and_counted() {
    let place = Place::new();
    let source = place.path("source");
    Files::default().entry(1_000_000_000, b"old", b"1").entry(u32::MAX, b"new", b"1").write(&source, 1);
    let words = args!["import", place.store(), "--from-basho", &source, "--expiry-secs", "86400", "--json"];
    let report = bitcask(words).done().json();
    assert_eq!((&report["imported"], &report["basho"]["expired"]), (&1.into(), &1.into()));
    bitcask(args!["keys", place.store()]).done().prints("new\n");
}

#[cfg(unix)]
#[test]
fn files_that_are_pending_deletion_are_named_and_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let (source, store) = (place.path("source"), place.store());
    Files::default().entry(1, b"deleted", b"1").write(&source, 1);
    Files::default().entry(1, b"kept", b"1").write(&source, 2);
    let pending = std::fs::Permissions::from_mode(0o645);
    std::fs::set_permissions(source.join("1.bitcask.data"), pending).unwrap();
    let run = bitcask(args!["import", &store, "--from-basho", &source]).done();
    assert!(run.text().ends_with("1.bitcask.data: not read (22 bytes)\n"), "{}", run.text());
    bitcask(args!["keys", &store]).done().prints("kept\n");
    bitcask(args!["import", &store, "--from-basho", &source, "--take-pending"]).done();
    assert_eq!(bitcask(args!["keys", &store]).done().sorted_lines(), ["deleted", "kept"]);
}

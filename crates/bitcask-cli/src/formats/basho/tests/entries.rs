//! What becomes of entries that are sound.

use std::time::SystemTime;

use super::*;

#[test]
fn the_last_entry_of_a_key_counts_by_file_id_and_offset() {
    let place = Place::new();
    // Neither the names in their alphabetical order nor the timestamps say which one is later.
    Files::default()
        .entry(30, b"a", b"1")
        .entry(30, b"b", b"1")
        .entry(20, b"b", b"2")
        .write(&place.path(), 2);
    Files::default().entry(10, b"a", b"2").entry(10, b"c", b"").write(&place.path(), 10);
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("a", "2"), ("b", "2"), ("c", "")]));
    assert_eq!((findings.files, findings.entries, findings.overwritten, findings.partitions), (2, 5, 2, 0));
    assert_eq!(findings.hints.sound, 2);
    assert_clean(&findings);
}

#[test]
fn tombstones_of_all_versions_delete_and_are_counted() {
    let place = Place::new();
    let mut files = Files::default();
    for key in ["a", "b", "c", "d", "e"] {
        files.entry(1, key.as_bytes(), b"1");
    }
    files.write(&place.path(), 1);
    Files::default()
        .entry(2, b"a", b"bitcask_tombstone")
        .entry(2, b"b", b"bitcask_tombstone1\0\0\0\x01")
        .tombstone(2, b"c")
        // As Bitcask does when it puts a key whose old value lies in another file.
        .tombstone(2, b"d")
        .entry(2, b"d", b"2")
        .tombstone(2, b"never there")
        .write(&place.path(), 2);
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("d", "2"), ("e", "1")]));
    let tombstones = &findings.tombstones;
    assert_eq!((tombstones.v0, tombstones.v1, tombstones.v2, findings.overwritten), (1, 1, 3, 4));
    assert_clean(&findings);
}

#[test]
fn a_value_that_only_begins_like_a_tombstone_is_taken_and_reported() {
    let place = Place::new();
    let mut files = Files::default();
    files.entry(1, b"a", b"1").entry(1, b"a", b"bitcask_tombstones").write(&place.path(), 1);
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("a", "bitcask_tombstones")]));
    assert_eq!(findings.like_tombstone.count, 1);
    assert!(findings.like_tombstone.listed[0].file.ends_with("1.bitcask.data"));
    assert_eq!(findings.like_tombstone.listed[0].offset, 16);
}

#[test]
fn long_entries_are_whole() {
    let place = Place::new();
    let (long, longer) = (vec![7; 300_000], vec![9; 700_001]);
    let mut files = Files::default();
    files.entry(1, b"long", &long).entry(1, b"longer", &longer).entry(1, &[b'k'; 65_535], b"short");
    files.entry(1, b"last", &long).write(&place.path(), 1);
    let (found, findings) = place.import();
    assert_eq!(found[&b"long"[..]], long);
    assert_eq!(found[&b"longer"[..]], longer);
    assert_eq!(found[&[b'k'; 65_535][..]], b"short");
    assert_eq!(found[&b"last"[..]], long);
    assert_clean(&findings);
}

#[test]
fn a_value_over_the_limit_is_named_with_the_remedy() {
    let place = Place::new();
    Files::default().entry(1, b"a", b"1").entry(1, b"b", b"12345").write(&place.path(), 1);
    let limit = |max_value_size| BashoOptions { max_value_size, ..options() };
    let failure = place.try_import(&limit(4)).unwrap_err().to_string();
    assert!(failure.starts_with("the entry at byte 16 of "), "{failure}");
    assert!(
        failure.ends_with("the value has 5 bytes, a value at most 4: give --max-value-size"),
        "{failure}"
    );
    assert_eq!(place.import_with(&limit(5)).0.len(), 2);
}

#[test]
fn an_empty_key_is_refused_and_named() {
    let place = Place::new();
    Files::default().entry(1, b"a", b"1").entry(1, b"", b"2").write(&place.path(), 1);
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("a", "1")]));
    assert_eq!(
        (findings.refused.listed[0].offset, findings.refused.listed[0].what.as_str()),
        (16, "the key is empty")
    );
    assert_eq!(findings.missed(), 1);
}

#[test]
fn both_kinds_of_riak_keys_are_the_same_key() {
    let place = Place::new();
    Files::default()
        .entry(1, b"\x83\x68\x02\x6d\0\0\0\x01b\x6d\0\0\0\x01k", b"old")
        .entry(1, b"\x02\0\x01bk", b"new")
        .entry(1, b"\x02\0\x01bgone", b"1")
        .tombstone(2, b"\x83\x68\x02\x6d\0\0\0\x01b\x6d\0\0\0\x04gone")
        .entry(1, b"\x03\0\x01t\0\x01ba/b", b"typed")
        .entry(1, b"no key of Riak", b"x")
        .write(&place.path(), 1);
    let riak = BashoOptions { keys: Keys::Riak, ..options() };
    let (found, findings) = place.import_with(&riak);
    assert_eq!(found, pairs([("b/k", "new"), ("t/b/a%2Fb", "typed")]));
    assert_eq!(findings.refused.count, 1);
    assert_eq!(findings.refused.listed[0].what, "the key is not one of Riak");

    let (raw, findings) = place.import();
    assert_eq!(raw.len(), 5);
    assert_eq!(raw[&b"\x02\0\x01bk"[..]], b"new");
    assert_clean(&findings);
}

#[test]
fn a_key_that_escaping_makes_too_long_is_refused() {
    let place = Place::new();
    let key = [&b"\x02\0\x01b"[..], &[b'/'; 30_000]].concat();
    Files::default().entry(1, &key, b"1").write(&place.path(), 1);
    let (found, findings) = place.import_with(&BashoOptions { keys: Keys::Riak, ..options() });
    assert_eq!((found.len(), findings.refused.count), (0, 1));
    assert!(findings.refused.listed[0].what.contains("65535"));
}

#[test]
fn what_is_older_than_the_expiry_is_left_out_with_all_that_it_replaced() {
    let place = Place::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = u32::try_from(now).unwrap();
    Files::default()
        .entry(now - 1_000_000, b"old", b"1")
        .entry(now - 10, b"new", b"1")
        .entry(now - 10, b"back in time", b"1")
        .entry(now - 1_000_000, b"back in time", b"2")
        .entry(now - 1_000_000, b"renewed", b"1")
        .entry(now + 1_000, b"renewed", b"2")
        .write(&place.path(), 1);
    let (found, findings) = place.import_with(&BashoOptions { expiry_secs: Some(100_000), ..options() });
    assert_eq!(found, pairs([("new", "1"), ("renewed", "2")]));
    assert_eq!((findings.expired, findings.overwritten), (2, 2));
    assert_eq!(place.import().0.len(), 4);
    assert_eq!(place.import_with(&BashoOptions { expiry_secs: Some(u64::MAX), ..options() }).0.len(), 4);
}

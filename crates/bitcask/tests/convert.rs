//! A store keeps everything but its form when it is written anew in another format.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bitcask::{Entry, Error, LogFormat, Options, PutOptions};

fn entries(store: &Path) -> BTreeMap<Vec<u8>, Entry> {
    let db = bitcask::open(store, Options::read_only()).unwrap();
    db.keys()
        .map(|key| {
            let key = key.unwrap();
            let entry = db.get_entry(&key).unwrap().unwrap();
            (key, entry)
        })
        .collect()
}

/// Files so small that there are many; overwrites, deletes, expiries, and bytes that are no text.
fn fill(store: &Path) {
    let db = bitcask::open(store, Options::new().max_file_size(700)).unwrap();
    for n in 0..100_u8 {
        db.put(format!("key {}", n % 60), format!("value \"{n}\", of many")).unwrap();
    }
    db.put([0, 255, b'\n'], (0..=255).collect::<Vec<u8>>()).unwrap();
    db.put("large", "x".repeat(600_000)).unwrap();
    db.put("empty", "").unwrap();
    let expires = PutOptions::new().expires_in(Duration::from_secs(3_600));
    db.put_with("expires", "in an hour", &expires).unwrap();
    let gone = PutOptions::new().expires_at(SystemTime::UNIX_EPOCH);
    db.put_with("gone", "long ago", &gone).unwrap();
    db.delete("key 7").unwrap();
    db.close().unwrap();
}

#[test]
fn every_key_keeps_its_value_timestamp_and_expiry_through_all_formats() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = dir.path().join("first");
    fill(&store);
    let first = entries(&store);
    assert_eq!(first.len(), 63);
    let formats = [LogFormat::Json, LogFormat::Csv, LogFormat::Binary, LogFormat::Csv, LogFormat::Json];
    for (n, format) in formats.into_iter().enumerate() {
        let next = dir.path().join(n.to_string());
        assert_eq!(bitcask::convert(&store, &next, Options::new().format(format)).unwrap(), 63);
        assert_eq!(entries(&next), first, "{format:?}");
        assert_eq!(bitcask::verify(&next).unwrap().damage, []);
        store = next;
    }
    let db = bitcask::open(&store, Options::new()).unwrap();
    assert_eq!(db.status().format, LogFormat::Json);
    assert!(db.status().recovery.clean);
    db.put("later", "1").unwrap();
    let newest = first.values().map(|entry| entry.timestamp_us).max();
    assert!(Some(db.get_entry("later").unwrap().unwrap().timestamp_us) > newest);
}

#[test]
fn progress_counts_each_byte_when_it_is_copied_and_when_it_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (store, text) = (dir.path().join("store"), dir.path().join("text"));
    fill(&store);
    let mut seen = Vec::new();
    bitcask::convert_with(&store, &text, Options::new().format(LogFormat::Json), &mut |progress| {
        seen.push((progress.done, progress.total));
    })
    .unwrap();
    let live = bitcask::open(&store, Options::read_only()).unwrap().status().live_bytes;
    assert_eq!((seen.first(), seen.last()), (Some(&(0, live * 2)), Some(&(live * 2, live * 2))));
    assert!(seen.is_sorted());
    // Key by key, then file by file.
    assert!(seen.contains(&(live, live * 2)) && seen.iter().filter(|(done, _)| *done < live).count() >= 62);
}

#[test]
fn a_target_that_is_not_empty_and_a_damaged_source_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, target) = (dir.path().join("store"), dir.path().join("target"));
    fill(&store);
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("notes.txt"), "mine").unwrap();
    let error = bitcask::convert(&store, &target, Options::new().format(LogFormat::Csv)).unwrap_err();
    assert!(matches!(&error, Error::UnfitTarget { reason, .. } if reason.contains("not empty")), "{error}");
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
    assert!(matches!(
        bitcask::convert(&store, &store, Options::new().format(LogFormat::Csv)),
        Err(Error::UnfitTarget { .. })
    ));
    let inside = store.join("inside");
    assert!(matches!(
        bitcask::convert(&store, inside, Options::new().format(LogFormat::Csv)),
        Err(Error::UnfitTarget { .. })
    ));

    let damaged = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(10).any(|window| window == b"value \"98\"")
    });
    let damaged = damaged.unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let at = bytes.windows(10).position(|window| window == b"value \"98\"").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let error =
        bitcask::convert(&store, dir.path().join("bad"), Options::new().format(LogFormat::Csv)).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    let left = bitcask::open(dir.path().join("bad"), Options::read_only()).unwrap_err();
    assert!(matches!(left, Error::NotAStore { .. }), "a half copy is no store: {left}");
}

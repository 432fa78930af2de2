//! Backup, restore and repair of stores whose log is text.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;

use bitcask::{LogFormat, Options, Repair};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(store: &Path) -> Map {
    let db = bitcask::open(store, Options::read_only()).unwrap();
    assert_ne!(db.status().format, LogFormat::Binary);
    db.iter().map(|entry| entry.map(|(key, value)| (key, value.into_vec())).unwrap()).collect()
}

fn fill(store: &Path, format: LogFormat) -> bitcask::Bitcask {
    let db = bitcask::open(store, Options::new().format(format).max_file_size(2_000)).unwrap();
    for n in 0..80 {
        db.put(format!("key {n}"), format!("value, \"{n}\"")).unwrap();
    }
    db.put("large", "x".repeat(400_000)).unwrap();
    db.put("after", "it").unwrap();
    db
}

#[test]
fn a_text_store_is_backed_up_while_open_and_restored() {
    for format in [LogFormat::Json, LogFormat::Csv] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let db = fill(&path("store"), format);
        db.backup(path("backup")).unwrap();
        db.put("key 1", "later").unwrap();
        db.backup(path("backup")).unwrap();
        db.close().unwrap();
        bitcask::restore(path("backup"), path("restored")).unwrap();
        assert_eq!(contents(&path("restored")), contents(&path("store")), "{format:?}");
        assert_eq!(bitcask::verify(path("restored")).unwrap().damage, []);
    }
}

#[test]
fn the_manifest_of_a_text_store_is_made_anew_and_what_is_sound_of_a_damaged_one_is_salvaged() {
    for format in [LogFormat::Json, LogFormat::Csv] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fill(&path("store"), format).close().unwrap();
        let whole = contents(&path("store"));
        std::fs::remove_file(path("store/MANIFEST")).unwrap();
        bitcask::repair(path("store"), &Repair::Manifest).unwrap();
        assert_eq!(contents(&path("store")), whole, "{format:?}");

        // One line in the middle of a file, and another right before the longest one.
        let mut damaged = 0;
        for entry in std::fs::read_dir(path("store")).unwrap() {
            let file = entry.unwrap().path();
            let mut bytes = std::fs::read(&file).unwrap();
            for key in ["key 40", "key 79"] {
                let is_data = file.extension().is_some_and(|it| it == "jsonl" || it == "csv");
                if let Some(at) = bytes.windows(6).position(|it| it == key.as_bytes()).filter(|_| is_data) {
                    bytes[at] ^= 1;
                    damaged += 1;
                }
            }
            std::fs::write(&file, bytes).unwrap();
        }
        assert_eq!(damaged, 2);
        bitcask::repair(path("store"), &Repair::Salvage(path("salvaged"))).unwrap();
        let mut rest = whole.clone();
        rest.remove(&b"key 40"[..]);
        rest.remove(&b"key 79"[..]);
        assert_eq!(contents(&path("salvaged")), rest, "{format:?}");
    }
}

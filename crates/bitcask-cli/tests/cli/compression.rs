//! `--compression`, and what the other verbs make of values that are compressed.

use crate::run::{Place, args, bitcask, data_files};

/// The records of all data files, as `dump` tells them.
fn records(store: &std::path::Path) -> Vec<serde_json::Value> {
    let dump = |file| bitcask(args!["dump", &file, "--json"]).done().text().to_owned();
    let lines = data_files(store).into_iter().map(dump).collect::<String>();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the last value of a key is compressed by.
fn compression(store: &std::path::Path, key: &str) -> Option<String> {
    let record = records(store).into_iter().rfind(|record| record["key"] == key).unwrap();
    record["compression"].as_str().map(str::to_owned)
}

#[test]
fn values_of_all_kinds_are_written_and_read_in_one_store() {
    let text = "{\"name\":\"Ada Lovelace\"} ".repeat(50);
    for format in ["binary", "json", "csv"] {
        let place = Place::new();
        let store = place.store();
        for how in ["none", "lz4", "zstd", "zstd:19"] {
            bitcask(args!["put", &store, how, &text, "--compression", how, "--format", format]).done();
        }
        bitcask(args!["put", &store, "short", &text[..200], "--compression", "lz4"]).done();
        let from = ["--compression", "lz4", "--compress-from", "200"];
        bitcask(args!["put", &store, "long enough", &text[..200], from[0], from[1], from[2], from[3]]).done();
        for (key, expected) in [
            ("none", None),
            ("lz4", Some("lz4")),
            ("zstd", Some("zstd")),
            ("zstd:19", Some("zstd")),
            ("short", None),
            ("long enough", Some("lz4")),
        ] {
            assert_eq!(compression(&store, key).as_deref(), expected, "{format}: {key}");
            let value = if key.contains(' ') || key == "short" { &text[..200] } else { &text };
            bitcask(args!["get", &store, key]).done().prints(value);
        }
        let record = records(&store).into_iter().find(|record| record["key"] == "zstd").unwrap();
        assert_eq!((record["value"].as_str(), record["sound"].as_bool()), (Some(&*text), Some(true)));
        bitcask(args!["verify", &store]).done();
    }
}

#[test]
fn an_import_and_a_conversion_compress_and_a_conversion_takes_it_back() {
    let place = Place::new();
    let (store, lines) = (place.store(), place.path("lines.jsonl"));
    let value = "again and ".repeat(100);
    std::fs::write(&lines, format!("{{\"key\":\"k\",\"value\":\"{value}\"}}\n")).unwrap();
    bitcask(args!["import", &store, "--jsonl", &lines, "--compression", "zstd"]).done();
    assert_eq!(compression(&store, "k").as_deref(), Some("zstd"));
    for (name, how, expected) in [("fast", "lz4", Some("lz4")), ("plain", "none", None)] {
        let next = place.path(name);
        bitcask(args!["convert", &store, &next, "--format", "json", "--compression", how]).done();
        assert_eq!(compression(&next, "k").as_deref(), expected);
        bitcask(args!["get", &next, "k"]).done().prints(&value);
    }
    let exported = place.path("exported.jsonl");
    bitcask(args!["export", &store, "--jsonl", &exported]).done();
    assert_eq!(std::fs::read(&exported).unwrap(), std::fs::read(&lines).unwrap());
}

#[test]
fn a_compression_that_nobody_knows_is_a_wrong_command_line() {
    let place = Place::new();
    for how in ["gzip", "zstd:23", "lz4:1"] {
        bitcask(args!["put", place.store(), "k", "v", "--compression", how]).exits(2);
    }
}

//! `status verify dump`, and what the other verbs do about damage.

use crate::run::{Place, args, bitcask, damage, data_files};

#[test]
fn status_counts_keys_and_files() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]);
    let run = bitcask(args!["status", &store]).done();
    assert!(run.text().contains("keys     2\n") && run.text().contains("0000000001.data"), "{}", run.text());
    let report = bitcask(args!["status", &store, "--json"]).done().json();
    assert_eq!(report["keys"], 2);
    assert_eq!(report["files"][0]["name"], "0000000001.data");
    assert!(report["live_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report["recovery"]["damage"], serde_json::json!([]));
}

#[test]
fn verify_finds_a_whole_store_whole() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2")]);
    let run = bitcask(args!["verify", &store]).done();
    assert!(run.text().starts_with("checked "), "{}", run.text());
    let report = bitcask(args!["verify", &store, "--json"]).done().json();
    assert!(report["records"].as_u64().unwrap() >= 2 && report["bytes"].as_u64().unwrap() > 0);
    assert_eq!((&report["damage"], &report["torn_tail"]), (&serde_json::json!([]), &serde_json::Value::Null));
}

#[test]
fn damage_is_exit_code_3_and_the_rest_can_be_saved() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"value of a"), (b"b", b"value of b"), (b"c", b"value of c")]);
    let file = damage(&store, b"value of b");
    let name = file.file_name().unwrap().to_str().unwrap();

    let run = bitcask(args!["verify", &store]).exits(3).says("damage was found in 1 place");
    assert!(run.text().contains(&format!("damage: {name} at byte ")), "{}", run.text());
    let report = bitcask(args!["verify", &store, "--json"]).exits(3).json();
    assert_eq!(report["damage"][0]["file"], name);

    bitcask(args!["get", &store, "a"]).done().prints("value of a");
    bitcask(args!["get", &store, "b"]).exits(3).prints("").says(name);
    bitcask(args!["scan", &store]).exits(3).says(name);
    bitcask(args!["dump", &file]).exits(3).says(name);

    for format in ["--jsonl", "--csv", "--tree"] {
        let out = place.path(format);
        bitcask(args!["export", &store, format, &out]).exits(3).says(name).says("1 of 3 entries are damaged");
        let copy = place.path(&format!("copy{format}"));
        bitcask(args!["import", &copy, format, &out]).done();
        assert_eq!(bitcask(args!["keys", &copy]).done().sorted_lines(), ["a", "c"]);
    }
}

#[test]
fn dump_shows_every_record_of_a_file_in_order() {
    let place = Place::new();
    let store = place.store();
    let long = "x".repeat(100);
    bitcask(args!["put", &store, "a", "1\u{1b}"]).done();
    bitcask(args!["put", &store, "b", &long]).done();
    bitcask(args!["delete", &store, "a"]).done();
    let file = &data_files(&store)[0];

    let run = bitcask(args!["dump", file]).done();
    let lines: Vec<_> = run.text().lines().collect();
    assert!(lines[0].contains("OFFSET") && lines[0].ends_with("KEY VALUE"));
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    let (put, long_put, tombstone) = (
        at(r#""a" "1\u{1b}""#),
        at(&format!("\"b\" \"{}\"... (100 bytes)", "x".repeat(60))),
        at("tombstone"),
    );
    assert!(put < long_put && long_put < tombstone);
    assert!(bitcask(args!["dump", file, "--width", "3"]).done().text().contains("\"xxx\"... (100 bytes)"));
    assert!(bitcask(args!["dump", file, "--width", "100"]).done().text().contains(&format!("\"{long}\"\n")));

    let with_bytes = bitcask(args!["dump", file, "--bytes"]).done();
    assert!(with_bytes.text().lines().count() > lines.len());
}

#[test]
fn dump_in_json_has_whole_records() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"\xff")]);
    let run = bitcask(args!["dump", &data_files(&store)[0], "--json", "--bytes"]).done();
    let records: Vec<serde_json::Value> =
        run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let record = records.iter().find(|record| record["kind"] == "value").unwrap();
    assert_eq!((&record["key"], &record["value64"]), (&"a".into(), &"/w==".into()));
    let header = data_encoding::HEXLOWER.decode(record["header"].as_str().unwrap().as_bytes()).unwrap();
    let offset = usize::try_from(record["offset"].as_u64().unwrap()).unwrap();
    let file = std::fs::read(&data_files(&store)[0]).unwrap();
    assert!(file[offset..].starts_with(&header) && !header.is_empty());
}

#[test]
fn what_is_no_data_file_is_not_dumped() {
    let place = Place::new();
    bitcask(args!["dump", place.path("missing")]).exits(4).says("missing");
}

//! `seal-line`: what is listed, what is sealed, and what is refused.

use std::path::{Path, PathBuf};

use crate::run::{Place, args, bitcask};

/// A closed JSON store with three keys, and its one log file.
fn store(place: &Place) -> (PathBuf, PathBuf) {
    let store = place.store();
    for key in ["a", "b", "c"] {
        bitcask(args!["put", &store, key, format!("value of {key}"), "--format", "json"]).done();
    }
    let log = store.join("0000000001.jsonl");
    (store, log)
}

fn edit(log: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(text.matches(old).count(), 1);
    std::fs::write(log, text.replace(old, new)).unwrap();
}

#[test]
fn an_edited_line_is_named_by_verify_then_listed_then_sealed() {
    let place = Place::new();
    let (store, log) = store(&place);
    bitcask(args!["seal-line", &store]).done().prints("every line fits its checksum\n");
    edit(&log, "value of a", "a longer value");
    let before = std::fs::read(&log).unwrap();
    let run = bitcask(args!["verify", &store]).exits(3);
    assert!(run.text().contains("line 3: the line does not fit its checksum"), "{}", run.text());
    assert!(run.text().contains("`bitcask seal-line`"), "{}", run.text());
    let listed = "0000000001.jsonl line 3: the value of key \"a\"\n";
    bitcask(args!["seal-line", &store]).exits(3).prints(listed).says("1 line does not fit");
    let report = bitcask(args!["repair", &store, "--json"]).exits(3).json();
    assert_eq!(report["remedies"][0], "seal-line");
    assert_eq!(std::fs::read(&log).unwrap(), before);
    let sealed = format!("sealed {listed}");
    bitcask(args!["seal-line", &store, "0000000001.jsonl", "3"]).done().prints(sealed);
    assert_eq!(std::fs::read(store.join("0000000001.jsonl.damaged")).unwrap(), before);
    bitcask(args!["verify", &store]).done();
    bitcask(args!["get", &store, "a"]).done().prints("a longer value");
    bitcask(args!["put", &store, "d", "1"]).done();
    assert_eq!(bitcask(args!["count", &store]).done().text(), "4\n");
}

#[test]
fn all_edited_lines_are_sealed_at_once_or_none() {
    let place = Place::new();
    let (store, log) = store(&place);
    edit(&log, "value of a", "A");
    edit(&log, "value of b\"}", "B\"");
    let before = std::fs::read(&log).unwrap();
    bitcask(args!["seal-line", &store, "--all"])
        .exits(3)
        .says("cannot be sealed")
        .says("nothing was changed");
    let report = bitcask(args!["seal-line", &store, "--json"]).exits(3).json();
    let can: Vec<_> = report["lines"].as_array().unwrap().iter().map(|it| &it["can_be_sealed"]).collect();
    assert_eq!(can, [&true.into(), &serde_json::Value::from(false)]);
    bitcask(args!["seal-line", &store, "0000000001.jsonl", "3"])
        .exits(4)
        .says("does not fit its checksum either");
    assert_eq!(std::fs::read(&log).unwrap(), before);
    edit(&log, ":\"B\"\n", ":\"B\"}\n");
    let report = bitcask(args!["seal-line", &store, "--all", "--json"]).done().json();
    assert_eq!(report["sealed"], 2);
    assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\tA", "b\tB", "c\tvalue of c"]);
}

#[test]
fn what_has_no_such_line_is_refused() {
    let place = Place::new();
    let (text, _) = store(&place);
    bitcask(args!["seal-line", &text, "0000000001.jsonl", "3"])
        .exits(4)
        .says("there is no such line, or it fits");
    bitcask(args!["seal-line", &text, "notes.txt", "3"]).exits(4).says("no data file notes.txt");
    bitcask(args!["seal-line", &text, "0000000001.jsonl"]).exits(2);
    bitcask(args!["seal-line", &text, "0000000001.jsonl", "3", "--all"]).exits(2);
    bitcask(args!["seal-line", place.path("missing")]).exits(4).says("is not a Bitcask store");
    let binary = Place::new();
    let store = binary.store_with(&[(b"a", b"1")]);
    bitcask(args!["seal-line", &store]).exits(4).says("its log is binary");
}

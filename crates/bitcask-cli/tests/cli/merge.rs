//! `merge needs-merge`, and which verbs merge by themselves.

use std::path::{Path, PathBuf};

use bitcask::{MergeOptions, MergePolicy, Options};

use crate::run::{Place, args, bitcask, command, damage, data_files};

const KEYS: usize = 50;
const ROUNDS: usize = 20;

fn value(key: usize, round: usize) -> String {
    format!("value {round} of key {key} {}", "x".repeat(100))
}

/// A store with all keys overwritten again and again, of which nothing is merged yet.
fn overwritten(place: &Place) -> PathBuf {
    let store = place.store();
    let never = MergeOptions::new().policy(MergePolicy::Never);
    let db = bitcask::open(&store, Options::new().max_file_size(16 << 10).merge(never)).unwrap();
    for (round, key) in (0..ROUNDS).flat_map(|round| (0..KEYS).map(move |key| (round, key))) {
        db.put(format!("key {key}"), value(key, round)).unwrap();
    }
    db.close().unwrap();
    store
}

fn status(store: &Path) -> serde_json::Value {
    bitcask(args!["status", store, "--json"]).done().json()
}

#[test]
fn after_a_merge_hardly_anything_is_dead_and_all_keys_are_there() {
    let place = Place::new();
    let store = overwritten(&place);
    let sizes = |store: &Path| {
        let status = status(store);
        (status["dead_bytes"].as_u64().unwrap(), status["data_bytes"].as_u64().unwrap())
    };
    let (dead, data) = sizes(&store);
    assert!(dead * 10 > data * 9, "{dead} of {data}");

    let run = bitcask(args!["merge", &store]).done();
    assert!(run.text().starts_with("merged ") && run.text().lines().count() == 1, "{}", run.text());
    let (dead, data) = sizes(&store);
    assert!(dead * 10 < data, "{dead} of {data}");
    bitcask(args!["count", &store]).done().prints(format!("{KEYS}\n"));
    for key in 0..KEYS {
        bitcask(args!["get", &store, format!("key {key}")]).done().prints(value(key, ROUNDS - 1));
    }
    bitcask(args!["verify", &store]).done();

    // The second may join the file that was the active one; then there is nothing left to do.
    bitcask(args!["merge", &store]).done();
    let report = bitcask(args!["merge", &store, "--json"]).done().json();
    assert_eq!((&report["inputs"], &report["quarantined"]), (&0.into(), &[(); 0][..].into()));
    bitcask(args!["count", &store]).done().prints(format!("{KEYS}\n"));
}

#[test]
fn the_report_of_a_merge_in_json_has_numbers() {
    let place = Place::new();
    let store = overwritten(&place);
    let report = bitcask(args!["merge", &store, "--json"]).done().json();
    let number = |name: &str| report[name].as_u64().unwrap();
    // The active file holds the others, and nothing that is dead.
    assert!((1..=KEYS as u64).contains(&number("values_copied")));
    assert_eq!(number("records_dropped"), (KEYS * (ROUNDS - 1)) as u64);
    assert!(number("inputs") > number("outputs") && number("bytes_before") > 5 * number("bytes_after"));
    assert_eq!((&report["quarantined"], &report["not_removed"]), (&[(); 0][..].into(), &[(); 0][..].into()));
}

#[test]
fn needs_merge_answers_by_its_exit_code_and_tells_why() {
    let place = Place::new();
    let store = overwritten(&place);
    let run = bitcask(args!["needs-merge", &store]).done();
    assert!(run.text().starts_with("yes: a merge would give back "), "{}", run.text());
    assert!(run.text().contains("yes: 100 % dead") && run.text().contains("no: it is the active file"));
    let report = bitcask(args!["needs-merge", &store, "--json"]).done().json();
    assert_eq!(report["needs_merge"], true);
    let files = report["files"].as_array().unwrap();
    let sum = |name: &str| files.iter().map(|file| file[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(report["gain_bytes"], sum("gain_bytes"));
    assert!(sum("gain_bytes") > 0 && sum("gain_bytes") <= sum("dead_bytes"));
    let seen = status(&store);
    assert_eq!((&seen["needs_merge"], &seen["held_bytes"]), (&true.into(), &0.into()));
    let first = &seen["files"][0];
    assert_eq!((&first["will_merge"], &first["merge"]), (&true.into(), &"yes: 100 % dead".into()));
    assert!(first["dead_keys"].as_u64().unwrap() > 0 && first["last_timestamp_us"].as_u64().unwrap() > 0);
    let run = bitcask(args!["status", &store]).done();
    assert!(run.text().contains("\nmerge    worth it\n") && run.text().contains("  yes: 100 % dead\n"));
    // Asking has merged nothing.
    bitcask(args!["needs-merge", &store]).done();

    bitcask(args!["merge", &store]).done();
    let run = bitcask(args!["needs-merge", &store]).exits(1);
    assert!(run.text().starts_with("no: no trigger is reached\n") && run.stderr.is_empty(), "{}", run.text());
    let report = bitcask(args!["needs-merge", &store, "--json"]).exits(1).json();
    assert_eq!((&report["needs_merge"], &report["gain_bytes"]), (&false.into(), &0.into()));
    assert_eq!(status(&store)["needs_merge"], false);
    assert!(bitcask(args!["status", &store]).done().text().contains("\nmerge    not worth it\n"));
}

#[test]
fn a_file_that_cannot_be_read_whole_stays_and_is_exit_code_3() {
    let place = Place::new();
    let store = overwritten(&place);
    let damaged = damage(&store, value(0, ROUNDS - 1).as_bytes());
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let run = bitcask(args!["merge", &store]).exits(3).says("1 file could not be read whole and not merged");
    assert!(run.text().contains(&format!("damage: {name} at byte ")), "{}", run.text());
    assert!(damaged.exists());
    bitcask(args!["get", &store, "key 0"]).exits(3).says(name);
    bitcask(args!["get", &store, "key 1"]).done().prints(value(1, ROUNDS - 1));
    let report = bitcask(args!["merge", &store, "--json"]).exits(3).json();
    assert_eq!(report["quarantined"][0]["file"], name);
}

#[test]
fn writing_one_key_merges_nothing() {
    let place = Place::new();
    let store = overwritten(&place);
    let files = data_files(&store);
    for _ in 0..3 {
        bitcask(args!["put", &store, "key 0", "again"]).done();
        bitcask(args!["delete", &store, "key 0"]).done();
    }
    assert!(files.iter().all(|file| file.exists()));
}

#[test]
fn a_store_that_is_open_elsewhere_is_neither_merged_nor_asked() {
    let place = Place::new();
    let store = overwritten(&place);
    let writer = bitcask::open(&store, Options::new()).unwrap();
    for verb in ["merge", "needs-merge"] {
        bitcask(args![verb, &store]).exits(4).says("open for writing elsewhere");
        bitcask(args![verb, place.path("missing")]).exits(4).says("store");
    }
    writer.close().unwrap();
}

#[test]
fn a_log_tells_on_standard_error_what_happens_and_without_one_nothing_is_told() {
    let place = Place::new();
    let run = bitcask(args!["merge", overwritten(&place), "--log", "info"]).done();
    for part in ["INFO opened store=", "INFO merged store=", "outputs=1", "INFO closed store="] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(!run.stderr.contains("DEBUG"), "{}", run.stderr);
    assert!(run.text().starts_with("merged ") && run.text().lines().count() == 1, "{}", run.text());

    let store = place.store();
    let run = bitcask(args!["put", &store, "key", "value", "--log", "warn"]).done();
    assert_eq!(run.stderr, "");
    let output = command(args!["get", &store, "key"]).env("BITCASK_LOG", "info").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("INFO opened store="));
    bitcask(args!["put", &store, "key", "value", "--log", "loud"]).exits(2);
}

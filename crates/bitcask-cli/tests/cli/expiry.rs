//! `put --ttl`, `ttl`, `expire`, conditions, and expiries on their way out and in.

use std::path::{Path, PathBuf};

use crate::run::{Place, args, bitcask, bitcask_with_input};

/// The last moment that has a text, in microseconds since 1970.
const FAR: &str = "9999-12-31T23:59:59.999999Z";
const FAR_US: u64 = 253_402_300_799_999_999;

#[test]
fn a_value_is_gone_from_its_expiry_on() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["put", &store, "a", "2", "--ttl", "0s"]).done();
    bitcask(args!["get", &store, "a"]).exits(1);
    bitcask(args!["put", &store, "b", "2", "--expires-at", "2001-01-01T00:00:00Z"]).done();
    bitcask(args!["get", &store, "b"]).exits(1);
    bitcask(args!["put", &store, "c", "3", "--ttl", "1000days"]).done();
    bitcask(args!["get", &store, "c"]).done().prints("3");
}

#[test]
fn ttl_tells_the_time_that_is_left() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["ttl", &store, "a"]).done().prints("never\n");
    bitcask(args!["ttl", &store, "b"]).exits(1).prints("").says("not in the store");
    bitcask(args!["put", &store, "a", "1", "--ttl", "10days"]).done();
    let run = bitcask(args!["ttl", &store, "a"]).done();
    assert!(run.text().starts_with("9days 23h 5"), "{}", run.text());
    bitcask(args!["put", &store, "a", "1", "--expires-at", FAR]).done();
    let report = bitcask(args!["ttl", &store, "a", "--json"]).done().json();
    assert_eq!((&report["key"], &report["expires"]), (&"a".into(), &FAR_US.into()));
    assert!(report["remaining_us"].as_u64().unwrap() < FAR_US);
    // A plain put lets it live for ever again.
    bitcask(args!["put", &store, "a", "1"]).done();
    let report = bitcask(args!["ttl", &store, "a", "--json"]).done().json();
    assert_eq!(report, serde_json::json!({"key": "a", "expires": null, "remaining_us": null}));
}

#[test]
fn expire_sets_and_takes_an_expiry_and_keeps_the_value() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["expire", &store, "a", "--at", FAR]).done().prints("");
    let report = bitcask(args!["ttl", &store, "a", "--json"]).done().json();
    assert_eq!(report["expires"], FAR_US);
    bitcask(args!["expire", &store, "a", "10days"]).done();
    assert!(bitcask(args!["ttl", &store, "a"]).done().text().starts_with("9days 23h"));
    bitcask(args!["expire", &store, "a", "--never"]).done();
    bitcask(args!["ttl", &store, "a"]).done().prints("never\n");
    bitcask(args!["get", &store, "a"]).done().prints("1");
    let run = bitcask(args!["expire", &store, "a", "0s", "--json"]).done();
    run.prints("{\"key\":\"a\",\"changed\":true}\n");
    bitcask(args!["get", &store, "a"]).exits(1);
    bitcask(args!["expire", &store, "a", "--never"]).exits(1).says("not in the store");
}

#[test]
fn a_put_with_a_condition_says_no_with_exit_code_1() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["put", &store, "a", "2", "--if-absent"]).exits(1).says("\"a\" is in the store");
    bitcask(args!["put", &store, "b", "2", "--if-present"]).exits(1).says("\"b\" is not in the store");
    assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\t1"]);
    bitcask(args!["put", &store, "a", "2", "--if-present"]).done();
    bitcask(args!["put", &store, "b", "3", "--if-absent", "--ttl", "1h"]).done();
    assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\t2", "b\t3"]);
    let run = bitcask(args!["put", &store, "b", "4", "--if-absent", "--json"]).exits(1);
    run.prints("{\"key\":\"b\",\"value_bytes\":1,\"written\":false}\n");
}

#[test]
fn times_and_choices_that_make_no_sense_are_exit_code_2() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    for wrong in [
        args!["put", &store, "a", "1", "--ttl", "soon"],
        args!["put", &store, "a", "1", "--expires-at", "tomorrow"],
        args!["put", &store, "a", "1", "--ttl", "1s", "--expires-at", FAR],
        args!["put", &store, "a", "1", "--if-absent", "--if-present"],
        args!["expire", &store, "a"],
        args!["expire", &store, "a", "1s", "--never"],
        args!["expire", &store, "a", "--at", FAR, "--never"],
    ] {
        bitcask(wrong).exits(2);
    }
    bitcask(args!["ttl", &store, "a"]).done().prints("never\n");
}

/// A store with an expiry that is written in microseconds, one that is not, and a value without.
fn store_with_expiries(place: &Place) -> PathBuf {
    let store = place.store_with(&[(b"stays", b"1")]);
    bitcask(args!["put", &store, "far", "2", "--expires-at", FAR]).done();
    bitcask(args!["put", &store, "ff", "fe", "--hex", "--ttl", "1000days"]).done();
    store
}

#[test]
fn expiries_go_out_and_in_as_json_lines() {
    let place = Place::new();
    let store = store_with_expiries(&place);
    let far = format!("{{\"key\":\"far\",\"value\":\"2\",\"expires\":{FAR_US}}}\n");
    let scan = |dir: &Path| bitcask(args!["scan", dir, "--json"]).done();
    let entries = scan(&store);
    assert!(
        entries.text().contains(&far) && entries.text().contains("{\"key\":\"stays\",\"value\":\"1\"}\n")
    );
    bitcask(args!["get", &store, "far", "--json"]).done().prints(&far);

    let file = place.path("file");
    assert_eq!(bitcask(args!["export", &store, "--jsonl", &file]).done().stderr, "");
    let exported = bitcask(args!["export", &store, "--jsonl", "-"]).done();
    for copy in [place.path("from file"), place.path("from pipe")] {
        let source = if copy.ends_with("from file") { file.as_path() } else { Path::new("-") };
        let run = bitcask_with_input(args!["import", &copy, "--jsonl", source], &exported.stdout).done();
        assert!(run.text().starts_with("imported 3 entries") && !run.text().contains("skipped"));
        assert_eq!(scan(&copy).sorted_lines(), entries.sorted_lines());
        let ttl =
            |dir: &Path| bitcask(args!["ttl", dir, "ff", "--hex", "--json"]).done().json()["expires"].clone();
        assert!(ttl(&copy).is_u64() && ttl(&copy) == ttl(&store));
        bitcask(args!["ttl", &copy, "stays"]).done().prints("never\n");
    }
}

#[test]
fn an_import_skips_and_counts_what_has_expired() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"old")]);
    let lines = format!(
        "{{\"key\":\"a\",\"value\":\"1\",\"expires\":0}}\n{{\"key\":\"b\",\"value\":\"2\",\"expires\":1000000}}\n\
         {{\"key\":\"c\",\"value\":\"3\",\"expires\":{FAR_US}}}\n"
    );
    let import = args!["import", &store, "--jsonl", "-"];
    let run = bitcask_with_input(&import, lines.as_bytes()).done();
    assert!(run.text().starts_with("imported 1 entry, 2 B"), "{}", run.text());
    assert!(run.text().ends_with("; skipped 2 entries that have expired\n"), "{}", run.text());
    let report = bitcask_with_input([import, args!["--json"]].concat(), lines.as_bytes()).done().json();
    assert_eq!(
        (&report["imported"], &report["expired"], &report["skipped"]),
        (&1.into(), &2.into(), &0.into())
    );
    assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\told", "c\t3"]);
}

#[test]
fn an_export_that_has_no_place_for_expiries_says_how_many_it_left_out() {
    let place = Place::new();
    let store = store_with_expiries(&place);
    for form in ["--csv", "--tree"] {
        let run = bitcask(args!["export", &store, form, place.path(form)]).done();
        let run = run.says("2 expiries were left out: only JSON Lines have a place for them");
        assert!(run.text().starts_with("exported 3 entries") && run.stderr.lines().count() == 1);
        let copy = place.path(&format!("copy{form}"));
        bitcask(args!["import", &copy, form, place.path(form)]).done();
        bitcask(args!["ttl", &copy, "far"]).done().prints("never\n");
    }
    let run = bitcask(args!["export", &store, "--csv", "-"]).done().says("2 expiries were left out");
    assert_eq!(run.text().lines().count(), 4);
    bitcask(args!["expire", &store, "far", "--never"]).done();
    let left_out = |form: &str| {
        let run =
            bitcask(args!["export", &store, form, place.path(&format!("again{form}")), "--json"]).done();
        (run.json()["expiries_left_out"].as_u64(), run.stderr)
    };
    let (count, complaint) = left_out("--tree");
    assert_eq!(
        (count, complaint.as_str()),
        (Some(1), "bitcask: 1 expiry was left out: only JSON Lines have a place for them\n")
    );
    assert_eq!(left_out("--jsonl"), (Some(0), String::new()));
}

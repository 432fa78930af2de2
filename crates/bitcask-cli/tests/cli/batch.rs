//! `batch`: several puts and deletes as one, or none of them.

use std::path::Path;

use crate::run::{Place, Run, args, bitcask, bitcask_with_input, data_files};

fn batch(store: &Path, lines: &[&str]) -> Run {
    bitcask_with_input(args!["batch", store], lines.join("\n").as_bytes())
}

fn scan(store: &Path) -> Vec<String> {
    bitcask(args!["scan", store]).done().sorted_lines().into_iter().map(str::to_owned).collect()
}

#[test]
fn all_operations_happen_as_one_batch() {
    let place = Place::new();
    let store = place.store_with(&[(b"old", b"1"), (b"gone", b"2")]);
    let lines = [
        r#"{"op":"put","key":"new","value":"3","if":"absent"}"#,
        r#"{"op":"put","key":"old","value":"4","if":"present"}"#,
        "",
        r#"{"op":"delete","key":"gone","if":"present"}"#,
        r#"{"op":"delete","key":"never there"}"#,
        r#"{"op":"put","key64":"/w==","value64":"/g=="}"#,
    ];
    batch(&store, &lines).done().prints("wrote 3 puts and 2 deletes as one, 25 B\n");
    assert_eq!(
        bitcask(args!["scan", &store, "--hex"]).done().sorted_lines(),
        ["6e6577\t33", "6f6c64\t34", "ff\tfe"]
    );
    let records = bitcask(args!["dump", &data_files(&store)[0], "--json"]).done();
    let records: Vec<serde_json::Value> =
        records.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_batch: Vec<_> = records.iter().filter(|record| record["in_batch"] == true).collect();
    assert_eq!(of_batch.len(), 5);
    assert!(of_batch.iter().all(|record| record["timestamp_us"] == of_batch[0]["timestamp_us"]));
}

#[test]
fn operations_come_from_a_file_too_and_reports_in_json_have_numbers() {
    let place = Place::new();
    let store = place.store();
    let file = place.write("file", "{\"op\":\"put\",\"key\":\"a\",\"value\":\"123\"}\n");
    let run = bitcask(args!["batch", &store, "--file", &file, "--json"]).done();
    let expected =
        serde_json::json!({"written": true, "puts": 1, "deletes": 0, "bytes": 4, "unmet_line": null});
    assert_eq!(run.json(), expected);
    assert_eq!(scan(&store), ["a\t123"]);
    bitcask_with_input(args!["batch", &store, "--file", "-"], b"")
        .done()
        .prints("wrote 0 puts and 0 deletes as one, 0 B\n");
    bitcask(args!["batch", &store, "--file", place.path("missing")]).exits(4).says("cannot read");
}

#[test]
fn values_of_a_batch_can_expire() {
    let place = Place::new();
    let store = place.store_with(&[(b"past", b"1")]);
    let lines = [
        r#"{"op":"put","key":"far","value":"1","expires":253402300799999999}"#,
        r#"{"op":"put","key":"soon","value":"1","ttl":"10days"}"#,
        r#"{"op":"put","key":"past","value":"2","expires":0}"#,
    ];
    batch(&store, &lines).done();
    let report = bitcask(args!["ttl", &store, "far", "--json"]).done().json();
    assert_eq!(report["expires"], 253_402_300_799_999_999_u64);
    assert!(bitcask(args!["ttl", &store, "soon"]).done().text().starts_with("9days 23h"));
    bitcask(args!["get", &store, "past"]).exits(1);
}

#[test]
fn a_bad_line_is_named_and_nothing_is_written() {
    let place = Place::new();
    let store = place.store();
    let good = r#"{"op":"put","key":"a","value":"1"}"#;
    for (bad, what) in [
        ("{", "EOF while parsing"),
        (r#"{"key":"a","value":"1"}"#, "there is no \"op\""),
        (
            r#"{"op":"put","key":"a","value":"1","expires":"now"}"#,
            "a whole number of microseconds since 1970",
        ),
        (r#"{"op":"put","key":"","value":"1"}"#, "a key has 1 to 65535 bytes, this one has 0"),
        (r#"{"op":"delete","key":""}"#, "a key has 1 to 65535 bytes, this one has 0"),
    ] {
        batch(&store, &[good, "", bad, good])
            .exits(4)
            .prints("")
            .says("line 3 of standard input: ")
            .says(what);
        assert!(!store.exists(), "{bad}");
    }
    let long = format!("{{\"op\":\"delete\",\"key\":\"{}\"}}", "k".repeat(65_536));
    batch(&store, &[good, &long]).exits(4).says("line 2 of standard input: a key has 1 to 65535 bytes");
    let file = place
        .write("file", format!("{good}\n{good}\n{{\"op\":\"put\",\"key\":\"b\",\"value\":\"12345\"}}\n"));
    let short = args!["batch", &store, "--file", &file, "--max-value-size", "4"];
    bitcask(short)
        .exits(4)
        .says("line 3 of ")
        .says("a value has at most 4 bytes in this store, this one has 5");
    assert!(!store.exists());
}

#[test]
fn a_condition_that_does_not_hold_is_exit_code_1_and_nothing_is_written() {
    let place = Place::new();
    let store = place.store_with(&[(b"there", b"old")]);
    let fine = [r#"{"op":"put","key":"new","value":"1","if":"absent"}"#, r#"{"op":"delete","key":"there"}"#];
    for (unmet, what) in [
        (
            r#"{"op":"put","key":"missing","value":"1","if":"present"}"#,
            "the key \"missing\" is not in the store",
        ),
        (r#"{"op":"delete","key":"missing","if":"present"}"#, "the key \"missing\" is not in the store"),
    ] {
        let run = batch(&store, &[fine[0], fine[1], unmet]).exits(1).prints("");
        assert_eq!(run.stderr, format!("bitcask: line 3 of standard input: {what}; nothing was written\n"));
    }
    let absent = r#"{"op":"put","key":"there","value":"1","if":"absent"}"#;
    batch(&store, &[absent, fine[0]])
        .exits(1)
        .says("line 1 of standard input: the key \"there\" is in the store already");
    let lines = [fine[0], absent].join("\n");
    let run = bitcask_with_input(args!["batch", &store, "--json"], lines.as_bytes()).exits(1);
    assert_eq!((&run.json()["written"], &run.json()["unmet_line"]), (&false.into(), &2.into()));
    assert_eq!(scan(&store), ["there\told"]);
}

#[test]
fn the_last_line_of_a_key_counts_and_a_key_with_a_condition_occurs_once() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"0")]);
    let (put, delete) = (r#"{"op":"put","key":"a","value":"1"}"#, r#"{"op":"delete","key":"a"}"#);
    batch(&store, &[delete, put]).done();
    assert_eq!(scan(&store), ["a\t1"]);
    let on_condition = r#"{"op":"put","key":"a","value":"2","if":"present"}"#;
    for lines in [[on_condition, delete], [delete, on_condition], [on_condition, on_condition]] {
        batch(&store, &lines)
            .exits(4)
            .says("line 2 of standard input: the key \"a\" stands in line 1 too")
            .says("one with a condition must not occur twice");
    }
    assert_eq!(scan(&store), ["a\t1"]);
    batch(&store, &[put, delete]).done();
    bitcask(args!["count", &store]).done().prints("0\n");
}

#[test]
fn a_store_that_is_open_elsewhere_takes_no_batch() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    let writer = bitcask::open(&store, bitcask::Options::new()).unwrap();
    batch(&store, &[r#"{"op":"delete","key":"a"}"#]).exits(4).says("open for writing elsewhere");
    writer.close().unwrap();
    assert_eq!(scan(&store), ["a\t1"]);
}

//! `convert`: what it says of what it did.

use crate::run::{Place, args, bitcask};

#[test]
fn the_report_says_the_same_to_people_and_to_programs() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]);
    let convert = |name: &str, format: &str| args!["convert", &store, place.path(name), "--format", format];
    let run = bitcask(convert("csv", "csv")).done();
    assert!(run.text().starts_with("copied 2 keys to "), "{}", run.text());
    assert!(run.text().contains("csv, a csv store, and verified them, in "), "{}", run.text());
    let words = [convert("json", "json"), args!["--json"]].concat();
    let report = bitcask(words).done().json();
    assert_eq!((&report["keys"], &report["format"]), (&2.into(), &"json".into()));
    assert!(report["seconds"].is_f64() && report.as_object().unwrap().len() == 3);
    for name in ["csv", "json"] {
        assert_eq!(bitcask(args!["scan", place.path(name)]).done().sorted_lines(), ["a\t1", "b\t3"]);
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused_with_exit_code_4() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    place.write("full/notes", "mine");
    bitcask(args!["convert", &store, place.path("full"), "--format", "csv"])
        .exits(4)
        .prints("")
        .says("not empty");
}

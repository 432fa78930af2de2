//! `put --ttl`, `ttl`, `expire`, conditions, and expiries on their way out and in.

use crate::run::{Place, args, bitcask};

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

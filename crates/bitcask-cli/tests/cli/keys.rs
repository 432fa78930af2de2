//! `put get delete exists keys scan count`.

use crate::run::{Place, args, bitcask, bitcask_with_input};

#[test]
fn what_was_put_is_got_byte_for_byte() {
    let place = Place::new();
    let store = place.store();
    bitcask(args!["put", &store, "key", "value"]).done().prints("");
    bitcask(args!["get", &store, "key"]).done().prints("value");
    bitcask(args!["put", &store, "key", ""]).done();
    bitcask(args!["get", &store, "key"]).done().prints("");
}

#[test]
fn a_key_that_is_not_there_is_exit_code_1() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["get", &store, "b\u{1b}"])
        .exits(1)
        .prints("")
        .says(r#"the key "b\u{1b}" is not in the store"#);
    bitcask(args!["get", &store, "b", "--json"]).exits(1).prints("");
    bitcask(args!["delete", &store, "b"]).exits(1).says("not in the store");
    bitcask(args!["exists", &store, "b"]).exits(1).prints("");
    bitcask(args!["exists", &store, "a"]).done().prints("");
}

#[test]
fn delete_deletes_once() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2")]);
    bitcask(args!["delete", &store, "a"]).done().prints("");
    bitcask(args!["delete", &store, "a"]).exits(1);
    bitcask(args!["get", &store, "a"]).exits(1);
    bitcask(args!["get", &store, "b"]).done().prints("2");
}

#[test]
fn values_come_from_files_and_standard_input() {
    let place = Place::new();
    let store = place.store();
    let file = place.write("file", b"\x00\xff\n");
    bitcask(args!["put", &store, "f", "--file", file]).done();
    bitcask(args!["get", &store, "f"]).done().prints(b"\x00\xff\n");
    bitcask_with_input(args!["put", &store, "s", "-"], b"in\xff\n").done();
    bitcask(args!["get", &store, "s"]).done().prints(b"in\xff\n");
    bitcask_with_input(args!["put", &store, "s", "--file", "-"], b"").done();
    bitcask(args!["get", &store, "s"]).done().prints("");
    bitcask(args!["put", &store, "f", "--file", place.path("missing")]).exits(4).says("cannot read");
}

#[test]
fn words_that_begin_with_a_dash_come_after_two() {
    let place = Place::new();
    let store = place.store();
    bitcask(args!["put", &store, "--", "-key", "-value"]).done();
    bitcask(args!["get", &store, "--", "-key"]).done().prints("-value");
    bitcask(args!["put", &store, "n", "-5"]).done();
    bitcask(args!["get", &store, "n"]).done().prints("-5");
}

#[test]
fn a_value_over_the_limit_is_refused_with_the_remedy() {
    let place = Place::new();
    let store = place.store();
    let refused = args!["put", &store, "k", "12345", "--max-value-size", "4"];
    bitcask(refused).exits(4).says("max_value_size");
    let endless = vec![0; 1 << 20];
    let refused = args!["put", &store, "k", "-", "--max-value-size", "4"];
    bitcask_with_input(refused, &endless).exits(4).says("max_value_size");
    bitcask(args!["put", &store, "", "v"]).exits(4).says("a key has 1 to 65535 bytes");
}

#[test]
fn verbs_that_do_not_put_create_no_store() {
    let place = Place::new();
    let store = place.store();
    for verb in ["keys", "scan", "count", "status", "verify"] {
        bitcask(args![verb, &store]).exits(4).says("store");
    }
    for verb in ["get", "delete", "exists"] {
        bitcask(args![verb, &store, "k"]).exits(4).says("store");
    }
    bitcask(args!["export", &store, "--jsonl", "-"]).exits(4).says("store");
    assert!(!store.exists());
}

#[test]
fn keys_scan_and_count_list_what_is_there() {
    let place = Place::new();
    let store = place.store_with(&[(b"user:1", b"a"), (b"user:2", b"b"), (b"group:1", b"\xff")]);
    let run = bitcask(args!["keys", &store]).done();
    assert_eq!(run.sorted_lines(), ["group:1", "user:1", "user:2"]);
    let run = bitcask(args!["keys", &store, "--prefix", "user:"]).done();
    assert_eq!(run.sorted_lines(), ["user:1", "user:2"]);
    let run = bitcask(args!["scan", &store, "--prefix", "user:"]).done();
    assert_eq!(run.sorted_lines(), ["user:1\ta", "user:2\tb"]);
    bitcask(args!["scan", &store, "--prefix", "group"]).done().prints(b"group:1\t\xff\n");
    bitcask(args!["scan", &store, "--prefix", "nobody"]).done().prints("");
    assert_eq!(bitcask(args!["keys", &store, "--limit", "2"]).done().text().lines().count(), 2);
    assert_eq!(
        bitcask(args!["scan", &store, "--prefix", "user:", "--limit", "1"]).done().text().lines().count(),
        1
    );
    bitcask(args!["scan", &store, "--limit", "0"]).done().prints("");
    bitcask(args!["count", &store]).done().prints("3\n");
    bitcask(args!["count", &store, "--prefix", "user:"]).done().prints("2\n");
}

#[test]
fn json_holds_what_the_text_holds() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"\xff", b"\xfe")]);
    bitcask(args!["get", &store, "a", "--json"]).done().prints("{\"key\":\"a\",\"value\":\"1\"}\n");
    bitcask(args!["get", &store, "ff", "--hex", "--json"])
        .done()
        .prints("{\"key64\":\"/w==\",\"value64\":\"/g==\"}\n");
    let run = bitcask(args!["keys", &store, "--json"]).done();
    assert_eq!(run.sorted_lines(), [r#"{"key":"a"}"#, r#"{"key64":"/w=="}"#]);
    let run = bitcask(args!["scan", &store, "--json", "--prefix", "a"]).done();
    assert_eq!(run.json(), serde_json::json!({"key": "a", "value": "1"}));
    bitcask(args!["count", &store, "--json"]).done().prints("{\"count\":2}\n");
    bitcask(args!["exists", &store, "a", "--json"]).done().prints("{\"key\":\"a\",\"exists\":true}\n");
    bitcask(args!["exists", &store, "b", "--json"]).exits(1).prints("{\"key\":\"b\",\"exists\":false}\n");
    bitcask(args!["delete", &store, "a", "--json"]).done().prints("{\"key\":\"a\",\"deleted\":true}\n");
    bitcask(args!["delete", &store, "a", "--json"]).exits(1).prints("{\"key\":\"a\",\"deleted\":false}\n");
    bitcask(args!["put", &store, "a", "xyz", "--json"])
        .done()
        .prints("{\"key\":\"a\",\"value_bytes\":3,\"written\":true}\n");
}

#[test]
fn every_way_of_writing_leads_to_the_same_store() {
    let place = Place::new();
    let store = place.store();
    let ways = [
        args!["--durability", "always"],
        args!["--durability", "interval"],
        args!["--durability", "interval:500ms"],
        args!["--durability", "os"],
        args!["--io", "mapped"],
        args!["--io", "syscall"],
        args!["--max-file-size", "1MiB"],
    ];
    for (number, way) in ways.iter().enumerate() {
        let words = args!["put", &store, number.to_string(), "v"];
        bitcask([words, way.clone()].concat()).done();
    }
    bitcask(args!["count", &store]).done().prints(format!("{}\n", ways.len()));
    bitcask([args!["delete", &store, "0"], ways[0].clone()].concat()).done();
}

#[test]
fn a_store_that_many_commands_fill_stays_whole() {
    let place = Place::new();
    let store = place.store();
    for run in 0..5 {
        let entries = (0..100).map(|number| format!("run {run} key {number},{number:01000}\n"));
        let file =
            place.write("file", ["key,value\n".to_owned()].into_iter().chain(entries).collect::<String>());
        bitcask(args!["import", &store, "--csv", file, "--max-file-size", "32KiB"]).done();
        bitcask(args!["put", &store, "key", run.to_string()]).done();
        bitcask(args!["verify", &store]).done();
        bitcask(args!["count", &store]).done().prints(format!("{}\n", 100 * (run + 1) + 1));
    }
    let report = bitcask(args!["status", &store, "--json"]).done().json();
    assert!(report["files"].as_array().unwrap().len() > 10, "{report}");
}

#[test]
fn a_store_open_for_writing_is_read_but_not_written() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    let writer = bitcask::open(&store, bitcask::Options::new()).unwrap();
    writer.put("b", "2").unwrap();
    bitcask(args!["get", &store, "a"]).done().prints("1");
    bitcask(args!["get", &store, "b"]).done().prints("2");
    bitcask(args!["count", &store]).done().prints("2\n");
    bitcask(args!["put", &store, "c", "3"]).exits(4).says("open for writing elsewhere");
    bitcask(args!["export", &store, "--jsonl", place.path("out")]).done();
    writer.close().unwrap();
}

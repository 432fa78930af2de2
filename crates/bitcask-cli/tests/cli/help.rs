//! Help, and command lines that are wrong.

use crate::run::{Place, args, bitcask};

#[test]
fn help_and_version_are_answers_not_failures() {
    for words in [args!["--help"], args!["help"], args!["import", "--help"], args!["--version"]] {
        let run = bitcask(&words).done();
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn the_help_tells_the_exit_codes_and_what_a_tree_does_not_keep() {
    assert!(bitcask(args!["--help"]).text().contains("Exit codes:"));
    assert!(bitcask(args!["import", "--help"]).text().contains("Empty directories"));
}

#[test]
fn a_wrong_command_line_is_explained_with_exit_code_2() {
    let place = Place::new();
    let store = place.store_with(&[(b"k", b"v")]);
    let wrong = [
        args![],
        args!["frobnicate", &store],
        args!["--frobnicate"],
        args!["get", &store, "k", "--frobnicate"],
        args!["get", &store],
        args!["get", &store, "k", "k2"],
        args!["put", &store, "k"],
        args!["put", &store, "k", "v", "--file", "f"],
        args!["put", &store, "k", "v", "--hex", "--base64"],
        args!["put", &store, "k", "v", "--durability", "never"],
        args!["put", &store, "k", "v", "--durability", "interval:soon"],
        args!["put", &store, "k", "v", "--io", "magic"],
        args!["put", &store, "k", "v", "--max-file-size", "big"],
        args!["import", &store],
        args!["import", &store, "--jsonl", "-", "--csv", "-"],
        args!["import", &store, "--from-basho", "d", "--jsonl", "-"],
        args!["import", &store, "--jsonl", "-", "--riak-keys"],
        args!["import", &store, "--from-basho", "d", "--expiry-secs", "0"],
        args!["export", &store],
        args!["export", &store, "--jsonl", "-", "--tree", "t"],
        args!["export", &store, "--jsonl", "-", "--json"],
        args!["scan", &store, "--limit", "-1"],
        args!["bench", &store, "--keys", "0"],
        args!["get", &store, "0x", "--hex"],
        args!["get", &store, "*", "--base64"],
    ];
    for words in wrong {
        let run = bitcask(&words).exits(2);
        assert!(!run.stderr.is_empty() && run.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn options_that_the_engine_refuses_are_usage_too() {
    let place = Place::new();
    let store = place.store();
    bitcask(args!["put", &store, "k", "v", "--max-file-size", "5GiB"]).exits(2).says("max_file_size");
    bitcask(args!["put", &store, "k", "v", "--durability", "interval:0s"]).exits(2).says("interval of zero");
}

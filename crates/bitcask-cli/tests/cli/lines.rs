//! `import` and `export` of JSON Lines and CSV.

use crate::run::{Place, args, bitcask, bitcask_with_input};

/// What text formats stumble over.
const AWKWARD: &[(&[u8], &[u8])] = &[
    (b"plain", b"value"),
    (b"empty", b""),
    (b"a,b", b"1,2"),
    (b"quo\"te", b"\"\""),
    (b"line\nbreak", b"\r\n"),
    (b" space ", b"\t"),
    (b"back\\slash", b"\\n"),
    (b"nul\0", b"\0"),
    ("schlüssel".as_bytes(), "wert \u{1f511} \u{2028}".as_bytes()),
    (b"\xff\xfe", b"binary key"),
    (b"binary value", b"\x80\x00\xff"),
    (b"\xc3", b"\xc3"),
    (b"#", b"#"),
    (b"'", b"'"),
];

#[test]
fn entries_go_out_and_in_byte_for_byte() {
    for format in ["--jsonl", "--csv"] {
        let place = Place::new();
        let store = place.store_with(AWKWARD);
        let (file, copy) = (place.path("file"), place.path("copy"));
        let run = bitcask(args!["export", &store, format, &file]).done();
        assert!(run.text().starts_with("exported 14 entries"), "{}", run.text());
        let run = bitcask(args!["import", &copy, format, &file]).done();
        assert!(run.text().starts_with("imported 14 entries"), "{}", run.text());
        let entries = |dir| bitcask(args!["scan", dir, "--hex"]).done();
        assert_eq!(entries(&copy).sorted_lines(), entries(&store).sorted_lines(), "{format}");
        for (key, value) in AWKWARD {
            let key = data_encoding::HEXLOWER.encode(key);
            bitcask(args!["get", &copy, key, "--hex", "--raw"]).done().prints(value);
        }
    }
}

#[test]
fn standard_input_and_output_are_files_too() {
    for format in ["--jsonl", "--csv"] {
        let place = Place::new();
        let store = place.store_with(AWKWARD);
        let out = bitcask(args!["export", &store, format, "-"]).done();
        let copy = place.path("copy");
        bitcask_with_input(args!["import", &copy, format, "-"], &out.stdout).done();
        let again = bitcask(args!["export", &copy, format, "-"]).done();
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&again.stdout), sorted(&out.stdout));
    }
}

#[test]
fn the_forms_are_those_that_the_manual_shows() {
    let place = Place::new();
    let store = place.store_with(&[(b"k", b"a\"b")]);
    bitcask(args!["export", &store, "--jsonl", "-"]).done().prints("{\"key\":\"k\",\"value\":\"a\\\"b\"}\n");
    bitcask(args!["export", &store, "--csv", "-"]).done().prints("key,value\r\nk,\"a\"\"b\"\r\n");
    bitcask(args!["put", &store, "6b", "ff", "--hex"]).done();
    bitcask(args!["export", &store, "--jsonl", "-"]).done().prints("{\"key\":\"k\",\"value64\":\"/w==\"}\n");
    bitcask(args!["export", &store, "--csv", "-"]).done().prints("key,value,key64,value64\r\nk,,,/w==\r\n");
}

#[test]
fn an_empty_store_goes_out_and_in() {
    for (format, text) in [("--jsonl", ""), ("--csv", "key,value\r\n")] {
        let place = Place::new();
        let store = place.store_with(&[]);
        let run = bitcask(args!["export", &store, format, "-"]).done().prints(text);
        bitcask_with_input(args!["import", place.path("copy"), format, "-"], &run.stdout).done();
        bitcask(args!["count", place.path("copy")]).done().prints("0\n");
    }
}

#[test]
fn a_bad_line_ends_the_import_and_is_named_with_what_is_in_the_store() {
    let place = Place::new();
    let store = place.store();
    let jsonl = "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\",\"value\":\"2\",\"expires\":-1}\n{\"key\":\"c\",\"value\":\"3\"}\n";
    bitcask_with_input(args!["import", &store, "--jsonl", "-"], jsonl.as_bytes())
        .exits(4)
        .prints("")
        .says("line 3 of standard input: invalid type: integer `-1`, expected a whole number of microseconds since 1970")
        .says("what came before it (1 entry) is in the store");
    bitcask(args!["keys", &store]).done().prints("a\n");
    let csv = place.write("file.csv", "key,value\nb,1\nc\n");
    bitcask(args!["import", &store, "--csv", csv])
        .exits(4)
        .says("file.csv: the header names 2 columns, here are 1")
        .says("line 3 of");
    bitcask(args!["count", &store]).done().prints("2\n");
}

#[test]
fn an_entry_that_the_engine_refuses_is_named_too() {
    let place = Place::new();
    let store = place.store();
    bitcask_with_input(args!["import", &store, "--jsonl", "-"], b"{\"key\":\"\",\"value\":\"\"}")
        .exits(4)
        .says("line 1 of standard input: a key has 1 to 65535 bytes");
    let long = args!["import", &store, "--csv", "-", "--max-value-size", "3"];
    bitcask_with_input(long, b"key,value\na,123\nb,1234\n").exits(4).says("line 3 of").says("max_value_size");
    bitcask(args!["keys", &store]).done().prints("a\n");
}

#[test]
fn the_last_of_two_values_wins_so_an_import_can_be_run_again() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"0"), (b"b", b"0")]);
    let file = place.write("file", "key,value\na,1\nb,1\na,2\n");
    for _ in 0..2 {
        bitcask(args!["import", &store, "--csv", &file]).done();
        assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\t2", "b\t1"]);
    }
}

#[test]
fn reports_in_json_have_numbers() {
    let place = Place::new();
    let store = place.store();
    let run =
        bitcask_with_input(args!["import", &store, "--csv", "-", "--json"], b"key,value\nab,123\n").done();
    let report = run.json();
    assert_eq!((&report["imported"], &report["bytes"]), (&1.into(), &5.into()));
    let report = bitcask(args!["export", &store, "--csv", place.path("out"), "--json"]).done().json();
    assert_eq!(
        (&report["exported"], &report["refused"], &report["damaged"]),
        (&1.into(), &0.into(), &0.into())
    );
}

#[test]
fn where_there_is_nothing_to_read_no_store_is_created() {
    let place = Place::new();
    let store = place.store();
    bitcask(args!["import", &store, "--jsonl", place.path("missing")]).exits(4).says("cannot read");
    bitcask(args!["import", &store, "--csv", place.path("")]).exits(4).says("cannot read");
    bitcask_with_input(args!["import", &store, "--csv", "-"], b"name,age\n")
        .exits(4)
        .says("unknown column \"name\"");
    assert!(!store.exists());
}

#[test]
fn an_export_does_not_touch_the_store_it_reads() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    for format in ["--jsonl", "--csv", "--tree"] {
        bitcask(args!["export", &store, format, store.join("0000000001.data")])
            .exits(2)
            .says("inside the store");
        bitcask(args!["export", &store, format, store.join("new")]).exits(2).says("inside the store");
    }
    bitcask(args!["export", &store, "--tree", &store]).exits(2).says("inside the store");
    bitcask(args!["export", &store, "--tree", place.path("")]).exits(2).says("contains the store");
    bitcask(args!["get", &store, "a"]).done().prints("1");
}

#[test]
fn a_file_that_cannot_be_created_is_named() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["export", &store, "--jsonl", place.path("no/such/place")]).exits(4).says("cannot create");
}

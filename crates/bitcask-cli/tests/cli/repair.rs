//! `repair`: the report, and each way of mending.

use crate::run::{Place, args, bitcask, damage, data_files};

#[test]
fn a_sound_store_needs_no_repair() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["repair", &store]).done().prints("nothing to repair\n");
    let report = bitcask(args!["repair", &store, "--json"]).done().json();
    assert_eq!((&report["damage"], &report["remedies"]), (&serde_json::json!([]), &serde_json::json!([])));
    bitcask(args!["repair", &store, "--cut-tail"]).done().prints("there is no torn tail\n");
    bitcask(args!["repair", &store, "--manifest"]).exits(4).says("whole");
    bitcask(args!["repair", &store, "--hints"]).done().prints("made 0 hint files\n");
    bitcask(args!["repair", place.path("missing")]).exits(4).says("missing");
    bitcask(args!["repair", &store, "--hints", "--manifest"]).exits(2);
}

#[test]
fn a_torn_tail_is_named_and_cut() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2")]);
    let file = &data_files(&store)[0];
    let bytes = std::fs::read(file).unwrap();
    // Without the close marker and the last byte before it nothing says that the last write was whole.
    let marker_len = 40;
    let cut = bytes.len() - marker_len - 1;
    std::fs::write(file, &bytes[..cut]).unwrap();
    let run = bitcask(args!["repair", &store]).done();
    assert!(run.text().contains("torn tail: ") && run.text().contains("--cut-tail"), "{}", run.text());
    let run = bitcask(args!["repair", &store, "--cut-tail"]).done();
    assert!(run.text().starts_with("cut "), "{}", run.text());
    bitcask(args!["verify", &store]).done();
}

#[test]
fn a_damaged_manifest_is_made_again_and_kept() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"2")]);
    let manifest = store.join("MANIFEST");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[30] ^= 4;
    std::fs::write(&manifest, &bytes).unwrap();
    bitcask(args!["get", &store, "a"]).exits(3);
    let report = bitcask(args!["repair", &store, "--json"]).exits(3).json();
    assert_eq!(report["remedies"], serde_json::json!(["--manifest"]));
    let run = bitcask(args!["repair", &store, "--manifest"]).done();
    assert_eq!(run.text(), "made MANIFEST, which lists 0000000001.data\n");
    assert_eq!(std::fs::read(store.join("MANIFEST.damaged")).unwrap(), bytes);
    bitcask(args!["get", &store, "a"]).done().prints("1");
    bitcask(args!["put", &store, "a", "3"]).done();
    assert_eq!(bitcask(args!["scan", &store]).done().sorted_lines(), ["a\t3", "b\t2"]);
}

#[test]
fn a_salvage_saves_the_rest_and_is_exit_code_3() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"value of a"), (b"b", b"value of b"), (b"c", b"value of c")]);
    let saved = place.path("saved");
    // The key, which stands in front of the value.
    let file = damage(&store, b"bvalue of b");
    let bytes = std::fs::read(&file).unwrap();
    bitcask(args!["repair", &store]).exits(3).says("damage was found");
    let report = bitcask(args!["repair", &store, "--salvage", &saved, "--json"]).exits(3).json();
    assert_eq!((&report["salvaged"], report["lost"].as_array().unwrap().len()), (&2.into(), 1));
    assert_eq!(bitcask(args!["scan", &saved]).done().sorted_lines(), ["a\tvalue of a", "c\tvalue of c"]);
    assert_eq!(std::fs::read(file).unwrap(), bytes);
    bitcask(args!["repair", &store, "--salvage", &saved]).exits(4).says("not empty");
}

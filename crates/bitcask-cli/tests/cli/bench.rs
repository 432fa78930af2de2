//! `bench`.

use crate::run::{Place, args, bitcask};

#[test]
fn bench_measures_puts_and_gets() {
    let place = Place::new();
    let store = place.store();
    let run =
        bitcask(args!["bench", &store, "--keys", "1000", "--threads", "3", "--value-size", "1KiB", "--json"])
            .done();
    let report = run.json();
    assert_eq!(
        (&report["keys"], &report["value_bytes"], &report["threads"]),
        (&1000.into(), &1024.into(), &3.into())
    );
    for (phase, name) in report["phases"].as_array().unwrap().iter().zip(["put", "get"]) {
        assert_eq!((&phase["name"], &phase["ops"]), (&name.into(), &1000.into()));
        let numbers = ["p50_ns", "p99_ns", "p999_ns", "max_ns"].map(|number| phase[number].as_u64().unwrap());
        assert!(numbers[0] > 0 && numbers.is_sorted(), "{phase}");
        assert!(phase["ops_per_second"].as_u64().unwrap() > 0);
    }
    bitcask(args!["count", &store]).done().prints("1000\n");
}

#[test]
fn bench_prints_a_table() {
    let place = Place::new();
    std::fs::create_dir(place.store()).unwrap();
    let run =
        bitcask(args!["bench", place.store(), "--keys", "10", "--durability", "always", "--value-size", "0"])
            .done();
    for part in
        ["10 keys of 16 bytes", "durability: always", "OPS/S", "P99.9", "put ", "get ", "sync after the puts"]
    {
        assert!(run.text().contains(part), "{part}: {}", run.text());
    }
}

#[test]
fn bench_refuses_a_directory_with_anything_in_it() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    bitcask(args!["bench", &store, "--keys", "10"]).exits(4).says("is not empty");
    bitcask(args!["count", &store]).done().prints("1\n");
}

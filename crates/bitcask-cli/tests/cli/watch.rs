//! `watch`: every commit as it comes, each on a line, with the position to go on from.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout};

use bitcask::{Durability, MergeOptions, MergePolicy, Options};
use serde_json::{Value, json};

use crate::run::{Place, args, bitcask, bitcask_with_input, command, damage};

/// A `watch` that goes on, and the lines that come from it.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    /// Has begun, and said where.
    fn new(store: &Path) -> (Self, u64) {
        let mut child = command(args!["watch", store]).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watch = Self { child, lines };
        let first = watch.next();
        assert_eq!(first["changes"], json!([]));
        (watch, position(&first))
    }

    /// Waits for the next line.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

fn position(line: &Value) -> u64 {
    line["position"].as_u64().unwrap()
}

/// What is there behind a position, without the first line, which names it.
fn since(store: &Path, from: u64) -> Vec<Value> {
    let run = bitcask(args!["watch", store, "--from", from.to_string(), "--until-now"]).done();
    let mut lines: Vec<Value> = run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.remove(0), json!({"position": from, "changes": []}));
    lines
}

fn batch(store: &Path, lines: &[&str]) {
    bitcask_with_input(args!["batch", store], lines.join("\n").as_bytes()).done();
}

#[test]
fn each_commit_is_one_line_and_each_line_is_a_place_to_go_on_from() {
    let place = Place::new();
    let store = place.store();
    let binary = r#"{"op":"put","key64":"/w==","value64":"/g=="}"#;
    let expiring = r#"{"op":"put","key":"b","value":"2","expires":4102444800000000}"#;
    let delete = r#"{"op":"delete","key":"a"}"#;
    bitcask(args!["put", &store, "a", "1\n"]).done();
    batch(&store, &[expiring, binary, delete]);
    bitcask(args!["delete", &store, "b"]).done();
    let lines = since(&store, 0);
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let expected = [
        json!([{"op": "put", "key": "a", "value": "1\n"}]),
        json!([parsed(expiring), parsed(binary), parsed(delete)]),
        json!([{"op": "delete", "key": "b"}]),
    ];
    assert_eq!(lines.iter().map(|line| line["changes"].clone()).collect::<Vec<_>>(), expected);
    assert!(lines.is_sorted_by(|one, other| position(one) < position(other)));
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(since(&store, position(line)), lines[index + 1..]);
    }
}

#[test]
fn commits_come_while_another_process_writes() {
    let place = Place::new();
    let store = place.store_with(&[(b"before", b"1")]);
    let before = position(since(&store, 0).last().unwrap());
    let (mut watch, first) = Watch::new(&store);
    assert_eq!(first, before, "what was there before does not come");
    // One that stays open, and ones that come and go.
    let writer = bitcask::open(&store, Options::new().durability(Durability::Always)).unwrap();
    writer.put("a", "1").unwrap();
    let line = watch.next();
    assert_eq!(line["changes"], json!([{"op": "put", "key": "a", "value": "1"}]));
    assert!(position(&line) > first);
    let mut all = writer.batch();
    all.put("b", "2").delete("a");
    assert!(all.commit().unwrap());
    assert_eq!(watch.next()["changes"].as_array().unwrap().len(), 2);
    writer.close().unwrap();
    for number in ["1", "2"] {
        bitcask(args!["put", &store, "c", number]).done();
        assert_eq!(watch.next()["changes"][0]["value"], number);
    }
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_ends_it_though_nothing_is_written() {
    let place = Place::new();
    let (watch, _) = Watch::new(&place.store_with(&[(b"a", b"1")]));
    drop(watch.lines);
    let output = watch.child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_without_a_word() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let place = Place::new();
    let (watch, _) = Watch::new(&place.store_with(&[(b"a", b"1")]));
    kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();
    let output = watch.child.wait_with_output().unwrap();
    assert_eq!((output.status.signal(), output.stderr.as_slice()), (Some(2), b"".as_slice()));
}

#[test]
fn positions_that_cannot_be_had_are_exit_code_4_and_named() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"a", b"2"), (b"b", b"1")]);
    let last = position(since(&store, 0).last().unwrap());
    let watch = |from: u64| bitcask(args!["watch", &store, "--from", from.to_string()]);
    watch(last + 1).exits(4).prints("").says("the log");
    bitcask(args!["merge", &store]).done();
    watch(0)
        .exits(4)
        .prints("")
        .says("not all changes since 0 are there any more")
        .says(&format!("those since {last} are"));
    assert_eq!(since(&store, last), [Value::Null; 0]);
    bitcask(args!["watch", place.path("nowhere")]).exits(4).says("nowhere");
    bitcask(args!["watch", &store, "--until-now"]).exits(2);
}

/// What it had begun to read it reads to the end; then it says that something is missing.
#[test]
fn a_merge_that_passes_a_slow_reader_ends_it_with_exit_code_4() {
    let place = Place::new();
    let store = place.store();
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    let writer = bitcask::open(&store, Options::new().max_file_size(128 << 10).merge(merge)).unwrap();
    writer.put("begin", "1").unwrap();
    writer.sync().unwrap();
    let (watch, _) = Watch::new(&store);
    // Far more than a pipe holds, so it cannot have printed all before the merge.
    let value = "v".repeat(10_000);
    (0..200).for_each(|n| writer.put(format!("key {}", n % 10), &value).unwrap());
    assert!(writer.merge().unwrap().inputs > 0);
    writer.close().unwrap();
    let count = watch.lines.count();
    let output = watch.child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{count} lines; {complaint}");
    assert!(complaint.contains("not all changes since"), "{complaint}");
}

#[test]
fn damage_is_exit_code_3_and_what_comes_before_is_printed() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1"), (b"b", b"the value that is damaged"), (b"c", b"1")]);
    damage(&store, b"the value that is damaged");
    let run = bitcask(args!["watch", &store, "--from", "0", "--until-now"]).exits(3);
    let lines: Vec<Value> = run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["changes"], json!([{"op": "put", "key": "a", "value": "1"}]));
    run.says("b");
}

#[test]
fn batch_makes_a_replica_of_what_watch_prints() {
    let place = Place::new();
    let (store, replica) = (place.store(), place.path("replica"));
    let scan = |store: &Path| {
        let run = bitcask(args!["scan", store, "--json"]).done();
        run.sorted_lines().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut from = 0;
    for round in 0..4 {
        let put = |n: usize| format!(r#"{{"op":"put","key":"key {}","value":"{round}"}}"#, n % 7);
        let lines: Vec<String> = (round..round + 3).map(put).collect();
        batch(&store, &[&lines[0], &lines[1], r#"{"op":"put","key":"short","value":"1","expires":1}"#]);
        batch(&store, &[&lines[2], r#"{"op":"put","key64":"/w==","value":"1","expires":4102444800000000}"#]);
        bitcask(args!["delete", &store, format!("key {round}")]).done();
        let from_here = args!["watch", &store, "--from", from.to_string(), "--until-now"];
        let printed = bitcask(from_here).done();
        bitcask_with_input(args!["batch", &replica], &printed.stdout).done();
        assert_eq!(scan(&replica), scan(&store), "round {round}");
        from = position(&serde_json::from_str(printed.text().lines().last().unwrap()).unwrap());
    }
    assert_eq!(scan(&replica).len(), 3);
    // Again from the beginning it comes to the same; with nothing new, nothing is written.
    let all = bitcask(args!["watch", &store, "--from", "0", "--until-now"]).done();
    bitcask_with_input(args!["batch", &replica], &all.stdout).done();
    assert_eq!(scan(&replica), scan(&store));
    let nothing = bitcask(args!["watch", &store, "--from", from.to_string(), "--until-now"]).done();
    bitcask_with_input(args!["batch", &replica], &nothing.stdout)
        .done()
        .prints("wrote 0 puts and 0 deletes as one, 0 B\n");
}

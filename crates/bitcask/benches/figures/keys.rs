//! Many small values: what a key costs in memory, and how long an open takes.
//!
//! Each open is done by a process of its own, whose memory is untouched.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bitcask::{Bitcask, Options};

use crate::arguments::Arguments;
use crate::measure::Report;
use crate::workload;

/// Commands for the processes that this one starts.
pub(crate) const REOPEN: &str = "reopen";
pub(crate) const WRITE_AND_WAIT: &str = "write-and-wait";
const WRITTEN: &str = "written";

pub(crate) fn run(arguments: &mut Arguments) {
    let count = arguments.number("keys", 10_000_000_u32).max(1);
    let directory = arguments.directory();
    let mut report = Report::new(arguments.has("json"));

    let path = directory.path().join("closed");
    let before = anonymous_bytes();
    let begin = Instant::now();
    let db = fill(&path, arguments.options(), count);
    report.figure("put", begin.elapsed().as_nanos() as f64 / f64::from(count), "ns per key");
    report.figure("memory after writing", per_key(anonymous_bytes() - before, count), "bytes per key");
    report.figure("keydir after writing", per_key(db.status().keydir_bytes as f64, count), "bytes per key");
    db.close().expect("the store closes");
    drop(db);
    reopen_in_child(arguments, &path, count, "close", &mut report);
    std::fs::remove_dir_all(&path).expect("the store can be removed");

    let path = directory.path().join("killed");
    write_and_kill(arguments, &path, count);
    reopen_in_child(arguments, &path, count, "kill", &mut report);
    report.finish();
}

fn fill(path: &Path, options: Options, count: u32) -> Bitcask {
    let db = bitcask::open(path, options).expect("a store can be made");
    for number in 0..count {
        // The keys are random, so their order is.
        db.put(workload::key(number), u64::from(number).to_le_bytes()).expect("a put works");
    }
    db
}

fn per_key(bytes: f64, count: u32) -> f64 {
    bytes / f64::from(count)
}

/// Memory of this process that is no file's; 0 where the system does not tell.
fn anonymous_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

fn child(arguments: &Arguments, command: &str, path: &Path, count: u32) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.args([command, "--keys", &count.to_string(), "--io", arguments.text("io").unwrap_or("mapped")]);
    child.arg("--store").arg(path);
    child
}

fn store(arguments: &Arguments) -> &Path {
    Path::new(arguments.text("store").expect("the parent names the store"))
}

fn reopen_in_child(arguments: &Arguments, path: &Path, count: u32, after: &str, report: &mut Report) {
    let output = child(arguments, REOPEN, path, count).output().expect("this program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers are text");
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    report.figure(format!("open after a {after}"), numbers[0], "ms");
    report.figure(format!("memory after that open, after a {after}"), numbers[1], "bytes per key");
    report.figure(format!("keydir after that open, after a {after}"), numbers[2], "bytes per key");
}

/// In the child: opens the store and prints milliseconds, memory and keydir in bytes per key.
pub(crate) fn reopen(arguments: &mut Arguments) {
    let count = arguments.number("keys", 1_u32);
    let before = anonymous_bytes();
    let begin = Instant::now();
    let db = bitcask::open(store(arguments), arguments.options()).expect("the store opens");
    let opened_ms = begin.elapsed().as_secs_f64() * 1e3;
    assert_eq!(db.len(), u64::from(count), "every key is there");
    let memory = per_key(anonymous_bytes() - before, count);
    println!("{opened_ms} {memory} {}", per_key(db.status().keydir_bytes as f64, count));
}

fn write_and_kill(arguments: &Arguments, path: &Path, count: u32) {
    let mut writer = child(arguments, WRITE_AND_WAIT, path, count)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let output = writer.stdout.take().expect("its output is piped");
    let written = BufReader::new(output).lines().next().expect("it says when it is ready");
    assert_eq!(written.expect("it says so in text"), WRITTEN);
    writer.kill().expect("it can be killed");
    writer.wait().expect("it is dead");
}

/// In the child: writes the store, says so, and waits to be killed.
pub(crate) fn write_and_wait(arguments: &mut Arguments) {
    let db = fill(store(arguments), arguments.options(), arguments.number("keys", 1));
    println!("{WRITTEN}");
    let _ = std::io::stdin().lines().next();
    drop(db);
}

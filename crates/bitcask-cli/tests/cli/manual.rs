//! The examples of `docs/cli.md` do what the page says.
#![cfg(unix)]

use std::process::Command;

use crate::basho_files::Files;
use crate::run::Place;

/// The console blocks of the page: what is typed, and what is shown.
fn examples(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks
        .map(|block| {
            let (typed, shown): (Vec<_>, Vec<_>) = block.lines().partition(|line| line.starts_with("$ "));
            (typed.into_iter().map(|line| &line[2..]).collect(), shown)
        })
        .collect()
}

/// Whether the line is as expected, where `...` is any text.
fn matches(line: &str, expected: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || expected.ends_with("...")
}

/// The two partitions of the page's `./riak`, written before its first example.
fn write_riak(place: &Place) {
    let [first, last] =
        ["0", "1438665674247607560106752257205091097473808596992"].map(|name| place.path("riak").join(name));
    let (ada, bob, cy) = (b"\x02\0\x05usersada", b"\x02\0\x05usersbob", b"\x02\0\x05userscy");
    Files::default().entry(1_300_000_000, ada, b"Ada").entry(1_300_000_001, bob, b"Bob").write(&first, 1);
    Files::default().tombstone(1_300_000_002, bob).write(&first, 2);
    Files::default().entry(1_300_000_000, ada, b"Ada").entry(1_300_000_003, cy, b"Cy").write(&last, 1);
}

#[test]
fn the_examples_of_the_manual_do_what_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).unwrap();
    let place = Place::new();
    write_riak(&place);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bitcask")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let examples = examples(&page);
    assert!(examples.len() > 5);
    for (typed, expected) in examples {
        let mut shown = String::new();
        for command in typed {
            let script = format!("exec 2>&1; {command}");
            let output = Command::new("sh")
                .args(["-c", &script])
                .current_dir(place.path(""))
                .env("PATH", &path)
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            shown.push_str(&String::from_utf8(output.stdout).unwrap());
            // `get` ends its value with a newline on a terminal only.
            if !shown.is_empty() && !shown.ends_with('\n') {
                shown.push('\n');
            }
        }
        let same = shown.lines().count() == expected.len()
            && shown.lines().zip(&expected).all(|(line, expected)| matches(line, expected));
        assert!(same, "shown:\n{shown}\nin the manual:\n{}", expected.join("\n"));
    }
}

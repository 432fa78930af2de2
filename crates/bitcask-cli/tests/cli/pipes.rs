//! Readers that go away, and terminals.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::run::{Place, args, bitcask, bitcask_with_input, command};

/// Far more than a pipe holds.
const ENTRIES: usize = 20_000;

fn big_store(place: &Place) -> std::path::PathBuf {
    let lines: String = (0..ENTRIES)
        .map(|number| format!("{{\"key\":\"key {number}\",\"value\":\"{number:0100}\"}}\n"))
        .collect();
    let store = place.store();
    bitcask_with_input(args!["import", &store, "--jsonl", "-"], lines.as_bytes()).done();
    store
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let store = big_store(&place);
    let data = &crate::run::data_files(&store)[0];
    let verbs = [
        args!["keys", &store],
        args!["scan", &store],
        args!["scan", &store, "--json"],
        args!["export", &store, "--jsonl", "-"],
        args!["export", &store, "--csv", "-"],
        args!["dump", data],
    ];
    for words in verbs {
        let mut child = command(&words).spawn().unwrap();
        let mut line = String::new();
        // Dropped at the end of the statement, with the pipe.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words:?}");
    }
}

#[test]
fn a_reader_that_was_never_there_is_no_failure_either() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"1")]);
    let verbs = [args!["get", &store, "a"], args!["status", &store], args!["count", &store], args!["--help"]];
    for words in verbs {
        let mut child = command(&words).stdin(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{words:?}");
    }
}

#[test]
fn there_is_no_progress_bar_where_nobody_watches() {
    let place = Place::new();
    let store = big_store(&place);
    let run = bitcask(args!["export", &store, "--jsonl", place.path("out")]).done();
    assert_eq!(run.stderr, "");
    let run = bitcask(args!["import", &store, "--jsonl", place.path("out")]).done();
    assert_eq!(run.stderr, "");
}

#[cfg(target_os = "linux")]
mod terminal {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal: the end that the person sees, and the one that the command writes to.
    fn terminal() -> (File, OwnedFd) {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let user = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        (controller.into(), user)
    }

    /// All that the terminal shows until the command has closed it.
    fn shown(mut screen: File) -> String {
        let mut bytes = Vec::new();
        // Linux reports the end as an error.
        let _ = screen.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    fn stdout_on_terminal(words: Vec<std::ffi::OsString>) -> String {
        let (screen, user) = terminal();
        let mut child = command(&words).stdout(user).spawn().unwrap();
        let text = shown(screen);
        assert!(child.wait().unwrap().success());
        text
    }

    #[test]
    fn a_value_on_a_terminal_ends_with_a_newline() {
        let place = Place::new();
        let store = place.store_with(&[(b"a", b"1")]);
        assert_eq!(stdout_on_terminal(args!["get", &store, "a"]), "1\r\n");
    }

    #[test]
    fn listings_on_a_terminal_cannot_move_its_cursor() {
        let place = Place::new();
        let store = place.store_with(&[(b"a\x1b[2J\xff", b"\x07")]);
        assert_eq!(stdout_on_terminal(args!["keys", &store]), "a\\u{1b}[2J\\xff\r\n");
        assert_eq!(stdout_on_terminal(args!["scan", &store]), "a\\u{1b}[2J\\xff\t\\u{7}\r\n");
    }

    #[test]
    fn there_is_a_progress_bar_on_a_terminal() {
        let place = Place::new();
        let store = big_store(&place);
        let (out, deletes) = (place.path("out"), place.path("deletes"));
        let lines: String =
            (0..ENTRIES).map(|number| format!("{{\"op\":\"delete\",\"key\":\"key {number}\"}}\n")).collect();
        std::fs::write(&deletes, lines).unwrap();
        for (words, what) in [
            (args!["export", &store, "--csv", &out], "exporting ["),
            (args!["import", &store, "--csv", &out], "importing ["),
            (args!["convert", &store, place.path("text"), "--format", "csv"], "converting ["),
            (args!["batch", &store, "--file", &deletes], "reading ["),
        ] {
            let (screen, user) = terminal();
            let mut child = command(&words).env("TERM", "xterm").stderr(user).spawn().unwrap();
            let text = shown(screen);
            assert!(child.wait().unwrap().success());
            assert!(text.contains(what) && text.contains("left"), "{text:?}");
        }
    }
}

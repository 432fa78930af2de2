//! What limits of the system do: descriptors, the size of files, a full file system.

use std::path::Path;
use std::process::{Command, Stdio};

use bitcask::{Durability, Io, Options};
use bitcask_testing::{say, skip};

use crate::start_by;

/// Writes until that fails, and says how; then reads everything.
pub(crate) fn fill(store: &Path, io: Io, max_file_size: u64) {
    let options = Options::new().io(io).max_file_size(max_file_size).durability(Durability::Os);
    let db = match bitcask::open(store, options) {
        Ok(db) => db,
        Err(error) => return say(format!("open: {error}")),
    };
    let mut written = 0;
    let error = loop {
        match db.put(format!("key{written}"), format!("{written} {}", "x".repeat(1000))) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000_000, "nothing ever fails here");
    };
    assert!(db.status().poisoned.is_none(), "{error}");
    for n in 0..written {
        let value = db.get(format!("key{n}")).unwrap().unwrap();
        assert!(value.starts_with(format!("{n} ").as_bytes()));
    }
    say(format!("{} {written} {error}", if error.is_full() { "full" } else { "failed" }));
}

/// Runs `fill` under a limit; what it wrote is there afterwards.
fn fill_under(limit: &str, role: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut other = start_by(&format!("{limit} exec"), role, dir.path());
    let said = other.line().unwrap_or_default();
    assert!(said.starts_with(expected), "{role} under {limit}: {said:?}");
    println!("{role} under {limit} {said}");
    drop(other);
    let written: usize = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(written > 0, "{said}");
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    for n in 0..written {
        assert!(db.contains(format!("key{n}")).unwrap(), "{role} under {limit}: key{n}");
    }
}

#[test]
fn too_few_file_descriptors_are_a_clear_error_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        fill_under("ulimit -n 24;", role, "full");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    for role in ["fill-large-mapped", "fill-large-syscall"] {
        // In units of 512 bytes: less than a data file, more than its first allocation.
        fill_under("trap '' XFSZ; ulimit -f 5120;", role, "full");
    }
}

#[test]
fn a_full_file_system_is_an_error_that_says_so_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        let dir = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size=1m tmpfs \"${}\"", bitcask_testing::STORE);
        let can = Command::new("unshare")
            .args(["-m", "sh", "-c", &mount])
            .env(bitcask_testing::STORE, dir.path())
            .stderr(Stdio::null())
            .status();
        if !can.is_ok_and(|status| status.success()) {
            skip("this machine does not allow to mount a tmpfs");
            return;
        }
        let exec = format!("exec unshare -m sh -c '{mount} && exec \"$0\" \"$@\"'");
        let mut other = start_by(&exec, role, dir.path());
        let said = other.line().unwrap_or_default();
        println!("{role} on a small tmpfs: {said}");
        assert!(said.starts_with("full"), "{said}");
    }
}

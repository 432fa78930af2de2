//! Stores that may be read and not written.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitcask::Options;
use bitcask_testing::{content, say, skip};

use crate::{mounted, start_by};

pub(crate) fn look(store: &Path) {
    match bitcask::open(store, Options::default()) {
        Ok(_) => say("opened"),
        Err(error) if error.is_read_only() => say(format!("read-only {error}")),
        Err(error) => say(error),
    }
    let read = bitcask::open(store, Options::read_only()).and_then(|db| {
        db.refresh()?;
        db.get("key")
    });
    match read {
        Ok(value) => say(format!("read {}", String::from_utf8_lossy(&value.unwrap()))),
        Err(error) => say(error),
    }
}

#[test]
fn a_directory_without_write_permission_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    closed_store(&store);
    for (path, mode) in [(dir.path(), 0o755), (&store, 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for file in content(&store).keys() {
        std::fs::set_permissions(store.join(file), std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    let before = content(&store);
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let test = format!("{nobody} test -x '{}'", std::env::current_exe().unwrap().display());
    let tested = Command::new("sh").args(["-c", &test]).status();
    if !tested.is_ok_and(|status| status.success()) {
        skip("this machine does not let the test become another user");
        return;
    }
    let mut other = start_by(&format!("exec {nobody}"), "look", &store);
    let refused = other.line().unwrap_or_default();
    assert!(refused.contains("ermission denied"), "{refused}");
    assert_eq!(other.line().as_deref(), Some("read value"));
    assert_eq!(content(&store), before);
}

/// A store with one key, closed.
fn closed_store(store: &Path) {
    let db = bitcask::open(store, Options::default()).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
}

#[test]
fn a_store_on_a_read_only_mount_is_read_and_not_written() {
    // Those of the system's own directory and of memory are different file systems, as a rule.
    for parent in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let Ok(dir) = tempfile::tempdir_in(&parent) else {
            skip(format_args!("this machine lets nobody write to {}", parent.display()));
            continue;
        };
        closed_store(dir.path());
        let before = content(dir.path());
        let mount = "mount --bind DIR DIR && mount -o remount,bind,ro DIR";
        let Some(exec) = mounted(mount, dir.path()) else { return };
        let (said, status) = start_by(&exec, "look", dir.path()).end();
        assert!(status.success(), "{said:?}");
        assert!(said[0].starts_with("read-only ") && said[0].contains("Read-only file system"), "{said:?}");
        assert_eq!(said[1..], ["read value"]);
        assert_eq!(content(dir.path()), before);

        // Where there is no store yet, none is made.
        let empty = tempfile::tempdir_in(&parent).unwrap();
        let (said, _) = start_by(&exec, "look", empty.path()).end();
        assert!(said[0].starts_with("read-only ") && said[0].contains("Read-only file system"), "{said:?}");
        assert!(said[1].contains("is not a Bitcask store"), "{said:?}");
        assert!(content(empty.path()).is_empty());
    }
}

/// Files that even root may not change, until this is dropped.
struct Immutable<'a>(&'a Path);

impl<'a> Immutable<'a> {
    fn new(dir: &'a Path) -> Option<Self> {
        chattr("+i", dir).then(|| Self(dir))
    }
}

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        chattr("-i", self.0);
    }
}

fn chattr(change: &str, dir: &Path) -> bool {
    let mut command = Command::new("chattr");
    let outcome = command.args(["-R", change]).arg(dir).stderr(Stdio::null()).status();
    outcome.is_ok_and(|status| status.success())
}

#[test]
fn a_store_that_nobody_may_change_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    let before = content(dir.path());
    let Some(_immutable) = Immutable::new(dir.path()) else {
        // Also half-way, where the file system has no such attribute.
        chattr("-i", dir.path());
        skip("this machine does not let the test make files immutable");
        return;
    };
    let error = bitcask::open(dir.path(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("not permitted"), "{error}");
    let db = bitcask::open(dir.path(), Options::read_only()).unwrap();
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
    assert_eq!(content(dir.path()), before);
}

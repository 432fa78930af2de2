//! Stores that may be read and not written.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bitcask::Options;
use bitcask_testing::{content, say, skip};

use crate::start_by;

pub(crate) fn look(store: &Path) {
    match bitcask::open(store, Options::default()) {
        Ok(_) => say("opened"),
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
    let db = bitcask::open(&store, Options::default()).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    drop(db);
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

//! A process that is stopped, for however long: it is not dead.

use std::path::Path;
use std::time::Duration;

use bitcask::{Options, PutOptions};
use bitcask_testing::{OtherProcess, say, wait_for_parent};

use crate::start;

/// Holds the store until the parent lets go, and goes on.
pub(crate) fn hold(store: &Path) {
    let db = bitcask::open(store, Options::default()).unwrap();
    let hour = PutOptions::new().expires_in(Duration::from_secs(3600));
    db.put_with("in an hour", "here", &hour).unwrap();
    say("open");
    wait_for_parent();
    assert!(db.contains("in an hour").unwrap());
    db.put("afterwards", "it goes on").unwrap();
    db.close().unwrap();
    say("closed");
}

/// Stops a process, and returns when all of its threads have stopped.
fn stop(process: &OtherProcess) {
    process.signal("STOP");
    let stopped = |id: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/task/{id}/stat"));
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    };
    let id = process.id();
    let tasks = || std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    while !tasks().all(|task| stopped(&task.unwrap().file_name().into_string().unwrap())) {
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_process_keeps_the_lock_and_what_it_wrote_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = start("stop", dir.path());
    assert_eq!(holder.line().as_deref(), Some("open"));
    stop(&holder);

    assert!(bitcask::open(dir.path(), Options::default()).unwrap_err().is_locked());
    let (said, _) = start("hold", dir.path()).end();
    assert_eq!(said, ["locked"]);
    let reader = bitcask::open(dir.path(), Options::read_only()).unwrap();
    assert!(reader.contains("in an hour").unwrap());

    holder.signal("CONT");
    holder.let_go();
    let (said, status) = holder.end();
    assert_eq!((said, status.success()), (vec!["closed".to_owned()], true));
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    assert!(db.status().recovery.clean);
    assert!(db.contains("in an hour").unwrap() && db.contains("afterwards").unwrap());
}

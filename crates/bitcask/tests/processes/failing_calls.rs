//! System calls that fail under a canonical run, once or from then on: what was acknowledged stays, what failed is not there
//! unless a sync left it in doubt, and the run comes to its end.

use std::collections::BTreeSet;
use std::path::Path;

use bitcask_testing::{Sweep, Tier};

use crate::calls::{self, Call, Disturbed, Run, is_of_log, parse, trace};
use crate::canonical::{self, BEGINS, DONE, Operation, Way};

/// Which kinds fail, and how. A write that returns 0 is as short as can be; `strace` makes none that is shorter than asked.
const FAILURES: [(&str, &[&str]); 13] = [
    ("openat", &["error=EIO", "error=EMFILE"]),
    ("pread64", &["error=EIO"]),
    ("pwrite64", &["error=EIO", "error=ENOSPC", "retval=0"]),
    ("fsync", &["error=EIO", "error=ENOSPC"]),
    ("fdatasync", &["error=EIO", "error=ENOSPC"]),
    ("ftruncate", &["error=EIO"]),
    ("fallocate", &["error=ENOSPC", "error=EIO"]),
    ("renameat", &["error=EIO", "error=ENOSPC"]),
    ("unlinkat", &["error=EIO", "error=EACCES"]),
    ("mkdir", &["error=ENOSPC"]),
    ("flock", &["error=ENOLCK"]),
    ("mmap", &["error=ENOMEM", "error=EACCES"]),
    ("getdents64", &["error=EIO"]),
];

/// What a signal may interrupt.
const INTERRUPTED: [&str; 8] =
    ["openat", "pread64", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "flock"];

#[test]
fn whichever_system_call_fails_it_fails_cleanly_and_what_was_acknowledged_stays() {
    let sweep = Sweep::new("whichever_system_call_fails_it_fails_cleanly_and_what_was_acknowledged_stays");
    if !calls::strace_works() {
        return;
    }
    let (once, for_ever) = Tier::pick((2, 1), (usize::MAX, usize::MAX), (usize::MAX, usize::MAX));
    let mut reached = 0;
    for way in &Way::ALL[..Tier::pick(2, 2, 6)] {
        let run = calls::of_a_run(*way);
        let mut fail = |call: &Call, what: &str| {
            let case = format!("{}-{call}-{what}", way.name);
            reached += u64::from(sweep.case(case, |_| fails(&run, *way, call, what)) == Some(true));
        };
        for (kind, failures) in FAILURES {
            for what in failures {
                Run::spread(&run.calls, kind, once).into_iter().for_each(|call| fail(call, what));
                let again = format!("{what}+");
                Run::spread(&run.of_all, kind, for_ever).into_iter().for_each(|call| fail(call, &again));
            }
        }
    }
    println!("{reached} runs came to the call that was to fail");
    let at_least = Tier::pick(90, 1_500, 4_500);
    assert!(!sweep.is_whole() || reached >= at_least, "only {reached} runs came to it");
    sweep.finish(at_least);
}

/// A run in which this call fails: whether it came to it.
fn fails(run: &Run, way: Way, call: &Call, what: &str) -> bool {
    let dir = calls::place();
    let Disturbed { account, status, failed } = run.disturb(dir.path(), way, call, what);
    assert!(status.success(), "it neither panics nor hangs: {status}, {:#?}", account.failures);
    account.check_end();
    if call.kind.ends_with("sync") {
        check_syncs(dir.path());
    }
    canonical::check(&dir.path().join("store"), way, &account.states);
    failed
}

/// No write is acknowledged after a file of the log was synced again whose sync had failed: what the system has dropped
/// then no later sync brings to the disk.
fn check_syncs(place: &Path) {
    let store = place.join("store").display().to_string();
    let (mut failed, mut again) = (BTreeSet::new(), None);
    let mut next = 0;
    let mut calls = trace(place);
    calls.sort_by_key(|call| call.end);
    for call in calls {
        if call.text.contains(BEGINS) {
            next += 1;
            if next > 1 && matches!(Operation::nth(next - 2), Operation::Reopen) {
                // An open writes anew what it does not know to be durable.
                (failed, again) = (BTreeSet::new(), None);
            }
        } else if call.text.contains(DONE) {
            let write = matches!(Operation::nth(next - 1), Operation::Write(_));
            assert!(!write || again.is_none(), "operation {} is acknowledged: {again:?}", next - 1);
        }
        let Some((kind, file)) = parse(&call.text, &store) else { continue };
        if kind == "openat" && call.text.contains("O_CREAT") {
            failed.retain(|(name, _)| name != file);
        } else if kind.ends_with("sync") && is_of_log(file) {
            if call.result.starts_with("-1") {
                failed.insert((file.to_owned(), call.end));
            } else if failed.iter().any(|(name, end)| name == file && *end < Some(call.begin)) {
                again = Some(call);
            }
        }
    }
}

/// The `flock` of an open was not made again, nor the `openat` by which a directory is listed: on a file system over a
/// network a signal made an open fail. Found by this sweep.
#[test]
fn a_system_call_that_is_interrupted_is_made_again_and_nobody_is_told() {
    let sweep = Sweep::new("a_system_call_that_is_interrupted_is_made_again_and_nobody_is_told");
    if !calls::strace_works() {
        return;
    }
    for way in &Way::ALL[..Tier::pick(2, 2, 6)] {
        let run = calls::of_a_run(*way);
        for kind in INTERRUPTED {
            for call in Run::spread(&run.calls, kind, Tier::pick(2, usize::MAX, usize::MAX)) {
                sweep.case(format_args!("{}-{call}", way.name), |_| {
                    let dir = calls::place();
                    let Disturbed { account, status, .. } =
                        run.disturb(dir.path(), *way, call, "error=EINTR");
                    assert!(status.success(), "{status}");
                    assert!(account.ended);
                    assert_eq!(account.failures, Vec::<String>::new());
                    assert_eq!(account.read.as_ref(), account.states.first());
                    canonical::check(&dir.path().join("store"), *way, &account.states);
                });
            }
        }
    }
    sweep.finish(Tier::pick(25, 500, 1_500));
}

//! A kill at every system call of a canonical run: what was acknowledged is there, and of the rest a whole operation or none.

use std::os::unix::process::ExitStatusExt;

use bitcask_testing::{Sweep, Tier};

use crate::calls::{self, Call};
use crate::canonical::{self, Account, Way};

/// Kinds that change something: between two of them a kill is the same.
const CHANGING: [&str; 9] =
    ["openat", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "renameat", "unlinkat", "mkdir"];

/// Some of these calls, spread over all of them.
pub(crate) fn spread(calls: &[Call], count: usize) -> impl Iterator<Item = &Call> {
    let count = count.min(calls.len());
    (0..count).map(move |n| &calls[n * calls.len() / count])
}

/// What is killed at in this tier: all calls, or some of each kind that changes something.
fn chosen(all: &[Call]) -> Vec<&Call> {
    let by_kind = |kind: &str| all.iter().filter(|call| call.kind == kind).cloned().collect::<Vec<_>>();
    if Tier::get() != Tier::Commit {
        return all.iter().collect();
    }
    let mut chosen = Vec::new();
    for kind in CHANGING {
        let calls = by_kind(kind);
        for call in spread(&calls, 6) {
            chosen.extend(all.iter().find(|other| *other == call));
        }
    }
    chosen
}

#[test]
fn a_kill_at_any_system_call_leaves_what_was_acknowledged_and_whole_operations() {
    let sweep = Sweep::new("a_kill_at_any_system_call_leaves_what_was_acknowledged_and_whole_operations");
    if !calls::strace_works() {
        return;
    }
    let ways = &Way::ALL[..Tier::pick(2, 6, 6)];
    let (mut cases, mut killed) = (0, 0);
    for way in ways {
        let all = calls::of_a_run(*way);
        for call in chosen(&all) {
            let was_killed = sweep.case(format_args!("{}-{call}", way.name), |_| kill(*way, call));
            cases += u64::from(was_killed.is_some());
            killed += u64::from(was_killed == Some(true));
        }
        println!("{}: {} calls", way.name, all.len());
    }
    println!("{killed} kills");
    assert!(!sweep.is_whole() || killed * 4 >= cases * 3, "only {killed} of {cases} runs were killed");
    sweep.finish(Tier::pick(80, 3_000, 3_000));
}

/// Kills a run at this call, and checks what it leaves: whether it came to the call.
fn kill(way: Way, call: &Call) -> bool {
    let dir = calls::place();
    let run = calls::disturb(dir.path(), way, call, "signal=SIGKILL", "");
    let killed = run.status.signal() == Some(9);
    assert!(killed || run.status.success(), "{}: {:#?}", run.status, run.lines);
    assert_eq!(killed, run.reached);
    if !killed {
        println!("{}: a run that did not come to {call}", way.name);
    }
    let account = Account::of(&run.lines);
    assert_eq!(account.failures, Vec::<String>::new());
    assert_eq!(account.ended, !killed);
    canonical::check(&dir.path().join("store"), way, &account.killed().states);
    killed
}

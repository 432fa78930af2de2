//! A kill at every system call of a canonical run: what was acknowledged is there, and of the rest a whole operation or none.

use std::os::unix::process::ExitStatusExt;

use bitcask_testing::{Sweep, Tier};

use crate::calls::{self, Call, Disturbed, Run};
use crate::canonical::{self, Way};

/// Kinds that change something: between two of them a kill is the same.
const CHANGING: [&str; 9] =
    ["openat", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "renameat", "unlinkat", "mkdir"];

/// What is killed at in this tier: all calls, or some of each kind that changes something.
fn chosen(run: &Run) -> Vec<&Call> {
    match Tier::get() {
        Tier::Commit => CHANGING.iter().flat_map(|kind| Run::spread(&run.calls, kind, 6)).collect(),
        _ => run.calls.iter().collect(),
    }
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
        let run = calls::of_a_run(*way);
        for call in chosen(&run) {
            let was_killed = sweep.case(format_args!("{}-{call}", way.name), |_| kill(&run, *way, call));
            cases += u64::from(was_killed.is_some());
            killed += u64::from(was_killed == Some(true));
        }
        println!("{}: {} calls", way.name, run.calls.len());
    }
    println!("{killed} kills");
    assert!(!sweep.is_whole() || killed * 4 >= cases * 3, "only {killed} of {cases} runs were killed");
    sweep.finish(Tier::pick(80, 3_000, 3_000));
}

/// Kills a run at this call, and checks what it leaves: whether it came to the call.
fn kill(run: &Run, way: Way, call: &Call) -> bool {
    let dir = calls::place();
    let Disturbed { account, status, .. } = run.disturb(dir.path(), way, call, "signal=SIGKILL");
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{status}");
    if !killed {
        println!("{}: a run that did not come to {call}", way.name);
    }
    assert_eq!((account.ended, &account.failures), (!killed, &Vec::new()));
    canonical::check(&dir.path().join("store"), way, &account.killed().states);
    killed
}

//! Real processes on real files: who may open, what a kill leaves, what limits of the system do.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod calls;
mod canonical;
mod failing_calls;
mod kill_at_calls;
mod kills;
mod limits;
mod openers;
mod refusals;
mod rights;
mod stopped;
mod threads;

use std::path::Path;
use std::process::{Command, Stdio};

use bitcask::{Durability, Io, LogFormat, Options};
use bitcask_testing::{OtherProcess, skip};

const IOS: [Io; 2] = [Io::Mapped, Io::Syscall];

/// What a child does; without a role there is nothing to do.
#[test]
fn child() {
    let Some((role, store)) = bitcask_testing::role() else { return };
    let io = if role.ends_with("syscall") { Io::Syscall } else { Io::Mapped };
    let format = match role.rsplit('-').next() {
        Some("json") => LogFormat::Json,
        Some("csv") => LogFormat::Csv,
        _ => LogFormat::Binary,
    };
    match role.split('-').next().unwrap() {
        "hold" => openers::hold(&store),
        "write" => kills::write_for_ever(&store, tiny(io).format(format)),
        "fill" => limits::fill(&store, io, if role.contains("large") { 4 << 20 } else { 64 << 10 }),
        "run" => canonical::run(&store, canonical::Way::named(role.rsplit('-').next().unwrap())),
        "stop" => stopped::hold(&store),
        "look" => rights::look(&store),
        other => panic!("no role {other}"),
    }
    // Nothing of the test harness follows.
    std::process::exit(0);
}

fn tiny(io: Io) -> Options {
    Options::new().io(io).max_file_size(4096).durability(Durability::Os)
}

fn start(role: &str, store: &Path) -> OtherProcess {
    start_by("exec", role, store)
}

fn start_by(exec: &str, role: &str, store: &Path) -> OtherProcess {
    OtherProcess::start("child", role, store, exec)
}

/// What comes before a command that is to see a mount of its own, made by a command of the shell; `None`, and a word of
/// it, where this machine does not allow that. The mount goes with the command.
fn mounted(mount: &str, dir: &Path) -> Option<String> {
    // As it is, or as the root of a namespace of its own.
    for unshare in ["unshare -m", "unshare -rm"] {
        let quoted = mount.replace("DIR", &format!("\"${}\"", bitcask_testing::STORE));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {unshare} sh -c '{quoted}'")]).env(bitcask_testing::STORE, dir);
        if command.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some(format!("exec {unshare} sh -c '{quoted} && exec \"$0\" \"$@\"'"));
        }
    }
    skip(format_args!("this machine does not allow: {mount}"));
    None
}

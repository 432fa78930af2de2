//! `watch`: every commit of a store, as it comes.

use std::time::Duration;

use super::open_reader;
use crate::cli::WatchArgs;
use crate::failure::{Exit, Failure};
use crate::formats::CommitLine;
use crate::output::{Output, stdout_has_reader};

/// How often it looks whether anybody still reads, while nothing is written.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn watch(args: &WatchArgs) -> Result<Exit, Failure> {
    let store = open_reader(&args.dir)?;
    let from = args.from.unwrap_or_else(|| store.snapshot().timestamp_us());
    let mut changes = store.changes(from)?;
    // A writer that is faster must not keep it from ending.
    let end = if args.until_now { store.snapshot().timestamp_us() } else { u64::MAX };
    let mut output = Output::stdout();
    print(&mut output, &CommitLine::at(from))?;
    loop {
        for commit in changes.by_ref() {
            let commit = commit?;
            if commit.timestamp_us > end {
                return Ok(Exit::Done);
            }
            print(&mut output, &CommitLine::of(&commit))?;
        }
        if args.until_now {
            return Ok(Exit::Done);
        }
        while !changes.wait(LOOK_EVERY)? {
            if !stdout_has_reader() {
                return Err(Failure::ClosedPipe);
            }
        }
    }
}

/// A line reaches its reader at once.
fn print(output: &mut Output, line: &CommitLine<'_>) -> Result<(), Failure> {
    output.json_line(line)?;
    output.finish()
}

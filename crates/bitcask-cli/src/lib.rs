//! The `bitcask` command: one verb, one store, one exit code. A library only so that fuzz targets can reach its parsers;
//! who wants to use a store from Rust wants the crate `bitcask`.
//!
//! Layers, each using only those below: this file; `verbs` (one file a verb); `formats` (what import reads and export
//! writes); `cli`; `progress`; `log`, `json`, `output`, `paths`, `bytes`, `failure`.

mod bytes;
mod cli;
mod failure;
mod formats;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod log;
mod output;
mod paths;
mod progress;
mod verbs;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use crate::output::complain;

/// Does what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error).into(),
    };
    if let Some(level) = cli.log {
        log::begin(level);
    }
    match verbs::run(&cli.verb) {
        Ok(exit) => exit,
        Err(failure) => {
            if !matches!(failure, Failure::ClosedPipe) {
                complain(&failure);
            }
            failure.exit()
        }
    }
    .into()
}

/// Prints the help that was asked for, or what is wrong with the command line.
fn explain(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // A reader of the help who closes the pipe has read enough.
        let _ = error.print();
        return Exit::Done;
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").map_or_else(|| text.clone(), |rest| format!("bitcask: {rest}"));
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Usage
}

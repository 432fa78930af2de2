//! `clear`: removes all keys at once.

use bitcask::{ClearReport, OpenMode};
use indicatif::HumanBytes;
use serde::Serialize;

use super::merge::not_removed;
use super::{counted, with_writer};
use crate::cli::ClearArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;

#[derive(Serialize)]
struct Report {
    keys: u64,
    files: u64,
    bytes: u64,
    not_removed: Vec<String>,
}

pub(super) fn clear(args: &ClearArgs) -> Result<Exit, Failure> {
    let options = args.writer.options(OpenMode::Existing);
    let cleared = with_writer(&args.store.dir, options, |store| Ok(store.clear()?))?;
    let ClearReport { keys, files, bytes, not_removed: left, .. } = cleared;
    let report = Report { keys, files, bytes, not_removed: left };
    let (keys, files) = (counted(keys, "key", "keys"), counted(files, "file", "files"));
    let mut lines = vec![format!("removed {keys}, {files} of {}", HumanBytes(bytes))];
    lines.extend(report.not_removed.iter().map(|name| format!("not removed: {name}")));
    print_report(args.store.json.form(), &report, lines)?;
    match report.not_removed.len() as u64 {
        0 => Ok(Exit::Done),
        left => Err(not_removed(left)),
    }
}

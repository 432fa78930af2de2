//! `backup`: the store as it is now, in another directory.

use std::time::Instant;

use indicatif::HumanBytes;
use serde::Serialize;

use super::{counted, open_reader};
use crate::cli::BackupArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    files: u64,
    kept: u64,
    linked: u64,
    copied: u64,
    bytes: u64,
    copied_bytes: u64,
    seconds: f64,
}

pub(super) fn backup(args: &BackupArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let store = open_reader(&args.store.dir)?;
    let done = Progress::over("backing up", |watch| store.backup_with(&args.target, watch))?;
    let report = Report {
        files: done.files,
        kept: done.kept,
        linked: done.linked,
        copied: done.copied,
        bytes: done.bytes,
        copied_bytes: done.copied_bytes,
        seconds: began.elapsed().as_secs_f64(),
    };
    let line = format!(
        "backed up {}, {}: {} kept, {} linked, {} copied ({}), in {:.1} s",
        counted(report.files, "file", "files"),
        HumanBytes(report.bytes),
        report.kept,
        report.linked,
        report.copied,
        HumanBytes(report.copied_bytes),
        report.seconds,
    );
    print_report(args.store.json.form(), &report, [line])?;
    Ok(Exit::Done)
}

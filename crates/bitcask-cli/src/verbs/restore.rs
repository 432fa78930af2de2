//! `restore`: a store from a backup, every byte of it checked.

use std::time::Instant;

use indicatif::HumanBytes;
use serde::Serialize;

use super::counted;
use crate::cli::RestoreArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    files: u64,
    records: u64,
    bytes: u64,
    seconds: f64,
}

pub(super) fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let done =
        Progress::over("restoring", |watch| bitcask::restore_with(&args.backup, &args.new_dir, watch))?;
    let seconds = began.elapsed().as_secs_f64();
    let report = Report { files: done.files, records: done.records, bytes: done.bytes, seconds };
    let line = format!(
        "restored and checked {} in {}, {}, in {:.1} s",
        counted(report.records, "record", "records"),
        counted(report.files, "file", "files"),
        HumanBytes(report.bytes),
        report.seconds,
    );
    print_report(args.json.form(), &report, [line])?;
    Ok(Exit::Done)
}

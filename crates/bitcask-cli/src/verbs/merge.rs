//! `merge`: gives back the space of dead records.

use std::time::Instant;

use bitcask::{MergeReport, OpenMode};
use indicatif::HumanBytes;
use serde::Serialize;

use super::verify::{DamageReport, damage_lines};
use super::{counted, with_writer};
use crate::cli::MergeArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    runs: u64,
    inputs: u64,
    outputs: u64,
    bytes_before: u64,
    bytes_after: u64,
    values_copied: u64,
    tombstones_kept: u64,
    records_dropped: u64,
    quarantined: Vec<DamageReport>,
    not_removed: Vec<String>,
    seconds: f64,
}

impl Report {
    fn new(report: MergeReport, seconds: f64) -> Self {
        Self {
            runs: report.runs,
            inputs: report.inputs,
            outputs: report.outputs,
            bytes_before: report.bytes_before,
            bytes_after: report.bytes_after,
            values_copied: report.values_copied,
            tombstones_kept: report.tombstones_kept,
            records_dropped: report.records_dropped,
            quarantined: report.quarantined.into_iter().map(Into::into).collect(),
            not_removed: report.not_removed,
            seconds,
        }
    }
}

pub(super) fn merge(args: &MergeArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let report = with_writer(&args.store.dir, args.writer.options(OpenMode::Existing), |store| {
        let _spinner = Progress::unknown("merging");
        Ok(store.merge()?)
    })?;
    let report = Report::new(report, began.elapsed().as_secs_f64());
    print_report(args.store.json.form(), &report, lines(&report))?;
    verdict(&report)
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![sentence(report)];
    lines.extend(damage_lines(&report.quarantined));
    lines.extend(report.not_removed.iter().map(|name| format!("not removed: {name}")));
    lines
}

fn sentence(report: &Report) -> String {
    if report.runs == 0 {
        return "merged nothing".to_owned();
    }
    format!(
        "merged {} into {}, {} into {}: {} copied, {} kept, {} dropped, in {:.1} s",
        counted(report.inputs, "file", "files"),
        report.outputs,
        HumanBytes(report.bytes_before),
        HumanBytes(report.bytes_after),
        counted(report.values_copied, "value", "values"),
        counted(report.tombstones_kept, "tombstone", "tombstones"),
        counted(report.records_dropped, "record", "records"),
        report.seconds,
    )
}

/// Damage comes before what is merely left undone, as in an export.
fn verdict(report: &Report) -> Result<Exit, Failure> {
    match (report.quarantined.len() as u64, report.not_removed.len() as u64) {
        (0, 0) => Ok(Exit::Done),
        (0, left) => Err(not_removed(left)),
        (damaged, _) => Err(Failure::Damage(format!(
            "{} could not be read whole and not merged: run `bitcask verify` to see the whole extent",
            counted(damaged, "file", "files")
        ))),
    }
}

/// What is left behind by a verb that has done all else.
pub(super) fn not_removed(count: u64) -> Failure {
    Failure::Incomplete(format!(
        "{} of no more use could not be removed: the next verb that writes tries again",
        counted(count, "file", "files")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_could_not_be_removed_are_named_and_are_no_damage() {
        let mut report = MergeReport::default();
        report.not_removed.push("0000000001.data".to_owned());
        let report = Report::new(report, 0.0);
        assert_eq!(lines(&report), ["merged nothing", "not removed: 0000000001.data"]);
        let failure = verdict(&report).unwrap_err();
        assert!(failure.to_string().starts_with("1 file of no more use could not be removed"));
        assert_eq!(failure.exit(), Exit::Failed);
    }
}

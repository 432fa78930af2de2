//! `needs-merge`: whether a merge is worth it, and why.

use bitcask::{FileStatus, MergeOptions, MergePolicy, OpenMode, Options};
use indicatif::HumanBytes;
use serde::Serialize;

use super::with_writer;
use crate::cli::StoreArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;

#[derive(Serialize)]
struct Report {
    needs_merge: bool,
    /// What the files that would be merged would give back.
    gain_bytes: u64,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    name: String,
    dead_bytes: u64,
    held_bytes: u64,
    gain_bytes: u64,
    will_merge: bool,
    merge: String,
}

impl From<FileStatus> for FileReport {
    fn from(file: FileStatus) -> Self {
        let will_merge = file.merge.will_merge();
        Self {
            name: file.name,
            dead_bytes: file.dead_bytes,
            held_bytes: file.held_bytes,
            gain_bytes: if will_merge { file.dead_bytes } else { 0 },
            will_merge,
            merge: file.merge.to_string(),
        }
    }
}

pub(super) fn needs_merge(args: &StoreArgs) -> Result<Exit, Failure> {
    let options =
        Options::new().mode(OpenMode::Existing).merge(MergeOptions::new().policy(MergePolicy::Never));
    let status = with_writer(&args.dir, options, |store| Ok(store.status()))?;
    let files: Vec<FileReport> = status.files.into_iter().map(Into::into).collect();
    let gain_bytes = files.iter().map(|file| file.gain_bytes).sum();
    let report = Report { needs_merge: status.needs_merge, gain_bytes, files };
    print_report(args.json.form(), &report, lines(&report))?;
    Ok(if report.needs_merge { Exit::Done } else { Exit::No })
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![
        if report.needs_merge {
            format!("yes: a merge would give back {}", HumanBytes(report.gain_bytes))
        } else {
            "no: no trigger is reached".to_owned()
        },
        String::new(),
        format!("{:<24} {:>14} {:>14} {:>14}  MERGE", "FILE", "DEAD", "HELD", "GAIN"),
    ];
    lines.extend(report.files.iter().map(|file| {
        format!(
            "{:<24} {:>14} {:>14} {:>14}  {}",
            file.name, file.dead_bytes, file.held_bytes, file.gain_bytes, file.merge
        )
    }));
    lines
}

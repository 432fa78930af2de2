//! `verify`: reads and checks every byte of the store.

use bitcask::{Damage, TornTail, VerifyReport};
use indicatif::HumanBytes;
use serde::Serialize;

use super::counted;
use crate::cli::StoreArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    files: u64,
    records: u64,
    bytes: u64,
    torn_tail: Option<TornTailReport>,
    damage: Vec<DamageReport>,
}

/// The end of a write that a crash cut off, or that a writer is about to finish: no damage.
#[derive(Serialize)]
pub(super) struct TornTailReport {
    file: String,
    offset: u64,
    bytes: u64,
}

impl TornTailReport {
    pub(super) fn line(&self) -> String {
        format!(
            "torn tail: {} bytes of {} at byte {}: an unfinished write, which the next open for writing cuts off",
            self.bytes, self.file, self.offset
        )
    }
}

impl TornTailReport {
    pub(super) fn cut_line(&self) -> String {
        format!("cut {} bytes of an unfinished write off {} at byte {}", self.bytes, self.file, self.offset)
    }
}

impl From<TornTail> for TornTailReport {
    fn from(torn_tail: TornTail) -> Self {
        Self { file: torn_tail.file, offset: torn_tail.offset, bytes: torn_tail.bytes }
    }
}

#[derive(Serialize)]
pub(super) struct DamageReport {
    file: String,
    offset: u64,
    what: String,
}

impl From<Damage> for DamageReport {
    fn from(damage: Damage) -> Self {
        Self { file: damage.file, offset: damage.offset, what: damage.what }
    }
}

pub(super) fn damage_lines(damage: &[DamageReport]) -> impl Iterator<Item = String> {
    damage.iter().map(|damage| format!("damage: {} at byte {}: {}", damage.file, damage.offset, damage.what))
}

impl From<VerifyReport> for Report {
    fn from(report: VerifyReport) -> Self {
        Self {
            files: report.files,
            records: report.records,
            bytes: report.bytes,
            torn_tail: report.torn_tail.map(Into::into),
            damage: report.damage.into_iter().map(Into::into).collect(),
        }
    }
}

pub(super) fn verify(args: &StoreArgs) -> Result<Exit, Failure> {
    let report = Report::from(Progress::over("checking", |watch| bitcask::verify_with(&args.dir, watch))?);
    print_report(args.json.form(), &report, lines(&report))?;
    match report.damage.len() {
        0 => Ok(Exit::Done),
        count => Err(Failure::Damage(format!(
            "damage was found in {}; nothing was changed: restore the named files from a backup",
            counted(count as u64, "place", "places")
        ))),
    }
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "checked {} in {}, {}",
        counted(report.records, "record", "records"),
        counted(report.files, "file", "files"),
        HumanBytes(report.bytes)
    )];
    lines.extend(report.torn_tail.as_ref().map(TornTailReport::line));
    lines.extend(damage_lines(&report.damage));
    lines
}

//! `repair`: what is wrong with a store, and what was asked to be done about it.

use bitcask::{Remedy, Repair, RepairReport};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::counted;
use super::verify::{DamageReport, TornTailReport, damage_lines};
use crate::cli::RepairArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    torn_tail: Option<TornTailReport>,
    damage: Vec<DamageReport>,
    /// The options or verbs that would help.
    remedies: Vec<&'static str>,
    lost: Vec<LostReport>,
    salvaged: u64,
    hints: u64,
    listed: Vec<String>,
}

#[derive(Serialize)]
struct LostReport {
    file: String,
    offset: u64,
    bytes: u64,
    what: String,
}

impl From<RepairReport> for Report {
    fn from(report: RepairReport) -> Self {
        let lost = report.lost.into_iter().map(|lost| LostReport {
            file: lost.file,
            offset: lost.offset,
            bytes: lost.len,
            what: lost.what,
        });
        Self {
            torn_tail: report.torn_tail.map(Into::into),
            damage: report.damage.into_iter().map(Into::into).collect(),
            remedies: report.remedies.into_iter().map(option).collect(),
            lost: lost.collect(),
            salvaged: report.salvaged,
            hints: report.hints,
            listed: report.listed,
        }
    }
}

fn option(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::CutTail => "--cut-tail",
        Remedy::Hints => "--hints",
        Remedy::Manifest => "--manifest",
        Remedy::SealLines => "seal-line",
        Remedy::Salvage => "--salvage",
        _ => "a newer version of this command",
    }
}

pub(super) fn repair(args: &RepairArgs) -> Result<Exit, Failure> {
    let how = match &args.salvage {
        Some(new_dir) => Repair::Salvage(new_dir.clone()),
        None if args.cut_tail => Repair::CutTail,
        None if args.hints => Repair::Hints,
        None if args.manifest => Repair::Manifest,
        None => Repair::Report,
    };
    let report =
        Report::from(Progress::over("reading", |watch| bitcask::repair_with(&args.store.dir, &how, watch))?);
    print_report(args.store.json.form(), &report, lines(&report, &how))?;
    if !report.lost.is_empty() {
        return Err(Failure::Damage(format!(
            "{} could not be read, so the absence of a key from the new store proves nothing",
            counted(report.lost.len() as u64, "stretch", "stretches")
        )));
    }
    match (report.damage.len(), how) {
        // What was damaged is named, and everything is in the new store all the same.
        (0, _) | (_, Repair::Salvage(_)) => Ok(Exit::Done),
        (count, _) => Err(Failure::Damage(format!(
            "damage was found in {}: restore a backup where there is one",
            counted(count as u64, "place", "places")
        ))),
    }
}

fn lines(report: &Report, how: &Repair) -> Vec<String> {
    let mut lines = Vec::new();
    match (&report.torn_tail, how) {
        (Some(tail), Repair::CutTail) => lines.push(tail.cut_line()),
        (Some(tail), _) => lines.push(tail.line()),
        (None, Repair::CutTail) => lines.push("there is no torn tail".to_owned()),
        (None, _) => {}
    }
    lines.extend(damage_lines(&report.damage));
    match how {
        Repair::Report if report.remedies.is_empty() => lines.push("nothing to repair".to_owned()),
        Repair::Report => lines.push(format!("what could be done: {}", report.remedies.join(" "))),
        Repair::Hints => lines.push(format!("made {}", counted(report.hints, "hint file", "hint files"))),
        Repair::Manifest => lines.push(format!("made MANIFEST, which lists {}", report.listed.join(" "))),
        Repair::Salvage(_) => {
            lines.extend(report.lost.iter().map(|lost| {
                format!(
                    "lost: {} at byte {}: {}: {}",
                    lost.file,
                    lost.offset,
                    HumanBytes(lost.bytes),
                    lost.what
                )
            }));
            lines.push(format!("salvaged {} keys", HumanCount(report.salvaged)));
        }
        _ => {}
    }
    lines
}

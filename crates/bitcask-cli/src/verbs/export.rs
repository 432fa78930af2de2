//! `export`: all entries of the store into a file or a directory tree, one at a time.
//!
//! A damaged value and a refused key are reported and passed over, so that an export saves whatever can be saved; the
//! exit code tells of them at the end.

use std::path::Path;
use std::time::{Duration, Instant};

use bitcask::{Bitcask, Entry};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{counted, open_reader, per_second};
use crate::bytes::escaped;
use crate::cli::{ExportArgs, OtherSide};
use crate::failure::{Exit, Failure};
use crate::formats::{CsvColumns, CsvWriter, JsonlWriter, Sink, Taken, TreeWriter};
use crate::output::{Output, complain, print_report};
use crate::paths::resolve;
use crate::progress::Progress;

/// What an export did.
#[derive(Debug, Default, Serialize)]
struct ExportReport {
    exported: u64,
    /// Of keys and values.
    bytes: u64,
    refused: u64,
    damaged: u64,
    /// Of entries that were exported without them.
    expiries_left_out: u64,
    seconds: f64,
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let Some(target) = args.other_side.given() else {
        return Err(Failure::Usage("export needs --jsonl, --csv or --tree".to_owned()));
    };
    if target.is_standard() && args.store.json.json {
        return Err(Failure::Usage(
            "--json prints a report, but the entries take standard output: name a file".into(),
        ));
    }
    let store = open_reader(&args.store.dir)?;
    let mut sink = open_sink(target, &store)?;
    let began = Instant::now();
    let mut report = pour(&store, sink.as_mut())?;
    sink.finish()?;
    report.seconds = began.elapsed().as_secs_f64();
    if !target.is_standard() {
        print_report(args.store.json.form(), &report, [sentence(&report, began.elapsed())])?;
    }
    if report.expiries_left_out > 0 {
        complain(format_args!(
            "{} left out: only JSON Lines have a place for them",
            counted(report.expiries_left_out, "expiry was", "expiries were")
        ));
    }
    verdict(&report)
}

fn open_sink(target: OtherSide<'_>, store: &Bitcask) -> Result<Box<dyn Sink>, Failure> {
    if !target.is_standard() {
        keep_out_of_store(target.path(), store.path())?;
    }
    match target {
        OtherSide::Jsonl(path) => Ok(Box::new(JsonlWriter::new(Output::create(path)?))),
        OtherSide::Csv(path) => {
            let columns = columns_for(store)?;
            Ok(Box::new(CsvWriter::new(Output::create(path)?, columns)?))
        }
        OtherSide::Tree(path) => {
            if resolve(store.path())?.starts_with(resolve(path)?) {
                let path = path.display();
                return Err(Failure::Usage(format!(
                    "{path} contains the store: export to another directory"
                )));
            }
            Ok(Box::new(TreeWriter::create(path)?))
        }
    }
}

/// An export must not replace a file of the store that it reads, nor add one.
fn keep_out_of_store(target: &Path, dir: &Path) -> Result<(), Failure> {
    if !resolve(target)?.starts_with(resolve(dir)?) {
        return Ok(());
    }
    Err(Failure::Usage(format!("{} lies inside the store: export to another place", target.display())))
}

/// The header line comes first, so what it must name is found out by going through the entries once before. That ends
/// at the first that is not UTF-8.
fn columns_for(store: &Bitcask) -> Result<CsvColumns, Failure> {
    let progress = Progress::entries("looking through", store.len());
    let (mut entries, mut bytes) = (0, 0);
    for pair in store.iter() {
        match pair {
            Ok((key, value)) if std::str::from_utf8(&key).is_ok() && std::str::from_utf8(&value).is_ok() => {
                bytes += (key.len() + value.len()) as u64;
            }
            Ok(_) => return Ok(CsvColumns::TextAndBase64),
            // Reported when its turn comes.
            Err(error) if error.is_corruption() => {}
            Err(error) => return Err(error.into()),
        }
        entries += 1;
        progress.set_entries(entries, bytes);
    }
    Ok(CsvColumns::Text)
}

fn pour(store: &Bitcask, sink: &mut dyn Sink) -> Result<ExportReport, Failure> {
    let mut report = ExportReport::default();
    let progress = Progress::entries("exporting", store.len());
    for entry in store.iter().entries() {
        match entry {
            Ok((key, Entry { value, expires_at, .. })) => match sink.write(&key, &value, expires_at)? {
                Taken::Yes => {
                    report.exported += 1;
                    report.bytes += (key.len() + value.len()) as u64;
                    report.expiries_left_out += u64::from(expires_at.is_some() && !sink.keeps_expiries());
                }
                Taken::No(reason) => {
                    report.refused += 1;
                    progress.complain(format_args!("the key \"{}\" is refused: {reason}", escaped(&key)));
                }
            },
            Err(error) if error.is_corruption() => {
                report.damaged += 1;
                progress.complain(error);
            }
            Err(error) => return Err(error.into()),
        }
        progress.set_entries(report.exported + report.refused + report.damaged, report.bytes);
    }
    Ok(report)
}

fn verdict(report: &ExportReport) -> Result<Exit, Failure> {
    let all = report.exported + report.refused + report.damaged;
    if report.damaged > 0 {
        let refused =
            if report.refused > 0 { format!(" and {} refused", report.refused) } else { String::new() };
        return Err(Failure::Damage(format!(
            "{} of {all} entries are damaged{refused}: they are named above, all others were exported",
            report.damaged
        )));
    }
    if report.refused > 0 {
        return Err(Failure::Incomplete(format!(
            "{} of {all} keys were refused: they are named above, all others were exported",
            report.refused
        )));
    }
    Ok(Exit::Done)
}

fn sentence(report: &ExportReport, elapsed: Duration) -> String {
    format!(
        "exported {}, {}, in {:.1} s ({}/s)",
        counted(report.exported, "entry", "entries"),
        HumanBytes(report.bytes),
        report.seconds,
        HumanBytes(per_second(report.bytes, elapsed)),
    )
}

//! `import`: entries from a file or a directory tree into the store, one at a time.

use std::time::{Duration, Instant};

use bitcask::{Bitcask, OpenMode};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{counted, per_second, with_writer};
use crate::cli::ImportArgs;
use crate::failure::{Exit, Failure};
use crate::formats::{CsvReader, Input, JsonlReader, Source, TreeReader};
use crate::output::Output;
use crate::progress::Progress;

/// What an import did.
#[derive(Debug, Default, Serialize)]
struct ImportReport {
    imported: u64,
    /// Of keys and values.
    bytes: u64,
    skipped: u64,
    seconds: f64,
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    // The source comes first: where there is nothing to read, no store is created.
    let mut source = open_source(args)?;
    let began = Instant::now();
    let (mut report, poured) = with_writer(&args.dir, &args.writer, OpenMode::Create, |store| {
        let mut report = ImportReport::default();
        let poured = pour(source.as_mut(), store, &mut report);
        // Also after a bad line: what came before it stays, and is safe.
        store.sync()?;
        Ok((report, poured))
    })?;
    report.seconds = began.elapsed().as_secs_f64();
    report.skipped = source.skipped();
    if let Err(failure) = poured {
        let before = counted(report.imported, "entry", "entries");
        return Err(Failure::Stopped { source: Box::new(failure), before });
    }
    let mut output = Output::stdout();
    if args.json.json {
        output.json_line(&report)?;
    } else {
        output.line(sentence(&report, began.elapsed()))?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn open_source(args: &ImportArgs) -> Result<Box<dyn Source>, Failure> {
    let max_value_size = args.writer.max_value_size;
    match (&args.jsonl, &args.csv, &args.tree) {
        (Some(path), _, _) => Ok(Box::new(JsonlReader::new(Input::open(path)?, max_value_size))),
        (_, Some(path), _) => Ok(Box::new(CsvReader::new(Input::open(path)?, max_value_size)?)),
        (_, _, Some(path)) => Ok(Box::new(TreeReader::new(path, &args.dir, max_value_size)?)),
        _ => Err(Failure::Usage("import needs --jsonl, --csv or --tree".to_owned())),
    }
}

fn pour(source: &mut dyn Source, store: &Bitcask, report: &mut ImportReport) -> Result<(), Failure> {
    let total = if Progress::is_visible() { source.total() } else { None };
    let progress = Progress::bytes("importing", total);
    while let Some(entry) = source.next_entry()? {
        store
            .put(&entry.key, &entry.value)
            .map_err(|error| Failure::EngineAt { place: source.place(), source: error })?;
        report.imported += 1;
        report.bytes += (entry.key.len() + entry.value.len()) as u64;
        progress.set_bytes(source.position());
    }
    Ok(())
}

fn sentence(report: &ImportReport, elapsed: Duration) -> String {
    let mut text = format!(
        "imported {}, {}, in {:.1} s ({}/s)",
        counted(report.imported, "entry", "entries"),
        HumanBytes(report.bytes),
        report.seconds,
        HumanBytes(per_second(report.bytes, elapsed)),
    );
    if report.skipped > 0 {
        text.push_str("; skipped ");
        text.push_str(&counted(
            report.skipped,
            "name that is no regular file",
            "names that are no regular files",
        ));
    }
    text
}

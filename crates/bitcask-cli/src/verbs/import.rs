//! `import`: entries from a file or a directory tree into the store, one at a time.

use std::time::{Duration, Instant, SystemTime};

use bitcask::{Bitcask, MergeOptions, OpenMode, PutOptions};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{basho, counted, per_second, with_writer};
use crate::cli::{ImportArgs, OtherSide};
use crate::failure::{Exit, Failure};
use crate::formats::{
    BashoOptions, BashoReader, CsvReader, Entry, Findings, Input, JsonlReader, Keys, Locks, Pending, Source,
    TreeReader,
};
use crate::output::print_report;
use crate::progress::Progress;

/// What an import did.
#[derive(Debug, Default, Serialize)]
struct ImportReport {
    imported: u64,
    /// Of keys and values.
    bytes: u64,
    skipped: u64,
    /// Had expired before they were read, and were not put.
    expired: u64,
    seconds: f64,
    /// What `--from-basho` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    basho: Option<Findings>,
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    // The source comes first: where there is nothing to read, no store is created.
    let (mut source, findings) = open_source(args)?;
    // Long enough for merges to be worth it.
    let options = args.writer.options(OpenMode::Create).merge(MergeOptions::new());
    let (mut report, poured) = with_writer(&args.store.dir, options, |store| {
        let mut report = ImportReport::default();
        let poured = pour(source.as_mut(), store, &mut report);
        // Also after a bad line: what came before it stays, and is safe.
        store.sync()?;
        Ok((report, poured))
    })?;
    report.seconds = began.elapsed().as_secs_f64();
    report.skipped = source.skipped();
    report.basho = findings;
    if let Err(failure) = poured {
        let before = counted(report.imported, "entry", "entries");
        return Err(Failure::Stopped { source: Box::new(failure), before });
    }
    let mut lines = vec![sentence(&report, began.elapsed())];
    lines.extend(report.basho.iter().flat_map(|findings| basho::lines(findings, report.imported)));
    print_report(args.store.json.form(), &report, lines)?;
    report.basho.as_ref().map_or(Ok(Exit::Done), basho::verdict)
}

/// The source, and what is known of it before its first entry.
fn open_source(args: &ImportArgs) -> Result<(Box<dyn Source>, Option<Findings>), Failure> {
    let max_value_size = args.writer.max_value_size;
    let source: Box<dyn Source> = match (args.other_side.given(), &args.from_basho) {
        (Some(OtherSide::Jsonl(path)), _) => Box::new(JsonlReader::new(Input::open(path)?, max_value_size)),
        (Some(OtherSide::Csv(path)), _) => Box::new(CsvReader::new(Input::open(path)?, max_value_size)?),
        (Some(OtherSide::Tree(path)), _) => Box::new(TreeReader::new(path, &args.store.dir, max_value_size)?),
        (None, Some(path)) => {
            let (reader, findings) = BashoReader::open(path, &args.store.dir, basho_options(args))?;
            return Ok((Box::new(reader), Some(findings)));
        }
        (None, None) => {
            let what = "import needs --jsonl, --csv, --tree or --from-basho";
            return Err(Failure::Usage(what.to_owned()));
        }
    };
    Ok((source, None))
}

fn basho_options(args: &ImportArgs) -> BashoOptions {
    let basho = &args.basho;
    BashoOptions {
        keys: if basho.riak_keys { Keys::Riak } else { Keys::Raw },
        locks: if basho.ignore_lock { Locks::Ignore } else { Locks::Refuse },
        pending: if basho.take_pending { Pending::Take } else { Pending::Skip },
        expiry_secs: basho.expiry_secs,
        max_value_size: args.writer.max_value_size,
    }
}

fn pour(source: &mut dyn Source, store: &Bitcask, report: &mut ImportReport) -> Result<(), Failure> {
    let total = if Progress::is_visible() { source.total() } else { None };
    let progress = Progress::bytes("importing", total);
    while let Some(Entry { key, value, expires_at }) = source.next_entry()? {
        progress.set_bytes(source.position());
        let mut options = PutOptions::new();
        if let Some(time) = expires_at {
            if time <= SystemTime::now() {
                report.expired += 1;
                continue;
            }
            options = options.expires_at(time);
        }
        store
            .put_with(&key, &value, &options)
            .map_err(|error| Failure::EngineAt { place: source.place(), source: error })?;
        report.imported += 1;
        report.bytes += (key.len() + value.len()) as u64;
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
    if report.expired > 0 {
        text.push_str("; skipped ");
        text.push_str(&counted(report.expired, "entry that has expired", "entries that have expired"));
    }
    text
}

//! `convert`: a store written anew, in another log format or with other compression.

use std::time::Instant;

use bitcask::Options;
use serde::Serialize;

use super::counted;
use crate::cli::ConvertArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    keys: u64,
    format: &'static str,
    seconds: f64,
}

pub(super) fn convert(args: &ConvertArgs) -> Result<Exit, Failure> {
    let options = args.compression.choose(Options::new().format(args.format));
    let began = Instant::now();
    let keys = Progress::over("converting", |watch| {
        bitcask::convert_with(&args.dir, &args.new_dir, options, watch)
    })?;
    let report = Report { keys, format: args.format.name(), seconds: began.elapsed().as_secs_f64() };
    let line = format!(
        "copied {} to {}, a {} store, and verified them, in {:.1} s",
        counted(report.keys, "key", "keys"),
        args.new_dir.display(),
        report.format,
        report.seconds,
    );
    print_report(args.json.form(), &report, [line])?;
    Ok(Exit::Done)
}

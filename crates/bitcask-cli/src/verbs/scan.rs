//! `scan`: keys with their values.

use super::{limit_or_all, open_reader};
use crate::bytes::Listing;
use crate::cli::ScanArgs;
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::Output;

pub(super) fn scan(args: &ScanArgs) -> Result<Exit, Failure> {
    let encoding = args.encoding.encoding();
    let listing = Listing::for_stdout(encoding);
    let store = open_reader(&args.dir)?;
    let mut output = Output::stdout();
    for pair in store.prefix(args.prefix.prefix(encoding)?).take(limit_or_all(args.limit)) {
        let (key, value) = pair?;
        if args.json.json {
            output.json_line(&JsonEntry::key_value(&key, &value))?;
        } else {
            output.bytes(&listing.text(&key))?;
            output.bytes(b"\t")?;
            output.line(listing.text(&value))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

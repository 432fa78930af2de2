//! `scan`: keys with their values.

use super::open_reader;
use crate::bytes::Listing;
use crate::cli::ListingArgs;
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::Output;

pub(super) fn scan(args: &ListingArgs) -> Result<Exit, Failure> {
    let selection = &args.selection;
    let listing = Listing::for_stdout(selection.encoding());
    let store = open_reader(&selection.dir)?;
    let mut output = Output::stdout();
    for pair in store.prefix(selection.prefix()?).take(args.limit()) {
        let (key, value) = pair?;
        if selection.json.json {
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

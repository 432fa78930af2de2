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
    for entry in store.prefix(selection.prefix()?).entries().take(args.limit()) {
        let (key, entry) = entry?;
        if selection.json.json {
            output.json_line(&JsonEntry::key_value(&key, &entry.value).expires_at(entry.expires_at))?;
        } else {
            output.bytes(&listing.text(&key))?;
            output.bytes(b"\t")?;
            output.line(listing.text(&entry.value))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

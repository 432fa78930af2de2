//! `keys` and `count`: the verbs that need no values.

use bitcask::Bitcask;
use serde::Serialize;

use super::open_reader;
use crate::bytes::Listing;
use crate::cli::{ListingArgs, SelectionArgs};
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::{Output, print_report};

#[derive(Serialize)]
struct CountReport {
    count: u64,
}

pub(super) fn keys(args: &ListingArgs) -> Result<Exit, Failure> {
    let selection = &args.selection;
    let listing = Listing::for_stdout(selection.encoding());
    let store = open_reader(&selection.dir)?;
    let mut output = Output::stdout();
    for key in keys_with_prefix(&store, selection.prefix()?).take(args.limit()) {
        let key = key?;
        if selection.json.json {
            output.json_line(&JsonEntry::key(&key))?;
        } else {
            output.line(listing.text(&key))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

pub(super) fn count(args: &SelectionArgs) -> Result<Exit, Failure> {
    let prefix = args.prefix()?;
    let store = open_reader(&args.dir)?;
    let count = if prefix.is_empty() {
        store.len()
    } else {
        keys_with_prefix(&store, prefix).try_fold(0, |count, key| key.map(|_| count + 1))?
    };
    print_report(args.json.form(), &CountReport { count }, [count.to_string()])?;
    Ok(Exit::Done)
}

/// `Bitcask::prefix` would read the values too.
fn keys_with_prefix(store: &Bitcask, prefix: Vec<u8>) -> impl Iterator<Item = bitcask::Result<Vec<u8>>> {
    store.keys().filter(move |key| key.as_ref().map_or(true, |key| key.starts_with(&prefix)))
}

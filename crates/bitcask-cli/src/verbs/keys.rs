//! `keys` and `count`: the verbs that need no values.

use bitcask::Bitcask;
use serde::Serialize;

use super::{limit_or_all, open_reader};
use crate::bytes::Listing;
use crate::cli::{CountArgs, KeysArgs};
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::Output;

#[derive(Serialize)]
struct CountReport {
    count: u64,
}

pub(super) fn keys(args: &KeysArgs) -> Result<Exit, Failure> {
    let encoding = args.encoding.encoding();
    let listing = Listing::for_stdout(encoding);
    let store = open_reader(&args.dir)?;
    let mut output = Output::stdout();
    for key in keys_with_prefix(&store, args.prefix.prefix(encoding)?).take(limit_or_all(args.limit)) {
        let key = key?;
        if args.json.json {
            output.json_line(&JsonEntry::key(&key))?;
        } else {
            output.line(listing.text(&key))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

pub(super) fn count(args: &CountArgs) -> Result<Exit, Failure> {
    let prefix = args.prefix.prefix(args.encoding.encoding())?;
    let store = open_reader(&args.dir)?;
    let count = if prefix.is_empty() {
        store.len()
    } else {
        keys_with_prefix(&store, prefix).try_fold(0, |count, key| key.map(|_| count + 1))?
    };
    let mut output = Output::stdout();
    if args.json.json {
        output.json_line(&CountReport { count })?;
    } else {
        output.line(count.to_string())?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

/// `Bitcask::prefix` would read the values too.
fn keys_with_prefix(store: &Bitcask, prefix: Vec<u8>) -> impl Iterator<Item = bitcask::Result<Vec<u8>>> {
    store.keys().filter(move |key| key.as_ref().map_or(true, |key| key.starts_with(&prefix)))
}

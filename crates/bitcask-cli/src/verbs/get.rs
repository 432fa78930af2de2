//! `get` and `exists`: the verbs that look at one key.

use serde::Serialize;

use super::open_reader;
use crate::bytes::{Encoding, escaped};
use crate::cli::{GetArgs, KeyArgs};
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::{NO_LINES, Output, print_report, stdout_is_terminal};

#[derive(Serialize)]
struct ExistsReport<'a> {
    #[serde(flatten)]
    key: JsonEntry<'a>,
    exists: bool,
}

pub(super) fn get(args: &GetArgs) -> Result<Exit, Failure> {
    let key = args.key.key()?;
    let Some(entry) = open_reader(&args.key.dir)?.get_entry(&key)? else {
        return Err(Failure::NotFound(escaped(&key)));
    };
    let encoding = args.value_encoding();
    let mut output = Output::stdout();
    if args.key.json.json {
        output.json_line(&JsonEntry::key_value(&key, &entry.value).expires_at(entry.expires_at))?;
    } else {
        output.bytes(&encoding.encode(&entry.value))?;
        // Raw bytes go into files and pipes unchanged; a prompt should still begin on a line of its own.
        if encoding != Encoding::Plain || stdout_is_terminal() {
            output.bytes(b"\n")?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

pub(super) fn exists(args: &KeyArgs) -> Result<Exit, Failure> {
    let key = args.key()?;
    let exists = open_reader(&args.dir)?.contains(&key)?;
    print_report(args.json.form(), &ExistsReport { key: JsonEntry::key(&key), exists }, NO_LINES)?;
    Ok(if exists { Exit::Done } else { Exit::No })
}

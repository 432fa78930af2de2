//! `put` and `delete`: the verbs that change one key.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bitcask::OpenMode;
use serde::Serialize;

use super::with_writer;
use crate::bytes::{Encoding, escaped};
use crate::cli::{DeleteArgs, PutArgs};
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::{NO_LINES, print_report};

#[derive(Serialize)]
struct PutReport<'a> {
    #[serde(flatten)]
    key: JsonEntry<'a>,
    value_bytes: usize,
    written: bool,
}

#[derive(Serialize)]
struct DeleteReport<'a> {
    #[serde(flatten)]
    key: JsonEntry<'a>,
    deleted: bool,
}

pub(super) fn put(args: &PutArgs) -> Result<Exit, Failure> {
    let key = args.key.key()?;
    let value = value(args)?;
    let options = args.put_options();
    let written = with_writer(&args.key.dir, args.writer.options(OpenMode::Create), |store| {
        Ok(store.put_with(&key, &value, &options)?)
    })?;
    let report = PutReport { key: JsonEntry::key(&key), value_bytes: value.len(), written };
    print_report(args.key.json.form(), &report, NO_LINES)?;
    match written {
        true => Ok(Exit::Done),
        false if args.if_absent => Err(Failure::Present(escaped(&key))),
        false => Err(Failure::NotFound(escaped(&key))),
    }
}

pub(super) fn delete(args: &DeleteArgs) -> Result<Exit, Failure> {
    let key = args.key.key()?;
    let deleted =
        with_writer(&args.key.dir, args.writer.options(OpenMode::Existing), |store| Ok(store.delete(&key)?))?;
    let report = DeleteReport { key: JsonEntry::key(&key), deleted };
    print_report(args.key.json.form(), &report, NO_LINES)?;
    if deleted { Ok(Exit::Done) } else { Err(Failure::NotFound(escaped(&key))) }
}

/// The value from wherever the command line says it is.
fn value(args: &PutArgs) -> Result<Vec<u8>, Failure> {
    let encoding = args.value_encoding();
    let path = match (&args.file, &args.value) {
        (Some(path), _) => path.as_path(),
        (None, Some(value)) if value != OsStr::new("-") => return encoding.decode_argument("VALUE", value),
        (None, _) => Path::new("-"),
    };
    let limit = content_limit(encoding, args.writer.max_value_size);
    if path == Path::new("-") {
        let content = read(io::stdin().lock(), limit).map_err(|source| Failure::Io {
            operation: "read",
            what: "standard input".to_owned(),
            source,
        })?;
        return encoding.decode_content("standard input", content);
    }
    let content = File::open(path).and_then(|file| read(file, limit));
    let content = content.map_err(|source| Failure::io("read", path, source))?;
    encoding.decode_content(&path.display().to_string(), content)
}

/// How much content to take at most: enough to show that a value is too long, never the whole of an endless pipe.
fn content_limit(encoding: Encoding, max_value_size: u64) -> u64 {
    let bytes = max_value_size.saturating_add(1);
    match encoding {
        Encoding::Plain => bytes,
        // Two digits a byte, and as much again for line breaks.
        Encoding::Hex | Encoding::Base64 => bytes.saturating_mul(4),
    }
}

fn read(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

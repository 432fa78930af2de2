//! `ttl` and `expire`: how long a key has to live, and the change of that.

use std::time::{Duration, SystemTime};

use bitcask::OpenMode;
use serde::Serialize;

use super::{open_reader, with_writer};
use crate::bytes::escaped;
use crate::cli::{ExpireArgs, KeyArgs};
use crate::failure::{Exit, Failure};
use crate::json::{JsonEntry, micros};
use crate::output::{NO_LINES, print_report};

#[derive(Serialize)]
struct TtlReport<'a> {
    #[serde(flatten)]
    key: JsonEntry<'a>,
    /// In microseconds since 1970; none for ever.
    expires: Option<u64>,
    remaining_us: Option<u64>,
}

#[derive(Serialize)]
struct ExpireReport<'a> {
    #[serde(flatten)]
    key: JsonEntry<'a>,
    changed: bool,
}

pub(super) fn ttl(args: &KeyArgs) -> Result<Exit, Failure> {
    let key = args.key()?;
    let Some(found) = open_reader(&args.dir)?.metadata(&key)? else {
        return Err(Failure::NotFound(escaped(&key)));
    };
    let remaining = found.expires_at.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
    let report = TtlReport {
        key: JsonEntry::key(&key),
        expires: found.expires_at.map(micros),
        remaining_us: remaining.map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX)),
    };
    let line = remaining.map_or_else(|| "never".to_owned(), shown);
    print_report(args.json.form(), &report, [line])?;
    Ok(Exit::Done)
}

/// To the second; what is shorter, to the millisecond.
fn shown(remaining: Duration) -> String {
    let rounded = match remaining.as_secs() {
        0 => Duration::from_millis(u64::from(remaining.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(rounded).to_string()
}

pub(super) fn expire(args: &ExpireArgs) -> Result<Exit, Failure> {
    let key = args.key.key()?;
    let changed = with_writer(&args.key.dir, args.writer.options(OpenMode::Existing), |store| {
        Ok(match (args.duration, args.at) {
            (Some(duration), _) => store.expire_in(&key, duration)?,
            (None, Some(time)) => store.expire_at(&key, time)?,
            // One of the three is there.
            (None, None) => store.persist(&key)?,
        })
    })?;
    let report = ExpireReport { key: JsonEntry::key(&key), changed };
    print_report(args.key.json.form(), &report, NO_LINES)?;
    if changed { Ok(Exit::Done) } else { Err(Failure::NotFound(escaped(&key))) }
}

//! `dump`: the records of one data file, as they lie there.

use std::time::{Duration, UNIX_EPOCH};

use bitcask::DumpedRecord;
use data_encoding::HEXLOWER;
use serde::Serialize;

use super::counted;
use crate::bytes::escaped;
use crate::cli::DumpArgs;
use crate::failure::{Exit, Failure};
use crate::json::JsonEntry;
use crate::output::Output;

/// Bytes in a line of a header's dump.
const LINE_LEN: usize = 16;

#[derive(Serialize)]
struct Report<'a> {
    offset: u64,
    len: u64,
    kind: &'static str,
    timestamp_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_us: Option<u64>,
    in_batch: bool,
    /// What the value is compressed by, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    /// Whether the value fits its checksum, and can be decompressed.
    sound: bool,
    #[serde(flatten)]
    entry: JsonEntry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
}

pub(super) fn dump(args: &DumpArgs) -> Result<Exit, Failure> {
    let records = bitcask::dump(&args.file)?;
    let mut output = Output::stdout();
    if !args.json.json {
        output.line(format!(
            "{:>12} {:>10}  {:<13} {:<27}  KEY VALUE",
            "OFFSET", "BYTES", "KIND", "TIMESTAMP"
        ))?;
    }
    let mut damaged = 0;
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                // What came before the damage was read whole, and is worth seeing.
                output.finish()?;
                return Err(error.into());
            }
        };
        damaged += u64::from(!record.value_is_sound);
        if args.json.json {
            output.json_line(&Report {
                offset: record.offset,
                len: record.len,
                kind: record.kind,
                timestamp_us: record.timestamp_us,
                expiry_us: record.expiry_us,
                in_batch: record.in_batch,
                compression: record.compression,
                sound: record.value_is_sound,
                // Markers and their like have no key, but may have a payload.
                entry: match record.key.as_slice() {
                    [] => JsonEntry::value(&record.value),
                    key => JsonEntry::key_value(key, &record.value),
                },
                header: args.bytes.then(|| HEXLOWER.encode(&record.header)),
            })?;
        } else {
            output.line(line(&record, args.width))?;
            if args.bytes {
                header_lines(&record).try_for_each(|line| output.line(line))?;
            }
        }
    }
    output.finish()?;
    match damaged {
        0 => Ok(Exit::Done),
        _ => Err(Failure::Damage(format!(
            "{} not fit the checksum, or cannot be decompressed: restore {} from a backup",
            counted(damaged, "value does", "values do"),
            args.file.display()
        ))),
    }
}

fn line(record: &DumpedRecord, width: usize) -> String {
    let written = time(record.timestamp_us);
    let front = format!("{:>12} {:>10}  {:<13} {written:<27}", record.offset, record.len, record.kind);
    // Markers and their like have neither key nor value.
    if record.key.is_empty() {
        return front.trim_end().to_owned();
    }
    let shown = &record.value[..width.min(record.value.len())];
    let cut = if shown.len() < record.value.len() {
        format!("... ({} bytes)", record.value.len())
    } else {
        String::new()
    };
    let compression = record.compression.map_or_else(String::new, |name| format!(" {name}"));
    let damaged = if record.value_is_sound { "" } else { " DAMAGED" };
    let expires = record.expiry_us.map_or_else(String::new, |expiry| format!(" expires {}", time(expiry)));
    format!(
        "{front}  \"{}\" \"{}\"{cut}{compression}{expires}{damaged}",
        escaped(&record.key),
        escaped(shown)
    )
}

fn time(us: u64) -> String {
    /// The last second that has a text.
    const LAST_S: u64 = 253_402_300_799;
    let since_1970 = Duration::from_micros(us);
    match UNIX_EPOCH.checked_add(since_1970) {
        Some(time) if since_1970.as_secs() <= LAST_S => humantime::format_rfc3339_micros(time).to_string(),
        _ => "after the year 9999".to_owned(),
    }
}

/// The header's bytes, with their offsets in the file.
fn header_lines(record: &DumpedRecord) -> impl Iterator<Item = String> {
    record.header.chunks(LINE_LEN).zip(0_u64..).map(|(bytes, line)| {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:>12}    {}", record.offset + line * LINE_LEN as u64, hex.join(" "))
    })
}

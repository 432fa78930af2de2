//! `status`: what the store holds, file by file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcask::{Io, Status};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::verify::{DamageReport, TornTailReport, damage_lines};
use super::{counted, open_reader};
use crate::cli::StoreArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;

#[derive(Serialize)]
struct StatusReport {
    keys: u64,
    live_bytes: u64,
    dead_bytes: u64,
    held_bytes: u64,
    data_bytes: u64,
    keydir_bytes: u64,
    format: &'static str,
    needs_merge: bool,
    io: &'static str,
    poisoned: Option<String>,
    recovery: RecoveryReport,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct RecoveryReport {
    clean: bool,
    torn_tail: Option<TornTailReport>,
    damage: Vec<DamageReport>,
    hints_loaded: u64,
    files_scanned: u64,
}

#[derive(Serialize)]
struct FileReport {
    name: String,
    state: String,
    bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    held_bytes: u64,
    live_keys: u64,
    dead_keys: u64,
    /// 0 as long as the file has no footer, which tells.
    last_timestamp_us: u64,
    will_merge: bool,
    merge: String,
}

impl From<Status> for StatusReport {
    fn from(status: Status) -> Self {
        let recovery = status.recovery;
        Self {
            keys: status.keys,
            live_bytes: status.live_bytes,
            dead_bytes: status.dead_bytes,
            held_bytes: status.held_bytes,
            data_bytes: status.data_bytes,
            keydir_bytes: status.keydir_bytes,
            format: status.format.name(),
            needs_merge: status.needs_merge,
            io: match status.io {
                Io::Mapped => "mapped",
                Io::Syscall => "syscall",
            },
            poisoned: status.poisoned,
            recovery: RecoveryReport {
                clean: recovery.clean,
                torn_tail: recovery.torn_tail.map(Into::into),
                damage: recovery.damaged.into_iter().map(Into::into).collect(),
                hints_loaded: recovery.hints_loaded,
                files_scanned: recovery.files_scanned,
            },
            files: status.files.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<bitcask::FileStatus> for FileReport {
    fn from(file: bitcask::FileStatus) -> Self {
        Self {
            name: file.name,
            state: file.state.to_string(),
            bytes: file.len,
            live_bytes: file.live_bytes,
            dead_bytes: file.dead_bytes,
            held_bytes: file.held_bytes,
            live_keys: file.live_keys,
            dead_keys: file.dead_keys,
            last_timestamp_us: file.last_timestamp,
            will_merge: file.merge.will_merge(),
            merge: file.merge.to_string(),
        }
    }
}

pub(super) fn status(args: &StoreArgs) -> Result<Exit, Failure> {
    let report = StatusReport::from(open_reader(&args.dir)?.status());
    print_report(args.json.form(), &report, lines(&report))?;
    match report.recovery.damage.len() {
        0 => Ok(Exit::Done),
        count => Err(Failure::Damage(format!(
            "damage was found in {}: run `bitcask verify` to see the whole extent",
            counted(count as u64, "place", "places")
        ))),
    }
}

fn lines(report: &StatusReport) -> Vec<String> {
    let mut lines = vec![
        format!("keys     {}", HumanCount(report.keys)),
        format!("data     {}", HumanBytes(report.data_bytes)),
        format!("live     {}", HumanBytes(report.live_bytes)),
        format!("dead     {}", HumanBytes(report.dead_bytes)),
        format!("held     {}", HumanBytes(report.held_bytes)),
        format!("keydir   {} of memory", HumanBytes(report.keydir_bytes)),
        format!("format   {}", report.format),
        format!("merge    {}", if report.needs_merge { "worth it" } else { "not worth it" }),
        format!("io       {}", report.io),
        format!(
            "closed   {}",
            if report.recovery.clean { "cleanly" } else { "not cleanly, or open elsewhere" }
        ),
    ];
    if let Some(cause) = &report.poisoned {
        lines.push(format!("poisoned {cause}"));
    }
    if let Some(torn_tail) = &report.recovery.torn_tail {
        lines.push(torn_tail.line());
    }
    lines.extend(damage_lines(&report.recovery.damage));
    lines.push(String::new());
    lines.push(format!(
        "{:<24} {:<9} {:>14} {:>14} {:>14} {:>12} {:>12} {:>12} {:>9}  MERGE",
        "FILE", "STATE", "BYTES", "LIVE", "DEAD", "HELD", "KEYS", "DEAD KEYS", "AGE"
    ));
    lines.extend(report.files.iter().map(|file| {
        format!(
            "{:<24} {:<9} {:>14} {:>14} {:>14} {:>12} {:>12} {:>12} {:>9}  {}",
            file.name,
            file.state,
            file.bytes,
            file.live_bytes,
            file.dead_bytes,
            file.held_bytes,
            file.live_keys,
            file.dead_keys,
            age(file.last_timestamp_us),
            file.merge
        )
    }));
    lines
}

/// How long ago that was, in the greatest unit that fits.
fn age(timestamp_us: u64) -> String {
    if timestamp_us == 0 {
        return "-".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.saturating_sub(Duration::from_micros(timestamp_us)).as_secs();
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').next().unwrap_or_default().to_owned()
}

//! What `import --from-basho` says of its source, and the exit code that follows.

use indicatif::{HumanBytes, HumanCount};

use super::counted;
use crate::failure::{Exit, Failure};
use crate::formats::{Findings, Note, Notes};

/// The report: what became of the entries, then one line for each thing that is worth a look.
pub(super) fn lines(findings: &Findings, taken: u64) -> Vec<String> {
    let mut lines = vec![summary(findings), fates(findings, taken), hints(findings)];
    note_lines(&mut lines, "damage", &findings.damage);
    note_lines(&mut lines, "torn tail", &findings.torn_tails);
    note_lines(&mut lines, "refused", &findings.refused);
    note_lines(&mut lines, "taken", &findings.like_tombstone);
    lines.extend(findings.pending.listed.iter().map(|Note { file, bytes, what, .. }| {
        format!("pending deletion: {file}: {what} ({})", counted(*bytes, "byte", "bytes"))
    }));
    let without_trailer = findings.hints.without_trailer.iter();
    lines.extend(without_trailer.map(|file| format!("hint file without trailer: {file}: it was not used")));
    let alone = findings.hints.alone.iter();
    lines.extend(alone.map(|file| format!("hint file without data file: {file}: it was not used")));
    lines.extend(findings.not_read.iter().map(|name| format!("not read: {} {}", name.path, name.what)));
    lines
}

fn note_lines(lines: &mut Vec<String>, sort: &str, notes: &Notes) {
    for Note { file, offset, bytes, what } in &notes.listed {
        let len = if *bytes > 0 { format!(" ({})", counted(*bytes, "byte", "bytes")) } else { String::new() };
        lines.push(format!("{sort}: {file} at byte {offset}: {what}{len}"));
    }
    let more = notes.count - notes.listed.len() as u64;
    if more > 0 {
        lines.push(format!("{sort}: {} more", HumanCount(more)));
    }
}

fn summary(findings: &Findings) -> String {
    let partitions = match findings.partitions {
        0 => String::new(),
        count => format!(" of {}", counted(count, "partition", "partitions")),
    };
    format!(
        "source: {} in {}{partitions}, {}",
        counted(findings.entries, "entry", "entries"),
        counted(findings.files, "data file", "data files"),
        HumanBytes(findings.bytes)
    )
}

fn fates(findings: &Findings, taken: u64) -> String {
    let tombstones = &findings.tombstones;
    format!(
        "entries: {} taken, {} overwritten, {} (version 0: {}, 1: {}, 2: {}), {} taken from another partition, {} expired, \
         {} refused",
        HumanCount(taken),
        HumanCount(findings.overwritten),
        counted(tombstones.v0 + tombstones.v1 + tombstones.v2, "tombstone", "tombstones"),
        HumanCount(tombstones.v0),
        HumanCount(tombstones.v1),
        HumanCount(tombstones.v2),
        HumanCount(findings.in_other_partition),
        HumanCount(findings.expired),
        HumanCount(findings.refused.count),
    )
}

fn hints(findings: &Findings) -> String {
    let hints = &findings.hints;
    format!(
        "hint files: {} sound, {} without trailer, {} damaged, {} disagreeing",
        HumanCount(hints.sound),
        HumanCount(hints.without_trailer.len() as u64),
        HumanCount(hints.damaged),
        HumanCount(hints.disagreeing),
    )
}

/// Damage comes before what could not be taken for another reason, as in an export.
pub(super) fn verdict(findings: &Findings) -> Result<Exit, Failure> {
    let (damaged, missed) = (findings.damage.count, findings.missed());
    if damaged > 0 {
        let missed = if missed > 0 {
            format!(", and {} refused or not read", counted(missed, "thing was", "things were"))
        } else {
            String::new()
        };
        return Err(Failure::Damage(format!(
            "damage was found in {} of the source ({}){missed}: see the report above; everything else was imported",
            counted(damaged, "place", "places"),
            counted(findings.damage.bytes, "byte", "bytes")
        )));
    }
    if missed > 0 {
        return Err(Failure::Incomplete(format!(
            "{} refused or not read: see the report above; everything else was imported",
            counted(missed, "thing was", "things were")
        )));
    }
    Ok(Exit::Done)
}

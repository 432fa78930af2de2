//! Where the log ends, found without changing anything.
//!
//! The log is the records of the listed files, one file after the other. A file with a footer is complete. One without
//! must reach the length that its successor's link names; if it does not, the log ends in it.
//!
//! ```text
//! 1. scan every file without a footer as far as its records check, the last file first; gather the claims of
//!    all files and of the manifest: positions that a returned sync had covered
//! 2. walk the files in order to the first that is not complete, or whose successor does not follow
//! 3. the log ends there: at the first record, or the first value behind every claim, that does not check
//! 4. if a claim lies behind that end: corruption of acknowledged data. Report it and change nothing.
//!    Otherwise: what is behind was never acknowledged as durable: a torn tail.
//! ```
//! A reader plans while a writer may be at work, without a lock: what it misses was written after it looked. A reader that
//! follows the writer goes on where its last plan has ended, and does not look for claims behind what it reads: of a file
//! that is being written that would be all that is allocated, each time.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::scan;
use crate::format::footer::{Ending, Footer};
use crate::format::position::LogPosition;
use crate::keydir::Keydir;
use crate::recovery::inventory::Inventory;
use crate::status::{Damage, TornTail};

/// A file that belongs to the log.
pub(crate) struct LogFile {
    pub(crate) file: Arc<DataFile>,
    pub(crate) content: Content,
    /// How far syncs are known to have covered the file.
    pub(crate) synced: u64,
}

type Files = Vec<Arc<DataFile>>;

/// What is known of a file's records.
pub(crate) enum Content {
    /// It is complete, and was not read.
    Sealed(Footer),
    /// It has no footer; its length is the inventory's.
    Scanned(Inventory),
}

impl LogFile {
    /// The position behind its records.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition { file: self.file.id(), offset: self.content.len() }
    }

    fn damage(&self) -> impl Iterator<Item = Damage> {
        let damaged = match &self.content {
            Content::Sealed(_) => &[],
            Content::Scanned(inventory) => inventory.damaged.as_slice(),
        };
        damaged.iter().map(|value| value.report(&self.file))
    }
}

impl Content {
    /// Where the records end.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Sealed(footer) => footer.data_len,
            Self::Scanned(inventory) => inventory.end,
        }
    }

    fn timestamps(&self) -> (u64, u64) {
        match self {
            Self::Sealed(footer) => (footer.first_timestamp, footer.last_timestamp),
            Self::Scanned(inventory) => (inventory.first_timestamp(), inventory.last_timestamp()),
        }
    }
}

/// The log as it was found.
pub(crate) struct Plan {
    /// The files of the log, in order.
    pub(crate) log: Vec<LogFile>,
    /// Whether the last of them ends with a close marker, or there is none.
    pub(crate) clean: bool,
    pub(crate) torn_tail: Option<TornTail>,
    pub(crate) damaged: Vec<Damage>,
    /// Listed files behind the end that were never written to.
    pub(crate) empty: Vec<Arc<DataFile>>,
    /// Listed files behind the end whose records were lost with what came before them.
    pub(crate) lost: Vec<Arc<DataFile>>,
    /// The highest timestamp in the log.
    pub(crate) last_timestamp: u64,
}

/// Reads `files`, which are in log order, and finds the end of the log. `synced` is what the manifest claims.
pub(crate) fn plan(files: &[Arc<DataFile>], keydir: &Keydir, synced: Option<LogPosition>) -> Result<Plan> {
    let log = find_end(files, keydir, None, synced)?;
    let last_timestamp = check_timestamps(&log)?;
    let (empty, lost) = sort_rest(&files[log.len()..])?;
    let (torn_tail, clean) = match log.last() {
        Some(last) => (torn_tail_of(last)?, lost.is_empty() && is_clean(last)?),
        None => (None, lost.is_empty()),
    };
    let torn_tail = match (torn_tail, lost.first()) {
        (None, Some(lost)) => Some(torn_tail_at(lost, lost.first_record())?),
        (torn_tail, _) => torn_tail,
    };
    let damaged = log.iter().flat_map(LogFile::damage).collect();
    Ok(Plan { log, clean, torn_tail, damaged, empty, lost, last_timestamp })
}

/// Reads on in `files`, which are in log order: those that were not read to their end when the log ended at `from`.
/// Returns the log from there on and its highest timestamp, 0 when nothing has come.
pub(crate) fn follow(
    files: &[Arc<DataFile>],
    keydir: &Keydir,
    from: LogPosition,
) -> Result<(Vec<LogFile>, u64)> {
    // What the manifest claims was there when the store was opened.
    let log = find_end(files, keydir, Some(from), None)?;
    let last_timestamp = check_timestamps(&log)?;
    Ok((log, last_timestamp))
}

/// The files of the log up to its end, as far as an earlier reading has not covered them.
fn find_end(
    files: &[Arc<DataFile>],
    keydir: &Keydir,
    read_to: Option<LogPosition>,
    synced: Option<LogPosition>,
) -> Result<Vec<LogFile>> {
    // The last first: what a later file says of an earlier one still holds when that is read.
    let readings = files.iter().rev().map(|file| Reading::take(file, keydir, read_to));
    let mut readings = readings.collect::<Result<Vec<_>>>()?;
    readings.reverse();
    let claims = readings.iter().flat_map(|reading| reading.claims.iter().copied());
    let furthest = furthest(files, claims.chain(synced));
    let links: Vec<_> = readings.iter().map(|reading| reading.link).collect();
    let begun: Vec<_> = readings.iter().map(Reading::has_begun).collect();
    let mut log: Vec<LogFile> = Vec::new();
    let mut end_defect = None;
    for (index, (file, reading)) in files.iter().zip(readings).enumerate() {
        if !begun[index] {
            check_merged(file, &reading.content)?;
            break;
        }
        let synced = match furthest {
            Some((furthest, _)) if furthest > index => u64::MAX,
            Some((furthest, offset)) if furthest == index => offset,
            _ => 0,
        };
        let (content, defect) = settle_values(file, reading.content, synced, keydir)?;
        if content.len() < file.data_len() {
            let what = "what this handle has read there is no longer part of the log: open the store again";
            return Err(Error::corruption(file.name(), content.len(), what));
        }
        file.set_data_len(content.len());
        file.raise_synced_len(synced.min(content.len()));
        let next = links.get(index + 1).copied().flatten();
        let goes_on = begun.get(index + 1) == Some(&true) && goes_on(file, &content, next)?;
        if !goes_on {
            check_merged(file, &content)?;
        }
        log.push(LogFile { file: Arc::clone(file), content, synced });
        if !goes_on {
            end_defect = defect;
            break;
        }
    }
    check_claims(files, &log, furthest, end_defect)?;
    Ok(log)
}

/// What was read of one file.
struct Reading {
    content: Content,
    link: Option<LogPosition>,
    claims: Vec<LogPosition>,
}

impl Reading {
    /// Reads the footer of a file, or else all of its records, and looks for claims behind them. Or, where an earlier
    /// reading has ended at `read_to`, the records from there on.
    fn take(file: &DataFile, keydir: &Keydir, read_to: Option<LogPosition>) -> Result<Self> {
        let link = file.link()?;
        if let Some(footer) = file.footer()? {
            let claims = vec![LogPosition { file: file.id(), offset: footer.data_len }];
            return Ok(Self { content: Content::Sealed(footer), link, claims });
        }
        if let Some(LogPosition { file: id, offset }) = read_to {
            let start = if id == file.id() { offset } else { file.first_record() };
            let mut inventory = Inventory::take_from(file, start, file.file_len()?, keydir)?;
            let claims = std::mem::take(&mut inventory.claims);
            return Ok(Self { content: Content::Scanned(inventory), link, claims });
        }
        let mut inventory = Inventory::take(file, file.file_len()?, keydir)?;
        let mut claims = std::mem::take(&mut inventory.claims);
        claims.extend(scan::claims_behind(file, inventory.end)?);
        let is_behind = |claim: &LogPosition| claim.file == file.id() && claim.offset > inventory.end;
        if claims.iter().any(is_behind) {
            // Either there is damage, or a writer has gone on since: then what it claims checks by now.
            inventory = Inventory::take(file, file.file_len()?, keydir)?;
            claims.append(&mut inventory.claims);
        }
        Ok(Self { content: Content::Scanned(inventory), link, claims })
    }

    /// Whether anything was ever written behind the file's header.
    fn has_begun(&self) -> bool {
        matches!(self.content, Content::Sealed(_)) || self.link.is_some()
    }
}

/// Decides about values that do not check: below `synced` they are damage; behind it the log is torn at the first.
/// Returns what the file's records are then, and why they end.
fn settle_values(
    file: &DataFile,
    content: Content,
    synced: u64,
    keydir: &Keydir,
) -> Result<(Content, Option<String>)> {
    let Content::Scanned(inventory) = content else { return Ok((content, None)) };
    planted!("torn values are kept", let synced = u64::MAX);
    match inventory.damaged.iter().find(|value| value.end > synced) {
        Some(torn) => {
            let what = torn.report(file).what;
            let inventory = Inventory::take_from(file, inventory.start, torn.offset, keydir)?;
            Ok((Content::Scanned(inventory), Some(what)))
        }
        None => {
            let defect = inventory
                .defect
                .clone()
                .map(|defect| defect.on_line(file.line_at(inventory.end)).to_string());
            Ok((Content::Scanned(inventory), defect))
        }
    }
}

/// Whether the log goes on behind `file` in the next file, which has been written to and whose link is `next`.
fn goes_on(file: &DataFile, content: &Content, next: Option<LogPosition>) -> Result<bool> {
    let len = content.len();
    match (content, next) {
        // What a complete file is followed by is settled: the link names this file, or one merged into it.
        (Content::Sealed(Footer { ending: Ending::Rotated, .. }), _) => Ok(true),
        (_, None) => Ok(false),
        (_, Some(next)) if next.file != file.id() => Err(Error::corruption(
            file.name(),
            len,
            "the next file in the manifest says that it follows another one",
        )),
        (Content::Scanned(_), Some(next)) if next.offset < len => Err(Error::corruption(
            file.name(),
            next.offset,
            "it has records behind the end that its successor names",
        )),
        // Behind a cut, only what began after the cut follows; behind a torn tail, nothing.
        (_, Some(next)) => Ok(planted!("the log goes on behind a tear", true, next.offset == len)),
    }
}

/// Refuses a log that ends in the output of a merge which has lost its own end: the footer was synced before a manifest
/// listed it, and what it was made from is gone.
fn check_merged(file: &DataFile, content: &Content) -> Result<()> {
    planted!("a merged file may be torn", return Ok(()));
    match content {
        Content::Scanned(_) if file.is_merge_output() => {
            let what = "the end of a merged file is missing, though a sync had covered it";
            Err(Error::corruption(file.name(), content.len(), what))
        }
        _ => Ok(()),
    }
}

/// The furthest of the claimed positions, as index of its file and offset.
fn furthest(files: &[Arc<DataFile>], claims: impl Iterator<Item = LogPosition>) -> Option<(usize, u64)> {
    // A file that is not listed was merged away: all of it is older than what is listed.
    let index_of = |id| files.iter().position(|file| file.id() == id);
    claims.filter_map(|claim| index_of(claim.file).map(|index| (index, claim.offset))).max()
}

/// Refuses a log that ends before a position that a sync had covered.
fn check_claims(
    files: &[Arc<DataFile>],
    log: &[LogFile],
    furthest: Option<(usize, u64)>,
    defect: Option<String>,
) -> Result<()> {
    let end = log.last().map(|last| (log.len() - 1, last.content.len()));
    planted!("what was synced may be cut off", return Ok(()));
    if furthest <= end {
        return Ok(());
    }
    let (file, offset) = match (log.last(), files.get(log.len())) {
        (Some(LogFile { file, content: content @ Content::Scanned(_), .. }), _) => (file, content.len()),
        // Whoever is complete lacks nothing: what is missing begins the next one.
        (_, Some(next)) => (next, next.first_record()),
        (Some(last), None) => (&last.file, last.content.len()),
        (None, None) => return Ok(()),
    };
    let what = defect.unwrap_or_else(|| "records are missing".to_owned());
    Err(Error::corruption(file.name(), offset, format!("{what}, though a sync had covered what follows")))
}

/// Tells the files behind the end of the log that were never written to from those whose records are lost.
fn sort_rest(rest: &[Arc<DataFile>]) -> Result<(Files, Files)> {
    let (mut empty, mut lost) = (Vec::new(), Vec::new());
    for file in rest {
        let is_empty = scan::end_of_content(file, file.first_record())? == file.first_record();
        if is_empty { &mut empty } else { &mut lost }.push(Arc::clone(file));
    }
    Ok((empty, lost))
}

fn is_clean(last: &LogFile) -> Result<bool> {
    match &last.content {
        Content::Sealed(_) => Ok(true),
        Content::Scanned(inventory) => Ok(inventory.is_closed() && last.file.file_len()? == inventory.end),
    }
}

fn torn_tail_of(last: &LogFile) -> Result<Option<TornTail>> {
    let Content::Scanned(inventory) = &last.content else { return Ok(None) };
    let torn = torn_tail_at(&last.file, inventory.end)?;
    Ok((torn.bytes > 0).then_some(torn))
}

fn torn_tail_at(file: &DataFile, offset: u64) -> Result<TornTail> {
    let bytes = scan::end_of_content(file, offset)? - offset;
    Ok(TornTail { file: file.name().to_owned(), offset, bytes })
}

/// Timestamps ascend from file to file; returns the last one.
fn check_timestamps(log: &[LogFile]) -> Result<u64> {
    let mut highest = 0;
    for LogFile { file, content, .. } in log {
        let (first, last) = content.timestamps();
        planted!("files may be in any order", highest = 0);
        if first != 0 && first <= highest {
            return Err(Error::corruption(
                file.name(),
                file.first_record(),
                "its records are older than those of the file before it in the manifest",
            ));
        }
        highest = highest.max(last);
    }
    Ok(highest)
}

//! All records of a damaged data file that can still be read.
//!
//! A scan ends where a record's header does not check, because nothing tells where the next one starts. Here it is looked
//! for at every byte: salt and offset are in each record's checksum, so what passes is a record of this file at this place.

use crate::error::Result;
use crate::file::data_file::DataFile;
use crate::file::scan::{self, Scanned, ScannedRecord, Scanner};
use crate::format::record::FRONT_MAX;

/// How far is looked ahead at once.
const WINDOW: usize = 256 << 10;

/// What lies in a data file.
pub(super) enum Found<'a> {
    /// A record whose front checks; its value may not.
    Record(ScannedRecord<'a>),
    /// A stretch in which there is no record.
    Lost { offset: u64, len: u64, what: String },
}

/// Visits all that lies in `file` behind its header, front to back. Zeros at its end are nothing.
pub(super) fn visit(file: &DataFile, visit: &mut dyn FnMut(Found<'_>) -> Result<()>) -> Result<()> {
    let end = file.file_len()?;
    let mut at = file.first_record().min(end);
    while at < end {
        let (sound_end, what) = sound_stretch(file, at, end, visit)?;
        if sound_end == end {
            break;
        }
        let next = next_record(file, sound_end + 1, end)?;
        let lost_end = match next {
            Some(next) => next,
            None => scan::end_of_content(file, sound_end)?,
        };
        if lost_end > sound_end {
            visit(Found::Lost { offset: sound_end, len: lost_end - sound_end, what })?;
        }
        at = next.unwrap_or(end);
    }
    Ok(())
}

/// Visits the records from `start`, where one starts, to the first that does not check. Returns where they end, and why.
fn sound_stretch(
    file: &DataFile,
    start: u64,
    end: u64,
    visit: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<(u64, String)> {
    let mut scanner = Scanner::starting_at(file, start, end)?;
    loop {
        let offset = scanner.offset();
        match scanner.next()? {
            Scanned::Record(record) => visit(Found::Record(record))?,
            Scanned::Defect(defect) => return Ok((offset, defect.to_string())),
            Scanned::End => return Ok((end, String::new())),
        }
    }
}

/// The first place at or behind `from` where the front of a record checks.
fn next_record(file: &DataFile, from: u64, end: u64) -> Result<Option<u64>> {
    let codec = file.codec();
    let mut window = Vec::new();
    let mut at = from;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW + FRONT_MAX);
        window.resize(len, 0);
        file.read(&mut window, at)?;
        for start in 0..len.min(WINDOW) {
            let bytes = &window[start..];
            let offset = at + start as u64;
            if !codec.may_begin(bytes) {
                continue;
            }
            if !codec.binds_offset() {
                // A line has no front of its own, and may be longer than the window.
                let mut scanner = Scanner::starting_at(file, offset, end)?;
                if matches!(scanner.next()?, Scanned::Record(_)) {
                    return Ok(Some(offset));
                }
            } else if let Some(front) = bytes.get(..codec.key_end(bytes))
                && codec.decode_key(front.to_vec(), offset).is_ok()
            {
                return Ok(Some(offset));
            }
        }
        at += WINDOW as u64;
    }
    Ok(None)
}

//! One data file, front to back: its sound entries, its damage, its torn tail.
//!
//! Behind damage, the next entry is where a sound hint file says; without one it is searched for ([`super::search`]).
//! While all is well, a sound hint file is compared with what the data file says.

use super::entry::Header;
use super::file::{SourceFile, WINDOW_LEN, usize_or_max};
use super::hint::{HintEntry, HintReader};
use super::search::Checksums;
use super::tombstone::Kind;
use crate::bytes::escaped;
use crate::failure::Failure;
use crate::formats::Entry;

/// Entries up to this length are best read at once.
const SHORT_LEN: u64 = 1 << 12;

/// An entry whose checksum fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SoundEntry {
    pub(super) offset: u64,
    pub(super) timestamp: u32,
    pub(super) key: Vec<u8>,
    pub(super) kind: Kind,
}

/// What comes next in a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Entry(SoundEntry),
    /// Bytes that are in no sound entry, though there should be one.
    Damage {
        offset: u64,
        len: u64,
        what: String,
    },
    /// The last write before a crash: an entry that the end of the file cuts off.
    TornTail {
        offset: u64,
        len: u64,
    },
    /// The hint file, though its own checksum fits, does not describe the entry here. It is of no use from here on.
    HintDisagrees {
        offset: u64,
    },
}

/// Reads one data file.
pub(super) struct Scan {
    file: SourceFile,
    offset: u64,
    /// As long as it agrees with the data file.
    hint: Option<HintReader>,
    /// Made at the first damage.
    checksums: Option<Checksums>,
}

impl Scan {
    pub(super) fn new(file: SourceFile, hint: Option<HintReader>) -> Self {
        Self { file, offset: 0, hint, checksums: None }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next, `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Failure> {
        if self.offset == self.file.len() {
            return self.missing_end();
        }
        let header = Header::read(&mut self.file, self.offset)?;
        match header {
            Some(header) if self.is_sound(&header)? => self.sound(&header).map(Some),
            _ => self.unsound(header).map(Some),
        }
    }

    /// Where there is damage there may be more, and each damaged header may announce a long entry: these are not read
    /// through again and again.
    fn is_sound(&mut self, header: &Header) -> Result<bool, Failure> {
        match &self.checksums {
            Some(checksums) if header.entry_len() > SHORT_LEN => {
                checksums.is_sound(&self.file, self.offset, header)
            }
            _ => Ok(self.file.checksum(header.covered(self.offset))? == header.checksum),
        }
    }

    fn sound(&mut self, header: &Header) -> Result<Found, Failure> {
        let offset = self.offset;
        let kind = Kind::read(&mut self.file, offset, header)?;
        let key_offset = header.value_offset(offset) - u64::from(header.key_len);
        let key = self.file.bytes(key_offset, usize::from(header.key_len))?.to_vec();
        if let Some(hint) = &mut self.hint {
            let fits = |hint: &HintEntry| {
                (hint.offset, hint.len, hint.timestamp) == (offset, header.entry_len(), header.timestamp)
                    && hint.key == key
            };
            match hint.peek()?.filter(fits) {
                Some(entry) => hint.skip(&entry),
                None => {
                    self.hint = None;
                    return Ok(Found::HintDisagrees { offset });
                }
            }
        }
        self.offset = header.end(offset);
        Ok(Found::Entry(SoundEntry { offset, timestamp: header.timestamp, key, kind }))
    }

    /// `header` is there where the whole entry would fit into the file.
    fn unsound(&mut self, header: Option<Header>) -> Result<Found, Failure> {
        let (offset, file_len) = (self.offset, self.file.len());
        let mut what = match header {
            Some(_) => "the checksum of the entry does not fit",
            None => "the entry is longer than the file",
        }
        .to_owned();
        let checksums = match self.checksums.take() {
            Some(checksums) => checksums,
            None => Checksums::of(&mut self.file)?,
        };
        let checksums = self.checksums.insert(checksums);
        if let Some(hint) = &mut self.hint {
            let Some(entry) = hint.peek()?.filter(|entry| entry.offset == offset && entry.len > 0) else {
                self.hint = None;
                return Ok(Found::HintDisagrees { offset });
            };
            hint.skip(&entry);
            self.offset = offset.saturating_add(entry.len).min(file_len);
            what.push_str(&format!("; by the hint file its key is \"{}\"", escaped(&entry.key)));
            return Ok(Found::Damage { offset, len: self.offset - offset, what });
        }
        let next = checksums.next_after(&mut self.file, offset)?;
        self.offset = next.unwrap_or(file_len);
        let len = self.offset - offset;
        Ok(match (next, header) {
            (None, None) => Found::TornTail { offset, len },
            _ => Found::Damage { offset, len, what },
        })
    }

    /// At the end: the entries that only the hint file knows of.
    fn missing_end(&mut self) -> Result<Option<Found>, Failure> {
        let Some(mut hint) = self.hint.take() else { return Ok(None) };
        let mut count = 0_u64;
        while let Some(entry) = hint.peek()? {
            hint.skip(&entry);
            count += 1;
        }
        let what = format!("the file ends here, but its hint file lists more entries: {count}");
        Ok((count > 0).then_some(Found::Damage { offset: self.offset, len: 0, what }))
    }
}

/// Reads key and value of one entry again. `None` where there is no sound entry any more. A value over the limit is a
/// failure, before any memory is taken for it.
pub(super) fn read_entry(
    file: &mut SourceFile,
    offset: u64,
    max_value_size: u64,
) -> Result<Option<Entry>, Failure> {
    let Some(header) = Header::read(file, offset)? else { return Ok(None) };
    let covered = header.covered(offset);
    let len = usize_or_max(covered.end - covered.start);
    // A long entry is proven before memory is taken for it.
    if len > WINDOW_LEN && file.checksum(covered.clone())? != header.checksum {
        return Ok(None);
    }
    let value_len = u64::from(header.value_len);
    if value_len > max_value_size {
        return Err(Failure::Input {
            place: format!("the entry at byte {offset} of {}", file.place()),
            what: format!(
                "the value has {value_len} bytes, a value at most {max_value_size}: give --max-value-size"
            ),
        });
    }
    let mut bytes = if len > WINDOW_LEN {
        let mut bytes = vec![0; len];
        file.read(covered.start, &mut bytes)?;
        bytes
    } else {
        file.bytes(covered.start, len)?.to_vec()
    };
    if crc32fast::hash(&bytes) != header.checksum {
        return Ok(None);
    }
    let value = bytes.split_off(usize_or_max(header.value_offset(offset) - covered.start));
    let key = bytes.split_off(bytes.len() - usize::from(header.key_len));
    Ok(Some(Entry { key, value, expires_at: None }))
}

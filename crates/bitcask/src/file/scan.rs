//! Reading a data file front to back, record by record, each checked before it is believed.
//!
//! A scan ends at the first record whose header does not check; a value that does not check is reported and
//! passed over, for its length was proven. What lies behind the end is never returned: [`claims_behind`] only looks
//! there for proof that a sync had covered more.

use std::borrow::Cow;

use super::data_file::DataFile;
use crate::error::Result;
use crate::format::Defect;
use crate::format::checksum::{checksum, extend};
use crate::format::codec::{Codec, LogRecord, Record};
use crate::format::compression;
use crate::format::footer::Footer;
use crate::format::position::LogPosition;
use crate::format::record::{FIXED_LEN, Kind, RecordHeader, Seed};
use crate::format::text::{self, Text};

/// How much is read at once. Values up to this size are handed over whole.
const WINDOW: usize = 256 << 10;

/// What a scan comes upon.
pub(crate) enum Scanned<'s> {
    Record(ScannedRecord<'s>),
    /// What is here does not check; the scan stays before it.
    Defect(Defect),
    /// The scan has reached the length it was to read to.
    End,
}

pub(crate) struct ScannedRecord<'s> {
    pub(crate) offset: u64,
    /// Bytes of the record on disk.
    pub(crate) len: u64,
    pub(crate) header: RecordHeader,
    pub(crate) key: &'s [u8],
    pub(crate) value: ScannedValue<'s>,
}

pub(crate) enum ScannedValue<'s> {
    Whole(&'s [u8]),
    /// Longer than a window, and its checksum fits.
    Long,
    Damaged,
}

impl ScannedRecord<'_> {
    /// Where the next record starts.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len
    }

    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.value, ScannedValue::Damaged)
    }

    /// Why the value, which fits its checksum, cannot be decompressed; `None` also where this build cannot tell.
    pub(crate) fn decompression_defect(&self, file: &DataFile) -> Result<Option<Defect>> {
        let Some(algorithm) = self.header.compression.filter(|algorithm| algorithm.is_built()) else {
            return Ok(None);
        };
        let mut stored = match &self.value {
            ScannedValue::Whole(value) => value.to_vec(),
            ScannedValue::Long => {
                let mut value = vec![0; usize::try_from(self.header.value_size).unwrap_or(usize::MAX)];
                file.read(&mut value, self.offset + self.header.front_len() as u64)?;
                value
            }
            ScannedValue::Damaged => return Ok(None),
        };
        Ok(compression::decompress(algorithm, &mut stored, 0).err())
    }

    /// The position that a sync had covered when this record was written, where it claims one.
    pub(crate) fn claim(&self, file: &DataFile) -> Option<LogPosition> {
        match self.value {
            ScannedValue::Whole(payload) => claim(file, self.header.kind, payload),
            _ => None,
        }
    }
}

/// The position that a sync had covered when a whole record of this kind with this payload was written to `file`.
fn claim(file: &DataFile, kind: Kind, payload: &[u8]) -> Option<LogPosition> {
    match kind {
        Kind::SyncMarker | Kind::CloseMarker => LogPosition::decode(payload),
        // A footer is written once all before it is synced.
        Kind::Footer => {
            let footer = Footer::decode(payload).ok()?;
            Some(LogPosition { file: file.id(), offset: footer.data_len })
        }
        _ => None,
    }
}

/// A scan in progress.
pub(crate) struct Scanner<'f> {
    file: &'f DataFile,
    buffer: Vec<u8>,
    /// Where in the file the buffer's bytes come from.
    buffer_at: u64,
    offset: u64,
    end: u64,
    checksum: u32,
    /// The last line, decoded.
    line: Option<Record>,
}

impl<'f> Scanner<'f> {
    /// A scan of all records before `end`, which is at most the file's length.
    pub(crate) fn new(file: &'f DataFile, end: u64) -> Result<Self> {
        let first = file.first_record();
        let mut header = vec![0; usize::try_from(first.min(end)).unwrap_or(0)];
        file.read(&mut header, 0)?;
        let checksum = checksum(&header);
        Ok(Self {
            file,
            buffer: Vec::new(),
            buffer_at: first,
            offset: first,
            end: end.max(first),
            checksum,
            line: None,
        })
    }

    /// A scan from `start`, where a record starts; unless that is the first, its checksum means nothing.
    pub(crate) fn starting_at(file: &'f DataFile, start: u64, end: u64) -> Result<Self> {
        let scanner = Self::new(file, end)?;
        Ok(Self { buffer_at: start, offset: start, end: end.max(start), ..scanner })
    }

    /// Where the next record starts, or where the scan ended.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// CRC-32C of the file before [`Scanner::offset`].
    pub(crate) fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(crate) fn next(&mut self) -> Result<Scanned<'_>> {
        let room = self.end - self.offset;
        if room == 0 {
            return Ok(Scanned::End);
        }
        match self.file.codec() {
            Codec::Binary(seed) => self.next_binary(seed, room),
            Codec::Text(text) => self.next_line(text, room),
        }
    }

    /// The next line, given how many bytes the scan may still read.
    fn next_line(&mut self, text: Text, room: u64) -> Result<Scanned<'_>> {
        let len = match self.line_len(text, room)? {
            Ok(len) => len,
            Err(defect) => return Ok(Scanned::Defect(defect)),
        };
        let offset = self.offset;
        if u32::try_from(offset).is_err() {
            return Ok(Scanned::Defect(Defect::newer("a record that starts behind 4 GiB")));
        }
        let so_far = self.checksum;
        let line = self.window(len)?;
        let (decoded, file_checksum) = (text.decode(line), extend(so_far, line));
        match decoded {
            Err(defect) => Ok(Scanned::Defect(defect)),
            Ok(record) => {
                self.checksum = file_checksum;
                self.offset = offset + len as u64;
                let record = self.line.insert(record);
                let (header, value) = (record.header, ScannedValue::Whole(record.value()));
                Ok(Scanned::Record(ScannedRecord {
                    offset,
                    len: len as u64,
                    header,
                    key: record.key(),
                    value,
                }))
            }
        }
    }

    /// How long the next line is: found in what is read already, then in a window, or else step by step. Then it is not
    /// kept, and its length is not believed, before its checksum fits.
    fn line_len(&mut self, text: Text, room: u64) -> Result<Result<usize, Defect>> {
        if let Some(len) = text::line_len(self.buffered()) {
            return Ok(Ok(len));
        }
        let look = usize::try_from(room).unwrap_or(usize::MAX).min(WINDOW);
        let window = self.window(look)?;
        if let Some(len) = text::line_len(window) {
            return Ok(Ok(len));
        }
        let covered_start = text.syntax.covered_start();
        let Some(stored) = text.syntax.stored_crc(window).filter(|_| look == WINDOW) else {
            return Ok(Err(text::not_ended()));
        };
        let mut crc = text.crc_of(&window[covered_start..]);
        let mut piece = vec![0; WINDOW];
        let mut len = look as u64;
        let len_max = room.min(Text::LINE_MAX);
        while len < len_max {
            let step = usize::try_from(len_max - len).unwrap_or(WINDOW).min(WINDOW);
            self.file.read(&mut piece[..step], self.offset + len)?;
            if let Some(end) = text::line_len(&piece[..step]) {
                crc = extend(crc, &piece[..end - 1]);
                let len = usize::try_from(len).ok().and_then(|len| len.checked_add(end));
                return Ok(len.filter(|_| crc == stored).ok_or_else(text::does_not_fit));
            }
            crc = extend(crc, &piece[..step]);
            len += step as u64;
        }
        Ok(Err(text::not_ended()))
    }

    /// What is read already of the file from where the next record starts.
    fn buffered(&self) -> &[u8] {
        let start = usize::try_from(self.offset.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        self.buffer.get(start..).unwrap_or_default()
    }

    /// The next record, given how many bytes the scan may still read.
    fn next_binary(&mut self, seed: Seed, room: u64) -> Result<Scanned<'_>> {
        let fixed_end = usize::try_from(room).unwrap_or(usize::MAX).min(FIXED_LEN);
        let Some(fixed) = self.window(fixed_end)?.first_chunk::<FIXED_LEN>() else {
            return Ok(Scanned::Defect(Defect::damaged("the file ends within a record's header")));
        };
        let front_len = RecordHeader::unproven_front_len(fixed);
        if front_len as u64 > room {
            return Ok(Scanned::Defect(Defect::damaged("the file ends within a record's key")));
        }
        let offset = self.offset;
        let header = match RecordHeader::decode(self.window(front_len)?, seed, offset) {
            Ok(header) => header,
            Err(defect) => return Ok(Scanned::Defect(defect)),
        };
        if header.record_len() > room {
            return Ok(Scanned::Defect(Defect::damaged("the file ends within a record's value")));
        }
        if u32::try_from(offset).is_err() {
            return Ok(Scanned::Defect(Defect::newer("a record that starts behind 4 GiB")));
        }
        self.advance(header)
    }

    /// Checks the value of the record whose front is in the window, and passes over the record.
    fn advance(&mut self, header: RecordHeader) -> Result<Scanned<'_>> {
        let offset = self.offset;
        let front_len = header.front_len();
        let value_len = usize::try_from(header.value_size).unwrap_or(usize::MAX);
        let long = value_len > WINDOW;
        let (value_crc, file_checksum) = if long {
            self.checksum_long(front_len, u64::from(header.value_size))?
        } else {
            let so_far = self.checksum;
            let record = self.window(front_len + value_len)?;
            (checksum(&record[front_len..]), extend(so_far, record))
        };
        let start = usize::try_from(offset - self.buffer_at).unwrap_or(usize::MAX);
        let len = header.record_len();
        self.checksum = file_checksum;
        self.offset = offset + len;
        let front = &self.buffer[start..];
        planted!("a scan does not check values", let value_crc = header.value_crc);
        let value = match (value_crc == header.value_crc, long) {
            (false, _) => ScannedValue::Damaged,
            (true, true) => ScannedValue::Long,
            (true, false) => ScannedValue::Whole(&front[front_len..front_len + value_len]),
        };
        Ok(Scanned::Record(ScannedRecord { offset, len, header, key: header.key(front), value }))
    }

    /// The checksum of a long value alone, and of the file to its end.
    fn checksum_long(&mut self, front_len: usize, value_len: u64) -> Result<(u32, u32)> {
        let so_far = self.checksum;
        let mut file_checksum = extend(so_far, self.window(front_len)?);
        let mut value_crc = checksum(&[]);
        let mut at = self.offset + front_len as u64;
        let end = at + value_len;
        let mut piece = vec![0; WINDOW];
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(WINDOW).min(WINDOW);
            self.file.read(&mut piece[..len], at)?;
            value_crc = extend(value_crc, &piece[..len]);
            file_checksum = extend(file_checksum, &piece[..len]);
            at += len as u64;
        }
        Ok((value_crc, file_checksum))
    }

    /// The next `len` bytes of the file, which are before `end`.
    fn window(&mut self, len: usize) -> Result<&[u8]> {
        let start = usize::try_from(self.offset.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        if self.buffer.len() < start.saturating_add(len) {
            let room = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
            self.buffer.resize(room.min(len.max(WINDOW)), 0);
            self.buffer_at = self.offset;
            self.file.read(&mut self.buffer, self.offset)?;
            return Ok(&self.buffer[..len]);
        }
        Ok(&self.buffer[start..start + len])
    }
}

/// The furthest claims of the sync markers, close markers and footers that lie whole anywhere from `from` on: at any
/// byte, for behind a defect nobody knows where records start. The salt keeps strangers' bytes out.
pub(crate) fn claims_behind(file: &DataFile, from: u64) -> Result<Vec<LogPosition>> {
    let end = file.file_len()?;
    let mut claims = Vec::new();
    let mut at = from;
    let mut window = Vec::new();
    while at < end {
        // Consecutive windows overlap by the longest record that is looked for.
        let len = (end - at).min((WINDOW + file.codec().log_record_max()) as u64);
        window.resize(usize::try_from(len).unwrap_or(WINDOW), 0);
        file.read(&mut window, at)?;
        let starts = usize::try_from(len.min(WINDOW as u64)).unwrap_or(WINDOW);
        claims.extend((0..starts).filter_map(|start| claim_at(file, &window[start..], at + start as u64)));
        at += WINDOW as u64;
    }
    Ok(claims)
}

fn claim_at(file: &DataFile, bytes: &[u8], offset: u64) -> Option<LogPosition> {
    let codec = file.codec();
    if !codec.may_claim(bytes) {
        return None;
    }
    let LogRecord { kind, payload } = codec.decode_log(bytes, offset)?;
    claim(file, kind, &payload)
}

/// How much of the file behind `from` is not zero: where the last such byte ends. `from` when all is zeros.
pub(crate) fn end_of_content(file: &DataFile, from: u64) -> Result<u64> {
    let mut end = file.file_len()?;
    let mut piece = vec![0; WINDOW];
    while end > from {
        let len = (end - from).min(WINDOW as u64);
        let piece = &mut piece[..usize::try_from(len).unwrap_or(WINDOW)];
        file.read(piece, end - len)?;
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            return Ok(end - len + last as u64 + 1);
        }
        end -= len;
    }
    Ok(from)
}

/// A text for a key in messages: readable where it is text, and never long.
pub(crate) fn display_key(key: &[u8]) -> Cow<'_, str> {
    const SHOWN: usize = 64;
    match std::str::from_utf8(key) {
        Ok(text) if key.len() <= SHOWN && !text.chars().any(char::is_control) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{}", key[..key.len().min(SHOWN)].escape_ascii())),
    }
}

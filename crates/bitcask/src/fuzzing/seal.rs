//! Checksums made to fit, so that a fuzzer gets past them: what is behind them must stand any bytes as well, for a
//! checksum is no signature.
//!
//! Nothing here is sure that the bytes are what it takes them for. Where they are not it changes them for nothing.

use crate::LogFormat;
use crate::format::checksum::{checksum, extend};
use crate::format::file_header::FileHeader;
use crate::format::footer::PAYLOAD_LEN;
use crate::format::hint::HintHeader;
use crate::format::record::{FIXED_LEN, RecordHeader, Seed};
use crate::format::text::{Syntax, line_len};

/// What the kind of a footer has in a record.
const FOOTER: u8 = 6;
/// Where a footer has the length of the file before it, and the checksum of it.
const FOOTER_LEN_AT: usize = 40;

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// The record at the front of `bytes`; how long it is, if it is there whole.
pub(super) fn record(bytes: &mut [u8], salt: u64, offset: u64) -> Option<usize> {
    let fixed = bytes.first_chunk::<FIXED_LEN>()?;
    let front_len = RecordHeader::unproven_front_len(fixed);
    let value_size = u32::from_le_bytes(*fixed.last_chunk()?);
    let len = front_len.checked_add(usize::try_from(value_size).ok()?)?;
    if let Some(value) = bytes.get(front_len..len) {
        let crc = checksum(value);
        put(bytes, 4, crc);
    }
    let front = bytes.get(4..front_len)?;
    let seed = checksum(&salt.to_le_bytes());
    let crc = extend(extend(seed, &offset.to_le_bytes()), front);
    put(bytes, 0, crc);
    (len <= bytes.len()).then_some(len)
}

/// A line with this content: what is behind the checksum, up to where it ends or the first line end. The header of a file
/// has no salt.
pub(super) fn line(format: LogFormat, salt: Option<u64>, content: &[u8]) -> Vec<u8> {
    let Some(syntax) = format.syntax() else { return content.to_vec() };
    let mut line = Vec::new();
    syntax.begin(&mut line);
    // Bytes that are a line already stay one.
    let content =
        if syntax.stored_crc(content).is_some() { &content[syntax.covered_start()..] } else { content };
    let end = line_len(content).map_or(content.len(), |len| len - 1);
    line.extend_from_slice(&content[..end]);
    let covered = &line[syntax.covered_start()..];
    let crc = match salt {
        Some(salt) => extend(Seed::new(salt).get(), covered),
        None => checksum(covered),
    };
    line.push(b'\n');
    syntax.seal(&mut line, crc);
    line
}

/// The header of a data file; what is behind it stays.
pub(super) fn file_header(format: LogFormat, front: &[u8]) -> Vec<u8> {
    let Some(syntax) = format.syntax() else {
        let mut front = front.to_vec();
        let len = FileHeader::len_max(format, &front);
        if let Some(covered) = front.get(..len).and_then(|header| header.get(..len - 4)) {
            let crc = checksum(covered);
            put(&mut front, len - 4, crc);
        }
        return front;
    };
    let columns = columns(syntax, front);
    let (columns, rest) = front.split_at(columns);
    let end = line_len(rest).unwrap_or(rest.len());
    [columns, &line(format, None, rest), &rest[end..]].concat()
}

/// Bytes of the line with the names of the columns, where one is in front of the header.
fn columns(syntax: Syntax, front: &[u8]) -> usize {
    match syntax {
        Syntax::Csv if front.starts_with(b"crc,") => line_len(front).unwrap_or(0),
        _ => 0,
    }
}

/// A whole data file: its header, and behind that each record. Footers are made to fit what is before them.
pub(super) fn data_file(format: LogFormat, bytes: &[u8]) -> Vec<u8> {
    let mut file = file_header(format, bytes);
    if let Ok((header, first)) = FileHeader::decode(format, &file) {
        records(format, header.salt, &mut file, usize::try_from(first).unwrap_or(usize::MAX));
    }
    file
}

/// All records from `first` on.
pub(super) fn records(format: LogFormat, salt: u64, file: &mut Vec<u8>, first: usize) {
    if format.syntax().is_some() {
        let rest = file.split_off(first);
        let lines = rest.split_inclusive(|&byte| byte == b'\n');
        lines.for_each(|content| file.extend(line(format, Some(salt), content)));
        return;
    }
    let mut at = first;
    while at < file.len() {
        let (before, record_on) = file.split_at_mut(at);
        let payload_at = FIXED_LEN;
        let is_footer = record_on.get(16) == Some(&FOOTER) && record_on.len() >= payload_at + PAYLOAD_LEN;
        if is_footer {
            let payload = &mut record_on[payload_at..];
            payload[FOOTER_LEN_AT..FOOTER_LEN_AT + 8].copy_from_slice(&(before.len() as u64).to_le_bytes());
            put(payload, FOOTER_LEN_AT + 8, checksum(before));
        }
        match record(record_on, salt, at as u64) {
            Some(len) => at += len,
            None => return,
        }
    }
}

/// A hint file: its sections, then its header.
pub(super) fn hint(file: &mut [u8]) {
    const FRONT_LEN: usize = 64;
    const SECTION_LEN: usize = 16;
    let Some(len) = file.first_chunk().and_then(HintHeader::encoded_len) else { return };
    if file.len() < len {
        return;
    }
    let mut at = len;
    for section_at in (FRONT_LEN..len - 4).step_by(SECTION_LEN) {
        let section_len = file[section_at + 8..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        let end = at.saturating_add(usize::try_from(section_len).unwrap_or(usize::MAX));
        let Some(section) = file.get(at..end) else { break };
        let crc = checksum(section);
        put(file, section_at + 12, crc);
        at = end;
    }
    let crc = checksum(&file[..len - 4]);
    put(file, len - 4, crc);
}

/// A hint file, made to fit its data file as well.
pub(super) fn hint_of(file: &mut [u8], data: &[u8]) {
    const DATA_LEN_AT: usize = 40;
    let footer_len = FIXED_LEN + PAYLOAD_LEN;
    let data_len = data.len().checked_sub(footer_len).filter(|&len| data[len + 16] == FOOTER);
    if let Some(len) = data_len
        && file.len() > DATA_LEN_AT + 12
    {
        file[DATA_LEN_AT..DATA_LEN_AT + 8].copy_from_slice(&(len as u64).to_le_bytes());
        put(file, DATA_LEN_AT + 8, checksum(&data[..len]));
    }
    hint(file);
}

/// A manifest: the checksum that it ends with.
pub(super) fn manifest(file: &mut [u8]) {
    if let Some(covered) = file.len().checked_sub(4) {
        let crc = checksum(&file[..covered]);
        put(file, covered, crc);
    }
}

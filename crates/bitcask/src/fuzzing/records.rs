//! Single records in each format, and the values in them.

use super::Choice;
use super::seal;
use crate::LogFormat;
use crate::format::Defect;
use crate::format::codec::{Codec, Prepared, Record};
use crate::format::compression::{self, Algorithm, Compression};
use crate::format::record::Kind;

/// The salt of the file that the records are in.
const SALT: u64 = 42;

/// A choice, four bytes of an offset, then a record of the binary format.
pub(super) fn binary(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let Some((offset, rest)) = rest.split_first_chunk() else { return };
    let offset = u64::from(u32::from_le_bytes(*offset));
    let mut record = rest.to_vec();
    if choice.seals {
        seal::record(&mut record, SALT, offset);
    }
    check(LogFormat::Binary, &record, offset);
}

/// A choice, then a line of JSON.
pub(super) fn json(bytes: &[u8]) {
    line(LogFormat::Json, bytes);
}

/// A choice, then a line of CSV.
pub(super) fn csv(bytes: &[u8]) {
    line(LogFormat::Csv, bytes);
}

fn line(format: LogFormat, bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let line = if choice.seals { seal::line(format, Some(SALT), rest) } else { rest.to_vec() };
    check(format, &line, 0);
    if let Codec::Text(text) = Codec::new(format, SALT) {
        // Whatever an editor made of it.
        if let Ok(record) = text.decode_edited(&line) {
            assert!(record.header.kind.has_key(), "only records about keys are edited");
        }
    }
}

/// All that the codec says of bytes that may begin with a record agrees with all else.
fn check(format: LogFormat, bytes: &[u8], offset: u64) {
    let codec = Codec::new(format, SALT);
    let (may_begin, may_claim) = (codec.may_begin(bytes), codec.may_claim(bytes));
    let log = codec.decode_log(bytes, offset);
    let key_end = codec.key_end(bytes);
    let decoded = codec.decode_unsound(bytes.to_vec(), offset);
    assert_eq!(codec.decode(bytes.to_vec(), offset).is_ok(), decoded.as_ref().is_ok_and(Record::is_sound));
    let Ok(record) = decoded else {
        assert!(
            log.is_none() || matches!(format, LogFormat::Json | LogFormat::Csv),
            "a log record is a record"
        );
        return;
    };
    let is_ignorable = matches!(record.header.kind, Kind::Ignorable(_));
    // None of the log's own records is written with flags, though they could be read.
    let has_flags = record.header.expiry.is_some() || record.header.in_batch;
    let is_as_written = record.header.kind.has_key() || !(is_ignorable || has_flags);
    assert!(may_begin || is_ignorable, "a record begins where none may");
    let key_only = codec.decode_key(bytes.to_vec(), offset).expect("the front is that of a record");
    assert_eq!((key_only.header, key_only.key()), (record.header, record.key()));
    assert!(key_end >= record.before_key().len() + record.key().len(), "the key ends behind its end");
    assert!(record.header.kind.has_key() != record.key().is_empty() || is_ignorable);
    if let Some(log) = log {
        let claims = matches!(log.kind, Kind::SyncMarker | Kind::CloseMarker | Kind::Footer);
        assert!(may_claim || !claims || !is_as_written, "a claim is passed over");
        assert_eq!((log.kind, &log.payload[..]), (record.header.kind, record.value()));
    }
    if !is_as_written || !record.is_sound() {
        return;
    }
    let again = encoded(format, codec, &record, offset);
    if format == LogFormat::Binary {
        assert!(bytes.starts_with(&again), "what decodes has one form");
    }
    let again = codec.decode(again, offset).expect("what is encoded decodes");
    assert_eq!((again.key(), again.value()), (record.key(), record.value()));
    assert_eq!(again.header, record.header);
    decompress(record);
}

/// The record as it is written.
fn encoded(format: LogFormat, codec: Codec, record: &Record, offset: u64) -> Vec<u8> {
    let (header, mut bytes) = (record.header, Vec::new());
    if !header.kind.has_key() {
        codec.encode_log(header.kind, header.timestamp, offset, record.value(), &mut bytes);
        return bytes;
    }
    let prepared = Prepared::carried(format, &header, record.key(), record.value());
    let rest = codec.encode(&header, offset, record.key(), record.value(), &prepared, &mut bytes);
    bytes.extend_from_slice(rest);
    assert!(bytes.len() as u64 <= prepared.len_max(&header), "a record is longer than room was made for");
    bytes
}

/// The value as it was put has the length that it says, or is refused.
fn decompress(mut record: Record) {
    let plain_len = record.plain_len();
    let key = record.key().to_vec();
    match record.decompress() {
        Ok(()) => assert_eq!(plain_len, Ok(record.value().len() as u64)),
        Err(Defect::Newer(what)) => panic!("a compression that is known is no news: {what}"),
        Err(Defect::Damaged(_) | Defect::MissingFeature(_)) => {}
    }
    assert_eq!(record.key(), key, "the key stays");
}

/// A byte for the algorithm, then a value: as one that is stored, and as one that is put.
pub(super) fn value(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let algorithm = if first & 1 == 0 { Algorithm::Lz4 } else { Algorithm::Zstd };
    let mut memory = [b"key", rest].concat();
    if compression::decompress(algorithm, &mut memory, 3).is_ok() {
        assert_eq!(compression::plain_len(algorithm, rest), Ok(memory.len() - 3));
        assert!(memory.starts_with(b"key"));
    }
    let compression = match algorithm {
        Algorithm::Lz4 => Compression::Lz4,
        Algorithm::Zstd => Compression::Zstd { level: 1 + i32::from(first >> 1) % 3 },
    };
    for format in LogFormat::ALL {
        let Some((by, mut stored)) = compression::compress(compression, format, rest) else { continue };
        assert!(stored.len() < rest.len(), "it is compressed for nothing");
        compression::decompress(by, &mut stored, 0).expect("what is compressed decompresses");
        assert_eq!(stored, rest);
    }
}

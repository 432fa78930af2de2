//! Lines come back, and nothing else passes for one.

use proptest::prelude::*;

use super::*;
use crate::format::checksum::checksum;
use crate::format::codec::{Codec, Prepared};
use crate::format::compression::Algorithm;
use crate::format::file_header::LogFormat;
use crate::format::footer::{Ending, Footer};
use crate::format::position::{FileId, LogPosition};

const FORMATS: [LogFormat; 2] = [LogFormat::Json, LogFormat::Csv];

fn text(format: LogFormat, salt: u64) -> Text {
    match Codec::new(format, salt) {
        Codec::Text(text) => text,
        Codec::Binary(_) => panic!("{format:?} is no text"),
    }
}

fn header(kind: Kind, expiry: Option<u64>, key: &[u8], value: &[u8]) -> RecordHeader {
    RecordHeader {
        kind,
        timestamp: 1_763_790_000_000_000,
        expiry,
        in_batch: key.len() % 2 == 1,
        compression: None,
        key_size: u16::try_from(key.len()).unwrap(),
        value_size: u32::try_from(value.len()).unwrap(),
        value_crc: checksum(value),
    }
}

/// The line of a record, and its header.
fn line(
    format: LogFormat,
    kind: Kind,
    expiry: Option<u64>,
    key: &[u8],
    value: &[u8],
) -> (RecordHeader, Vec<u8>) {
    line_of(format, header(kind, expiry, key, value), key, value)
}

fn line_of(format: LogFormat, header: RecordHeader, key: &[u8], value: &[u8]) -> (RecordHeader, Vec<u8>) {
    let prepared = Prepared::new(format, header.kind, key, value);
    let mut line = Vec::new();
    let rest = Codec::new(format, 42).encode(&header, 68, key, value, &prepared, &mut line);
    line.extend_from_slice(rest);
    assert!(line.len() as u64 <= prepared.len_max(&header));
    assert!(line.len() as u64 <= 1024 + 2 * (key.len() + value.len()) as u64);
    (header, line)
}

fn printed(format: LogFormat, kind: Kind, expiry: Option<u64>, key: &[u8], value: &[u8]) -> String {
    let line = String::from_utf8(line(format, kind, expiry, key, value).1).unwrap();
    let (front, rest) = line.split_at(format.syntax().unwrap().covered_start());
    assert!(text(format, 42).syntax.stored_crc(front.as_bytes()).is_some());
    rest.to_owned()
}

#[test]
fn a_record_is_one_readable_line() {
    let json = |kind, expiry, key: &[u8], value: &[u8]| printed(LogFormat::Json, kind, expiry, key, value);
    assert_eq!(
        json(Kind::Value, None, b"user:1!", b"{\"name\":\"Ada\"}"),
        ",\"timestamp\":1763790000000000,\"kind\":\"value\",\"batch\":true,\"key\":\"user:1!\",\
         \"value\":\"{\\\"name\\\":\\\"Ada\\\"}\"}\n"
    );
    assert_eq!(
        json(Kind::Value, Some(7), b"\0\xff", b"a\nb"),
        ",\"timestamp\":1763790000000000,\"kind\":\"value\",\"expires\":7,\"key64\":\"AP8=\",\"value64\":\"YQpi\"}\n"
    );
    assert_eq!(
        json(Kind::Tombstone, None, "zoë!".as_bytes(), b""),
        ",\"timestamp\":1763790000000000,\"kind\":\"tombstone\",\"batch\":true,\"key\":\"zoë!\"}\n"
    );
    let csv = |kind, expiry, key: &[u8], value: &[u8]| printed(LogFormat::Csv, kind, expiry, key, value);
    assert_eq!(
        csv(Kind::Value, None, b"user:1!", b"Ada, \"Countess\""),
        ",1763790000000000,value,,true,user:1!,,\"Ada, \"\"Countess\"\"\",\n"
    );
    assert_eq!(csv(Kind::Value, Some(7), b"\0\xff", b"a\rb"), ",1763790000000000,value,7,,,AP8=,,YQ1i\n");
    assert_eq!(csv(Kind::Tombstone, None, b"user:1", b""), ",1763790000000000,tombstone,,,user:1,,,\n");
    assert_eq!(csv(Kind::Value, None, b"user:1", b""), ",1763790000000000,value,,,user:1,,,\n");
}

/// Text would become six times as long.
#[test]
fn what_quoting_would_blow_up_is_base64() {
    let rest = printed(LogFormat::Json, Kind::Value, None, b"key!", &[1; 30]);
    assert!(rest.contains("\"value64\":\"AQEB"), "{rest}");
}

#[test]
fn a_compressed_value_names_its_compression() {
    let header =
        RecordHeader { compression: Some(Algorithm::Zstd), ..header(Kind::Value, None, b"k1", b"\0\xff") };
    for (format, expected) in [
        (
            LogFormat::Json,
            ",\"timestamp\":1763790000000000,\"kind\":\"value\",\"compression\":\"zstd\",\"key\":\"k1\",\"value64\":\"AP8=\"}\n",
        ),
        (LogFormat::Csv, ",1763790000000000,value zstd,,,k1,,,AP8=\n"),
    ] {
        let (_, line) = line_of(format, header, b"k1", b"\0\xff");
        let covered = &line[format.syntax().unwrap().covered_start()..];
        assert_eq!(std::str::from_utf8(covered), Ok(expected));
        assert_eq!(text(format, 42).decode(&line).unwrap().header, header);
    }
}

#[test]
fn records_of_the_log_s_own_spell_out_their_numbers_and_come_back() {
    let position = LogPosition { file: FileId(1), offset: 141 };
    let footer = Footer {
        records: u64::MAX,
        values: u64::MAX,
        tombstones: u64::MAX,
        first_timestamp: u64::MAX,
        last_timestamp: u64::MAX,
        data_len: u64::MAX,
        checksum: u32::MAX,
        ending: Ending::Cut,
    };
    let last = LogPosition { file: FileId(u64::MAX), offset: u64::MAX };
    for format in FORMATS {
        let codec = Codec::new(format, 42);
        let check = |kind, timestamp, payload: &[u8]| {
            let mut line = Vec::new();
            codec.encode_log(kind, timestamp, 68, payload, &mut line);
            assert!(line.len() <= codec.log_record_max(), "{}", line.len());
            assert!(codec.may_claim(&line));
            let mut bytes = line.clone();
            bytes.extend_from_slice(b"what follows\n");
            let found = codec.decode_log(&bytes, 68).unwrap();
            assert_eq!((found.kind, &found.payload[..]), (kind, payload));
            assert_eq!(codec.footer_start(&[b"before\n", &line[..]].concat()), Some(7));
            assert_eq!(codec.footer_start(&line[..line.len() - 1]), None);
            String::from_utf8(line).unwrap()
        };
        let marker = check(Kind::SyncMarker, 5, &position.encode());
        match format {
            LogFormat::Json => assert_eq!(
                &marker[18..],
                "\"timestamp\":5,\"kind\":\"sync marker\",\"file\":1,\"offset\":141}\n"
            ),
            _ => assert_eq!(&marker[9..], "5,sync marker,,,,,file=1 offset=141,\n"),
        }
        let longest = check(Kind::CloseMarker, u64::MAX, &last.encode());
        assert!(longest.len() as u64 <= codec.marker_len_max());
        let most = LogPosition { file: FileId(9_999_999_999), offset: 4_294_967_295 };
        let link = check(Kind::Link, 1_763_790_000_000_000, &most.encode());
        assert_eq!(link.len() as u64, codec.link_len(), "{link}");
        check(Kind::BatchEnd, 9, &[7; 16]);
        check(Kind::Footer, u64::MAX, &footer.encode());
    }
}

/// Anything that may be in a key or a value, and what has a meaning in a line above all.
fn bytes(least: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\"".to_vec()),
        Just(b"\\".to_vec()),
        Just(b",".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"file=1 offset=2".to_vec()),
        Just(b"{\"crc\":\"00000000\"".to_vec()),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        "\\PC{0,6}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..8)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("long enough", move |bytes| bytes.len() >= least)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Value),
        Just(Kind::Tombstone),
        Just(Kind::Ignorable(128)),
        Just(Kind::Ignorable(255))
    ]
}

proptest! {
    #[test]
    fn any_record_comes_back(
        kind in kind(),
        key in bytes(1),
        value in bytes(0),
        expiry: Option<u64>,
        compression in 0_u8..3,
    ) {
        let value = if kind == Kind::Tombstone { Vec::new() } else { value };
        let compression = Algorithm::from_number(compression).filter(|_| kind != Kind::Tombstone);
        for format in FORMATS {
            let header = RecordHeader { compression, ..header(kind, expiry, &key, &value) };
            let (header, line) = line_of(format, header, &key, &value);
            prop_assert_eq!(line_len(&line), Some(line.len()), "one line");
            let record = text(format, 42).decode(&line).unwrap();
            prop_assert_eq!(record.header, header);
            prop_assert_eq!(record.key(), &key[..]);
            prop_assert_eq!(record.value(), &value[..]);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_line(bytes: Vec<u8>) {
        for format in FORMATS {
            prop_assert!(text(format, 42).decode_first(&bytes).is_err());
        }
    }

    #[test]
    fn any_sealed_text_is_a_record_or_refused_without_a_panic(members in "[ -~]{0,80}") {
        for format in FORMATS {
            prop_assert!(sealed(format, &members).is_err());
        }
    }
}

#[test]
fn a_line_with_any_bit_flipped_or_any_byte_missing_or_of_another_file_is_refused() {
    for format in FORMATS {
        for (key, value) in [(&b"key"[..], &b"value, \"quoted\""[..]), (b"\0", b"\xff")] {
            let (_, line) = line(format, Kind::Value, Some(9), key, value);
            let text_42 = text(format, 42);
            assert!(text_42.decode_first(&line).is_ok());
            assert!(text(format, 43).decode_first(&line).is_err(), "a line of another file");
            for bit in 0..line.len() * 8 {
                let mut flipped = line.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped.extend_from_slice(b"\n");
                assert!(text_42.decode_first(&flipped).is_err(), "{format:?}, bit {bit}");
            }
            for at in 0..line.len() - 1 {
                assert!(text_42.decode_first(&line[..at]).is_err(), "{format:?}, {at} bytes");
                let mut without = line.clone();
                without.remove(at);
                without.extend_from_slice(b"\n");
                assert!(text_42.decode_first(&without).is_err(), "{format:?}, byte {at} missing");
            }
        }
    }
}

/// The line that these members make, sealed.
fn sealed(format: LogFormat, members: &str) -> Result<Record, Defect> {
    let text = text(format, 42);
    let mut line = Vec::new();
    text.syntax.begin(&mut line);
    line.extend_from_slice(members.as_bytes());
    let crc = text.crc_of(&line[text.syntax.covered_start()..]);
    text.syntax.seal(&mut line, crc);
    line.push(b'\n');
    text.decode(&line)
}

#[test]
fn a_sealed_line_is_read_strictly() {
    let json = |members: &str| sealed(LogFormat::Json, members);
    let record =
        json(", \"key\": \"k\\u0031\", \"kind\": \"value\", \"timestamp\": 5, \"value\": \"v\" }").unwrap();
    assert_eq!((record.key(), record.value(), record.header.timestamp), (&b"k1"[..], &b"v"[..], 5));
    let front = ",\"timestamp\":5,\"kind\":\"value\"";
    for damaged in [
        "",
        "}",
        ",\"timestamp\":5}",
        ",\"kind\":\"value\",\"key\":\"k\"}",
        ",\"timestamp\":5,\"kind\":\"value\",\"value\":\"v\"}",
        ",\"timestamp\":5,\"kind\":\"tombstone\",\"key\":\"k\",\"value\":\"v\"}",
        ",\"timestamp\":5,\"kind\":\"tombstone\",\"key\":\"k\",\"compression\":\"lz4\"}",
        ",\"timestamp\":5,\"kind\":\"value\",\"key\":\"k\",\"compression\":7}",
        ",\"timestamp\":5,\"kind\":\"sync marker\",\"file\":1}",
        ",\"timestamp\":5,\"kind\":\"sync marker\",\"file\":1,\"offset\":2,\"key\":\"k\"}",
        ",\"timestamp\":-5,\"kind\":\"value\",\"key\":\"k\"}",
        ",\"timestamp\":5.5,\"kind\":\"value\",\"key\":\"k\"}",
        ",\"timestamp\":\"5\",\"kind\":\"value\",\"key\":\"k\"}",
    ] {
        assert!(matches!(json(damaged), Err(Defect::Damaged(_))), "{damaged}");
    }
    for end in [
        ",\"key\":\"\"}",
        ",\"key\":\"k\",\"key64\":\"aw==\"}",
        ",\"key\":\"k\",\"key\":\"k\"}",
        ",\"key64\":\"aw\"}",
        ",\"key\":7}",
        ",\"key\":\"k\",\"batch\":1}",
        ",\"key\":\"k\"} ,",
        ",\"key\":[\"k\"]}",
    ] {
        assert!(matches!(json(&format!("{front}{end}")), Err(Defect::Damaged(_))), "{end}");
    }
    for newer in [
        ",\"timestamp\":5,\"kind\":\"value\",\"key\":\"k\",\"compression\":\"brotli\"}",
        ",\"timestamp\":5,\"kind\":\"value\",\"key\":\"k\",\"colour\":\"red\"}",
        ",\"timestamp\":5,\"kind\":\"vault\",\"key\":\"k\"}",
        ",\"timestamp\":5,\"kind\":\"ignorable 127\",\"key\":\"k\"}",
    ] {
        assert!(matches!(json(newer), Err(Defect::Newer(_))), "{newer}");
    }
    let csv = |fields: &str| sealed(LogFormat::Csv, fields);
    assert_eq!(csv(",5,value,,,\"k\",,v,").unwrap().key(), b"k");
    for damaged in [
        "",
        ",5,value,,,k,,v",
        ",5,value,,,k,,v,,",
        ",5,value,,,k,,v,dg==",
        ",5,value,,,\"k,,v,",
        ",5,value,,no,k,,v,",
        ",five,value,,,k,,v,",
        ",5,sync marker,,,,,file=1 offset,",
        ",5,sync marker,,,,,file=1 file=1,",
        ",5,sync marker,,,k,,file=1 offset=2,",
        ",5,sync marker lz4,,,,,file=1 offset=2,",
        ",5,tombstone lz4,,,k,,,",
    ] {
        assert!(matches!(csv(damaged), Err(Defect::Damaged(_))), "{damaged}");
    }
    assert!(matches!(csv(",5,vault,,,k,,v,"), Err(Defect::Newer(_))));
    assert!(matches!(csv(",5,value brotli,,,k,,v,"), Err(Defect::Newer(_))));
    assert!(matches!(csv(",5,sync marker,,,,,file=1 offset=2 term=3,"), Err(Defect::Newer(_))));
}

/// What a value holds cannot speak for itself: a copy of a marker in it is never followed by the end of a line where the
/// marker's would be.
#[test]
fn a_value_that_holds_lines_of_its_own_file_claims_nothing() {
    for format in FORMATS {
        let codec = Codec::new(format, 42);
        let mut marker = Vec::new();
        codec.encode_log(
            Kind::SyncMarker,
            5,
            68,
            &LogPosition { file: FileId(1), offset: 141 }.encode(),
            &mut marker,
        );
        let one_line = marker.strip_suffix(b"\n").unwrap();
        for value in [one_line, &marker, &[b"text ", one_line].concat(), &[&marker[..], &marker].concat()] {
            for (key, value) in [(&b"key"[..], value), (value, b"")] {
                let (_, line) = line(format, Kind::Value, None, key, value);
                for start in 0..line.len() {
                    let found = codec.may_claim(&line[start..]).then(|| codec.decode_log(&line[start..], 0));
                    assert!(found.flatten().is_none(), "{}", line.escape_ascii());
                }
            }
        }
    }
}

//! What options are set to: sizes, levels of durability, formats, compression.

use std::time::Duration;

use bitcask::{Compression, Durability, Io, LogFormat};
use bytesize::ByteSize;

pub(super) fn parse_format(text: &str) -> Result<LogFormat, String> {
    let formats = [LogFormat::Binary, LogFormat::Json, LogFormat::Csv];
    let found = formats.into_iter().find(|format| format.name() == text);
    found.ok_or_else(|| "a log format is binary, json or csv".to_owned())
}

pub(super) fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "always" => Ok(Durability::Always),
        "os" => Ok(Durability::Os),
        "interval" => Ok(Durability::Interval(Duration::from_secs(1))),
        _ => {
            let interval =
                text.strip_prefix("interval:").ok_or("use always, interval, interval:500ms or os")?;
            humantime::parse_duration(interval).map(Durability::Interval).map_err(|error| error.to_string())
        }
    }
}

pub(super) fn parse_io(text: &str) -> Result<Io, String> {
    match text {
        "mapped" => Ok(Io::Mapped),
        "syscall" => Ok(Io::Syscall),
        _ => Err("use mapped or syscall".to_owned()),
    }
}

pub(super) fn parse_compression(text: &str) -> Result<Compression, String> {
    let level = match text {
        "none" => return Ok(Compression::None),
        "lz4" => return Ok(Compression::Lz4),
        // What Zstandard itself takes.
        "zstd" => Some(3),
        _ => text.strip_prefix("zstd:").and_then(|level| level.parse().ok()),
    };
    match level {
        Some(level @ 1..=22) => Ok(Compression::Zstd { level }),
        _ => Err("use none, lz4, zstd, or zstd:LEVEL with a level from 1 to 22".to_owned()),
    }
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "use bytes, or a number with a unit such as 256MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_a_name_or_an_interval() {
        assert_eq!(parse_durability("always"), Ok(Durability::Always));
        assert_eq!(parse_durability("os"), Ok(Durability::Os));
        assert_eq!(parse_durability("interval"), Ok(Durability::Interval(Duration::from_secs(1))));
        assert_eq!(parse_durability("interval:500ms"), Ok(Durability::Interval(Duration::from_millis(500))));
        assert!(parse_durability("interval:").is_err());
        assert!(parse_durability("never").is_err());
    }

    #[test]
    fn compression_is_a_name_perhaps_with_a_level() {
        assert_eq!(parse_compression("none"), Ok(Compression::None));
        assert_eq!(parse_compression("lz4"), Ok(Compression::Lz4));
        assert_eq!(parse_compression("zstd"), Ok(Compression::Zstd { level: 3 }));
        assert_eq!(parse_compression("zstd:19"), Ok(Compression::Zstd { level: 19 }));
        for refused in ["", "gzip", "lz4:1", "zstd:", "zstd:0", "zstd:23", "zstd:-1", "zstd:3.5"] {
            assert!(parse_compression(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("100"), Ok(100));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("4GiB"), Ok(1 << 32));
        assert!(parse_size("-1").is_err());
        assert!(parse_size("many").is_err());
    }
}

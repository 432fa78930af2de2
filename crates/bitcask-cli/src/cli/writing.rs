//! The options of every verb that writes.

use bitcask::{Compression, Durability, Io, LogFormat, MergeOptions, MergePolicy, OpenMode, Options};
use clap::Args;

use super::values::{parse_compression, parse_durability, parse_format, parse_io, parse_size};

/// How to write a store.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct WriterArgs {
    /// What survives once a write has returned: `always` power loss; `interval:500ms` process death at once, power loss
    /// after that time (1s where none is given); `os` process death
    #[arg(long, value_name = "LEVEL", default_value = "interval", value_parser = parse_durability)]
    pub(crate) durability: Durability,
    /// The log format of a store that is created: `binary`, `json` or `csv`; a store that exists keeps its own
    #[arg(long, value_name = "FORMAT", default_value = "binary", value_parser = parse_format)]
    format: LogFormat,
    /// How bytes reach the files: `mapped` (where that is safe) or `syscall`
    #[arg(long, value_name = "WAY", default_value = "mapped", value_parser = parse_io)]
    io: Io,
    /// The size at which a new data file is begun
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    max_file_size: u64,
    /// The longest value that is accepted; the format allows 4 GiB - 1
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_size)]
    pub(crate) max_value_size: u64,
    #[command(flatten)]
    compression: CompressionArgs,
}

/// How values are stored that are written.
#[derive(Debug, Args)]
pub(crate) struct CompressionArgs {
    /// How the values that are written are compressed: `none`, `lz4`, `zstd`, or `zstd:LEVEL` from 1 to 22; each is
    /// stored plain where that would not save an eighth of it
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = parse_compression)]
    compression: Compression,
    /// The length from which on values are compressed
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    compress_from: u64,
}

impl CompressionArgs {
    pub(crate) fn choose(&self, options: Options) -> Options {
        options.compression(self.compression).compress_from(self.compress_from)
    }
}

impl WriterArgs {
    /// For a verb that is done in a moment: it starts no merge, which it would only cut short.
    pub(crate) fn options(&self, mode: OpenMode) -> Options {
        let options = Options::new()
            .mode(mode)
            .format(self.format)
            .durability(self.durability)
            .io(self.io)
            .max_file_size(self.max_file_size)
            .max_value_size(self.max_value_size)
            .merge(MergeOptions::new().policy(MergePolicy::Never));
        self.compression.choose(options)
    }
}

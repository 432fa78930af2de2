//! `put get delete exists ttl expire`: the verbs of one key.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bitcask::PutOptions;
use clap::Args;

use super::shared::{EncodingArgs, JsonArgs};
use super::writing::WriterArgs;
use crate::bytes::Encoding;
use crate::failure::Failure;

/// One key of a store.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    #[command(flatten)]
    encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

impl KeyArgs {
    /// The bytes of the key.
    pub(crate) fn key(&self) -> Result<Vec<u8>, Failure> {
        self.encoding.encoding().decode_argument("KEY", &self.key)
    }
}

/// Whether the encoding is of the key alone.
#[derive(Debug, Args)]
struct RawArgs {
    /// `--hex` or `--base64` is of the key alone; the value is taken or printed byte for byte
    #[arg(long)]
    raw: bool,
}

impl RawArgs {
    fn value_encoding(&self, key: &KeyArgs) -> Encoding {
        if self.raw { Encoding::Plain } else { key.encoding.encoding() }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true, required_unless_present = "file")]
    pub(crate) value: Option<OsString>,
    /// Take the value from this file instead; `-` is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// Let the key be absent again after this time, such as 90s or `1h 30m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Let the key be absent from this moment on, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339, conflicts_with = "ttl")]
    expires_at: Option<SystemTime>,
    /// Only if the key is not in the store; exit code 1 when it is
    #[arg(long, conflicts_with = "if_present")]
    pub(crate) if_absent: bool,
    /// Only if the key is in the store; exit code 1 when it is not
    #[arg(long)]
    if_present: bool,
    #[command(flatten)]
    raw: RawArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

impl PutArgs {
    pub(crate) fn value_encoding(&self) -> Encoding {
        self.raw.value_encoding(&self.key)
    }

    /// What is asked of this one write.
    pub(crate) fn put_options(&self) -> PutOptions {
        let mut options = PutOptions::new();
        if let Some(ttl) = self.ttl {
            options = options.expires_in(ttl);
        }
        if let Some(time) = self.expires_at {
            options = options.expires_at(time);
        }
        match (self.if_absent, self.if_present) {
            (true, _) => options.if_absent(),
            (_, true) => options.if_present(),
            _ => options,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    raw: RawArgs,
}

impl GetArgs {
    pub(crate) fn value_encoding(&self) -> Encoding {
        self.raw.value_encoding(&self.key)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub(crate) struct ExpireArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// After this time, such as 90s or `1h 30m`
    #[arg(group = "when", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// At this moment, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", group = "when", value_parser = humantime::parse_rfc3339)]
    pub(crate) at: Option<SystemTime>,
    /// Not at all
    #[arg(long, group = "when")]
    never: bool,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

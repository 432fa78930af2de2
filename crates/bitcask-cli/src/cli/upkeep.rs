//! `dump merge clear backup restore repair seal-line convert`: the files of a store. (`status`, `verify` and `needs-merge` take
//! no more than a store.)

use std::path::PathBuf;

use bitcask::LogFormat;
use clap::Args;

use super::shared::{JsonArgs, StoreArgs};
use super::values::parse_format;
use super::writing::{CompressionArgs, WriterArgs};

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// A data file, such as ./data/0000000001.data
    pub(crate) file: PathBuf,
    /// Show so many bytes of each value
    #[arg(long, value_name = "LEN", default_value_t = 60)]
    pub(crate) width: usize,
    /// Show the bytes of each record's header
    #[arg(long)]
    pub(crate) bytes: bool,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Say that all keys are to go: there is no way back
    #[arg(long, required = true)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The backup's directory
    pub(crate) target: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup's directory
    pub(crate) backup: PathBuf,
    /// A directory for the store: new or empty
    pub(crate) new_dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("how"))]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Cut off the unfinished last write that a crash has left, as any verb that writes does
    #[arg(long, group = "how")]
    pub(crate) cut_tail: bool,
    /// Make the hint files anew
    #[arg(long, group = "how")]
    pub(crate) hints: bool,
    /// Make a missing or damaged MANIFEST anew from the data files, or finish a backup that was cut short
    ///
    /// A damaged MANIFEST is kept as MANIFEST.damaged.
    #[arg(long, group = "how")]
    pub(crate) manifest: bool,
    /// Put everything that can still be read into a new store; the damaged one is not changed
    ///
    /// Every stretch that cannot be read is named, and is exit code 3. The absence of a key from the new store then proves
    /// nothing, a key whose newest record cannot be read may have an older value or be back, and a batch may be split.
    #[arg(long, value_name = "NEW_DIR", group = "how")]
    pub(crate) salvage: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SealLineArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The data file, by its name in the store
    #[arg(requires = "lines")]
    pub(crate) file: Option<String>,
    /// The numbers of all edited lines of that file, from 1
    #[arg(value_name = "LINE")]
    pub(crate) lines: Vec<u64>,
    /// Seal all lines of all files that do not fit
    #[arg(long, conflicts_with = "file")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The store's directory; the store is not changed
    pub(crate) dir: PathBuf,
    /// The new store's directory, which is empty or not there yet
    pub(crate) new_dir: PathBuf,
    /// The log format of the new store: `binary`, `json` or `csv`
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    pub(crate) format: LogFormat,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

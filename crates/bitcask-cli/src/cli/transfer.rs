//! `import export batch watch`: entries from and to somewhere else, and likewise operations.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::shared::StoreArgs;
use super::writing::WriterArgs;

/// Exactly one of the arguments that say what the other side of a transfer is must be there.
fn other_side() -> ArgGroup {
    ArgGroup::new("other_side").required(true)
}

/// The other sides that `--from-basho` excludes.
const BOTH_WAYS: [&str; 3] = ["jsonl", "csv", "tree"];

/// What a transfer can read and write alike.
#[derive(Debug, Args)]
pub(crate) struct OtherSideArgs {
    /// JSON Lines, {"key":"...","value":"..."}, with "key64" or "value64" for base64, and "expires" in microseconds since
    /// 1970 where there is an expiry; `-` is standard input or output
    #[arg(long, value_name = "FILE", group = "other_side")]
    jsonl: Option<PathBuf>,
    /// CSV (RFC 4180) with a header line of key, value, key64, value64 in any order; `-` is standard input or output
    #[arg(long, value_name = "FILE", group = "other_side")]
    csv: Option<PathBuf>,
    /// A directory tree: the key is the path below PATH with `/` between its parts, the value the file's content
    #[arg(long, value_name = "PATH", group = "other_side")]
    tree: Option<PathBuf>,
}

/// One of [`OtherSideArgs`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum OtherSide<'a> {
    Jsonl(&'a Path),
    Csv(&'a Path),
    Tree(&'a Path),
}

impl OtherSideArgs {
    /// What was given; nothing only where the verb has another way to say it.
    pub(crate) fn given(&self) -> Option<OtherSide<'_>> {
        match (&self.jsonl, &self.csv, &self.tree) {
            (Some(path), _, _) => Some(OtherSide::Jsonl(path)),
            (_, Some(path), _) => Some(OtherSide::Csv(path)),
            (_, _, Some(path)) => Some(OtherSide::Tree(path)),
            _ => None,
        }
    }
}

impl<'a> OtherSide<'a> {
    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::Jsonl(path) | Self::Csv(path) | Self::Tree(path) => path,
        }
    }

    /// Whether it is standard input or output.
    pub(crate) fn is_standard(self) -> bool {
        match self {
            Self::Jsonl(path) | Self::Csv(path) => path == Path::new("-"),
            Self::Tree(_) => false,
        }
    }
}

#[derive(Debug, Args)]
#[command(group = other_side())]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) other_side: OtherSideArgs,
    /// The files of Riak's original Bitcask: PATH is one directory of data files, or holds one a partition
    ///
    /// Nothing in PATH is written. Damage is reported place by place, everything else is imported, and the exit code is
    /// 3. Needs up to 100 bytes of memory a key.
    #[arg(long, value_name = "PATH", group = "other_side")]
    pub(crate) from_basho: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) basho: BashoArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// The options of `--from-basho`. They say what they conflict with: `requires` does not hold between members of a group.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --from-basho")]
pub(crate) struct BashoArgs {
    /// Take Riak's keys apart: they become bucket/key or type/bucket/key, with %2F for `/` and %25 for `%` in each part
    #[arg(long, conflicts_with_all = BOTH_WAYS)]
    pub(crate) riak_keys: bool,
    /// Leave out what was written longer ago, as Riak's setting of the same name does
    #[arg(long, value_name = "SECONDS", conflicts_with_all = BOTH_WAYS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) expiry_secs: Option<u64>,
    /// Import although a lock file says that a process has the directory open
    #[arg(long, conflicts_with_all = BOTH_WAYS)]
    pub(crate) ignore_lock: bool,
    /// Read also the data files that are marked as pending deletion: the marks are not Bitcask's own
    #[arg(long, conflicts_with_all = BOTH_WAYS)]
    pub(crate) take_pending: bool,
}

#[derive(Debug, Args)]
#[command(group = other_side())]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) other_side: OtherSideArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Read the operations from this file; `-` is standard input
    #[arg(long, value_name = "PATH", default_value = "-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// Begin behind this position, that of an earlier line; 0 is the beginning of the store
    #[arg(long, value_name = "POSITION")]
    pub(crate) from: Option<u64>,
    /// End when what is there already is printed
    #[arg(long, requires = "from")]
    pub(crate) until_now: bool,
}
